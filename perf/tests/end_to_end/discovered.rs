//! Service discovery: the same fake APIs for Hearth and Prometheus, and the same targets with the same
//! labels, before and after relabelling.

mod accounts;
mod ambient;
mod announced;
mod api;
mod clouds;
mod cluster;
mod consul;
mod containers;
mod ec2;
mod ensemble;
mod front;
mod hosted;
mod kubernetes;
mod registries;

use crate::pages::{Page, serve};
use crate::setup::{folder, launch_hearth, launch_prometheus};
use hearth_perf::http::Client;
use hearth_perf::process::{Launch, Server, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// What labels of later versions than the one that is compared with begin with.
const NEWER: [&str; 9] = [
    "__always_scrape_classic_histograms__",
    "__convert_classic_histograms_to_nhcb__",
    "__meta_docker_container_image",
    "__meta_docker_container_image_id",
    "__meta_ec2_default_ipv6_address",
    "__meta_hetzner_hcloud_location",
    "__meta_hetzner_robot_datacenter",
    "__meta_kubernetes_node_condition_",
    "__scrape_native_histograms__",
];

/// What was discovered of a target, but for labels of later versions.
pub fn without_newer(target: &mut Value) {
    if let Some(labels) = target["discoveredLabels"].as_object_mut() {
        labels.retain(|name, _| !NEWER.iter().any(|newer| name.starts_with(newer)));
    }
}

/// Every target of a server: its pool and its labels, those that were discovered and those that are left.
fn targets(client: &Client) -> Result<BTreeSet<String>, String> {
    let answer = client.get("/api/v1/targets", &[]).map_err(|e| e.to_string())?;
    let value: Value = serde_json::from_str(&answer.body).map_err(|e| e.to_string())?;
    let data = &value["data"];
    let list = |what: &str| {
        let mut targets = data[what].as_array().cloned().unwrap_or_default();
        targets.iter_mut().for_each(without_newer);
        targets
    };
    let active = list("activeTargets")
        .into_iter()
        .map(|t| format!("{} {} {} {}", t["scrapePool"], t["scrapeUrl"], t["labels"], t["discoveredLabels"]));
    let dropped = list("droppedTargets").into_iter().map(|t| format!("dropped {}", t["discoveredLabels"]));
    Ok(active.chain(dropped).collect())
}

/// A change that no server shows after this long is lost.
const DEADLINE: Duration = Duration::from_secs(60);

/// Both servers with the same configuration.
struct Pair {
    ours: Server,
    theirs: Server,
}

impl Pair {
    fn start(folder: &Path, configuration: &str) -> Pair {
        Pair::start_within(folder, configuration, &[])
    }

    /// With these variables in the environment.
    fn start_within(folder: &Path, configuration: &str, environment: &[(&str, &str)]) -> Pair {
        let launch = |mut launch: Launch| {
            for (name, value) in environment {
                launch = launch.variable(name, *value);
            }
            launch.config(configuration).start().expect("it starts")
        };
        Pair { ours: launch(launch_hearth(folder)), theirs: launch(launch_prometheus(folder)) }
    }

    /// Waits until Prometheus' targets are as they must be.
    fn wait(&self, expected: impl Fn(&BTreeSet<String>) -> Result<(), String>) {
        let seen = || targets(&self.theirs.client).and_then(|theirs| expected(&theirs));
        let waited = wait_until("what Prometheus finds", DEADLINE, || Ok(seen().is_ok()));
        waited.unwrap_or_else(|error| panic!("{error}: {:?}", seen()));
    }

    /// Waits until Prometheus' targets are as they must be and Hearth has the same.
    fn agree(&self, what: &str, expected: impl Fn(&BTreeSet<String>) -> Result<(), String>) {
        agree(what, || (targets(&self.ours.client), targets(&self.theirs.client)), expected);
    }
}

/// Waits until the second's targets are as they must be and the first has the same.
fn agree(
    what: &str,
    both: impl Fn() -> (Result<BTreeSet<String>, String>, Result<BTreeSet<String>, String>),
    expected: impl Fn(&BTreeSet<String>) -> Result<(), String>,
) {
    let waited = wait_until("the same targets", DEADLINE, || match both() {
        (Ok(ours), Ok(theirs)) => Ok(expected(&theirs).is_ok() && ours == theirs),
        _ => Ok(false),
    });
    if waited.is_err() {
        let (ours, theirs) = both();
        let (ours, theirs) = (ours.expect("ours"), theirs.expect("theirs"));
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let extra: Vec<_> = ours.difference(&theirs).collect();
        panic!(
            "{what}: expected: {:?}; {} targets\nmissing: {missing:#?}\nextra: {extra:#?}",
            expected(&theirs),
            theirs.len()
        );
    }
}

/// Starts both with this configuration and waits until they have the same targets, at least `least`.
fn same_targets(folder: &Path, configuration: &str, least: usize) {
    Pair::start(folder, configuration).agree("at the start", |theirs| match theirs.len() {
        few if few < least => Err(format!("{few} targets of {least}")),
        _ => Ok(()),
    });
}

#[test]
fn http_and_file_targets_are_the_same() {
    let folder = folder();
    let groups = json!([
        {"targets": ["127.0.0.1:1", "h.example:2"], "labels": {"l": "v", "__meta_own": "o"}},
        {"targets": ["[::1]:3"]},
    ]);
    let api =
        serve(move |path| if path == "/groups" { Page::Json(groups.to_string()) } else { Page::Missing });
    let file = folder.path().join("t.yml");
    std::fs::write(&file, "- targets: [a:1, b:2]\n  labels: {x: y}\n- targets: [c:3]\n").expect("a file");
    let configuration = format!(
        "scrape_configs:
  - job_name: http
    http_sd_configs: [{{url: 'http://{api}/groups'}}]
    relabel_configs:
      - {{source_labels: [__meta_own], target_label: own}}
      - {{action: drop, source_labels: [__address__], regex: '\\[::1\\].*'}}
  - job_name: file
    file_sd_configs: [{{files: ['{}']}}]
",
        file.display()
    );
    same_targets(folder.path(), &configuration, 6);
}
