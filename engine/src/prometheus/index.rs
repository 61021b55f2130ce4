//! A block's index, version 2, for reading: symbols by number, and the series in the order of their labels.
//!
//! Series are walked from front to back: who reads a whole block needs no postings. Symbols are held in memory.

use super::{FileError, FormatError};
use crate::bytes::Reader;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub const MAGIC: u32 = 0xbaaa_d700;
pub const VERSION: u8 = 2;
/// Six offsets and a checksum.
pub const TOC_BYTES: u64 = 52;
/// Series begin at multiples of this.
pub const ALIGNMENT: u64 = 16;
/// A series' entry that claims more is damage: that would be a million chunks.
const MAX_SERIES_BYTES: usize = 64 << 20;
/// What is read ahead of a walk.
const WINDOW_BYTES: usize = 1 << 20;

/// Where the sections begin; 0 where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Toc {
    pub symbols: u64,
    pub series: u64,
    pub label_indices: u64,
    pub label_offset_table: u64,
    pub postings: u64,
    pub postings_offset_table: u64,
}

impl Toc {
    fn parse(bytes: &[u8]) -> Result<Toc, FormatError> {
        const SHORT: FormatError = FormatError::Damaged("index has no table of contents");
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(SHORT)?;
        if u32::from_be_bytes(*crc) != crc32c::crc32c(body) {
            return Err(FormatError::Damaged("checksum of the table of contents does not hold"));
        }
        let mut input = Reader::new(body);
        let mut next = || input.u64_be().ok_or(SHORT);
        Ok(Toc {
            symbols: next()?,
            series: next()?,
            label_indices: next()?,
            label_offset_table: next()?,
            postings: next()?,
            postings_offset_table: next()?,
        })
    }

    pub fn print(&self) -> Vec<u8> {
        let all = [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_offset_table,
            self.postings,
            self.postings_offset_table,
        ];
        let mut out: Vec<u8> = all.iter().flat_map(|offset| offset.to_be_bytes()).collect();
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }
}

/// A chunk of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMeta {
    pub min_ms: i64,
    pub max_ms: i64,
    pub reference: u64,
}

/// A series as the index has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// How postings and tombstones call it.
    pub reference: u64,
    /// Symbols: name, value, name, …
    pub pairs: Vec<u32>,
    pub chunks: Vec<ChunkMeta>,
}

/// Where the bytes are.
#[derive(Debug)]
enum Source {
    File(File),
    Bytes(Vec<u8>),
}

/// An open index.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    source: Source,
    length: u64,
    toc: Toc,
    text: Vec<u8>,
    /// Where each symbol begins and ends in `text`.
    symbols: Vec<(u32, u32)>,
}

impl Index {
    pub fn open(path: &Path) -> Result<Index, FileError> {
        let file = File::open(path).map_err(FileError::io(path))?;
        let length = file.metadata().map_err(FileError::io(path))?.len();
        Index::read(path.to_owned(), Source::File(file), length)
    }

    /// An index that is in memory already.
    pub fn of_bytes(bytes: Vec<u8>) -> Result<Index, FileError> {
        let length = bytes.len() as u64;
        Index::read(PathBuf::from("index"), Source::Bytes(bytes), length)
    }

    fn read(path: PathBuf, source: Source, length: u64) -> Result<Index, FileError> {
        let (text, symbols) = (Vec::new(), Vec::new());
        let mut index = Index { path, source, length, toc: Toc::default(), text, symbols };
        let head = index.bytes(0, 5)?;
        let mut input = Reader::new(&head);
        if input.u32_be() != Some(MAGIC) {
            return Err(index.wrong(0, FormatError::Damaged("not an index")));
        }
        match input.u8() {
            Some(VERSION) => {}
            version => {
                let version = u64::from(version.unwrap_or(0));
                return Err(index.wrong(4, FormatError::Unknown("index version", version)));
            }
        }
        let at = length.saturating_sub(TOC_BYTES);
        let toc = index.bytes(at, TOC_BYTES as usize)?;
        index.toc = Toc::parse(&toc).map_err(|error| index.wrong(at, error))?;
        index.read_symbols()?;
        Ok(index)
    }

    pub fn toc(&self) -> Toc {
        self.toc
    }

    pub fn len_bytes(&self) -> u64 {
        self.length
    }

    fn wrong(&self, offset: u64, error: FormatError) -> FileError {
        FileError::Format { path: self.path.clone(), offset, error }
    }

