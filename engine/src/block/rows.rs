//! What a block says of a series beside its labels: the hash that it is known by, and its chunks.
//!
//! Format version 1 gave each series a row with the whole hash and the place of its list, and each list all about
//! its chunks. Version 2 says once for [`GROUP`] series where their lists begin, once for all chunks of the
//! same times when these are, and of the hash what tells series apart.

use super::file::{Damage, Section};
use super::first;
use super::labels::GROUP;
use super::writer::Kind;
use super::{Block, Buffers};
use crate::bytes::{Reader, push_varint, unzigzag, zigzag};
use crate::chunk::MAX_CHUNK_SAMPLES;
use hearth_model::TimeRange;
use std::ops::Range;

/// Bits of a hash by which blocks know a series: 80, so that even among ten million series two are taken for one less
/// often than a page's checksum fails to see damage. The lowest bits of the upper half tell the shard and nothing else.
const KNOWN_BITS: u128 = 0xffff << 112 | u64::MAX as u128;

/// The hash as far as blocks know it.
pub fn known_hash(hash: u128) -> u128 {
    hash & KNOWN_BITS
}

/// Kinds of chunks in a list, and what the rows of shared times begin with.
const FLOAT: u64 = 0;
const HISTOGRAM: u64 = 1;
const HISTOGRAM_RUNS: u64 = 3;
const FIRST_ROW: u64 = 4;

/// A chunk list longer than this is damage: some ten thousand chunks.
const MAX_LIST_BYTES: u64 = 1 << 20;

/// One chunk of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    pub kind: Kind,
    pub min_ms: i64,
    pub max_ms: i64,
    pub samples: usize,
    pub start: u64,
    pub end: u64,
}

impl ChunkRef {
    pub fn range(&self) -> TimeRange {
        TimeRange::new(self.min_ms, self.max_ms)
    }
}

/// How a block's version writes rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a series' row.
    pub series_bytes: u64,
    /// Bytes of a group's row, which begins with the place of its label sets.
    pub group_bytes: u64,
    /// Bytes of a row of shared times, which begins with their place and length.
    times_bytes: u64,
}

impl Layout {
    /// Hash u128, place of the chunk list u32; place of label sets u32; place u64, length u32.
    const FIRST: Layout = Layout { series_bytes: 20, group_bytes: 4, times_bytes: 12 };
    /// Of the hash u64 and u16; places of label sets u32, of chunk lists u32, of chunks u64; place u64, length u32,
    /// samples u32, oldest and newest i64.
    const SECOND: Layout = Layout { series_bytes: 10, group_bytes: 16, times_bytes: 32 };

    pub fn of_version(version: u32) -> Layout {
        if version == 1 { Layout::FIRST } else { Layout::SECOND }
    }

    /// Whether label sets, postings and chunk lists are those of version 1.
    pub fn is_first(self) -> bool {
        self == Layout::FIRST
    }
}

/// Where a reader of chunk lists is: who goes from one series to the next does not look for each anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Of which block.
    block: u64,
    /// Whose list comes next, and where it and its chunks begin.
    series: u32,
    list: u64,
    chunks: u64,
    /// Where the lists of the group end.
    end: u64,
}

/// A row of shared times: where they lie, and when they are.
pub(super) struct TimesRow {
    pub place: Range<u64>,
    pub samples: usize,
    range: TimeRange,
}

impl TimesRow {
    pub fn push(times: &[i64], start: u64, length: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&start.to_le_bytes());
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out.extend_from_slice(&(times.len() as u32).to_le_bytes());
        out.extend_from_slice(&times[0].to_le_bytes());
        out.extend_from_slice(&times[times.len() - 1].to_le_bytes());
    }
}

/// How many rows of shared times these are.
pub(super) fn times_rows(bytes: &[u8]) -> u32 {
    (bytes.len() as u64 / Layout::SECOND.times_bytes) as u32
}

/// Appends a series' row.
pub(super) fn push_series(hash: u128, out: &mut Vec<u8>) {
    out.extend_from_slice(&(hash as u64).to_le_bytes());
    out.extend_from_slice(&((hash >> 112) as u16).to_le_bytes());
}

