//! The scraping part of `prometheus.yml`: strict types for `global` and `scrape_configs[]`, their defaults
//! and checks, with Prometheus' messages.
//!
//! The order of use: the server deserialises [`GlobalConfig`] and [`ScrapeConfig`]s, calls [`resolve`],
//! logs [`ScrapeConfig::unserved`], and hands the result to [`crate::Scraper::apply`]. Every type
//! serialises to the effective configuration, secrets replaced. Nothing here opens a file or a socket.

mod discovery;
mod global;
mod groups;
mod http;
mod keys;
mod scalar;
mod scrape;
mod section;

pub use discovery::*;
pub use global::GlobalConfig;
pub(crate) use global::protocols;
pub(crate) use groups::check_address;
pub use groups::{FileSdConfig, StaticConfig};
pub use hearth_model::relabel::RelabelConfig;
pub use http::{Authorization, BasicAuth, HeaderValues, HttpConfig, OAuth2, TlsConfig};
pub(crate) use http::{JWT_BEARER, redact_url};
pub use scalar::{ByteSize, PromDuration, Secret};
pub(crate) use scrape::PROTOCOLS;
pub use scrape::ScrapeConfig;
pub use section::{Section, WithHttp};

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

/// Time between two readings of the files of a `file_sd_configs` entry, beside the file watcher:
/// Prometheus' default.
pub const DEFAULT_FILE_REFRESH: PromDuration = PromDuration::from_secs(300);
/// Bytes of a decompressed scrape body where `body_size_limit` says nothing, and the most that it can
/// say: far above any exporter, far below what would endanger the process.
pub const MAX_BODY_BYTES: u64 = 512 << 20;
/// Bytes of series keys in one scrape's batch: offsets within a batch are 32 bits wide, and target
/// labels are repeated in each key.
pub const MAX_BATCH_KEY_BYTES: usize = 1 << 30;
/// Redirects that one scrape follows: Go's limit, which Prometheus has.
pub const MAX_REDIRECTS: usize = 10;
/// Time that a sample may lie ahead of the clock: Prometheus' limit for scraped timestamps.
pub const MAX_AHEAD_MS: i64 = 10 * 60_000;
/// Difference between a scrape's planned and true start that its timestamp does not show: what jitters
/// less compresses better. At most 1 % of the interval counts.
pub const TIMESTAMP_TOLERANCE_MS: i64 = 2;
/// Longest time between two beats on which scrapes begin: those that share a beat share wake-ups of this server's threads
/// and writes of its log, which together cost more than reading a page that is as the last one was. Long enough for
/// some targets to meet, short enough that a beat's scrapes begin within [`TIMESTAMP_TOLERANCE_MS`].
pub const MAX_BEAT_MS: i64 = 100;
/// Beats in a shorter interval: its scrapes must be spread too.
pub const BEATS_PER_INTERVAL: i64 = 50;
/// Successful scrapes that metadata outlives its metric: Prometheus' number.
pub const METADATA_LIFE_SCRAPES: u64 = 10;
/// Entries that a cache may hold beyond twice its last successful size before it is flushed although
/// scrapes fail: Prometheus' number.
pub const CACHE_SLACK_ENTRIES: usize = 1_000;
/// Time between a reported change of a target file and its reading: writers touch a file several times,
/// and a directory may change all the time.
pub const FILE_SETTLE_MS: u64 = 100;
/// Time that an unused connection to a target stays open: Prometheus' client keeps it this long.
pub const IDLE_CONNECTION_MS: u64 = 300_000;
/// Bytes of one target-group file: a file of a hundred thousand targets is about 10 MB.
pub const MAX_TARGET_FILE_BYTES: u64 = 256 << 20;
/// Least time between two updates of a job's targets from discovery; the first comes at once. Prometheus'
/// number.
pub const DISCOVERY_PAUSE_MS: u64 = 5_000;
/// Time after a reload that targets stay although only a section that has not answered yet may know them.
pub const RELOAD_PATIENCE_MS: u64 = 30_000;
/// Bytes of one answer of a discovery API: a list of a hundred thousand targets with many labels is below.
pub const MAX_DISCOVERY_ANSWER_BYTES: usize = 256 << 20;

