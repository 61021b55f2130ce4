//! The log through io_uring: where the medium is slow, each log has a ring of its own, on its helper thread
//! (see [`super::writer`]).
//!
//! There a commit is one submission and one wait: WRITE, hard-linked to FSYNC(DATASYNC). Hard-linked, because a
//! plain link would cancel the sync after a short write and leave the caller to guess; therefore the
//! sync's result counts only when the write's length was whole. What overwrites room ([`super::reserve`]) does not come
//! here: one plain call does that, where a ring's write past the page cache has a thread of the kernel's see to the sync
//! (measured: a tenth more processor time for all of ingestion, and up to a third less throughput).

use super::blocking::PlainWriter;
use super::reserve::LogFile;
use super::writer::{Writer, WriterLog};
use super::{Disk, new_file};
use io_uring::{IoUring, opcode, squeue, types};
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
        Ok(WriterLog::new(LogFile::with_room(new_file(path)?, path), through_ring))
    }

    fn create_file(&self, path: &Path) -> io::Result<WriterLog> {
        Ok(WriterLog::new(LogFile::without_room(new_file(path)?), through_ring))
    }

    async fn sleep(&self, time: Duration) {
        futures_timer::Delay::new(time).await;
    }
}

fn through_ring(file: Arc<LogFile>) -> io::Result<Box<dyn Writer>> {
    match ring() {
        Ok(ring) => Ok(Box::new(RingWriter { ring, file })),
        Err(error) => {
            // It could be had at the start: the process is short of memory or file descriptors.
            tracing::warn!(%error, "no io_uring for a log, it is written with plain calls");
            Ok(Box::new(PlainWriter { file }))
        }
    }
}

/// For one thread, which sleeps until all that it asked for is done: where the kernel can (6.1), it is not woken before.
fn ring() -> io::Result<IoUring> {
    let own = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(RING_ENTRIES);
    own.or_else(|_| IoUring::new(RING_ENTRIES))
}

struct RingWriter {
    ring: IoUring,
    file: Arc<LogFile>,
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
        let fd = types::Fd(self.file.cached.as_raw_fd());
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

/// Writes all of `bytes`, as often as it takes: `submit` may write a part of them, or be interrupted. The sync counts
/// that came with the last part.
fn write_all(
    at: u64,
    bytes: &[u8],
    sync: bool,
    mut submit: impl FnMut(u64, &[u8], bool) -> io::Result<Results>,
) -> io::Result<()> {
    let (mut at, mut rest) = (at, bytes);
    loop {
        let results = submit(at, rest, sync)?;
        match results.written {
            // Nothing was to be written.
            None => {}
            Some(0) => return Err(io::ErrorKind::WriteZero.into()),
            Some(n) if n > 0 => {
                rest = rest.get(n as usize..).ok_or(io::ErrorKind::InvalidData)?;
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

impl Writer for RingWriter {
    fn write(&mut self, at: u64, bytes: &[u8], sync: bool) -> io::Result<()> {
        write_all(at, bytes, sync, |at, bytes, sync| self.submit(at, bytes, sync))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// What stands in a file after a write whose submissions give these results, and what the write gives.
    fn check(script: &[(i32, i32)], expect: Result<(), io::ErrorKind>, file: &[u8]) {
        let (mut written, mut script) = (Vec::new(), script.iter());
        let result = write_all(100, b"abcdefgh", true, |at, bytes, sync| {
            assert!(sync && at == 100 + written.len() as u64);
            let (count, synced) = *script.next().expect("one submission more than there are results");
            written.extend_from_slice(&bytes[..usize::try_from(count).unwrap_or(0)]);
            Ok(Results { written: Some(count), synced: Some(synced) })
        });
        assert_eq!(result.map_err(|error| error.kind()), expect);
        assert_eq!((written.as_slice(), script.len()), (file, 0));
    }

    #[test]
    fn short_and_interrupted_writes_go_on_where_they_ended() {
        let error = |errno: Errno| -errno.raw_os_error();
        check(&[(8, 0)], Ok(()), b"abcdefgh");
        check(&[(3, 0), (1, 0), (4, 0)], Ok(()), b"abcdefgh");
        let (again, interrupted) = (error(Errno::AGAIN), error(Errno::INTR));
        check(&[(interrupted, 0), (3, 0), (again, 0), (5, 0)], Ok(()), b"abcdefgh");
        // A sync that came with a part says nothing of the whole; the last one does.
        check(&[(3, error(Errno::IO)), (5, 0)], Ok(()), b"abcdefgh");
        let failed = io::Error::from(Errno::IO).kind();
        check(&[(3, 0), (5, error(Errno::IO))], Err(failed), b"abcdefgh");
        check(&[(3, 0), (error(Errno::IO), 0)], Err(failed), b"abc");
        check(&[(error(Errno::NOSPC), 0)], Err(io::ErrorKind::StorageFull), b"");
        check(&[(error(Errno::ROFS), 0)], Err(io::ErrorKind::ReadOnlyFilesystem), b"");
        check(&[(2, 0), (0, 0)], Err(io::ErrorKind::WriteZero), b"ab");
    }

    #[test]
    fn a_ring_writes_what_it_is_given() {
        let Ok(ring) = super::ring() else {
            println!("no io_uring here: nothing to be tested");
            return;
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let file = Arc::new(LogFile::with_room(new_file(&path).expect("creates"), &path));
        let mut writer = RingWriter { ring, file: file.clone() };
        writer.write(0, b"abc", true).expect("writes");
        writer.write(3, b"", true).expect("syncs");
        writer.write(3, b"def", false).expect("writes");
        let all = std::fs::read(&path).expect("reads");
        assert_eq!(all, b"abcdef");
    }
}
