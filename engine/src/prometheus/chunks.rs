//! A block's files of chunks, and what their chunks hold.
//!
//! File: `0x85bd40dd | version 1 | 0 0 0`, then chunks: `length uvarint | encoding u8 | data | crc32c u32` of
//! encoding and data. A chunk is known by the file's place among the files and its offset.

use super::{FileError, FormatError, histogram, xor};
use crate::bytes::Reader;
use crate::chunk::histogram::Timed;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub const MAGIC: u32 = 0x85bd_40dd;
pub const HEADER_BYTES: u64 = 8;
/// A new file begins before one would grow beyond this.
pub const FILE_BYTES: u64 = 512 << 20;
/// A chunk that claims more is damage: Prometheus' have about a kilobyte.
const MAX_CHUNK_BYTES: usize = 64 << 20;
/// What is read ahead: chunks lie in the order in which series are walked.
const WINDOW_BYTES: usize = 1 << 20;
/// Length, encoding and checksum around the data.
const FRAME_BYTES: usize = 5 + 1 + 4;

/// How a chunk's samples are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Xor,
    Histogram,
    FloatHistogram,
}

impl Encoding {
    pub fn of(byte: u8) -> Result<Encoding, FormatError> {
        match byte {
            1 => Ok(Encoding::Xor),
            2 => Ok(Encoding::Histogram),
            3 => Ok(Encoding::FloatHistogram),
            other => Err(FormatError::Unknown("chunk encoding", u64::from(other))),
        }
    }

    pub fn byte(self) -> u8 {
        match self {
            Encoding::Xor => 1,
            Encoding::Histogram => 2,
            Encoding::FloatHistogram => 3,
        }
    }
}

/// Samples of a series, out of several chunks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    pub times: Vec<i64>,
    pub values: Vec<f64>,
    pub histograms: Vec<Timed>,
}

impl Samples {
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty() && self.histograms.is_empty()
    }

    pub fn len(&self) -> usize {
        self.times.len() + self.histograms.len()
    }

    /// Appends a chunk's samples; on an error nothing is appended.
    pub fn decode(&mut self, encoding: Encoding, data: &[u8]) -> Result<(), FormatError> {
        match encoding {
            Encoding::Xor => xor::decode(data, &mut self.times, &mut self.values),
            Encoding::Histogram => histogram::decode(data, true, &mut self.histograms),
            Encoding::FloatHistogram => histogram::decode(data, false, &mut self.histograms),
        }
    }

    /// Keeps what `keep` says of the time.
    pub fn retain(&mut self, keep: impl Fn(i64) -> bool) {
        if !self.times.iter().all(|time| keep(*time)) {
            let mut marks = self.times.iter().map(|time| keep(*time)).collect::<Vec<_>>().into_iter();
            self.values.retain(|_| marks.next().unwrap_or(false));
            self.times.retain(|time| keep(*time));
        }
        self.histograms.retain(|(time, _)| keep(*time));
    }
}

/// The chunk that the bytes begin with: its encoding, its data, and how long it is in all.
pub fn read(bytes: &[u8]) -> Result<(Encoding, &[u8], usize), FormatError> {
    const SHORT: FormatError = FormatError::Damaged("chunk ends early");
    let mut input = Reader::new(bytes);
    let length = input.varint().and_then(|n| usize::try_from(n).ok()).ok_or(SHORT)?;
    if length > MAX_CHUNK_BYTES {
        return Err(FormatError::Damaged("chunk claims to be too long"));
    }
    let body = input.bytes(length + 1).ok_or(SHORT)?;
    if input.u32_be().ok_or(SHORT)? != crc32c::crc32c(body) {
        return Err(FormatError::Damaged("chunk's checksum does not hold"));
    }
    Ok((Encoding::of(body[0])?, &body[1..], bytes.len() - input.rest().len()))
}

/// Appends a chunk as it lies in a file.
pub fn push(out: &mut Vec<u8>, encoding: Encoding, data: &[u8]) {
    crate::bytes::push_varint(out, data.len() as u64);
    let start = out.len();
    out.push(encoding.byte());
    out.extend_from_slice(data);
    let crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&crc.to_be_bytes());
}

pub fn header() -> [u8; HEADER_BYTES as usize] {
    let [a, b, c, d] = MAGIC.to_be_bytes();
    [a, b, c, d, 1, 0, 0, 0]
}

pub fn check_header(bytes: &[u8]) -> Result<(), FormatError> {
    let mut input = Reader::new(bytes);
    match (input.u32_be(), input.u8()) {
        (Some(MAGIC), Some(1)) if bytes.len() as u64 >= HEADER_BYTES => Ok(()),
        (Some(MAGIC), Some(version)) if version != 1 => {
            Err(FormatError::Unknown("version of a chunks file", u64::from(version)))
        }
        _ => Err(FormatError::Damaged("not a chunks file")),
    }
}

