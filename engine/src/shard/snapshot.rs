//! A snapshot of a shard: its blocks and their tombstones under second names, and what is in memory as one more
//! block. What it makes can be opened as the shard of a data directory by itself.

use super::keeper::Keeper;
use crate::disk::{Disk, names};
use crate::pace::Pace;
use hearth_model::{StoreError, TimeRange};
use std::io;
use std::path::Path;

impl<D: Disk, P: Pace> Keeper<D, P> {
    /// Makes the shard's part of a snapshot inside `directory`, which is there and has nothing of this shard.
    pub(super) async fn snapshot(&self, directory: &Path, with_head: bool) -> Result<(), StoreError> {
        let made = self.make_snapshot(directory, with_head).await;
        made.map_err(|error| StoreError::Io(format!("shard {}: {error}", self.state.number)))
    }

    async fn make_snapshot(&self, directory: &Path, with_head: bool) -> io::Result<()> {
        let home = names::shard_directory(directory, self.state.number);
        let blocks = home.join(names::BLOCKS);
        self.disk.make_directory(&home)?;
        self.disk.make_directory(&blocks)?;
        let own = self.state.blocks.directory();
        for block in self.state.blocks.list().iter() {
            let number = block.number();
            self.disk.link(&names::block(&own, number), &names::block(&blocks, number))?;
            if !block.tombstones().is_empty() {
                self.disk.link(&names::tombstones(&own, number), &names::tombstones(&blocks, number))?;
            }
            self.pace.pause().await;
        }
        if !with_head {
            return Ok(());
        }
        let newest_ms = self.state.head.borrow().figures.max_ms;
        let Some(cut_ms) = newest_ms.and_then(|newest| newest.checked_add(1)) else { return Ok(()) };
        let range = TimeRange::new(self.state.head_from_ms.get(), cut_ms - 1);
        let number = self.state.blocks.take_number();
        let path = names::block(&blocks, number);
        let unfinished = path.with_extension(names::UNFINISHED);
        let Some((writer, written)) = self.write_head(range, cut_ms, number, &unfinished).await? else {
            return Ok(());
        };
        written?;
        writer.finish(&self.pace).await?;
        self.disk.rename(&unfinished, &path)
    }
}
