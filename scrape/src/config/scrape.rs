//! `scrape_configs[]`: one job. Fields stand in the order in which Prometheus prints them.

use super::GlobalConfig;
use super::discovery::{DiscoverySections, ShownSections};
use super::global::{check_schemes, protocols};
use super::groups::{FileSdConfig, StaticConfig};
use super::http::{Authorization, BasicAuth, HeaderValues, HttpConfig, OAuth2, TlsConfig, print_url};
use super::scalar::{ByteSize, PromDuration, Secret, read, skip};
use hearth_model::relabel::RelabelConfig;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

fn yes() -> bool {
    true
}

fn default_path() -> String {
    "/metrics".into()
}

fn default_scheme() -> String {
    "http".into()
}

/// One job. Zero durations, zero limits and `None` mean "as in `global`" until
/// [`super::resolve`] has filled them in. Proxy, TLS and authentication fields stand inline, as in YAML:
/// [`ScrapeConfig::http`] collects them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct ScrapeConfig {
    #[serde(default, deserialize_with = "read::text")]
    pub job_name: String,
    #[serde(default, deserialize_with = "read::flag", skip_serializing_if = "skip::unset")]
    pub honor_labels: bool,
    #[serde(default = "yes", deserialize_with = "read::flag_true")]
    pub honor_timestamps: bool,
    #[serde(default, deserialize_with = "read::flag")]
    pub track_timestamps_staleness: bool,
    #[serde(default, deserialize_with = "read_params", skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Vec<String>>,
    #[serde(default, deserialize_with = "read::or_default")]
    pub scrape_interval: PromDuration,
    #[serde(default, deserialize_with = "read::or_default")]
    pub scrape_timeout: PromDuration,
    #[serde(default, deserialize_with = "read::texts")]
    pub scrape_protocols: Vec<String>,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub fallback_scrape_protocol: String,
    #[serde(default, deserialize_with = "read::maybe_flag", skip_serializing_if = "Option::is_none")]
    pub scrape_native_histograms: Option<bool>,
    #[serde(default, deserialize_with = "read::maybe_flag")]
    pub always_scrape_classic_histograms: Option<bool>,
    #[serde(default, deserialize_with = "read::maybe_flag")]
    pub convert_classic_histograms_to_nhcb: Option<bool>,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub scrape_failure_log_file: String,
    #[serde(default = "default_path", deserialize_with = "read::text")]
    pub metrics_path: String,
    #[serde(default = "default_scheme", deserialize_with = "read::text")]
    pub scheme: String,
    #[serde(default = "yes", deserialize_with = "read::flag_true")]
    pub enable_compression: bool,
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
    pub native_histogram_bucket_limit: u64,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "no_factor")]
    pub native_histogram_min_bucket_factor: f64,
    #[serde(default, deserialize_with = "read::count", skip_serializing_if = "skip::zero")]
    pub keep_dropped_targets: u64,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub metric_name_validation_scheme: String,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub metric_name_escaping_scheme: String,
    #[serde(default, deserialize_with = "read::maybe_flag", skip_serializing_if = "Option::is_none")]
    pub extra_scrape_metrics: Option<bool>,

    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<OAuth2>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "TlsConfig::is_default")]
    pub tls_config: TlsConfig,
    #[serde(default = "yes", deserialize_with = "read::flag_true")]
    pub follow_redirects: bool,
    #[serde(default = "yes", deserialize_with = "read::flag_true")]
    pub enable_http2: bool,
    #[serde(default, deserialize_with = "read::maybe_text", skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "print_url")]
    pub proxy_url: Option<String>,
    #[serde(default, deserialize_with = "read::text", skip_serializing_if = "String::is_empty")]
    pub no_proxy: String,
    #[serde(default, deserialize_with = "read::flag", skip_serializing_if = "skip::unset")]
    pub proxy_from_environment: bool,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub http_headers: BTreeMap<String, HeaderValues>,

    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Vec::is_empty")]
    pub relabel_configs: Vec<RelabelConfig>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing_if = "Vec::is_empty")]
    pub metric_relabel_configs: Vec<RelabelConfig>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing)]
    pub file_sd_configs: Vec<FileSdConfig>,
    #[serde(default, deserialize_with = "read::or_default", skip_serializing)]
    pub static_configs: Vec<StaticConfig>,
    /// The other `*_sd_configs`: taken from the keys before the fields are read.
    #[serde(skip)]
    pub discovery: DiscoverySections,
}

