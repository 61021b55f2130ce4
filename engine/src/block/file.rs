//! A block's file: pages under checksums, and a tail that says what lies where.
//!
//! The body is read in place. Each of its pages is read from the medium and checked when it is first
//! touched, and only then used through the map: opening a block costs its tail, whatever its size, and what
//! a bad medium costs is the pages that are bad. A page that goes bad later, under a mapping, makes all be checked
//! again, as they are in the map; who read meanwhile throws away what it read ([`faults`]).

use crate::bytes::Reader;
use crate::disk::faults;
use crate::disk::mapped::Mapped;
use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;

pub const MAGIC: [u8; 8] = *b"HEARTHBK";
pub const END_MAGIC: [u8; 8] = *b"HEARTHBE";
pub const FORMAT_VERSION: u32 = 3;
/// The oldest version that is read.
const FIRST_VERSION: u32 = 1;
/// Unit of checking: large enough for its checksum to cost nothing, small enough to cost one disk access.
pub const PAGE_BYTES: usize = 16 << 10;
/// `directory offset u64 | directory length u32 | version u32 | magic 8 | crc32c u32` of all since the body.
pub const FOOTER_BYTES: usize = 28;
/// A directory names its sources; more bytes are damage.
const MAX_DIRECTORY_BYTES: usize = 1 << 20;

/// The parts of a block's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    Chunks,
    SymbolText,
    SymbolEnds,
    Series,
    LabelSets,
    LabelGroups,
    ChunkLists,
    SharedTimes,
    Names,
    Values,
    Postings,
}

pub const SECTIONS: usize = 11;

/// Their names, in their order.
pub const SECTION_NAMES: [&str; SECTIONS] = [
    "chunks",
    "symbol text",
    "symbol ends",
    "series",
    "label sets",
    "groups",
    "chunk lists",
    "shared times",
    "names",
    "values",
    "postings",
];

/// What a block says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    pub shard: u32,
    pub number: u64,
    pub seed: u64,
    /// Times of its oldest and newest sample.
    pub min_ms: i64,
    pub max_ms: i64,
    /// When it was cut from the head: all samples before this time that were ever taken are in blocks.
    /// A block made of others has the largest cut of them.
    pub cut_ms: i64,
    pub series: u64,
    pub chunks: u64,
    pub samples: u64,
    pub histograms: u64,
    /// Offset and length of each section.
    pub sections: [(u64, u64); SECTIONS],
    /// Numbers of the blocks that it replaces.
    pub sources: Vec<u64>,
}

impl Directory {
    pub fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.to_le_bytes());
        for n in [self.number, self.seed] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for n in [self.min_ms, self.max_ms, self.cut_ms] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for n in [self.series, self.chunks, self.samples, self.histograms] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for (offset, length) in self.sections {
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
        }
        for source in &self.sources {
            out.extend_from_slice(&source.to_le_bytes());
        }
    }

    pub fn parse(bytes: &[u8]) -> Option<Directory> {
        let mut reader = Reader::new(bytes);
        let shard = reader.u32()?;
        let (number, seed) = (reader.u64()?, reader.u64()?);
        let mut time = || reader.u64().map(|n| n as i64);
        let (min_ms, max_ms, cut_ms) = (time()?, time()?, time()?);
        let (series, chunks) = (reader.u64()?, reader.u64()?);
        let (samples, histograms) = (reader.u64()?, reader.u64()?);
        let mut sections = [(0, 0); SECTIONS];
        for section in &mut sections {
            *section = (reader.u64()?, reader.u64()?);
        }
        let mut sources = Vec::new();
        while !reader.is_empty() {
            sources.push(reader.u64()?);
        }
        Some(Directory {
            shard,
            number,
            seed,
            min_ms,
            max_ms,
            cut_ms,
            series,
            chunks,
            samples,
            histograms,
            sections,
            sources,
        })
    }
}

/// Why a file is not a block that can be read.
#[derive(Debug)]
pub enum BlockError {
    Io(io::Error),
    Damaged(&'static str),
    /// Written by a later Hearth.
    Version(u32),
}

/// Some bytes of a block cannot be trusted or read. Whoever meets it goes on without them; the block
/// counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage;

/// An open block file.
pub struct BlockFile {
    mapped: Mapped,
    pub directory: Directory,
    pub version: u32,
    body: usize,
    /// Two bits for each page: checked, and found bad.
    states: Vec<Cell<u8>>,
    buffer: RefCell<Vec<u8>>,
    damaged_pages: Cell<u64>,
    /// [`faults::count`] when the states were last known to hold.
    faults: Cell<u64>,
}

const UNCHECKED: u8 = 0;
const GOOD: u8 = 1;
const BAD: u8 = 2;

impl BlockFile {
    pub fn open(mapped: Mapped) -> Result<BlockFile, BlockError> {
        let damaged = |what| Err(BlockError::Damaged(what));
        let Some(at) = mapped.len_bytes().checked_sub(FOOTER_BYTES) else {
            return damaged("it is too short");
        };
        let read = |offset: usize, length: usize| {
            let mut bytes = vec![0; length];
            mapped.read_at(offset, &mut bytes).map_err(BlockError::Io).map(|()| bytes)
        };
        let footer = read(at, FOOTER_BYTES)?;
        if footer[16..24] != END_MAGIC {
            return damaged("it has no end");
        }
        let mut reader = Reader::new(&footer);
        let fields = (|| Some((reader.u64()?, reader.u32()?, reader.u32()?)))();
        let Some((offset, length, version)) = fields else { return damaged("it has no end") };
        // The body ends where as many checksums begin as it has pages.
        let (offset, length) = (usize::try_from(offset).unwrap_or(usize::MAX), length as usize);
        if length > MAX_DIRECTORY_BYTES || offset.checked_add(length) != Some(at) {
            return damaged("its end does not fit");
        }
        let Some(body) = body_length(offset) else { return damaged("its pages do not fit") };
        let tail = read(body, mapped.len_bytes() - body)?;
        let (checked, crc) = tail.split_at(tail.len() - 4);
        if crc != crc32c::crc32c(checked).to_le_bytes() {
            return damaged("the checksum of its end does not hold");
        }
        if !(FIRST_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(BlockError::Version(version));
        }
        let directory = Directory::parse(&tail[offset - body..offset - body + length]);
        let Some(directory) = directory else { return damaged("its directory is not readable") };
        let fits =
            |(offset, length): &(u64, u64)| offset.checked_add(*length).is_some_and(|e| e <= body as u64);
        if !directory.sections.iter().all(fits) {
            return damaged("a section does not fit");
        }
        let states = vec![Cell::new(UNCHECKED); body.div_ceil(PAGE_BYTES)];
        let (buffer, damaged_pages) = (RefCell::new(Vec::new()), Cell::new(0));
        let faults = Cell::new(faults::count());
        Ok(BlockFile { mapped, directory, version, body, states, buffer, damaged_pages, faults })
    }

