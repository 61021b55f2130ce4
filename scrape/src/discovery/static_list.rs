//! `static_configs`: targets that stand in the configuration itself.

use super::TargetGroup;
use crate::config::StaticConfig;
use hearth_model::Labels;
use std::sync::Arc;

/// One entry, as a group named `source`; `extra` labels join its own.
pub fn group(source: String, entry: &StaticConfig, extra: &[(&str, &str)]) -> TargetGroup {
    let own = entry.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    TargetGroup {
        source,
        targets: entry.targets.iter().map(|a| Labels::from_pairs([("__address__", a.as_str())])).collect(),
        labels: Labels::from_pairs(own.chain(extra.iter().copied())),
    }
}

pub fn groups(entries: &[StaticConfig]) -> Vec<Arc<TargetGroup>> {
    entries.iter().enumerate().map(|(i, entry)| Arc::new(group(i.to_string(), entry, &[]))).collect()
}
