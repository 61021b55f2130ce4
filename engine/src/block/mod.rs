//! Blocks: immutable files, each with the samples of one stretch of time, its series, and an index over
//! them.
//!
//! Invariants:
//! 1. a block's file never changes; it is written by [`writer`], given its name when it is whole, and
//!    removed; what was deleted from it stands beside it ([`tombstones`]);
//! 2. series are numbered from 0 in the order of their label sets, strings in alphabetical order;
//! 3. nothing read from the file is believed before its page's checksum held, and nothing that was
//!    believed can make a reader panic: what does not fit is [`Damage`].

pub mod file;
pub mod first;
pub mod index;
pub mod labels;
pub mod postings;
pub mod rows;
#[cfg(test)]
pub mod tests;
pub mod tombstones;
pub mod writer;

use crate::bytes::Reader;
use crate::chunk::columns::{FloatColumns, Key};
use crate::chunk::histogram::Timed;
use crate::chunk::{float, histogram};
use crate::disk::mapped::Mapped;
use crate::index::symbols::Symbol;
use file::{BlockError, BlockFile, Damage, Directory, Section};
use hearth_model::TimeRange;
use rows::{ChunkRef, Layout, Place};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tombstones::Tombstones;
use writer::Kind;

/// An open block.
pub struct Block {
    file: BlockFile,
    layout: Layout,
    /// Chunks that could not be read: on a damaged page, or not what the checksum promised.
    lost_chunks: Cell<u64>,
    tombstones: RefCell<Rc<Tombstones>>,
}

/// Buffers of a reader, used again for every series.
#[derive(Debug, Default)]
pub struct Buffers {
    chunks: Vec<ChunkRef>,
    place: Option<Place>,
    times: SharedTimes,
    deleted: Vec<TimeRange>,
}

/// Times decoded lately: of which block and row, and what they are.
#[derive(Debug, Default)]
struct SharedTimes {
    rows: Vec<((u64, u32), Vec<i64>)>,
    next: usize,
}

/// Rows a reader remembers: the chunks of a series of a day, and some more.
const KNOWN_ROWS: usize = 16;

impl Block {
    /// Opens a sealed file; `number` and `seed` say whose block it must be.
    pub fn open(mapped: Mapped, shard: u32, number: u64, seed: u64) -> Result<Block, BlockError> {
        let file = BlockFile::open(mapped)?;
        let Directory { shard: of, number: called, seed: under, .. } = file.directory;
        if (of, called, under) != (shard, number, seed) {
            return Err(BlockError::Damaged("it is of another shard, place or data directory"));
        }
        let layout = Layout::of_version(file.version);
        let block = Block { file, layout, lost_chunks: Cell::new(0), tombstones: RefCell::default() };
        let rows = block.file.section_length(Section::Series);
        if block.directory().series.checked_mul(layout.series_bytes) != Some(rows)
            || rows / layout.series_bytes > u64::from(u32::MAX)
        {
            return Err(BlockError::Damaged("its series do not fit"));
        }
        Ok(block)
    }

    pub fn directory(&self) -> &Directory {
        &self.file.directory
    }

    pub fn number(&self) -> u64 {
        self.file.directory.number
    }

    pub fn len_bytes(&self) -> u64 {
        self.file.len_bytes()
    }

    pub fn series_count(&self) -> u32 {
        self.file.directory.series as u32
    }

    /// From its oldest to its newest sample.
    pub fn range(&self) -> TimeRange {
        TimeRange::new(self.file.directory.min_ms, self.file.directory.max_ms)
    }

    /// What was deleted from it.
    pub fn tombstones(&self) -> Rc<Tombstones> {
        self.tombstones.borrow().clone()
    }

    pub fn set_tombstones(&self, tombstones: Tombstones) {
        *self.tombstones.borrow_mut() = Rc::new(tombstones);
    }

    /// Bytes of a section, checked: for who looks at all of them.
    pub fn section(&self, section: Section, range: std::ops::Range<u64>) -> Result<&[u8], Damage> {
        self.file.slice(section, range)
    }

    fn section_length(&self, section: Section) -> u64 {
        self.file.section_length(section)
    }

    /// Places found damaged so far.
    pub fn damages(&self) -> u64 {
        self.file.damaged_pages() + self.lost_chunks.get()
    }

    /// Whether the series may have samples in the range.
    pub fn overlaps(&self, series: u32, range: TimeRange, buffers: &mut Buffers) -> Result<bool, Damage> {
        self.chunks(series, buffers)?;
        self.tombstones.borrow().of(series, &mut buffers.deleted);
        let deleted = |part| tombstones::covers(&buffers.deleted, part);
        let mut parts = buffers.chunks.iter().map(|c| c.range().intersection(range));
        Ok(parts.any(|part| !part.is_empty() && !deleted(part)))
    }

