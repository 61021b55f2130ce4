//! One life of the server, from the open sockets to the closed store:
//!
//! 1. bind the sockets and check the configuration, so that no data is touched for a start that fails;
//! 2. answer (not ready) while the store recovers;
//! 3. build the query engine and the scraper on the store, apply the configuration: ready;
//! 4. wait for a signal or `/-/quit`;
//! 5. stop accepting, drain requests, stop scraping, close the store.

use crate::config::Source;
use crate::config::storage::StorageConfig;
use crate::flags::{Features, Flags};
use crate::lanes::Sharing;
use crate::listen::{self, Listening, Site};
use crate::query_log::{Logged, QueryLog};
use crate::reload::{self, Reloader};
use crate::signals::Termination;
use crate::{pushed, query, settings};
use hearth_api::{Backend, BuildInfo, State};
use hearth_engine::moving::{MovingError, takeover};
use hearth_model::Ack;
use hearth_model::replicas::Replicas;
use hearth_promql::Engine;
use hearth_scrape::Scraper;
use hearth_scrape::push::Gateway;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How long running requests may take once the server stops.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);
/// How long leftover blocking work may keep the process at the very end.
pub const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// Reload requests that wait; each holds one connection.
const RELOAD_QUEUE: usize = 16;

/// Why the server ended, and its exit code.
#[derive(Debug)]
pub struct Failure {
    pub text: String,
    pub exit_code: u8,
}

impl Failure {
    /// What the operator asked for cannot be.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), exit_code: 2 }
    }

    /// The world did not let the server run.
    pub fn run(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), exit_code: 1 }
    }
}

/// Where work is done, away from the threads that run this.
pub struct Threads {
    /// What queries compute at length.
    pub queries: tokio::runtime::Handle,
    pub scraping: Vec<tokio::runtime::Handle>,
    /// The HTTP side.
    pub serving: Vec<tokio::runtime::Handle>,
}

/// See the module's head.
pub async fn run(flags: &Flags, features: &Features, threads: Threads) -> Result<(), Failure> {
    let mut termination = Termination::catch().map_err(Failure::run)?;
    let hang_up = reload::hang_up().map_err(Failure::run)?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let options = settings::api_options(flags, features, &hostname).map_err(Failure::usage)?;
    announce(&options.build);
    let reading = settings::reading(flags, features);
    let listeners = listen::bind(flags.texts("web.listen-address"))
        .await
        .map_err(|error| Failure::run(format!("Unable to start web listener: {error}")))?;
    let source = source(flags, &options.route_prefix, &listeners);
    let started = Instant::now();
    let config = reload::load(&source, &reading)
        .map_err(|error| Failure::usage(format!("Error loading config: {error}")))?;
    let (reload_requests, requests) = mpsc::channel(RELOAD_QUEUE);
    let state = State::new(options, reload_requests);
    let serving = Serving::start(flags, listeners, &state, threads.serving);
    let opened = tokio::select! {
        opened = open(flags, features, &config.storage) => opened,
        signal = termination.next() => {
            tracing::warn!(signal, "Received an OS signal during recovery, exiting");
            return Ok(());
        }
    };
    let store = opened?;
    let gateway = pushed::start(flags).await?;
    let scraper =
        Scraper::start(scrape_options(&store, flags, features, gateway.gateway(), threads.scraping));
    let query_log = QueryLog::start(state.clone(), flags.duration("query.log-slower-than"))
        .map_err(|error| Failure::run(format!("starting the query log: {error}")))?;
    let reloader = Reloader {
        source,
        reading,
        state: state.clone(),
        scraper: scraper.clone(),
        query_log: query_log.clone(),
        store: store.clone(),
        flags: flags.clone(),
        features: features.clone(),
    };
    let subquery_step_ms = config.global.evaluation_interval.ms;
    let applied = reloader.apply(config).await;
    reloader.record(&applied, started);
    if let Err(error) = applied {
        close(store).await;
        return Err(Failure::usage(format!("Error loading config: {error}")));
    }
    let memory = state.query_memory.clone();
    let engine = query::engine(store.clone(), flags, features, subquery_step_ms, memory);
    state.set_ready(backend(&store, engine, &scraper, &query_log, &threads.queries));
    tracing::info!("Server is ready to receive web requests.");
    let reloading = tokio::spawn(reloader.run(requests, hang_up));
    let lost = asked_to_end(&mut termination, &state, &store).await;
    tokio::spawn(termination.hurry());
    state.set_stopping();
    reloading.abort();
    serving.drain().await;
    tracing::info!("Stopping scrape manager...");
    scraper.shutdown().await;
    gateway.close().await;
    query_log.close();
    close(store).await;
    lost.map_or(Ok(()), |core| Err(Failure::run(format!("core thread {core} of the storage panicked"))))
}

fn announce(build: &BuildInfo) {
    tracing::info!(
        version = %build.application_version,
        revision = %build.revision,
        follows = %format!("Prometheus {}", build.version),
        "Starting Hearth"
    );
}

