//! Reading the log back after a stop, clean or not; nobody has to attend.
//!
//! 1. Files that were not finished are removed.
//! 2. The newest checkpoint that is whole is read, then each segment that it does not stand for, in order.
//!    Frames whose number was seen are skipped; numbers left out are counted as lost. What an older
//!    checkpoint is good for stays on disk until the next one is written: it is what counts where the newest
//!    is damaged.
//! 3. Bytes that are no frame are stepped over up to the next whole frame. At the very end of the log
//!    they are a torn tail, the mark of a crash: cut off and counted. Anywhere else they are damage:
//!    counted, left for whoever wants to look. Zeros behind the last frame are room that was written ahead: cut off,
//!    and nothing was lost.
//!    Frames behind a lost one are left where a later segment begins at or before that one: after a failed sync all
//!    frames since the last good one are written again, and that copy has none missing.
//! 4. The writer goes on in a new segment.
//!
//! Where every checkpoint is damaged, what is whole of the newest is used, and all segments that there are.

use super::checkpoint::{Unusable, Walk};
use super::commit::{ClosedSegment, LogPosition};
use super::frame::{self, HeaderError, Next, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::reader::FileReader;
use super::record::{Record, RecordReader};
use crate::disk::{Disk, names};
use std::io;
use std::path::Path;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    pub position: LogPosition,
    pub segments: u64,
    pub frames: u64,
    pub bytes: u64,
    /// Bytes cut off the end.
    pub torn_bytes: u64,
    /// Places where frames or records were unreadable.
    pub damages: u64,
    /// Frames known to have been there and not found.
    pub lost_frames: u64,
    /// Time of the newest sample so far.
    pub max_ms: Option<i64>,
}

/// What is behind a segment's last frame, where it is more than room.
struct Torn {
    bytes: usize,
    /// No segment follows.
    is_last: bool,
}

/// What keeps a log from being read at all.
#[derive(Debug)]
pub enum ReplayError {
    Io { path: String, error: io::Error },
    LaterVersion { path: String, version: u32 },
}

/// Reads a shard's log; every record goes to `sink`, in the order of writing.
pub struct Replay<'a, D: Disk, F: FnMut(Record<'_>) -> Option<i64>> {
    pub disk: &'a D,
    pub directory: &'a Path,
    pub shard: u32,
    pub seed: u64,
    /// Takes a record and tells its newest time.
    pub sink: F,
}

