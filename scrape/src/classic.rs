//! Classic histograms turned into native ones with custom buckets, as the lines of one come by: its buckets,
//! its sum and its count, in any order, without a line of another metric between them.

use crate::grouping::{Role, place};
use hearth_model::batch::Exemplar;
use hearth_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use hearth_model::{CounterReset, Histogram, Labels, Span};
use hearth_wire::exposition::{SampleLine, pairs_of};
use hearth_wire::metadata::MetricType;

/// Empty buckets that stay between two others of a histogram of integers: Prometheus' number.
const BRIDGED_BUCKETS: u32 = 2;

/// The lines of one classic histogram.
#[derive(Default)]
pub struct Collector {
    /// The histogram's own series; empty while none is collected.
    series: Vec<u8>,
    scratch: Vec<u8>,
    /// The series of the native histogram that came last: its classic lines are not turned into another.
    native: Vec<u8>,
    /// Bounds and cumulative counts, ascending.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    broken: bool,
    timestamp_ms: Option<i64>,
    created_ms: Option<i64>,
    exemplars: Vec<Exemplar>,
}

/// Where a line belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    /// Not to a classic histogram that is to be turned into another.
    Elsewhere,
    /// To the one at hand.
    Here(Role),
    /// To another one: the one at hand is complete.
    Next(Role),
}

/// A histogram that is complete.
pub struct Converted {
    pub series: Vec<u8>,
    pub histogram: Histogram,
    pub timestamp_ms: Option<i64>,
    pub created_ms: Option<i64>,
    pub exemplars: Vec<Exemplar>,
}

impl Collector {
    pub fn place(&mut self, series: &[u8], family: &str) -> Place {
        match place(series, family, MetricType::Histogram, &mut self.scratch) {
            None | Some(Role::Created | Role::Total | Role::Quantile) => Place::Elsewhere,
            Some(_) if !self.native.is_empty() && self.scratch == self.native => Place::Elsewhere,
            Some(role) if self.scratch == self.series => Place::Here(role),
            Some(role) => Place::Next(role),
        }
    }

    /// A native histogram came by.
    pub fn native(&mut self, series: &[u8], family: &str) {
        // The classic lines' own series, spelled as they will be.
        let mut pairs: Vec<_> = pairs_of(series).filter(|(name, _)| name != "__name__").collect();
        pairs.sort_unstable();
        self.native.clear();
        let labels = pairs.iter().map(|(name, value)| (&**name, &**value));
        hearth_wire::exposition::print::write_series(&mut self.native, family, labels);
    }

    /// Adds the line that [`Collector::place`] looked at last.
    pub fn add(&mut self, role: Role, line: &SampleLine<'_>) {
        if self.series.is_empty() {
            self.series.clone_from(&self.scratch);
            self.native.clear();
            self.timestamp_ms = line.timestamp_ms;
            self.created_ms = line.created_ms;
        }
        if let Some((exemplar, timestamp_ms)) = line.exemplar.and_then(|e| Some((e, e.timestamp_ms?))) {
            let labels = Labels::from_pairs(pairs_of(exemplar.labels));
            self.exemplars.push(Exemplar { timestamp_ms, value: exemplar.value, labels });
        }
        self.broken |= line.value < 0.0 && role != Role::Sum;
        match role {
            Role::Sum => self.sum = line.value,
            Role::Count => self.count = Some(line.value),
            Role::Bucket(bound) => self.bucket(bound, line.value),
            _ => {}
        }
    }

    fn bucket(&mut self, bound: f64, count: f64) {
        let at = self.buckets.partition_point(|(other, _)| *other < bound);
        if self.buckets.get(at).is_some_and(|(other, _)| *other == bound) {
            return;
        }
        let below = at.checked_sub(1).is_some_and(|i| count < self.buckets[i].1);
        let above = self.buckets.get(at).is_some_and(|(_, other)| count > *other);
        self.broken |= below || above;
        self.buckets.insert(at, (bound, count));
    }

