//! What the handlers hold: the parts of the server behind traits, the configuration in effect, and where
//! the server is in its life. Nothing in here answers a request.

use crate::metrics::Metrics;
use crate::replicas::ReplicaOptions;
use crate::write::Receiver;
use arc_swap::ArcSwap;
use hearth_alerting::RuleFile;
use hearth_model::Ack;
use hearth_model::matcher::regex::Regex;
use hearth_model::store::{Admin, Append, Catalogue};
use hearth_promql::query::{Query, QueryAdmin};
use hearth_promql::syntax::ParseOptions;
use hearth_scrape::Scraper;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// What is fixed when the server starts.
#[derive(Debug)]
pub struct Options {
    pub page_title: String,
    /// Without a slash at its end.
    pub external_url: String,
    /// Empty, or `/…` without a slash at its end.
    pub route_prefix: String,
    pub cors_origin: Regex,
    pub enable_lifecycle: bool,
    pub enable_admin: bool,
    pub enable_remote_write: bool,
    /// Remote writes of several replicas become one.
    pub replicas: Option<ReplicaOptions>,
    /// Series that differ in these labels alone are one to queries that do not say otherwise.
    pub replica_labels: Arc<[String]>,
    /// Pushed groups may be wiped over HTTP.
    pub enable_push_admin: bool,
    /// Messages that the remote-write receiver takes, by their protobuf names.
    pub accepted_messages: Vec<String>,
    pub ack: Ack,
    pub query_timeout: Duration,
    pub lookback: Duration,
    pub max_concurrent_queries: usize,
    /// Memory that one query may hold, and all queries together, in bytes.
    pub query_memory_bytes: usize,
    pub all_queries_memory_bytes: usize,
    /// Results of range queries newer than this are always computed.
    pub query_cache_recent: Duration,
    pub per_step_stats: bool,
    pub parse_options: ParseOptions,
    pub read_timeout: Duration,
    pub flags: BTreeMap<String, String>,
    pub build: BuildInfo,
    pub started: Timestamp,
    pub working_directory: String,
    pub hostname: String,
}

/// What was built, from what.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildInfo {
    /// The Prometheus version whose behaviour this server follows: clients decide by it what to use.
    pub version: String,
    pub revision: String,
    pub branch: String,
    pub build_user: String,
    pub build_date: String,
    pub go_version: String,
    pub application: String,
    pub application_version: String,
}

/// The store, the query engine and the scraper; there once recovery is done.
#[derive(Clone)]
pub struct Backend {
    pub query: Arc<dyn Query>,
    pub queries: Arc<dyn QueryAdmin>,
    pub append: Arc<dyn Append>,
    pub catalogue: Arc<dyn Catalogue>,
    pub admin: Arc<dyn Admin>,
    pub scraper: Scraper,
}

/// Who sent a request: the other end of its connection, put among the request's extensions by who accepts.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub std::net::SocketAddr);

/// The configuration in effect, replaced as a whole.
#[derive(Debug, Clone, Default)]
pub struct LiveConfig {
    /// As YAML with defaults filled in and secrets hidden.
    pub yaml: String,
    pub rules: Vec<RuleFile>,
    pub evaluation_interval_ms: i64,
    pub external_labels: BTreeMap<String, String>,
    /// How long, and how much: `15d or 5GiB`.
    pub retention: String,
}

/// How the last reload went.
#[derive(Debug, Clone, Default)]
pub struct ReloadState {
    pub successful: bool,
    pub last_success: Option<Timestamp>,
}

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Starting,
    Ready,
    Stopping,
}

/// A wish to reload; the answer says what went wrong.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

pub struct State {
    pub options: Options,
    pub metrics: Metrics,
    pub live: ArcSwap<LiveConfig>,
    pub reload: ArcSwap<ReloadState>,
    pub reload_requests: mpsc::Sender<ReloadRequest>,
    pub quit: Notify,
    pub query_memory: Arc<hearth_model::context::Budget>,
    pub receiver: Receiver,
    backend: OnceLock<Backend>,
    phase: AtomicU8,
}

impl State {
    pub fn new(options: Options, reload_requests: mpsc::Sender<ReloadRequest>) -> Arc<State> {
        let query_memory =
            hearth_model::context::Budget::new("all queries", options.all_queries_memory_bytes, None);
        let receiver = Receiver::new(crate::config::WRITE_MEMORY_BYTES, options.replicas.clone());
        Arc::new(State {
            metrics: Metrics::default(),
            options,
            live: ArcSwap::default(),
            reload: ArcSwap::default(),
            reload_requests,
            quit: Notify::new(),
            query_memory,
            receiver,
            backend: OnceLock::new(),
            phase: AtomicU8::new(Phase::Starting as u8),
        })
    }

    /// Recovery is done: from now on requests are served.
    pub fn set_ready(&self, backend: Backend) {
        assert!(self.backend.set(backend).is_ok(), "recovery ends once");
        self.phase.store(Phase::Ready as u8, Ordering::Release);
    }

    pub fn set_stopping(&self) {
        self.phase.store(Phase::Stopping as u8, Ordering::Release);
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Stopping,
        }
    }

    /// The backend, once there is one.
    pub fn backend(&self) -> Option<&Backend> {
        self.backend.get()
    }
}
