//! Group commit: what comes while a commit is on its way to the medium goes into the next one.
//!
//! Two sides of one shard's thread share a [`CommitQueue`]: the mailbox fills the open commit, the
//! [`Committer`] writes it. Steps of a commit:
//! 1. take the open commit, seal it as one frame, write it, and sync where somebody waits for that;
//! 2. tell everybody who waits;
//! 3. on a failure: tell everybody that nothing is acknowledged, let the shard refuse writes, and write
//!    all frames since the last successful sync to a new segment until that succeeds. The failed file is
//!    never asked again: a second sync may report success for data that is gone. Of the attempts, only
//!    the one that succeeds leaves a file.
//!
//! A checkpoint asks for a *boundary*: all that came before it is on stable storage and in segments that
//! take no more. Which segments may go is for who writes checkpoints to say.

use super::frame::{self, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::record::{self, SampleWriter};
use crate::config;
use crate::disk::{Disk, Log, names};
use crate::signal::Signal;
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use hearth_model::batch::Exemplar;
use hearth_model::metadata::MetricMetadata;
use hearth_model::{Ack, Histogram, StoreError, TimeRange};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Is told once whether the commit is as durable as asked.
pub type Waiter = Box<dyn FnOnce(Result<(), StoreError>)>;

/// Where the log stands at a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// What comes later is in segments from this one on, in frames from that number on.
    pub segment: u64,
    pub next_number: u64,
}

/// A boundary that is asked for.
struct BoundaryRequest {
    /// Called when the commit before the boundary takes no more.
    taken: Box<dyn FnOnce()>,
    reply: oneshot::Sender<Boundary>,
}

/// Records on their way into the log.
#[derive(Default)]
pub struct Commit {
    /// Records before the last deletion, and that: what comes behind it in time must in the log too.
    settled: Vec<u8>,
    series: Vec<u8>,
    samples: SampleWriter,
    histograms: Vec<u8>,
    exemplars: Vec<u8>,
    metadata: Vec<u8>,
    waiters: Vec<Waiter>,
    sync: bool,
    boundary: Option<BoundaryRequest>,
    max_ms: Option<i64>,
}

impl Commit {
    pub fn push_series(&mut self, reference: u32, key: &[u8]) {
        record::push_series(&mut self.series, reference, key);
    }

    #[inline]
    pub fn push_sample(&mut self, reference: u32, time: i64, value: f64) {
        self.samples.push(reference, time, value);
        self.max_ms = self.max_ms.max(Some(time));
    }

    pub fn push_histogram(&mut self, reference: u32, time: i64, histogram: &Histogram) {
        record::push_histogram(&mut self.histograms, reference, time, histogram);
        self.max_ms = self.max_ms.max(Some(time));
    }

    pub fn push_exemplar(&mut self, key: &[u8], exemplar: &Exemplar) {
        record::push_exemplar(&mut self.exemplars, key, exemplar);
    }

    /// The exemplars within the range that are there by now are gone, of the series with these keys.
    pub fn push_exemplar_deletion(&mut self, range: TimeRange, keys: impl IntoIterator<Item = Vec<u8>>) {
        self.settle();
        record::push_exemplar_deletion(&mut self.settled, range, keys);
    }

    pub fn push_metadata(&mut self, metadata: &MetricMetadata) {
        record::push_metadata(&mut self.metadata, metadata);
    }

    /// The samples within the range that are there by now are gone, of these series.
    pub fn push_deletion(&mut self, range: TimeRange, references: impl IntoIterator<Item = u32>) {
        self.settle();
        record::push_deletion(&mut self.settled, range, references);
    }

    /// Brings what was pushed so far into its order.
    fn settle(&mut self) {
        self.settled.append(&mut self.series);
        self.samples.finish(&mut self.settled);
        self.settled.append(&mut self.histograms);
        self.settled.append(&mut self.exemplars);
        self.settled.append(&mut self.metadata);
    }

