//! Target groups as they stand in YAML or JSON (`static_configs` and the files of `file_sd_configs`),
//! and the section of file discovery.

use super::DEFAULT_FILE_REFRESH;
use super::scalar::{PromDuration, read};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Addresses that share labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    #[serde(default, deserialize_with = "read::texts")]
    pub targets: Vec<String>,
    #[serde(default, deserialize_with = "read::text_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl StaticConfig {
    /// `final_addresses`: no rule changes an address any more.
    pub fn check(&self, final_addresses: bool) -> Result<(), String> {
        if final_addresses {
            self.targets.iter().try_for_each(|address| check_address(address))?;
        }
        self.check_labels()
    }

    /// Files may hold any address; a wrong one fails its target only.
    pub fn check_labels(&self) -> Result<(), String> {
        match self.labels.keys().find(|name| name.is_empty()) {
            Some(name) => Err(format!("{name:?} is not a valid label name")),
            None => Ok(()),
        }
    }
}

/// An address is a host and a port, never a URL.
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    if address.contains('/') { Err(format!("{address:?} is not a valid hostname")) } else { Ok(()) }
}

fn default_refresh() -> PromDuration {
    DEFAULT_FILE_REFRESH
}

/// `file_sd_configs[]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    #[serde(default, deserialize_with = "read::texts")]
    pub files: Vec<String>,
    #[serde(default = "default_refresh", deserialize_with = "read::or_default")]
    pub refresh_interval: PromDuration,
}

impl FileSdConfig {
    pub fn check(&self) -> Result<(), String> {
        if self.files.is_empty() {
            return Err("file service discovery config must contain at least one path name".into());
        }
        match self.files.iter().find(|name| !is_valid_path(name)) {
            Some(name) => Err(format!("path name {name:?} is not valid for file discovery")),
            None => Ok(()),
        }
    }
}

/// `[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)`: a star in the last part only.
fn is_valid_path(path: &str) -> bool {
    let stem = ["json", "yml", "yaml", "JSON", "YML", "YAML"]
        .iter()
        .find_map(|extension| path.strip_suffix(extension)?.strip_suffix('.'));
    stem.is_some_and(|stem| stem.split_once('*').is_none_or(|(_, rest)| !rest.contains('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yaml_and_json_paths_with_a_star_in_the_last_part_are_valid() {
        let check = |path: &str, expect: bool| assert_eq!(is_valid_path(path), expect, "{path}");
        check("/a/b.json", true);
        check("/a/*.yml", true);
        check("/a/x*-*.YAML", true);
        check("/*/b.json", false);
        check("b.txt", false);
        check("json", false);
    }
}
