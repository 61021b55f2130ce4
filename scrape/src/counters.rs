//! Counters of the crate, and their printing as metric families. Relaxed atomics: each stands alone.

use crate::status::{Family, FamilyKind, Point};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

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

    pub fn points(&self, labels: &[(&'static str, String)]) -> [Point; 2] {
        let point = |suffix, value| Point { suffix, labels: labels.to_vec(), value };
        [point("_sum", self.micros.get() as f64 / 1e6), point("_count", self.count.get() as f64)]
    }
}

type MechanismOfJob = (&'static str, Arc<str>);

/// Of all discovery.
#[derive(Debug, Default)]
pub struct DiscoveryCounters {
    pub file_read_errors: Counter,
    pub file_watcher_errors: Counter,
    pub file_scan: Durations,
    pub updates_received: Counter,
    pub updates_applied: Counter,
    pub updates_delayed: Counter,
    /// Sets of the last run that stood in for a discovery that did not answer.
    pub kept_used: Counter,
    /// Updates that were larger than a limit.
    pub refused: Counter,
    pub consul_requests: Durations,
    pub kuma_fetches: Durations,
    tallies: [Counter; TALLIES.len()],
    /// As long as somebody counts.
    refreshes: Mutex<BTreeMap<MechanismOfJob, Weak<Refreshes>>>,
    kubernetes_events: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

/// Of all polling by one mechanism for one job.
#[derive(Debug, Default)]
pub struct Refreshes {
    pub failures: Counter,
    pub length: Durations,
}

/// What some mechanisms count on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tally {
    DnsLookups,
    DnsLookupFailures,
    HttpFailures,
    KubernetesFailures,
    ConsulFailures,
    LinodeFailures,
    NomadFailures,
    KumaFailures,
    KumaSkipped,
    AzureFailures,
    AzureCacheHits,
    ZookeeperFailures,
}

/// Names and help texts, in the order of [`Tally`].
pub const TALLIES: &[(&str, &str)] = &[
    ("prometheus_sd_dns_lookups_total", "The number of DNS-SD lookups."),
    ("prometheus_sd_dns_lookup_failures_total", "The number of DNS-SD lookup failures."),
    ("prometheus_sd_http_failures_total", "Number of HTTP service discovery refresh failures."),
    ("prometheus_sd_kubernetes_failures_total", "The number of failed WATCH/LIST requests."),
    ("prometheus_sd_consul_rpc_failures_total", "The number of Consul RPC call failures."),
    ("prometheus_sd_linode_failures_total", "Number of Linode service discovery refresh failures."),
    ("prometheus_sd_nomad_failures_total", "Number of nomad service discovery refresh failures."),
    ("prometheus_sd_kuma_fetch_failures_total", "The number of Kuma MADS fetch call failures."),
    (
        "prometheus_sd_kuma_fetch_skipped_updates_total",
        "The number of Kuma MADS fetch calls that result in no updates to the targets.",
    ),
    ("prometheus_sd_azure_failures_total", "Number of Azure service discovery refresh failures."),
    ("prometheus_sd_azure_cache_hit_total", "Number of cache hits during refresh."),
    ("prometheus_treecache_zookeeper_failures_total", "The total number of ZooKeeper failures."),
];

impl DiscoveryCounters {
    pub fn tally(&self, what: Tally) -> &Counter {
        &self.tallies[what as usize]
    }

    pub fn tallies(&self) -> impl Iterator<Item = (&'static str, &'static str, &Counter)> {
        TALLIES.iter().zip(&self.tallies).map(|((name, help), counter)| (*name, *help, counter))
    }

    pub fn refreshes(&self, mechanism: &'static str, config: &Arc<str>) -> Arc<Refreshes> {
        let mut map = self.refreshes.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = map.entry((mechanism, Arc::clone(config))).or_default();
        counted.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *counted = Arc::downgrade(&new);
            new
        })
    }

    /// Mechanism, job and figures of all that still count.
    pub fn all_refreshes(&self) -> Vec<(&'static str, Arc<str>, Arc<Refreshes>)> {
        let mut map = self.refreshes.lock().unwrap_or_else(PoisonError::into_inner);
        map.retain(|_, counted| counted.strong_count() > 0);
        let counted = map.iter().filter_map(|((mechanism, config), counted)| {
            Some((*mechanism, Arc::clone(config), counted.upgrade()?))
        });
        counted.collect()
    }

    pub fn kubernetes_event(&self, role: &'static str, event: &'static str) {
        let mut map = self.kubernetes_events.lock().unwrap_or_else(PoisonError::into_inner);
        *map.entry((role, event)).or_default() += 1;
    }

    pub fn kubernetes_events(&self, role: &'static str, event: &'static str) -> u64 {
        let map = self.kubernetes_events.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&(role, event)).copied().unwrap_or_default()
    }
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