    fn bytes(&self, offset: u64, count: usize) -> Result<Vec<u8>, FileError> {
        let fits = offset.checked_add(count as u64).is_some_and(|end| end <= self.length);
        if !fits {
            return Err(self.wrong(offset, FormatError::Damaged("index ends early")));
        }
        match &self.source {
            Source::Bytes(bytes) => Ok(bytes[offset as usize..offset as usize + count].to_vec()),
            Source::File(file) => {
                let mut out = vec![0; count];
                file.read_exact_at(&mut out, offset).map_err(FileError::io(&self.path))?;
                Ok(out)
            }
        }
    }

    /// A section's bytes, where its checksum holds.
    pub fn section(&self, offset: u64) -> Result<Vec<u8>, FileError> {
        let length = self.bytes(offset, 4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let mut body = self.bytes(offset + 4, length + 4)?;
        let crc = body.split_off(length);
        if crc != crc32c::crc32c(&body).to_be_bytes() {
            return Err(self.wrong(offset, FormatError::Damaged("checksum of a section does not hold")));
        }
        Ok(body)
    }

    fn read_symbols(&mut self) -> Result<(), FileError> {
        if self.toc.symbols == 0 {
            return Ok(());
        }
        let body = self.section(self.toc.symbols)?;
        let parsed = parse_symbols(&body);
        self.symbols = parsed.map_err(|error| self.wrong(self.toc.symbols, error))?;
        self.text = body;
        Ok(())
    }

    pub fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// A symbol's text; nothing where there is no such symbol.
    pub fn symbol(&self, number: u32) -> Option<&str> {
        let (start, end) = *self.symbols.get(number as usize)?;
        std::str::from_utf8(self.text.get(start as usize..end as usize)?).ok()
    }

    /// Walks all series.
    pub fn walk(&self) -> Walk<'_> {
        let Toc { symbols, series, label_indices, label_offset_table, postings, postings_offset_table } =
            self.toc;
        let others = [symbols, label_indices, label_offset_table, postings, postings_offset_table];
        let next = others.into_iter().filter(|offset| *offset > series).min();
        let end = next.unwrap_or(self.length.saturating_sub(TOC_BYTES)).min(self.length);
        // Without a section there is nothing to walk.
        let at = if series == 0 { end } else { series };
        Walk { index: self, at, end, ahead: Vec::new(), ahead_at: 0 }
    }

    /// Every entry of the postings offset table: name, value, where its series are listed.
    pub fn postings_table(&self, mut sink: impl FnMut(&str, &str, u64)) -> Result<(), FileError> {
        let at = self.toc.postings_offset_table;
        if at == 0 {
            return Ok(());
        }
        let body = self.section(at)?;
        let mut read = || {
            let mut input = Reader::new(&body);
            let count = input.u32_be()?;
            for _ in 0..count {
                if input.u8()? != 2 {
                    return None;
                }
                let (name, value) = (input.text()?, input.text()?);
                sink(name, value, input.varint()?);
            }
            Some(())
        };
        read().ok_or_else(|| self.wrong(at, FormatError::Damaged("postings offset table does not fit")))
    }

    /// The series listed at a place of the postings.
    pub fn postings(&self, offset: u64) -> Result<Vec<u32>, FileError> {
        let body = self.section(offset)?;
        let (count, list) = body.split_first_chunk::<4>().unwrap_or((&[0xff; 4], &[]));
        if u64::from(u32::from_be_bytes(*count)) * 4 != list.len() as u64 {
            return Err(self.wrong(offset, FormatError::Damaged("postings do not fit their count")));
        }
        Ok(list.chunks_exact(4).map(|id| u32::from_be_bytes([id[0], id[1], id[2], id[3]])).collect())
    }
}

/// Where each symbol lies in the section's bytes.
pub fn parse_symbols(body: &[u8]) -> Result<Vec<(u32, u32)>, FormatError> {
    const DAMAGED: FormatError = FormatError::Damaged("symbol table does not fit together");
    let mut input = Reader::new(body);
    // A symbol takes a byte at least: its length.
    let count = input.u32_be().filter(|count| *count as usize <= body.len()).ok_or(DAMAGED)?;
    let mut symbols = Vec::with_capacity(count as usize);
    let mut before: Option<&str> = None;
    for _ in 0..count {
        let text = input.text().ok_or(DAMAGED)?;
        if before.is_some_and(|before| before >= text) {
            return Err(FormatError::Damaged("symbols are not in order"));
        }
        before = Some(text);
        let end = (body.len() - input.rest().len()) as u32;
        symbols.push((end - text.len() as u32, end));
    }
    Ok(symbols)
}

/// Goes through the series of an index.
pub struct Walk<'a> {
    index: &'a Index,
    at: u64,
    end: u64,
    ahead: Vec<u8>,
    ahead_at: u64,
}

