//! node_exporter scraped by Hearth and by Prometheus for a minute: the same series, the same targets and
//! metadata, the same answers.

use crate::dashboard::QUERIES;
use crate::pages::{Page, Recording, serve};
use crate::setup::{folder, launch_hearth, launch_node_exporter, launch_prometheus, now_ms};
use hearth_perf::answer::differences;
use hearth_perf::http::{Client, seconds};
use hearth_perf::process::wait_until;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A page a second for a minute.
const TURNS: usize = 60;
const INTERVAL_MS: i64 = 1000;

/// Two jobs: the recorded pages, whose samples are equal on both sides, and the exporter itself, whose
/// series are. Static labels, a rewritten target label and dropped metrics go the same way on both.
fn configuration(path: &str, recorded: &str, direct: &str) -> String {
    format!(
        "global:
  scrape_interval: 1s
  scrape_timeout: 900ms
scrape_configs:
  - job_name: node
    metrics_path: {path}
    static_configs:
      - targets: ['{recorded}']
        labels: {{cluster: test}}
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: go_gc_.*
        action: drop
  - job_name: direct
    static_configs:
      - targets: ['{direct}']
    relabel_configs:
      - source_labels: [__address__]
        regex: '([^:]+):.*'
        target_label: host
        replacement: 'at-$1'
"
    )
}

#[test]
fn a_minute_of_node_exporter_reads_the_same() {
    let folder = folder();
    let exporter = launch_node_exporter(folder.path()).start().expect("node_exporter starts");
    let recording = Arc::new(Recording::new(exporter.client.clone(), now_ms(), INTERVAL_MS));
    let pages = recording.clone();
    let recorded = serve(move |path| match path {
        "/ours" | "/theirs" => Page::Text(pages.next(path)),
        _ => Page::Missing,
    });

    let direct = exporter.address();
    let ours = launch_hearth(folder.path()).config(configuration("/ours", &recorded, &direct));
    let ours = ours.start().expect("hearth starts");
    let theirs = launch_prometheus(folder.path()).config(configuration("/theirs", &recorded, &direct));
    let theirs = theirs.start().expect("prometheus starts");

    wait_until("a minute of scrapes", Duration::from_secs(240), || {
        Ok(recording.given("/ours") > TURNS && recording.given("/theirs") > TURNS)
    })
    .expect("both scrape once a second");
    // A page that has been handed out is not stored yet; that both went on to the next is no proof, the
    // answer is.
    let end_ms = recording.start_ms + (TURNS as i64 - 1) * INTERVAL_MS;
    for client in [&ours.client, &theirs.client] {
        wait_until("the last page is stored", Duration::from_secs(30), || {
            Ok(client.number(r#"count_over_time(node_load1{job="node"}[2m])"#, end_ms)? == Some(TURNS as f64))
        })
        .expect("every recorded page is stored");
    }

    let mut wrong = Vec::new();
    compare_answers(&ours.client, &theirs.client, &recording, end_ms, &mut wrong);
    compare_series(&ours.client, &theirs.client, recording.start_ms, now_ms(), &mut wrong);
    compare_targets(&ours.client, &theirs.client, &mut wrong);
    compare_metadata(&ours.client, &theirs.client, &mut wrong);
    assert!(wrong.is_empty(), "{} differences:\n  {}", wrong.len(), wrong.join("\n  "));
}

fn compare_answers(
    ours: &Client,
    theirs: &Client,
    recording: &Recording,
    end_ms: i64,
    wrong: &mut Vec<String>,
) {
    let mut empty = 0;
    for query in QUERIES {
        let instant = (ours.instant(query, end_ms), theirs.instant(query, end_ms));
        let start_ms = recording.start_ms + 15_000;
        let range = (ours.range(query, start_ms, end_ms, 3000), theirs.range(query, start_ms, end_ms, 3000));
        for (kind, (ours, theirs)) in [("instant", instant), ("range", range)] {
            let theirs = theirs.expect("prometheus answers");
            empty += usize::from(theirs["result"].as_array().is_some_and(Vec::is_empty));
            match ours {
                Err(error) => wrong.push(format!("{kind} {query}: {error}")),
                Ok(ours) => {
                    let differences = differences(&ours, &theirs);
                    wrong.extend(differences.iter().map(|found| format!("{kind} {query}: {found}")));
                }
            }
        }
    }
    // A machine may lack a collector or two; a page without series would compare nothing.
    assert!(empty < QUERIES.len() / 2, "{empty} of the answers are empty");
}

/// The label sets of all series, as text.
fn series(client: &Client, start_ms: i64, end_ms: i64) -> BTreeSet<String> {
    let form = [("match[]", r#"{__name__!=""}"#), ("start", &seconds(start_ms)), ("end", &seconds(end_ms))];
    let data = client.data("/api/v1/series", &form).expect("the series are listed");
    let sets = data.as_array().expect("the series are a list");
    let texts: BTreeSet<_> = sets.iter().map(Value::to_string).collect();
    assert_eq!(texts.len(), sets.len(), "a series is listed twice");
    texts
}

fn compare_series(ours: &Client, theirs: &Client, start_ms: i64, end_ms: i64, wrong: &mut Vec<String>) {
    let (ours, theirs) = (series(ours, start_ms, end_ms), series(theirs, start_ms, end_ms));
    assert!(theirs.len() > 500, "{} series are too few for two jobs of node_exporter", theirs.len());
    wrong.extend(theirs.difference(&ours).map(|labels| format!("series missing: {labels}")));
    wrong.extend(ours.difference(&theirs).map(|labels| format!("series extra: {labels}")));
}

fn compare_targets(ours: &Client, theirs: &Client, wrong: &mut Vec<String>) {
    let facts = |client: &Client| -> BTreeSet<String> {
        let answer = client.get("/api/v1/targets", &[]).expect("the targets are listed");
        let value: Value = serde_json::from_str(&answer.body).expect("targets are JSON");
        let targets = value["data"]["activeTargets"].as_array().expect("active targets are a list");
        let fact = |target: &Value| {
            let parts = ["labels", "health", "lastError", "scrapePool", "scrapeInterval", "scrapeTimeout"];
            parts.map(|part| target[part].to_string()).join(" ")
        };
        targets.iter().map(fact).collect()
    };
    let (ours, theirs) = (facts(ours), facts(theirs));
    if ours != theirs {
        wrong.push(format!("targets {ours:?} instead of {theirs:?}"));
    }
}

fn compare_metadata(ours: &Client, theirs: &Client, wrong: &mut Vec<String>) {
    let metadata = |client: &Client| -> Value {
        let answer = client.get("/api/v1/metadata", &[]).expect("metadata is listed");
        serde_json::from_str::<Value>(&answer.body).expect("metadata is JSON")["data"].take()
    };
    let (ours, theirs) = (metadata(ours), metadata(theirs));
    for (metric, theirs) in theirs.as_object().expect("metadata is by metric") {
        if ours[metric] != *theirs {
            wrong.push(format!("metadata of {metric}: {} instead of {theirs}", ours[metric]));
        }
    }
}
