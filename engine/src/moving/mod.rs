//! Moving house: a data directory of Prometheus becomes one of Hearth, one of Hearth becomes blocks of
//! Prometheus or gets another number of shards, and either is read, listed and checked without a server.
//!
//! | room | what |
//! |---|---|
//! | [`takeover`] | a server starts on a directory of Prometheus |
//! | [`arrivals`] | blocks of Prometheus' that come while it runs |
//! | [`intake`] | samples of Prometheus' head on their way into a store |
//! | [`convert`] | a block of Prometheus' becomes blocks of the shards |
//! | [`switch`] | a directory that was built aside takes the place of another, whatever comes between |
//! | [`read`], [`sealed`] | series and samples of a directory of either kind, in order of labels |
//! | [`list`] | blocks, and the series of one |
//! | [`export`] | blocks for Prometheus |
//! | [`reshard`] | another number of shards |
//! | [`backfill`] | samples of any time from anywhere |
//! | [`blocks`] | a block a shard, as the two before write it |
//! | [`verify`] | every byte of a directory, checked |
//!
//! Invariant: what is there is only moved or removed once what takes its place is on stable storage.

mod arrivals;
pub mod backfill;
mod blocks;
pub mod convert;
pub mod export;
pub mod intake;
pub mod list;
pub mod read;
pub mod reshard;
pub mod sealed;
pub mod switch;
pub mod takeover;
pub mod verify;

use crate::handle::OpenError;
use crate::prometheus::FileError;
use hearth_model::StoreError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Exemplars that are kept on the move: more than the log of a server holds that had a limit.
const EVERY_EXEMPLAR: usize = u32::MAX as usize;

/// Why a move did not come to its end. Each names what and where.
#[derive(Debug)]
pub enum MovingError {
    Io {
        path: PathBuf,
        error: io::Error,
    },
    File(FileError),
    Open(OpenError),
    Store(StoreError),
    /// There is nothing of either kind in the directory.
    NoData(PathBuf),
    /// What was asked for cannot be done here; the text says why.
    Refused(String),
    Stopped,
}

impl MovingError {
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> MovingError + use<> {
        let path = path.to_owned();
        move |error| MovingError::Io { path, error }
    }
}

impl fmt::Display for MovingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MovingError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            MovingError::File(error) => write!(f, "{error}"),
            MovingError::Open(error) => write!(f, "{error}"),
            MovingError::Store(error) => write!(f, "{error}"),
            MovingError::NoData(path) => {
                write!(f, "{}: holds no data of Hearth's and none of Prometheus'", path.display())
            }
            MovingError::Refused(why) => f.write_str(why),
            MovingError::Stopped => f.write_str("stopped before the end"),
        }
    }
}

impl std::error::Error for MovingError {}

impl From<FileError> for MovingError {
    fn from(error: FileError) -> Self {
        MovingError::File(error)
    }
}

impl From<OpenError> for MovingError {
    fn from(error: OpenError) -> Self {
        MovingError::Open(error)
    }
}

impl From<StoreError> for MovingError {
    fn from(error: StoreError) -> Self {
        MovingError::Store(error)
    }
}

/// Never gives way: what has a thread of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtOnce;

impl crate::pace::Pace for AtOnce {
    async fn pause(&self) {}
}
