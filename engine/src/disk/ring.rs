//! The log on io_uring: a ring of its own for each log, on the shard's thread.
//!
//! A commit is one submission: WRITE, hard-linked to FSYNC(DATASYNC). The shard meanwhile goes on; the
//! ring's eventfd wakes it through glommio. Hard-linked, because a plain link would cancel the sync after
//! a short write; therefore the sync's result counts only when the write's length was whole.
//!
//! Invariant: the buffer of an operation in flight belongs to the log, not to the future that waits for
//! it; dropping the log waits for the kernel.

use super::{Disk, Log, create_file};
use glommio::io::PollableFd;
use io_uring::{IoUring, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Entries of a log's ring: a write and a sync, with room to spare.
const RING_ENTRIES: u32 = 8;
const WRITE: u64 = 1;
const SYNC: u64 = 2;

/// Files through io_uring. Lives on a glommio executor.
#[derive(Debug, Clone, Copy)]
pub struct RingDisk;

impl Disk for RingDisk {
    type Log = RingLog;

    fn create_log(&self, path: &Path) -> io::Result<RingLog> {
        let ring = IoUring::new(RING_ENTRIES)?;
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        ring.submitter().register_eventfd(wake.as_raw_fd())?;
        let wake = PollableFd::new(wake).map_err(|e| io::Error::other(e.to_string()))?;
        Ok(RingLog { ring, wake, file: create_file(path)?, length: 0, buffer: Vec::new(), in_flight: 0 })
    }

    async fn sleep(&self, time: Duration) {
        glommio::timer::sleep(time).await;
    }
}

/// See the module's head.
pub struct RingLog {
    ring: IoUring,
    wake: PollableFd<OwnedFd>,
    file: File,
    length: u64,
    buffer: Vec<u8>,
    in_flight: usize,
}

/// Results of the operations of one submission.
#[derive(Default)]
struct Results {
    written: Option<i32>,
    synced: Option<i32>,
}

impl RingLog {
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the entry points at nothing, or at `self.buffer`, which is neither moved, changed nor
        // freed while `in_flight` is not 0 (`reap` waits, `drop` waits); the file lives as long as self.
        unsafe { self.ring.submission().push(entry) }
            .map_err(|_| io::Error::other("the log's ring is full"))?;
        self.in_flight += 1;
        Ok(())
    }

    /// Writes `buffer[from..]` and, with `sync`, brings the file to stable storage, in one submission.
    async fn submit(&mut self, from: usize, sync: bool) -> io::Result<Results> {
        let fd = types::Fd(self.file.as_raw_fd());
        let rest = &self.buffer[from..];
        if !rest.is_empty() {
            let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            let mut write = opcode::Write::new(fd, rest.as_ptr(), length).offset(self.length).build();
            if sync {
                write = write.flags(squeue::Flags::IO_HARDLINK);
            }
            self.push(&write.user_data(WRITE))?;
        }
        if sync {
            let sync = opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build();
            self.push(&sync.user_data(SYNC))?;
        }
        self.ring.submit()?;
        self.reap().await
    }

    /// Waits until nothing is in flight.
    async fn reap(&mut self) -> io::Result<Results> {
        let mut results = Results::default();
        loop {
            for done in self.ring.completion() {
                self.in_flight -= 1;
                match done.user_data() {
                    WRITE => results.written = Some(done.result()),
                    _ => results.synced = Some(done.result()),
                }
            }
            if self.in_flight == 0 {
                return Ok(results);
            }
            self.wake.readable().await.map_err(|e| io::Error::other(e.to_string()))?;
            // Reset the eventfd; a completion that arrives from here on sets it again.
            let _ = rustix::io::read(self.wake.get_ref(), &mut [0u8; 8]);
        }
    }

    async fn append_buffer(&mut self, sync: bool) -> io::Result<()> {
        let mut from = 0;
        while from < self.buffer.len() {
            let results = self.submit(from, sync).await?;
            match results.written {
                Some(0) | None => return Err(io::ErrorKind::WriteZero.into()),
                Some(n) if n > 0 => {
                    from += n as usize;
                    self.length += n as u64;
                }
                Some(error) if is_passing(error) => continue,
                Some(error) => return Err(io::Error::from_raw_os_error(-error)),
            }
            if from == self.buffer.len() && sync {
                check_sync(results.synced)?;
            }
        }
        Ok(())
    }
}

fn is_passing(error: i32) -> bool {
    error == -rustix::io::Errno::INTR.raw_os_error() || error == -rustix::io::Errno::AGAIN.raw_os_error()
}

fn check_sync(result: Option<i32>) -> io::Result<()> {
    match result {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("the kernel gave no result for a sync")),
    }
}

impl Log for RingLog {
    async fn append(&mut self, bytes: Vec<u8>, sync: bool) -> (io::Result<()>, Vec<u8>) {
        // Something is in flight only when an earlier call's future was dropped.
        if let Err(error) = self.reap().await {
            return (Err(error), bytes);
        }
        self.buffer = bytes;
        let result = self.append_buffer(sync).await;
        if self.in_flight > 0 {
            return (result, Vec::new());
        }
        (result, std::mem::take(&mut self.buffer))
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.reap().await?;
        self.buffer.clear();
        let results = self.submit(0, true).await?;
        check_sync(results.synced)
    }
}

impl Drop for RingLog {
    fn drop(&mut self) {
        while self.in_flight > 0 {
            if self.ring.submit_and_wait(1).is_err() {
                // The kernel may still read the buffer: better to lose it than to free it.
                std::mem::forget(std::mem::take(&mut self.buffer));
                return;
            }
            self.in_flight -= self.ring.completion().count();
        }
    }
}