    fn has_records(&self) -> bool {
        !(self.settled.is_empty()
            && self.series.is_empty()
            && self.samples.is_empty()
            && self.histograms.is_empty()
            && self.exemplars.is_empty()
            && self.metadata.is_empty())
    }

    pub fn len_bytes(&self) -> usize {
        let records = self.settled.len() + self.series.len() + self.samples.len();
        records + self.histograms.len() + self.exemplars.len() + self.metadata.len()
    }

    /// The records as a sealed frame behind what `out` holds already.
    fn seal_into(&mut self, out: &mut Vec<u8>, number: u64) {
        let start = out.len();
        out.resize(start + FRAME_HEADER_BYTES, 0);
        out.append(&mut self.settled);
        out.append(&mut self.series);
        self.samples.finish(out);
        out.append(&mut self.histograms);
        out.append(&mut self.exemplars);
        out.append(&mut self.metadata);
        frame::seal(&mut out[start..], number);
    }
}

/// Counters of a shard's log.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogFigures {
    pub bytes: u64,
    pub segment: u64,
    pub commits: u64,
    pub syncs: u64,
    pub sync_time: Duration,
    pub failures: u64,
}

/// What the mailbox and the committer share.
#[derive(Default)]
pub struct CommitQueue {
    open: RefCell<Commit>,
    work: Signal,
    room: Signal,
    closing: Cell<bool>,
    read_only: RefCell<Option<String>>,
    figures: Cell<LogFigures>,
    /// Segments that take no more, oldest first.
    closed: RefCell<VecDeque<ClosedSegment>>,
    /// The newest checkpoint stands for all segments before this one.
    checkpoint: Cell<u64>,
    checkpoint_bytes: Cell<u64>,
    /// Length of the checkpoint before it.
    older_bytes: Cell<u64>,
    /// Bytes of the log that it does not stand for.
    since_bytes: Cell<u64>,
    /// What is older is not needed in the log.
    cutoff_ms: Cell<i64>,
    /// The next commit goes into a new segment.
    cut: Cell<bool>,
    /// The open commit takes no more requests from this size on.
    buffer_bytes: usize,
}

impl CommitQueue {
    pub fn new(buffer_bytes: usize) -> Self {
        CommitQueue { cutoff_ms: Cell::new(i64::MIN), buffer_bytes, ..CommitQueue::default() }
    }

    /// What is older than this is not needed any more: a reason to write a checkpoint, once whole segments
    /// are.
    pub fn expire_before(&self, cutoff_ms: i64) {
        self.cutoff_ms.set(self.cutoff_ms.get().max(cutoff_ms));
    }

    /// Whether a checkpoint would spare the next start much of the log, or let go what is not needed. One is
    /// written for each `size_bytes` of log, or half its own size where it is large.
    pub fn checkpoint_is_due(&self, size_bytes: u64) -> bool {
        if self.is_read_only() || self.closing.get() {
            return false;
        }
        let (checkpoint, cutoff_ms) = (self.checkpoint.get(), self.cutoff_ms.get());
        let expired = |c: &ClosedSegment| c.max_ms.is_none_or(|max| max < cutoff_ms);
        self.since_bytes.get() >= size_bytes.max(self.checkpoint_bytes.get() / 2)
            || self.closed.borrow().iter().find(|c| c.number >= checkpoint).is_some_and(expired)
    }

    /// Asks for a boundary: `taken` is called at the moment from which on all that comes lies behind it. No
    /// answer means that the log could not be written.
    pub fn boundary(&self, taken: Box<dyn FnOnce()>) -> oneshot::Receiver<Boundary> {
        let (reply, answer) = oneshot::channel();
        self.open.borrow_mut().boundary = Some(BoundaryRequest { taken, reply });
        self.work.wake();
        answer
    }

