//! `global`: the defaults that scrape configurations inherit, and the few fields beside them that the
//! server reads for itself (evaluation, external labels, query log).

use super::scalar::{ByteSize, PromDuration, read, skip};
use super::scrape::check_protocols;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `global`. After [`GlobalConfig::resolve`] every default is filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalConfig {
    #[serde(default, deserialize_with = "read::or_default")]
    pub scrape_interval: PromDuration,
    #[serde(default, deserialize_with = "read::or_default")]
    pub scrape_timeout: PromDuration,
    #[serde(default, deserialize_with = "read::texts")]
    pub scrape_protocols: Vec<String>,
    #[serde(default, deserialize_with = "read::or_default")]
    pub evaluation_interval: PromDuration,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "skip::zero_duration")]
    pub rule_query_offset: PromDuration,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub query_log_file: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub scrape_failure_log_file: String,
    #[serde(default, deserialize_with = "read::text_map", skip_serializing_if = "BTreeMap::is_empty")]
    pub external_labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "ByteSize::is_zero")]
    pub body_size_limit: ByteSize,
    #[serde(default, deserialize_with = "read::count", skip_serializing_if = "skip::zero")]
    pub sample_limit: u64,
    #[serde(default, deserialize_with = "read::count", skip_serializing_if = "skip::zero")]
    pub target_limit: u64,
    #[serde(default, deserialize_with = "read::count", skip_serializing_if = "skip::zero")]
    pub label_limit: u64,
    #[serde(default, deserialize_with = "read::count", skip_serializing_if = "skip::zero")]
    pub label_name_length_limit: u64,
    #[serde(default, deserialize_with = "read::count", skip_serializing_if = "skip::zero")]
    pub label_value_length_limit: u64,
    #[serde(default, deserialize_with = "read::count", skip_serializing_if = "skip::zero")]
    pub keep_dropped_targets: u64,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub metric_name_validation_scheme: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub metric_name_escaping_scheme: String,
    #[serde(default, deserialize_with = "read::maybe_flag", skip_serializing_if = "Option::is_none")]
    pub scrape_native_histograms: Option<bool>,
    #[serde(default, deserialize_with = "read::flag", skip_serializing_if = "skip::unset")]
    pub convert_classic_histograms_to_nhcb: bool,
    #[serde(default, deserialize_with = "read::flag", skip_serializing_if = "skip::unset")]
    pub always_scrape_classic_histograms: bool,
    #[serde(default, deserialize_with = "read::maybe_flag", skip_serializing_if = "Option::is_none")]
    pub extra_scrape_metrics: Option<bool>,
}

const DEFAULT_SCRAPE_INTERVAL: PromDuration = PromDuration::from_secs(60);
const DEFAULT_SCRAPE_TIMEOUT: PromDuration = PromDuration::from_secs(10);
const DEFAULT_EVALUATION_INTERVAL: PromDuration = PromDuration::from_secs(60);

/// What a target is asked for where nothing is said, most wanted first.
const DEFAULT_PROTOCOLS: [&str; 5] = [
    "PrometheusProto",
    "OpenMetricsText1.0.0",
    "OpenMetricsText0.0.1",
    "PrometheusText1.0.0",
    "PrometheusText0.0.4",
];

/// The same for somebody who wants native histograms, or does not: only then protobuf is worth its bytes.
pub(crate) fn protocols(native_histograms: Option<bool>) -> Vec<String> {
    let skipped = usize::from(native_histograms != Some(true));
    DEFAULT_PROTOCOLS.iter().skip(skipped).map(|name| (*name).to_owned()).collect()
}

impl Default for GlobalConfig {
    /// What an absent `global` section stands for.
    fn default() -> Self {
        let mut global = GlobalConfig {
            scrape_interval: PromDuration::default(),
            scrape_timeout: PromDuration::default(),
            scrape_protocols: Vec::new(),
            evaluation_interval: PromDuration::default(),
            rule_query_offset: PromDuration::default(),
            query_log_file: String::new(),
            scrape_failure_log_file: String::new(),
            external_labels: BTreeMap::new(),
            body_size_limit: ByteSize::default(),
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            metric_name_validation_scheme: String::new(),
            metric_name_escaping_scheme: String::new(),
            scrape_native_histograms: None,
            convert_classic_histograms_to_nhcb: false,
            always_scrape_classic_histograms: false,
            extra_scrape_metrics: None,
        };
        global.fill();
        global
    }
}

impl GlobalConfig {
    fn fill(&mut self) {
        if self.scrape_interval.is_zero() {
            self.scrape_interval = DEFAULT_SCRAPE_INTERVAL;
        }
        if self.scrape_timeout.is_zero() {
            self.scrape_timeout = DEFAULT_SCRAPE_TIMEOUT.min(self.scrape_interval);
        }
        if self.evaluation_interval.is_zero() {
            self.evaluation_interval = DEFAULT_EVALUATION_INTERVAL;
        }
        if self.scrape_protocols.is_empty() {
            self.scrape_protocols = protocols(self.scrape_native_histograms);
        }
    }

    /// Fills in every default and checks the whole.
    pub fn resolve(&mut self) -> Result<(), String> {
        if !self.scrape_timeout.is_zero()
            && self.scrape_timeout
                > if self.scrape_interval.is_zero() { DEFAULT_SCRAPE_INTERVAL } else { self.scrape_interval }
        {
            return Err("global scrape timeout greater than scrape interval".into());
        }
        self.fill();
        check_protocols(&self.scrape_protocols).map_err(|e| format!("{e} for global config"))?;
        check_schemes(&self.metric_name_validation_scheme, &self.metric_name_escaping_scheme, "global")?;
        match self.external_labels.keys().find(|name| name.is_empty()) {
            Some(name) => Err(format!("{name:?} is not a valid label name")),
            None => Ok(()),
        }
    }
}

/// Checks both name schemes; `section` is how the message calls where they stand.
pub(crate) fn check_schemes(validation: &str, escaping: &str, section: &str) -> Result<(), String> {
    if !["", "utf8", "legacy"].contains(&validation) {
        return Err(format!(
            "unknown {section} name validation method specified, must be either 'legacy' or 'utf8', got \
             {validation}"
        ));
    }
    if !["", "allow-utf-8", "underscores", "dots", "values"].contains(&escaping) {
        return Err(format!(
            "unknown {section} name escaping method specified, must be one of 'allow-utf-8', \
             'underscores', 'dots', or 'values', got {escaping}"
        ));
    }
    if validation == "legacy" && escaping == "allow-utf-8" {
        return Err(format!(
            "{section} metric name escaping scheme 'allow-utf-8' needs metric name validation scheme 'utf8'"
        ));
    }
    Ok(())
}
