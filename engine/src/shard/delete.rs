//! Deletions. The keeper does them, so that no block comes or goes meanwhile.
//!
//! 1. For each block, the series that match are put among its tombstones: the file beside the block is
//!    replaced by one that holds them too, then readers see it.
//! 2. Exemplars go, whether their series is in memory or not; the log is told their keys.
//! 3. The matching series lose their samples in memory, a few series at a time, and the log is told in
//!    the same step: what is written behind it stays.
//! 4. Once the log is on stable storage the deletion is acknowledged.

use super::keeper::Keeper;
use crate::block::Block;
use crate::block::tombstones::{Grave, Tombstones};
use crate::config;
use crate::disk::{Disk, Log, faults, names};
use crate::index;
use crate::pace::Pace;
use futures_channel::oneshot;
use hearth_model::store::MatcherSets;
use hearth_model::{Ack, Matcher, StoreError, TimeRange, key};
use roaring::RoaringBitmap;
use std::io;
use std::sync::Arc;

impl<D: Disk, P: Pace> Keeper<D, P> {
    /// See the module's head.
    pub(super) async fn delete(&self, sets: &MatcherSets, range: TimeRange) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        if let Some(why) = self.state.queue.read_only() {
            return Err(StoreError::ReadOnly(why));
        }
        self.state.last_delete_ms.set((self.state.store.clock)());
        let in_blocks = self.delete_from_blocks(sets, range).await;
        let in_head = self.delete_from_head(sets, range).await;
        // Whatever went wrong, some of it may be gone.
        self.state.store.watermarks.changed(self.state.number, range.min_ms);
        let failed = in_blocks.and(in_head).err();
        match failed {
            Some(error) => {
                tracing::error!(shard = self.state.number, %error, "samples could not all be deleted");
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// All blocks are tried; the first failure is told.
    async fn delete_from_blocks(&self, sets: &MatcherSets, range: TimeRange) -> Result<(), StoreError> {
        let mut result = Ok(());
        for block in self.state.blocks.list().iter().filter(|b| b.range().overlaps(range)) {
            if let Err(why) = self.delete_from_block(block, sets, range).await {
                let (shard, number) = (self.state.number, block.number());
                let error = StoreError::Io(format!("shard {shard}: block {number}: {why}"));
                result = result.and(Err(error));
            }
            self.pace.pause().await;
        }
        result
    }

    async fn delete_from_block(
        &self,
        block: &Block,
        sets: &MatcherSets,
        range: TimeRange,
    ) -> Result<(), io::Error> {
        let damaged = |_| io::Error::other("its index is damaged, not all that matches can be found");
        let faults_before = faults::count();
        let mut series = RoaringBitmap::new();
        for set in sets {
            series |= index::select(block, set).map_err(damaged)?;
            self.pace.pause().await;
        }
        if faults::count() != faults_before {
            return Err(io::Error::other("a page went bad while it was read"));
        }
        let before = block.tombstones();
        let mut stones = Tombstones::clone(&before);
        stones.add(range.intersection(block.range()), &series);
        if stones == *before {
            return Ok(());
        }
        let directory = block.directory();
        let grave = Grave {
            shard: directory.shard,
            number: directory.number,
            seed: directory.seed,
            cut_ms: directory.cut_ms,
        };
        self.bury(grave, stones.print(grave)).await?;
        block.set_tombstones(stones);
        Ok(())
    }

    /// Puts a block's tombstones in place of those from before.
    async fn bury(&self, grave: Grave, bytes: Vec<u8>) -> io::Result<()> {
        let path = names::tombstones(&self.state.blocks.directory(), grave.number);
        let unfinished = path.with_extension(names::UNFINISHED);
        match self.disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut log = self.disk.create_file(&unfinished)?;
        let (written, _) = log.append(bytes, true).await;
        drop(log);
        let result = written.and_then(|()| self.disk.rename(&unfinished, &path));
        if result.is_err() {
            // One that stays is removed at the next start.
            let _ = self.disk.remove(&unfinished);
        }
        result
    }

    /// Takes exemplars away, whose series may have left memory; returns whether there were any.
    async fn delete_exemplars(&self, sets: &MatcherSets, range: TimeRange) -> bool {
        let mut some = false;
        let series = self.state.exemplars.borrow().series();
        for slice in series.chunks(config::DELETE_SERIES) {
            some |= self.delete_exemplars_of(slice, sets, range);
            self.state.queue.room().await;
            self.pace.pause().await;
        }
        some
    }

    fn delete_exemplars_of(&self, series: &[u128], sets: &MatcherSets, range: TimeRange) -> bool {
        let mut exemplars = self.state.exemplars.borrow_mut();
        let wanted = |series: &u128| {
            let (labels, mut found) = exemplars.of(*series)?;
            let matches = |set: &Arc<[Matcher]>| set.iter().all(|m| m.matches(labels.value(&m.name)));
            let is_wanted = sets.iter().any(matches) && found.any(|e| range.contains(e.timestamp_ms));
            is_wanted.then(|| (*series, key::key_of(labels)))
        };
        let (hashes, keys): (Vec<u128>, Vec<Vec<u8>>) = series.iter().filter_map(wanted).unzip();
        if hashes.is_empty() {
            return false;
        }
        self.state.queue.with_open(|commit| commit.push_exemplar_deletion(range, keys));
        hashes.into_iter().for_each(|series| exemplars.delete(series, range));
        true
    }

    async fn delete_from_head(&self, sets: &MatcherSets, range: TimeRange) -> Result<(), StoreError> {
        let exemplars = self.delete_exemplars(sets, range).await;
        let mut ids = RoaringBitmap::new();
        for set in sets {
            ids |= self.state.head.borrow().select(set);
            self.pace.pause().await;
        }
        let ids: Vec<u32> = ids.into_iter().collect();
        for slice in ids.chunks(config::DELETE_SERIES) {
            self.state.queue.with_open(|commit| {
                let mut head = self.state.head.borrow_mut();
                let mut exemplars = self.state.exemplars.borrow_mut();
                // What is in a block by now may be in the log still: so it concerns all of them.
                commit.push_deletion(range, slice.iter().map(|id| head.reference(*id)));
                for id in slice {
                    head.delete(*id, range);
                    exemplars.delete(head.hash(*id), range);
                }
            });
            self.state.queue.room().await;
            self.pace.pause().await;
        }
        if ids.is_empty() && !exemplars {
            return Ok(());
        }
        let (tell, told) = oneshot::channel();
        self.state.queue.submit(Ack::Synced, Box::new(move |result| drop(tell.send(result))));
        told.await.unwrap_or(Err(StoreError::Closed))
    }
}
