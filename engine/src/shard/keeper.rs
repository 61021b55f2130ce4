//! The task that keeps a shard's house beside its requests: the head's oldest data becomes a block, the head a
//! checkpoint, blocks become larger ones, and what is past its retention goes. One step at a time, and never for
//! long without giving way. What changes the past (deletions) is asked of it too, so that no two of these ever
//! meet.

use super::ShardState;
use super::request::{Errand, Task};
use crate::block::Block;
use crate::block::writer::BlockWriter;
use crate::disk::{Disk, Log, names};
use crate::pace::Pace;
use futures_util::future::select;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often the keeper looks for work.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long it waits after a step failed: a full disk is not made better by haste.
const FAILED_INTERVAL: Duration = Duration::from_secs(60);

/// The least part of a block's range that is written early.
const EARLY_PART: i64 = 24;

/// What the keeper did since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeeperFigures {
    pub flushes: u64,
    pub compactions: u64,
    pub checkpoints: u64,
    pub failures: u64,
    pub blocks_expired: u64,
    pub blocks_crowded_out: u64,
}

/// See the module's head.
pub struct Keeper<D: Disk, P: Pace> {
    pub(super) state: Rc<ShardState>,
    pub(super) disk: D,
    pub(super) pace: P,
    /// The log's directory.
    pub(super) wal: PathBuf,
}

impl<D: Disk, P: Pace> Keeper<D, P> {
    pub fn new(state: Rc<ShardState>, disk: D, pace: P) -> Self {
        let wal = state.blocks.directory().with_file_name(names::WAL);
        Keeper { state, disk, pace, wal }
    }

    /// Runs for as long as its thread does.
    pub async fn run(self) {
        let (mut interval, mut started) = (INTERVAL, Instant::now());
        loop {
            // A failed step is not tried again before its time, whoever asks.
            let asked = || {
                let due = self.state.pressed.get() && self.state.due_cut_ms().is_some()
                    || self.state.checkpoint_is_due();
                let wanted = !self.state.asked.borrow().is_empty() || !self.state.errands.borrow().is_empty();
                wanted || interval == INTERVAL && due
            };
            let sleep = pin!(self.disk.sleep(interval));
            select(sleep, pin!(self.state.keeper_work.until(asked))).await;
            self.errands().await;
            let waiting = std::mem::take(&mut *self.state.asked.borrow_mut());
            if interval == FAILED_INTERVAL && waiting.is_empty() && started.elapsed() < interval {
                // An errand is no reason to try a failed step again.
                continue;
            }
            let done = self.round().await;
            interval = if done { INTERVAL } else { FAILED_INTERVAL };
            started = Instant::now();
            for reply in waiting {
                // Who asked may be gone.
                let _ = reply.send(done);
            }
        }
    }

    /// Does what is due; `false` when a step failed.
    pub async fn round(&self) -> bool {
        self.errands().await;
        // First of all: on a full disk nothing else would succeed.
        self.expire();
        while let Some(cut_ms) = self.state.due_cut_ms() {
            if let Err(error) = self.flush(cut_ms).await {
                return self.failed("the head's oldest data could not be written as a block", &error);
            }
            self.errands().await;
        }
        if self.state.checkpoint_is_due()
            && let Err(error) = self.checkpoint().await
        {
            return self.failed("a checkpoint could not be written", &error);
        }
        if let Err(error) = self.compact().await {
            return self.failed("blocks could not be brought together", &error);
        }
        if let Err(error) = self.rewrite().await {
            return self.failed("blocks could not be written anew without what was deleted", &error);
        }
        self.expire();
        true
    }

    /// Does what it was asked to, one after the other.
    async fn errands(&self) {
        loop {
            let Some(Errand { task, reply }) = self.state.errands.borrow_mut().pop_front() else { return };
            let done = match task {
                Task::Delete { sets, range } => self.delete(&sets, range).await,
                Task::Clean => self.clean().await,
                Task::Snapshot { directory, with_head } => self.snapshot(&directory, with_head).await,
            };
            // Who asked may be gone.
            let _ = reply.send(done);
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> bool {
        let directory = self.state.blocks.directory();
        tracing::error!(
            shard = self.state.number,
            directory = %directory.display(),
            %error,
            "{what}; nothing is lost, it is tried again"
        );
        self.state.count(|f| f.failures += 1);
        false
    }

    /// Finishes a block whose series are `written`, gives it its name and shows it; `switch` runs in the
    /// same step. On an error nothing is left of it.
    pub(super) async fn adopt(
        &self,
        writer: BlockWriter<D>,
        written: io::Result<()>,
        number: u64,
        unfinished: &Path,
        switch: impl FnOnce(&Block),
    ) -> io::Result<()>
    where
        D::Log: Log,
    {
        if let Err(error) = written {
            writer.abandon();
            return Err(error);
        }
        let started = Instant::now();
        if let Err(error) = writer.finish(&self.pace).await {
            // Its file is there still, unless that was what failed.
            let _ = self.disk.remove(unfinished);
            return Err(error);
        }
        let block = self.state.blocks.adopt(&self.disk, unfinished, number, self.state.owner)?;
        let directory = block.directory().clone();
        switch(&block);
        self.state.blocks.publish(block);
        self.state.count(|f| {
            if directory.sources.is_empty() {
                f.flushes += 1;
            } else {
                f.compactions += 1;
            }
        });
        tracing::info!(
            shard = self.state.number,
            block = number,
            series = directory.series,
            samples = directory.samples + directory.histograms,
            chunks = directory.chunks,
            sources = directory.sources.len(),
            finish_ms = started.elapsed().as_millis() as u64,
            "block written"
        );
        Ok(())
    }
}

impl ShardState {
    /// Up to when the head's samples should be in a block, if any should.
    fn due_cut_ms(&self) -> Option<i64> {
        let head = self.head.borrow();
        let (min_ms, max_ms) = (head.figures.min_ms?, head.figures.max_ms?);
        let range_ms = self.store.block_range_ms;
        let end_ms = min_ms.div_euclid(range_ms).checked_add(1)?.checked_mul(range_ms)?;
        // Late samples still come for a while.
        let open_ms = (range_ms / 2).max(self.store.settings.out_of_order_ms());
        if max_ms >= end_ms.checked_add(open_ms)? {
            return Some(end_ms);
        }
        // Where memory is short, all but the out-of-order window; but no crumbs.
        let early_ms = max_ms.saturating_sub(self.store.settings.out_of_order_ms()).min(end_ms);
        let enough = early_ms.saturating_sub(min_ms) >= range_ms / EARLY_PART;
        (self.pressed.get() && enough).then_some(early_ms)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut KeeperFigures)) {
        let mut figures = self.kept.get();
        change(&mut figures);
        self.kept.set(figures);
    }
}
