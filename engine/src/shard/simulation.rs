//! Crashes, replayed from a seed: a shard on the simulated disk is fed, hit by faults, cut off and
//! recovered, again and again. Checked after every recovery:
//! 1. every sample acknowledged as `synced` is there, bit for bit, unless its retention is over;
//! 2. every sample that is there was sent;
//! 3. start-up needs nobody.
//!
//! `HEARTH_SIMULATION_SEEDS=FROM..TO` runs other seeds than the default ones.

use super::request::{AppendRequest, Pick};
use super::runtime::Runtime;
use super::{ShardState, Store};
use crate::disk::simulated::SimulatedDisk;
use crate::head::read::Scratch;
use crate::router::Router;
use crate::wal::commit::CommitOptions;
use futures_channel::oneshot;
use futures_executor::LocalPool;
use futures_util::FutureExt;
use futures_util::task::LocalSpawnExt;
use hearth_model::{Ack, Labels, Sample, TimeRange, WriteBatch};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const SEED: u64 = 7;

/// Series name and time -> bits of the value.
type Samples = BTreeMap<(String, i64), u64>;

struct Simulation {
    random: fastrand::Rng,
    disk: SimulatedDisk,
    sent: Samples,
    acknowledged: Samples,
    next_time: i64,
    /// Samples before this may have been deleted with their segments.
    expired_before: i64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Simulation {
            random: fastrand::Rng::with_seed(seed),
            disk: SimulatedDisk::new(seed),
            sent: Samples::new(),
            acknowledged: Samples::new(),
            next_time: 1,
            expired_before: 0,
        }
    }

    fn options(&mut self) -> CommitOptions {
        CommitOptions {
            directory: "shard-0000/wal".into(),
            shard: 0,
            seed: SEED,
            segment_size_bytes: self.random.u64(200..5_000),
            group_commit_delay: Duration::ZERO,
            flush_interval: Duration::from_secs(1),
            commit_buffer_bytes: crate::config::COMMIT_BUFFER_BYTES,
        }
    }

    fn batch(&mut self) -> WriteBatch {
        let mut batch = WriteBatch::default();
        for _ in 0..self.random.usize(1..20) {
            let name = format!("series_{}", self.random.u32(0..30));
            let value =
                if self.random.bool() { f64::from(self.random.u32(0..100)) } else { self.random.f64() };
            let sample = Sample { timestamp_ms: self.next_time, value };
            self.next_time += self.random.i64(1..4);
            batch.push(&Labels::from_pairs([("__name__", name.as_str())]), &[sample]);
            self.sent.insert((name, sample.timestamp_ms), value.to_bits());
        }
        batch
    }

    /// Feeds the shard until the power is cut.
    fn feed(&mut self, pool: &mut LocalPool, state: &Rc<ShardState>) {
        let mut waiting = Vec::new();
        for _ in 0..self.random.usize(0..40) {
            if self.random.u32(0..10) == 0 {
                self.disk.fail_after(self.random.u64(1..4));
            }
            if self.random.u32(0..15) == 0 {
                self.expired_before = self.random.i64(self.expired_before..=self.next_time);
                state.queue.expire_before(self.expired_before);
            }
            let batch = Arc::new(self.batch());
            let picks = batch.series.iter().enumerate();
            let picks =
                picks.map(|(i, s)| Pick { series: i as u32, hash: state.store.router.hash(batch.key(s)) });
            let ack = if self.random.u32(0..4) == 0 { Ack::Written } else { Ack::Synced };
            let (reply, answer) = oneshot::channel();
            let picks = picks.collect();
            state.append(AppendRequest { batch: batch.clone(), picks, latest_ms: i64::MAX, ack, reply });
            waiting.push((batch, ack, answer));
            if self.random.bool() {
                pool.run_until_stalled();
            }
        }
        for (batch, ack, answer) in waiting {
            if let Some(Ok(Ok(done))) = answer.now_or_never()
                && ack == Ack::Synced
            {
                assert!(done.outcome.refused.is_empty(), "every sample is newer than those before");
                for series in &batch.series {
                    let name = hearth_model::key::key_pairs(batch.key(series)).next().expect("a name").1;
                    for sample in batch.samples_of(series) {
                        let at = (name.to_owned(), sample.timestamp_ms);
                        self.acknowledged.insert(at, sample.value.to_bits());
                    }
                }
            }
        }
    }

    fn check(&self, state: &ShardState) {
        let head = state.head.borrow();
        let mut stored = Samples::new();
        let mut scratch = Scratch::default();
        for id in 0..head.series_count() {
            head.read_floats(id, TimeRange::ALL, &mut scratch);
            let name = head.labels_of(id).metric_name().to_owned();
            for (time, value) in scratch.times.iter().zip(&scratch.values) {
                stored.insert((name.clone(), *time), value.to_bits());
            }
        }
        for (at, bits) in self.acknowledged.iter().filter(|(at, _)| at.1 >= self.expired_before) {
            assert_eq!(stored.get(at), Some(bits), "acknowledged sample {at:?} is lost");
        }
        for (at, bits) in &stored {
            assert_eq!(self.sent.get(at), Some(bits), "sample {at:?} is invented");
        }
    }

    /// Recovers, checks what is there, and starts the committer.
    fn open(&mut self) -> (Rc<ShardState>, LocalPool) {
        let store = Store {
            router: Router::new(SEED, 1),
            max_series: 0,
            head_limit_bytes: u64::MAX,
            retention: Duration::MAX,
            clock: || 0,
        };
        let options = self.options();
        let (state, committer) = super::open(0, store, self.disk.clone(), options).expect("recovers");
        self.check(&state);
        let pool = LocalPool::new();
        pool.spawner().spawn_local(committer.run(state.clone())).expect("spawns");
        (state, pool)
    }

    fn run(&mut self) {
        for _ in 0..self.random.usize(2..6) {
            let (state, mut pool) = self.open();
            self.feed(&mut pool, &state);
            drop(pool);
            self.disk.crash();
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let chosen = std::env::var("HEARTH_SIMULATION_SEEDS").ok();
    let parsed = chosen.as_deref().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    parsed.unwrap_or(0..300)
}

#[test]
fn no_acknowledged_sample_is_lost_and_none_invented() {
    let (mut sent, mut acknowledged, mut calls) = (0, 0, 0);
    for seed in seeds() {
        let mut simulation = Simulation::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulation.run()));
        if let Err(cause) = outcome {
            eprintln!("failed with HEARTH_SIMULATION_SEEDS={seed}..{}", seed + 1);
            std::panic::resume_unwind(cause);
        }
        sent += simulation.sent.len();
        acknowledged += simulation.acknowledged.len();
        calls += simulation.disk.calls();
    }
    // A simulation in which nothing is acknowledged would prove nothing.
    assert!(acknowledged > sent / 5, "{acknowledged} of {sent}");
    println!("{sent} samples sent, {acknowledged} acknowledged as synced, {calls} disk calls");
}

