//! `http_sd_configs[]`.

use crate::config::PromDuration;
use crate::config::redact_url;
use crate::config::section::{HttpSection, Section, check_interval, check_url};
use serde::{Deserialize, Serialize, Serializer};

/// A list of target groups behind a URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSdConfig {
    #[serde(deserialize_with = "crate::config::scalar::read::or_default")]
    pub refresh_interval: PromDuration,
    #[serde(deserialize_with = "crate::config::scalar::read::text", serialize_with = "shown_url")]
    pub url: String,
}

pub(super) fn shown_url<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redact_url(url))
}

impl Default for HttpSdConfig {
    fn default() -> Self {
        HttpSdConfig { refresh_interval: PromDuration::from_secs(60), url: String::new() }
    }
}

impl HttpSection for HttpSdConfig {}

impl Section for HttpSdConfig {
    fn check(&mut self) -> Result<(), String> {
        check_url(&self.url)?;
        check_interval(self.refresh_interval)
    }
}
