//! The log through the plain system calls, where io_uring is forbidden.

use super::writer::{Writer, WriterLog};
use super::{Disk, create_file};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// Files through the plain system calls.
#[derive(Debug, Clone, Copy)]
pub struct BlockingDisk;

impl Disk for BlockingDisk {
    type Log = WriterLog;

    fn create_log(&self, path: &Path) -> io::Result<WriterLog> {
        WriterLog::start(PlainWriter { file: create_file(path)? })
    }

    async fn sleep(&self, time: Duration) {
        futures_timer::Delay::new(time).await;
    }
}

struct PlainWriter {
    file: File,
}

impl Writer for PlainWriter {
    fn write(&mut self, bytes: &[u8], sync: bool) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if sync { self.file.sync_data() } else { Ok(()) }
    }
}