/// A full disk left an unfinished segment for each attempt to write again, one a second, each holding what
/// little room had become free; and every one of them was called damaged at the next start.
#[test]
fn a_full_disk_is_not_filled_with_attempts() {
    let mut full = 0;
    for seed in 0..50 {
        let mut simulation = Simulation::new(seed);
        let (state, mut pool) = simulation.open();
        simulation.feed(&mut pool, &state);
        simulation.disk.fill(100, 30);
        while simulation.disk.is_full() {
            simulation.feed(&mut pool, &state);
            pool.run_until_stalled();
        }
        assert!(!state.queue.is_read_only(), "seed {seed}: not whole again");
        // The log that failed, and the attempt at hand.
        assert!(simulation.disk.most_unsynced() <= 2, "seed {seed}");
        full += u32::from(state.queue.figures().failures > 20);
        simulation.feed(&mut pool, &state);
        drop(pool);
        simulation.disk.crash();
        simulation.open();
    }
    assert!(full > 20, "the disk was hardly ever full");
}

#[test]
fn a_task_runs_beside_the_mailbox() {
    let mut pool = LocalPool::new();
    let (reply, answer) = oneshot::channel();
    crate::shard::runtime::run_threads(|runtime: Runtime| async move {
        runtime.spawn(async move { reply.send(5).expect("somebody waits") });
        assert_eq!(answer.await, Ok(5));
    });
    pool.run();
}
