//! A look at what a job's discovery finds and what relabelling makes of it, without a scrape.

use crate::config::ScrapeConfig;
use crate::discovery::{Discovery, Groups, Tools, Wanted, static_list};
use crate::target;
use hearth_model::Labels;
use hearth_model::relabel::Rule;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// One discovered target.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub discovered: Labels,
    /// Empty where relabelling dropped it, or there is an error.
    pub labels: Labels,
    pub error: Option<String>,
}

/// All targets of a job, each once, when every section has answered or the time is over. `config` is
/// resolved. Must be called within a tokio runtime.
pub async fn discover(
    config: &ScrapeConfig,
    user_agent: &str,
    timeout: Duration,
) -> Result<Vec<Checked>, String> {
    let rules = config.relabel_configs.iter().map(|rule| rule.rule().map_err(|e| e.to_string()));
    let rules = rules.collect::<Result<Vec<Rule>, String>>()?;
    let user_agent = Arc::from(user_agent);
    let tools = Tools { counters: Arc::default(), user_agent, config: Arc::from(&*config.job_name) };
    let discovery = Discovery::new(tools, None);
    let files = config.file_sd_configs.iter().cloned().map(Wanted::File);
    let others = config.discovery.entries.iter().cloned().map(Wanted::Sd);
    let listener = discovery.listen(&config.job_name, files.chain(others));
    let all = || listener.watchers.iter().map(|watcher| watcher.groups());
    let answered = async {
        while all().any(|groups| groups.is_none()) {
            listener.changed().await;
        }
    };
    if tokio::time::timeout(timeout, answered).await.is_err() {
        tracing::warn!("not every section has answered in time");
    }
    let fixed: Groups = Arc::new(static_list::groups(&config.static_configs));
    let (mut out, mut seen) = (Vec::new(), HashSet::new());
    for groups in std::iter::once(fixed).chain(all().flatten()) {
        for (group, target) in groups.iter().flat_map(|group| group.targets.iter().map(move |t| (group, t))) {
            let (discovered, relabelled) = target::relabelled(config, &rules, target, group);
            let (labels, error) = match relabelled {
                Ok(labels) => (labels.map(|labels| labels.build()).unwrap_or_default(), None),
                Err(error) => (Labels::empty(), Some(error)),
            };
            if seen.insert(discovered.clone()) {
                out.push(Checked { discovered, labels, error });
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;

    #[tokio::test]
    async fn targets_are_shown_before_and_after_relabelling() {
        let yaml = "static_configs: [{targets: ['h:1', 'g:2', 'h:1', '']}]\n\
                    relabel_configs: [{action: drop, source_labels: [__address__], regex: 'g.*'}]\n";
        let found = discover(&config(yaml, ""), "test", Duration::from_secs(1)).await.expect("good rules");
        let shown: Vec<_> = found.iter().map(|c| (c.labels.value("instance"), c.error.as_deref())).collect();
        assert_eq!(shown, [("h:1", None), ("", None), ("", Some("no address"))]);
        assert_eq!(found[0].labels.value("__scheme__"), "http");
        assert_eq!(found[1].discovered.value("__address__"), "g:2");
    }
}
