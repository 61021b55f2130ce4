//! How a shard commits under load, on the simulated disk: large requests are spread over frames, and what
//! was only handed to the kernel reaches the medium in time.

use super::gather::gather;
use super::request::{AppendRequest, Pick, Request};
use super::{ShardState, Store, runtime};
use crate::config::Keeping;
use crate::disk::simulated::SimulatedDisk;
use crate::disk::{Disk, names};
use crate::router::Router;
use crate::settings::Settings;
use crate::wal::commit::{CommitOptions, Committer};
use crate::wal::frame::{self, Next, SEGMENT_HEADER_BYTES};
use futures_executor::LocalPool;
use futures_util::task::LocalSpawnExt;
use hearth_model::{Ack, Labels, Sample, StoreError, WriteBatch};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Nothing is too old.
const KEEPING: Keeping = Keeping {
    retention: Duration::MAX,
    retention_bytes: 0,
    retention_percent: 0.0,
    out_of_order_window: Duration::from_millis(0),
    max_exemplars: 0,
};

const DIRECTORY: &str = "shard-0000/wal";
const BUFFER_BYTES: usize = 8 << 10;

fn open(disk: &SimulatedDisk) -> (Rc<ShardState>, Committer<SimulatedDisk>) {
    let store = Store {
        router: Router::new(1, 1),
        census: Arc::default(),
        settings: Arc::new(Settings::new(KEEPING)),
        head_limit_bytes: u64::MAX,
        checkpoint_bytes: u64::MAX,
        block_range_ms: 100,
        clock: || 0,
        watermarks: std::sync::Arc::new(hearth_model::watermark::Watermarks::new(1)),
        harm: std::sync::Arc::new(crate::harm::Harm::new(1)),
    };
    let options = CommitOptions {
        directory: DIRECTORY.into(),
        shard: 0,
        seed: 1,
        segment_size_bytes: 1 << 20,
        group_commit_delay: Duration::ZERO,
        flush_interval: Duration::from_secs(1),
        commit_buffer_bytes: BUFFER_BYTES,
    };
    super::open(0, store, disk.clone(), options).expect("recovers")
}

fn request(state: &ShardState, first: i64, samples: i64, ack: Ack) -> AppendRequest {
    let mut batch = WriteBatch::default();
    let of = |time: i64| Sample { timestamp_ms: time, value: 1.0 / (time + 1) as f64 };
    let samples: Vec<Sample> = (first..first + samples).map(of).collect();
    batch.push(&Labels::from_pairs([("__name__", "large")]), &samples);
    let picks = vec![Pick { series: 0, hash: state.store.router.hash(batch.key(&batch.series[0])) }];
    let reply = gather(1).0.remove(0);
    AppendRequest { batch: Arc::new(batch), picks, latest_ms: i64::MAX, ack, reply }
}

/// Sixty-four requests of 32 MiB that waited at once became one frame, larger than replay believes in.
#[test]
fn large_requests_are_spread_over_frames_and_replay_whole() {
    let disk = SimulatedDisk::new(1);
    let (state, committer) = open(&disk);
    let (requests, each) = (64, 1_500);
    let (sender, mailbox) = flume::unbounded();
    for at in 0..requests {
        let sent = sender.send(Request::Append(request(&state, at * each, each, Ack::Synced)));
        sent.expect("the mailbox is open");
    }
    sender.send(Request::Close).expect("the mailbox is open");
    runtime::run_threads(|runtime| async move {
        runtime.spawn(super::serve(state, runtime.clone(), mailbox));
        committer.run().await;
    });
    let (mut frames, mut largest) = (0, 0);
    for name in disk.list(Path::new(DIRECTORY)).expect("lists") {
        assert!(names::number(&name, names::SEGMENT).is_some(), "{name}");
        let bytes = disk.read(&Path::new(DIRECTORY).join(name)).expect("reads");
        let mut at = SEGMENT_HEADER_BYTES;
        while let Next::Frame(frame) = frame::next(&bytes, at) {
            frames += 1;
            largest = largest.max(frame.payload.len());
            at = frame.end;
        }
    }
    // The limit is looked at between two requests: one may go beyond.
    assert!(largest < 4 * BUFFER_BYTES && frames >= requests / 2, "{frames} frames, {largest} bytes");
    let (state, _) = open(&disk);
    assert_eq!(state.recovery.samples, (requests * each) as u64);
}

