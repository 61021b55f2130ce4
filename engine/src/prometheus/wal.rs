//! Segments of the log: pages of 32 KiB, fragments of records in them, records put together again and
//! decompressed.
//!
//! A fragment: `type and compression u8 | length u16 | crc32c u32 | data`. A record lies within one segment. After
//! damage reading goes on at the next page: what is whole is read.

use super::{FileError, FormatError, chunks, read_file};
use crate::bytes::Reader;
use std::io::Read;
use std::path::{Path, PathBuf};

pub const PAGE_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;
/// A record that is longer, compressed or not, is damage: one of a million samples has 20 MB.
const MAX_RECORD_BYTES: usize = 128 << 20;
/// No record that was ever packed with snappy unpacks to more than this many times its length.
const MAX_SNAPPY_RATIO: usize = 128;

const TYPE: u8 = 0x07;
const SNAPPY: u8 = 0x08;
const ZSTD: u8 = 0x10;

const END_OF_PAGE: u8 = 0;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// A place in a segment that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    pub offset: u64,
    pub error: FormatError,
}

/// Buffers of a reader.
#[derive(Debug, Default)]
pub struct Unpacker {
    record: Vec<u8>,
    plain: Vec<u8>,
}

impl Unpacker {
    /// Gives every whole record of a segment to `sink`, and every damage to `damaged`. The end of the newest
    /// segment may be torn: that is damage too.
    pub fn read(&mut self, segment: &[u8], mut sink: impl FnMut(&[u8]), mut damaged: impl FnMut(Damage)) {
        let mut at = 0;
        self.record.clear();
        let mut open = None;
        while at < segment.len() {
            let page_end = (at / PAGE_BYTES + 1) * PAGE_BYTES;
            let page = &segment[at..page_end.min(segment.len())];
            match fragment(page) {
                Ok(Fragment::EndOfPage) => at = page_end,
                Ok(Fragment::Part { kind, data }) => {
                    let joined = self.join(kind, data, &mut open);
                    let unpacked = joined.and_then(|whole| match whole {
                        true => self.unpack(kind).map(Some),
                        false => Ok(None),
                    });
                    match unpacked {
                        Ok(Some(plain)) => sink(plain),
                        Ok(None) => {}
                        Err(error) => {
                            open = None;
                            damaged(Damage { offset: at as u64, error });
                        }
                    }
                    at += HEADER_BYTES + data.len();
                }
                Err(error) => {
                    open = None;
                    damaged(Damage { offset: at as u64, error });
                    at = page_end;
                }
            }
        }
        if open.is_some() {
            let error = FormatError::Damaged("segment ends within a record");
            damaged(Damage { offset: segment.len() as u64, error });
        }
    }

    /// Adds a fragment to the record at hand; whether that is whole now. `open` is the compression of the record
    /// that has begun.
    fn join(&mut self, kind: u8, data: &[u8], open: &mut Option<u8>) -> Result<bool, FormatError> {
        let (part, packed) = (kind & TYPE, kind & !TYPE);
        let begins = matches!(part, FULL | FIRST);
        if begins == open.is_some() || open.is_some_and(|before| before != packed) {
            // What has begun counts, not what was left open.
            self.record.clear();
            *open = None;
            if !begins {
                return Err(FormatError::Damaged("fragment of a record that did not begin"));
            }
        }
        if self.record.len() + data.len() > MAX_RECORD_BYTES {
            return Err(FormatError::Damaged("record is too long"));
        }
        if begins {
            self.record.clear();
        }
        self.record.extend_from_slice(data);
        let whole = matches!(part, FULL | LAST);
        *open = (!whole).then_some(packed);
        Ok(whole)
    }

    fn unpack(&mut self, kind: u8) -> Result<&[u8], FormatError> {
        match kind & (SNAPPY | ZSTD) {
            0 => Ok(&self.record),
            SNAPPY => {
                const DAMAGED: FormatError = FormatError::Damaged("record does not unpack as snappy");
                let length = snap::raw::decompress_len(&self.record).map_err(|_| DAMAGED)?;
                if length > MAX_RECORD_BYTES || length > MAX_SNAPPY_RATIO * self.record.len() {
                    return Err(FormatError::Damaged("record claims to unpack to too much"));
                }
                self.plain.resize(length, 0);
                let mut decoder = snap::raw::Decoder::new();
                decoder.decompress(&self.record, &mut self.plain).map_err(|_| DAMAGED)?;
                Ok(&self.plain)
            }
            ZSTD => {
                const DAMAGED: FormatError = FormatError::Damaged("record does not unpack as zstd");
                let decoder = ruzstd::decoding::StreamingDecoder::new(&self.record[..]);
                self.plain.clear();
                let most = MAX_RECORD_BYTES as u64 + 1;
                let read = decoder.map_err(|_| DAMAGED)?.take(most).read_to_end(&mut self.plain);
                read.map_err(|_| DAMAGED)?;
                if self.plain.len() > MAX_RECORD_BYTES {
                    return Err(FormatError::Damaged("record unpacks to too much"));
                }
                Ok(&self.plain)
            }
            other => Err(FormatError::Unknown("compression of a record", u64::from(other))),
        }
    }
}

