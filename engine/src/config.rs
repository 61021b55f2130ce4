//! Every limit and choice of the engine: name, unit, default, reason.

use std::path::PathBuf;
use std::time::Duration;

/// How shards run and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoChoice {
    /// Shards on plain executors; their logs on io_uring where the kernel lets us, as `Threads` elsewhere.
    Auto,
    /// Shards on glommio executors and their logs on io_uring, or no start.
    Uring,
    /// Shards on plain executors, their logs written with plain calls.
    Threads,
}

impl std::str::FromStr for IoChoice {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(IoChoice::Auto),
            "uring" => Ok(IoChoice::Uring),
            "threads" => Ok(IoChoice::Threads),
            other => Err(format!("{other:?} is not one of auto, uring, threads")),
        }
    }
}

/// Whether a core thread stays on its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinning {
    /// Only where [`PIN_FROM_CORES`] cores or more leave some to the control plane: a pinned shard must
    /// wait out the time slice of whoever else holds its core.
    Auto,
    On,
    Off,
}

impl Pinning {
    pub fn is_on(self, cores: usize, threads: usize) -> bool {
        match self {
            Pinning::On => true,
            Pinning::Off => false,
            Pinning::Auto => cores >= PIN_FROM_CORES && threads <= cores,
        }
    }
}

/// See [`Pinning::Auto`].
pub const PIN_FROM_CORES: usize = 4;
/// Most shards a data directory can have: each costs a thread's memory and a file.
pub const MAX_SHARDS: usize = 1024;
/// Requests that wait in a shard's mailbox; senders wait when it is full.
pub const MAILBOX_REQUESTS: usize = 1024;
/// Requests taken from the mailbox before the log is committed: bounds the latency of the first.
pub const DRAIN_REQUESTS: usize = 64;
/// Bytes the open commit may hold before the shard stops taking requests until one was written.
pub const COMMIT_BUFFER_BYTES: usize = 16 << 20;
/// A query runs this long at most before its shard looks at its mailbox again: a write meets up to one such stretch on
/// each shard, and giving way costs some thousandths of it.
pub const SLICE: Duration = Duration::from_micros(200);
/// glommio's own preemption timer.
pub const PREEMPT: Duration = Duration::from_millis(1);
/// Longest sleep of a glommio executor: what a task waits when glommio overlooks that it is ready (see
/// `shard/runtime.rs`). A shard that works does not notice a hundred wake-ups a second.
pub const HEARTBEAT_BUSY: Duration = Duration::from_millis(10);
/// The same of an idle one, which must cost nothing.
pub const HEARTBEAT_IDLE: Duration = Duration::from_millis(100);
/// Timers of a heartbeat, each twice as far away as the one before: the last is beyond what a shard is ever
/// kept from its core.
pub const HEARTBEAT_RUNGS: u32 = 12;
/// Samples in a chunk: enough for the codec's header to vanish, few enough to read narrow ranges.
pub const CHUNK_SAMPLES: u16 = 128;
/// Aliases (keys in another label order) remembered by a shard; then the memory starts over.
pub const ALIASES: usize = 1 << 20;
/// How long a shard waits before it tries a failing disk again.
pub const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Errands (deletions and the like) that wait for a shard's keeper; more are refused.
pub const ERRANDS: usize = 1024;
/// Series whose samples a deletion takes out of memory in one step.
pub const DELETE_SERIES: usize = 64;
/// A block is written anew when more than one in so many of its series lost samples to deletions, once
/// [`REWRITE_DELAY_MS`] have passed since the last one: who deletes often deletes many times in a row.
pub const REWRITE_PART: u64 = 20;
/// See [`REWRITE_PART`].
pub const REWRITE_DELAY_MS: i64 = 600_000;

/// A shard waits for the medium itself for as long as it answers within this time: what a task may run
/// before it gives way.
pub const LOG_PATIENCE: Duration = PREEMPT;
/// So many commits are left to a helper thread after the medium was slower: it rarely is so once only.
pub const LOG_WARY_COMMITS: u32 = 32;
/// A shard waits itself for the sync of no more data than this: more takes a millisecond on quick media.
pub const LOG_QUICK_SYNC_BYTES: u64 = 256 << 10;
/// Room that a log writes ahead at once: as much as the log has taken so far, within these bounds. So a small server
/// writes little for nothing, and a piece is not so large that a commit would wait long behind it.
pub const LOG_ROOM_MIN_BYTES: u64 = 64 << 10;
/// See [`LOG_ROOM_MIN_BYTES`].
pub const LOG_ROOM_MAX_BYTES: u64 = 1 << 20;

