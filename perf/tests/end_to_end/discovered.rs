//! Service discovery: the same fake APIs for Hearth and Prometheus, and the same targets with the same
//! labels, before and after relabelling.

use crate::pages::{Page, serve};
use crate::setup::{folder, launch_hearth, launch_prometheus};
use hearth_perf::http::Client;
use hearth_perf::process::wait_until;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Labels of later versions than the one that is compared with.
const NEWER: [&str; 2] = ["__meta_docker_container_image", "__meta_docker_container_image_id"];

/// Every target of a server: its pool and its labels, those that were discovered and those that are left.
fn targets(client: &Client) -> Result<BTreeSet<String>, String> {
    let answer = client.get("/api/v1/targets", &[]).map_err(|e| e.to_string())?;
    let value: Value = serde_json::from_str(&answer.body).map_err(|e| e.to_string())?;
    let data = &value["data"];
    let list = |what: &str| {
        let mut targets = data[what].as_array().cloned().unwrap_or_default();
        for labels in targets.iter_mut().filter_map(|target| target["discoveredLabels"].as_object_mut()) {
            labels.retain(|name, _| !NEWER.contains(&name.as_str()));
        }
        targets
    };
    let active = list("activeTargets")
        .into_iter()
        .map(|t| format!("{} {} {} {}", t["scrapePool"], t["scrapeUrl"], t["labels"], t["discoveredLabels"]));
    let dropped = list("droppedTargets").into_iter().map(|t| format!("dropped {}", t["discoveredLabels"]));
    Ok(active.chain(dropped).collect())
}

/// Starts both with this configuration and waits until they have the same targets, at least `least`.
fn same_targets(folder: &Path, configuration: &str, least: usize) {
    let ours = launch_hearth(folder).config(configuration.to_owned()).start().expect("hearth starts");
    let theirs =
        launch_prometheus(folder).config(configuration.to_owned()).start().expect("prometheus starts");
    let both = || (targets(&ours.client), targets(&theirs.client));
    let waited = wait_until("the same targets", Duration::from_secs(60), || match both() {
        (Ok(ours), Ok(theirs)) => Ok(theirs.len() >= least && ours == theirs),
        _ => Ok(false),
    });
    if waited.is_err() {
        let (ours, theirs) = (both().0.expect("ours"), both().1.expect("theirs"));
        let missing: Vec<_> = theirs.difference(&ours).collect();
        let extra: Vec<_> = ours.difference(&theirs).collect();
        panic!("{} targets of {least}\nmissing: {missing:#?}\nextra: {extra:#?}", theirs.len());
    }
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

#[test]
fn docker_targets_are_the_same() {
    let folder = folder();
    let api = serve(|path| {
        match path.split('?').next().unwrap_or_default() {
        "/_ping" => Page::Text(Arc::new("OK".into())),
        path if path.ends_with("/containers/json") => Page::Json(
            json!([
                {"Id": "a1", "Names": ["/web"], "Image": "nginx:1", "ImageID": "sha256:5", "Labels": {"com.x/y": "z"},
                 "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}, {"PrivatePort": 53, "Type": "udp"}],
                 "HostConfig": {"NetworkMode": "net"},
                 "NetworkSettings": {"Networks": {"b": {"NetworkID": "n2", "IPAddress": "10.0.0.9"}, "a": {"NetworkID": "n1", "IPAddress": "10.0.0.2"}}}},
                {"Id": "b2", "Names": ["/side"], "Image": "i", "HostConfig": {"NetworkMode": "container:a1"},
                 "NetworkSettings": {"Networks": {}}, "Ports": []},
                {"Id": "c3", "Names": ["/host"], "HostConfig": {"NetworkMode": "host"},
                 "NetworkSettings": {"Networks": {"host": {"NetworkID": "h", "IPAddress": ""}}}},
            ])
            .to_string(),
        ),
        path if path.ends_with("/networks") => Page::Json(
            json!([{"Id": "n1", "Name": "a", "Scope": "local", "Internal": false, "Ingress": true, "Labels": {"k": "v"}}]).to_string(),
        ),
        _ => Page::Missing,
    }
    });
    let configuration =
        format!("scrape_configs:\n  - job_name: docker\n    docker_sd_configs: [{{host: 'http://{api}'}}]\n");
    same_targets(folder.path(), &configuration, 2);
}