    /// Ends the histogram at hand; none where there is none, or its lines contradict each other.
    pub fn finish(&mut self) -> Option<Converted> {
        if self.series.is_empty() {
            return None;
        }
        let series = std::mem::take(&mut self.series);
        let exemplars = std::mem::take(&mut self.exemplars);
        let histogram = self.histogram();
        let (timestamp_ms, created_ms) = (self.timestamp_ms.take(), self.created_ms.take());
        self.buckets.clear();
        (self.count, self.sum, self.broken) = (None, 0.0, false);
        Some(Converted { series, histogram: histogram?, timestamp_ms, created_ms, exemplars })
    }

    fn histogram(&mut self) -> Option<Histogram> {
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).unwrap_or(0.0);
        if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.broken || self.buckets.last().is_none_or(|(_, last)| *last != count) {
            return None;
        }
        let integer = count.fract() == 0.0 && self.buckets.iter().all(|(_, count)| count.fract() == 0.0);
        let mut before = 0.0;
        let counts = self.buckets.iter().map(|(_, count)| count - std::mem::replace(&mut before, *count));
        let mut histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            integer,
            reset: CounterReset::Unknown,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: self.buckets.len() as u32 }],
            negative_spans: Vec::new(),
            positive_counts: counts.collect(),
            negative_counts: Vec::new(),
            custom_values: self
                .buckets
                .iter()
                .map(|(bound, _)| *bound)
                .filter(|b| *b < f64::INFINITY)
                .collect(),
        };
        histogram.compact(if integer { BRIDGED_BUCKETS } else { 0 });
        histogram.validate().is_ok().then_some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_wire::config::Limits;
    use hearth_wire::exposition::{Entry, Format, Parser};

    /// Lines of a histogram `h` in; every histogram made of them out.
    fn convert(body: &str) -> Vec<String> {
        let mut parser = Parser::new(Format::Text, body.as_bytes(), &Limits::default());
        let mut collector = Collector::default();
        let mut out = Vec::new();
        let mut end = |collector: &mut Collector| {
            out.extend(collector.finish().map(|found| {
                let h = found.histogram;
                let spans: Vec<_> = h.positive_spans.iter().map(|s| (s.offset, s.length)).collect();
                let series = String::from_utf8_lossy(&found.series).into_owned();
                format!(
                    "{series} {} {} {:?} {spans:?} {:?}",
                    h.count, h.sum, h.custom_values, h.positive_counts
                )
            }));
        };
        while let Ok(Entry::Sample(line)) = parser.next() {
            match collector.place(line.series, "h") {
                Place::Elsewhere => end(&mut collector),
                Place::Here(role) => collector.add(role, &line),
                Place::Next(role) => {
                    end(&mut collector);
                    collector.add(role, &line);
                }
            }
        }
        end(&mut collector);
        out
    }

    #[test]
    fn lines_become_histograms() {
        let check = |body: &str, expect: &[&str]| assert_eq!(convert(body), expect, "{body}");
        check(
            "h_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} 5\nh_bucket{le=\"+Inf\"} 6\nh_sum 7.5\nh_count 6\n",
            &["h 6 7.5 [1.0, 2.0] [(0, 3)] [2.0, 3.0, 1.0]"],
        );
        check(
            "h_count{a=\"1\"} 3\nh_bucket{a=\"1\",le=\"2\"} 3\nh_bucket{a=\"1\",le=\"1\"} 0\nh_sum{a=\"2\"} 1\n",
            &["h{a=\"1\"} 3 0 [1.0, 2.0] [(1, 1)] [3.0]", "h{a=\"2\"} 0 1 [] [] []"],
        );
        check("h_bucket{le=\"1\"} 1.5\nh_bucket{le=\"2\"} 2\n", &["h 2 0 [1.0, 2.0] [(0, 2)] [1.5, 0.5]"]);
        // Not cumulative; a count that its last bucket contradicts; negative.
        check("h_bucket{le=\"1\"} 3\nh_bucket{le=\"2\"} 2\n", &[]);
        check("h_bucket{le=\"+Inf\"} 3\nh_count 2\n", &[]);
        check("h_count -1\n", &[]);
        check("other 1\n", &[]);
    }
}
