//! What lies in a data directory of Prometheus: blocks and what they say of themselves, the log, what the head
//! has mapped.

use super::meta::Meta;
use super::ulid::Ulid;
use super::{FileError, read_file};
use std::io;
use std::path::{Path, PathBuf};

pub const WAL: &str = "wal";
/// The log of samples that came out of order.
pub const WBL: &str = "wbl";
pub const HEAD_CHUNKS: &str = "chunks_head";
pub const LOCK: &str = "lock";
pub const META: &str = "meta.json";
pub const INDEX: &str = "index";
pub const CHUNKS: &str = "chunks";
pub const TOMBSTONES: &str = "tombstones";
/// Other names that Prometheus gives.
const OTHERS: &[&str] = &[WAL, WBL, HEAD_CHUNKS, LOCK, "queries.active", "chunks_head.tmp"];
const SNAPSHOT: &str = "chunk_snapshot.";

/// A block and what it says of itself.
#[derive(Debug, Clone)]
pub struct BlockEntry {
    pub ulid: Ulid,
    pub path: PathBuf,
    pub meta: Meta,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Directory {
    pub path: PathBuf,
    /// Blocks that count, ascending in time.
    pub blocks: Vec<BlockEntry>,
    /// Blocks that others stand for, or that were to be deleted.
    pub superseded: Vec<BlockEntry>,
    /// Blocks without a description that can be read: Prometheus leaves them out, too.
    pub unreadable: Vec<(Ulid, FileError)>,
}

/// Names in a directory, sorted; none where it is not there.
pub fn names(path: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    match std::fs::read_dir(path) {
        Ok(entries) => {
            for entry in entries {
                names.push(entry.map_err(FileError::io(path))?.file_name().to_string_lossy().into_owned());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(FileError::io(path)(error)),
    }
    names.sort();
    Ok(names)
}

/// Whether a name in a data directory is one of those that Prometheus gives.
pub fn is_ours(name: &str) -> bool {
    // A block, or one that was being made or deleted.
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    OTHERS.contains(&name) || name.starts_with(SNAPSHOT) || stem.parse::<Ulid>().is_ok()
}

/// Whether a directory holds data of Prometheus': a block, or a log with anything in it.
pub fn holds_data(path: &Path) -> Result<bool, FileError> {
    let is_block = |name: &String| name.parse::<Ulid>().is_ok() && path.join(name).join(META).is_file();
    Ok(holds_log(path)? || names(path)?.iter().any(is_block))
}

/// Whether there is a log of Prometheus' with anything in it.
pub fn holds_log(path: &Path) -> Result<bool, FileError> {
    for name in [WAL, WBL, HEAD_CHUNKS] {
        if !names(&path.join(name))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Directory {
    pub fn read(path: &Path) -> Result<Directory, FileError> {
        let mut found = Directory { path: path.to_owned(), ..Directory::default() };
        let mut all = Vec::new();
        for name in names(path)? {
            let Ok(ulid) = name.parse::<Ulid>() else { continue };
            let block = path.join(&name);
            match read_meta(&block) {
                Ok(meta) => all.push(BlockEntry { ulid, path: block, meta }),
                Err(error) => found.unreadable.push((ulid, error)),
            }
        }
        let replaced: Vec<String> =
            all.iter().flat_map(|b| &b.meta.compaction.parents).map(|parent| parent.ulid.clone()).collect();
        for block in all {
            let gone = block.meta.compaction.deletable || replaced.contains(&block.ulid.to_string());
            if gone { found.superseded.push(block) } else { found.blocks.push(block) }
        }
        found.blocks.sort_by_key(|b| (b.meta.min_time, b.ulid));
        Ok(found)
    }

    /// Samples of the log before this time are in blocks already: the end of the newest block that was cut
    /// from the head in order.
    pub fn head_from_ms(&self) -> i64 {
        let in_order = self.blocks.iter().filter(|b| !b.meta.is_out_of_order());
        in_order.map(|b| b.meta.max_time).max().unwrap_or(i64::MIN)
    }

    pub fn wal(&self) -> PathBuf {
        self.path.join(WAL)
    }

    pub fn wbl(&self) -> PathBuf {
        self.path.join(WBL)
    }

    pub fn head_chunks(&self) -> PathBuf {
        self.path.join(HEAD_CHUNKS)
    }
}

pub fn read_meta(block: &Path) -> Result<Meta, FileError> {
    let path = block.join(META);
    Meta::parse(&read_file(&path)?).map_err(FileError::format(&path, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::meta::{Compaction, Parent};

    #[test]
    fn blocks_that_others_stand_for_do_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = |n: u128| Ulid(n).to_string();
        let make = |n: u128, min_time: i64, parents: &[u128], hints: &[&str]| {
            let parents = parents.iter().map(|n| Parent { ulid: name(*n), ..Parent::default() }).collect();
            let hints = hints.iter().map(|h| (*h).to_owned()).collect();
            let compaction = Compaction { level: 1, parents, hints, ..Compaction::default() };
            let meta = Meta {
                ulid: name(n),
                min_time,
                max_time: min_time + 10,
                compaction,
                version: 1,
                ..Meta::default()
            };
            std::fs::create_dir(folder.path().join(name(n))).expect("a block");
            std::fs::write(folder.path().join(name(n)).join(META), meta.print()).expect("its meta.json");
        };
        assert_eq!(holds_data(folder.path()).ok(), Some(false));
        make(1, 0, &[], &[]);
        make(2, 10, &[], &[]);
        make(3, 0, &[1], &[]);
        make(4, 90, &[], &["from-out-of-order"]);
        std::fs::create_dir(folder.path().join(name(5))).expect("a block without meta.json");
        let found = Directory::read(folder.path()).expect("reads");
        let numbers: Vec<u128> = found.blocks.iter().map(|b| b.ulid.0).collect();
        assert_eq!((numbers, found.superseded.len(), found.unreadable.len()), (vec![3, 2, 4], 1, 1));
        assert_eq!(found.head_from_ms(), 20);
        assert_eq!(holds_data(folder.path()).ok(), Some(true));
    }

    #[test]
    fn names_of_prometheus_are_known() {
        let ours = [
            "wal",
            "wbl",
            "chunks_head",
            "lock",
            "queries.active",
            "chunk_snapshot.000001.0000000123",
            "01BKGTZQ1SYQJTR4PB43C8PD98",
            "01BKGTZQ1SYQJTR4PB43C8PD98.tmp-for-creation",
        ];
        assert!(ours.iter().all(|name| is_ours(name)));
        assert!(
            !["shard-0000", "lost+found", "hearth.identity", "prometheus"].iter().any(|name| is_ours(name))
        );
    }
}
