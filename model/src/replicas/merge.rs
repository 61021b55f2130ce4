//! Two replicas of one series made one, as Thanos does it: samples of one of them as long as it has any, then those of
//! the other. Each took the same readings at other moments, so samples of both side by side would be twice as many, and
//! a counter would seem to fall.
//!
//! 1. Of the next samples of both the earlier one is taken. The other replica is then looked at again only behind twice
//!    the distance of the last two samples taken (a penalty), so that it comes in where the first one misses two samples,
//!    and not between them. For the first sample that distance is what the first two of a replica have, where Thanos has
//!    a fixed one and so begins with samples of both.
//! 2. A stale marker says that one server lost the target. It counts only where the other one did too.
//! 3. Where the replica changes, a sample that lies below the last one taken may be a reading from before it: a page
//!    that took long. It is left out, twice at most, where the new replica itself did not fall since then. A counter
//!    that began anew fell there, too, and is shown.

use crate::histogram::{CounterReset, Histogram};
use crate::sample::is_stale;
use crate::store::Columns;
use std::sync::Arc;

/// Where no replica has two samples. As in Thanos: about the shortest distance that scrapes have.
const FIRST_PENALTY_MS: i64 = 5_000;
/// Samples left out at a change of replicas, at most.
const MOST_LAGGING: usize = 2;

/// The samples of `a` and `b` as one series. Group and number of times stay 0.
pub fn merge(a: &Columns, b: &Columns) -> Columns {
    let starts =
        [a, b].iter().any(|columns| !columns.starts.is_empty() || !columns.histogram_starts.is_empty());
    let usual_ms = [a, b].into_iter().filter_map(first_distance_ms).min();
    let mut merger = Merger {
        replicas: [Replica::of(a), Replica::of(b)],
        first_penalty_ms: usual_ms.map_or(FIRST_PENALTY_MS, |ms| ms.saturating_mul(2)),
        last: None,
        penalties_ms: [0, 0],
        lagging: 0,
        starts,
        out: Columns::default(),
    };
    while merger.step() {}
    merger.out
}

fn first_distance_ms(columns: &Columns) -> Option<i64> {
    let mut replica = Replica::of(columns);
    let first_ms = replica.peek()?.time_ms;
    replica.seek(first_ms.saturating_add(1));
    Some(replica.peek()?.time_ms.saturating_sub(first_ms))
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

impl Value<'_> {
    fn is_stale(&self) -> bool {
        match self {
            Value::Float(value) => is_stale(*value),
            Value::Histogram(histogram) => histogram.is_stale(),
        }
    }

    /// What does not fall in a counter; NaN where there is no counting.
    fn level(&self) -> f64 {
        match self {
            Value::Float(value) => *value,
            Value::Histogram(h) if h.reset == CounterReset::Gauge => f64::NAN,
            Value::Histogram(h) => h.count,
        }
    }
}

#[derive(Clone, Copy)]
struct Sample<'a> {
    time_ms: i64,
    start_ms: i64,
    value: Value<'a>,
}

/// One replica's samples, floats and histograms in one order.
struct Replica<'a> {
    columns: &'a Columns,
    float: usize,
    histogram: usize,
}

impl<'a> Replica<'a> {
    fn of(columns: &'a Columns) -> Replica<'a> {
        Replica { columns, float: 0, histogram: 0 }
    }

    fn float(&self, index: usize) -> Option<Sample<'a>> {
        let value = Value::Float(*self.columns.values.get(index)?);
        let start_ms = self.columns.starts.get(index).copied().unwrap_or(0);
        Some(Sample { time_ms: *self.columns.times.get(index)?, start_ms, value })
    }

