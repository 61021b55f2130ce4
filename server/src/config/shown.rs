//! The configuration as `/api/v1/status/config` shows it: every default filled in, every secret hidden.

use super::{Section, unserved};
use hearth_scrape::config::{GlobalConfig, ScrapeConfig};
use serde::Serialize;

pub struct Parts<'a> {
    pub global: &'a GlobalConfig,
    pub rule_files: &'a [String],
    pub scrape_config_files: &'a [String],
    pub scrapes: &'a [ScrapeConfig],
    pub sections: &'a [(&'static str, &'a Section)],
}

#[derive(Serialize)]
struct Shown<'a> {
    global: &'a GlobalConfig,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rule_files: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    scrape_config_files: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    scrape_configs: &'a [ScrapeConfig],
}

/// Prints the parts in Prometheus' order.
pub fn yaml(parts: &Parts<'_>) -> String {
    let shown = Shown {
        global: parts.global,
        rule_files: parts.rule_files,
        scrape_config_files: parts.scrape_config_files,
        scrape_configs: parts.scrapes,
    };
    let mut out = print(&shown);
    for (name, section) in parts.sections {
        if !section.is_null() {
            out.push_str(&print(&std::collections::BTreeMap::from([(name, unserved::hidden(section))])));
        }
    }
    out
}

fn print(value: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    match serde_saphyr::to_string_with_options(value, options) {
        Ok(text) => text,
        // Nothing that was read from YAML fails to be YAML; if it does, say so in the place of it.
        Err(error) => format!("# not printable: {error}\n"),
    }
}
