//! blackbox_exporter behind relabelled `__param_target`, scraped by Hearth and by Prometheus: the same targets, probes of
//! the same things.

use crate::discovered::without_newer;
use crate::setup::{folder, launch_blackbox_exporter, launch_hearth, launch_prometheus, now_ms};
use hearth_perf::http::Client;
use hearth_perf::process::wait_until;
use hearth_perf::synthetic::{Exporter, Form};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const MODULES: &str = "modules: {up: {prober: http, timeout: 2s}, tcp: {prober: tcp, timeout: 2s}}\n";

fn configuration(blackbox: &str, exporter: &Exporter, closed: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: probe
  metrics_path: /probe
  params: {{module: [up], debug: ['', 'x y&z']}}
  static_configs:
  - targets: ['http://{0}/a?b=c', 'http://{1}/', 'http://{closed}/']
    labels: {{zone: 'é\"'}}
  - targets: ['{0}']
    labels: {{__param_module: tcp}}
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{source_labels: [__param_module], target_label: module}}
  - {{target_label: __address__, replacement: '{blackbox}'}}
",
        exporter.address(0),
        exporter.address(1),
    )
}

/// Labels, URL and health of every target.
fn targets(client: &Client) -> Result<BTreeSet<String>, String> {
    let data = client.get_data("/api/v1/targets", &[("state", "active")])?;
    let mut list = data["activeTargets"].as_array().ok_or("no targets")?.clone();
    list.iter_mut().for_each(without_newer);
    let shown = |target: &Value| {
        format!(
            "{} {} {} {}",
            target["labels"], target["discoveredLabels"], target["scrapeUrl"], target["health"]
        )
    };
    Ok(list.iter().map(shown).collect())
}

#[test]
fn probes_by_relabelled_parameters_are_the_same() {
    let folder = folder();
    let exporter = Exporter::made(Form::Plain, 1, 0).expect("an exporter");
    let closed = format!("127.0.0.1:{}", hearth_perf::process::free_port().expect("a port"));
    let blackbox =
        launch_blackbox_exporter(folder.path()).config(MODULES).start().expect("blackbox_exporter");
    let yaml = configuration(&blackbox.address(), &exporter, &closed);
    let ours = launch_hearth(folder.path()).config(yaml.clone()).start().expect("hearth");
    let theirs = launch_prometheus(folder.path()).config(yaml).start().expect("prometheus");
    let probed = |client: &Client| client.number("count(probe_success)", now_ms());
    wait_until("all targets are probed", Duration::from_secs(60), || {
        Ok(probed(&ours.client)? == Some(4.0) && probed(&theirs.client)? == Some(4.0))
    })
    .expect("probes");
    assert_eq!(targets(&ours.client), targets(&theirs.client));
    let outcome = |client: &Client| {
        let data = client.instant("sort_by_label(probe_success, \"instance\", \"module\")", now_ms());
        let data = data.or_else(|_| client.instant("probe_success", now_ms())).expect("an answer");
        let list = data["result"].as_array().cloned().unwrap_or_default();
        list.iter().map(|one| format!("{} {}", one["metric"], one["value"][1])).collect::<BTreeSet<_>>()
    };
    let found = outcome(&ours.client);
    assert_eq!(found, outcome(&theirs.client));
    assert_eq!(found.iter().filter(|line| line.ends_with("\"1\"")).count(), 3, "{found:?}");
}