/// Appends a group's row.
pub(super) fn push_group(labels: usize, lists: usize, chunks: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(labels as u32).to_le_bytes());
    out.extend_from_slice(&(lists as u32).to_le_bytes());
    out.extend_from_slice(&chunks.to_le_bytes());
}

/// Appends a series' list; its chunks lie one behind the other.
pub(super) fn push_list(chunks: impl ExactSizeIterator<Item = ChunkRef>, out: &mut Vec<u8>) {
    let (mut before, count) = (0, chunks.len());
    for (at, chunk) in chunks.enumerate() {
        let kind = match chunk.kind {
            Kind::Float => FLOAT,
            Kind::Histogram => HISTOGRAM,
            Kind::HistogramRuns => HISTOGRAM_RUNS,
            Kind::FloatAt(row) => FIRST_ROW + u64::from(row),
        };
        push_varint(out, kind << 1 | u64::from(at + 1 < count));
        if kind < FIRST_ROW {
            push_varint(out, zigzag(chunk.min_ms.wrapping_sub(before)));
            push_varint(out, chunk.max_ms.wrapping_sub(chunk.min_ms) as u64);
            push_varint(out, chunk.samples as u64);
        }
        push_varint(out, chunk.end - chunk.start);
        before = chunk.max_ms;
    }
}

/// Steps over a list; `start` is where its chunks begin and then where those of the next one do.
fn skip_list(reader: &mut Reader<'_>, start: &mut u64) -> Option<()> {
    loop {
        let kind = reader.varint()?;
        if kind >> 1 < FIRST_ROW {
            for _ in 0..3 {
                reader.varint()?;
            }
        }
        *start = start.checked_add(reader.varint()?)?;
        if kind & 1 == 0 {
            return Some(());
        }
    }
}

impl Block {
    fn row(&self, series: u32) -> Result<&[u8], Damage> {
        let length = self.layout.series_bytes;
        let start = u64::from(series) * length;
        self.section(Section::Series, start..start + length)
    }

    /// The hash of the series' key, as far as it is known.
    pub fn hash(&self, series: u32) -> Result<u128, Damage> {
        let row = self.row(series)?;
        if self.layout.is_first() {
            let hash = row.first_chunk::<16>().ok_or(Damage)?;
            return Ok(known_hash(u128::from_le_bytes(*hash)));
        }
        let (low, high) = row.split_first_chunk::<8>().ok_or(Damage)?;
        let high = u16::from_le_bytes(*high.first_chunk().ok_or(Damage)?);
        Ok(u128::from(high) << 112 | u128::from(u64::from_le_bytes(*low)))
    }

