//! Every file name of a data directory, in one place. What each holds: see `FORMAT.md`.

use std::path::{Path, PathBuf};

/// Identity of the data directory: format, number of shards, hash seed.
pub const IDENTITY: &str = "hearth.identity";
/// The same again: without it nothing in the directory could be read.
pub const IDENTITY_COPY: &str = "hearth.identity-copy";
/// Held while a server uses the directory.
pub const LOCK: &str = "hearth.lock";
/// Extension of a file that was not finished; removed at start.
pub const UNFINISHED: &str = "unfinished";
/// Directory of a shard's log, inside the shard's own.
pub const WAL: &str = "wal";
/// Extension of a log segment.
pub const SEGMENT: &str = "segment";
/// Extension of a checkpoint: the series that outlived deleted segments.
pub const CHECKPOINT: &str = "checkpoint";
/// Directory of a shard's blocks, inside the shard's own.
pub const BLOCKS: &str = "blocks";
/// Extension of a block.
pub const BLOCK: &str = "block";
/// Extension of what was deleted from a block.
pub const TOMBSTONES: &str = "tombstones";
/// Directory of what could not be read, inside the shard's own.
pub const QUARANTINE: &str = "quarantine";

/// Directory of snapshots, each a data directory of its own.
pub const SNAPSHOTS: &str = "snapshots";

pub fn block(blocks: &Path, number: u64) -> PathBuf {
    blocks.join(format!("{number:010}.{BLOCK}"))
}

/// What was deleted from a block.
pub fn tombstones(blocks: &Path, number: u64) -> PathBuf {
    blocks.join(format!("{number:010}.{TOMBSTONES}"))
}

pub fn shard_directory(data: &Path, shard: usize) -> PathBuf {
    data.join(format!("shard-{shard:04}"))
}

pub fn segment(wal: &Path, number: u64) -> PathBuf {
    wal.join(format!("{number:010}.{SEGMENT}"))
}

/// The checkpoint that stands for all segments below `number`.
pub fn checkpoint(wal: &Path, number: u64) -> PathBuf {
    wal.join(format!("{number:010}.{CHECKPOINT}"))
}

/// The number in a segment's or checkpoint's name.
pub fn number(name: &str, extension: &str) -> Option<u64> {
    let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
    (stem.len() == 10).then(|| stem.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let name = |p: PathBuf| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        assert_eq!(number(&name(segment(Path::new("w"), 42)), SEGMENT), Some(42));
        assert_eq!(number(&name(checkpoint(Path::new("w"), 7)), CHECKPOINT), Some(7));
        for foreign in ["00000001", "0000000001.unfinished", "x.segment", "000000001x.segment", ".segment"] {
            assert_eq!(number(foreign, SEGMENT), None, "{foreign}");
        }
    }
}
