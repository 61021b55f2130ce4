//! One relabelling rule as it stands in YAML, with the checks that Prometheus makes on reading it.
//! What a rule does is [`hearth_model::relabel`]; nothing here changes labels.

use super::scalar::read;
use serde::{Deserialize, Serialize};

/// `<relabel_config>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelabelConfig {
    #[serde(default, deserialize_with = "read::texts", skip_serializing_if = "Vec::is_empty")]
    pub source_labels: Vec<String>,
    #[serde(default = "default_separator", deserialize_with = "read::text")]
    pub separator: String,
    /// As written, unanchored; none is `(.*)`.
    #[serde(default, deserialize_with = "read::maybe_text", skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    #[serde(default, deserialize_with = "read::count", skip_serializing_if = "super::scalar::skip::zero")]
    pub modulus: u64,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub target_label: String,
    #[serde(default = "default_replacement", deserialize_with = "read::text")]
    pub replacement: String,
    #[serde(default = "default_action", deserialize_with = "read_action")]
    pub action: String,
}

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REPLACEMENT: &str = "$1";

fn default_separator() -> String {
    DEFAULT_SEPARATOR.into()
}

fn default_replacement() -> String {
    DEFAULT_REPLACEMENT.into()
}

fn default_action() -> String {
    "replace".into()
}

const ACTIONS: [&str; 11] = [
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

fn read_action<'de, D: serde::Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let action = read::text(d)?.to_lowercase();
    if action.is_empty() {
        return Ok(default_action());
    }
    if !ACTIONS.contains(&action.as_str()) {
        return Err(serde::de::Error::custom(format!("unknown relabel action {action:?}")));
    }
    Ok(action)
}

impl RelabelConfig {
    /// The checks that need no regex and no name scheme.
    pub fn check(&self) -> Result<(), String> {
        let action = self.action.as_str();
        if action == "hashmod" && self.modulus == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus".into());
        }
        let needs_target =
            ["replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal"].contains(&action);
        if needs_target && self.target_label.is_empty() {
            return Err(format!("relabel configuration for {action} action requires 'target_label' value"));
        }
        let plain_replacement = self.replacement == DEFAULT_REPLACEMENT;
        if ["lowercase", "uppercase", "keepequal", "dropequal"].contains(&action) && !plain_replacement {
            return Err(format!("'replacement' can not be set for {action} action"));
        }
        let plain_separator = self.separator == DEFAULT_SEPARATOR;
        if ["keepequal", "dropequal"].contains(&action)
            && (self.regex.is_some() || self.modulus != 0 || !plain_separator)
        {
            return Err(format!(
                "{action} action requires only 'source_labels' and `target_label`, and no other fields"
            ));
        }
        let only_regex = self.source_labels.is_empty()
            && self.target_label.is_empty()
            && self.modulus == 0
            && plain_separator
            && plain_replacement;
        if ["labeldrop", "labelkeep"].contains(&action) && !only_regex {
            return Err(format!("{action} action requires only 'regex', and no other fields"));
        }
        if let Some(name) = self.source_labels.iter().find(|name| name.is_empty()) {
            return Err(format!("{name:?} is not a valid label name"));
        }
        Ok(())
    }
}
