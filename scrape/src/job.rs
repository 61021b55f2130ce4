//! One job, compiled: its configuration with rules, client and failure log ready for use. Immutable; a
//! reload makes a new one and hands it to the running loops.

use crate::config::{RelabelConfig, ScrapeConfig};
use crate::failure_log::FailureLog;
use crate::fetch::Fetcher;
use hearth_model::relabel::Rule;
use std::sync::Arc;

/// Everything the loops of one job share.
pub struct Job {
    pub name: Arc<str>,
    pub config: ScrapeConfig,
    pub target_rules: Vec<Rule>,
    pub metric_rules: Vec<Rule>,
    pub fetcher: Fetcher,
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
    ) -> Result<Job, String> {
        let context = |e| format!("scrape config with job name {:?}: {e}", config.job_name);
        let target_rules = compile(&config.relabel_configs).map_err(context)?;
        let metric_rules = compile(&config.metric_relabel_configs).map_err(context)?;
        let fetcher = Fetcher::new(&config, user_agent).map_err(context)?;
        let name = Arc::from(config.job_name.as_str());
        Ok(Job { name, config, target_rules, metric_rules, fetcher, failure_log })
    }
}
