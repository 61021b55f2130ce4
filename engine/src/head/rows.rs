//! The head's series on their way into a checkpoint, and back.
//!
//! A frame of rows stands for itself: it has its own strings, numbered from 0, and what its series have beside
//! floats in chunks (late samples, histograms) follows behind them, as it would in the log.

use super::Head;
use super::series::{ClosedChunk, Series};
use crate::bytes::push_varint;
use crate::index::symbols::Symbol;
use crate::wal::record::{self, SampleWriter};
use crate::wal::row::{self, ClosedPart, OpenPart, Row};
use hearth_kernels::codec::bits::READ_SLACK_BYTES;
use hearth_kernels::codec::gorilla::{self, GorillaState};
use hearth_model::{TimeRange, key};

/// Writes frames of rows; its buffers are used again for each.
#[derive(Default)]
pub struct RowFrames {
    next_reference: u32,
    rows: u64,
    strings: Vec<u8>,
    string_count: u32,
    /// Symbol -> the frame in which it was used last, and its number there.
    numbers: Vec<(u32, u32)>,
    frame: u32,
    /// The last row's names, as their shape, its values, and the numbers of both in turns.
    shape: Option<u32>,
    values: Vec<Symbol>,
    pairs: Vec<u32>,
    open: Vec<u8>,
    body: Vec<u8>,
    late: SampleWriter,
    histograms: Vec<u8>,
}

impl RowFrames {
    /// Series with `next_reference` or a higher one are left out.
    pub fn new(next_reference: u32) -> RowFrames {
        RowFrames { next_reference, ..RowFrames::default() }
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Appends the records of the series from `from` on, about `size_bytes` of them, and says where the next
    /// frame goes on, until there are no more.
    pub fn fill(&mut self, head: &Head, from: u32, size_bytes: usize, out: &mut Vec<u8>) -> Option<u32> {
        self.frame += 1;
        self.strings.clear();
        self.string_count = 0;
        self.shape = None;
        self.body.clear();
        let mut next = None;
        for id in from..head.rows() {
            if self.body.len() + self.strings.len() + self.late.len() + self.histograms.len() >= size_bytes {
                next = Some(id);
                break;
            }
            let series = &head.series[id as usize];
            if series.living && series.reference < self.next_reference {
                self.row(head, id, series);
            }
        }
        record::push_strings(out, &self.strings);
        out.append(&mut self.body);
        self.late.finish(out);
        out.append(&mut self.histograms);
        if next.is_none() {
            other_names(head, self.next_reference, out);
        }
        next
    }

    fn row(&mut self, head: &Head, id: u32, series: &Series) {
        let labels = head.symbols_of(id);
        // The series before it has the same names most often, and most of its values.
        let same_names = self.shape.replace(labels.shape()) == Some(labels.shape());
        self.values.resize(labels.len(), 0);
        self.pairs.resize(2 * labels.len(), 0);
        for (at, [name, value]) in labels.enumerate() {
            if !same_names {
                self.pairs[2 * at] = self.number(head, name);
            }
            if !same_names || self.values[at] != value {
                self.pairs[2 * at + 1] = self.number(head, value);
                self.values[at] = value;
            }
        }
        let (pairs, open) = (&self.pairs, &mut self.open);
        record::push_row(&mut self.body, |out| {
            row::push_identity(out, series.reference, series.hash, pairs.iter().copied());
            row::push_closed(
                out,
                series.closed().iter().map(|chunk| ClosedPart {
                    min_ms: chunk.min_ms,
                    max_ms: chunk.max_ms,
                    bytes: &chunk.bytes,
                }),
            );
            let state = series.state().to_bytes();
            let part = series.open().map(|chunk| {
                open.clear();
                head.streams.read(chunk.stream, open);
                OpenPart { min_ms: chunk.min_ms, count: series.state().count(), state: &state, bytes: open }
            });
            row::push_open(out, part);
        });
        for sample in head.late(id, TimeRange::ALL) {
            self.late.push(series.reference, sample.timestamp_ms, sample.value);
        }
        for (time, histogram) in head.histograms(id, TimeRange::ALL) {
            record::push_histogram(&mut self.histograms, series.reference, *time, histogram);
        }
        self.rows += 1;
    }

    /// A symbol's number within the frame.
    fn number(&mut self, head: &Head, symbol: Symbol) -> u32 {
        let at = symbol as usize;
        if at >= self.numbers.len() {
            self.numbers.resize(head.index.symbols.count().max(at + 1), (0, 0));
        }
        let known = &mut self.numbers[at];
        if known.0 != self.frame {
            let text = head.index.symbols.text(symbol);
            push_varint(&mut self.strings, text.len() as u64);
            self.strings.extend_from_slice(text.as_bytes());
            *known = (self.frame, self.string_count);
            self.string_count += 1;
        }
        known.1
    }
}

/// The names in the log that series have beside their own, as series records.
fn other_names(head: &Head, next_reference: u32, out: &mut Vec<u8>) {
    let mut key = Vec::new();
    for (reference, id) in head.other_references() {
        if head.series[*id as usize].reference < next_reference {
            key.clear();
            key::push_key(&mut key, &head.labels_of(*id));
            record::push_series(out, *reference, &key);
        }
    }
}

/// What became of a row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    pub samples: u64,
    /// Chunks that do not decode.
    pub bad_chunks: u64,
}

