//! A disk that is only read: a store looks at a data directory through it and leaves everything as it is. What
//! a start would remove, cut off or set aside stays.

use crate::disk::{Disk, Log};
use std::io;
use std::path::Path;
use std::time::Duration;

/// See the module's head.
#[derive(Debug, Clone, Copy)]
pub struct SealedDisk;

/// There is none.
pub struct NoLog;

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the directory is only read")
}

impl Log for NoLog {
    async fn append(&mut self, bytes: Vec<u8>, _: bool) -> (io::Result<()>, Vec<u8>) {
        (Err(read_only()), bytes)
    }

    async fn sync(&mut self) -> io::Result<()> {
        Err(read_only())
    }
}

impl Disk for SealedDisk {
    type Log = NoLog;

    fn create_log(&self, _: &Path) -> io::Result<NoLog> {
        Err(read_only())
    }

    fn create_file(&self, _: &Path) -> io::Result<NoLog> {
        Err(read_only())
    }

    fn make_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn write_whole(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    async fn sleep(&self, _: Duration) {}

    fn truncate(&self, _: &Path, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
