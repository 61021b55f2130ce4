//! One job, compiled: its configuration with rules, client and failure log ready for use. Immutable; a
//! reload makes a new one and hands it to the running loops.

use crate::config::{RelabelConfig, ScrapeConfig};
use crate::failure_log::FailureLog;
use crate::fetch::Fetcher;
use crate::push::Gateway;
use hearth_model::relabel::Rule;
use std::sync::Arc;

/// Where a job's samples come from.
pub enum Origin {
    Network(Box<Fetcher>),
    /// What was pushed to this server.
    Pushed(Arc<Gateway>),
}

/// Everything the loops of one job share.
pub struct Job {
    pub name: Arc<str>,
    pub config: ScrapeConfig,
    /// The configuration without what only says which targets there are: jobs where it is equal make the same series
    /// of the same target.
    shaping: ScrapeConfig,
    pub target_rules: Vec<Rule>,
    pub metric_rules: Vec<Rule>,
    pub origin: Origin,
    pub failure_log: Option<Arc<FailureLog>>,
}

fn compile(rules: &[RelabelConfig]) -> Result<Vec<Rule>, String> {
    rules.iter().map(|rule| rule.rule().map_err(|e| e.to_string())).collect()
}

impl Job {
    pub fn new(
        config: ScrapeConfig,
        user_agent: &str,
        failure_log: Option<Arc<FailureLog>>,
        gateway: Option<&Arc<Gateway>>,
    ) -> Result<Job, String> {
        let context = |e| format!("scrape config with job name {:?}: {e}", config.job_name);
        let target_rules = compile(&config.relabel_configs).map_err(context)?;
        let metric_rules = compile(&config.metric_relabel_configs).map_err(context)?;
        let origin = match gateway.filter(|gateway| gateway.options().job == config.job_name) {
            Some(gateway) => Origin::Pushed(Arc::clone(gateway)),
            None => Origin::Network(Box::new(Fetcher::new(&config, user_agent).map_err(context)?)),
        };
        let name = Arc::from(config.job_name.as_str());
        let mut shaping = ScrapeConfig { static_configs: Vec::new(), ..config.clone() };
        shaping.file_sd_configs.clear();
        shaping.discovery.entries.clear();
        Ok(Job { name, config, shaping, target_rules, metric_rules, origin, failure_log })
    }

    /// Whether a target's series come out as with the other job: only the lists of targets differ.
    pub fn shapes_as(&self, other: &Job) -> bool {
        self.shaping == other.shaping
    }
}
