//! Samples that come out of order: judged against what is there, kept beside the chunks, and put between
//! them when somebody reads.
//!
//! Late floats are few and not compressed; they leave the head with the chunks around them.

use super::{Fate, Head};
use crate::chunk::columns::FloatColumns;
use hearth_model::batch::Refusal;
use hearth_model::{Histogram, Sample, TimeRange};
use std::sync::Arc;

/// Where a sample that may be taken goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Behind all that the series has.
    Newest,
    /// Before something.
    Late,
}

/// A value, as it is compared with one that is there.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

impl Head {
    /// How much older than the newest sample of all one may be and still be taken out of order. Samples behind
    /// `latest_ms`, which a clock that was ahead let in, do not count for that.
    pub fn set_window(&mut self, window_ms: i64, latest_ms: i64) {
        (self.window_ms, self.latest_ms) = (window_ms, latest_ms);
    }

    fn is_outside_window(&self, time: i64) -> bool {
        let newest = self.figures.max_ms.map(|max| max.min(self.latest_ms));
        newest.is_some_and(|newest| time < newest.saturating_sub(self.window_ms))
    }

    /// The slow path of an append: the time is not after the series' newest float, or the series has
    /// histograms too. What keeps the sample out is the error.
    #[cold]
    pub(super) fn judge(&self, id: u32, time: i64, value: Value<'_>) -> Result<Order, Fate> {
        let series = &self.series[id as usize];
        let histograms = self.histograms.get(&id).map_or(&[][..], |h| h);
        let newest = series.last_time().max(histograms.last().map(|(t, _)| *t));
        if newest.is_none_or(|newest| time > newest) {
            return Ok(Order::Newest);
        }
        let last = series.last_time() == Some(time) && !series.has_late() && histograms.is_empty();
        let same = if last {
            // What a sender repeats, and what a checkpoint and the log both have: nothing to decode.
            Some(matches!(value, Value::Float(v) if v.to_bits() == series.state().last_bits()))
        } else if let Ok(at) = histograms.binary_search_by_key(&time, |(t, _)| *t) {
            Some(matches!(value, Value::Histogram(h) if same_bits(h, &histograms[at].1)))
        } else {
            let there = self.value_at(id, time);
            there.map(|bits| matches!(value, Value::Float(v) if v.to_bits() == bits))
        };
        match same {
            Some(true) => Err(Fate::Repeated),
            Some(false) => Err(Fate::Refused(Refusal::DuplicateTimestamp)),
            None if self.window_ms <= 0 => Err(Fate::Refused(Refusal::OutOfOrder)),
            None if self.is_outside_window(time) => Err(Fate::Refused(Refusal::TooOld)),
            None => Ok(Order::Late),
        }
    }

    pub(super) fn push_late(&mut self, id: u32, sample: Sample) {
        let late = self.late.entry(id).or_default();
        let before = late.capacity();
        let at = late.partition_point(|s| s.timestamp_ms < sample.timestamp_ms);
        late.insert(at, sample);
        self.chunk_bytes += (late.capacity() - before) * std::mem::size_of::<Sample>();
        self.series[id as usize].set_has_late(true);
        self.figures.late += 1;
    }

    pub(super) fn push_late_histogram(&mut self, id: u32, time: i64, histogram: Arc<Histogram>) {
        let all = self.histograms.entry(id).or_default();
        let at = all.partition_point(|(t, _)| *t < time);
        all.insert(at, (time, histogram));
        self.figures.late += 1;
    }

    /// Late floats of a series within the range.
    pub(super) fn late(&self, id: u32, range: TimeRange) -> &[Sample] {
        if !self.series[id as usize].has_late() {
            return &[];
        }
        let all = self.late.get(&id).map_or(&[][..], |l| l);
        let start = all.partition_point(|s| s.timestamp_ms < range.min_ms);
        let end = all.partition_point(|s| s.timestamp_ms <= range.max_ms);
        &all[start..end.max(start)]
    }

