//! Applying a configuration: all of it or nothing. Everything that can fail happens before anything
//! changes; the outcome is logged, counted and answered.

use crate::config::{self, Config, ConfigError, Reading, Source};
use crate::flags::{Features, Flags};
use crate::query_log::QueryLog;
use crate::settings;
use hearth_api::{LiveConfig, ReloadRequest, ReloadState, State};
use hearth_scrape::Scraper;
use std::sync::Arc;
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Reads configurations and makes them the running one.
pub struct Reloader {
    pub source: Source,
    pub reading: Reading,
    pub state: Arc<State>,
    pub scraper: Scraper,
    pub query_log: QueryLog,
    pub store: hearth_engine::Handle,
    pub flags: Flags,
    pub features: Features,
}

/// Reads the configuration; what it asks for in vain is logged.
pub fn load(source: &Source, reading: &Reading) -> Result<Config, ConfigError> {
    let config = config::load(source, reading)?;
    for warning in &config.warnings {
        tracing::warn!(component = "config", "{warning}");
    }
    Ok(config)
}

impl Reloader {
    /// Makes a checked configuration the running one, or changes nothing.
    pub async fn apply(&self, config: Config) -> Result<(), String> {
        let Config { global, scrapes, rules, storage, yaml, .. } = config;
        let plan = self.scraper.prepare(scrapes).map_err(|error| error.to_string())?;
        let query_log = QueryLog::open(&global.query_log_file)?;
        self.query_log.switch(query_log);
        self.scraper.apply(plan).await;
        let keeping = settings::keeping(&self.flags, &self.features, &storage);
        self.store.keep(keeping);
        let retention = settings::retention_text(keeping);
        let evaluation_interval_ms = global.evaluation_interval.ms;
        let external_labels = global.external_labels;
        let live = LiveConfig { yaml, rules, evaluation_interval_ms, external_labels, retention };
        self.state.live.store(Arc::new(live));
        Ok(())
    }

    /// Reads the configuration again and applies it.
    async fn reload(&self) -> Result<(), String> {
        tracing::info!("Loading configuration file");
        let started = Instant::now();
        let (source, reading) = (self.source.clone(), self.reading.clone());
        let loaded = tokio::task::spawn_blocking(move || load(&source, &reading)).await;
        let outcome = match loaded {
            Ok(Ok(config)) => self.apply(config).await,
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.record(&outcome, started);
        outcome
    }

    /// Notes how a load went, for the metrics and the log.
    pub fn record(&self, outcome: &Result<(), String>, started: Instant) {
        let before = self.state.reload.load();
        let last_success = match outcome {
            Ok(()) => Some(jiff::Timestamp::now()),
            Err(_) => before.last_success,
        };
        self.state.reload.store(Arc::new(ReloadState { successful: outcome.is_ok(), last_success }));
        match outcome {
            Ok(()) => {
                tracing::info!(totalDuration = ?started.elapsed(), "Completed loading of configuration file");
            }
            Err(error) => {
                tracing::error!(err = %error, "Error reloading config: the running configuration stays as it was");
            }
        }
    }

    /// Serves SIGHUP and requests, one after the other, until every sender is gone.
    pub async fn run(self, mut requests: mpsc::Receiver<ReloadRequest>, mut hang_up: Signal) {
        loop {
            tokio::select! {
                signal = hang_up.recv() => {
                    if signal.is_none() {
                        return;
                    }
                    // The log has the outcome; a signal takes no answer.
                    let _ = self.reload().await;
                }
                request = requests.recv() => {
                    let Some(answer) = request else { return };
                    let outcome = self.reload().await;
                    // Whoever asked may have hung up.
                    let _ = answer.send(outcome);
                }
            }
        }
    }
}

/// SIGHUP, from now on caught.
pub fn hang_up() -> Result<Signal, String> {
    signal(SignalKind::hangup()).map_err(|error| format!("catching SIGHUP: {error}"))
}
