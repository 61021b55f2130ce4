//! From flags to what the parts of the server are started with. Every derived default is here.

use crate::config::Reading;
use crate::config::storage::StorageConfig;
use crate::flags::{Features, Flags};
use hearth_api::config::MAX_REPLICA_LABELS;
use hearth_api::{BuildInfo, Options, ReplicaOptions, WRITE_V1};
use hearth_engine::{Keeping, Limits};
use hearth_model::Ack;
use hearth_model::matcher::regex::Regex;
use hearth_promql::syntax::ParseOptions;
use hearth_scrape::config::{ByteSize, PromDuration};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The Prometheus release whose behaviour this server follows; clients choose what to use by it.
const PROMETHEUS_VERSION: &str = "3.14.0";

/// Part of the machine's memory that all queries together may hold.
const ALL_QUERIES_SHARE: u64 = 4;
/// Part of that which one query may hold, and which kept results may.
const ONE_QUERY_SHARE: usize = 2;
const KEPT_RESULTS_SHARE: usize = 4;

pub fn parse_options(features: &Features) -> ParseOptions {
    ParseOptions {
        experimental_functions: features.experimental_functions,
        extended_range_selectors: features.extended_range_selectors,
        fill_modifiers: features.fill_modifiers,
        ..ParseOptions::default()
    }
}

/// How configurations are read.
pub fn reading(flags: &Flags, features: &Features) -> Reading {
    Reading {
        push_job: flags.switch("push.enable").then(|| flags.text("push.job").to_owned()),
        parse: parse_options(features),
        rules_apart: false,
        native_histograms: features.native_histograms,
        extra_scrape_metrics: features.extra_scrape_metrics,
    }
}

