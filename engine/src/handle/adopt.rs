//! What was made beside the shards, for them: blocks, exemplars, metadata; and the thread that makes them.

use super::{Handle, Identity, OpenError, read_identity};
use crate::disk::names;
use crate::progress::Progress;
use crate::router::Router;
use crate::shard::request::{AdoptRequest, Beside, Request, RestoreRequest};
use futures_channel::oneshot;
use futures_executor::block_on;
use hearth_model::StoreError;
use hearth_model::batch::Exemplar;
use hearth_model::metadata::MetricMetadata;
use hearth_model::store::{Admin, StoreFigures};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// Exemplars, or what is said of metrics, that go to a shard in one request: some megabytes at most.
const RESTORED_AT_ONCE: usize = 1024;

/// The identity of a data directory, if it has one; nothing is written.
pub(crate) fn stored_identity(path: &Path) -> Result<Option<Identity>, OpenError> {
    let read = [names::IDENTITY, names::IDENTITY_COPY].map(|name| read_identity(&path.join(name)));
    match read {
        [Ok(Some(identity)), _] | [_, Ok(Some(identity))] => Ok(Some(identity)),
        [Ok(None), Ok(None)] => Ok(None),
        [Err(error), _] | [_, Err(error)] => Err(error),
    }
}

impl Handle {
    pub(crate) fn router(&self) -> &Router {
        &self.inner.router
    }

    pub(crate) fn seed(&self) -> u64 {
        self.inner.identity.seed
    }

    /// What is older is past the retention, as it is now.
    pub(crate) fn oldest_ms(&self) -> i64 {
        (self.inner.clock)().saturating_sub(self.inner.settings.retention_ms())
    }

    /// How far a takeover is, if there is one.
    pub fn progress(&self) -> Arc<Progress> {
        self.inner.progress.clone()
    }

    /// Keeps the thread that takes over another server's data: closing waits for it.
    pub(crate) fn host(&self, thread: JoinHandle<()>) {
        *self.inner.worker.lock().unwrap_or_else(|e| e.into_inner()) = Some(thread);
    }

    /// Waits until everything is taken over that was there at the start and can be; blocks.
    pub fn finish_takeover(&self) {
        self.inner.progress.wait();
    }

    /// Tells the thread that takes over to end, and waits until it has.
    pub(super) fn stop_takeover(&self) {
        self.inner.progress.stop();
        let worker = self.inner.worker.lock().unwrap_or_else(|e| e.into_inner()).take();
        if worker.is_some_and(|worker| worker.join().is_err()) {
            tracing::error!("the thread that takes over data had panicked");
        }
    }

    /// Asks one shard and waits for its answer.
    fn ask<T>(
        &self,
        shard: usize,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        block_on(self.send(shard, request(reply)))?;
        block_on(answer).map_err(|_| StoreError::Closed)
    }

    /// What is in blocks that are still to be converted would come back after a deletion, and be missing from a
    /// snapshot.
    pub(super) fn check_taken_over(&self) -> Result<(), StoreError> {
        match self.inner.progress.blocks_pending.load(Ordering::Relaxed) {
            0 => Ok(()),
            pending => {
                Err(StoreError::ReadOnly(format!("{pending} blocks of Prometheus are still to be converted")))
            }
        }
    }

    pub(super) fn with_takeover(&self, figures: StoreFigures) -> StoreFigures {
        let progress = &self.inner.progress;
        StoreFigures {
            takeover_blocks_pending: progress.blocks_pending.load(Ordering::Relaxed),
            takeover_blocks_converted: progress.blocks_converted.load(Ordering::Relaxed),
            takeover_blocks_damaged: progress.blocks_damaged.load(Ordering::Relaxed),
            ..figures
        }
    }

    /// A number that no block of the shard had.
    pub(crate) fn take_block_number(&self, shard: usize) -> Result<u64, StoreError> {
        self.ask(shard, Request::TakeBlockNumber)
    }

    /// Shows a finished block to the shard's readers.
    pub(crate) fn adopt_block(
        &self,
        shard: usize,
        number: u64,
        unfinished: PathBuf,
    ) -> Result<(), StoreError> {
        self.ask(shard, |reply| Request::AdoptBlock(AdoptRequest { number, unfinished, reply }))?
    }

    /// Gives the shards exemplars, each with the key of its series, and metadata, as they were taken elsewhere: nothing
    /// is judged again, and the series need not be here.
    pub(crate) fn restore(
        &self,
        exemplars: impl IntoIterator<Item = (Vec<u8>, Exemplar)>,
        metadata: impl IntoIterator<Item = MetricMetadata>,
    ) -> Result<(), StoreError> {
        let mut parts: Vec<Beside> = (0..self.shards()).map(|_| Beside::default()).collect();
        let router = self.router();
        let send = |shard: usize, part: &mut Beside| {
            let beside = std::mem::take(part);
            self.ask(shard, |reply| Request::Restore(RestoreRequest { beside, reply }))?
        };
        for (key, exemplar) in exemplars {
            let shard = router.shard(router.hash(&key));
            parts[shard].exemplars.push((key, exemplar));
            if parts[shard].exemplars.len() >= RESTORED_AT_ONCE {
                send(shard, &mut parts[shard])?;
            }
        }
        for said in metadata {
            let shard = router.shard(router.hash(said.name.as_bytes()));
            parts[shard].metadata.push(said);
            if parts[shard].metadata.len() >= RESTORED_AT_ONCE {
                send(shard, &mut parts[shard])?;
            }
        }
        parts.iter_mut().enumerate().try_for_each(|(shard, part)| send(shard, part))
    }

    /// Closes the store; an error where not everything that was written is on stable storage.
    pub(crate) fn close_synced(&self, path: &Path) -> Result<(), StoreError> {
        let figures = block_on(self.figures())?;
        self.close();
        if figures.read_only || figures.wal_failures > 0 {
            return Err(StoreError::Io("the log could not be written".into()));
        }
        for shard in 0..self.shards() {
            let wal = names::shard_directory(path, shard).join(names::WAL);
            sync_all(&wal).map_err(|error| StoreError::Io(format!("{}: {error}", wal.display())))?;
        }
        Ok(())
    }
}

fn sync_all(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(directory)?.sync_all()
}
