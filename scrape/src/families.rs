//! The metric families of scraping and discovery, with the names and help texts that dashboards and
//! alerts for Prometheus know. Quantiles are not computed: sums and counts are.

use crate::counters::{Counter, DiscoveryCounters, ScrapeCounters, labelled, single, summaries, summary};
use crate::pool::PoolView;
use crate::status::{Family, FamilyKind, Point};
use std::collections::BTreeMap;
use std::sync::Arc;

type Views = BTreeMap<Arc<str>, Arc<PoolView>>;

/// Everything, in no particular order.
pub fn all(scrape: &ScrapeCounters, discovery: &DiscoveryCounters, views: &Views) -> Vec<Family> {
    let mut out = of_scrapes(scrape);
    out.extend(of_pools(scrape, views));
    out.extend(of_each_pool(views));
    out.extend(of_discovery(discovery, views));
    out
}

fn counter(name: &'static str, help: &'static str, value: &Counter) -> Family {
    single(name, help, FamilyKind::Counter, value.get() as f64)
}

fn of_scrapes(scrape: &ScrapeCounters) -> Vec<Family> {
    let intervals = scrape.intervals();
    let rows = intervals.iter().map(|(ms, durations)| (hearth_model::duration_text(*ms), &**durations));
    vec![
        counter(
            "prometheus_target_scrapes_exceeded_sample_limit_total",
            "Total number of scrapes that hit the sample limit and were rejected.",
            &scrape.sample_limit,
        ),
        counter(
            "prometheus_target_scrapes_exceeded_native_histogram_bucket_limit_total",
            "Total number of scrapes that hit the native histogram bucket limit and were rejected.",
            &scrape.bucket_limit,
        ),
        counter(
            "prometheus_target_scrapes_exceeded_body_size_limit_total",
            "Total number of scrapes that hit the body size limit",
            &scrape.body_limit,
        ),
        counter(
            "prometheus_target_scrapes_sample_duplicate_timestamp_total",
            "Total number of samples rejected due to duplicate timestamps but different values.",
            &scrape.duplicate,
        ),
        counter(
            "prometheus_target_scrapes_sample_out_of_order_total",
            "Total number of samples rejected due to not being out of the expected order.",
            &scrape.out_of_order,
        ),
        counter(
            "prometheus_target_scrapes_sample_out_of_bounds_total",
            "Total number of samples rejected due to timestamp falling outside of the time bounds.",
            &scrape.out_of_bounds,
        ),
        counter(
            "prometheus_target_scrapes_exemplar_out_of_order_total",
            "Total number of exemplar rejected due to not being out of the expected order.",
            &scrape.exemplar_out_of_order,
        ),
        counter(
            "prometheus_target_scrapes_cache_flush_forced_total",
            "How many times a scrape cache was flushed due to getting big while scrapes are failing.",
            &scrape.cache_flushes,
        ),
        counter(
            "hearth_target_scrapes_sample_refused_total",
            "Total number of samples that the storage refused for invalid labels or a series limit.",
            &scrape.refused_otherwise,
        ),
        counter(
            "hearth_target_scrape_append_failures_total",
            "Total number of scrapes whose samples the storage did not take.",
            &scrape.append_failures,
        ),
        summaries(
            "prometheus_target_interval_length_seconds",
            "Actual intervals between scrapes.",
            "interval",
            rows,
        ),
    ]
}

fn of_pools(scrape: &ScrapeCounters, views: &Views) -> Vec<Family> {
    let sync_lengths = views.iter().map(|(n, view)| (n.to_string(), &view.counters.sync_length));
    vec![
        counter(
            "prometheus_target_scrape_pools_total",
            "Total number of scrape pool creation attempts.",
            &scrape.pools,
        ),
        counter(
            "prometheus_target_scrape_pools_failed_total",
            "Total number of scrape pool creations that failed.",
            &Counter::default(),
        ),
        counter(
            "prometheus_target_scrape_pool_reloads_total",
            "Total number of scrape pool reloads.",
            &scrape.pool_reloads,
        ),
        counter(
            "prometheus_target_scrape_pool_reloads_failed_total",
            "Total number of failed scrape pool reloads.",
            &Counter::default(),
        ),
        counter(
            "prometheus_target_scrape_pool_exceeded_target_limit_total",
            "Total number of times scrape pools hit the target limit, during sync or config reload.",
            &scrape.target_limit,
        ),
        counter(
            "prometheus_target_scrape_pool_exceeded_label_limits_total",
            "Total number of times scrape pools hit the label limits, during sync or config reload.",
            &scrape.label_limits,
        ),
        summary(
            "hearth_target_apply_length_seconds",
            "Time to apply a new scrape configuration.",
            &scrape.reload,
        ),
        summaries(
            "prometheus_target_sync_length_seconds",
            "Actual interval to sync the scrape pool.",
            "scrape_job",
            sync_lengths,
        ),
    ]
}