/// Memory for type, help and unit of metrics, of all shards together: tens of thousands of metrics. Beyond, what was
/// said longest ago goes.
pub const METADATA_BYTES: usize = 16 << 20;
/// Longer help or unit texts are cut at a character.
pub const METADATA_TEXT_BYTES: usize = 4 << 10;

/// New series that a shard remembers as such: some 24 bytes each. Beyond, the oldest count as old early.
pub const RECENT_SERIES: usize = 1 << 22;
/// How long a series is new.
pub const RECENT_MS: i64 = 3_600_000;

/// What may change while the store is open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keeping {
    /// Samples older than this, against the clock, are dropped.
    pub retention: Duration,
    /// Blocks and logs may take this many bytes; beyond, the oldest blocks go. 0: no limit.
    pub retention_bytes: u64,
    /// The same as a part of the disk, in percent, instead of the bytes. 0: no limit.
    pub retention_percent: f64,
    /// How much older than the newest sample one may be and still be taken out of order.
    pub out_of_order_window: Duration,
    /// Exemplars kept, the newest ones; 0: none. Each takes some hundred bytes.
    pub max_exemplars: usize,
}

impl Default for Keeping {
    fn default() -> Keeping {
        Keeping {
            retention: Duration::from_secs(15 * 24 * 3600),
            retention_bytes: 0,
            retention_percent: 0.0,
            out_of_order_window: Duration::from_secs(30 * 60),
            max_exemplars: 0,
        }
    }
}

/// What a new series must not break; those that are there already go on whatever these say. All shards
/// together; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Series in memory.
    pub series: u64,
    /// Of these, with one metric name.
    pub series_per_metric: u64,
    /// Of these, with one value of the label `job`.
    pub series_per_job: u64,
    /// Series that came into being within an hour, since the start.
    pub new_series_per_hour: u64,
    /// Labels of a series, the metric name included.
    pub labels: usize,
    pub label_name_bytes: usize,
    pub label_value_bytes: usize,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    pub path: PathBuf,
    /// Number of shards of a *new* data directory (default: cores, rounded up to a power of two). An
    /// existing one keeps the number it was made with.
    pub shards: Option<usize>,
    pub io: IoChoice,
    pub pinning: Pinning,
    /// A log segment is closed at this size: bounds what one replay step reads.
    pub segment_size_bytes: u64,
    /// A shard's head is written to a checkpoint for so many bytes of its log (or half as many as the
    /// checkpoint before had, where those are more): bounds what a start has to replay.
    pub checkpoint_bytes: u64,
    /// Wait this long for company before a commit; 0: a commit takes what came during the one before.
    pub group_commit_delay: Duration,
    /// Data acknowledged as `written` or `memory` reaches stable storage within this time.
    pub flush_interval: Duration,
    pub limits: Limits,
    /// Memory that the heads of all shards may hold; writes are refused (try again later) beyond.
    pub head_limit_bytes: u64,
    /// Samples further ahead of the clock than this are out of bounds (as Prometheus': 10 minutes).
    pub max_ahead: Duration,
    pub keeping: Keeping,
    /// Length of the stretch of time that one block takes from memory, aligned to the epoch.
    pub block_range: Duration,
    /// How often a server looks for blocks of Prometheus' that were put into its data directory; 0: never.
    pub arrivals_interval: Duration,
    /// Milliseconds since the Unix epoch. An argument, so that a test can set it.
    pub clock: fn() -> i64,
}

impl Options {
    pub fn new(path: impl Into<PathBuf>) -> Options {
        Options {
            path: path.into(),
            shards: None,
            io: IoChoice::Auto,
            pinning: Pinning::Auto,
            segment_size_bytes: 128 << 20,
            checkpoint_bytes: 32 << 20,
            group_commit_delay: Duration::ZERO,
            flush_interval: Duration::from_secs(1),
            limits: Limits::default(),
            head_limit_bytes: crate::disk::memory_limit_bytes() / 4 * 3,
            max_ahead: Duration::from_secs(600),
            keeping: Keeping::default(),
            block_range: Duration::from_secs(2 * 3600),
            // As Prometheus looks for them.
            arrivals_interval: Duration::from_secs(60),
            clock: crate::disk::wall_clock_ms,
        }
    }
}
