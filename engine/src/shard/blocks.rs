//! A shard's blocks: opened at start, replaced by larger ones, removed when their time is over.
//!
//! Invariant: no sample counts twice. A block that another one names as its source is removed as soon as
//! both are seen; the directory holds what is listed here, its tombstones and unfinished files, nothing
//! else. No deleted sample comes back: a block whose tombstones cannot be read is not served.

use crate::block::Block;
use crate::block::file::BlockError;
use crate::block::tombstones::{Grave, Tombstones};
use crate::disk::{Disk, names};
use crate::wal::replay::ReplayError;
use ahash::AHashSet;
use hearth_model::TimeRange;
use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Blocks as a reader finds them, ascending in time. Nobody changes a list that was handed out.
pub type BlockList = Rc<[Rc<Block>]>;

/// See the module's head.
pub struct Blocks {
    /// The shard's own directory.
    home: PathBuf,
    list: RefCell<BlockList>,
    next_number: Cell<u64>,
    set_aside: Cell<u64>,
    /// The cut of blocks that are not served, where something was deleted from them.
    buried_cut_ms: Cell<i64>,
}

/// Whose blocks they are.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    pub shard: u32,
    pub seed: u64,
}

impl Blocks {
    pub fn directory(&self) -> PathBuf {
        self.home.join(names::BLOCKS)
    }

    /// Opens what is there. What cannot be read is set aside, and the rest serves.
    pub fn open<D: Disk>(disk: &D, home: &Path, owner: Owner) -> Result<Blocks, ReplayError> {
        let (directory, quarantine) = (home.join(names::BLOCKS), home.join(names::QUARANTINE));
        let tried = |path: &Path, error| ReplayError::Io { path: path.display().to_string(), error };
        disk.make_directory(&directory).map_err(|e| tried(&directory, e))?;
        let files = disk.list(&directory).map_err(|e| tried(&directory, e))?;
        let aside = disk.list(&quarantine).map_err(|e| tried(&quarantine, e))?;
        let number = |name: &String| names::number(name, names::BLOCK);
        let next_number = files.iter().chain(&aside).filter_map(number).max().unwrap_or(0) + 1;
        let blocks = Blocks {
            home: home.to_owned(),
            list: RefCell::new(Rc::new([])),
            next_number: Cell::new(next_number),
            set_aside: Cell::new(aside.iter().filter_map(number).count() as u64),
            buried_cut_ms: Cell::new(i64::MIN),
        };
        for name in files.iter().filter(|n| n.ends_with(names::UNFINISHED)) {
            remove(disk, &directory.join(name));
        }
        let mut found = Vec::new();
        let mut replaced = AHashSet::new();
        for number in files.iter().filter_map(number) {
            let path = names::block(&directory, number);
            match open_one(disk, &path, number, owner) {
                Ok(block) => {
                    replaced.extend(block.directory().sources.iter().copied());
                    if blocks.dig_up(disk, &block, &files, owner)? {
                        found.push(Rc::new(block));
                    }
                }
                Err(BlockError::Version(version)) => {
                    return Err(ReplayError::LaterVersion { path: path.display().to_string(), version });
                }
                Err(BlockError::Damaged(why)) => blocks.put_aside(disk, number, why),
                Err(BlockError::Io(error)) => {
                    // It may be readable again at the next start: it stays where it is.
                    tracing::error!(file = %path.display(), %error, "block cannot be read, its samples are missing");
                    blocks.set_aside.set(blocks.set_aside.get() + 1);
                }
            }
        }
        for number in files.iter().filter_map(number).filter(|n| replaced.contains(n)) {
            remove(disk, &names::block(&directory, number));
        }
        found.retain(|b| !replaced.contains(&b.number()));
        let aside = disk.list(&quarantine).map_err(|e| tried(&quarantine, e))?;
        let kept = files.iter().chain(&aside).filter_map(number).filter(|n| !replaced.contains(n));
        blocks.look_after_graves(disk, &files, &kept.collect(), owner);
        blocks.set(found);
        Ok(blocks)
    }

    /// Gives an open block its tombstones; `false` where they cannot be read.
    fn dig_up<D: Disk>(
        &self,
        disk: &D,
        block: &Block,
        files: &[String],
        owner: Owner,
    ) -> Result<bool, ReplayError> {
        let path = names::tombstones(&self.directory(), block.number());
        if !files.iter().any(|name| names::number(name, names::TOMBSTONES) == Some(block.number())) {
            return Ok(true);
        }
        let error = match read_tombstones(disk, &path, block.number(), owner) {
            Ok((_, stones)) => {
                block.set_tombstones(stones);
                return Ok(true);
            }
            Err(BlockError::Version(version)) => {
                return Err(ReplayError::LaterVersion { path: path.display().to_string(), version });
            }
            Err(error) => error,
        };
        tracing::error!(
            file = %path.display(), ?error,
            "what was deleted from a block is not readable: the block is not served, its samples are missing"
        );
        self.set_aside.set(self.set_aside.get() + 1);
        self.buried_cut_ms.set(self.buried_cut_ms.get().max(block.directory().cut_ms));
        Ok(false)
    }