    pub fn len_bytes(&self) -> u64 {
        self.mapped.len_bytes() as u64
    }

    /// Pages found bad so far.
    pub fn damaged_pages(&self) -> u64 {
        self.damaged_pages.get()
    }

    /// Bytes of a section, checked.
    #[inline]
    pub fn slice(&self, section: Section, range: Range<u64>) -> Result<&[u8], Damage> {
        let (offset, length) = self.directory.sections[section as usize];
        if range.start > range.end || range.end > length {
            return Err(Damage);
        }
        let (start, end) = ((offset + range.start) as usize, (offset + range.end) as usize);
        if start < end {
            if self.faults.get() != faults::count() {
                self.doubt();
            }
            for page in start / PAGE_BYTES..=(end - 1) / PAGE_BYTES {
                if self.states[page].get() != GOOD {
                    self.check(page)?;
                }
            }
        }
        Ok(&self.mapped.bytes()[start..end])
    }

    pub fn section_length(&self, section: Section) -> u64 {
        self.directory.sections[section as usize].1
    }

    /// A page went bad under some mapping: it may have been one of these.
    #[cold]
    fn doubt(&self) {
        self.faults.set(faults::count());
        self.states.iter().filter(|state| state.get() == GOOD).for_each(|state| state.set(UNCHECKED));
    }

    #[cold]
    fn check(&self, page: usize) -> Result<(), Damage> {
        if self.states[page].get() == BAD {
            return Err(Damage);
        }
        let start = page * PAGE_BYTES;
        let mut buffer = self.buffer.borrow_mut();
        buffer.resize(PAGE_BYTES.min(self.body - start), 0);
        let mut expect = [0; 4];
        let read = self.mapped.read_at(self.body + page * 4, &mut expect);
        let read = read.and_then(|()| self.mapped.read_at(start, &mut buffer));
        let holds = |bytes: &[u8]| crc32c::crc32c(bytes).to_le_bytes() == expect;
        // What the medium gives now may not be what is in the map.
        let mapped = || holds(&self.mapped.bytes()[start..start + buffer.len()]);
        let good = read.is_ok() && holds(&buffer) && (faults::count() == 0 || mapped());
        self.states[page].set(if good { GOOD } else { BAD });
        if good {
            return Ok(());
        }
        self.damaged_pages.set(self.damaged_pages.get() + 1);
        let Directory { shard, number, .. } = self.directory;
        let error = read.err().map_or_else(|| "checksum does not hold".to_owned(), |e| e.to_string());
        tracing::error!(shard, block = number, offset = start, %error, "damaged page in block, what it holds is missing from answers");
        Err(Damage)
    }
}

/// Length of the body, where its page checksums end at `end`.
fn body_length(end: usize) -> Option<usize> {
    // n pages of at most PAGE_BYTES and 4 bytes each for their checksums.
    let pages = end.div_ceil(PAGE_BYTES + 4);
    let body = end.checked_sub(pages * 4)?;
    (body.div_ceil(PAGE_BYTES) == pages).then_some(body)
}

/// Checksums of the pages of what is written, one piece after the other.
#[derive(Debug, Default)]
pub struct PageSums {
    sums: Vec<u8>,
    open: u32,
    filled: usize,
}

impl PageSums {
    pub fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - self.filled));
            self.open = crc32c::crc32c_append(self.open, part);
            self.filled += part.len();
            if self.filled == PAGE_BYTES {
                self.close();
            }
            bytes = rest;
        }
    }

    fn close(&mut self) {
        self.sums.extend_from_slice(&self.open.to_le_bytes());
        (self.open, self.filled) = (0, 0);
    }

    /// All that comes behind the body.
    pub fn tail(mut self, body: u64, directory: &Directory) -> Vec<u8> {
        if self.filled > 0 {
            self.close();
        }
        let mut out = self.sums;
        let start = out.len();
        directory.print(&mut out);
        let length = (out.len() - start) as u32;
        out.extend_from_slice(&(body + start as u64).to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&END_MAGIC);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_as_long_as_it_was() {
        for body in [0, 1, 5, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 3 * PAGE_BYTES, 3 * PAGE_BYTES + 77]
        {
            let end = body + body.div_ceil(PAGE_BYTES) * 4;
            assert_eq!(body_length(end), Some(body));
        }
    }
}
