//! Blocks that are put into the data directory of a running server, as promtool's are into that of Prometheus: they are
//! there soon, without a restart.

use super::awaited::{blocks, warnings};
use super::{run, text};
use crate::setup::{folder, hearth, launch_hearth, now_ms};
use hearth_perf::http::{Client, seconds};
use hearth_perf::process::wait_until;
use std::path::Path;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;

fn figure(client: &Client, name: &str) -> Result<u64, String> {
    let page = client.get("/metrics", &[])?.body;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no {name}"))
}

fn wait_for(client: &Client, name: &str, value: u64) {
    let there = || Ok(figure(client, name)? == value);
    wait_until(name, Duration::from_secs(60), there).expect("it comes");
}

fn count(client: &Client, query: &[(&str, &str)]) -> String {
    let found = client.data("/api/v1/query", query).expect("it answers");
    found["result"][0]["value"][1].as_str().unwrap_or("none").to_owned()
}

fn move_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("reads");
        if entry.path().join("meta.json").exists() {
            std::fs::rename(entry.path(), to.join(entry.file_name())).expect("moves");
        }
    }
}

#[test]
fn blocks_that_come_are_there_without_a_restart() {
    let folder = folder();
    let start_ms = now_ms() / (2 * HOUR_MS) * (2 * HOUR_MS) - 48 * HOUR_MS;
    let launch = launch_hearth(folder.path())
        .flag("--storage.tsdb.retention.time=10y")
        .flag("--storage.takeover.interval=100ms");
    let running = launch.start().expect("hearth starts");
    let (client, data, staging) = (&running.client, launch.data(), folder.path().join("staging"));
    let end = |start_ms: i64| seconds(start_ms + 4 * HOUR_MS);
    let converted = "hearth_takeover_blocks_converted_total";

    // As an operator of Prometheus does it: into the data directory.
    std::fs::create_dir_all(&staging).expect("makes");
    blocks(&folder.path().join("page"), &staging, start_ms);
    move_all(&staging, &data);
    wait_for(client, converted, 2);
    let query = "count_over_time(m[5h])";
    assert_eq!(count(client, &[("query", query), ("time", &end(start_ms))]), "240");
    assert!(
        !std::fs::read_dir(&data).expect("lists").any(|e| e
            .expect("reads")
            .path()
            .join("meta.json")
            .exists())
    );

    // Into the folder of those that were taken over, one of them with an index that is cut off.
    let later_ms = start_ms + 24 * HOUR_MS;
    let newer = blocks(&folder.path().join("page"), &staging, later_ms);
    let index = std::fs::read(newer.join("index")).expect("reads");
    std::fs::write(newer.join("index"), &index[..index.len() / 2]).expect("cuts");
    let name = newer.file_name().expect("has a name").to_owned();
    move_all(&staging, &data.join("prometheus"));
    wait_for(client, "hearth_takeover_blocks_damaged_total", 1);
    wait_for(client, converted, 3);
    let at = end(later_ms);
    let asked = [("query", query), ("time", &*at)];
    assert_eq!(count(client, &asked), "120");
    let told = warnings(client, "/api/v1/query", &asked);
    assert!(matches!(&told[..], [told] if told.contains("could not be taken over")), "{told:?}");

    // Repaired, it is taken.
    std::fs::write(data.join("prometheus").join(name).join("index"), index).expect("writes");
    wait_for(client, converted, 4);
    assert_eq!((count(client, &asked), warnings(client, "/api/v1/query", &asked)), ("240".into(), vec![]));
    running.stop().expect("it ends when asked to");
    let (code, told) = run(&hearth(), &["tsdb", "verify", text(&data)]);
    assert_eq!(code, Some(0), "{told}");
}
