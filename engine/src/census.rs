//! How many series there are, over all shards, against what an operator allows: in all, of a metric, of a
//! job, new within an hour; and what a new series' labels may look like. Asked only when a series is new.

use crate::config::Limits;
use ahash::AHashMap;
use hearth_model::Labels;
use hearth_model::batch::Refusal;
use hearth_model::label::METRIC_NAME;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Tables by a part of the hash, so that shards seldom wait for each other.
const TABLES: usize = 64;
const JOB: &str = "job";

/// See the module's head.
#[derive(Debug)]
pub struct Census {
    limits: Limits,
    series: AtomicU64,
    /// New ones within the last hour.
    recent: AtomicU64,
    /// Series by the hash of a metric's or a job's name: two that share a hash share a count, which is not
    /// expected.
    tables: Box<[Mutex<AHashMap<u64, u64>>]>,
    hasher: ahash::RandomState,
}

/// Without limits.
impl Default for Census {
    fn default() -> Census {
        Census::new(Limits::default())
    }
}

impl Census {
    pub fn new(limits: Limits) -> Census {
        Census {
            limits,
            series: AtomicU64::new(0),
            recent: AtomicU64::new(0),
            tables: (0..TABLES).map(|_| Mutex::default()).collect(),
            hasher: ahash::RandomState::new(),
        }
    }

    /// Whether the names of metrics and jobs are counted.
    pub fn counts_names(&self) -> bool {
        self.limits.series_per_metric > 0 || self.limits.series_per_job > 0
    }

    /// What keeps these labels from being a series at all.
    fn fits(&self, labels: &[(&str, &str)]) -> Result<(), Refusal> {
        let over = |limit: usize, length: usize| limit > 0 && length > limit;
        if over(self.limits.labels, labels.len()) {
            return Err(Refusal::LabelCountLimit);
        }
        if labels.iter().any(|(name, _)| over(self.limits.label_name_bytes, name.len())) {
            return Err(Refusal::LabelNameLimit);
        }
        if labels.iter().any(|(_, value)| over(self.limits.label_value_bytes, value.len())) {
            return Err(Refusal::LabelValueLimit);
        }
        Ok(())
    }

    /// Counts a new series, or tells which limit it would break.
    pub fn admit(&self, labels: &[(&str, &str)]) -> Result<(), Refusal> {
        self.fits(labels)?;
        let takes = |count: &AtomicU64, limit: u64| {
            let taken = limit == 0 || count.load(Relaxed) < limit;
            let before = if taken { count.fetch_add(1, Relaxed) } else { limit };
            if taken && limit > 0 && before >= limit {
                // Another shard was faster.
                count.fetch_sub(1, Relaxed);
                return false;
            }
            taken
        };
        if !takes(&self.recent, self.limits.new_series_per_hour) {
            return Err(Refusal::NewSeriesLimit);
        }
        if !takes(&self.series, self.limits.series) {
            self.recent.fetch_sub(1, Relaxed);
            return Err(Refusal::SeriesLimit);
        }
        let named = self.admit_named(labels);
        if named.is_err() {
            self.recent.fetch_sub(1, Relaxed);
            self.series.fetch_sub(1, Relaxed);
        }
        named
    }

    fn admit_named(&self, labels: &[(&str, &str)]) -> Result<(), Refusal> {
        let value = |name: &str| labels.iter().find(|label| label.0 == name).map(|label| label.1);
        if !self.change(METRIC_NAME, value(METRIC_NAME), self.limits.series_per_metric, 1) {
            return Err(Refusal::MetricSeriesLimit);
        }
        if !self.change(JOB, value(JOB), self.limits.series_per_job, 1) {
            self.change(METRIC_NAME, value(METRIC_NAME), self.limits.series_per_metric, -1);
            return Err(Refusal::JobSeriesLimit);
        }
        Ok(())
    }

    /// Changes the count of a label's value, where it is limited; `false` where that would break the limit.
    fn change(&self, name: &str, value: Option<&str>, limit: u64, by: i64) -> bool {
        let Some(value) = value.filter(|_| limit > 0) else { return true };
        let hash = self.hasher.hash_one((name, value));
        // Every change is complete at each step.
        let mut table = self.tables[hash as usize % TABLES].lock().unwrap_or_else(PoisonError::into_inner);
        let count = table.get(&hash).copied().unwrap_or(0);
        if by > 0 && count >= limit {
            return false;
        }
        match count.saturating_add_signed(by) {
            0 => table.remove(&hash),
            count => table.insert(hash, count),
        };
        true
    }

