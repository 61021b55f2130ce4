//! Reading a head: a series' labels and samples.

use super::series::{ClosedChunk, OpenChunk, Series};
use super::streams::Streams;
use super::{Head, late};
use crate::index::symbols::Symbol;
use crate::index::{self, Lookup};
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
    pub times: Vec<i64>,
    pub values: Vec<f64>,
}

/// Appends a closed chunk's samples to the columns.
pub fn decode_closed(bytes: &[u8], times: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<(), CodecError> {
    let read = times::decode(bytes, times)?;
    values::decode(&bytes[read..], values).map(|_| ())
}

impl Scratch {
    /// Decodes the open chunk behind what the columns hold.
    fn decode_open(&mut self, streams: &Streams, open: &OpenChunk) -> Result<(), CodecError> {
        let (tail, tail_bytes) = open.pending;
        self.stream.clear();
        streams.read(open.stream, &mut self.stream);
        self.stream.extend_from_slice(&tail[..tail_bytes]);
        self.stream.extend_from_slice(&[0; READ_SLACK_BYTES]);
        gorilla::decode(&self.stream, open.count, &mut self.times, &mut self.values)
    }

    /// The columns become what a closed chunk holds.
    pub(super) fn decode(&mut self, chunk: &ClosedChunk) {
        let bounds = TimeRange::new(chunk.min_ms, chunk.max_ms);
        self.times.clear();
        self.values.clear();
        let decoded = decode_closed(&chunk.bytes, &mut self.times, &mut self.values);
        self.settle(0, decoded, bounds, bounds);
    }

    /// The columns become what an open chunk holds.
    pub(super) fn read_open(&mut self, streams: &Streams, open: &OpenChunk) {
        let bounds = TimeRange::new(open.min_ms, open.max_ms);
        self.times.clear();
        self.values.clear();
        let decoded = self.decode_open(streams, open);
        self.settle(0, decoded, bounds, bounds);
    }

    /// Keeps only what lies in the range, from `start` on.
    fn cut(&mut self, start: usize, range: TimeRange) {
        let end = start + self.times[start..].partition_point(|t| *t <= range.max_ms);
        self.times.truncate(end);
        self.values.truncate(end);
        let first = start + self.times[start..].partition_point(|t| *t < range.min_ms);
        self.times.drain(start..first);
        self.values.drain(start..first);
    }

    /// What a chunk added from `start` on, cut to the range. A chunk in memory that does not decode is a
    /// programmer's mistake; it must not take the server down, so it shows as missing samples.
    fn settle(&mut self, start: usize, decoded: Result<(), CodecError>, bounds: TimeRange, range: TimeRange) {
        if let Err(error) = decoded {
            debug_assert!(false, "chunk in memory does not decode: {error}");
            tracing::error!(%error, "chunk in memory does not decode");
            self.times.truncate(start);
            self.values.truncate(start);
        } else if bounds.min_ms < range.min_ms || bounds.max_ms > range.max_ms {
            self.cut(start, range);
        }
    }

    /// Appends a series' floats within the range.
    fn read(&mut self, streams: &Streams, series: &Series, range: TimeRange) {
        let closed = series.closed();
        let first = closed.partition_point(|c| c.max_ms < range.min_ms);
        for chunk in closed[first..].iter().take_while(|c| c.min_ms <= range.max_ms) {
            let start = self.times.len();
            let decoded = decode_closed(&chunk.bytes, &mut self.times, &mut self.values);
            self.settle(start, decoded, TimeRange::new(chunk.min_ms, chunk.max_ms), range);
        }
        if let Some(open) = series.open() {
            let (start, bounds) = (self.times.len(), TimeRange::new(open.min_ms, open.max_ms));
            if bounds.overlaps(range) {
                let decoded = self.decode_open(streams, &open);
                self.settle(start, decoded, bounds, range);
            }
        }
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

    /// Name and value symbols of a series, in label order.
    pub fn symbols_of(&self, id: u32) -> &[Symbol] {
        let pairs = self.series[id as usize].pairs();
        &self.pairs[pairs.start as usize..pairs.end as usize]
    }

    pub fn labels_of(&self, id: u32) -> Labels {
        let symbols = &self.index.symbols;
        let pairs = self.symbols_of(id).chunks_exact(2);
        Labels::from_sorted(pairs.map(|p| (symbols.text(p[0]), symbols.text(p[1]))))
    }

    /// A series' floats within the range, into the scratch's columns.
    pub fn read_floats(&self, id: u32, range: TimeRange, scratch: &mut Scratch) {
        scratch.times.clear();
        scratch.values.clear();
        self.append_floats(id, range, scratch);
    }

    /// Appends a series' floats within the range to the scratch's columns.
    pub fn append_floats(&self, id: u32, range: TimeRange, scratch: &mut Scratch) {
        let start = scratch.times.len();
        scratch.read(&self.streams, &self.series[id as usize], range);
        let late = self.late(id, range);
        if !late.is_empty() {
            late::merge(scratch, start, late);
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
        scratch.values.first().map(|v| v.to_bits())
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
                assert_eq!(scratch.times, expect, "{samples} samples, [{min}, {max}]");
                assert!(scratch.values.iter().zip(&expect).all(|(v, t)| *v == (*t / 10) as f64));
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
        assert_eq!(scratch.times.last(), Some(&9_990));
        assert_eq!(scratch.times.first(), Some(&8_960));
    }
}
