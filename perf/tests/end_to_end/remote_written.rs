//! A real Prometheus scrapes itself and node_exporter every second and remote-writes all of it into
//! Hearth for ten minutes: then both hold the same, and the sender had nothing to repeat or drop.

use crate::setup::{RECEIVER, folder, launch_hearth, launch_node_exporter, launch_prometheus, now_ms};
use hearth_perf::answer::differences;
use hearth_perf::http::Client;
use hearth_perf::process::wait_until;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Asked at one moment on both sides; `WINDOW` is the whole run.
const QUERIES: &[&str] = &[
    r#"count({__name__!=""})"#,
    r#"count by (__name__, job) ({__name__!=""})"#,
    r#"sum by (__name__, job) ({__name__!=""})"#,
    r#"{__name__!=""}[20s]"#,
    r#"sum by (job) (rate(process_cpu_seconds_total[1m]))"#,
    r#"sum by (job, cpu) (increase(node_cpu_seconds_total[WINDOW]))"#,
    r#"avg by (mode) (rate(node_cpu_seconds_total[1m]))"#,
    r#"sum without (slice) (rate(prometheus_engine_query_duration_seconds_sum[2m]))"#,
    r#"histogram_quantile(0.9, sum by (le, handler) (rate(prometheus_http_request_duration_seconds_bucket[2m])))"#,
    r#"max_over_time(process_resident_memory_bytes[WINDOW])"#,
    r#"avg_over_time(node_memory_MemAvailable_bytes[WINDOW])"#,
];

/// What the sender counts when something goes wrong.
const TROUBLE: &[&str] = &[
    "prometheus_remote_storage_samples_retried_total",
    "prometheus_remote_storage_samples_failed_total",
    "prometheus_remote_storage_samples_dropped_total",
    "prometheus_remote_storage_histograms_failed_total",
    "prometheus_remote_storage_exemplars_failed_total",
    "prometheus_remote_storage_metadata_failed_total",
    "prometheus_remote_storage_metadata_retried_total",
];

fn run_time() -> Duration {
    let minutes = std::env::var("E2E_MINUTES").unwrap_or_else(|_| "10".to_string());
    let minutes: f64 = minutes.parse().expect("E2E_MINUTES is a number");
    Duration::from_secs_f64(minutes * 60.0)
}

#[test]
fn ten_minutes_of_remote_write_arrive_whole() {
    let folder = folder();
    let exporter = launch_node_exporter(folder.path()).start().expect("node_exporter starts");
    let mut ours = launch_hearth(folder.path()).flag(RECEIVER).start().expect("hearth starts");
    let launch = launch_prometheus(folder.path());
    let configuration = format!(
        "global:
  scrape_interval: 1s
  scrape_timeout: 1s
remote_write:
  - url: {}/api/v1/write
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ['{}']}}]
  - job_name: prometheus
    file_sd_configs: [{{files: ['{}/self.json']}}]
",
        ours.client.base(),
        exporter.address(),
        launch.folder.display(),
    );
    let mut theirs = launch.config(configuration).start().expect("prometheus starts");
    // Its own port is known only now.
    let own = format!(r#"[{{"targets": ["{}"]}}]"#, theirs.address());
    std::fs::write(theirs.launch().folder.join("self.json"), own).expect("the target file can be written");

    let (began, began_ms) = (Instant::now(), now_ms());
    let last = began + run_time();
    wait_until("the run to end", run_time() + Duration::from_secs(60), || {
        if !ours.is_alive() || !theirs.is_alive() {
            return Err("a server ended".to_string());
        }
        Ok(Instant::now() > last)
    })
    .expect("both servers live through the run");

    let at_ms = now_ms() / 1000 * 1000;
    let window = format!("{}s", (at_ms - began_ms) / 1000 + 10);
    let queries: Vec<_> = QUERIES.iter().map(|query| query.replace("WINDOW", &window)).collect();
    // What is asked lies in the past on the sender; it is equal once the last batch has arrived.
    let mut wrong = Vec::new();
    let equal = wait_until("the last batch arrives", Duration::from_secs(60), || {
        wrong = compare(&ours.client, &theirs.client, &queries, at_ms);
        Ok(wrong.is_empty())
    });
    assert!(equal.is_ok(), "{equal:?}, {} differences:\n  {}", wrong.len(), wrong.join("\n  "));
    let stored = count_samples(&ours.client, &theirs.client, &window, at_ms);
    let least = 1000.0 * run_time().as_secs_f64() / 2.0;
    assert!(stored > least, "only {stored} samples were stored, the two jobs give more than {least}");
    no_trouble(&theirs.client);
}

fn compare(ours: &Client, theirs: &Client, queries: &[String], at_ms: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    for query in queries {
        let theirs = theirs.instant(query, at_ms).expect("prometheus answers");
        match ours.instant(query, at_ms) {
            Err(error) => wrong.push(format!("{query}: {error}")),
            Ok(ours) => {
                wrong.extend(differences(&ours, &theirs).iter().map(|found| format!("{query}: {found}")))
            }
        }
    }
    wrong
}

/// Counts the samples of the whole run on both sides, name by name (without its name a series may equal
/// another one, which is an error); returns how many there are.
fn count_samples(ours: &Client, theirs: &Client, window: &str, at_ms: i64) -> f64 {
    let answer = theirs.get("/api/v1/label/__name__/values", &[]).expect("prometheus lists its names");
    let names = serde_json::from_str::<Value>(&answer.body).expect("names are JSON")["data"].take();
    let mut total = 0.0;
    let mut wrong = Vec::new();
    for name in names.as_array().expect("names are a list").iter().filter_map(Value::as_str) {
        let query = format!("sum(count_over_time({name}[{window}]))");
        let expect = theirs.number(&query, at_ms).expect("prometheus answers");
        let found = ours.number(&query, at_ms).expect("hearth answers");
        total += expect.unwrap_or(0.0);
        if found != expect {
            wrong.push(format!("{name}: {found:?} samples instead of {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    total
}

/// The sender's own metrics say that nothing failed, was repeated or dropped.
fn no_trouble(sender: &Client) {
    let page = sender.get("/metrics", &[]).expect("prometheus shows its metrics").body;
    let sent = page.lines().find(|line| line.starts_with("prometheus_remote_storage_samples_total{"));
    assert!(sent.is_some_and(|line| !line.ends_with(" 0")), "the sender sent nothing: {sent:?}");
    let counted = |line: &&str| TROUBLE.iter().any(|name| line.starts_with(&format!("{name}{{")));
    let trouble: Vec<_> = page.lines().filter(counted).filter(|line| !line.ends_with(" 0")).collect();
    assert!(trouble.is_empty(), "{trouble:#?}");
    assert!(page.lines().any(|line| line.starts_with(TROUBLE[0])), "the sender has no such metric any more");
}
