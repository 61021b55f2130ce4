//! The data that both servers get: every shape of series that has ever told two implementations apart.
//!
//! 40 minutes, so that all of it lies within the hour that an empty Prometheus takes in any order.

use fastrand::Rng;
use hearth_model::sample::stale_nan;
use hearth_model::{CounterReset, Histogram, Labels, Sample, Span, WriteBatch};

pub const START_MS: i64 = 1_700_000_000_000;
pub const END_MS: i64 = START_MS + 40 * 60_000;

/// Between two samples of an ordinary series.
const INTERVAL_MS: i64 = 15_000;

/// Upper bounds of the classic histograms.
const BOUNDS: [&str; 6] = ["0.1", "0.5", "1", "2.5", "10", "+Inf"];

/// What is written, in order.
pub struct Dataset {
    pub batches: Vec<WriteBatch>,
}

struct Filler<'r> {
    random: &'r mut Rng,
    series: Vec<(Labels, Vec<Sample>)>,
    histograms: Vec<(Labels, Vec<(i64, Histogram)>)>,
}

pub fn dataset(seed: u64, native: bool) -> Dataset {
    let mut random = Rng::with_seed(seed ^ 0x6461_7461);
    let mut filler = Filler { random: &mut random, series: Vec::new(), histograms: Vec::new() };
    filler.counters();
    filler.gauges();
    filler.extremes();
    filler.interrupted();
    filler.classic_histograms();
    if native {
        filler.native_histograms();
    }
    let Filler { mut series, histograms, .. } = filler;
    // Prometheus reads series in the order of their making; sorted, that is the order of their labels.
    series.sort_by(|a, b| a.0.cmp(&b.0));
    let mut batches: Vec<WriteBatch> = series.chunks(200).map(batch_of).collect();
    batches.extend(histograms.chunks(20).map(histogram_batch_of));
    Dataset { batches }
}

fn batch_of(series: &[(Labels, Vec<Sample>)]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    series.iter().for_each(|(labels, samples)| batch.push(labels, samples));
    batch
}

fn histogram_batch_of(series: &[(Labels, Vec<(i64, Histogram)>)]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (labels, histograms) in series {
        batch.push(labels, &[]);
        let first = batch.histograms.len() as u32;
        batch.histograms.extend(histograms.iter().cloned());
        let last = batch.histograms.len() as u32;
        if let Some(series) = batch.series.last_mut() {
            series.histograms = first..last;
        }
    }
    batch
}

/// Job and instance of the targets that most metrics come from.
fn targets() -> impl Iterator<Item = (&'static str, String)> {
    ["api", "db"].into_iter().flat_map(|job| (0..3).map(move |n| (job, format!("{job}-{n}:80"))))
}