fn no_factor(factor: &f64) -> bool {
    *factor == 0.0
}

fn read_params<'de, D: serde::Deserializer<'de>>(d: D) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    struct Values(#[serde(deserialize_with = "read::texts")] Vec<String>);
    let map = Option::<BTreeMap<String, Values>>::deserialize(d)?.unwrap_or_default();
    Ok(map.into_iter().map(|(name, values)| (name, values.0)).collect())
}

impl Serialize for ScrapeConfig {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten, with = "ScrapeConfig")]
            fields: &'a ScrapeConfig,
            #[serde(flatten)]
            sections: ShownSections<'a>,
        }
        Shown { fields: self, sections: ShownSections { job: self } }.serialize(serializer)
    }
}

/// Every protocol's name, sorted.
pub(crate) const PROTOCOLS: [&str; 5] = [
    "OpenMetricsText0.0.1",
    "OpenMetricsText1.0.0",
    "PrometheusProto",
    "PrometheusText0.0.4",
    "PrometheusText1.0.0",
];

fn check_protocol(name: &str) -> Result<(), String> {
    if PROTOCOLS.contains(&name) {
        return Ok(());
    }
    Err(format!("unknown scrape protocol {name}, supported: [{}]", PROTOCOLS.join(" ")))
}

pub(crate) fn check_protocols(names: &[String]) -> Result<(), String> {
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            return Err(format!("duplicated protocol in scrape_protocols, got [{}]", names.join(" ")));
        }
        check_protocol(name).map_err(|e| format!("scrape_protocols: {e}"))?;
    }
    Ok(())
}

fn inherit<T: Default + PartialEq + Clone>(field: &mut T, from: &T) {
    if *field == T::default() {
        field.clone_from(from);
    }
}

