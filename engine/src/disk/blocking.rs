//! The log through the plain system calls, where io_uring is forbidden.

use super::writer::{Writer, WriterLog};
use super::{Disk, create_file};
use std::fs::File;
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
        Ok(WriterLog::new(create_file(path)?, |file| Ok(Box::new(PlainWriter { file }))))
    }

    async fn sleep(&self, time: Duration) {
        futures_timer::Delay::new(time).await;
    }
}

pub(super) struct PlainWriter {
    pub(super) file: Arc<File>,
}

impl Writer for PlainWriter {
    fn write(&mut self, at: u64, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        if sync { self.file.sync_data() } else { Ok(()) }
    }
}
