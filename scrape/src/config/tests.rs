//! Configurations in, messages or the effective configuration out, as promtool 3.5 gives them.

use super::*;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    global: GlobalConfig,
    #[serde(default)]
    scrape_configs: Vec<ScrapeConfig>,
}

fn load(yaml: &str) -> Result<File, String> {
    let mut file: File = serde_yaml::from_str(yaml).map_err(|e| e.to_string())?;
    resolve(&mut file.global, &mut file.scrape_configs, Path::new("/etc/p")).map_err(|e| e.to_string())?;
    Ok(file)
}

/// `job` is the inside of a job's braces, without its name.
#[track_caller]
fn check_error(job: &str, expect: &str) {
    let yaml = format!("scrape_configs: [{{job_name: a, {job}}}]");
    let got = load(&yaml).map(|_| ()).expect_err("a configuration that must not load");
    assert!(got.contains(expect), "{job}\n got: {got}\nwant: {expect}");
}

#[test]
fn bad_jobs_get_prometheus_messages() {
    check_error(
        "scrape_interval: 1s, scrape_timeout: 2s",
        "scrape timeout greater than scrape interval for scrape config with job name \"a\"",
    );
    check_error("scrape_interval: 1x", "unknown unit \"x\" in duration \"1x\"");
    check_error("foo: 1", "unknown field `foo`");
    check_error(
        "scrape_protocols: [foo]",
        "scrape_protocols: unknown scrape protocol foo, supported: \
        [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0] \
        for scrape config with job name \"a\"",
    );
    check_error(
        "scrape_protocols: [PrometheusProto, PrometheusProto]",
        "duplicated protocol in scrape_protocols, got [PrometheusProto PrometheusProto] for scrape config \
         with job name \"a\"",
    );
    check_error("fallback_scrape_protocol: foo", "invalid fallback_scrape_protocol for scrape config with");
    check_error("body_size_limit: 10", "units: unknown unit  in 10");
    check_error("sample_limit: -1", "cannot unmarshal `-1` into an unsigned integer");
    check_error("honor_labels: maybe", "cannot unmarshal `maybe` into bool");
    check_error(
        "metric_name_validation_scheme: x",
        "unknown scrape config name validation method specified, must be either 'legacy' or 'utf8', got x",
    );
    check_error("static_configs: [{targets: ['http://x/']}]", "\"http://x/\" is not a valid hostname");
    check_error("static_configs: [{labels: {'': x}}]", "\"\" is not a valid label name");
    check_error("file_sd_configs: [{files: [x.txt]}]", "path name \"x.txt\" is not valid for file discovery");
    check_error("file_sd_configs: [{}]", "file service discovery config must contain at least one path name");
    check_error("uyuni_sd_configs: [{server: x}]", "uyuni SD server: URL scheme must be 'http' or 'https'");
}

#[test]
fn bad_http_sections_get_prometheus_messages() {
    check_error(
        "basic_auth: {username: a}, authorization: {credentials: a}",
        "at most one of basic_auth, oauth2 & authorization must be configured",
    );
    check_error(
        "basic_auth: {password: x, password_file: y}",
        "at most one of basic_auth password, password_file & password_ref must be configured",
    );
    check_error(
        "authorization: {type: basic}",
        "authorization type cannot be set to \"basic\", use \"basic_auth\" instead",
    );
    check_error("tls_config: {ca: x, ca_file: y}", "at most one of ca, ca_file & ca_ref must be configured");
    check_error(
        "tls_config: {cert_file: y}",
        "exactly one of key or key_file must be configured when a client certificate is configured",
    );
    check_error("tls_config: {min_version: TLS9}", "unknown TLS version: TLS9");
    check_error("no_proxy: x", "if no_proxy is configured, proxy_url must also be configured");
    check_error(
        "proxy_from_environment: true, proxy_url: 'http://x'",
        "if proxy_from_environment is configured, proxy_url must not be configured",
    );
    check_error(
        "http_headers: {Authorization: {values: [x]}}",
        "setting header \"Authorization\" is not allowed",
    );
}

#[test]
fn bad_rules_get_prometheus_messages() {
    let check = |rule: &str, expect: &str| check_error(&format!("relabel_configs: [{{{rule}}}]"), expect);
    check("action: foo", "unknown relabel action \"foo\"");
    check(
        "action: hashmod, source_labels: [a]",
        "relabel configuration for hashmod requires non-zero modulus",
    );
    check("regex: a", "relabel configuration for replace action requires 'target_label' value");
    check(
        "action: labeldrop, regex: a, target_label: x",
        "labeldrop action requires only 'regex', and no other fields",
    );
    check(
        "action: lowercase, target_label: x, replacement: y",
        "'replacement' can not be set for lowercase action",
    );
    check(
        "action: keepequal, source_labels: [a], target_label: b, regex: x",
        "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
    );
}

