//! Room that a log has written ahead, with zeros, so that a commit overwrites what is there already: the file neither
//! grows nor gets new extents, its metadata stays as it is, and the sync is the data's alone. Such a commit goes past
//! the page cache, as one write that is durable when it is done.
//!
//! Zeros behind a log's last frame are no frame and no damage; a start cuts them off, and so does who closes the log.
//! Bytes of whole blocks only go past the page cache: the last block of a commit is written again with the next one,
//! its bytes unchanged, and a sector that is overwritten by itself stays as it is whenever the power goes.

use rustix::fs::OFlags;
use rustix::io::ReadWriteFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Offsets, lengths and memory of what goes past the page cache are multiples of this: what all media take.
pub const BLOCK_BYTES: usize = 4096;

/// Room ends at a multiple of this, the largest page there is: where zeros of the next piece wait in the page cache, a
/// page must not hold blocks that commits overwrite past it.
pub const PAGE_BYTES: usize = 64 << 10;

/// File systems that never write in place, or have no medium below them: room written ahead is for nothing there.
/// Btrfs, ZFS, bcachefs, NFS, tmpfs.
const NOT_IN_PLACE: [u64; 5] = [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e, 0x6969, 0x0102_1994];

/// Zeros are written so many at once: whoever writes them keeps commits from the file for as long as that takes.
static ZEROS: [u8; 128 << 10] = [0; 128 << 10];

/// A log's file, opened once for what goes through the page cache, and for logs with room once more for each, since the
/// kernel tells the failure of a sync once to each that has the file open.
pub struct LogFile {
    pub cached: File,
    direct: Option<File>,
    room: Option<File>,
    /// Where the log ends: what is behind is room.
    end: AtomicU64,
    /// Where the room ends.
    reserved: AtomicU64,
}

impl LogFile {
    /// A file that gets no room.
    pub fn without_room(file: File) -> LogFile {
        let (end, reserved) = (AtomicU64::new(0), AtomicU64::new(0));
        LogFile { cached: file, direct: None, room: None, end, reserved }
    }

