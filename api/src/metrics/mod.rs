//! The server's own metrics, under the names that Prometheus' dashboards and alerts use. What is counted
//! here is what the HTTP layer sees; the store, the scraper and the process are asked when `/metrics` is
//! read. A name without meaning in this server is left out, never set to a made-up value.

mod instrument;
mod page;
pub mod process;
pub mod queries;
mod requests;
mod store;

pub use instrument::{Counter, Gauge, Raised, Summary};
pub use page::show;
pub use requests::Requests;

use crate::replicas::Replicas;
use page::Family;
use queries::Queries;

/// Everything that is counted as it happens.
#[derive(Default)]
pub struct Metrics {
    pub requests: Requests,
    pub queries: Queries,
    pub invalid_label_samples: Counter,
    pub connections_accepted: Counter,
    pub connections_closed: Counter,
    page_requests: Counter,
    page_requests_running: Gauge,
}

impl Metrics {
    fn families(&self) -> Vec<Family> {
        vec![
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

/// What the choice among replicas came to.
fn of_replicas(replicas: &Replicas) -> Vec<Family> {
    vec![
        Family::gauge(
            "hearth_replicas_clusters",
            "Clusters that have a replica whose writes are stored.",
            replicas.followed() as f64,
        ),
        Family::counter(
            "hearth_replicas_elections_total",
            "How often a replica was chosen, the first time included.",
            replicas.elections.get(),
        ),
        Family::counter(
            "hearth_replicas_dropped_samples_total",
            "Samples of replicas that were not chosen.",
            replicas.dropped.get(),
        ),
        Family::counter(
            "hearth_replicas_refused_samples_total",
            "Samples of clusters beyond the limit.",
            replicas.refused.get(),
        ),
    ]
}