enum Fragment<'a> {
    EndOfPage,
    Part { kind: u8, data: &'a [u8] },
}

/// What the rest of a page begins with.
fn fragment(page: &[u8]) -> Result<Fragment<'_>, FormatError> {
    let mut input = Reader::new(page);
    let kind = input.u8().unwrap_or(END_OF_PAGE);
    if kind & TYPE == END_OF_PAGE {
        // Too short for a header, or nothing more in this page.
        let clean = page.iter().all(|byte| *byte == 0);
        let error = FormatError::Damaged("bytes behind the end of a page");
        return if clean { Ok(Fragment::EndOfPage) } else { Err(error) };
    }
    const SHORT: FormatError = FormatError::Damaged("fragment of a record ends early");
    let high_low = input.bytes(2).ok_or(SHORT)?;
    let length = usize::from(high_low[0]) << 8 | usize::from(high_low[1]);
    let crc = input.u32_be().ok_or(SHORT)?;
    let data = input.bytes(length).ok_or(SHORT)?;
    if !matches!(kind & TYPE, FULL | FIRST | MIDDLE | LAST) {
        return Err(FormatError::Unknown("type of a fragment", u64::from(kind)));
    }
    if crc != crc32c::crc32c(data) {
        return Err(FormatError::Damaged("checksum of a fragment does not hold"));
    }
    Ok(Fragment::Part { kind, data })
}

/// The segments of a log, in order, and how many bytes they have.
pub fn segments(directory: &Path) -> Result<(Vec<PathBuf>, u64), FileError> {
    let (mut paths, mut bytes) = (Vec::new(), 0);
    for (_, path) in chunks::numbered_files(directory)? {
        bytes += std::fs::metadata(&path).map_err(FileError::io(&path))?.len();
        paths.push(path);
    }
    Ok((paths, bytes))
}

/// The newest checkpoint of a log, and the number of the last segment that it stands for.
pub fn checkpoint(directory: &Path) -> Result<Option<(u64, PathBuf)>, FileError> {
    let mut newest = None;
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::io(directory)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(FileError::io(directory))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("checkpoint.").and_then(|n| n.parse::<u64>().ok());
        newest = newest.max(number.map(|number| (number, entry.path())));
    }
    Ok(newest)
}

/// The segments that have to be read: those of the newest checkpoint, then those that it does not stand for.
pub fn replayed(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut out = Vec::new();
    let mut first = 0;
    if let Some((number, path)) = checkpoint(directory)? {
        out.extend(segments(&path)?.0);
        first = number + 1;
    }
    let kept = chunks::numbered_files(directory)?.into_iter().filter(|(number, _)| *number >= first);
    out.extend(kept.map(|(_, path)| path));
    Ok(out)
}

/// Reads a segment's file.
pub fn read_segment(path: &Path) -> Result<Vec<u8>, FileError> {
    read_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
        out.push(kind);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(data).to_be_bytes());
        out.extend_from_slice(data);
    }

    fn records(segment: &[u8]) -> (Vec<String>, usize) {
        let (mut found, mut damages) = (Vec::new(), 0);
        let take = |record: &[u8]| found.push(String::from_utf8_lossy(record).into_owned());
        Unpacker::default().read(segment, take, |_| damages += 1);
        (found, damages)
    }

    #[test]
    fn records_are_put_together_and_unpacked() {
        let mut segment = Vec::new();
        push(&mut segment, FULL, b"one");
        let packed = snap::raw::Encoder::new().compress_vec(b"two two two two").expect("packs");
        push(&mut segment, FULL | SNAPPY, &packed);
        let packed =
            ruzstd::encoding::compress_to_vec(&b"three"[..], ruzstd::encoding::CompressionLevel::Fastest);
        push(&mut segment, FULL | ZSTD, &packed);
        push(&mut segment, FIRST, b"a");
        segment.resize(PAGE_BYTES, 0);
        push(&mut segment, MIDDLE, b"b");
        push(&mut segment, LAST, b"c");
        assert_eq!(
            records(&segment),
            (["one", "two two two two", "three", "abc"].map(String::from).to_vec(), 0)
        );
    }

    #[test]
    fn damage_costs_its_page_at_most() {
        let mut segment = Vec::new();
        push(&mut segment, FULL, b"one");
        let second = segment.len();
        push(&mut segment, FIRST, b"lost");
        segment.resize(PAGE_BYTES, 0);
        push(&mut segment, LAST, b"lost");
        push(&mut segment, FULL, b"two");
        segment[second + 8] ^= 1;
        assert_eq!(records(&segment), (["one", "two"].map(String::from).to_vec(), 2));
        // A torn end.
        let mut torn = Vec::new();
        push(&mut torn, FULL, b"one");
        push(&mut torn, FIRST, b"two");
        assert_eq!(records(&torn), (vec!["one".to_owned()], 1));
        assert_eq!(records(&torn[..torn.len() - 1]), (vec!["one".to_owned()], 1));
    }
}