    /// The checkpoint at this boundary is in place; returns the number of the one before.
    pub fn checkpointed(&self, at: Boundary, len_bytes: u64) -> u64 {
        let older_bytes = self.older_bytes.replace(self.checkpoint_bytes.replace(len_bytes));
        self.count(|f| f.bytes = (f.bytes + len_bytes).saturating_sub(older_bytes));
        self.checkpoint.replace(at.segment)
    }

    /// The oldest closed segment, where its number is below `number`.
    pub fn oldest_below(&self, number: u64) -> Option<ClosedSegment> {
        self.closed.borrow().front().copied().filter(|c| c.number < number)
    }

    /// The oldest closed segment is no longer there.
    pub fn removed_oldest(&self) {
        if let Some(segment) = self.closed.borrow_mut().pop_front() {
            self.count(|f| f.bytes = f.bytes.saturating_sub(segment.bytes));
        }
    }

    /// Begins a new segment with the next commit, so that the one before can go as a whole.
    pub fn cut_segment(&self) {
        self.cut.set(true);
    }

    /// Fills the open commit; its records are written once [`CommitQueue::submit`] is called.
    pub fn with_open<T>(&self, fill: impl FnOnce(&mut Commit) -> T) -> T {
        fill(&mut self.open.borrow_mut())
    }

    /// Tells `waiter` once all that was pushed so far is as durable as `ack` says.
    pub fn submit(&self, ack: Ack, waiter: Waiter) {
        if ack == Ack::Memory {
            waiter(Ok(()));
        } else {
            let mut open = self.open.borrow_mut();
            open.sync |= ack == Ack::Synced;
            open.waiters.push(waiter);
        }
        self.work.wake();
    }

    /// Whether the open commit is small enough to take more.
    pub fn has_room(&self) -> bool {
        self.open.borrow().len_bytes() < self.buffer_bytes
    }

    /// Waits until it is.
    pub async fn room(&self) {
        self.room.until(|| self.has_room()).await;
    }

    /// Why the log takes nothing now.
    pub fn read_only(&self) -> Option<String> {
        self.read_only.borrow().clone()
    }

    pub fn is_read_only(&self) -> bool {
        self.read_only.borrow().is_some()
    }

    pub fn figures(&self) -> LogFigures {
        self.figures.get()
    }

    /// Lets the committer end after everything was written and synced.
    pub fn close(&self) {
        self.closing.set(true);
        self.work.wake();
    }

    fn has_work(&self) -> bool {
        let open = self.open.borrow();
        open.has_records() || !open.waiters.is_empty() || open.boundary.is_some()
    }

    fn count(&self, change: impl FnOnce(&mut LogFigures)) {
        let mut figures = self.figures.get();
        change(&mut figures);
        self.figures.set(figures);
    }
}

/// How a committer writes.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    pub directory: PathBuf,
    pub shard: u32,
    pub seed: u64,
    pub segment_size_bytes: u64,
    pub group_commit_delay: Duration,
    pub flush_interval: Duration,
    /// See [`config::COMMIT_BUFFER_BYTES`].
    pub commit_buffer_bytes: usize,
}

/// A segment that takes no more frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedSegment {
    pub number: u64,
    pub bytes: u64,
    /// Time of its newest sample.
    pub max_ms: Option<i64>,
}

/// Where a committer goes on: what replay found.
#[derive(Debug, Clone, Default)]
pub struct LogPosition {
    pub last_segment: u64,
    pub next_number: u64,
    /// Oldest first; among them those that the checkpoint stands for.
    pub closed: Vec<ClosedSegment>,
    /// Number and length of the checkpoint that was used.
    pub checkpoint: u64,
    pub checkpoint_bytes: u64,
}

/// Writes the commits of one shard, one after the other.
pub struct Committer<D: Disk> {
    disk: D,
    options: CommitOptions,
    queue: Rc<CommitQueue>,
    max_ms: Option<i64>,
    log: Option<D::Log>,
    segment: u64,
    length: u64,
    number: u64,
    /// Frames written since the last successful sync: what a failure makes us write again.
    unsynced: Vec<u8>,
    buffer: Vec<u8>,
}

