//! What a shard's files may suffer: every byte changed, every call of the disk failing, in work and in
//! recovery. A start is never refused for it, no value is ever wrong, and what is missing is known.

use super::ShardState;
use super::simulation::{Samples, Simulation, read_all};
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const DIRECTORIES: [&str; 2] = ["shard-0000/wal", "shard-0000/blocks"];

fn is_long() -> bool {
    std::env::var_os("HEARTH_LONG").is_some()
}

/// Courses of work that are gone through with a fault at each call.
fn seeds() -> std::ops::Range<u64> {
    if is_long() { 9..109 } else { 9..11 }
}

/// A fixed course of work: requests and rounds of the keeper, in turns.
fn work(simulation: &mut Simulation, requests: usize) {
    // None: the power went before it was ready.
    let Some((state, mut pool)) = simulation.try_open() else { return };
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
    for seed in seeds() {
        for failing in 1.. {
            let mut simulation = Simulation::new(seed);
            let before = simulation.disk.calls();
            simulation.disk.fail_after(failing);
            work(&mut simulation, 16);
            let calls = simulation.disk.calls() - before;
            simulation.disk.crash();
            simulation.open();
            if failing > calls {
                assert!(calls > 50, "{calls} calls");
                println!("seed {seed}: each of {calls} calls failed");
                break;
            }
        }
    }
}

/// The power goes with the Nth call of the disk, for every N, in the midst of work: of blocks, checkpoints and
/// deletions, of renames and removals.
#[test]
fn the_power_may_go_with_any_call() {
    for seed in seeds() {
        for dying in 1.. {
            let mut simulation = Simulation::new(seed);
            let before = simulation.disk.calls();
            simulation.disk.die_at(dying);
            work(&mut simulation, 16);
            let calls = simulation.disk.calls() - before;
            simulation.disk.crash();
            simulation.open();
            if dying > calls {
                assert!(calls > 50, "{calls} calls");
                println!("seed {seed}: the power went with each of {calls} calls");
                break;
            }
        }
    }
}

/// The Nth call of a recovery fails, for every N, and the power is cut then too.
#[test]
fn any_call_of_a_recovery_may_fail() {
    for seed in seeds() {
        let mut simulation = Simulation::new(seed);
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
                println!("seed {seed}: each of {calls} calls of a recovery failed");
                break;
            }
        }
    }
}

/// A recovery is cut off, and the next one too, ten times over, each at a call of chance.
#[test]
fn recoveries_may_be_cut_off_again_and_again() {
    let mut cut_off = 0;
    for seed in 0..if is_long() { 2_000 } else { 40 } {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut simulation = Simulation::new(seed);
        work(&mut simulation, 12);
        simulation.disk.crash();
        for _ in 0..10 {
            simulation.disk.die_at(random.u64(1..20));
            cut_off += u32::from(simulation.open_unchecked().is_none());
            simulation.disk.crash();
        }
        let (state, _) = simulation.open();
        let first = read_all(&state);
        drop(state);
        let (state, _) = simulation.open();
        assert_eq!(read_all(&state), first, "seed {seed}: another start finds something else");
    }
    assert!(cut_off > 200, "{cut_off} recoveries were cut off");
    println!("{cut_off} recoveries were cut off");
}

/// A part of a file that the medium does not give, of each file in turn: the rest is served, and the loss is known.
#[test]
fn an_unreadable_part_costs_what_it_held_and_is_known() {
    let (mut simulation, files) = (0..100).find_map(with_every_kind).expect("some course leaves all kinds");
    let whole = simulation.disk.copy();
    let (state, _) = simulation.open();
    let all: Samples = read_all(&state);
    let mut parts = 0;
    for file in &files {
        let length = whole.read(file).expect("reads").len();
        for at in (0..length).step_by(if is_long() { 3 } else { 64 }) {
            parts += 1;
            simulation.disk = whole.copy();
            simulation.disk.make_unreadable(file, at..at + 10);
            let what = format!("{} at {at}", file.display());
            let state = simulation.open_unchecked().unwrap_or_else(|| panic!("{what}: no start"));
            let found = read_all(&state);
            let is_log = file.parent() == Some(Path::new(DIRECTORIES[0]));
            for (sample, bits) in &found {
                let came_back = is_log && known_damage(&state) > 0 && !all.contains_key(sample);
                let expect = if came_back { simulation.sent(sample) } else { all.get(sample).copied() };
                assert_eq!(expect, Some(*bits), "{what}: {sample:?}");
            }
            assert!(found.len() == all.len() || known_damage(&state) > 0, "{what}: loss unknown");
            // The medium has a good day again: nothing was made worse.
            drop(state);
            simulation.disk.make_unreadable(file, 0..0);
            let state = simulation.open_unchecked().expect("starts");
            assert_eq!(read_all(&state), all, "{what}: lost for good");
        }
    }
    assert!(parts > 50, "{parts} parts");
}
