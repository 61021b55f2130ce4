//! A shard: one owner thread, one mailbox, one loop. Nothing in here is touched by another thread.
//!
//! The loop: take what waits in the mailbox (a little at a time), do it, let the committer write what
//! came in. Queries run as tasks beside the loop and give way every [`config::SLICE`].

mod adopt;
pub mod append;
pub mod blocks;
mod checkpoint;
#[cfg(test)]
mod commits;
mod compact;
pub mod cursor;
#[cfg(test)]
mod damage;
mod delete;
mod flush;
pub mod gather;
mod groups;
pub mod keeper;
mod leaps;
pub mod members;
pub mod readers;
mod recent;
pub mod recover;
mod references;
pub mod request;
pub mod runtime;
#[cfg(test)]
mod simulation;
mod snapshot;
mod sorting;
mod sources;
pub mod upkeep;
pub mod view;

use crate::census::Census;
use crate::config;
use crate::disk::Disk;
use crate::exemplars::Exemplars;
use crate::harm::Harm;
use crate::head::Head;
use crate::head::status::ShardStatus;
use crate::metadata::MetadataTable;
use crate::pace::Pace;
use crate::router::Router;
use crate::settings::Settings;
use crate::signal::Signal;
use crate::wal::commit::{CommitQueue, Committer};
use blocks::{Blocks, Owner};
use futures_channel::oneshot;
use hearth_model::StoreError;
use hearth_model::store::StoreFigures;
use hearth_model::watermark::Watermarks;
use keeper::KeeperFigures;
use leaps::Leaps;
use readers::Readers;
use recent::Recent;
use recover::{Filled, Recovery};
use request::{Errand, Request, ShardFigures};
use runtime::Runtime;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// What every shard of a store knows about the store.
#[derive(Debug, Clone)]
pub struct Store {
    pub router: Router,
    pub census: Arc<Census>,
    pub settings: Arc<Settings>,
    pub head_limit_bytes: u64,
    /// See [`config::Options::checkpoint_bytes`].
    pub checkpoint_bytes: u64,
    /// Length of the stretch of time that goes into one block.
    pub block_range_ms: i64,
    pub clock: fn() -> i64,
    /// Every way on which samples come, are deleted or grow too old is noted here: who keeps results of
    /// queries relies on it.
    pub watermarks: Arc<Watermarks>,
    pub harm: Arc<Harm>,
}

impl Store {
    /// A shard's share of the exemplars.
    fn max_exemplars(&self) -> usize {
        self.settings.max_exemplars().div_ceil(self.router.shards())
    }
}

/// What the loop and the tasks beside it share.
pub struct ShardState {
    pub number: usize,
    pub store: Store,
    pub head: RefCell<Head>,
    pub exemplars: RefCell<Exemplars>,
    pub metadata: RefCell<MetadataTable>,
    pub queue: Rc<CommitQueue>,
    /// Of the series of the request at hand: kept for the memory's sake.
    ids: RefCell<Vec<u32>>,
    pub recovery: Recovery,
    pub blocks: Blocks,
    pub owner: Owner,
    pub readers: Rc<Readers>,
    /// Readers find older samples in blocks, and only there.
    pub head_from_ms: Cell<i64>,
    kept: Cell<KeeperFigures>,
    /// Memory is short.
    pressed: Cell<bool>,
    keeper_work: Signal,
    /// Who waits for the keeper's next round.
    asked: RefCell<Vec<oneshot::Sender<bool>>>,
    errands: RefCell<VecDeque<Errand>>,
    last_delete_ms: Cell<i64>,
    recent: RefCell<Recent>,
    last_upkeep_ms: Cell<i64>,
    leaps: Leaps,
    /// Damaged blocks that the store's [`Harm`] knows.
    harmed: Cell<usize>,
}