/// Unsynced frames are kept in memory; beyond this a commit syncs whatever was asked.
const UNSYNCED_BYTES: usize = 16 << 20;

impl<D: Disk> Committer<D> {
    pub fn new(disk: D, options: CommitOptions, queue: Rc<CommitQueue>, at: LogPosition) -> Self {
        queue.count(|f| {
            f.segment = at.last_segment;
            f.bytes = at.closed.iter().map(|c| c.bytes).sum::<u64>() + at.checkpoint_bytes;
        });
        queue.checkpoint.set(at.checkpoint);
        queue.checkpoint_bytes.set(at.checkpoint_bytes);
        let since = at.closed.iter().filter(|c| c.number >= at.checkpoint);
        queue.since_bytes.set(since.map(|c| c.bytes).sum());
        *queue.closed.borrow_mut() = at.closed.into();
        Committer {
            disk,
            options,
            queue,
            max_ms: None,
            log: None,
            segment: at.last_segment,
            length: 0,
            number: at.next_number,
            unsynced: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Runs until the queue is closed and everything is on stable storage.
    pub async fn run(mut self) {
        let queue = self.queue.clone();
        let mut flush: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
        loop {
            let wanted = || queue.has_work() || queue.closing.get();
            if self.unsynced.is_empty() {
                flush = None;
                queue.work.until(wanted).await;
            } else {
                // Runs on through commits that do not sync: the oldest unsynced frame counts.
                let timer = flush.get_or_insert_with(|| self.flush_timer());
                // The timer first: work that is always there must not keep it from being looked at.
                if matches!(select(timer, pin!(queue.work.until(wanted))).await, Either::Left(_)) {
                    flush = None;
                    queue.open.borrow_mut().sync = true;
                }
            }
            if !self.options.group_commit_delay.is_zero() && !queue.closing.get() {
                self.disk.sleep(self.options.group_commit_delay).await;
            }
            let closing = queue.closing.get();
            let mut commit = std::mem::take(&mut *queue.open.borrow_mut());
            let boundary = commit.boundary.take().map(|request| {
                (request.taken)();
                request.reply
            });
            commit.sync |= closing || boundary.is_some();
            queue.room.wake();
            let written = self.commit(commit).await;
            if let Some(reply) = boundary.filter(|_| written) {
                self.close_segment();
                queue.since_bytes.set(0);
                // Who asked may have given up.
                let _ = reply.send(Boundary { segment: self.segment + 1, next_number: self.number });
            }
            if closing && !queue.has_work() {
                return;
            }
        }
    }

    fn flush_timer(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        let (disk, time) = (self.disk.clone(), self.options.flush_interval);
        Box::pin(async move { disk.sleep(time).await })
    }

    /// `true` once it is as durable as asked; `false` where that took a second try.
    async fn commit(&mut self, mut commit: Commit) -> bool {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        if commit.has_records() {
            commit.seal_into(&mut bytes, self.number);
            self.number += 1;
        }
        let waiters = std::mem::take(&mut commit.waiters);
        self.max_ms = self.max_ms.max(commit.max_ms);
        self.unsynced.extend_from_slice(&bytes);
        let sync = (commit.sync || self.unsynced.len() > UNSYNCED_BYTES) && !self.unsynced.is_empty();
        let result = if bytes.is_empty() && !sync { Ok(()) } else { self.write(bytes, sync).await };
        match result {
            Ok(()) => {
                waiters.into_iter().for_each(|tell| tell(Ok(())));
                true
            }
            Err(error) => {
                let why = format!("shard {}: log segment {}: {error}", self.options.shard, self.segment);
                tracing::error!(error = %why, "log write failed, refusing writes until the log is whole again");
                self.queue.count(|f| f.failures += 1);
                *self.queue.read_only.borrow_mut() = Some(why.clone());
                waiters.into_iter().for_each(|tell| tell(Err(StoreError::ReadOnly(why.clone()))));
                self.rewrite().await;
                false
            }
        }
    }

    /// Writes (and syncs) to the current segment, opening the next one where needed.
    async fn write(&mut self, bytes: Vec<u8>, sync: bool) -> std::io::Result<()> {
        let full = self.length >= self.options.segment_size_bytes;
        if !bytes.is_empty() && (self.queue.cut.take() || full) {
            self.finish_segment().await?;
        }
        let mut out = bytes;
        if self.log.is_none() && !out.is_empty() {
            self.open_segment()?;
            out.splice(..0, self.header());
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        let started = Instant::now();
        let length = out.len() as u64;
        let (result, buffer) = log.append(out, sync).await;
        self.buffer = buffer;
        result?;
        self.length += length;
        self.queue.since_bytes.set(self.queue.since_bytes.get() + length);
        self.queue.count(|f| {
            f.commits += u64::from(length > 0);
            f.bytes += length;
            if sync {
                f.syncs += 1;
                f.sync_time += started.elapsed();
            }
        });
        if sync {
            self.unsynced.clear();
            // A burst's memory is not kept for ever.
            self.unsynced.shrink_to(UNSYNCED_BYTES / 4);
        }
        Ok(())
    }

    /// The next write opens a new segment. Frames of the old one that are not synced yet are synced
    /// first, but for those of the write at hand.
    async fn finish_segment(&mut self) -> std::io::Result<()> {
        if let Some(log) = &mut self.log {
            log.sync().await?;
            self.queue.count(|f| f.syncs += 1);
        }
        self.close_segment();
        Ok(())
    }

    fn close_segment(&mut self) {
        if self.log.take().is_some() {
            let (number, bytes) = (self.segment, self.length);
            // The newest sample so far may be in a later segment: then this one is kept for longer.
            let closed = ClosedSegment { number, bytes, max_ms: self.max_ms };
            self.queue.closed.borrow_mut().push_back(closed);
        }
        self.length = 0;
    }

    fn open_segment(&mut self) -> std::io::Result<()> {
        let path = names::segment(&self.options.directory, self.segment + 1);
        // The number is used up even when this fails: the name may be there and the file not usable.
        self.segment += 1;
        self.queue.count(|f| f.segment = self.segment);
        self.log = Some(self.disk.create_log(&path)?);
        self.length = 0;
        Ok(())
    }

    fn header(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let header =
            SegmentHeader { shard: self.options.shard, segment: self.segment, seed: self.options.seed };
        frame::segment_header(frame::SEGMENT_MAGIC, header)
    }

    /// Removes the segment of a rewrite that failed. Nothing was acknowledged from it, and on a full disk
    /// it would hold the very space that the next attempt needs.
    fn remove_attempt(&mut self) {
        self.log = None;
        self.length = 0;
        let path = names::segment(&self.options.directory, self.segment);
        match self.disk.remove(&path) {
            // It may not even have been made.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(file = %path.display(), %error, "an unfinished log segment stays, the next start removes it");
            }
            _ => {}
        }
    }

    /// Step 3 of the module's head.
    async fn rewrite(&mut self) {
        self.close_segment();
        while !self.queue.closing.get() {
            let before = self.segment;
            let result = self.write(self.unsynced.clone(), true).await;
            match result {
                Ok(()) => {
                    tracing::info!(shard = self.options.shard, segment = self.segment, "log is whole again");
                    *self.queue.read_only.borrow_mut() = None;
                    return;
                }
                Err(error) => {
                    self.queue.count(|f| f.failures += 1);
                    *self.queue.read_only.borrow_mut() =
                        Some(format!("shard {}: log segment {}: {error}", self.options.shard, self.segment));
                    if self.segment > before {
                        self.remove_attempt();
                    }
                    self.disk.sleep(config::RETRY_DELAY).await;
                }
            }
        }
    }
}