impl Filler<'_> {
    /// Times at the usual interval, each moved by up to `jitter_ms`.
    fn times(&mut self, jitter_ms: i64) -> Vec<i64> {
        let phase_ms = self.random.i64(0..INTERVAL_MS);
        (START_MS + phase_ms..END_MS)
            .step_by(INTERVAL_MS as usize)
            .map(|time_ms| time_ms + self.random.i64(0..=jitter_ms))
            .collect()
    }

    fn push<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        points: impl IntoIterator<Item = (i64, f64)>,
    ) {
        let samples =
            points.into_iter().map(|(timestamp_ms, value)| Sample { timestamp_ms, value }).collect();
        self.series.push((Labels::from_pairs(labels), samples));
    }

    /// Counters with resets, jitter and missed scrapes.
    fn counters(&mut self) {
        for (job, instance) in targets() {
            for code in ["200", "404", "500"] {
                let mut value = self.random.f64() * 1000.0;
                let mut points = Vec::new();
                for time_ms in self.times(200) {
                    let whole = f64::from(self.random.u32(0..50));
                    value += if code == "200" { whole } else { self.random.f64() };
                    if self.random.u32(0..60) == 0 {
                        value = f64::from(self.random.u32(0..3));
                    }
                    if self.random.u32(0..12) != 0 {
                        points.push((time_ms, value));
                    }
                }
                let labels =
                    [("__name__", "requests_total"), ("job", job), ("instance", &instance), ("code", code)];
                self.push(labels, points);
            }
        }
    }

    /// Gauges around zero, some constant, and an info metric with value 1.
    fn gauges(&mut self) {
        for (number, (job, instance)) in targets().enumerate() {
            let times = self.times(0);
            let mut value = self.random.f64() * 40.0 - 20.0;
            let points: Vec<_> = times
                .iter()
                .map(|&time_ms| {
                    value += self.random.f64() - 0.5;
                    (time_ms, if number == 0 { 21.5 } else { value })
                })
                .collect();
            self.push([("__name__", "temperature"), ("job", job), ("instance", &instance)], points);
            let load =
                times.iter().map(|&time_ms| (time_ms, f64::from(self.random.u32(0..4)))).collect::<Vec<_>>();
            self.push([("__name__", "load"), ("job", job), ("instance", &instance), ("zone", "a.b-c")], load);
            let version = ["1.0", "1.1"][number % 2];
            let labels =
                [("__name__", "build_info"), ("job", job), ("instance", &instance), ("version", version)];
            self.push(labels, times.iter().map(|&time_ms| (time_ms, 1.0)));
        }
    }

    /// One series per kind of value that floating-point arithmetic treats apart.
    fn extremes(&mut self) {
        let kinds: [(&str, &[f64]); 9] = [
            ("nan", &[f64::NAN]),
            ("inf", &[f64::INFINITY, f64::NEG_INFINITY, 1.0]),
            ("positive_inf", &[f64::INFINITY]),
            ("some_nan", &[1.0, f64::NAN, -3.0, 2.5]),
            // Not smaller: Prometheus takes wrong logarithms of denormal numbers, and on amd64 only.
            ("tiny", &[1e-300, 5e-300, -2.3e-301]),
            ("huge", &[1.7e308, 1e300, -1.7e308, 1e308]),
            ("zero", &[0.0, -0.0]),
            ("large_whole", &[9_007_199_254_740_993.0, 9_007_199_254_740_992.0, 1e15]),
            ("mixed", &[1e100, 1.0, -1e100, 0.1]),
        ];
        for (kind, values) in kinds {
            let points: Vec<_> = self
                .times(0)
                .into_iter()
                .map(|time_ms| (time_ms, values[self.random.usize(0..values.len())]))
                .collect();
            self.push([("__name__", "extreme"), ("kind", kind)], points);
        }
        for (number, value) in
            [1_136_214_245.0, -86_400.0, 951_782_400.0, 1e12, 1e300].into_iter().enumerate()
        {
            let points: Vec<_> = self.times(0).into_iter().map(|time_ms| (time_ms, value)).collect();
            self.push([("__name__", "moment"), ("n", &number.to_string())], points);
        }
    }

    /// Series that end with a stale marker, come back, pause longer than the lookback, or are one sample.
    fn interrupted(&mut self) {
        for (number, (job, instance)) in targets().enumerate() {
            let mut points = Vec::new();
            let mut is_up = true;
            for time_ms in self.times(50) {
                match (is_up, self.random.u32(0..15)) {
                    (true, 0) => {
                        points.push((time_ms, stale_nan()));
                        is_up = false;
                    }
                    (true, _) => points.push((time_ms, f64::from(self.random.u32(0..2)))),
                    (false, 0..3) => is_up = true,
                    (false, _) => {}
                }
            }
            self.push([("__name__", "up"), ("job", job), ("instance", &instance)], points);
            let pause_ms = START_MS + 600_000..START_MS + 1_200_000 + number as i64 * 60_000;
            let mut sparse: Vec<_> = self.times(5_000).into_iter().step_by(3).collect();
            sparse.retain(|time_ms| !pause_ms.contains(time_ms));
            let sparse: Vec<_> =
                sparse.into_iter().map(|time_ms| (time_ms, self.random.f64() * 1e6)).collect();
            self.push([("__name__", "sparse"), ("job", job), ("instance", &instance)], sparse);
        }
        self.push([("__name__", "single"), ("job", "api")], [(START_MS + 900_000, 42.0)]);
        self.push(
            [("__name__", "single"), ("job", "db")],
            [(START_MS + 60_000, -1.0), (START_MS + 75_000, stale_nan())],
        );
    }

    /// Classic histograms, some of them broken as real ones are.
    fn classic_histograms(&mut self) {
        for (number, (job, instance)) in targets().enumerate() {
            let times = self.times(100);
            let mut buckets = vec![Vec::new(); BOUNDS.len()];
            let (mut counts, mut sum) = ([0.0; BOUNDS.len()], 0.0);
            let mut sums = Vec::new();
            for &time_ms in &times {
                for _ in 0..self.random.u32(0..20) {
                    let bucket = self.random.usize(0..BOUNDS.len());
                    counts[bucket..].iter_mut().for_each(|count| *count += 1.0);
                    sum += self.random.f64() * 3.0;
                }
                buckets.iter_mut().zip(counts).for_each(|(points, count)| points.push((time_ms, count)));
                sums.push((time_ms, sum));
            }
            if number == 1 {
                buckets[2].iter_mut().for_each(|point| point.1 -= 5.0);
            }
            for (bound, points) in BOUNDS.iter().zip(&buckets) {
                if number == 2 && *bound == "+Inf" {
                    continue;
                }
                let labels =
                    [("__name__", "latency_bucket"), ("job", job), ("instance", &instance), ("le", bound)];
                self.push(labels, points.iter().copied());
            }
            let labels = |name| [("__name__", name), ("job", job), ("instance", instance.as_str())];
            self.push(labels("latency_sum"), sums);
            self.push(labels("latency_count"), buckets[BOUNDS.len() - 1].clone());
        }
        let odd = [("latency_bucket", "x"), ("latency_bucket", "NaN"), ("latency_bucket", "")];
        for (name, bound) in odd {
            let points: Vec<_> = self.times(0).into_iter().map(|time_ms| (time_ms, 1.0)).collect();
            self.push([("__name__", name), ("job", "odd"), ("le", bound)], points);
        }
    }

    /// Integer histograms with resets, gauge histograms, custom buckets, changing layouts.
    fn native_histograms(&mut self) {
        for (number, (job, instance)) in targets().enumerate() {
            for name in ["native", "native_gauge", "native_custom"] {
                // Far from zero even after a reset: 3.5 carries the slope of a histogram back to below zero.
                let mut counts = vec![9_000.0; 4];
                let mut points = Vec::new();
                for time_ms in self.times(100) {
                    for count in &mut counts {
                        *count += f64::from(self.random.u32(0..5));
                    }
                    if self.random.u32(0..50) == 0 || name == "native_gauge" {
                        let least =
                            if name == "native_gauge" { 9_000 } else { 4_000 + self.random.u32(0..1_000) };
                        counts.iter_mut().for_each(|count| *count = f64::from(least + self.random.u32(0..4)));
                    }
                    if self.random.u32(0..12) != 0 {
                        points.push((time_ms, histogram(name, number, &counts)));
                    }
                }
                let labels = [("__name__", name), ("job", job), ("instance", &instance)];
                self.histograms.push((Labels::from_pairs(labels), points));
            }
        }
    }
}