impl<D: Disk, F: FnMut(Record<'_>) -> Option<i64>> Replay<'_, D, F> {
    pub fn run(mut self) -> Result<Replayed, ReplayError> {
        let mut found = Replayed::default();
        let listed = self.disk.list(self.directory);
        let files = self.tried(self.directory, listed)?;
        for name in files.iter().filter(|n| n.ends_with(names::UNFINISHED)) {
            self.remove(&self.directory.join(name))?;
        }
        let numbered =
            |extension| files.iter().filter_map(move |n| names::number(n, extension)).collect::<Vec<u64>>();
        let (checkpoints, segments) = (numbered(names::CHECKPOINT), numbered(names::SEGMENT));
        let newest = checkpoints.last().copied().unwrap_or(0);
        found.position.last_segment = segments.last().copied().unwrap_or(0).max(newest.saturating_sub(1));
        let base = self.base(&checkpoints, &mut found)?;
        let next_number = found.position.next_number;
        if base == 0 {
            // No checkpoint is whole: all frames count, whatever the damaged one stood for.
            found.position.next_number = 0;
        }
        for (at, number) in segments.iter().enumerate() {
            if *number < base {
                self.stood_for(*number, &mut found)?;
            } else {
                self.segment(*number, &segments[at + 1..], &mut found)?;
            }
        }
        found.position.next_number = found.position.next_number.max(next_number).max(1);
        Ok(found)
    }

    fn tried<T>(&self, path: &Path, result: io::Result<T>) -> Result<T, ReplayError> {
        result.map_err(|error| ReplayError::Io { path: path.display().to_string(), error })
    }

    fn remove(&self, path: &Path) -> Result<(), ReplayError> {
        self.tried(path, self.disk.remove(path))
    }

    fn open(&self, path: &Path) -> Result<FileReader, ReplayError> {
        self.tried(path, self.disk.map(path)).map(FileReader::new)
    }

    fn header(&self, number: u64) -> SegmentHeader {
        SegmentHeader { shard: self.shard, segment: number, seed: self.seed }
    }

    /// Reads the newest whole checkpoint; returns its number.
    fn base(&mut self, checkpoints: &[u64], found: &mut Replayed) -> Result<u64, ReplayError> {
        for number in checkpoints.iter().rev() {
            let path = names::checkpoint(self.directory, *number);
            let mut file = self.open(&path)?;
            let whole = self.is_whole(*number, &mut file);
            match whole {
                Ok(()) => {
                    self.whole_frames(&mut file, found, &path)?;
                    found.position.checkpoint = *number;
                    found.position.checkpoint_bytes = file.len_bytes() as u64;
                    return Ok(*number);
                }
                Err(Unusable::Version(version)) => {
                    return Err(ReplayError::LaterVersion { path: path.display().to_string(), version });
                }
                Err(Unusable::Io(error)) => return self.tried(&path, Err(error)),
                Err(Unusable::Damaged) => {
                    found.damages += 1;
                    tracing::warn!(file = %path.display(), "checkpoint is damaged, the one before it counts, and the log since then");
                }
            }
        }
        if let Some(newest) = checkpoints.last() {
            let path = names::checkpoint(self.directory, *newest);
            let mut file = self.open(&path)?;
            self.whole_frames(&mut file, found, &path)?;
        }
        Ok(0)
    }

    /// Looks at all of a checkpoint before anything of it is used.
    fn is_whole(&self, number: u64, file: &mut FileReader) -> Result<(), Unusable> {
        let mut walk = Walk::begin(file, self.header(number))?;
        while walk.next(file)?.is_some() {}
        Ok(())
    }

    fn whole_frames(
        &mut self,
        file: &mut FileReader,
        found: &mut Replayed,
        path: &Path,
    ) -> Result<(), ReplayError> {
        let mut at = SEGMENT_HEADER_BYTES;
        loop {
            let next = file.next(at);
            match self.tried(path, next)? {
                Next::Frame(frame) => {
                    self.records(frame.payload, found);
                    at = frame.end;
                }
                Next::Damage { resume: Some(resume) } => at = resume,
                Next::Damage { resume: None } | Next::End => return Ok(()),
            }
        }
    }

    /// A segment that the checkpoint stands for: kept for the case that it could not be read.
    fn stood_for(&mut self, number: u64, found: &mut Replayed) -> Result<(), ReplayError> {
        let path = names::segment(self.directory, number);
        let bytes = self.open(&path)?.len_bytes() as u64;
        found.position.closed.push(ClosedSegment { number, bytes, max_ms: found.max_ms });
        Ok(())
    }

    /// `later`: the numbers of the segments behind it.
    fn segment(&mut self, number: u64, later: &[u64], found: &mut Replayed) -> Result<(), ReplayError> {
        let path = names::segment(self.directory, number);
        let mut file = self.open(&path)?;
        let len_bytes = file.len_bytes();
        if len_bytes == 0 {
            // Made, and cut off before its first frame.
            return self.remove(&path);
        }
        found.segments += 1;
        found.bytes += len_bytes as u64;
        let header = file.bytes(0, SEGMENT_HEADER_BYTES);
        let header = self.tried(&path, header)?;
        let mut at = match frame::read_segment_header(frame::SEGMENT_MAGIC, header, self.header(number)) {
            Ok(_) => SEGMENT_HEADER_BYTES,
            Err(HeaderError::Version(version)) => {
                return Err(ReplayError::LaterVersion { path: path.display().to_string(), version });
            }
            Err(error) => {
                // A header that is not ours is stepped over like any other damage.
                tracing::warn!(file = %path.display(), ?error, "log file's header is not ours");
                0
            }
        };
        let (mut frames, mut keep) = (0, false);
        loop {
            let next = file.next(at);
            match self.tried(&path, next)? {
                Next::Frame(frame) if self.is_written_again(frame.number, found, later)? => {
                    tracing::warn!(file = %path.display(), offset = at, "the rest of a log segment was written again");
                    keep = true;
                    break;
                }
                Next::Frame(frame) => {
                    frames += 1;
                    at = frame.end;
                    if is_new(frame.number, &path, found) {
                        self.records(frame.payload, found);
                    }
                }
                Next::End if at >= len_bytes => break,
                Next::End => {
                    keep |= self.cut(&path, file, at, None, found)?;
                    break;
                }
                Next::Damage { resume: Some(resume) } => {
                    found.damages += 1;
                    tracing::warn!(file = %path.display(), offset = at, bytes = resume - at, "damage in log");
                    at = resume;
                }
                Next::Damage { resume: None } => {
                    let torn = Torn { bytes: len_bytes - at, is_last: later.is_empty() };
                    keep |= self.cut(&path, file, at, Some(torn), found)?;
                    break;
                }
            }
        }
        if frames == 0 && !keep {
            return self.remove(&path);
        }
        let max_ms = found.max_ms;
        found.position.closed.push(ClosedSegment { number, bytes: at as u64, max_ms });
        Ok(())
    }

    /// Cuts off what is behind a segment's last frame, or leaves it where it cannot be read: then `true`.
    fn cut(
        &self,
        path: &Path,
        file: FileReader,
        at: usize,
        torn: Option<Torn>,
        found: &mut Replayed,
    ) -> Result<bool, ReplayError> {
        if file.is_unreadable() {
            // It may be there again another day.
            found.damages += 1;
            tracing::error!(file = %path.display(), offset = at, "the end of a log segment cannot be read");
            return Ok(true);
        }
        if let Some(Torn { bytes, is_last }) = torn {
            found.torn_bytes += bytes as u64;
            tracing::warn!(file = %path.display(), offset = at, bytes, last = is_last, "torn end of log segment cut off");
        }
        drop(file);
        self.tried(path, self.disk.truncate(path, at as u64))?;
        Ok(false)
    }

    /// Whether frames are missing before this one, and a segment among `later` has them.
    fn is_written_again(&self, frame: u64, found: &Replayed, later: &[u64]) -> Result<bool, ReplayError> {
        let expected = found.position.next_number;
        if expected == 0 || frame <= expected {
            return Ok(false);
        }
        for number in later {
            let path = names::segment(self.directory, *number);
            let mut file = self.open(&path)?;
            let mut at = SEGMENT_HEADER_BYTES;
            loop {
                let next = file.next(at);
                match self.tried(&path, next)? {
                    Next::Frame(first) if first.number <= expected => return Ok(true),
                    Next::Damage { resume: Some(resume) } => at = resume,
                    _ => break,
                }
            }
        }
        Ok(false)
    }

    fn records(&mut self, payload: &[u8], found: &mut Replayed) {
        for record in RecordReader::new(payload) {
            match record {
                Ok(record) => {
                    if let Record::State(state) = &record {
                        found.position.next_number = found.position.next_number.max(state.next_frame);
                        found.max_ms = found.max_ms.max(state.max_ms);
                    }
                    found.max_ms = found.max_ms.max((self.sink)(record));
                }
                Err(_) => {
                    found.damages += 1;
                    tracing::warn!(directory = %self.directory.display(), "record in log is not readable");
                }
            }
        }
    }
}

/// Whether the frame was not seen before; counts those that were never seen.
fn is_new(number: u64, path: &Path, found: &mut Replayed) -> bool {
    let expected = found.position.next_number;
    if number < expected {
        return false;
    }
    if expected != 0 && number > expected {
        found.lost_frames += number - expected;
        tracing::warn!(file = %path.display(), from = expected, to = number, "frames are missing in the log");
    }
    found.position.next_number = number + 1;
    found.frames += 1;
    true
}

#[cfg(test)]
mod tests {
    use super::super::record;
    use super::*;
    use crate::disk::Log;
    use crate::disk::simulated::SimulatedDisk;
    use crate::wal::frame::FRAME_HEADER_BYTES;
    use futures_executor::block_on;

    const DIRECTORY: &str = "wal";

    /// Writes a segment with frames of these numbers, each a series of the same reference; a negative one is damaged.
    fn write(disk: &SimulatedDisk, number: u64, frames: &[i64]) {
        let header = SegmentHeader { shard: 0, segment: number, seed: 1 };
        let mut bytes = frame::segment_header(frame::SEGMENT_MAGIC, header).to_vec();
        for number in frames {
            let start = bytes.len();
            bytes.resize(start + FRAME_HEADER_BYTES, 0);
            record::push_series(&mut bytes, number.unsigned_abs() as u32, b"key");
            frame::seal(&mut bytes[start..], number.unsigned_abs());
            let last = bytes.len() - 1;
            bytes[last] ^= u8::from(*number < 0);
        }
        let mut log = disk.create_log(&names::segment(Path::new(DIRECTORY), number)).expect("creates");
        block_on(log.append(bytes, true)).0.expect("writes");
    }

    /// The frames that are replayed, and how many are known to be lost.
    #[track_caller]
    fn check(segments: &[&[i64]], expect: &[u32], lost: u64) {
        let disk = SimulatedDisk::new(1);
        for (at, frames) in segments.iter().enumerate() {
            write(&disk, at as u64 + 1, frames);
        }
        for _ in 0..2 {
            let mut seen = Vec::new();
            let sink = |record: Record<'_>| {
                if let Record::Series { reference, .. } = record {
                    seen.push(reference);
                }
                None
            };
            let replay = Replay { disk: &disk, directory: Path::new(DIRECTORY), shard: 0, seed: 1, sink };
            let found = replay.run().expect("replays");
            assert_eq!((seen.as_slice(), found.lost_frames), (expect, lost));
        }
    }

    /// A sync failed, all since the last good one was written again and acknowledged, and of the first copy a part in
    /// its midst never reached the medium: the whole frames behind that made the second copy look like repetitions.
    #[test]
    fn what_was_written_again_is_taken_from_there() {
        check(&[&[1, 2, 3], &[4, 5]], &[1, 2, 3, 4, 5], 0);
        check(&[&[1, 2, 3], &[2, 3, 4]], &[1, 2, 3, 4], 0);
        check(&[&[1, -2, 3], &[2, 3, 4]], &[1, 2, 3, 4], 0);
        check(&[&[1, -2, -3, 4], &[2, 3, 4], &[5]], &[1, 2, 3, 4, 5], 0);
        check(&[&[1, -2, 3], &[-2, 3], &[2, 3, 4]], &[1, 2, 3, 4], 0);
        // Nobody has it.
        check(&[&[1, -2, 3], &[4]], &[1, 3, 4], 1);
    }

    /// Bytes that are told as torn off where these stand behind a segment's frames; the next replay finds nothing any more.
    #[track_caller]
    fn check_tail(tail: &[u8], torn_bytes: u64) {
        let disk = SimulatedDisk::new(1);
        write(&disk, 1, &[1, 2]);
        let path = names::segment(Path::new(DIRECTORY), 1);
        let mut bytes = disk.read(&path).expect("reads");
        let whole = bytes.len();
        bytes.extend_from_slice(tail);
        disk.write_whole(&path, &bytes).expect("writes");
        for torn_bytes in [torn_bytes, 0] {
            let replay =
                Replay { disk: &disk, directory: Path::new(DIRECTORY), shard: 0, seed: 1, sink: |_| None };
            let found = replay.run().expect("replays");
            assert_eq!(
                (found.torn_bytes, found.frames, found.damages, found.lost_frames),
                (torn_bytes, 2, 0, 0)
            );
            assert_eq!(disk.read(&path).expect("reads").len(), whole);
        }
    }

    #[test]
    fn zeros_behind_the_last_frame_are_room_and_anything_else_is_torn() {
        check_tail(&[], 0);
        check_tail(&[0; 1], 0);
        check_tail(&[0; 5000], 0);
        check_tail(&[[0; 20], [1; 20]].concat(), 40);
        check_tail(&frame::FRAME_MAGIC, 4);
    }
}
