//! The four kinds of instrument. All are safe to use from any thread and never block for long.

use crate::config::{SUMMARY_AGE_S, SUMMARY_WINDOW};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// One more, until the guard is dropped.
    pub fn raise(&self) -> Raised<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Raised(self)
    }

    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Gauge::raise`].
pub struct Raised<'a>(&'a Gauge);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts observations by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound and one for what is above all of them; not cumulative.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    pub fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    pub fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    pub fn sum(&self) -> f64 {
        self.sum
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bound and number of observations up to it; the last bound is infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        }))
    }
}

/// Sum and count of all observations, quantiles of the last ones: those of the last ten minutes, at most
/// [`SUMMARY_WINDOW`] of them.
#[derive(Debug, Default)]
pub struct Summary(Mutex<Observed>);

#[derive(Debug, Default)]
struct Observed {
    last: VecDeque<(Option<Instant>, f64)>,
    sum: f64,
    count: u64,
}

/// What a summary shows.
pub struct Shown {
    /// Of 0.5, 0.9 and 0.99; not a number while nothing was observed lately.
    pub quantiles: [(&'static str, f64); 3],
    pub sum: f64,
    pub count: u64,
}

impl Summary {
    pub fn observe(&self, value: f64) {
        let mut observed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if observed.last.len() == SUMMARY_WINDOW {
            observed.last.pop_front();
        }
        observed.last.push_back((Some(Instant::now()), value));
        observed.sum += value;
        observed.count += 1;
    }

    pub fn shown(&self) -> Shown {
        let mut observed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = Duration::from_secs(SUMMARY_AGE_S);
        while observed.last.front().is_some_and(|(at, _)| at.is_some_and(|at| at.elapsed() > age)) {
            observed.last.pop_front();
        }
        let mut values: Vec<f64> = observed.last.iter().map(|(_, value)| *value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let quantile = |q: f64| match values.len() {
            0 => f64::NAN,
            n => values[((n as f64 * q).ceil() as usize).clamp(1, n) - 1],
        };
        Shown {
            quantiles: [("0.5", quantile(0.5)), ("0.9", quantile(0.9)), ("0.99", quantile(0.99))],
            sum: observed.sum,
            count: observed.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_its_bounds_are_inclusive() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.observe(value);
        }
        let shown: Vec<_> = histogram.cumulative().collect();
        assert_eq!(shown, [(1.0, 2), (2.0, 3), (f64::INFINITY, 4)]);
        assert_eq!((histogram.sum(), histogram.count()), (12.0, 4));
    }

    #[test]
    fn a_summary_forgets_old_values_and_keeps_the_sum() {
        let summary = Summary::default();
        assert!(summary.shown().quantiles[0].1.is_nan());
        for value in 0..1_000 {
            summary.observe(f64::from(value));
        }
        let shown = summary.shown();
        assert_eq!((shown.sum, shown.count), (499_500.0, 1_000));
        assert_eq!(shown.quantiles[0].1, 743.0);
    }

    #[test]
    fn a_gauge_falls_when_the_guard_goes() {
        let gauge = Gauge::default();
        let guard = gauge.raise();
        assert_eq!(gauge.get(), 1);
        drop(guard);
        assert_eq!(gauge.get(), 0);
    }
}