/// Puts rows back; its buffers are used again for each.
#[derive(Default)]
pub struct RowRestorer {
    pairs: Vec<Symbol>,
    stream: Vec<u8>,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl RowRestorer {
    /// Makes the row's series, where the head does not know it, and gives it its samples. `strings` are the
    /// symbols of its frame's strings. `None` where the row names others, or is not a series at all.
    pub fn restore(&mut self, head: &mut Head, row: &Row<'_>, strings: &[Symbol]) -> Option<(u32, Restored)> {
        self.pairs.clear();
        for number in row.pairs() {
            self.pairs.push(*strings.get(number as usize)?);
        }
        if self.pairs.is_empty() {
            return None;
        }
        let mut done = Restored::default();
        if let Some(id) = head.find(row.hash, None) {
            self.append(head, id, row, &mut done);
            return Some((id, done));
        }
        if !head.has_room(self.pairs.len()) {
            return None;
        }
        let id = head.create_interned(row.hash, &self.pairs, row.reference);
        self.fill(head, id, row, &mut done);
        Some((id, done))
    }

    /// The chunks of a series that has none yet, as they are.
    fn fill(&mut self, head: &mut Head, id: u32, row: &Row<'_>, done: &mut Restored) {
        let from_ms = head.from_ms;
        for chunk in row.closed().filter(|chunk| chunk.max_ms >= from_ms) {
            let bytes = chunk.bytes.into();
            head.push_closed(id, ClosedChunk { min_ms: chunk.min_ms, max_ms: chunk.max_ms, bytes });
            done.samples += u64::from(crate::config::CHUNK_SAMPLES);
        }
        let Some(open) = &row.open else { return };
        match self.open_chunk(open) {
            Some(state) if state.last_time() < from_ms => {}
            Some(state) => {
                head.set_open(id, open.min_ms, state, open.bytes);
                done.samples += u64::from(open.count);
            }
            None => done.bad_chunks += 1,
        }
    }

    /// The encoder's state behind an open chunk, once that was decoded; its samples are then in the columns.
    fn open_chunk(&mut self, open: &OpenPart<'_>) -> Option<GorillaState> {
        let state = GorillaState::from_bytes(open.state)?;
        let (tail, tail_bytes) = state.pending();
        self.stream.clear();
        self.stream.extend_from_slice(open.bytes);
        self.stream.extend_from_slice(&tail[..tail_bytes]);
        self.stream.extend_from_slice(&[0; READ_SLACK_BYTES]);
        self.times.clear();
        self.values.clear();
        gorilla::decode(&self.stream, usize::from(open.count), &mut self.times, &mut self.values).ok()?;
        let fits = open.bytes.len().is_multiple_of(8)
            && state.count() == open.count
            && open.count <= crate::config::CHUNK_SAMPLES
            && self.times.first() == Some(&open.min_ms)
            && self.times.is_sorted_by(|a, b| a < b)
            && state.ends(&self.times, &self.values);
        fits.then_some(state)
    }

    /// The samples of a series that has some: one by one.
    fn append(&mut self, head: &mut Head, id: u32, row: &Row<'_>, done: &mut Restored) {
        for chunk in row.closed() {
            self.times.clear();
            self.values.clear();
            let decoded = super::read::decode_closed(chunk.bytes, &mut self.times, &mut self.values);
            if decoded.is_err() || self.times.len() != self.values.len() {
                done.bad_chunks += 1;
                continue;
            }
            self.push_all(head, id, done);
        }
        let Some(open) = &row.open else { return };
        match self.open_chunk(open) {
            Some(_) => self.push_all(head, id, done),
            None => done.bad_chunks += 1,
        }
    }

    fn push_all(&self, head: &mut Head, id: u32, done: &mut Restored) {
        for (time, value) in self.times.iter().zip(&self.values) {
            done.samples += u64::from(head.append(id, *time, *value) == super::Fate::Taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Fate;
    use crate::head::read::Scratch;
    use crate::wal::record::{Record, RecordReader};
    use hearth_model::{Histogram, Labels};

    fn head(series: u32, samples: i64) -> Head {
        let mut head = Head::default();
        head.set_window(i64::MAX, i64::MAX);
        for i in 0..series {
            let labels = [("__name__", "up".to_owned()), ("instance", format!("host-{i}"))];
            let id = head.create(u128::from(i) + 1, &Labels::from_pairs(labels), None);
            for at in 0..samples + i64::from(i) {
                let value = if i % 3 == 0 { (at as f64).sqrt() } else { at as f64 };
                assert_eq!(head.append(id, at * 1_000 + at % 7, value), Fate::Taken);
            }
            if i % 5 == 0 {
                assert_eq!(head.append(id, 1_500, -1.0), Fate::Taken);
                assert_eq!(head.append_histogram(id, 1 << 40, &Histogram::stale()), Fate::Taken);
            }
        }
        head
    }

    /// All frames of a head, one after the other.
    fn frames(head: &Head, next_reference: u32, size_bytes: usize) -> (Vec<Vec<u8>>, u64) {
        let (mut writer, mut from, mut out) = (RowFrames::new(next_reference), Some(0), Vec::new());
        while let Some(at) = from {
            let mut payload = Vec::new();
            from = writer.fill(head, at, size_bytes, &mut payload);
            out.push(payload);
        }
        (out, writer.rows())
    }

    fn restore(into: &mut Head, payloads: &[Vec<u8>]) -> Restored {
        let (mut restorer, mut strings, mut all) = (RowRestorer::default(), Vec::new(), Restored::default());
        for record in payloads.iter().flat_map(|payload| RecordReader::new(payload)) {
            match record {
                Ok(Record::Strings(texts)) => {
                    strings = texts.filter_map(|text| text.ok()).map(|text| into.intern(text)).collect();
                }
                Ok(Record::Row(row)) => {
                    if let Some((_, restored)) = restorer.restore(into, &row, &strings) {
                        all.samples += restored.samples;
                        all.bad_chunks += restored.bad_chunks;
                    }
                }
                _ => {}
            }
        }
        all
    }

    /// Hash, labels, times and values of every series, without late samples.
    fn contents(head: &Head) -> Vec<(u128, Labels, Vec<i64>, Vec<u64>)> {
        let mut scratch = Scratch::default();
        let of = |id: u32| {
            head.read_floats(id, TimeRange::ALL, &mut scratch);
            let floats =
                scratch.floats.times.iter().copied().zip(scratch.floats.values.iter().map(|v| v.to_bits()));
            let (times, values) = floats.filter(|(t, _)| *t != 1_500).unzip();
            (head.hash(id), head.labels_of(id), times, values)
        };
        let mut all: Vec<_> = (0..head.rows()).map(of).collect();
        all.sort_by_key(|(hash, ..)| *hash);
        all
    }

    #[test]
    fn a_head_comes_back_and_goes_on_as_before() {
        for (samples, size_bytes) in [(0, 1), (1, 100), (120, 700), (400, 1 << 20)] {
            let mut before = head(20, samples);
            let (payloads, rows) = frames(&before, u32::MAX, size_bytes);
            assert!(rows == 20 && (size_bytes > 1_000 || payloads.len() > 4));
            let mut after = Head::default();
            let restored = restore(&mut after, &payloads);
            assert_eq!(restored.bad_chunks, 0);
            assert_eq!(contents(&before), contents(&after));
            assert_eq!(before.next_reference(), after.next_reference());
            // A second time they are all there already.
            assert_eq!(restore(&mut after, &payloads), Restored::default());
            for head in [&mut before, &mut after] {
                for id in 0..head.rows() {
                    (0..200).for_each(|at| {
                        head.append(id, (1 << 30) + at, at as f64 / 3.0);
                    });
                }
            }
            assert_eq!(contents(&before), contents(&after));
        }
    }

    #[test]
    fn series_behind_the_boundary_are_left_out() {
        let head = head(20, 3);
        let (payloads, rows) = frames(&head, head.reference(12), 1 << 20);
        let mut after = Head::default();
        restore(&mut after, &payloads);
        assert_eq!((rows, after.rows()), (12, 12));
    }

    /// The checksum keeps such rows out; nothing may panic all the same.
    #[test]
    fn changed_rows_are_taken_or_refused() {
        let head = head(3, 150);
        let (payloads, _) = frames(&head, u32::MAX, 1 << 20);
        let mut bad_chunks = 0;
        for at in 0..payloads[0].len() {
            for flip in [1, 0x80, 0xff] {
                let mut payload = payloads[0].clone();
                payload[at] ^= flip;
                let mut after = Head::default();
                bad_chunks += restore(&mut after, &[payload]).bad_chunks;
                for id in 0..after.rows() {
                    after.append(id, 1 << 41, 1.0);
                }
            }
        }
        assert!(bad_chunks > 100, "{bad_chunks}");
    }
}
