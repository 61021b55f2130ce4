//! Reading the log back after a stop, clean or not; nobody has to attend.
//!
//! 1. Files that were not finished are removed, and segments that a checkpoint stands for.
//! 2. The checkpoint's frames are read, then those of each segment in order. Frames whose number was
//!    seen are skipped; numbers left out are counted as lost.
//! 3. Bytes that are no frame are stepped over up to the next whole frame. At the very end of the log
//!    they are a torn tail, the mark of a crash: cut off and counted. Anywhere else they are damage:
//!    counted, left for whoever wants to look.
//! 4. The writer goes on in a new segment.

use super::commit::{ClosedSegment, LogPosition};
use super::frame::{self, HeaderError, Next, SEGMENT_HEADER_BYTES, SegmentHeader};
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
        for old in checkpoints.iter().filter(|n| **n < newest) {
            self.remove(&names::checkpoint(self.directory, *old))?;
        }
        for old in segments.iter().filter(|n| **n < newest) {
            self.remove(&names::segment(self.directory, *old))?;
        }
        if newest > 0 {
            self.checkpoint(newest, &mut found)?;
        }
        let kept: Vec<u64> = segments.into_iter().filter(|n| *n >= newest).collect();
        for (at, number) in kept.iter().enumerate() {
            self.segment(*number, at + 1 == kept.len(), &mut found)?;
        }
        found.position.next_number = found.position.next_number.max(1);
        Ok(found)
    }

    fn tried<T>(&self, path: &Path, result: io::Result<T>) -> Result<T, ReplayError> {
        result.map_err(|error| ReplayError::Io { path: path.display().to_string(), error })
    }

    fn remove(&self, path: &Path) -> Result<(), ReplayError> {
        self.tried(path, self.disk.remove(path))
    }

    fn header(&self, path: &Path, magic: [u8; 8], number: u64, bytes: &[u8]) -> Result<bool, ReplayError> {
        let expect = SegmentHeader { shard: self.shard, segment: number, seed: self.seed };
        match frame::read_segment_header(magic, bytes, expect) {
            Ok(()) => Ok(true),
            Err(HeaderError::Version(version)) => {
                Err(ReplayError::LaterVersion { path: path.display().to_string(), version })
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), ?error, "log file's header is not ours");
                Ok(false)
            }
        }
    }

    fn checkpoint(&mut self, number: u64, found: &mut Replayed) -> Result<(), ReplayError> {
        let path = names::checkpoint(self.directory, number);
        let bytes = self.tried(&path, self.disk.read(&path))?;
        if !self.header(&path, frame::CHECKPOINT_MAGIC, number, &bytes)? {
            found.damages += 1;
            return Ok(());
        }
        let mut at = SEGMENT_HEADER_BYTES;
        loop {
            match frame::next(&bytes, at) {
                Next::Frame(frame) => {
                    self.records(frame.payload, found);
                    at = frame.end;
                }
                Next::End => return Ok(()),
                Next::Damage { resume } => {
                    found.damages += 1;
                    tracing::warn!(file = %path.display(), offset = at, "damage in checkpoint");
                    match resume {
                        Some(resume) => at = resume,
                        None => return Ok(()),
                    }
                }
            }
        }
    }

    fn segment(&mut self, number: u64, last: bool, found: &mut Replayed) -> Result<(), ReplayError> {
        let path = names::segment(self.directory, number);
        let bytes = self.tried(&path, self.disk.read(&path))?;
        if bytes.is_empty() {
            // Made, and cut off before its first frame.
            return self.remove(&path);
        }
        found.segments += 1;
        found.bytes += bytes.len() as u64;
        let headed = self.header(&path, frame::SEGMENT_MAGIC, number, &bytes)?;
        let mut at = if headed { SEGMENT_HEADER_BYTES } else { 0 };
        let mut frames = 0;
        loop {
            match frame::next(&bytes, at) {
                Next::Frame(frame) => {
                    frames += 1;
                    at = frame.end;
                    if frame.number < found.position.next_number {
                        continue;
                    }
                    if found.position.next_number != 0 && frame.number > found.position.next_number {
                        found.lost_frames += frame.number - found.position.next_number;
                        tracing::warn!(file = %path.display(), from = found.position.next_number, to = frame.number, "frames are missing in the log");
                    }
                    found.position.next_number = frame.number + 1;
                    found.frames += 1;
                    self.records(frame.payload, found);
                }
                Next::End => break,
                Next::Damage { resume: Some(resume) } => {
                    // A header that is not ours is stepped over like any other damage.
                    found.damages += 1;
                    tracing::warn!(file = %path.display(), offset = at, bytes = resume - at, "damage in log");
                    at = resume;
                }
                Next::Damage { resume: None } => {
                    let torn = (bytes.len() - at) as u64;
                    found.torn_bytes += torn;
                    tracing::warn!(file = %path.display(), offset = at, bytes = torn, last, "torn end of log segment cut off");
                    self.tried(&path, self.disk.truncate(&path, at as u64))?;
                    break;
                }
            }
        }
        if frames == 0 {
            return self.remove(&path);
        }
        let max_ms = found.max_ms;
        found.position.closed.push(ClosedSegment { number, bytes: at as u64, max_ms });
        Ok(())
    }

    fn records(&mut self, payload: &[u8], found: &mut Replayed) {
        for record in RecordReader::new(payload) {
            match record {
                Ok(record) => found.max_ms = found.max_ms.max((self.sink)(record)),
                Err(_) => {
                    found.damages += 1;
                    tracing::warn!(directory = %self.directory.display(), "record in log is not readable");
                }
            }
        }
    }
}