    /// Counts a series that was there before the start, whatever the limits say.
    pub fn add(&self, labels: &Labels) {
        self.series.fetch_add(1, Relaxed);
        self.add_named(labels, METRIC_NAME, self.limits.series_per_metric);
        self.add_named(labels, JOB, self.limits.series_per_job);
    }

    fn add_named(&self, labels: &Labels, name: &str, limit: u64) {
        let Some(value) = labels.get(name).filter(|_| limit > 0) else { return };
        let hash = self.hasher.hash_one((name, value));
        let mut table = self.tables[hash as usize % TABLES].lock().unwrap_or_else(PoisonError::into_inner);
        *table.entry(hash).or_default() += 1;
    }

    /// A series ended. Its labels matter where [`Census::counts_names`] only.
    pub fn remove(&self, labels: &Labels) {
        self.series.fetch_sub(1, Relaxed);
        self.change(METRIC_NAME, labels.get(METRIC_NAME), self.limits.series_per_metric, -1);
        self.change(JOB, labels.get(JOB), self.limits.series_per_job, -1);
    }

    /// So many series are not new any more.
    pub fn grew_old(&self, count: u64) {
        self.recent.fetch_sub(count, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        Labels::from_pairs(text.split(' ').map(|pair| pair.split_once('=').expect("name=value")))
    }

    /// Admits one after the other; what each is told.
    #[track_caller]
    fn check(limits: Limits, series: &[&str], expect: &[Result<(), Refusal>]) {
        let census = Census::new(limits);
        let told: Vec<_> =
            series.iter().map(|text| census.admit(&labels(text).iter().collect::<Vec<_>>())).collect();
        assert_eq!(told, expect);
        // What was refused left nothing behind: all that was taken can go, and come again.
        let taken = || series.iter().zip(&told).filter(|(_, told)| told.is_ok());
        for (text, _) in taken() {
            census.remove(&labels(text));
        }
        census.grew_old(taken().count() as u64);
        let counts = (census.series.load(Relaxed), census.recent.load(Relaxed));
        assert_eq!(counts, (0, 0));
        assert!(census.tables.iter().all(|table| table.lock().expect("not poisoned").is_empty()));
    }

    #[test]
    fn each_limit_refuses_by_its_name() {
        let none = Limits::default();
        let series = ["__name__=a job=x", "__name__=a job=y", "__name__=b job=x", "__name__=b job=yy zone=1"];
        check(none, &series, &[Ok(()); 4]);
        let of = |limits, refused: [Option<Refusal>; 4]| {
            check(limits, &series, &refused.map(|refused| refused.map_or(Ok(()), Err)));
        };
        let limit = Some(Refusal::SeriesLimit);
        of(Limits { series: 2, ..none }, [None, None, limit, limit]);
        let limit = Some(Refusal::NewSeriesLimit);
        of(Limits { new_series_per_hour: 3, series: 3, ..none }, [None, None, None, limit]);
        let limit = Some(Refusal::MetricSeriesLimit);
        of(Limits { series_per_metric: 1, ..none }, [None, limit, None, limit]);
        let limit = Some(Refusal::JobSeriesLimit);
        of(Limits { series_per_job: 1, series_per_metric: 2, ..none }, [None, None, limit, None]);
        let limit = Some(Refusal::LabelCountLimit);
        of(Limits { labels: 2, ..none }, [None, None, None, limit]);
        let limit = Some(Refusal::LabelNameLimit);
        of(Limits { label_name_bytes: 7, ..none }, [limit; 4]);
        let limit = Some(Refusal::LabelValueLimit);
        of(Limits { label_value_bytes: 1, ..none }, [None, None, None, limit]);
    }

    /// However many shards ask at once, no more get in than may.
    #[test]
    fn no_two_get_the_last_place() {
        let census = Census::new(Limits { series: 100, series_per_metric: 90, ..Limits::default() });
        let admitted: u64 = std::thread::scope(|scope| {
            let work = |_| {
                scope.spawn(|| (0..100).filter(|_| census.admit(&[("__name__", "a")]).is_ok()).count() as u64)
            };
            let threads: Vec<_> = (0..4).map(work).collect();
            threads.into_iter().map(|t| t.join().expect("ends")).sum()
        });
        assert_eq!((admitted, census.series.load(Relaxed)), (90, 90));
    }
}