    /// Tombstones without a block are removed, but for those of blocks that only cannot be read.
    fn look_after_graves<D: Disk>(&self, disk: &D, files: &[String], kept: &AHashSet<u64>, owner: Owner) {
        for number in files.iter().filter_map(|name| names::number(name, names::TOMBSTONES)) {
            let path = names::tombstones(&self.directory(), number);
            if !kept.contains(&number) {
                remove(disk, &path);
            } else if let Ok((grave, _)) = read_tombstones(disk, &path, number, owner) {
                self.buried_cut_ms.set(self.buried_cut_ms.get().max(grave.cut_ms));
            }
        }
    }

    fn set(&self, mut list: Vec<Rc<Block>>) {
        list.sort_by_key(|b| (b.range().min_ms, b.number()));
        *self.list.borrow_mut() = list.into();
    }

    /// The blocks as they are now.
    pub fn list(&self) -> BlockList {
        self.list.borrow().clone()
    }

    /// A number that no block had.
    pub fn take_number(&self) -> u64 {
        self.next_number.replace(self.next_number.get() + 1)
    }

    /// Up to when all samples that were ever taken are in blocks.
    pub fn cut_ms(&self) -> i64 {
        let cuts = self.list.borrow().iter().map(|b| b.directory().cut_ms).max();
        cuts.unwrap_or(i64::MIN).max(self.buried_cut_ms.get())
    }

    /// Times of the blocks in which damage was found.
    pub fn damaged(&self) -> Vec<TimeRange> {
        let list = self.list();
        list.iter().filter(|block| block.damages() > 0).map(|block| block.range()).collect()
    }

    /// Blocks that could not be read, at the start or since.
    pub fn set_aside_count(&self) -> u64 {
        self.set_aside.get()
    }

    pub fn len_bytes(&self) -> u64 {
        self.list.borrow().iter().map(|b| b.len_bytes()).sum()
    }

    /// Gives a finished file its name and opens it. What goes wrong leaves nothing behind.
    pub fn adopt<D: Disk>(
        &self,
        disk: &D,
        unfinished: &Path,
        number: u64,
        owner: Owner,
    ) -> io::Result<Rc<Block>> {
        let path = names::block(&self.directory(), number);
        let opened = disk.rename(unfinished, &path).and_then(|()| {
            open_one(disk, &path, number, owner).map_err(|error| match error {
                BlockError::Io(error) => error,
                error => io::Error::other(format!("{error:?}")),
            })
        });
        if opened.is_err() {
            remove(disk, unfinished);
            remove(disk, &path);
        }
        opened.map(Rc::new)
    }

    /// Shows a new block to readers, in place of those that it replaces.
    pub fn publish(&self, block: Rc<Block>) {
        let sources = block.directory().sources.clone();
        let kept = self.list().iter().filter(|b| !sources.contains(&b.number())).cloned().collect::<Vec<_>>();
        self.set(kept.into_iter().chain([block]).collect());
    }

    /// Takes a block from readers to come and removes its files. Readers that have it keep it.
    pub fn remove<D: Disk>(&self, disk: &D, block: &Block) {
        let number = block.number();
        self.set(self.list().iter().filter(|b| b.number() != number).cloned().collect());
        remove(disk, &names::block(&self.directory(), number));
        if !block.tombstones().is_empty() {
            remove(disk, &names::tombstones(&self.directory(), number));
        }
    }

    /// Moves a block's file out of the way, where somebody can look at it.
    pub fn put_aside<D: Disk>(&self, disk: &D, number: u64, why: &str) {
        self.set(self.list().iter().filter(|b| b.number() != number).cloned().collect());
        self.set_aside.set(self.set_aside.get() + 1);
        let path = names::block(&self.directory(), number);
        let quarantine = self.home.join(names::QUARANTINE);
        let moved = disk
            .make_directory(&quarantine)
            .and_then(|()| disk.rename(&path, &names::block(&quarantine, number)));
        match moved {
            Ok(()) => tracing::error!(
                file = %path.display(), to = %quarantine.display(), why,
                "block is not readable and was set aside, its samples are missing"
            ),
            Err(error) => tracing::error!(
                file = %path.display(), why, %error,
                "block is not readable, its samples are missing, and it could not be set aside"
            ),
        }
    }
}

fn open_one<D: Disk>(disk: &D, path: &Path, number: u64, owner: Owner) -> Result<Block, BlockError> {
    Block::open(disk.map(path).map_err(BlockError::Io)?, owner.shard, number, owner.seed)
}

fn read_tombstones<D: Disk>(
    disk: &D,
    path: &Path,
    number: u64,
    owner: Owner,
) -> Result<(Grave, Tombstones), BlockError> {
    let bytes = disk.read(path).map_err(BlockError::Io)?;
    Tombstones::parse(&bytes, owner.shard, number, owner.seed)
}

/// Removes a file that is of no use any more. One that stays costs room until the next start.
fn remove<D: Disk>(disk: &D, path: &Path) {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(file = %path.display(), %error, "superfluous block file stays until the next start");
        }
        _ => {}
    }
}
