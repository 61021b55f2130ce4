//! The log through io_uring: where the medium is slow, each log has a ring of its own, on its helper thread
//! (see [`super::writer`]).
//!
//! There a commit is one submission and one wait: WRITE, hard-linked to FSYNC(DATASYNC). Hard-linked, because a
//! plain link would cancel the sync after a short write and leave the caller to guess; therefore the
//! sync's result counts only when the write's length was whole.

use super::writer::{Writer, WriterLog};
use super::{Disk, create_file};
use io_uring::{IoUring, opcode, squeue, types};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Entries of a log's ring: a write and a sync, with room to spare.
const RING_ENTRIES: u32 = 4;
const WRITE: u64 = 1;
const SYNC: u64 = 2;

/// Files through io_uring.
#[derive(Debug, Clone, Copy)]
pub struct RingDisk;

impl Disk for RingDisk {
    type Log = WriterLog;

    fn create_log(&self, path: &Path) -> io::Result<WriterLog> {
        Ok(WriterLog::new(create_file(path)?, |file| {
            Ok(Box::new(RingWriter { ring: IoUring::new(RING_ENTRIES)?, file }))
        }))
    }

    async fn sleep(&self, time: Duration) {
        futures_timer::Delay::new(time).await;
    }
}

struct RingWriter {
    ring: IoUring,
    file: Arc<File>,
}

/// Results of one submission, as the kernel gives them: a count, or a negated error number.
#[derive(Default)]
struct Results {
    written: Option<i32>,
    synced: Option<i32>,
}

impl RingWriter {
    /// Writes `bytes` (a part of them, maybe) and, with `sync`, brings the file to stable storage.
    fn submit(&mut self, at: u64, bytes: &[u8], sync: bool) -> io::Result<Results> {
        let fd = types::Fd(self.file.as_raw_fd());
        let mut entries = 0;
        if !bytes.is_empty() {
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let mut write = opcode::Write::new(fd, bytes.as_ptr(), length).offset(at).build();
            if sync {
                write = write.flags(squeue::Flags::IO_HARDLINK);
            }
            // SAFETY: `bytes` outlives the operation, because this function does not return before the
            // kernel has given a result for every entry; the file lives as long as self.
            unsafe { self.ring.submission().push(&write.user_data(WRITE)) }.map_err(full)?;
            entries += 1;
        }
        if sync {
            let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
            // SAFETY: the entry points at no memory; the file lives as long as self.
            unsafe { self.ring.submission().push(&sync.user_data(SYNC)) }.map_err(full)?;
            entries += 1;
        }
        Ok(self.wait(entries))
    }

    /// Waits for the results of `entries`, whatever happens: until then the kernel may use their memory.
    fn wait(&mut self, mut entries: usize) -> Results {
        let mut results = Results::default();
        while entries > 0 {
            if let Err(error) = self.ring.submit_and_wait(entries)
                && !matches!(error.kind(), io::ErrorKind::Interrupted)
            {
                // EBUSY and EAGAIN pass once completions were taken; nothing else is expected here.
                std::thread::yield_now();
            }
            for done in self.ring.completion() {
                entries -= 1;
                match done.user_data() {
                    WRITE => results.written = Some(done.result()),
                    _ => results.synced = Some(done.result()),
                }
            }
        }
        results
    }
}

fn full(_: squeue::PushError) -> io::Error {
    io::Error::other("the log's ring is full")
}

fn passes(error: i32) -> bool {
    [rustix::io::Errno::INTR, rustix::io::Errno::AGAIN].iter().any(|e| error == -e.raw_os_error())
}

fn check_sync(result: Option<i32>) -> io::Result<()> {
    match result {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("the kernel gave no result for a sync")),
    }
}

impl Writer for RingWriter {
    fn write(&mut self, at: u64, bytes: &[u8], sync: bool) -> io::Result<()> {
        let (mut at, mut rest) = (at, bytes);
        loop {
            let results = self.submit(at, rest, sync)?;
            match results.written {
                // Nothing was to be written.
                None => {}
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(n) if n > 0 => {
                    rest = &rest[n as usize..];
                    at += n as u64;
                }
                Some(error) if passes(error) => {}
                Some(error) => return Err(io::Error::from_raw_os_error(-error)),
            }
            if rest.is_empty() {
                return if sync { check_sync(results.synced) } else { Ok(()) };
            }
        }
    }
}