pub fn build_info() -> BuildInfo {
    BuildInfo {
        version: PROMETHEUS_VERSION.to_owned(),
        revision: option_env!("HEARTH_REVISION").unwrap_or("unknown").to_owned(),
        branch: option_env!("HEARTH_BRANCH").unwrap_or("unknown").to_owned(),
        build_user: String::new(),
        build_date: option_env!("HEARTH_BUILD_DATE").unwrap_or("").to_owned(),
        go_version: String::new(),
        application: "Hearth".to_owned(),
        application_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// `hearth --version`
pub fn version_text() -> String {
    let build = build_info();
    format!(
        "hearth, version {} (revision: {})\n  follows:          Prometheus {}\n  platform:         {}/{}\n",
        build.application_version,
        build.revision,
        build.version,
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}

pub fn api_options(flags: &Flags, features: &Features, hostname: &str) -> Result<Options, String> {
    let origin = flags.text("web.cors.origin");
    let cors_origin = Regex::anchored(origin)
        .map_err(|error| format!("could not compile CORS regex string {origin:?}: {error}"))?;
    let external_url = external_url(flags, hostname)?;
    let all_queries_memory_bytes = all_queries_memory_bytes(flags);
    Ok(Options {
        page_title: flags.text("web.page-title").to_owned(),
        route_prefix: route_prefix(flags, &external_url),
        external_url,
        cors_origin,
        enable_lifecycle: flags.switch("web.enable-lifecycle"),
        enable_admin: flags.switch("web.enable-admin-api"),
        enable_remote_write: flags.switch("web.enable-remote-write-receiver"),
        enable_push_admin: flags.switch("push.enable-admin-api"),
        replicas: replicas(flags)?,
        replica_labels: replica_labels(flags)?,
        accepted_messages: messages(flags),
        ack: flags.text("storage.wal.ack").parse::<Ack>()?,
        query_timeout: flags.duration("query.timeout"),
        lookback: flags.duration("query.lookback-delta"),
        max_concurrent_queries: flags.count("query.max-concurrency"),
        query_memory_bytes: match flags.bytes("query.max-memory-per-query") {
            0 => all_queries_memory_bytes / ONE_QUERY_SHARE,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        },
        all_queries_memory_bytes,
        query_cache_recent: flags.duration("query.cache.recent"),
        per_step_stats: features.per_step_stats,
        parse_options: parse_options(features),
        read_timeout: flags.duration("web.read-timeout"),
        flags: flags.shown(),
        build: build_info(),
        started: jiff::Timestamp::now(),
        working_directory: std::env::current_dir().unwrap_or_default().display().to_string(),
        hostname: hostname.to_owned(),
    })
}

/// How replicas are told apart, where that is asked for.
fn replicas(flags: &Flags) -> Result<Option<ReplicaOptions>, String> {
    if !flags.switch("web.remote-write-receiver.deduplicate") {
        return Ok(None);
    }
    let label = |name: &str| match flags.text(name) {
        "" => Err(format!("--{name} must not be empty")),
        label => Ok(label.to_owned()),
    };
    let cluster_label = label("web.remote-write-receiver.cluster-label")?;
    let replica_label = label("web.remote-write-receiver.replica-label")?;
    if cluster_label == replica_label {
        return Err("the labels of a cluster and of its replicas must be two".into());
    }
    let failover = flags.duration("web.remote-write-receiver.failover-timeout");
    Ok(Some(ReplicaOptions { cluster_label, replica_label, failover }))
}

/// What queries see as one series, where they do not say otherwise.
fn replica_labels(flags: &Flags) -> Result<Arc<[String]>, String> {
    let labels = flags.texts("query.replica-label").iter().filter(|label| !label.is_empty());
    let labels: Arc<[String]> = labels.cloned().collect();
    match labels.len() > MAX_REPLICA_LABELS {
        true => Err(format!("--query.replica-label names more than {MAX_REPLICA_LABELS} labels")),
        false => Ok(labels),
    }
}

fn all_queries_memory_bytes(flags: &Flags) -> usize {
    let bytes = match flags.bytes("query.max-memory") {
        0 => hearth_engine::disk::memory_limit_bytes() / ALL_QUERIES_SHARE,
        bytes => bytes,
    };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Memory for kept results of range queries.
pub fn query_cache_bytes(flags: &Flags) -> usize {
    let asked = usize::try_from(flags.bytes("query.cache.size")).unwrap_or(usize::MAX);
    asked.min(all_queries_memory_bytes(flags) / KEPT_RESULTS_SHARE)
}

/// Remote-write messages asked for. Version 2 is not served yet: asking for it is no error, using it is.
fn messages(flags: &Flags) -> Vec<String> {
    let names = flags.texts("web.remote-write-receiver.accepted-protobuf-messages").iter();
    let names: Vec<String> = names.flat_map(|list| list.split(',')).map(str::to_owned).collect();
    if names.iter().any(|name| name != WRITE_V1) {
        tracing::warn!(
            flag = "--web.remote-write-receiver.accepted-protobuf-messages",
            "Only prometheus.WriteRequest is accepted: remote write 2.0 is not there yet"
        );
    }
    names
}

/// Where the server is reached, without a slash at the end.
fn external_url(flags: &Flags, hostname: &str) -> Result<String, String> {
    let given = flags.text("web.external-url");
    if given.starts_with(['"', '\'']) || given.ends_with(['"', '\'']) {
        return Err(format!("parse external URL {given:?}: URL must not begin or end with quotes"));
    }
    if given.is_empty() {
        let port = flags.text("web.listen-address").rsplit_once(':').map_or("9090", |(_, port)| port);
        return Ok(format!("http://{hostname}:{port}"));
    }
    let full = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    match full.parse::<axum::http::Uri>() {
        Ok(uri) if uri.host().is_some() => Ok(full.trim_end_matches('/').to_owned()),
        Ok(_) => Err(format!("parse external URL {given:?}: no host")),
        Err(error) => Err(format!("parse external URL {given:?}: {error}")),
    }
}

/// Empty, or a path that begins with a slash and does not end with one.
fn route_prefix(flags: &Flags, external_url: &str) -> String {
    let path = if flags.is_given("web.route-prefix") {
        flags.text("web.route-prefix").to_owned()
    } else {
        external_url.parse::<axum::http::Uri>().map_or(String::new(), |uri| uri.path().to_owned())
    };
    match path.trim_matches('/') {
        "" => String::new(),
        inner => format!("/{inner}"),
    }
}

/// How long, and how much, as `status/runtimeinfo` shows it.
pub fn retention_text(keeping: Keeping) -> String {
    let mut parts = Vec::new();
    if let Ok(ms) = i64::try_from(keeping.retention.as_millis()) {
        parts.push(PromDuration::from_ms(ms).to_string());
    }
    if keeping.retention_bytes > 0 {
        parts.push(ByteSize { bytes: keeping.retention_bytes }.to_string());
    }
    if keeping.retention_percent > 0.0 {
        parts.push(format!("{}%", keeping.retention_percent));
    }
    parts.join(" or ")
}

/// How long, how much and how late, by the configuration where it says something, else by flags.
pub fn keeping(flags: &Flags, features: &Features, storage: &StorageConfig) -> Keeping {
    let (time, size) = ("storage.tsdb.retention.time", "storage.tsdb.retention.size");
    let retention = storage.retention();
    let given = Some(flags.duration(time)).filter(|_| flags.is_given(time));
    let asked = retention.time.map(PromDuration::std).filter(|time| !time.is_zero());
    let asked = asked.or(given).filter(|time| !time.is_zero());
    let retention_percent = retention.percentage.unwrap_or(0.0);
    let bytes = retention.size.map(|size| size.bytes).filter(|bytes| *bytes > 0);
    let retention_bytes = match bytes {
        // The percentage stands instead of the size.
        _ if retention_percent > 0.0 => 0,
        Some(bytes) => bytes,
        None => flags.bytes(size),
    };
    let bounded = retention_bytes > 0 || retention_percent > 0.0;
    let default = Keeping::default();
    Keeping {
        // As in Prometheus: who limits the size alone keeps what fits.
        retention: asked.unwrap_or(if bounded { Duration::MAX } else { default.retention }),
        retention_bytes,
        retention_percent,
        out_of_order_window: storage
            .out_of_order_window()
            .map_or(default.out_of_order_window, PromDuration::std),
        max_exemplars: if features.exemplar_storage { storage.max_exemplars() } else { 0 },
    }
}

fn limits(flags: &Flags) -> Limits {
    let count = |name| flags.count(name) as u64;
    Limits {
        series: count("storage.max-series"),
        series_per_metric: count("storage.max-series-per-metric"),
        series_per_job: count("storage.max-series-per-job"),
        new_series_per_hour: count("storage.max-new-series-per-hour"),
        labels: flags.count("storage.max-labels-per-series"),
        label_name_bytes: flags.count("storage.max-label-name-length"),
        label_value_bytes: flags.count("storage.max-label-value-length"),
    }
}

pub fn engine_options(
    flags: &Flags,
    features: &Features,
    storage: &StorageConfig,
) -> Result<hearth_engine::Options, String> {
    let mut options = hearth_engine::Options::new(PathBuf::from(flags.text("storage.tsdb.path")));
    // None at all would be one after every write.
    options.checkpoint_bytes = flags.bytes("storage.wal.checkpoint-size").max(1);
    options.shards = Some(flags.count("storage.shards")).filter(|&shards| shards > 0);
    options.io = flags.text("storage.io").parse()?;
    options.arrivals_interval = flags.duration("storage.takeover.interval");
    options.keeping = keeping(flags, features, storage);
    options.limits = limits(flags);
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Parsed, parse};

    #[track_caller]
    fn check(arguments: &[&str], url: &str, prefix: &str) {
        let Ok(Parsed::Run(flags)) = parse(arguments.iter().map(|a| (*a).to_owned())) else {
            panic!("flags")
        };
        let external = external_url(&flags, "vm").expect("url");
        assert_eq!((external.as_str(), route_prefix(&flags, &external).as_str()), (url, prefix));
    }

    #[test]
    fn urls_and_prefixes() {
        check(&[], "http://vm:9090", "");
        check(&["--web.listen-address=127.0.0.1:1234"], "http://vm:1234", "");
        check(&["--web.external-url=http://x/prom/"], "http://x/prom", "/prom");
        check(&["--web.external-url=http://x/prom", "--web.route-prefix=/"], "http://x/prom", "");
        check(&["--web.external-url=x:80", "--web.route-prefix=a/b/"], "http://x:80", "/a/b");
    }

    /// Flags and a `storage` section in; what is kept, and how late samples may come.
    #[track_caller]
    fn check_keeping(arguments: &[&str], section: &str, expect: &str) {
        let Ok(Parsed::Run(flags)) = parse(arguments.iter().map(|a| (*a).to_owned())) else {
            panic!("flags")
        };
        let storage: StorageConfig = serde_saphyr::from_str(section).expect("a section");
        let keeping = keeping(&flags, &Features::of(&flags), &storage);
        let window = PromDuration::from_ms(keeping.out_of_order_window.as_millis() as i64);
        assert_eq!(format!("{}, {window}, {}", retention_text(keeping), keeping.max_exemplars), expect);
    }

    #[test]
    fn the_configuration_comes_before_flags() {
        let (time, size) = ("--storage.tsdb.retention.time=2d", "--storage.tsdb.retention.size=1GB");
        check_keeping(&[], "{}", "15d, 30m, 0");
        check_keeping(&[time], "{}", "2d, 30m, 0");
        check_keeping(&[size], "{}", "1GiB, 30m, 0");
        check_keeping(&[time, size], "tsdb: {out_of_order_time_window: 0s}", "2d or 1GiB, 0s, 0");
        check_keeping(&[time, size], "tsdb: {retention: {time: 3d}}", "3d or 1GiB, 30m, 0");
        check_keeping(&[time, size], "tsdb: {retention: {size: 5GB}}", "2d or 5GiB, 30m, 0");
        check_keeping(&[], "tsdb: {retention: {percentage: 80}}", "80%, 30m, 0");
        check_keeping(&[size], "tsdb: {retention: {percentage: 80, time: 1w}}", "1w or 80%, 30m, 0");
        let exemplars = "--enable-feature=exemplar-storage";
        check_keeping(&[exemplars], "{}", "15d, 30m, 100000");
        check_keeping(&[exemplars], "exemplars: {max_exemplars: 5}", "15d, 30m, 5");
        check_keeping(&[exemplars], "exemplars: {max_exemplars: -5}", "15d, 30m, 0");
        check_keeping(&[], "exemplars: {max_exemplars: 5}", "15d, 30m, 0");
        check_keeping(&[], "tsdb: {retention: {time: 0s}, out_of_order_time_window: 2h}", "15d, 2h, 0");
    }
}
