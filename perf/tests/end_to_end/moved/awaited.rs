//! While blocks of Prometheus are still to be taken over, answers that may lack their samples say so.

use super::{run, text};
use crate::setup::{folder, hearth, launch_hearth, now_ms, peer};
use hearth_perf::http::{Client, seconds};
use hearth_perf::process::wait_until;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const HOUR_MS: i64 = 3_600_000;
const SAMPLES: i64 = 240;

/// Two blocks of two hours each, as promtool makes them; returns the newer one's folder.
pub fn blocks(file: &Path, data: &Path, start_ms: i64) -> PathBuf {
    let line = |n: i64| format!("m {n} {}\n", seconds(start_ms + n * 60_000));
    let page: String = (0..SAMPLES).map(line).collect();
    std::fs::write(file, page + "# EOF\n").expect("writes");
    let make = ["tsdb", "create-blocks-from", "openmetrics", text(file), text(data)];
    let (code, told) = run(&peer("promtool"), &make);
    assert_eq!(code, Some(0), "{told}");
    let newest = |entry: &PathBuf| {
        let meta = std::fs::read_to_string(entry.join("meta.json")).expect("reads");
        serde_json::from_str::<Value>(&meta).expect("JSON")["maxTime"].as_i64().expect("a number")
    };
    let entries = std::fs::read_dir(data).expect("lists").map(|entry| entry.expect("reads").path());
    entries.filter(|path| path.join("meta.json").exists()).max_by_key(newest).expect("there are blocks")
}

pub fn warnings(client: &Client, path: &str, form: &[(&str, &str)]) -> Vec<String> {
    let answer = client.get(path, form).expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer: Value = serde_json::from_str(&answer.body).expect("JSON");
    let of = |warning: &Value| warning.as_str().expect("a text").to_owned();
    answer["warnings"].as_array().map_or(Vec::new(), |all| all.iter().map(of).collect())
}

#[test]
fn answers_say_what_is_still_to_come() {
    let folder = folder();
    let start_ms = now_ms() / (2 * HOUR_MS) * (2 * HOUR_MS) - 24 * HOUR_MS;
    let launch = launch_hearth(folder.path()).flag("--storage.tsdb.retention.time=10y");
    std::fs::create_dir_all(launch.data()).expect("makes");
    let newer = blocks(&folder.path().join("page"), &launch.data(), start_ms);
    // The newest is taken over first, and nobody can open this before somebody writes into it.
    let whole = std::fs::read(newer.join("index")).expect("reads");
    std::fs::remove_file(newer.join("index")).expect("removes");
    assert!(Command::new("mkfifo").arg(newer.join("index")).status().expect("runs").success());

    let time = |ms: i64| seconds(start_ms + ms);
    let all = [("query", "sum(count_over_time(m[5h]))"), ("time", &*time(4 * HOUR_MS))];
    let behind = [("query", "m"), ("time", &*time(10 * HOUR_MS))];
    let older = [("start", &*time(0)), ("end", &*time(HOUR_MS))];
    let running = launch.start().expect("hearth starts");
    let (client, query) = (&running.client, "/api/v1/query");
    for (path, form) in [(query, &all), ("/api/v1/labels", &older), ("/api/v1/label/__name__/values", &older)]
    {
        let told = warnings(client, path, form);
        let [told] = &told[..] else { panic!("{path}: {told:?}") };
        assert!(told.contains("are still being taken over"), "{path}: {told}");
    }
    assert_eq!(warnings(client, query, &behind), [""; 0]);

    let aside = launch.data().join("prometheus").join(newer.file_name().expect("has a name")).join("index");
    drop(File::options().write(true).open(&aside).expect("it is being read"));
    wait_until("the takeover to end", Duration::from_secs(60), || {
        Ok(client.get("/metrics", &[])?.body.lines().any(|line| line == "hearth_takeover_blocks_pending 0"))
    })
    .expect("it ends");
    let told = warnings(client, query, &all);
    assert!(matches!(&told[..], [told] if told.contains("could not be taken over")), "{told:?}");
    assert_eq!(warnings(client, "/api/v1/labels", &older), [""; 0]);
    running.stop().expect("it ends when asked to");

    std::fs::remove_file(&aside).expect("removes");
    std::fs::write(&aside, whole).expect("writes");
    let launch = launch.flag("--storage.takeover.wait");
    let running = launch.start().expect("hearth starts again");
    assert_eq!(warnings(&running.client, query, &all), [""; 0]);
    let found = running.client.data(query, &all).expect("it answers");
    assert_eq!(found["result"][0]["value"][1], SAMPLES.to_string());
    running.stop().expect("it ends when asked to");
    assert_eq!(run(&hearth(), &["tsdb", "verify", text(&launch.data())]).0, Some(0));
}
