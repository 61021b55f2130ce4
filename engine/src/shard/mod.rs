//! A shard: one owner thread, one mailbox, one loop. Nothing in here is touched by another thread.
//!
//! The loop: take what waits in the mailbox (a little at a time), do it, let the committer write what
//! came in. Queries run as tasks beside the loop and give way every millisecond.

pub mod append;
#[cfg(test)]
mod commits;
pub mod recover;
pub mod request;
pub mod runtime;
#[cfg(test)]
mod simulation;
pub mod upkeep;
pub mod view;

use crate::config;
use crate::disk::Disk;
use crate::head::Head;
use crate::router::Router;
use crate::wal::commit::{CommitQueue, Committer};
use hearth_model::StoreError;
use hearth_model::store::StoreFigures;
use recover::Recovery;
use request::{Request, ShardFigures};
use runtime::Runtime;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What every shard of a store knows about the store.
#[derive(Debug, Clone)]
pub struct Store {
    pub router: Router,
    pub max_series: u64,
    pub head_limit_bytes: u64,
    pub retention: Duration,
    pub clock: fn() -> i64,
}

/// What the loop and the tasks beside it share.
pub struct ShardState {
    pub number: usize,
    pub store: Store,
    pub head: RefCell<Head>,
    pub queue: Rc<CommitQueue>,
    pub recovery: Recovery,
    last_upkeep_ms: Cell<i64>,
}

/// Recovers a shard and returns its state and the committer that goes on with its log.
pub fn open<D: Disk>(
    number: usize,
    store: Store,
    disk: D,
    options: crate::wal::commit::CommitOptions,
) -> Result<(Rc<ShardState>, Committer<D>), crate::wal::replay::ReplayError> {
    let mut head = Head::default();
    let recovery = recover::recover(&disk, &options, &store.router, &mut head)?;
    let queue = Rc::new(CommitQueue::new(options.commit_buffer_bytes));
    let committer = Committer::new(disk, options, queue.clone(), recovery.replayed.position.clone());
    let now = (store.clock)();
    let state = ShardState {
        number,
        store,
        head: RefCell::new(head),
        queue,
        recovery,
        last_upkeep_ms: Cell::new(now),
    };
    Ok((Rc::new(state), committer))
}

/// Serves the mailbox until every sender is gone or a close was asked for.
pub async fn serve(state: Rc<ShardState>, runtime: Runtime, mailbox: flume::Receiver<Request>) {
    while let Ok(first) = mailbox.recv_async().await {
        let mut next = Some(first);
        for _ in 0..config::DRAIN_REQUESTS {
            let Some(request) = next else { break };
            if state.handle(&runtime, request) {
                return;
            }
            // A request is taken only when it is done at once: a frame must not outgrow its limit.
            next = if state.queue.has_room() { mailbox.try_recv().ok() } else { None };
        }
        if let Some(request) = next
            && state.handle(&runtime, request)
        {
            return;
        }
        state.upkeep();
        state.queue.room().await;
        runtime.yield_if_needed().await;
    }
    state.queue.close();
}

impl ShardState {
    /// Does one request; `true` after a close.
    fn handle(self: &Rc<Self>, runtime: &Runtime, request: Request) -> bool {
        match request {
            Request::Append(append) => self.append(append),
            Request::Job(job) => {
                runtime.spawn(job(view::Place { state: self.clone(), runtime: runtime.clone() }))
            }
            Request::Figures(reply) => drop(reply.send(self.figures())),
            Request::HeadStatus(reply) => drop(reply.send(self.head.borrow().status())),
            Request::Close => {
                self.queue.close();
                return true;
            }
        }
        false
    }

    fn figures(&self) -> ShardFigures {
        let head = self.head.borrow();
        let log = self.queue.figures();
        let replayed = &self.recovery.replayed;
        StoreFigures {
            shards: 1,
            series: u64::from(head.series_count()),
            series_created: u64::from(head.series_count()),
            chunks: head.figures.chunks_created - head.figures.chunks_dropped,
            chunks_created: head.figures.chunks_created,
            samples_appended: head.figures.samples,
            histograms_appended: head.figures.histograms,
            samples_repeated: head.figures.repeated,
            refused: head.figures.refused,
            min_ms: head.figures.min_ms,
            max_ms: head.figures.max_ms,
            head_bytes: head.size_bytes() as u64,
            wal_bytes: log.bytes,
            wal_segment: log.segment,
            wal_commits: log.commits,
            wal_syncs: log.syncs,
            wal_sync_seconds: log.sync_time.as_secs_f64(),
            wal_failures: log.failures,
            wal_corruptions: replayed.damages + u64::from(replayed.torn_bytes > 0),
            replay_seconds: self.recovery.time.as_secs_f64(),
            read_only: self.queue.is_read_only(),
            ..StoreFigures::default()
        }
    }

    /// Why writes are refused now, if they are.
    fn refuses_writes(&self) -> Option<StoreError> {
        if let Some(why) = self.queue.read_only() {
            return Some(StoreError::ReadOnly(why));
        }
        let share = self.memory_share_bytes();
        let held = self.head.borrow().size_bytes() as u64;
        if held <= share || self.make_room() {
            return None;
        }
        Some({
            StoreError::ReadOnly(format!(
                "shard {} holds {held} bytes in memory, its share of the limit is {share}",
                self.number
            ))
        })
    }
}