/// What the HTTP side serves from: the store, and queries on their own threads.
fn backend(
    store: &hearth_engine::Handle,
    engine: Engine<Replicas<hearth_engine::Handle>>,
    scraper: &Scraper,
    query_log: &QueryLog,
    queries: &tokio::runtime::Handle,
) -> Backend {
    let engine = Arc::new(query::Threads::new(engine, queries.clone()));
    Backend {
        query: Arc::new(Logged::new(engine.clone(), query_log.clone())),
        queries: engine,
        append: Arc::new(store.clone()),
        catalogue: Arc::new(query::Threads::new(Replicas::new(store.clone()), queries.clone())),
        admin: Arc::new(store.clone()),
        scraper: scraper.clone(),
    }
}

/// Waits for the end. A storage that lost a core thread, whose number is returned, is an end too: a start
/// anew brings back what the thread had, and a server without some of its series would answer wrongly.
async fn asked_to_end(
    termination: &mut Termination,
    state: &State,
    store: &hearth_engine::Handle,
) -> Option<usize> {
    tokio::select! {
        signal = termination.next() => tracing::warn!(signal, "Received an OS signal, exiting gracefully..."),
        () = state.quit.notified() => {
            tracing::warn!("Received termination request via web service, exiting gracefully...");
        }
        core = store.lost_core() => {
            tracing::error!(core, "A core thread of the storage panicked, exiting");
            return Some(core);
        }
    }
    None
}

/// The HTTP side, which runs from the first moment to the end of draining.
struct Serving {
    task: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Serving {
    fn start(
        flags: &Flags,
        listeners: Vec<tokio::net::TcpListener>,
        state: &Arc<State>,
        lanes: Vec<tokio::runtime::Handle>,
    ) -> Serving {
        let (stop, stopping) = watch::channel(false);
        let limits = Listening {
            read_timeout: flags.duration("web.read-timeout"),
            max_connections: flags.count("web.max-connections"),
        };
        let site = Site {
            router: hearth_api::router(state.clone()),
            state: state.clone(),
            lanes: Sharing::new(lanes),
        };
        let serve = listen::serve(listeners, site, limits, stopping, DRAIN_PATIENCE);
        Serving { task: tokio::spawn(serve), stop }
    }

    /// Accepts no more, and waits for what runs.
    async fn drain(self) {
        // Fails only where nobody listens any more, and then nobody has to be told.
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(component = "web", err = %error, "Serving ended badly");
        }
    }
}

/// The file that was asked for or is there, else the built-in configuration.
fn source(flags: &Flags, route_prefix: &str, listeners: &[tokio::net::TcpListener]) -> Source {
    let path = PathBuf::from(flags.text("config.file"));
    if flags.is_given("config.file") || path.exists() {
        return Source::File(path);
    }
    let port = listeners.first().and_then(|l| l.local_addr().ok()).map_or(9090, |address| address.port());
    tracing::info!("No prometheus.yml here and no --config.file given: using the built-in configuration");
    Source::BuiltIn { itself: format!("localhost:{port}"), metrics_path: format!("{route_prefix}/metrics") }
}

/// Opens the store away from the control threads, because recovery blocks.
async fn open(
    flags: &Flags,
    features: &Features,
    storage: &StorageConfig,
) -> Result<hearth_engine::Handle, Failure> {
    let options = settings::engine_options(flags, features, storage).map_err(Failure::usage)?;
    let originals = flags.text("storage.takeover.originals").parse().map_err(Failure::usage)?;
    let wait = flags.switch("storage.takeover.wait");
    tracing::info!(path = %options.path.display(), "Opening storage");
    let started = Instant::now();
    let open = move || {
        let store = takeover::open(&options, originals)?;
        if wait {
            store.finish_takeover();
        }
        Ok::<_, MovingError>(store)
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let store = opened
        .map_err(|error| Failure::run(format!("opening storage panicked: {error}")))?
        .map_err(|error| Failure::run(format!("opening storage failed: {error}")))?;
    tracing::info!(duration = ?started.elapsed(), shards = store.shards(), io = store.backend(), "Storage started");
    Ok(store)
}

async fn close(store: hearth_engine::Handle) {
    tracing::info!("Closing storage...");
    if let Err(error) = tokio::task::spawn_blocking(move || store.close()).await {
        tracing::error!(err = %error, "Closing storage failed");
    }
}

fn scrape_options(
    store: &hearth_engine::Handle,
    flags: &Flags,
    features: &Features,
    gateway: Option<Arc<Gateway>>,
    lanes: Vec<tokio::runtime::Handle>,
) -> hearth_scrape::Options {
    // Two replicas must not scrape at the same moments; the start time tells them apart.
    let seed = jiff::Timestamp::now().as_nanosecond() as u64 ^ u64::from(std::process::id());
    hearth_scrape::Options {
        append: Arc::new(store.clone()),
        // A target awaits no answer: what matters is that a crash of the process loses nothing.
        ack: Ack::Written,
        clock: Arc::new(|| jiff::Timestamp::now().as_millisecond()),
        seed,
        features: hearth_scrape::Features {
            created_zeros: features.created_zeros,
            type_and_unit_labels: features.type_and_unit_labels,
        },
        gateway,
        user_agent: format!("Hearth/{}", env!("CARGO_PKG_VERSION")),
        kept_targets: Some(PathBuf::from(flags.text("storage.tsdb.path")).join("discovery")),
        lanes,
    }
}
