//! What an operator asks a store, over all its shards: figures, deletions, snapshots.

use super::Handle;
use crate::disk::blocking::BlockingDisk;
use crate::disk::{Disk, names};
use crate::head::status::merge_status;
use crate::shard::request::{Errand, Request, Task};
use hearth_model::store::{Admin, BoxFuture, HeadStatus, MatcherSets, StoreFigures};
use hearth_model::{StoreError, TimeRange};
use std::io;
use std::path::Path;

impl Handle {
    /// Lets every shard do the same; all of them end before the first failure is told.
    async fn errand(&self, task: impl Fn() -> Task) -> Result<(), StoreError> {
        let errand = |reply| Request::Errand(Errand { task: task(), reply });
        self.ask_all(errand).await?.into_iter().collect()
    }

    /// Makes a snapshot under an unfinished name, and gives it its own when it is whole.
    async fn make_snapshot(&self, name: String, with_head: bool) -> Result<(), StoreError> {
        if name.is_empty() || name.contains(['/', '.']) {
            return Err(StoreError::Io(format!("{name:?} is no name for a snapshot")));
        }
        let all = self.inner.path.join(names::SNAPSHOTS);
        let (path, unfinished) = (all.join(&name), all.join(name).with_extension(names::UNFINISHED));
        let failed = |error: io::Error| StoreError::Io(format!("{}: {error}", path.display()));
        let prepare = || {
            BlockingDisk.make_directory(&all)?;
            if path.exists() || unfinished.exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            BlockingDisk.make_directory(&unfinished)?;
            [names::IDENTITY, names::IDENTITY_COPY].iter().try_for_each(|file| {
                BlockingDisk.write_whole(&unfinished.join(file), self.inner.identity.print().as_bytes())
            })
        };
        prepare().map_err(failed)?;
        let task = || Task::Snapshot { directory: unfinished.clone(), with_head };
        let made = match self.errand(task).await {
            Ok(()) => BlockingDisk.rename(&unfinished, &path).map_err(failed),
            Err(error) => Err(error),
        };
        if made.is_err() {
            forget(&unfinished);
        }
        made
    }
}

/// Removes a snapshot that did not become one.
fn forget(unfinished: &Path) {
    if let Err(error) = std::fs::remove_dir_all(unfinished) {
        tracing::warn!(directory = %unfinished.display(), %error, "an unfinished snapshot stays");
    }
}

impl Admin for Handle {
    fn figures(&self) -> BoxFuture<'_, Result<StoreFigures, StoreError>> {
        Box::pin(async {
            let mut parts = self.ask_all(Request::Figures).await?.into_iter();
            let first = parts.next().ok_or(StoreError::Closed)?;
            let all = self.with_takeover(parts.fold(first, add_figures));
            Ok(StoreFigures { clean_start: self.inner.clean_start, ..all })
        })
    }

    fn head_status(&self, limit: usize) -> BoxFuture<'_, Result<HeadStatus, StoreError>> {
        Box::pin(async move { Ok(merge_status(self.ask_all(Request::HeadStatus).await?, limit)) })
    }

    fn delete_series(&self, sets: MatcherSets, range: TimeRange) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.check_taken_over()?;
            self.errand(move || Task::Delete { sets: sets.clone(), range }).await
        })
    }

    fn clean_tombstones(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.errand(|| Task::Clean))
    }

    fn snapshot(&self, name: String, with_head: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.check_taken_over()?;
            self.make_snapshot(name, with_head).await
        })
    }
}

fn add_figures(a: StoreFigures, b: StoreFigures) -> StoreFigures {
    let mut refused = a.refused;
    refused.iter_mut().zip(b.refused).for_each(|(sum, part)| *sum += part);
    StoreFigures {
        shards: a.shards + b.shards,
        series: a.series + b.series,
        series_created: a.series_created + b.series_created,
        series_removed: a.series_removed + b.series_removed,
        chunks: a.chunks + b.chunks,
        chunks_created: a.chunks_created + b.chunks_created,
        samples_appended: a.samples_appended + b.samples_appended,
        histograms_appended: a.histograms_appended + b.histograms_appended,
        samples_repeated: a.samples_repeated + b.samples_repeated,
        samples_late: a.samples_late + b.samples_late,
        refused,
        min_ms: a.min_ms.into_iter().chain(b.min_ms).min(),
        max_ms: a.max_ms.max(b.max_ms),
        head_bytes: a.head_bytes + b.head_bytes,
        wal_bytes: a.wal_bytes + b.wal_bytes,
        wal_segment: a.wal_segment.max(b.wal_segment),
        wal_commits: a.wal_commits + b.wal_commits,
        wal_syncs: a.wal_syncs + b.wal_syncs,
        wal_sync_seconds: a.wal_sync_seconds + b.wal_sync_seconds,
        wal_failures: a.wal_failures + b.wal_failures,
        wal_corruptions: a.wal_corruptions + b.wal_corruptions,
        replay_seconds: a.replay_seconds.max(b.replay_seconds),
        clean_start: a.clean_start && b.clean_start,
        read_only: a.read_only || b.read_only,
        blocks: a.blocks + b.blocks,
        block_bytes: a.block_bytes + b.block_bytes,
        blocks_set_aside: a.blocks_set_aside + b.blocks_set_aside,
        block_damages: a.block_damages + b.block_damages,
        blocks_flushed: a.blocks_flushed + b.blocks_flushed,
        blocks_compacted: a.blocks_compacted + b.blocks_compacted,
        block_failures: a.block_failures + b.block_failures,
        blocks_expired: a.blocks_expired + b.blocks_expired,
        blocks_crowded_out: a.blocks_crowded_out + b.blocks_crowded_out,
        exemplars_appended: a.exemplars_appended + b.exemplars_appended,
        exemplars_out_of_order: a.exemplars_out_of_order + b.exemplars_out_of_order,
        exemplars: a.exemplars + b.exemplars,
        exemplar_series: a.exemplar_series + b.exemplar_series,
        exemplar_oldest_ms: a.exemplar_oldest_ms.into_iter().chain(b.exemplar_oldest_ms).min(),
        max_exemplars: a.max_exemplars + b.max_exemplars,
        retention_ms: a.retention_ms,
        retention_bytes: a.retention_bytes,
        retention_percent: a.retention_percent,
        out_of_order_ms: a.out_of_order_ms,
        takeover_blocks_pending: a.takeover_blocks_pending,
        takeover_blocks_converted: a.takeover_blocks_converted,
        takeover_blocks_damaged: a.takeover_blocks_damaged,
    }
}