/// Writes that never leave the log without work: each one's acknowledgement brings the next.
struct Load {
    state: Rc<ShardState>,
    disk: SimulatedDisk,
    /// Bytes in the log after each write.
    written: Vec<usize>,
}

const STEP: Duration = Duration::from_millis(100);
const STEPS: usize = 100;

impl Load {
    fn next(mut self) {
        let queue = self.state.queue.clone();
        queue.with_open(|commit| commit.push_sample(1, self.written.len() as i64, 1.0));
        let told = move |result: Result<(), StoreError>| {
            result.expect("written");
            self.disk.pass(STEP);
            let (all, synced) = self.disk.written_and_synced();
            // The interval, and one step in which the timer rings.
            let due = self.written.len().checked_sub(11).map_or(0, |at| self.written[at]);
            assert!(synced >= due, "step {}: {synced} bytes synced, {due} due", self.written.len());
            self.written.push(all);
            if self.written.len() < STEPS {
                self.next();
            }
        };
        queue.submit(Ack::Written, Box::new(told));
    }
}

/// The flush timer was not looked at while there was always work.
#[test]
fn what_is_written_reaches_the_medium_in_time_under_constant_load() {
    let disk = SimulatedDisk::new(1);
    disk.pass(Duration::ZERO);
    let (state, committer) = open(&disk);
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(committer.run()).expect("spawns");
    Load { state: state.clone(), disk, written: Vec::new() }.next();
    pool.run_until_stalled();
    let syncs = state.queue.figures().syncs;
    assert!((8..=10).contains(&syncs), "{syncs} syncs in ten seconds");
}

/// A medium on which each sync takes half a second: what waits is bounded, senders wait instead of memory growing;
/// reads go on meanwhile; and in the end all of it is there.
#[test]
fn a_slow_medium_makes_senders_wait_and_nobody_else() {
    let disk = SimulatedDisk::new(1);
    disk.pass(Duration::ZERO);
    disk.slow_down(Duration::from_millis(500));
    let (state, committer) = open(&disk);
    let mut pool = LocalPool::new();
    pool.spawner().spawn_local(committer.run()).expect("spawns");
    let (requests, each) = (40, 300);
    let (mut sent, mut most, mut steps) = (0, 0, 0);
    while sent < requests {
        // What the shard's loop does: no more is taken while the open commit is full.
        while sent < requests && state.queue.has_room() {
            state.append(request(&state, sent * each, each, Ack::Synced));
            sent += 1;
        }
        pool.run_until_stalled();
        let open_bytes = state.queue.with_open(|commit| commit.len_bytes());
        most = most.max(open_bytes);
        assert_eq!(
            super::simulation::read_all(&state).len(),
            (sent * each) as usize,
            "a reader waits for the medium"
        );
        disk.pass(Duration::from_millis(100));
        steps += 1;
        assert!(steps < 10_000, "nothing goes on");
    }
    // One request may go beyond the limit.
    assert!(most < 2 * BUFFER_BYTES && steps > 10, "{most} bytes waited, {steps} steps");
    for _ in 0..20 {
        pool.run_until_stalled();
        disk.pass(Duration::from_millis(100));
    }
    let syncs = state.queue.figures().syncs;
    assert!(syncs as i64 * 2 < requests, "{syncs} syncs for {requests} requests: they do not share them");
    drop(pool);
    disk.crash();
    let (state, _) = open(&disk);
    assert_eq!(state.recovery.samples, (requests * each) as u64);
}