#[test]
fn whole_files_are_checked_across_their_entries() {
    let check = |yaml: &str, expect: &str| {
        assert_eq!(load(yaml).map(|_| ()), Err(expect.to_string()), "{yaml}");
    };
    check(
        "global: {scrape_interval: 5s, scrape_timeout: 6s}",
        "global scrape timeout greater than scrape interval",
    );
    check(
        "scrape_configs: [{job_name: a}, {job_name: a}]",
        "found multiple scrape configs with job name \"a\"",
    );
    check("scrape_configs: [{job_name: ''}]", "job_name is empty");
    let null = load("scrape_configs:\n- job_name: a\n-\n").map(|_| ()).expect_err("null entry");
    assert!(null.contains("empty or null scrape config section"), "{null}");
    let place = load("scrape_configs:\n- job_name: a\n  foo: 1\n").map(|_| ()).expect_err("unknown field");
    assert!(place.contains("line 3"), "{place}");
}

/// The text is what Prometheus 3.5 prints for the same file at `/api/v1/status/config`.
/// What the configuration of the test below prints as, defaults included.
const EFFECTIVE: &str = "\
- job_name: a
  honor_labels: true
  honor_timestamps: true
  track_timestamps_staleness: false
  params:
    x:
    - '1'
    - b
  scrape_interval: 1m30s
  scrape_timeout: 10s
  scrape_protocols:
  - OpenMetricsText1.0.0
  - OpenMetricsText0.0.1
  - PrometheusText1.0.0
  - PrometheusText0.0.4
  always_scrape_classic_histograms: false
  convert_classic_histograms_to_nhcb: false
  metrics_path: /metrics
  scheme: http
  enable_compression: true
  body_size_limit: 10MiB
  metric_name_validation_scheme: utf8
  metric_name_escaping_scheme: allow-utf-8
  basic_auth:
    username: u
    password: <secret>
  tls_config:
    ca_file: /etc/p/ca.pem
    insecure_skip_verify: true
  follow_redirects: true
  enable_http2: true
  proxy_url: http://user:xxxxx@localhost:3128
  http_headers:
    X-A:
      values:
      - v
      secrets:
      - <secret>
  relabel_configs:
  - source_labels:
    - __address__
    separator: ;
    target_label: q
    replacement: $1
    action: replace
  - separator: ;
    regex: foo.*
    replacement: $1
    action: labeldrop
  file_sd_configs:
  - files:
    - /etc/p/t/*.json
    refresh_interval: 5m
  static_configs:
  - targets:
    - localhost:1
    labels:
      a: 'true'
      z: '1'
";

#[test]
fn the_effective_configuration_prints_as_prometheus_prints_it() {
    let file = load(
        "global: {scrape_interval: 90s, body_size_limit: 1536KB}
scrape_configs:
- job_name: a
  body_size_limit: 10MB
  params: {x: [1, b]}
  honor_labels: yes
  basic_auth: {username: u, password: p}
  tls_config: {insecure_skip_verify: on, ca_file: ca.pem}
  http_headers: {X-A: {values: [v], secrets: [s]}}
  proxy_url: http://user:pw@localhost:3128
  static_configs:
  - targets: ['localhost:1']
    labels: {z: 1, a: true}
  file_sd_configs:
  - files: ['t/*.json']
  relabel_configs:
  - source_labels: [__address__]
    target_label: q
  - {action: labeldrop, regex: foo.*}
",
    )
    .expect("valid");
    assert_eq!(serde_yaml::to_string(&file.scrape_configs).expect("prints"), EFFECTIVE);
}

#[test]
fn fields_without_effect_are_named() {
    let file = load(
        "scrape_configs: [{job_name: a, scrape_protocols: [PrometheusProto], scrape_native_histograms: on,
          tls_config: {server_name: x}}, {job_name: b}]",
    )
    .expect("valid");
    assert_eq!(
        file.scrape_configs[0].unserved(),
        ["job \"a\": tls_config.server_name in the TLS greeting (the certificate is checked against it)"]
    );
    assert!(file.scrape_configs[1].unserved().is_empty());
}

#[test]
fn no_url_prints_its_password() {
    let file = load(
        "scrape_configs: [{job_name: a, oauth2: {client_id: c, client_secret: s1,
           token_url: 'http://u:s2@h/t', proxy_url: 'http://u:s3@h'}}]",
    )
    .expect("valid");
    let printed = serde_yaml::to_string(&file.scrape_configs).expect("prints");
    assert!(printed.contains("token_url: http://u:xxxxx@h/t\n"), "{printed}");
    for secret in ["s1", "s2", "s3"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
