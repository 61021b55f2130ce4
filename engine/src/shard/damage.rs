//! What a shard's files may suffer: every byte changed, every call of the disk failing, in work and in
//! recovery. A start is never refused for it, no value is ever wrong, and what is missing is known.

use super::ShardState;
use super::simulation::{Samples, Simulation, read_all};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const DIRECTORIES: [&str; 2] = ["shard-0000/wal", "shard-0000/blocks"];

/// A fixed course of work: requests and rounds of the keeper, in turns.
fn work(simulation: &mut Simulation, requests: usize) {
    let (state, mut pool) = simulation.open();
    for request in 0..requests {
        simulation.send(&mut pool, &state);
        if request % 3 == 2 {
            simulation.delete(&state);
        }
        simulation.turns.give(100_000);
        pool.run_until_stalled();
        simulation.hear();
    }
    simulation.end();
}

/// Damage that the shard knows of.
fn known_damage(state: &Rc<ShardState>) -> u64 {
    let (recovery, figures) = (&state.recovery, state.figures());
    let replayed = &recovery.replayed;
    let log = replayed.damages + replayed.torn_bytes + replayed.lost_frames + recovery.orphans;
    let log = log + recovery.bad_chunks;
    log + figures.blocks_set_aside + figures.block_damages
}

fn files(disk: &SimulatedDisk) -> Vec<PathBuf> {
    let of = |directory: &&str| {
        let names = disk.list(Path::new(directory)).expect("lists");
        names.into_iter().map(|name| Path::new(directory).join(name)).collect::<Vec<_>>()
    };
    DIRECTORIES.iter().flat_map(of).collect()
}

/// A course of work that left every kind of file behind, two checkpoints among them.
fn with_every_kind(seed: u64) -> Option<(Simulation, Vec<PathBuf>)> {
    let mut simulation = Simulation::new(seed);
    simulation.segment_size_bytes = Some(400);
    simulation.checkpoint_bytes = Some(1_000);
    work(&mut simulation, 12);
    let files = files(&simulation.disk);
    let count =
        |extension: &str| files.iter().filter(|f| f.extension().is_some_and(|e| e == extension)).count();
    let all =
        count("checkpoint") == 2 && ["segment", "block", "tombstones"].map(count).iter().all(|n| *n > 0);
    all.then_some((simulation, files))
}

/// Every byte of a data directory changed, one at a time.
#[test]
fn a_changed_byte_costs_what_it_held_and_is_known() {
    let (mut simulation, files) = (0..100).find_map(with_every_kind).expect("some course leaves all kinds");
    let whole = simulation.disk.copy();
    let (state, _) = simulation.open();
    let all: Samples = read_all(&state);
    let mut bytes = 0;
    for file in &files {
        for at in 0..whole.read(file).expect("reads").len() {
            bytes += 1;
            simulation.disk = whole.copy();
            simulation.disk.corrupt(file, at);
            let state = simulation.open_unchecked().expect("starts");
            let found = read_all(&state);
            let is_log = file.parent() == Some(Path::new(DIRECTORIES[0]));
            for (sample, bits) in &found {
                // With a frame of the log its deletions are lost too, and that is known.
                let came_back = is_log && known_damage(&state) > 0 && !all.contains_key(sample);
                let expect = if came_back { simulation.sent(sample) } else { all.get(sample).copied() };
                assert_eq!(expect, Some(*bits), "{} byte {at}: {sample:?}", file.display());
            }
            let missing = found.len() < all.len();
            assert!(!missing || known_damage(&state) > 0, "{} byte {at}: loss unknown", file.display());
        }
    }
    assert!(bytes > 3_000, "{bytes} bytes in {} files", files.len());
}

/// The Nth call of the disk fails, for every N, and the power is cut in the end.
#[test]
fn any_call_may_fail() {
    let mut calls = 0;
    for failing in 1.. {
        let mut simulation = Simulation::new(9);
        let before = simulation.disk.calls();
        simulation.disk.fail_after(failing);
        work(&mut simulation, 16);
        calls = simulation.disk.calls() - before;
        simulation.disk.crash();
        simulation.open();
        if failing > calls {
            break;
        }
    }
    assert!(calls > 50, "{calls} calls");
}

/// The Nth call of a recovery fails, for every N, and the power is cut then too.
#[test]
fn any_call_of_a_recovery_may_fail() {
    let mut simulation = Simulation::new(11);
    work(&mut simulation, 12);
    simulation.disk.crash();
    let crashed = simulation.disk.copy();
    for failing in 1.. {
        simulation.disk = crashed.copy();
        simulation.disk.fail_after(failing);
        let before = simulation.disk.calls();
        drop(simulation.open_unchecked());
        let calls = simulation.disk.calls() - before;
        simulation.disk.crash();
        simulation.open();
        if failing > calls {
            assert!(calls > 5, "{calls} calls");
            return;
        }
    }
}
