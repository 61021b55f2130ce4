//! Counters of the crate, and their printing as metric families. Relaxed atomics: each stands alone.

use crate::status::{Family, FamilyKind, Point};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Count and sum of durations.
#[derive(Debug, Default)]
pub struct Durations {
    count: Counter,
    micros: Counter,
}

impl Durations {
    pub fn observe(&self, seconds: f64) {
        self.count.add(1);
        self.micros.add((seconds * 1e6).max(0.0) as u64);
    }

    fn points(&self, labels: &[(&'static str, String)]) -> [Point; 2] {
        let point = |suffix, value| Point { suffix, labels: labels.to_vec(), value };
        [point("_sum", self.micros.get() as f64 / 1e6), point("_count", self.count.get() as f64)]
    }
}

/// Of all file discovery.
#[derive(Debug, Default)]
pub struct DiscoveryCounters {
    pub file_read_errors: Counter,
    pub file_watcher_errors: Counter,
    pub file_scan: Durations,
    pub updates_received: Counter,
    pub updates_applied: Counter,
}

/// Of all scraping.
#[derive(Debug, Default)]
pub struct ScrapeCounters {
    pub pools: Counter,
    pub pool_reloads: Counter,
    pub sample_limit: Counter,
    pub bucket_limit: Counter,
    pub body_limit: Counter,
    pub exemplar_out_of_order: Counter,
    pub label_limits: Counter,
    pub target_limit: Counter,
    pub duplicate: Counter,
    pub out_of_order: Counter,
    pub out_of_bounds: Counter,
    pub cache_flushes: Counter,
    /// Samples that the store refused for another reason: invalid labels, a series limit.
    pub refused_otherwise: Counter,
    /// Whole scrapes that the store did not take.
    pub append_failures: Counter,
    pub reload: Durations,
    /// True time between two scrapes of a target, by configured interval in milliseconds.
    intervals: Mutex<BTreeMap<i64, Arc<Durations>>>,
}

impl ScrapeCounters {
    pub fn interval(&self, interval_ms: i64) -> Arc<Durations> {
        let mut map = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(map.entry(interval_ms).or_default())
    }

    pub fn intervals(&self) -> Vec<(i64, Arc<Durations>)> {
        let map = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter().map(|(ms, durations)| (*ms, Arc::clone(durations))).collect()
    }
}

/// Of one pool.
#[derive(Debug, Default)]
pub struct PoolCounters {
    pub syncs: Counter,
    pub sync_failures: Counter,
    pub sync_length: Durations,
}

/// A counter or gauge without labels.
pub fn single(name: &'static str, help: &'static str, kind: FamilyKind, value: f64) -> Family {
    Family { name, help, kind, points: vec![Point { suffix: "", labels: Vec::new(), value }] }
}

/// Count and sum.
pub fn summary(name: &'static str, help: &'static str, durations: &Durations) -> Family {
    Family { name, help, kind: FamilyKind::Summary, points: durations.points(&[]).to_vec() }
}

/// Count and sum for each value of one label.
pub fn summaries<'a>(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    rows: impl Iterator<Item = (String, &'a Durations)>,
) -> Family {
    let points = rows.flat_map(|(value, durations)| durations.points(&[(label, value)])).collect();
    Family { name, help, kind: FamilyKind::Summary, points }
}

/// One value for each value of one label.
pub fn labelled(
    name: &'static str,
    help: &'static str,
    kind: FamilyKind,
    label: &'static str,
    rows: impl Iterator<Item = (String, f64)>,
) -> Family {
    let points = rows.map(|(text, value)| Point { suffix: "", labels: vec![(label, text)], value }).collect();
    Family { name, help, kind, points }
}