fn histogram(name: &str, number: usize, counts: &[f64]) -> Histogram {
    let mut histogram = Histogram::stale();
    histogram.integer = number.is_multiple_of(2);
    histogram.sum = counts.iter().zip(1..).map(|(count, weight)| count * f64::from(weight) * 0.3).sum();
    histogram.count = counts.iter().sum();
    histogram.positive_counts = counts.to_vec();
    match name {
        "native_custom" => {
            histogram.schema = hearth_model::histogram::CUSTOM_BUCKETS_SCHEMA;
            histogram.custom_values = if number == 0 { vec![0.5, 1.0, 2.0] } else { vec![0.5, 1.5, 5.0] };
            histogram.positive_spans = vec![Span { offset: 0, length: 4 }];
        }
        _ => {
            histogram.schema = number as i32 % 4 - 1;
            histogram.zero_threshold = 0.001;
            histogram.zero_count = 2.0;
            histogram.count += 2.0;
            histogram.positive_spans = vec![Span { offset: -1, length: 2 }, Span { offset: 1, length: 2 }];
            if number == 3 {
                histogram.negative_spans = vec![Span { offset: 0, length: 1 }];
                histogram.negative_counts = vec![counts[0]];
                histogram.count += counts[0];
            }
            if name == "native_gauge" {
                histogram.reset = CounterReset::Gauge;
            }
        }
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_depend_on_the_seed_alone() {
        let count = |seed| dataset(seed, true).batches.iter().map(|b| b.samples.len()).sum::<usize>();
        assert_eq!(count(1), count(1));
        assert!(count(1) > 10_000);
    }

    #[test]
    fn every_histogram_is_valid_and_every_series_ascends() {
        for batch in dataset(3, true).batches {
            for (_, histogram) in &batch.histograms {
                assert_eq!(histogram.validate(), Ok(()));
            }
            for series in &batch.series {
                let times: Vec<i64> = batch.samples_of(series).iter().map(|s| s.timestamp_ms).collect();
                assert!(times.is_sorted_by(|a, b| a < b));
            }
        }
    }
}
