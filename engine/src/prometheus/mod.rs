//! Prometheus' own files, read and written: what a data directory of its holds, from the bits of a chunk to
//! the records of its log. Written from the public description of the formats.
//!
//! | room | what |
//! |---|---|
//! | [`bits`], [`varbit`] | streams of bits, and the numbers in them |
//! | [`xor`], [`histogram`] | the three encodings of a chunk |
//! | [`chunks`], [`head_chunks`] | files of chunks: a block's, and those that the head mapped |
//! | [`index`], [`index_writer`] | a block's index, version 2 |
//! | [`meta`], [`tombstones`], [`ulid`] | the small files of a block, and its name |
//! | [`block`], [`block_writer`] | a block as a whole, read and written |
//! | [`wal`], [`record`] | segments of the log, and what their records say |
//! | [`directory`] | what lies in a data directory |
//! | [`head`] | series and samples out of checkpoint, log and out-of-order log |
//!
//! Invariants: nothing here panics on any bytes or allocates more than a small multiple of what it was given;
//! what a checksum covers is used only when that holds; encoding and decoding are exact to the bit.

pub mod bits;
pub mod block;
pub mod block_writer;
pub mod chunks;
pub mod directory;
pub mod head;
pub mod head_chunks;
pub mod histogram;
pub mod index;
pub mod index_writer;
pub mod meta;
pub mod record;
pub mod tombstones;
pub mod ulid;
pub mod varbit;
pub mod wal;
pub mod xor;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatError {
    /// They do not fit together; the text says what does not.
    Damaged(&'static str),
    /// They are of a kind or version that is not read here.
    Unknown(&'static str, u64),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Damaged(what) => f.write_str(what),
            FormatError::Unknown(what, number) => write!(f, "{what} {number} is not known to this program"),
        }
    }
}

impl std::error::Error for FormatError {}

/// Why a file of Prometheus' cannot be used.
#[derive(Debug)]
pub enum FileError {
    Io { path: PathBuf, error: io::Error },
    Format { path: PathBuf, offset: u64, error: FormatError },
}

impl FileError {
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> FileError + use<> {
        let path = path.to_owned();
        move |error| FileError::Io { path, error }
    }

    pub fn format(path: &Path, offset: u64) -> impl FnOnce(FormatError) -> FileError + use<> {
        let path = path.to_owned();
        move |error| FileError::Format { path, offset, error }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            FileError::Format { path, offset, error } => {
                write!(f, "{}: at byte {offset}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for FileError {}

/// Reads a whole file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(FileError::io(path))
}
