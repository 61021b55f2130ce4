//! Reloads under load: targets that stay are scraped as if nothing happened, a file that cannot be read changes
//! nothing and is named with its line.

use crate::setup::{folder, launch_hearth};
use hearth_perf::process::{Server, wait_until};
use hearth_perf::synthetic::{Exporter, Form};
use std::fs;
use std::path::Path;
use std::time::Duration;

const TARGETS: usize = 60;
const RELOADS: usize = 6;
const ROUNDS: usize = 3;
const INTERVAL_MS: f64 = 1_000.0;

/// The targets that stay, and one that is new with each turn. Each turn also relabels what all of them show.
fn configuration(exporter: &Exporter, turn: usize) -> String {
    let mut out = String::from(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: load\n",
    );
    out.push_str(&format!(
        "  metric_relabel_configs: [{{target_label: turn, replacement: '{turn}'}}]\n  static_configs:\n"
    ));
    for target in (0..TARGETS).chain([TARGETS + turn]) {
        let address = exporter.address(target);
        out.push_str(&format!(
            "  - {{targets: ['{address}'], labels: {{__metrics_path__: /{target}, instance: 'target-{target}'}}}}\n"
        ));
    }
    out
}

fn reload(server: &Server, file: &Path, text: &str) -> (u16, String) {
    fs::write(file, text).expect("the file is written");
    let answer = server.client.post_form("/-/reload", &[]).expect("an answer");
    (answer.status, answer.body)
}

fn active(server: &Server) -> usize {
    let data = server.client.get_data("/api/v1/targets", &[("state", "active")]).expect("targets");
    data["activeTargets"].as_array().map_or(0, Vec::len)
}

/// The longest time between two scrapes of a target that stays, while one reload after the other happens.
fn longest_gap_ms(server: &Server, exporter: &Exporter, file: &Path, round: usize, reloads: usize) -> f64 {
    exporter.begin();
    for turn in 1..=RELOADS {
        std::thread::sleep(Duration::from_millis(700));
        if turn > reloads {
            continue;
        }
        let text = configuration(exporter, round * RELOADS + turn);
        assert_eq!(reload(server, file, &text), (200, String::new()));
        assert_eq!(active(server), TARGETS + 1);
    }
    std::thread::sleep(Duration::from_secs(2));
    exporter.seen(INTERVAL_MS, TARGETS).longest_gap_ms
}

#[test]
fn a_reload_costs_no_scrape_of_a_target_that_stays() {
    let folder = folder();
    let exporter = Exporter::made(Form::Plain, 100, 0).expect("an exporter");
    let launch =
        launch_hearth(folder.path()).config(configuration(&exporter, 0)).flag("--web.enable-lifecycle");
    let server = launch.start().expect("hearth starts");
    let file = folder.path().join("hearth/prometheus.yml");
    wait_until("all targets are scraped", Duration::from_secs(60), || {
        Ok(exporter.seen(INTERVAL_MS, TARGETS).scrapes >= 2 * TARGETS)
    })
    .expect("scrapes");
    // A busy machine leaves scrapes out by itself; a reload that costs one costs it each time.
    let idle_ms = longest_gap_ms(&server, &exporter, &file, 0, 0);
    let gaps_ms: Vec<f64> =
        (0..ROUNDS).map(|round| longest_gap_ms(&server, &exporter, &file, round, RELOADS)).collect();
    let bound_ms = (1.9 * INTERVAL_MS).max(1.5 * idle_ms);
    assert!(
        gaps_ms.iter().any(|gap_ms| *gap_ms < bound_ms),
        "gaps of {gaps_ms:?} ms, without reloads {idle_ms}"
    );

    let good = configuration(&exporter, ROUNDS * RELOADS);
    let shown = server.client.get_data("/api/v1/status/config", &[]).expect("the configuration");
    let broken = good.replacen("labels: {__metrics_path__: /3,", "labelz: {__metrics_path__: /3,", 1);
    let line = broken.lines().position(|line| line.contains("labelz")).expect("the broken line") + 1;
    let (status, body) = reload(&server, &file, &broken);
    assert_eq!(status, 500, "{body}");
    assert!(
        body.contains(&format!("prometheus.yml:{line}:")) && body.contains("labelz"),
        "line {line}: {body}"
    );
    assert_eq!(server.client.get_data("/api/v1/status/config", &[]).expect("the configuration"), shown);
    assert_eq!(active(&server), TARGETS + 1);
    exporter.begin();
    wait_until("scrapes go on", Duration::from_secs(60), || {
        Ok(exporter.seen(INTERVAL_MS, TARGETS).scrapes >= 2 * TARGETS)
    })
    .expect("scrapes");
    server.stop().expect("it stops");
}