impl Walk<'_> {
    /// Fills `out` with the next series; `false` at the end.
    pub fn next(&mut self, out: &mut SeriesEntry) -> Result<bool, FileError> {
        let at = self.at.next_multiple_of(ALIGNMENT);
        // The smallest entry: a length, its counts, its checksum.
        if at.saturating_add(6) > self.end {
            return Ok(false);
        }
        let wrong = |what| self.index.wrong(at, FormatError::Damaged(what));
        let head = self.window(at, 10)?;
        let mut input = Reader::new(head);
        let (have, length) = (head.len(), input.varint());
        let length = length.and_then(|n| usize::try_from(n).ok());
        let prefix = have - input.rest().len();
        let wrong_length = FormatError::Damaged("length of a series does not fit");
        let Some(length) = length.filter(|n| *n <= MAX_SERIES_BYTES) else {
            return Err(self.index.wrong(at, wrong_length));
        };
        if length == 0 {
            // What pads the section.
            return Ok(false);
        }
        let whole = prefix + length + 4;
        if at + whole as u64 > self.end {
            return Err(self.index.wrong(at, wrong_length));
        }
        let entry = self.window(at, whole)?;
        let body = entry.get(prefix..prefix + length).ok_or_else(|| wrong("series ends early"))?;
        let crc = entry.get(prefix + length..whole).ok_or_else(|| wrong("series ends early"))?;
        if crc != crc32c::crc32c(body).to_be_bytes() {
            return Err(wrong("checksum of a series does not hold"));
        }
        read_series(body, out).ok_or_else(|| wrong("series does not fit together"))?;
        out.reference = at / ALIGNMENT;
        self.at = at + whole as u64;
        Ok(true)
    }

    /// At least `count` bytes from `offset` on, or as many as there are.
    fn window(&mut self, offset: u64, count: usize) -> Result<&[u8], FileError> {
        let end = self.ahead_at + self.ahead.len() as u64;
        let wanted = (offset + count as u64).min(self.index.length);
        if offset < self.ahead_at || wanted > end {
            let most = (self.index.length - offset.min(self.index.length)) as usize;
            self.ahead = self.index.bytes(offset, most.min(count.max(WINDOW_BYTES)))?;
            self.ahead_at = offset;
        }
        Ok(&self.ahead[(offset - self.ahead_at) as usize..])
    }
}

/// Reads what a series' entry holds; nothing where it does not fit together.
pub fn read_series(body: &[u8], out: &mut SeriesEntry) -> Option<()> {
    out.pairs.clear();
    out.chunks.clear();
    let mut input = Reader::new(body);
    for _ in 0..input.count(2)? {
        out.pairs.push(input.varint_u32()?);
        out.pairs.push(input.varint_u32()?);
    }
    let count = input.count(3)?;
    let (mut max_ms, mut reference) = (0i64, 0u64);
    for at in 0..count {
        let min_ms = match at {
            0 => input.zigzag()?,
            _ => max_ms.checked_add(input.varint()? as i64)?,
        };
        max_ms = min_ms.checked_add(input.varint()? as i64)?;
        reference = match at {
            0 => input.varint()?,
            _ => reference.wrapping_add(input.zigzag()? as u64),
        };
        out.chunks.push(ChunkMeta { min_ms, max_ms, reference });
    }
    Some(())
}

/// Appends a series' entry as it lies in the file, without what aligns it.
pub fn push_series(out: &mut Vec<u8>, pairs: &[u32], chunks: &[ChunkMeta]) {
    use crate::bytes::{push_varint, zigzag};
    let mut body = Vec::new();
    push_varint(&mut body, pairs.len() as u64 / 2);
    pairs.iter().for_each(|symbol| push_varint(&mut body, u64::from(*symbol)));
    push_varint(&mut body, chunks.len() as u64);
    let (mut max_ms, mut reference) = (0, 0);
    for (at, chunk) in chunks.iter().enumerate() {
        if at == 0 {
            push_varint(&mut body, zigzag(chunk.min_ms));
        } else {
            push_varint(&mut body, chunk.min_ms.wrapping_sub(max_ms) as u64);
        }
        push_varint(&mut body, chunk.max_ms.wrapping_sub(chunk.min_ms) as u64);
        if at == 0 {
            push_varint(&mut body, chunk.reference);
        } else {
            push_varint(&mut body, zigzag(chunk.reference.wrapping_sub(reference) as i64));
        }
        (max_ms, reference) = (chunk.max_ms, chunk.reference);
    }
    push_varint(out, body.len() as u64);
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
}