    /// A series' chunks, in order of time within each kind.
    pub fn chunks<'b>(&self, series: u32, buffers: &'b mut Buffers) -> Result<&'b [ChunkRef], Damage> {
        let Buffers { chunks, place, .. } = buffers;
        chunks.clear();
        if self.layout.is_first() {
            self.first_chunks(series, chunks)?;
        } else {
            self.grouped_chunks(series, place, chunks)?;
        }
        Ok(chunks)
    }

    fn first_chunks(&self, series: u32, out: &mut Vec<ChunkRef>) -> Result<(), Damage> {
        let at = self.row(series)?.last_chunk::<4>().ok_or(Damage)?;
        let at = u64::from(u32::from_le_bytes(*at));
        let end = self.section_length(Section::ChunkLists);
        // How long the list is, it says itself; most are short.
        let guess = end.min(at.saturating_add(64));
        if first::chunks(self.section(Section::ChunkLists, at..guess)?, out).is_none() {
            out.clear();
            let long = end.min(at.saturating_add(MAX_LIST_BYTES));
            first::chunks(self.section(Section::ChunkLists, at..long)?, out).ok_or(Damage)?;
        }
        Ok(())
    }

    /// Where the lists of a group begin and end, and where its chunks begin.
    fn place_of_group(&self, group: u32) -> Result<Place, Damage> {
        let row = |group: u64| {
            let start = group * self.layout.group_bytes;
            let row = self.section(Section::LabelGroups, start..start + self.layout.group_bytes)?;
            let mut reader = Reader::new(&row[4..]);
            let read = (|| Some((u64::from(reader.u32()?), reader.u64()?)))();
            read.ok_or(Damage)
        };
        let (list, chunks) = row(u64::from(group))?;
        let groups = self.section_length(Section::LabelGroups) / self.layout.group_bytes;
        let last = u64::from(group) + 1 >= groups;
        let end = if last { self.section_length(Section::ChunkLists) } else { row(u64::from(group) + 1)?.0 };
        Ok(Place { block: self.number(), series: group * GROUP, list, chunks, end })
    }

    fn grouped_chunks(
        &self,
        series: u32,
        place: &mut Option<Place>,
        out: &mut Vec<ChunkRef>,
    ) -> Result<(), Damage> {
        let group = series / GROUP;
        let goes_on =
            |place: &Place| place.block == self.number() && (group * GROUP..=series).contains(&place.series);
        // What comes of a failure is not gone on from.
        let mut here = match place.take().filter(goes_on) {
            Some(place) => place,
            None => self.place_of_group(group)?,
        };
        let bytes = self.section(Section::ChunkLists, here.list..here.end)?;
        let mut reader = Reader::new(bytes);
        while here.series < series {
            skip_list(&mut reader, &mut here.chunks).ok_or(Damage)?;
            here.series += 1;
        }
        here.chunks = self.read_list(&mut reader, here.chunks, out).ok_or(Damage)?;
        here.series += 1;
        here.list = here.end - reader.rest().len() as u64;
        // The next group has another end.
        *place = (!here.series.is_multiple_of(GROUP)).then_some(here);
        Ok(())
    }

    /// Reads a list whose chunks begin there; returns where those of the next one do.
    fn read_list(&self, reader: &mut Reader<'_>, mut start: u64, out: &mut Vec<ChunkRef>) -> Option<u64> {
        let mut before = 0i64;
        loop {
            let head = reader.varint()?;
            let kind = match head >> 1 {
                FLOAT => Kind::Float,
                HISTOGRAM => Kind::Histogram,
                HISTOGRAM_RUNS => Kind::HistogramRuns,
                row => Kind::FloatAt(u32::try_from(row.checked_sub(FIRST_ROW)?).ok()?),
            };
            let (range, samples) = match kind {
                Kind::FloatAt(row) => {
                    let row = self.times_row(row).ok()?;
                    (row.range, row.samples)
                }
                _ => {
                    let min_ms = before.wrapping_add(unzigzag(reader.varint()?));
                    let max_ms = min_ms.wrapping_add(reader.varint()? as i64);
                    (TimeRange::new(min_ms, max_ms), usize::try_from(reader.varint()?).ok()?)
                }
            };
            let end = start.checked_add(reader.varint()?)?;
            if samples > MAX_CHUNK_SAMPLES {
                return None;
            }
            out.push(ChunkRef { kind, min_ms: range.min_ms, max_ms: range.max_ms, samples, start, end });
            (start, before) = (end, range.max_ms);
            if head & 1 == 0 {
                return Some(end);
            }
        }
    }

    pub(super) fn times_row(&self, row: u32) -> Result<TimesRow, Damage> {
        let length = self.layout.times_bytes;
        let at = u64::from(row) * length;
        let mut reader = Reader::new(self.section(Section::SharedTimes, at..at + length)?);
        let mut read = || {
            let (start, length) = (reader.u64()?, reader.u32()?);
            let place = start..start.checked_add(u64::from(length))?;
            if self.layout.is_first() {
                return Some(TimesRow { place, samples: 0, range: TimeRange::new(0, -1) });
            }
            let samples = reader.u32()? as usize;
            let range = TimeRange::new(reader.u64()? as i64, reader.u64()? as i64);
            Some(TimesRow { place, samples, range })
        };
        read().ok_or(Damage)
    }
}
