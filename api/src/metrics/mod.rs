//! The server's own metrics, under the names that Prometheus' dashboards and alerts use. What is counted
//! here is what the HTTP layer sees; the store, the scraper and the process are asked when `/metrics` is
//! read. A name without meaning in this server is left out, never set to a made-up value.

mod instrument;
mod page;
pub mod process;
mod requests;
mod store;

pub use instrument::{Counter, Gauge, Raised, Summary};
pub use page::show;
pub use requests::Requests;

use hearth_promql::query::QueryStats;
use hearth_wire::MetricType;
use page::Family;

/// Everything that is counted as it happens.
#[derive(Default)]
pub struct Metrics {
    pub requests: Requests,
    pub queries_running: Gauge,
    pub query_samples: Counter,
    pub invalid_label_samples: Counter,
    pub connections_accepted: Counter,
    pub connections_closed: Counter,
    queue_time: Summary,
    prepare_time: Summary,
    eval_time: Summary,
    sort_time: Summary,
    page_requests: Counter,
    page_requests_running: Gauge,
}

impl Metrics {
    pub fn observe_query(&self, stats: &QueryStats) {
        self.query_samples.add(stats.total_samples);
        self.queue_time.observe(stats.queue_time.as_secs_f64());
        self.prepare_time.observe(stats.prepare_time.as_secs_f64());
        self.eval_time.observe(stats.eval_time.as_secs_f64());
        self.sort_time.observe(stats.sort_time.as_secs_f64());
    }

    fn families(&self, max_concurrent_queries: usize) -> Vec<Family> {
        let mut durations =
            Family::new("prometheus_engine_query_duration_seconds", MetricType::Summary, "Query timings");
        for (slice, summary) in [
            ("inner_eval", &self.eval_time),
            ("prepare_time", &self.prepare_time),
            ("queue_time", &self.queue_time),
            ("result_sort", &self.sort_time),
        ] {
            durations.summary(&[("slice", slice)], summary);
        }
        vec![
            Family::gauge(
                "prometheus_engine_queries",
                "The current number of queries being executed or waiting.",
                self.queries_running.get() as f64,
            ),
            Family::gauge(
                "prometheus_engine_queries_concurrent_max",
                "The max number of concurrent queries.",
                max_concurrent_queries as f64,
            ),
            durations,
            Family::counter(
                "prometheus_engine_query_samples_total",
                "The total number of samples loaded by all queries.",
                self.query_samples.get(),
            ),
            Family::counter(
                "prometheus_api_remote_write_invalid_labels_samples_total",
                "The total number of received remote write samples and histogram samples which were rejected due to invalid labels.",
                self.invalid_label_samples.get(),
            ),
            Family::counters(
                "net_conntrack_listener_conn_accepted_total",
                "Total number of connections opened to the listener.",
                "listener_name",
                &[("http", self.connections_accepted.get())],
            ),
            Family::counters(
                "net_conntrack_listener_conn_closed_total",
                "Total number of connections closed that were made to the listener.",
                "listener_name",
                &[("http", self.connections_closed.get())],
            ),
            Family::gauge(
                "promhttp_metric_handler_requests_in_flight",
                "Current number of scrapes being served.",
                self.page_requests_running.get() as f64,
            ),
            Family::counters(
                "promhttp_metric_handler_requests_total",
                "Total number of scrapes by HTTP status code.",
                "code",
                &[("200", self.page_requests.get())],
            ),
        ]
    }
}
