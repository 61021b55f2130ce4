//! The query engine's metrics: Prometheus' names for what Prometheus counts too, `hearth_query_` for the
//! cache of results and the memory of queries.

use super::instrument::{Counter, Gauge, Histogram, Summary};
use super::page::Family;
use hearth_model::context::Budget;
use hearth_promql::cache::CacheFigures;
use hearth_promql::query::QueryStats;
use hearth_wire::MetricType;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const DURATION_BOUNDS_S: &[f64] = &[0.01, 0.1, 1.0, 10.0];

/// One part of a query's way, as both kinds of metric.
struct Slice {
    summary: Summary,
    histogram: Mutex<Histogram>,
}

impl Default for Slice {
    fn default() -> Self {
        Slice { summary: Summary::default(), histogram: Mutex::new(Histogram::new(DURATION_BOUNDS_S)) }
    }
}

impl Slice {
    fn observe(&self, duration: Duration) {
        self.summary.observe(duration.as_secs_f64());
        let mut histogram = self.histogram.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.observe(duration.as_secs_f64());
    }
}

/// What is counted as queries end.
#[derive(Default)]
pub struct Queries {
    pub running: Gauge,
    pub log_enabled: Gauge,
    pub log_failures: Counter,
    samples: Counter,
    samples_read: Counter,
    queue_time: Slice,
    prepare_time: Slice,
    eval_time: Slice,
    sort_time: Slice,
}

impl Queries {
    pub fn observe(&self, stats: &QueryStats) {
        self.samples.add(stats.total_samples);
        self.samples_read.add(stats.samples_read);
        self.queue_time.observe(stats.queue_time);
        self.prepare_time.observe(stats.prepare_time);
        self.eval_time.observe(stats.eval_time);
        self.sort_time.observe(stats.sort_time);
    }

    pub(super) fn families(&self, max_concurrent_queries: usize) -> Vec<Family> {
        let mut summaries =
            Family::new("prometheus_engine_query_duration_seconds", MetricType::Summary, "Query timings");
        let mut histograms = Family::new(
            "prometheus_engine_query_duration_histogram_seconds",
            MetricType::Histogram,
            "Histogram of query timings.",
        );
        for (name, slice) in [
            ("inner_eval", &self.eval_time),
            ("prepare_time", &self.prepare_time),
            ("queue_time", &self.queue_time),
            ("result_sort", &self.sort_time),
        ] {
            summaries.summary(&[("slice", name)], &slice.summary);
            let histogram = slice.histogram.lock().unwrap_or_else(PoisonError::into_inner);
            histograms.histogram(&[("slice", name)], &histogram);
        }
        vec![
            Family::gauge(
                "prometheus_engine_queries",
                "The current number of queries being executed or waiting.",
                self.running.get() as f64,
            ),
            Family::gauge(
                "prometheus_engine_queries_concurrent_max",
                "The max number of concurrent queries.",
                max_concurrent_queries as f64,
            ),
            summaries,
            histograms,
            Family::gauge(
                "prometheus_engine_query_log_enabled",
                "State of the query log.",
                self.log_enabled.get() as f64,
            ),
            Family::counter(
                "prometheus_engine_query_log_failures_total",
                "The number of query log failures.",
                self.log_failures.get(),
            ),
            Family::counter(
                "prometheus_engine_query_samples_total",
                "The total number of samples loaded by all queries.",
                self.samples.get(),
            ),
            Family::counter(
                "prometheus_engine_query_samples_read_total",
                "The total number of samples read from storage by all queries, each once a query.",
                self.samples_read.get(),
            ),
        ]
    }
}

/// What all queries together hold.
pub fn memory(budget: &Budget) -> Vec<Family> {
    vec![
        Family::gauge(
            "hearth_query_memory_bytes",
            "Memory that all queries and kept results hold.",
            budget.used_bytes() as f64,
        ),
        Family::gauge(
            "hearth_query_memory_peak_bytes",
            "The most that all queries and kept results held at one time.",
            budget.peak_bytes() as f64,
        ),
        Family::gauge(
            "hearth_query_memory_limit_bytes",
            "The most that all queries and kept results may hold.",
            budget.limit_bytes() as f64,
        ),
    ]
}

/// The cache of range queries' results.
pub fn cache(figures: &CacheFigures) -> Vec<Family> {
    vec![
        Family::counter(
            "hearth_query_cache_hits_total",
            "Range queries answered from kept results alone.",
            figures.hits,
        ),
        Family::counter(
            "hearth_query_cache_partial_hits_total",
            "Range queries answered from kept results and computed steps.",
            figures.partial,
        ),
        Family::counter(
            "hearth_query_cache_misses_total",
            "Range queries computed whole because nothing was kept that still holds.",
            figures.misses,
        ),
        Family::counter(
            "hearth_query_cache_uncacheable_total",
            "Range queries computed whole because no result of theirs can be kept.",
            figures.uncacheable,
        ),
        Family::counter(
            "hearth_query_cache_evictions_total",
            "Kept results dropped to make room.",
            figures.evictions,
        ),
        Family::gauge("hearth_query_cache_extents", "Kept results.", figures.extents as f64),
        Family::gauge("hearth_query_cache_bytes", "Memory of kept results.", figures.bytes as f64),
        Family::gauge(
            "hearth_query_cache_limit_bytes",
            "The most memory that kept results may take.",
            figures.limit_bytes as f64,
        ),
    ]
}