    fn histogram(&self, index: usize) -> Option<Sample<'a>> {
        let (time_ms, histogram) = self.columns.histograms.get(index)?;
        let start_ms = self.columns.histogram_starts.get(index).copied().unwrap_or(0);
        Some(Sample { time_ms: *time_ms, start_ms, value: Value::Histogram(histogram) })
    }

    fn peek(&self) -> Option<Sample<'a>> {
        match (self.float(self.float), self.histogram(self.histogram)) {
            (Some(float), Some(histogram)) if histogram.time_ms < float.time_ms => Some(histogram),
            (None, histogram) => histogram,
            (float, _) => float,
        }
    }

    /// Goes on to the first sample at that time or later.
    fn seek(&mut self, time_ms: i64) {
        while self.columns.times.get(self.float).is_some_and(|time| *time < time_ms) {
            self.float += 1;
        }
        while self.columns.histograms.get(self.histogram).is_some_and(|(time, _)| *time < time_ms) {
            self.histogram += 1;
        }
    }

    /// Whether it has a sample at that time or before, and does not fall from there to the sample at hand.
    fn rose_since(&self, time_ms: i64) -> bool {
        let Some(now) = self.peek() else { return false };
        let before = |at: usize| match now.value {
            Value::Float(_) => self.float(at),
            Value::Histogram(_) => self.histogram(at),
        };
        let mut level = now.value.level();
        let from = match now.value {
            Value::Float(_) => self.float,
            Value::Histogram(_) => self.histogram,
        };
        for at in (0..from).rev() {
            let Some(sample) = before(at).filter(|sample| !sample.value.is_stale()) else { continue };
            // Nor may there be nothing to compare.
            if !sample.value.level().le(&level) {
                return false;
            }
            if sample.time_ms <= time_ms {
                return true;
            }
            level = sample.value.level();
        }
        false
    }
}

/// What was taken last.
struct Last<'a> {
    from: usize,
    sample: Sample<'a>,
    /// How far the sample before it was; unknown for the first.
    distance_ms: Option<i64>,
}

struct Merger<'a> {
    replicas: [Replica<'a>; 2],
    last: Option<Last<'a>>,
    first_penalty_ms: i64,
    penalties_ms: [i64; 2],
    lagging: usize,
    starts: bool,
    out: Columns,
}

impl<'a> Merger<'a> {
    /// Takes one sample, or leaves one out; false at the end.
    fn step(&mut self) -> bool {
        if let Some(last) = &self.last {
            let behind_ms = last.sample.time_ms.saturating_add(1);
            for (replica, penalty_ms) in self.replicas.iter_mut().zip(self.penalties_ms) {
                replica.seek(behind_ms.saturating_add(penalty_ms));
            }
        }
        let next = [self.replicas[0].peek(), self.replicas[1].peek()];
        let from = match &next {
            [Some(a), Some(b)] => usize::from(b.time_ms < a.time_ms),
            [Some(_), None] => 0,
            [None, Some(_)] => 1,
            [None, None] => return false,
        };
        let Some(sample) = next[from] else { return false };
        if sample.value.is_stale()
            && let Some(stead) = self.instead_of_marker(from, &sample)
        {
            self.take(1 - from, stead);
            return true;
        }
        if self.lags(from, &sample) {
            self.lagging += 1;
            self.replicas[from].seek(sample.time_ms.saturating_add(1));
            return true;
        }
        self.take(from, sample);
        true
    }

