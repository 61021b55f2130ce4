//! Reading a head: a series' labels and samples.

use super::labels::LabelSet;
use super::series::{ClosedChunk, OpenChunk, Series};
use super::streams::Streams;
use super::{Head, late};
use crate::chunk::columns::{FloatColumns, Key};
use crate::index::symbols::Symbol;
use crate::index::{self, Lookup};
use hearth_kernels::arch::prefetch;
use hearth_kernels::codec::bits::READ_SLACK_BYTES;
use hearth_kernels::codec::{CodecError, gorilla, times, values};
use hearth_model::{Histogram, Labels, Matcher, TimeRange};
use roaring::RoaringBitmap;
use std::convert::Infallible;
use std::sync::Arc;

/// Buffers of a reader, used again for every series.
#[derive(Debug, Default)]
pub struct Scratch {
    stream: Vec<u8>,
    pub floats: FloatColumns,
}

/// Chunks of one series that are asked for in advance: more would push each other out.
const MOST_PREFETCHED: usize = 32;

/// Decodes an open chunk behind what the columns hold.
fn decode_open(
    streams: &Streams,
    open: &OpenChunk,
    stream: &mut Vec<u8>,
    times: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<(), CodecError> {
    let (tail, tail_bytes) = open.pending;
    stream.clear();
    streams.read(open.stream, stream);
    stream.extend_from_slice(&tail[..tail_bytes]);
    stream.extend_from_slice(&[0; READ_SLACK_BYTES]);
    gorilla::decode(stream, open.count, times, values)
}

/// Appends a closed chunk's samples to the columns.
pub fn decode_closed(bytes: &[u8], times: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), CodecError> {
    let read = times::decode(bytes, times)?;
    values::decode(&bytes[read..], values).map(|_| ())
}

impl Scratch {
    /// The columns become what a closed chunk holds.
    pub(super) fn decode(&mut self, chunk: &ClosedChunk) {
        self.floats.restart();
        self.read_closed(chunk, TimeRange::new(chunk.min_ms, chunk.max_ms));
    }

    /// The columns become what an open chunk holds.
    pub(super) fn read_open(&mut self, streams: &Streams, open: &OpenChunk) {
        self.floats.restart();
        self.append_open(streams, open, TimeRange::new(open.min_ms, open.max_ms));
    }

    fn read_closed(&mut self, chunk: &ClosedChunk, range: TimeRange) {
        let (bytes, bounds) = (&chunk.bytes, TimeRange::new(chunk.min_ms, chunk.max_ms));
        told(self.floats.append(
            Key::Encoded(bytes),
            bounds,
            range,
            |out| times::decode(bytes, out),
            |end, out| values::decode(&bytes[end..], out).map(|_| ()),
        ));
    }

    fn append_open(&mut self, streams: &Streams, open: &OpenChunk, range: TimeRange) {
        let (stream, bounds) = (&mut self.stream, TimeRange::new(open.min_ms, open.max_ms));
        if bounds.overlaps(range) {
            told(self.floats.append_together(bounds, range, |times, values| {
                decode_open(streams, open, stream, times, values)
            }));
        }
    }

    /// Appends a series' floats within the range.
    fn read(&mut self, streams: &Streams, series: &Series, range: TimeRange) {
        let closed = series.closed();
        let first = closed.partition_point(|c| c.max_ms < range.min_ms);
        closed[first..].iter().take(MOST_PREFETCHED).for_each(|c| prefetch(&*c.bytes));
        for chunk in closed[first..].iter().take_while(|c| c.min_ms <= range.max_ms) {
            self.read_closed(chunk, range);
        }
        if let Some(open) = series.open() {
            self.append_open(streams, &open, range);
        }
    }
}

/// A chunk in memory that does not decode is a programmer's mistake; it must not take the server down, so
/// it shows as missing samples.
fn told(decoded: Result<(), CodecError>) {
    if let Err(error) = decoded {
        debug_assert!(false, "chunk in memory does not decode: {error}");
        tracing::error!(%error, "chunk in memory does not decode");
    }
}

impl Lookup for Head {
    type Error = Infallible;

    fn all(&self) -> RoaringBitmap {
        self.living.clone()
    }

    fn union(&self, matcher: &Matcher, wanted: bool) -> Result<RoaringBitmap, Infallible> {
        Ok(self.index.union(matcher, wanted))
    }
}

impl Head {
    /// The series that match all of `matchers`.
    pub fn select(&self, matchers: &[Matcher]) -> RoaringBitmap {
        let Ok(found) = index::select(self, matchers);
        found
    }

    /// Asks for what reading a series will touch: first its row, and nearer to its turn what the row points to.
    pub fn prefetch(&self, id: u32, near: bool) {
        let row = &self.series[id as usize];
        if !near {
            prefetch(row);
            return;
        }
        self.labels.first(row.labels()).into_iter().for_each(prefetch);
        row.closed().first().into_iter().for_each(prefetch);
        self.streams.prefetch(row.stream());
    }

    /// Name and value symbols of each of a series' labels, in label order.
    #[inline]
    pub fn symbols_of(&self, id: u32) -> LabelSet<'_> {
        self.labels.get(self.series[id as usize].labels())
    }

    /// Appends the same, in turns.
    pub fn push_symbols(&self, id: u32, out: &mut Vec<Symbol>) {
        self.symbols_of(id).push_into(out);
    }

    pub fn labels_of(&self, id: u32) -> Labels {
        let symbols = &self.index.symbols;
        Labels::from_sorted(
            self.symbols_of(id).map(|[name, value]| (symbols.text(name), symbols.text(value))),
        )
    }

    /// A series' floats within the range, into the scratch's columns.
    pub fn read_floats(&self, id: u32, range: TimeRange, scratch: &mut Scratch) {
        scratch.floats.restart();
        self.append_floats(id, range, scratch);
    }

    /// Appends a series' floats within the range to the scratch's columns.
    pub fn append_floats(&self, id: u32, range: TimeRange, scratch: &mut Scratch) {
        let start = scratch.floats.values.len();
        scratch.read(&self.streams, &self.series[id as usize], range);
        let late = self.late(id, range);
        if !late.is_empty() {
            scratch.floats.forget();
            late::merge(&mut scratch.floats, start, late);
        }
    }

    /// A series' histograms within the range.
    pub fn histograms(&self, id: u32, range: TimeRange) -> &[(i64, Arc<Histogram>)] {
        if !self.series[id as usize].has_histograms() {
            return &[];
        }
        let all = self.histograms.get(&id).map_or(&[][..], |h| h);
        let start = all.partition_point(|(t, _)| *t < range.min_ms);
        let end = all.partition_point(|(t, _)| *t <= range.max_ms);
        &all[start..end.max(start)]
    }

    /// Whether the series may have samples in the range.
    pub fn overlaps(&self, id: u32, range: TimeRange) -> bool {
        let floats = self.series[id as usize].bounds();
        floats.is_some_and(|(min, max)| TimeRange::new(min, max).overlaps(range))
            || !self.histograms(id, range).is_empty()
            || !self.late(id, range).is_empty()
    }

    /// The bits of the float at exactly this time.
    pub fn value_at(&self, id: u32, time: i64) -> Option<u64> {
        let mut scratch = Scratch::default();
        self.read_floats(id, TimeRange::new(time, time), &mut scratch);
        scratch.floats.values.first().map(|v| v.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fate;
    use super::*;
    use hearth_model::batch::Refusal;

    fn head(samples: i64) -> (Head, u32) {
        let mut head = Head::default();
        let id = head.create(1, &Labels::from_pairs([("__name__", "up")]), None);
        for i in 0..samples {
            assert_eq!(head.append(id, i * 10, i as f64), Fate::Taken);
        }
        (head, id)
    }

    #[test]
    fn every_range_reads_exactly_its_samples() {
        for samples in [1, 2, 127, 128, 129, 300] {
            let (head, id) = head(samples);
            let mut scratch = Scratch::default();
            for (min, max) in [(0, 5), (5, 15), (1270, 1290), (-10, 10_000), (1280, 1280), (3000, 2000)] {
                head.read_floats(id, TimeRange::new(min, max), &mut scratch);
                let expect: Vec<i64> =
                    (0..samples).map(|i| i * 10).filter(|t| (min..=max).contains(t)).collect();
                assert_eq!(scratch.floats.times, expect, "{samples} samples, [{min}, {max}]");
                assert!(scratch.floats.values.iter().zip(&expect).all(|(v, t)| *v == (*t / 10) as f64));
            }
        }
    }

    #[test]
    fn a_repetition_is_taken_and_a_contradiction_refused() {
        let (mut head, id) = head(300);
        assert_eq!(head.append(id, 2990, 299.0), Fate::Repeated);
        assert_eq!(head.append(id, 10, 1.0), Fate::Repeated);
        assert_eq!(head.append(id, 10, 2.0), Fate::Refused(Refusal::DuplicateTimestamp));
        assert_eq!(head.append(id, 11, 2.0), Fate::Refused(Refusal::OutOfOrder));
        let histogram = Histogram::stale();
        assert_eq!(head.append_histogram(id, 10, &histogram), Fate::Refused(Refusal::DuplicateTimestamp));
        assert_eq!(head.append_histogram(id, 3000, &histogram), Fate::Taken);
        assert_eq!(head.append_histogram(id, 3000, &histogram), Fate::Repeated);
        assert_eq!(head.append(id, 3000, 1.0), Fate::Refused(Refusal::DuplicateTimestamp));
        assert_eq!(head.append(id, 2995, 1.0), Fate::Refused(Refusal::OutOfOrder));
        assert_eq!(head.append(id, 3001, 1.0), Fate::Taken);
    }

    #[test]
    fn memory_is_accounted_and_given_back() {
        let (mut head, id) = head(1000);
        let full = head.chunk_bytes;
        // Seven closed chunks, each with its bounds, times and values.
        let closed = 7 * (std::mem::size_of::<crate::head::series::ClosedChunk>() + 8);
        assert!(full > closed);
        head.drop_before(9_000);
        assert!(head.chunk_bytes < full - closed);
        let mut scratch = Scratch::default();
        head.read_floats(id, TimeRange::ALL, &mut scratch);
        assert_eq!(scratch.floats.times.last(), Some(&9_990));
        assert_eq!(scratch.floats.times.first(), Some(&8_960));
    }
}
