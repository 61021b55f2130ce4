//! Configuration text in, warnings or faults out.

use super::source::default_targets;
use super::*;

fn load_text(text: &str) -> Result<Config, ConfigError> {
    let environment = |name: &str| (name == "HOST").then(|| "a1".to_owned());
    read("p.yml", text, Path::new("/nonexistent"), &Reading::default(), &environment)
}

#[track_caller]
fn refused(text: &str, expect: &str) {
    let error = load_text(text).expect_err("refused").0;
    assert!(error.starts_with(expect), "{error}\nshould begin with\n{expect}");
    assert!(error.len() < 1_000, "{} bytes", error.len());
}

#[test]
fn faults_say_file_line_and_column() {
    refused("globl: {}", "p.yml:1:1: unknown field `globl`");
    refused("global:\n  scrape_interval: 5s\n  scrape_interval: 6s\n", "p.yml:3:3: duplicate mapping key");
    refused("global:\n  foo: 1\n", "p.yml:2:3: unknown field `foo`");
    refused("global:\n  scrape_interval: x\n", "p.yml:2:20: not a valid duration string: \"x\"");
    refused(
        "scrape_configs:\n- job_name: a\n- job_name: a\n",
        "p.yml:3:3: found multiple scrape configs with job name \"a\"",
    );
    refused("scrape_configs:\n- {}\n", "p.yml:2:3: job_name is empty");
    refused(
        "global: {scrape_interval: 1s, scrape_timeout: 2s}",
        "p.yml:1:9: global scrape timeout greater than scrape interval",
    );
    refused("scrape_configs:\n- job_name: a\n  nonsense: 1\n", "p.yml:3:3: unknown field `nonsense`");
    refused("global: {}\n---\nglobal: {}\n", "p.yml:3:1: multiple YAML documents");
    refused("[1, 2]", "p.yml:1:1: ");
    refused("rule_files: ['[']", "p.yml:1:14: pattern \"[\"");
    refused("remote_write: [{}]", "p.yml: remote_write[0]: url for remote_write is empty");
}

#[test]
fn storage_is_checked_and_shown() {
    let config = load_text(
        "storage:\n  tsdb:\n    out_of_order_time_window: 90m\n    retention: {time: 1w, size: 1500MB, percentage: 2.5}\n\
         \x20   stale_series_compaction_threshold: 0.5\n    chunk_encoding: {floats: xor2}\n  exemplars: {max_exemplars: 7}\n",
    )
    .expect("is read");
    assert_eq!(config.storage.out_of_order_window().map(|w| w.ms), Some(5_400_000));
    for line in [
        "out_of_order_time_window: 1h30m",
        "time: 1w",
        "size: 1GiB476MiB",
        "percentage: 2.5",
        "max_exemplars: 7",
    ] {
        assert!(config.yaml.contains(line), "{line} in {}", config.yaml);
    }
    let warned: Vec<&str> = config.warnings.iter().filter_map(|w| w.split(' ').next()).collect();
    assert_eq!(
        warned,
        [
            "storage.tsdb.stale_series_compaction_threshold",
            "storage.tsdb.chunk_encoding",
            "storage.tsdb.retention.size"
        ]
    );
    refused(
        "storage: {tsdb: {retention: {percentage: 101}}}",
        "p.yml:1:10: storage.tsdb.retention.percentage: 101",
    );
    refused(
        "storage: {tsdb: {chunk_encoding: {floats: gorilla}}}",
        "p.yml:1:10: storage.tsdb.chunk_encoding.floats:",
    );
    refused("storage: {tsdb: {retention: {size: 5}}}", "p.yml:1:36: units: unknown unit");
    refused("storage: {tsdb: {oo: 1s}}", "p.yml:1:18: unknown field `oo`");
    assert!(!load_text("").expect("is read").yaml.contains("storage"));
}

#[test]
fn hostile_text_is_refused() {
    refused(&"[".repeat(100_000), "p.yml:1:");
    let mut laughs = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for pair in "abcdefghijkl".as_bytes().windows(2) {
        let (from, to) = (pair[0] as char, pair[1] as char);
        laughs.push_str(&format!(
            "{to}: &{to} [*{from},*{from},*{from},*{from},*{from},*{from},*{from},*{from}]\n"
        ));
    }
    refused(
        &format!("otlp:\n  promote_resource_attributes:\n    {}", laughs.replace('\n', "\n    ")),
        "p.yml:",
    );
}

#[test]
fn yaml_of_old_and_shared_parts() {
    let config = load_text(
        "global:\n  external_labels: {host: '$HOST', price: '5$$', gone: '${NONE}'}\n\
         scrape_configs:\n- &base\n  job_name: a\n  honor_labels: yes\n  enable_compression: off\n\
         \x20 basic_auth: {username: u, password: canary}\n- <<: *base\n  job_name: b\n",
    )
    .expect("valid");
    assert_eq!(config.scrapes.len(), 2);
    assert!(config.scrapes.iter().all(|s| s.honor_labels && !s.enable_compression));
    assert_eq!(config.global.external_labels["host"], "a1");
    assert_eq!(config.global.external_labels["price"], "5$");
    assert!(config.warnings.iter().any(|w| w.contains("NONE")), "{:?}", config.warnings);
    assert!(!config.yaml.contains("canary"), "{}", config.yaml);
    assert!(config.yaml.contains("<secret>"), "{}", config.yaml);
}

#[test]
fn what_is_not_served_is_named() {
    let config = load_text("remote_write: [{url: 'http://x/y?z=canary'}]\nalerting: {alertmanagers: []}\n")
        .expect("valid");
    assert!(config.warnings.iter().any(|w| w.starts_with("section remote_write")), "{:?}", config.warnings);
    assert!(config.yaml.contains("http://x/y") && !config.yaml.contains("canary"), "{}", config.yaml);
}

#[test]
fn the_built_in_configuration_is_valid() {
    for node_exporter in [false, true] {
        let config = load_text(&default_targets("localhost:9090", "/metrics", node_exporter)).expect("valid");
        assert_eq!(config.scrapes.len(), if node_exporter { 2 } else { 1 });
        assert_eq!(config.warnings, Vec::<String>::new());
    }
    assert_eq!(load_text("").expect("empty is valid").scrapes.len(), 0);
}

#[test]
fn pushed_metrics_are_a_job() {
    let reading = Reading { push_job: Some("pushgateway".into()), ..Reading::default() };
    let load = |text: &str| read("p.yml", text, Path::new("/"), &reading, &|_| None);
    let added = load("").expect("added");
    assert!(added.yaml.contains("- job_name: pushgateway\n  honor_labels: true\n"), "{}", added.yaml);
    assert!(added.yaml.contains("built-in"), "{}", added.yaml);
    let own = load("scrape_configs: [{job_name: pushgateway, scrape_interval: 5s}]").expect("taken");
    assert_eq!((own.scrapes.len(), own.scrapes[0].scrape_interval.ms), (1, 5_000));
    let error = load("scrape_configs:\n- job_name: pushgateway\n  static_configs: [{targets: [a]}]\n");
    let text = error.expect_err("two sources").0;
    assert!(text.starts_with("p.yml:2:3: job \"pushgateway\" scrapes what is pushed"), "{text}");
}