    /// What the other replica has about the time of a stale marker, no closer to the last sample than half of what
    /// samples usually are apart.
    fn instead_of_marker(&mut self, from: usize, marker: &Sample<'_>) -> Option<Sample<'a>> {
        let columns = self.replicas[1 - from].columns;
        let mut other = Replica::of(columns);
        let usual_ms = match &self.last {
            Some(last) => last.distance_ms.unwrap_or(marker.time_ms.saturating_sub(last.sample.time_ms)),
            None => 0,
        };
        if let Some(last) = &self.last {
            other.seek(last.sample.time_ms.saturating_add(1 + usual_ms / 2));
        }
        let until_ms = marker.time_ms.saturating_add(2 * usual_ms.max(FIRST_PENALTY_MS / 2));
        let stead = other.peek().filter(|s| s.time_ms <= until_ms && !s.value.is_stale())?;
        self.replicas[1 - from] = other;
        Some(stead)
    }

    fn lags(&self, from: usize, sample: &Sample<'_>) -> bool {
        let Some(last) = self.last.as_ref().filter(|last| last.from != from) else { return false };
        self.lagging < MOST_LAGGING
            && sample.value.level() < last.sample.value.level()
            && self.replicas[from].rose_since(last.sample.time_ms)
    }

    fn take(&mut self, from: usize, sample: Sample<'a>) {
        let distance_ms = self.last.as_ref().map(|last| sample.time_ms.saturating_sub(last.sample.time_ms));
        self.penalties_ms[from] = 0;
        self.penalties_ms[1 - from] = distance_ms.map_or(self.first_penalty_ms, |ms| ms.saturating_mul(2));
        let changed = self.last.as_ref().is_some_and(|last| last.from != from);
        match sample.value {
            Value::Float(value) => {
                self.out.times.push(sample.time_ms);
                self.out.values.push(value);
                if self.starts {
                    self.out.starts.push(sample.start_ms);
                }
            }
            Value::Histogram(histogram) => {
                self.out.histograms.push((sample.time_ms, continued(histogram, changed)));
                if self.starts {
                    self.out.histogram_starts.push(sample.start_ms);
                }
            }
        }
        self.lagging = 0;
        self.last = Some(Last { from, sample, distance_ms });
    }
}

/// What a histogram says of the one before it holds for its own replica alone.
fn continued(histogram: &Arc<Histogram>, changed: bool) -> Arc<Histogram> {
    match histogram.reset {
        CounterReset::Reset | CounterReset::NotReset if changed => {
            Arc::new(Histogram { reset: CounterReset::Unknown, ..Histogram::clone(histogram) })
        }
        _ => histogram.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::stale_nan;
    use proptest::prelude::*;

    /// `second=value` words; `s` is a stale marker, `hN` a histogram of that count.
    fn columns(text: &str) -> Columns {
        let mut columns = Columns::default();
        for word in text.split_whitespace() {
            let (time, value) = word.split_once('=').expect("time=value");
            let time_ms = (time.parse::<f64>().expect("a time") * 1000.0) as i64;
            if let Some(count) = value.strip_prefix('h') {
                let count = count.parse().expect("a count");
                let histogram =
                    Histogram { count, reset: CounterReset::NotReset, sum: 0.0, ..Histogram::stale() };
                columns.histograms.push((time_ms, Arc::new(histogram)));
                continue;
            }
            columns.times.push(time_ms);
            columns.values.push(if value == "s" { stale_nan() } else { value.parse().expect("a value") });
        }
        columns
    }

    fn text(columns: &Columns) -> String {
        let mut words = Vec::new();
        for (time, value) in columns.times.iter().zip(&columns.values) {
            let value = if is_stale(*value) { "s".to_owned() } else { value.to_string() };
            words.push((*time, value));
        }
        for (time, histogram) in &columns.histograms {
            let sign = if histogram.reset == CounterReset::Unknown { "?" } else { "" };
            words.push((*time, format!("h{}{sign}", histogram.count)));
        }
        words.sort_by_key(|(time, _)| *time);
        let words: Vec<_> =
            words.iter().map(|(time, value)| format!("{}={value}", *time as f64 / 1000.0)).collect();
        words.join(" ")
    }

    #[track_caller]
    fn check(a: &str, b: &str, expect: &str) {
        assert_eq!(text(&merge(&columns(a), &columns(b))), expect, "{a} | {b}");
    }

    #[test]
    fn one_replica_is_followed_as_long_as_it_has_samples() {
        check("0=1 15=2 30=3 45=4", "7=1 22=2 37=3 52=4", "0=1 15=2 30=3 45=4");
        check("7=1 22=2 37=3", "0=1 15=2 30=3", "0=1 15=2 30=3");
        check("0=1 15=2", "0=1 15=2", "0=1 15=2");
        check("", "1=5 2=6", "1=5 2=6");
    }

    #[test]
    fn another_one_takes_over_where_two_samples_are_missing() {
        check("0=1 15=2 75=6 90=7", "7=1 22=2 37=3 52=4 67=5 82=6", "0=1 15=2 52=4 67=5 82=6");
        check("0=1 15=2", "7=1 22=2 37=3 52=4 67=5", "0=1 15=2 52=4 67=5");
    }

    #[test]
    fn a_marker_of_one_replica_counts_where_the_other_one_ended_too() {
        check("0=1 15=2 30=s", "7=1 22=2 37=3 52=4", "0=1 15=2 37=3 52=4");
        check("0=1 15=2 30=s", "7=1 22=2 37=s", "0=1 15=2 30=s");
        check("0=1 15=2 30=s 45=s", "", "0=1 15=2 30=s 45=s");
    }

    #[test]
    fn a_reading_from_before_is_no_reset() {
        // The first replica's 15=20 was read late; the second one's 52=19 is from before it.
        check("0=1 15=20", "7=2 22=10 37=15 52=19 67=30", "0=1 15=20 67=30");
        // This one fell itself: the counter began anew.
        check("0=1 15=20", "7=2 22=21 37=1 52=4 67=7", "0=1 15=20 52=4 67=7");
        // It was not there before.
        check("0=1 15=20", "52=4 67=7", "0=1 15=20 52=4 67=7");
        // A gauge may be lower for ever.
        check("0=9 15=9", "7=1 22=1 37=1 52=1 67=1 82=1 97=1", "0=9 15=9 82=1 97=1");
    }

    #[test]
    fn histograms_are_merged_too_and_what_they_say_of_the_one_before_is_forgotten() {
        check("0=h1 15=h2", "7=h1 22=h2 37=h3 52=h4 67=h5", "0=h1 15=h2 52=h4? 67=h5");
        check("0=h1 15=h9", "7=h1 22=h2 37=h3 52=h8 67=h10", "0=h1 15=h9 67=h10?");
        check("0=1 15=h2 30=h3", "7=1 22=h2", "0=1 15=h2 30=h3");
    }

    /// What is left out of a counter lies within the penalty of a sample before it, or below the last one taken.
    fn check_left_out(merged: &Columns, replicas: [&Columns; 2]) {
        let first = replicas.into_iter().filter_map(first_distance_ms).min();
        let mut penalty_ms = first.map_or(FIRST_PENALTY_MS, |ms| 2 * ms);
        // Until when the penalties of all samples up to this one last.
        let mut until = Vec::new();
        for (at, time) in merged.times.iter().enumerate() {
            if at > 0 {
                penalty_ms = 2 * (time - merged.times[at - 1]);
            }
            until.push(
                until.last().map_or(time + penalty_ms, |before: &i64| (time + penalty_ms).max(*before)),
            );
        }
        for (time, value) in replicas.iter().flat_map(|of| of.times.iter().zip(&of.values)) {
            let behind = merged.times.partition_point(|taken| taken <= time);
            let at = behind.checked_sub(1).expect("the earliest sample is taken");
            assert!(
                *time <= until[at] || *value < merged.values[at],
                "{time} is left out, though nothing was taken since {}: {}",
                merged.times[at],
                text(merged)
            );
        }
    }

    proptest! {
        /// Two servers read one counter, with gaps and delays of chance: what comes out ascends in time and falls only
        /// where the counter began anew.
        #[test]
        fn a_counter_falls_only_where_it_began_anew(
            gaps in prop::collection::vec((any::<bool>(), any::<bool>()), 20..80),
            phase in 0..15_000i64,
            delays in prop::collection::vec((0..4_000i64, 0..4_000i64), 80),
            reset_at in prop::option::of(50_000..400_000i64),
        ) {
            let reading = |at: i64| match reset_at {
                Some(reset) if at >= reset => (at - reset) as f64,
                _ => 1e6 + at as f64,
            };
            let (mut a, mut b) = (Columns::default(), Columns::default());
            for (number, ((in_a, in_b), (late_a, late_b))) in gaps.iter().zip(&delays).enumerate() {
                let at = 15_000 * number as i64;
                if *in_a {
                    a.times.push(at);
                    a.values.push(reading(at + late_a));
                }
                if *in_b {
                    b.times.push(at + phase);
                    b.values.push(reading(at + phase + late_b));
                }
            }
            let merged = merge(&a, &b);
            prop_assert!(merged.times.is_sorted_by(|one, two| one < two));
            let falls = merged.values.windows(2).filter(|pair| pair[1] < pair[0]).count();
            prop_assert!(falls <= usize::from(reset_at.is_some()), "{} falls: {}", falls, text(&merged));
            check_left_out(&merged, [&a, &b]);
        }
    }
}