/// Recovers a shard and returns its state and the committer that goes on with its log.
pub fn open<D: Disk>(
    number: usize,
    store: Store,
    disk: D,
    options: crate::wal::commit::CommitOptions,
) -> Result<(Rc<ShardState>, Committer<D>), crate::wal::replay::ReplayError> {
    let owner = Owner { shard: options.shard, seed: options.seed };
    let home = options.directory.parent().unwrap_or(&options.directory).to_owned();
    let blocks = Blocks::open(&disk, &home, owner)?;
    let mut head = Head::default();
    head.refuse_before(blocks.cut_ms());
    let mut exemplars = Exemplars::default();
    exemplars.set_capacity(store.max_exemplars());
    // In the log a request's floats stand before its histograms, and late samples among the others: all of
    // it was taken.
    head.set_window(i64::MAX, i64::MAX);
    let mut metadata = MetadataTable::new(config::METADATA_BYTES / store.router.shards());
    let into = Filled { head: &mut head, exemplars: &mut exemplars, metadata: &mut metadata };
    let recovery = recover::recover(&disk, &options, &store.router, into)?;
    exemplars.appended = 0;
    exemplars.out_of_order = 0;
    // The log names series whose samples are all in blocks.
    head.collect_idle();
    head.set_window(store.settings.out_of_order_ms(), i64::MAX);
    head.each_living(|labels| store.census.add(&labels));
    let queue = Rc::new(CommitQueue::new(options.commit_buffer_bytes));
    let committer = Committer::new(disk, options, queue.clone(), recovery.replayed.position.clone());
    let now = (store.clock)();
    let state = ShardState {
        number,
        store,
        head: RefCell::new(head),
        exemplars: RefCell::new(exemplars),
        metadata: RefCell::new(metadata),
        queue,
        ids: RefCell::default(),
        recovery,
        head_from_ms: Cell::new(blocks.cut_ms()),
        blocks,
        owner,
        readers: Rc::default(),
        kept: Cell::default(),
        pressed: Cell::new(false),
        keeper_work: Signal::default(),
        asked: RefCell::default(),
        errands: RefCell::default(),
        last_delete_ms: Cell::new(now),
        recent: RefCell::default(),
        leaps: Leaps::default(),
        harmed: Cell::default(),
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

impl Pace for Runtime {
    async fn pause(&self) {
        self.give_way_if_needed().await;
    }
}

impl ShardState {
    /// Does one request; `true` after a close.
    fn handle(self: &Rc<Self>, runtime: &Runtime, request: Request) -> bool {
        match request {
            Request::Append(append) => self.append(append),
            Request::Job(job) => {
                runtime.spawn(job(view::Place { state: self.clone(), pace: runtime.clone() }))
            }
            Request::Figures(reply) => drop(reply.send(self.figures())),
            Request::HeadStatus(reply) => drop(reply.send(self.status())),
            Request::Tend(reply) => {
                self.asked.borrow_mut().push(reply);
                self.keeper_work.wake();
            }
            Request::Errand(errand) => self.take_errand(errand),
            Request::TakeBlockNumber(reply) => drop(reply.send(self.blocks.take_number())),
            Request::AdoptBlock(request) => self.adopt_block(request),
            Request::Restore(request) => self.restore(request),
            Request::Close => {
                self.queue.close();
                return true;
            }
        }
        false
    }

    /// Lets the keeper do it; refused where too many wait.
    fn take_errand(&self, errand: Errand) {
        let mut errands = self.errands.borrow_mut();
        if errands.len() >= config::ERRANDS {
            // Who asked may be gone.
            let _ = errand.reply.send(Err(StoreError::Overloaded));
            return;
        }
        errands.push_back(errand);
        self.keeper_work.wake();
    }

    fn status(&self) -> ShardStatus {
        let mut recent = self.recent.borrow_mut();
        recent.prune((self.store.clock)(), &self.store.census);
        self.head.borrow().status(recent.iter().map(|new| (new.id, new.hash)))
    }

    fn figures(&self) -> ShardFigures {
        let (head, exemplars) = (self.head.borrow(), self.exemplars.borrow());
        let log = self.queue.figures();
        let replayed = &self.recovery.replayed;
        let (blocks, kept) = (self.blocks.list(), self.kept.get());
        StoreFigures {
            shards: 1,
            series: u64::from(head.series_count()),
            series_created: head.figures.created,
            series_removed: head.figures.removed,
            chunks: head.figures.chunks_created - head.figures.chunks_dropped,
            chunks_created: head.figures.chunks_created,
            samples_appended: head.figures.samples,
            histograms_appended: head.figures.histograms,
            samples_repeated: head.figures.repeated,
            samples_late: head.figures.late,
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
            // Frames that are missing where no damage was met are one: a segment in their midst was emptied.
            wal_corruptions: replayed.damages
                + u64::from(replayed.torn_bytes > 0)
                + u64::from(replayed.lost_frames > 0 && replayed.damages == 0),
            replay_seconds: self.recovery.time.as_secs_f64(),
            read_only: self.queue.is_read_only(),
            blocks: blocks.len() as u64,
            block_bytes: self.blocks.len_bytes(),
            blocks_set_aside: self.blocks.set_aside_count(),
            block_damages: blocks.iter().map(|b| b.damages()).sum(),
            blocks_flushed: kept.flushes,
            blocks_compacted: kept.compactions,
            block_failures: kept.failures,
            blocks_expired: kept.blocks_expired,
            blocks_crowded_out: kept.blocks_crowded_out,
            exemplars_appended: exemplars.appended,
            exemplars_out_of_order: exemplars.out_of_order,
            exemplars: exemplars.count() as u64,
            exemplar_series: exemplars.series_count() as u64,
            exemplar_oldest_ms: exemplars.oldest_ms(),
            max_exemplars: exemplars.capacity() as u64,
            retention_ms: self.store.settings.retention_ms(),
            retention_bytes: self.store.settings.retention_bytes(),
            retention_percent: self.store.settings.retention_percent(),
            out_of_order_ms: self.store.settings.out_of_order_ms(),
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
        if self.fits_memory(held) {
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