    /// `file` is the one at `path`, new and empty.
    pub fn with_room(file: File, path: &Path) -> LogFile {
        let in_place = rustix::fs::fstatfs(&file).is_ok_and(|s| !NOT_IN_PLACE.contains(&(s.f_type as u64)));
        let open = |flags: OFlags| {
            OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path).ok()
        };
        let mut log = LogFile::without_room(file);
        // Where the file system does not know of it, commits go through the page cache.
        log.direct = in_place.then(|| open(OFlags::DIRECT)).flatten();
        log.room = log.direct.as_ref().and_then(|_| open(OFlags::empty()));
        log
    }

    /// The log ends here now.
    pub fn ends_at(&self, end: u64) {
        self.end.store(end, Ordering::Relaxed);
    }

    pub fn can_have_room(&self) -> bool {
        self.room.is_some()
    }

    /// Writes zeros from `from` on, durably; nobody writes there meanwhile. They go through the page cache, as a file
    /// that grows past it takes no commits while it does.
    pub fn reserve(&self, from: u64, length: usize) -> io::Result<()> {
        let room = self.room.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        // Before it is written: a part of it may be there after a failure.
        self.reserved.store(from + length as u64, Ordering::Relaxed);
        for at in (0..length).step_by(ZEROS.len()) {
            room.write_all_at(&ZEROS[..ZEROS.len().min(length - at)], from + at as u64)?;
        }
        room.sync_data()
    }

    /// Puts an image over room; durable once it returns.
    pub fn overwrite(&self, image: &Image) -> io::Result<()> {
        let direct = self.direct.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let (mut at, mut bytes) = (image.at, image.bytes());
        while !bytes.is_empty() {
            match rustix::io::pwritev2(direct, &[IoSlice::new(bytes)], at, ReadWriteFlags::DSYNC) {
                Ok(written) => (at, bytes) = rest_of(at, bytes, written)?,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Gives back the room behind the end.
    fn trim(&self) -> io::Result<()> {
        let end = self.end.load(Ordering::Relaxed);
        if self.reserved.load(Ordering::Relaxed) <= end {
            return Ok(());
        }
        self.cached.set_len(end)
    }

    /// After a reservation that failed: the disk may be short of just this room. Nobody writes behind `from` meanwhile.
    pub fn give_up(&self, from: u64) {
        // A longer file does no harm: the next start cuts it.
        let _ = self.cached.set_len(from);
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        if let Err(error) = self.trim() {
            tracing::debug!(%error, "room behind the end of a log stays until the next start");
        }
    }
}

/// Bytes as they are to stand in a file from some offset on: aligned, whole blocks, zeros behind the last one.
pub struct Image {
    memory: Vec<u8>,
    /// Where the aligned part of the memory begins.
    start: usize,
    length: usize,
    at: u64,
}

impl Image {
    /// For `capacity` bytes, block by block.
    pub fn new(capacity: usize) -> Image {
        let memory = vec![0; capacity.next_multiple_of(BLOCK_BYTES) + 2 * BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Image { memory, start, length: 0, at: 0 }
    }

    /// Takes the bytes for the end of a log at `end`; `tail` is what its last block holds so far.
    pub fn fill(&mut self, end: u64, tail: &[u8], bytes: &[u8]) {
        self.at = end - tail.len() as u64;
        let whole = tail.len() + bytes.len();
        self.length = whole.next_multiple_of(BLOCK_BYTES);
        let into = &mut self.memory[self.start..][..self.length];
        into[..tail.len()].copy_from_slice(tail);
        into[tail.len()..whole].copy_from_slice(bytes);
        into[whole..].fill(0);
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..][..self.length]
    }
}

/// What is left of an image after so many bytes of it were written.
fn rest_of(at: u64, bytes: &[u8], written: usize) -> io::Result<(u64, &[u8])> {
    match bytes.get(written..) {
        // Part of a block: what is left could not go the same way.
        Some(rest) if written > 0 && written.is_multiple_of(BLOCK_BYTES) => Ok((at + written as u64, rest)),
        _ => Err(io::Error::new(
            io::ErrorKind::WriteZero,
            format!("{written} of {} bytes written", bytes.len()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_aligned_and_ends_in_zeros() {
        let mut image = Image::new(10_000);
        image.fill(5000, &[7; 904], &[8; 4000]);
        assert_eq!((image.at, image.bytes().len()), (4096, 8192));
        assert_eq!(image.bytes().as_ptr().align_offset(BLOCK_BYTES), 0);
        let spans: Vec<_> = image.bytes().chunk_by(|a, b| a == b).map(|s| (s[0], s.len())).collect();
        assert_eq!(spans, [(7, 904), (8, 4000), (0, 8192 - 4904)]);
        // Nothing of it is left in the next one.
        image.fill(8192, &[], &[9; 1]);
        assert_eq!((image.at, &image.bytes()[..3]), (8192, &[9, 0, 0][..]));
    }

    #[test]
    fn room_is_overwritten_and_given_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let file = File::create_new(&path).map(|file| LogFile::with_room(file, &path)).expect("creates");
        if !file.can_have_room() {
            println!("nothing goes past the page cache here");
            return;
        }
        let read = || std::fs::read(&path).expect("reads");
        file.cached.write_all_at(b"abcdef", 0).expect("writes");
        file.cached.sync_data().expect("syncs");
        file.ends_at(6);
        file.reserve(4096, 300_000).expect("reserves");
        assert_eq!((&read()[..8], read().len()), (&b"abcdef\0\0"[..], 304_096));
        let mut image = Image::new(5000);
        image.fill(6, b"abcdef", &[7; 5000]);
        file.overwrite(&image).expect("overwrites");
        let spans: Vec<_> = read()[6..].chunk_by(|a, b| a == b).map(|s| (s[0], s.len())).collect();
        assert_eq!((spans, &read()[..6]), (vec![(7, 5000), (0, 304_096 - 5006)], &b"abcdef"[..]));
        file.ends_at(5006);
        drop(file);
        assert_eq!(read().len(), 5006);
    }

    #[test]
    fn what_is_left_of_an_image_begins_with_a_block() {
        let bytes = [1; 3 * BLOCK_BYTES];
        let left = |written| rest_of(4096, &bytes, written).map(|(at, rest)| (at, rest.len())).ok();
        assert_eq!(left(BLOCK_BYTES), Some((8192, 2 * BLOCK_BYTES)));
        assert_eq!(left(3 * BLOCK_BYTES), Some((16384, 0)));
        assert_eq!((left(0), left(512), left(4 * BLOCK_BYTES)), (None, None, None));
    }
}