/// How often the passphrase of a private key may have to be hashed: OpenSSL does it 2,048 times, careful people a million
/// times. Who writes more into a key file holds a thread for long.
pub const MAX_KEY_ITERATIONS: u32 = 10_000_000;
/// The same for scrypt, in bytes that are filled: OpenSSL says 16 MiB.
pub const MAX_KEY_SCRYPT_BYTES: u64 = 1 << 30;
/// Targets of one discovery section: an update with more is refused, the last good one stays.
pub const MAX_DISCOVERED_TARGETS: usize = 1_000_000;
/// Bytes of all labels of one discovery section: as with targets.
pub const MAX_DISCOVERED_LABEL_BYTES: usize = 1 << 30;
/// Pages of one list: an API that always names a next page must not keep its reader for ever.
pub const MAX_DISCOVERY_PAGES: usize = 10_000;
/// Objects of a Kubernetes list that are asked for at a time.
pub const KUBERNETES_PAGE_OBJECTS: u64 = 500;
/// Seconds after which a Kubernetes watch is begun anew, at least; at most twice as many.
pub const KUBERNETES_WATCH_SECONDS: u64 = 300;
/// Time that changes of a cluster are collected before groups are built anew.
pub const KUBERNETES_COLLECT_MS: u64 = 500;
/// Bytes of one event of a watch: etcd holds no object of more than 1.5 MB.
pub const MAX_WATCH_LINE_BYTES: usize = 16 << 20;
/// Longest time that one request to a discovery API takes, but for those that are meant to wait.
pub const DISCOVERY_TIMEOUT_MS: u64 = 60_000;
/// Nodes that one section may follow in ZooKeeper: each is a watch there and some hundred bytes here.
pub const MAX_ZOOKEEPER_NODES: usize = 200_000;
/// Bytes of a packet of ZooKeeper's, which sends at most 1 MiB unless it is told otherwise.
pub const MAX_ZOOKEEPER_PACKET_BYTES: usize = 16 << 20;
/// Shortest and longest pause before a discovery that has not succeeded yet, or whose watch broke, tries
/// again; pauses double in between.
pub const DISCOVERY_RETRY_MS: (u64, u64) = (1_000, 60_000);
/// Time that a discovery may take at the start before what the last run knew is used.
pub const KEPT_TARGETS_WAIT_MS: u64 = 5_000;
/// Least time between two writings of what a discovery knows.
pub const KEPT_TARGETS_WRITE_MS: u64 = 30_000;
/// Bytes of one file of kept targets; a larger set is not kept over a restart.
pub const MAX_KEPT_TARGETS_BYTES: usize = 64 << 20;
/// Bytes of one credentials, header or certificate file.
pub const MAX_SECRET_FILE_BYTES: u64 = 1 << 20;
/// Bytes of help or unit text kept for one metric, cut at a character.
pub const MAX_METADATA_TEXT_BYTES: usize = 16 << 10;
/// Metrics of one target that metadata is kept for: a body at the size limit could name millions.
pub const MAX_METADATA_ENTRIES: usize = 100_000;
/// Bytes of one push, compressed and not: far above what a batch job has to say.
pub const MAX_PUSH_BODY_BYTES: usize = 32 << 20;
/// Groups that a push gateway keeps: each is looked at in every scrape.
pub const MAX_PUSH_GROUPS: usize = 100_000;
/// Series of all groups together, each of which takes about 150 bytes.
pub const MAX_PUSH_SAMPLES: usize = 5_000_000;
/// Labels that a push's path may name.
pub const MAX_PUSH_PATH_LABELS: usize = 64;
/// Bytes of the file that keeps pushed groups over a restart: what the groups above fill.
pub const MAX_PUSH_FILE_BYTES: u64 = 2 << 30;
/// Bytes of a token server's answer.
pub const MAX_TOKEN_ANSWER_BYTES: usize = 1 << 20;
/// Seconds before its end that a token is not used any more: a request takes a while.
pub const TOKEN_MARGIN_S: f64 = 10.0;
/// Characters of an exemplar's label names and values together: OpenMetrics' limit.
pub const MAX_EXEMPLAR_LABEL_CHARS: usize = 128;
/// Characters of an error text that is kept for a target: some carry what the target sent.
pub const MAX_ERROR_CHARS: usize = 1_000;

/// What is wrong with a configuration, and in which entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The index within `scrape_configs`; none for `global`.
    pub scrape_config: Option<usize>,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// Fills in defaults and inherited fields, makes relative paths start at `directory` (where the
/// configuration file stands), and checks everything that can be checked without touching the world.
/// Call it once, on freshly read values.
pub fn resolve(
    global: &mut GlobalConfig,
    scrapes: &mut [ScrapeConfig],
    directory: &Path,
) -> Result<(), ConfigError> {
    global.resolve().map_err(|message| ConfigError { scrape_config: None, message })?;
    join_path(&mut global.scrape_failure_log_file, directory);
    join_path(&mut global.query_log_file, directory);
    for index in 0..scrapes.len() {
        let at = |message| ConfigError { scrape_config: Some(index), message };
        scrapes[index].resolve(global).map_err(at)?;
        scrapes[index].join_paths(directory);
        let (before, rest) = scrapes.split_at(index);
        let job = &rest[0].job_name;
        if before.iter().any(|earlier| earlier.job_name == *job) {
            return Err(at(format!("found multiple scrape configs with job name {job:?}")));
        }
    }
    Ok(())
}

fn join_path(path: &mut String, directory: &Path) {
    if !path.is_empty() && !Path::new(path.as_str()).is_absolute() {
        *path = directory.join(path.as_str()).to_string_lossy().into_owned();
    }
}
