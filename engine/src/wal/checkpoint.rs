//! A checkpoint: what stands for all segments before it, in frames like theirs.
//!
//! The frames are numbered from 0. The first one holds what the log had come to, the last one the end; in
//! between are series, each frame readable without the others. Only a checkpoint that is whole is used: one
//! damaged byte, and the one before it counts, and the log since then.

use super::frame::{self, FRAME_HEADER_BYTES, HeaderError, Next, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::reader::FileReader;
use super::record::{self, Record, RecordReader, State};
use crate::disk::{Disk, Log};
use std::io;
use std::path::Path;

/// From this version on a checkpoint has an end, and samples.
const WITH_END: u32 = 2;
/// A frame with nothing but the end is no longer.
const END_PAYLOAD_BYTES: usize = 16;

/// Writes a checkpoint's file.
pub struct CheckpointWriter<L> {
    log: L,
    out: Vec<u8>,
    frames: u64,
    len_bytes: u64,
}

impl<L: Log> CheckpointWriter<L> {
    pub fn create<D: Disk<Log = L>>(
        disk: &D,
        path: &Path,
        header: SegmentHeader,
        state: State,
    ) -> io::Result<Self> {
        let log = disk.create_file(path)?;
        let mut out = frame::segment_header(frame::CHECKPOINT_MAGIC, header).to_vec();
        let start = out.len();
        out.resize(start + FRAME_HEADER_BYTES, 0);
        record::push_state(&mut out, state);
        frame::seal(&mut out[start..], 0);
        Ok(CheckpointWriter { log, out, frames: 1, len_bytes: 0 })
    }

    /// Appends a frame of the records that `fill` writes.
    pub async fn frame(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        self.push(fill);
        self.write(false).await
    }

    /// Appends the end and brings the file to stable storage; returns its length.
    pub async fn finish(mut self, rows: u64) -> io::Result<u64> {
        self.push(|out| record::push_end(out, rows));
        self.write(true).await?;
        Ok(self.len_bytes)
    }

    fn push(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.resize(start + FRAME_HEADER_BYTES, 0);
        fill(&mut self.out);
        frame::seal(&mut self.out[start..], self.frames);
        self.frames += 1;
    }

    async fn write(&mut self, sync: bool) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.len_bytes += out.len() as u64;
        let (result, buffer) = self.log.append(out, sync).await;
        self.out = buffer;
        self.out.clear();
        result
    }
}

/// Why a checkpoint is not used.
#[derive(Debug)]
pub enum Unusable {
    Io(io::Error),
    /// Written by a later Hearth.
    Version(u32),
    Damaged,
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Unusable::Io(error)
    }
}

/// Walks a checkpoint's frames, which must all be whole.
#[derive(Debug)]
pub struct Walk {
    at: usize,
    frames: u64,
    version: u32,
    ended: bool,
}

impl Walk {
    pub fn begin(file: &mut FileReader, expect: SegmentHeader) -> Result<Walk, Unusable> {
        let header = file.bytes(0, SEGMENT_HEADER_BYTES)?;
        match frame::read_segment_header(frame::CHECKPOINT_MAGIC, header, expect) {
            Ok(version) => Ok(Walk { at: SEGMENT_HEADER_BYTES, frames: 0, version, ended: false }),
            Err(HeaderError::Version(version)) => Err(Unusable::Version(version)),
            Err(HeaderError::Damaged | HeaderError::Foreign) => Err(Unusable::Damaged),
        }
    }

    /// The next frame's payload; `None` behind the last one.
    pub fn next<'a>(&mut self, file: &'a mut FileReader) -> Result<Option<&'a [u8]>, Unusable> {
        match file.next(self.at)? {
            Next::Frame(found) if found.number == self.frames && !self.ended => {
                self.at = found.end;
                self.frames += 1;
                self.ended = is_end(found.payload);
                Ok(Some(found.payload))
            }
            Next::End if self.ended || self.version < WITH_END => Ok(None),
            _ => Err(Unusable::Damaged),
        }
    }
}

fn is_end(payload: &[u8]) -> bool {
    payload.len() <= END_PAYLOAD_BYTES
        && matches!(RecordReader::new(payload).next(), Some(Ok(Record::End { .. })))
}