impl ScrapeConfig {
    /// The derived reading of the fields; [`Deserialize`] looks at the keys first.
    pub(super) fn fields<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ScrapeConfig::deserialize(deserializer)
    }

    /// Whether any section of it finds targets.
    pub fn names_targets(&self) -> bool {
        let sections = serde_json::to_value(self).unwrap_or_default();
        let keys = sections.as_object().into_iter().flat_map(|members| members.keys());
        keys.into_iter().any(|key| key == "static_configs" || key.ends_with("_sd_configs"))
    }

    /// The fields of `<http_config>`.
    pub fn http(&self) -> HttpConfig {
        HttpConfig {
            basic_auth: self.basic_auth.clone(),
            authorization: self.authorization.clone(),
            oauth2: self.oauth2.clone(),
            tls_config: self.tls_config.clone(),
            follow_redirects: self.follow_redirects,
            enable_http2: self.enable_http2,
            proxy_url: self.proxy_url.clone().filter(|url| !url.is_empty()),
            no_proxy: self.no_proxy.clone(),
            proxy_from_environment: self.proxy_from_environment,
            proxy_connect_header: self.proxy_connect_header.clone(),
            http_headers: self.http_headers.clone(),
        }
    }

    pub(super) fn resolve(&mut self, global: &GlobalConfig) -> Result<(), String> {
        if self.job_name.is_empty() {
            return Err("job_name is empty".into());
        }
        let job = format!("for scrape config with job name {:?}", self.job_name);
        self.inherit_times(global, &job)?;
        self.inherit_rest(global);
        check_protocols(&self.scrape_protocols).map_err(|e| format!("{e} {job}"))?;
        if !self.fallback_scrape_protocol.is_empty() {
            check_protocol(&self.fallback_scrape_protocol)
                .map_err(|e| format!("invalid fallback_scrape_protocol {job}: {e}"))?;
        }
        let (validation, escaping) =
            (self.metric_name_validation_scheme.as_str(), self.metric_name_escaping_scheme.as_str());
        check_schemes(validation, escaping, "scrape config")?;
        self.http().check()?;
        for rule in self.relabel_configs.iter().chain(&self.metric_relabel_configs) {
            rule.rule().map_err(|e| e.to_string())?;
        }
        // Rules may make an address of what is none, a URL to probe for one.
        let final_addresses = self.relabel_configs.is_empty();
        for group in &self.static_configs {
            group.check(final_addresses)?;
        }
        for files in &mut self.file_sd_configs {
            if files.refresh_interval.is_zero() {
                files.refresh_interval = super::DEFAULT_FILE_REFRESH;
            }
            files.check()?;
        }
        self.discovery.check()
    }

    /// Makes every relative path start at `directory`.
    pub(super) fn join_paths(&mut self, directory: &Path) {
        let mut join = |path: &mut String| super::join_path(path, directory);
        join(&mut self.scrape_failure_log_file);
        if let Some(basic) = &mut self.basic_auth {
            join(&mut basic.username_file);
            join(&mut basic.password_file);
        }
        if let Some(authorization) = &mut self.authorization {
            join(&mut authorization.credentials_file);
        }
        self.oauth2.iter_mut().flat_map(OAuth2::files_mut).for_each(&mut join);
        let tls = &mut self.tls_config;
        [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file].into_iter().for_each(&mut join);
        self.http_headers.values_mut().flat_map(|header| &mut header.files).for_each(&mut join);
        self.file_sd_configs.iter_mut().flat_map(|entry| &mut entry.files).for_each(&mut join);
        self.discovery.paths(&mut join);
    }

    fn inherit_times(&mut self, global: &GlobalConfig, job: &str) -> Result<(), String> {
        inherit(&mut self.scrape_interval, &global.scrape_interval);
        if self.scrape_timeout > self.scrape_interval {
            return Err(format!("scrape timeout greater than scrape interval {job}"));
        }
        if self.scrape_timeout.is_zero() {
            self.scrape_timeout = global.scrape_timeout.min(self.scrape_interval);
        }
        Ok(())
    }

    fn inherit_rest(&mut self, global: &GlobalConfig) {
        inherit(&mut self.body_size_limit, &global.body_size_limit);
        inherit(&mut self.sample_limit, &global.sample_limit);
        inherit(&mut self.target_limit, &global.target_limit);
        inherit(&mut self.label_limit, &global.label_limit);
        inherit(&mut self.label_name_length_limit, &global.label_name_length_limit);
        inherit(&mut self.label_value_length_limit, &global.label_value_length_limit);
        inherit(&mut self.keep_dropped_targets, &global.keep_dropped_targets);
        inherit(&mut self.scrape_failure_log_file, &global.scrape_failure_log_file);
        inherit(&mut self.scrape_native_histograms, &global.scrape_native_histograms);
        if self.scrape_protocols.is_empty() {
            // Only protobuf carries native histograms; who named protocols has decided, though.
            let unsaid = global.scrape_protocols == protocols(global.scrape_native_histograms);
            self.scrape_protocols = match unsaid {
                true => protocols(self.scrape_native_histograms),
                false => global.scrape_protocols.clone(),
            };
        }
        inherit(&mut self.extra_scrape_metrics, &global.extra_scrape_metrics);
        let always = Some(global.always_scrape_classic_histograms);
        inherit(&mut self.always_scrape_classic_histograms, &always);
        let convert = Some(global.convert_classic_histograms_to_nhcb);
        inherit(&mut self.convert_classic_histograms_to_nhcb, &convert);
        inherit(&mut self.metric_name_validation_scheme, &global.metric_name_validation_scheme);
        inherit(&mut self.metric_name_validation_scheme, &"utf8".to_string());
        inherit(&mut self.metric_name_escaping_scheme, &global.metric_name_escaping_scheme);
        let escaping =
            if self.metric_name_validation_scheme == "legacy" { "underscores" } else { "allow-utf-8" };
        inherit(&mut self.metric_name_escaping_scheme, &escaping.to_string());
        for (text, default) in
            [(&mut self.metrics_path, default_path()), (&mut self.scheme, default_scheme())]
        {
            inherit(text, &default);
        }
        if let Some(authorization) = &mut self.authorization {
            inherit(&mut authorization.kind, &"Bearer".to_string());
        }
    }

    /// Fields that are read and checked but have no effect yet, for a warning on every load. After
    /// [`super::resolve`].
    pub fn unserved(&self) -> Vec<String> {
        let out: Vec<String> = self.http().unserved().into_iter().map(String::from).collect();
        out.into_iter().map(|what| format!("job {:?}: {what}", self.job_name)).collect()
    }
}
