//! The log through the plain system calls, where io_uring is forbidden.

use super::reserve::LogFile;
use super::writer::{Writer, WriterLog};
use super::{Disk, new_file};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Files through the plain system calls.
#[derive(Debug, Clone, Copy)]
pub struct BlockingDisk;

impl Disk for BlockingDisk {
    type Log = WriterLog;

    fn create_log(&self, path: &Path) -> io::Result<WriterLog> {
        Ok(WriterLog::new(LogFile::with_room(new_file(path)?, path), plain))
    }

    fn create_file(&self, path: &Path) -> io::Result<WriterLog> {
        Ok(WriterLog::new(LogFile::without_room(new_file(path)?), plain))
    }

    async fn sleep(&self, time: Duration) {
        futures_timer::Delay::new(time).await;
    }
}

fn plain(file: Arc<LogFile>) -> io::Result<Box<dyn Writer>> {
    Ok(Box::new(PlainWriter { file }))
}

pub(super) struct PlainWriter {
    pub(super) file: Arc<LogFile>,
}

impl Writer for PlainWriter {
    fn write(&mut self, at: u64, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.file.cached.write_all_at(bytes, at)?;
        if sync { self.file.cached.sync_data() } else { Ok(()) }
    }
}