/// The name of the file at a place, counted from 0.
pub fn file_name(place: usize) -> String {
    format!("{:06}", place + 1)
}

/// The files of a directory whose names are numbers, ascending.
pub fn numbered_files(directory: &Path) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(FileError::io(directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(FileError::io(directory))?;
        let name = entry.file_name();
        let number = name.to_str().filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The chunks of a block.
#[derive(Debug)]
pub struct ChunkFiles {
    files: Vec<(PathBuf, File, u64)>,
    /// Bytes of a file that were read ahead: which file, from where.
    ahead: Vec<u8>,
    at: (usize, u64),
}

impl ChunkFiles {
    pub fn open(directory: &Path) -> Result<ChunkFiles, FileError> {
        let mut files = Vec::new();
        for (_, path) in numbered_files(directory)? {
            let file = File::open(&path).map_err(FileError::io(&path))?;
            let length = file.metadata().map_err(FileError::io(&path))?.len();
            let mut head = vec![0; HEADER_BYTES.min(length) as usize];
            file.read_exact_at(&mut head, 0).map_err(FileError::io(&path))?;
            check_header(&head).map_err(FileError::format(&path, 0))?;
            files.push((path, file, length));
        }
        Ok(ChunkFiles { files, ahead: Vec::new(), at: (0, 0) })
    }

    /// Bytes of all files.
    pub fn len_bytes(&self) -> u64 {
        self.files.iter().map(|(_, _, length)| length).sum()
    }

    /// Decodes the chunk of that reference into `out`.
    pub fn decode(&mut self, reference: u64, out: &mut Samples) -> Result<(), FileError> {
        let (place, offset) = ((reference >> 32) as usize, reference & 0xffff_ffff);
        let Some((path, _, length)) = self.files.get(place) else {
            return Err(FileError::Format {
                path: PathBuf::from(file_name(place)),
                offset,
                error: FormatError::Damaged("index names a chunks file that is not there"),
            });
        };
        let (path, length) = (path.clone(), *length);
        let mut wanted = WINDOW_BYTES;
        loop {
            let rest = self.window(place, offset, wanted)?;
            match read(rest) {
                Ok((encoding, data, _)) => {
                    return out.decode(encoding, data).map_err(FileError::format(&path, offset));
                }
                // It may be longer than what was read.
                Err(FormatError::Damaged("chunk ends early"))
                    if wanted < MAX_CHUNK_BYTES + FRAME_BYTES && offset + (wanted as u64) < length =>
                {
                    wanted = MAX_CHUNK_BYTES + FRAME_BYTES;
                }
                Err(error) => return Err(FileError::format(&path, offset)(error)),
            }
        }
    }

    /// At least `wanted` bytes from `offset` on, or as many as the file has.
    fn window(&mut self, place: usize, offset: u64, wanted: usize) -> Result<&[u8], FileError> {
        let (path, file, length) = &self.files[place];
        // A typical chunk is read from what is there; a long one is read anew.
        let least = if wanted == WINDOW_BYTES { WINDOW_BYTES / 16 } else { wanted } as u64;
        let end = self.at.1 + self.ahead.len() as u64;
        let there = self.at.0 == place && offset >= self.at.1 && (offset + least).min(*length) <= end;
        if !there || self.ahead.is_empty() {
            let count = length.saturating_sub(offset).min(wanted as u64) as usize;
            self.ahead.resize(count, 0);
            self.at = (place, offset);
            file.read_exact_at(&mut self.ahead, offset).map_err(FileError::io(path))?;
        }
        let skip = (offset - self.at.1) as usize;
        Ok(self.ahead.get(skip..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_framed_and_damage_is_told() {
        let mut bytes = Vec::new();
        push(&mut bytes, Encoding::Xor, &xor::encode(&[1, 2], &[0.5, 0.25]));
        let (encoding, data, length) = read(&bytes).expect("reads");
        let mut samples = Samples::default();
        samples.decode(encoding, data).expect("decodes");
        assert_eq!((samples.times, samples.values, length), (vec![1, 2], vec![0.5, 0.25], bytes.len()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert!(read(&damaged).is_err(), "byte {at}");
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn samples_are_kept_by_time() {
        let mut samples =
            Samples { times: vec![1, 2, 3], values: vec![0.1, 0.2, 0.3], histograms: Vec::new() };
        samples.retain(|time| time != 2);
        assert_eq!((samples.times, samples.values), (vec![1, 3], vec![0.1, 0.3]));
    }
}