    /// Appends a series' floats and histograms within the range. A chunk that cannot be read is left out
    /// and counted.
    pub fn read(
        &self,
        series: u32,
        range: TimeRange,
        buffers: &mut Buffers,
        floats: &mut FloatColumns,
        histograms: &mut Vec<Timed>,
    ) -> Result<(), Damage> {
        let result = self.chunks(series, buffers).map(|_| ());
        let chunks = std::mem::take(&mut buffers.chunks);
        self.tombstones.borrow().of(series, &mut buffers.deleted);
        let deleted = &buffers.deleted;
        let before = (floats.values.len(), histograms.len());
        for chunk in chunks.iter().filter(|c| c.range().overlaps(range)) {
            if tombstones::covers(deleted, chunk.range()) {
                continue;
            }
            let read = match chunk.kind {
                Kind::Histogram | Kind::HistogramRuns => self.read_histograms(chunk, range, histograms),
                _ => self.read_floats(chunk, range, &mut buffers.times, floats),
            };
            if read.is_err() {
                self.lost_chunks.set(self.lost_chunks.get() + 1);
                tracing::error!(block = self.number(), series, "chunk in block is not readable");
            }
        }
        if !deleted.is_empty() {
            without(deleted, floats, histograms, before);
        }
        buffers.chunks = chunks;
        result
    }

    fn read_histograms(
        &self,
        chunk: &ChunkRef,
        range: TimeRange,
        out: &mut Vec<Timed>,
    ) -> Result<(), Damage> {
        let bytes = self.file.slice(Section::Chunks, chunk.start..chunk.end)?;
        let start = out.len();
        let read = match chunk.kind {
            Kind::HistogramRuns => histogram::decode_runs(bytes, chunk.samples, out),
            _ => histogram::decode(bytes, chunk.samples, out),
        };
        read.map_err(|_| Damage)?;
        out.truncate(start + out[start..].partition_point(|(t, _)| *t <= range.max_ms));
        let first = start + out[start..].partition_point(|(t, _)| *t < range.min_ms);
        out.drain(start..first);
        Ok(())
    }

    fn read_floats(
        &self,
        chunk: &ChunkRef,
        range: TimeRange,
        known: &mut SharedTimes,
        floats: &mut FloatColumns,
    ) -> Result<(), Damage> {
        let bytes = self.file.slice(Section::Chunks, chunk.start..chunk.end)?;
        let (count, bounds) = (chunk.samples, TimeRange::new(chunk.min_ms, chunk.max_ms));
        let key = match chunk.kind {
            Kind::FloatAt(row) => Key::Row { block: self.number(), row },
            _ => Key::Encoded(bytes),
        };
        let times = |out: &mut Vec<i64>| match chunk.kind {
            Kind::FloatAt(row) => {
                out.extend_from_slice(self.shared_times(row, count, known)?);
                Ok(0)
            }
            _ => float::decode_times(bytes, count, out).map_err(|_| Damage),
        };
        floats.append(key, bounds, range, times, |end, out| {
            let values = bytes.get(end..).ok_or(Damage)?;
            float::decode_values(values, count, out).map_err(|_| Damage)
        })
    }

    /// The times of a row, from memory where a series just before had the same.
    fn shared_times<'a>(
        &self,
        row: u32,
        count: usize,
        known: &'a mut SharedTimes,
    ) -> Result<&'a [i64], Damage> {
        let wanted = (self.number(), row);
        let at = known.rows.iter().position(|(of, _)| *of == wanted);
        if let Some(at) = at.filter(|at| known.rows[*at].1.len() == count) {
            return Ok(&known.rows[at].1);
        }
        let place = self.times_row(row)?.place;
        let bytes = self.file.slice(Section::Chunks, place)?;
        if known.rows.len() < KNOWN_ROWS {
            known.rows.push(Default::default());
        }
        known.next = (known.next + 1) % known.rows.len();
        let (of, times) = &mut known.rows[known.next];
        times.clear();
        *of = (u64::MAX, 0);
        float::decode_times(bytes, count, times).map_err(|_| Damage)?;
        *of = wanted;
        Ok(times)
    }

    /// Name and value symbols of a series, in label order.
    pub fn pairs(&self, series: u32, out: &mut Vec<Symbol>) -> Result<(), Damage> {
        out.clear();
        let group = u64::from(series / labels::GROUP) * self.layout.group_bytes;
        let at = self.file.slice(Section::LabelGroups, group..group + 4)?;
        let start = u64::from(u32::from_le_bytes(*at.first_chunk().ok_or(Damage)?));
        let next = group + self.layout.group_bytes;
        let end = match self.file.slice(Section::LabelGroups, next..next + 4) {
            Ok(next) => u64::from(u32::from_le_bytes(*next.first_chunk().ok_or(Damage)?)),
            Err(_) => self.file.section_length(Section::LabelSets),
        };
        let mut reader = Reader::new(self.file.slice(Section::LabelSets, start..end)?);
        for _ in 0..=series % labels::GROUP {
            let read = if self.layout.is_first() { first::labels } else { labels::read };
            read(&mut reader, out).ok_or(Damage)?;
        }
        Ok(())
    }
}

/// Takes what was deleted out of what was read, from these positions on.
fn without(
    deleted: &[TimeRange],
    floats: &mut FloatColumns,
    histograms: &mut Vec<Timed>,
    (start, others): (usize, usize),
) {
    let is_deleted = |time: i64| tombstones::covers(deleted, TimeRange::new(time, time));
    floats.forget();
    let FloatColumns { times, values, .. } = floats;
    let mut kept = start;
    for at in start..times.len() {
        if !is_deleted(times[at]) {
            (times[kept], values[kept]) = (times[at], values[at]);
            kept += 1;
        }
    }
    times.truncate(kept);
    values.truncate(kept);
    let tail = histograms.split_off(others);
    histograms.extend(tail.into_iter().filter(|(time, _)| !is_deleted(*time)));
}