    /// Drops late floats before the cutoff.
    pub(super) fn truncate_late(&mut self, id: u32, cutoff_ms: i64) {
        let Some(late) = self.late.get_mut(&id) else { return };
        late.drain(..late.partition_point(|s| s.timestamp_ms < cutoff_ms));
        let before = late.capacity();
        late.shrink_to_fit();
        self.chunk_bytes -= (before - late.capacity()) * std::mem::size_of::<Sample>();
        if late.is_empty() {
            self.late.remove(&id);
            self.series[id as usize].set_has_late(false);
        }
    }
}

/// Puts late samples between those of the columns from `start` on.
pub(super) fn merge(columns: &mut FloatColumns, start: usize, late: &[Sample]) {
    let times = columns.times.split_off(start);
    let values = columns.values.split_off(start);
    let mut late = late.iter().peekable();
    for (time, value) in times.into_iter().zip(values) {
        while let Some(sample) = late.next_if(|s| s.timestamp_ms < time) {
            columns.times.push(sample.timestamp_ms);
            columns.values.push(sample.value);
        }
        columns.times.push(time);
        columns.values.push(value);
    }
    for sample in late {
        columns.times.push(sample.timestamp_ms);
        columns.values.push(sample.value);
    }
}

/// Equal, NaN for NaN, bit for bit: what a repetition of a histogram is.
fn same_bits(a: &Histogram, b: &Histogram) -> bool {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let scalars = |h: &Histogram| bits(&[h.zero_threshold, h.zero_count, h.count, h.sum]);
    (a.schema, a.integer, a.reset) == (b.schema, b.integer, b.reset)
        && scalars(a) == scalars(b)
        && (&a.positive_spans, &a.negative_spans) == (&b.positive_spans, &b.negative_spans)
        && bits(&a.positive_counts) == bits(&b.positive_counts)
        && bits(&a.negative_counts) == bits(&b.negative_counts)
        && bits(&a.custom_values) == bits(&b.custom_values)
}

#[cfg(test)]
mod tests {
    use super::super::read::Scratch;
    use super::*;
    use hearth_model::Labels;

    /// Appends `samples` (time, value), then reads all; fates that are not `Taken` come out as text.
    #[track_caller]
    fn check(window_ms: i64, samples: &[(i64, f64)], fates: &str, times: &[i64]) {
        let mut head = Head::default();
        head.set_window(window_ms, i64::MAX);
        let id = head.create(1, &Labels::from_pairs([("__name__", "up")]), None);
        let mut told = Vec::new();
        for (time, value) in samples {
            match head.append(id, *time, *value) {
                Fate::Taken => {}
                Fate::Repeated => told.push(format!("{time} repeated")),
                Fate::Refused(why) => told.push(format!("{time} {}", why.text())),
            }
        }
        assert_eq!(told.join(", "), fates);
        let mut scratch = Scratch::default();
        head.read_floats(id, TimeRange::ALL, &mut scratch);
        assert_eq!(scratch.floats.times, times);
        head.read_floats(id, TimeRange::new(2, 95), &mut scratch);
        let within: Vec<i64> = times.iter().copied().filter(|t| (2..=95).contains(t)).collect();
        assert_eq!(scratch.floats.times, within);
        head.truncate(id, i64::MAX);
        head.read_floats(id, TimeRange::ALL, &mut scratch);
        assert!(scratch.floats.times.is_empty() && !head.overlaps(id, TimeRange::ALL));
        assert_eq!(head.chunk_bytes, 0);
    }

    #[test]
    fn late_samples_are_taken_within_the_window() {
        let late = [(100, 1.0), (50, 2.0), (1, 3.0), (70, 4.0), (60, 5.0), (50, 2.0), (50, 3.0), (110, 6.0)];
        check(
            50,
            &late,
            "1 too old sample, 50 repeated, 50 duplicate sample for timestamp",
            &[50, 60, 70, 100, 110],
        );
        check(0, &late[..3], "50 out of order sample, 1 out of order sample", &[100]);
    }
}
