//! A shard's blocks become fewer and larger, and go when their time is over or they take too much room.

use super::keeper::Keeper;
use crate::block::file::Directory;
use crate::block::writer::BlockWriter;
use crate::block::{Block, tombstones};
use crate::compact::choose::{Candidate, choose};
use crate::compact::merge::{self, MergeError};
use crate::config;
use crate::disk::{Disk, faults, names};
use crate::pace::Pace;
use hearth_kernels::codec::Effort;
use hearth_model::StoreError;
use std::io;
use std::rc::Rc;

/// No block covers more than this part of the retention: what is expired goes block by block.
const RETENTION_PART: i64 = 10;

impl<D: Disk, P: Pace> Keeper<D, P> {
    /// The blocks that should become one, in order of time.
    fn chosen(&self) -> Option<Vec<Rc<Block>>> {
        let list = self.state.blocks.list();
        // What is damaged stays as it is: what is readable of it is served.
        let whole = list.iter().filter(|b| b.damages() == 0);
        let candidates: Vec<Candidate> =
            whole.map(|b| Candidate { number: b.number(), range: b.range() }).collect();
        let longest_ms = self.state.store.settings.retention_ms() / RETENTION_PART;
        let until_ms = self.state.head_from_ms.get();
        let numbers = choose(&candidates, self.state.store.block_range_ms, longest_ms, until_ms)?;
        Some(list.iter().filter(|b| numbers.contains(&b.number())).cloned().collect())
    }

    /// Writes blocks anew that much was deleted from.
    pub(super) async fn rewrite(&self) -> io::Result<()> {
        let quiet_ms = (self.state.store.clock)().saturating_sub(self.state.last_delete_ms.get());
        let due = |block: &Rc<Block>| {
            let stones = block.tombstones();
            let many = stones.series_count() * config::REWRITE_PART > block.directory().series;
            let full = stones.entry_count() > tombstones::MAX_ENTRIES;
            block.damages() == 0 && (full || many && quiet_ms >= config::REWRITE_DELAY_MS)
        };
        while let Some(block) = self.state.blocks.list().iter().find(|b| due(b)).cloned() {
            match self.compact_one(std::slice::from_ref(&block)).await {
                Err(MergeError::Io(error)) => return Err(error),
                // It is not chosen again.
                Err(MergeError::Damaged) if block.damages() > 0 => {}
                Err(MergeError::Damaged) => {
                    return Err(io::Error::other("a block's index does not fit together"));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Writes all blocks anew that anything was deleted from.
    pub(super) async fn clean(&self) -> Result<(), StoreError> {
        let list = self.state.blocks.list();
        for block in list.iter().filter(|b| !b.tombstones().is_empty()) {
            let failed = |why: &dyn std::fmt::Display| {
                let (shard, number) = (self.state.number, block.number());
                StoreError::Io(format!("shard {shard}: block {number}: {why}"))
            };
            match self.compact_one(std::slice::from_ref(block)).await {
                Ok(()) => {}
                Err(MergeError::Io(error)) => return Err(failed(&error)),
                Err(MergeError::Damaged) => return Err(failed(&"it is damaged and stays as it is")),
            }
        }
        Ok(())
    }

    /// Brings blocks together until there is nothing left to bring together.
    pub(super) async fn compact(&self) -> io::Result<()> {
        while let Some(sources) = self.chosen() {
            match self.compact_one(&sources).await {
                Err(MergeError::Io(error)) => return Err(error),
                Err(MergeError::Damaged) => {
                    tracing::warn!(
                        shard = self.state.number,
                        "damaged blocks are not brought together, they stay as they are"
                    );
                    // It chooses others from now on, where the damage is one that is counted.
                    if sources.iter().all(|b| b.damages() == 0) {
                        return Err(io::Error::other("a block's index does not fit together"));
                    }
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    async fn compact_one(&self, sources: &[Rc<Block>]) -> Result<(), MergeError> {
        let faults_before = faults::count();
        let (symbols, translated) = merge::strings(sources, &self.pace).await?.split();
        let number = self.state.blocks.take_number();
        let unfinished =
            names::block(&self.state.blocks.directory(), number).with_extension(names::UNFINISHED);
        let directory = Directory {
            shard: self.state.owner.shard,
            number,
            seed: self.state.owner.seed,
            cut_ms: sources.iter().map(|b| b.directory().cut_ms).max().unwrap_or(i64::MIN),
            sources: sources.iter().map(|b| b.number()).collect(),
            ..Directory::default()
        };
        let mut writer = BlockWriter::create(&self.disk, &unfinished, directory, symbols, Effort::Small)?;
        if let Err(error) = merge::series(sources, &translated, &mut writer, &self.pace).await {
            writer.abandon();
            return Err(error);
        }
        if faults::count() != faults_before {
            writer.abandon();
            return Err(io::Error::other("a page of a block went bad while it was read").into());
        }
        self.adopt(writer, Ok(()), number, &unfinished, |_| {}).await?;
        for source in sources {
            self.state.blocks.remove(&self.disk, source);
        }
        Ok(())
    }

    /// Bytes that blocks and logs of all shards may take; 0: as many as there is room for.
    fn retention_bytes(&self) -> u64 {
        let settings = &self.state.store.settings;
        let percent = settings.retention_percent();
        if percent <= 0.0 {
            return settings.retention_bytes();
        }
        match self.disk.total_bytes(&self.state.blocks.directory()) {
            // At least a byte for each shard: none at all would be no limit.
            Ok(total) => {
                ((total as f64 * percent / 100.0) as u64).max(self.state.store.router.shards() as u64)
            }
            Err(error) => {
                tracing::warn!(shard = self.state.number, %error, "the disk does not say how large it is, its retention waits");
                0
            }
        }
    }

    /// Deletes blocks past the retention, and the oldest where all of them take too much room.
    pub(super) fn expire(&self) {
        let cutoff_ms = self.state.retention_cutoff_ms((self.state.store.clock)());
        let list = self.state.blocks.list();
        for block in list.iter().filter(|b| b.range().max_ms < cutoff_ms) {
            tracing::info!(shard = self.state.number, block = block.number(), "block past retention deleted");
            self.state.blocks.remove(&self.disk, block);
            self.state.store.watermarks.dropped(self.state.number, block.range().max_ms);
            self.state.count(|f| f.blocks_expired += 1);
        }
        let share = self.retention_bytes() / self.state.store.router.shards() as u64;
        while share > 0 && self.state.blocks.len_bytes() + self.state.queue.figures().bytes > share {
            let Some(oldest) = self.state.blocks.list().first().cloned() else { return };
            tracing::info!(
                shard = self.state.number,
                block = oldest.number(),
                limit_bytes = share,
                "oldest block deleted, all data takes more room than it may"
            );
            self.state.blocks.remove(&self.disk, &oldest);
            self.state.store.watermarks.dropped(self.state.number, oldest.range().max_ms);
            self.state.count(|f| f.blocks_crowded_out += 1);
        }
    }
}