/// One sample a pool each.
fn of_each_pool(views: &Views) -> Vec<Family> {
    let per_pool = |name, help, kind, value: &dyn Fn(&PoolView) -> f64| {
        labelled(name, help, kind, "scrape_job", views.iter().map(|(n, view)| (n.to_string(), value(view))))
    };
    vec![
        per_pool(
            "prometheus_target_scrape_pool_sync_total",
            "Total number of syncs that were executed on a scrape pool.",
            FamilyKind::Counter,
            &|view| view.counters.syncs.get() as f64,
        ),
        per_pool(
            "prometheus_target_sync_failed_total",
            "Total number of target sync failures.",
            FamilyKind::Counter,
            &|view| view.counters.sync_failures.get() as f64,
        ),
        per_pool(
            "prometheus_target_scrape_pool_targets",
            "Current number of targets in this scrape pool.",
            FamilyKind::Gauge,
            &|view| view.active_count() as f64,
        ),
        per_pool(
            "prometheus_target_scrape_pool_target_limit",
            "Maximum number of targets allowed in this scrape pool.",
            FamilyKind::Gauge,
            &|view| view.target_limit() as f64,
        ),
        per_pool(
            "prometheus_target_metadata_cache_entries",
            "Total number of metric metadata entries in the cache",
            FamilyKind::Gauge,
            &|view| view.metadata_size().0 as f64,
        ),
        per_pool(
            "prometheus_target_metadata_cache_bytes",
            "The number of bytes that are currently used for storing metric metadata in the cache",
            FamilyKind::Gauge,
            &|view| view.metadata_size().1 as f64,
        ),
    ]
}

fn of_discovery(discovery: &DiscoveryCounters, views: &Views) -> Vec<Family> {
    let of_scrape = |name, help, kind, value: f64| {
        labelled(name, help, kind, "name", std::iter::once(("scrape".to_owned(), value)))
    };
    let mut discovered = labelled(
        "prometheus_sd_discovered_targets",
        "Current number of discovered targets.",
        FamilyKind::Gauge,
        "config",
        views.iter().map(|(n, view)| (n.to_string(), view.discovered_count() as f64)),
    );
    for point in &mut discovered.points {
        point.labels.push(("name", "scrape".to_owned()));
    }
    let mut out = vec![
        discovered,
        of_scrape(
            "prometheus_sd_failed_configs",
            "Current number of service discovery configurations that failed to load.",
            FamilyKind::Gauge,
            0.0,
        ),
        of_scrape(
            "prometheus_sd_received_updates_total",
            "Total number of update events received from the SD providers.",
            FamilyKind::Counter,
            discovery.updates_received.get() as f64,
        ),
        of_scrape(
            "prometheus_sd_updates_total",
            "Total number of update events sent to the SD consumers.",
            FamilyKind::Counter,
            discovery.updates_applied.get() as f64,
        ),
        of_scrape(
            "prometheus_sd_updates_delayed_total",
            "Total number of update events that couldn't be sent immediately.",
            FamilyKind::Counter,
            discovery.updates_delayed.get() as f64,
        ),
        counter(
            "hearth_sd_kept_sets_used_total",
            "Target sets of the last run that stood in for a discovery that did not answer at the start.",
            &discovery.kept_used,
        ),
        counter(
            "hearth_sd_updates_refused_total",
            "Updates of a discovery that were larger than a limit.",
            &discovery.refused,
        ),
    ];
    out.extend(of_refreshes(discovery));
    out.extend(discovery.tallies().map(|(name, help, value)| counter(name, help, value)));
    out.extend(of_mechanisms(discovery));
    out
}

/// What every mechanism that polls counts, by the job that polls; of several jobs with the same section it is the first.
fn of_refreshes(discovery: &DiscoveryCounters) -> [Family; 2] {
    let mut failures = Family {
        name: "prometheus_sd_refresh_failures_total",
        help: "Number of refresh failures for the given SD mechanism.",
        kind: FamilyKind::Counter,
        points: Vec::new(),
    };
    let mut lengths = Family {
        name: "prometheus_sd_refresh_duration_seconds",
        help: "The duration of a refresh in seconds for the given SD mechanism.",
        kind: FamilyKind::Summary,
        points: Vec::new(),
    };
    for (mechanism, config, counted) in discovery.all_refreshes() {
        let labels = vec![("config", config.to_string()), ("mechanism", mechanism.to_owned())];
        lengths.points.extend(counted.length.points(&labels));
        failures.points.push(Point { suffix: "", labels, value: counted.failures.get() as f64 });
    }
    [failures, lengths]
}

/// What some mechanisms count with labels or durations.
fn of_mechanisms(discovery: &DiscoveryCounters) -> Vec<Family> {
    let roles = ["endpoints", "endpointslice", "ingress", "node", "pod", "service"];
    let events = roles.iter().flat_map(|role| ["add", "delete", "update"].map(|event| (*role, event)));
    let event = |(role, event)| Point {
        suffix: "",
        labels: vec![("event", String::from(event)), ("role", String::from(role))],
        value: discovery.kubernetes_events(role, event) as f64,
    };
    vec![
        Family {
            name: "prometheus_sd_kubernetes_events_total",
            help: "The number of Kubernetes events handled.",
            kind: FamilyKind::Counter,
            points: events.map(event).collect(),
        },
        summary(
            "prometheus_sd_consul_rpc_duration_seconds",
            "The duration of a Consul RPC call in seconds.",
            &discovery.consul_requests,
        ),
        summary(
            "prometheus_sd_kuma_fetch_duration_seconds",
            "The duration of a Kuma MADS fetch call.",
            &discovery.kuma_fetches,
        ),
        counter(
            "prometheus_sd_file_read_errors_total",
            "The number of File-SD read errors.",
            &discovery.file_read_errors,
        ),
        counter(
            "prometheus_sd_file_watcher_errors_total",
            "The number of File-SD errors caused by filesystem watch failures.",
            &discovery.file_watcher_errors,
        ),
        summary(
            "prometheus_sd_file_scan_duration_seconds",
            "The duration of the File-SD scan in seconds.",
            &discovery.file_scan,
        ),
    ]
}
