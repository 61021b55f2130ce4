//! Cardinality beside the real Prometheus: `status/tsdb` says the same of the same series. And limits by name:
//! what is new is refused with the limit's name, what is there goes on.

use crate::setup::{RECEIVER, folder, launch_hearth, launch_prometheus, now_ms};
use hearth_perf::http::Client;
use hearth_perf::request::{Encoder, label_bytes};
use serde_json::Value;
use std::collections::BTreeMap;

/// Writes one sample of each; the answer's status and text.
fn write(client: &Client, series: &[Vec<(&str, String)>], time_ms: i64) -> (u16, String) {
    let mut request = Encoder::default();
    for labels in series {
        request.push(
            &label_bytes(labels.iter().map(|(name, value)| (*name, value.as_str()))),
            &[(time_ms, 1.0)],
        );
    }
    let body = request.finish().expect("it is encoded").to_vec();
    let answer = client.remote_write(&body).expect("it answers");
    (answer.status, answer.body)
}

fn series(metric: &str, job: &str, count: usize) -> Vec<Vec<(&'static str, String)>> {
    let of = |i: usize| {
        vec![("__name__", metric.to_owned()), ("instance", format!("host-{i:03}")), ("job", job.to_owned())]
    };
    (0..count).map(of).collect()
}

/// A table as name -> value.
fn table(data: &Value, name: &str) -> BTreeMap<String, u64> {
    let rows = data[name].as_array().unwrap_or_else(|| panic!("{name} is missing in {data}"));
    let row = |row: &Value| {
        let name = row["name"].as_str().expect("a name").to_owned();
        (name, row["value"].as_u64().expect("a count"))
    };
    rows.iter().map(row).collect()
}

const TABLES: [&str; 4] = [
    "seriesCountByMetricName",
    "labelValueCountByLabelName",
    "memoryInBytesByLabelName",
    "seriesCountByLabelValuePair",
];

#[test]
fn both_count_the_same() {
    let folder = folder();
    let ours = launch_hearth(folder.path()).flag(RECEIVER).start().expect("hearth starts");
    let theirs = launch_prometheus(folder.path()).flag(RECEIVER).start().expect("prometheus starts");
    let now = now_ms() - 1000;
    for (metric, job, count) in [("up", "node", 40), ("cpu_total", "node", 25), ("http_total", "web", 13)] {
        for client in [&ours.client, &theirs.client] {
            let (status, text) = write(client, &series(metric, job, count), now);
            assert!((200..300).contains(&status), "{text}");
        }
    }
    let ask = |client: &Client, limit: &str| {
        let answer = client.get("/api/v1/status/tsdb", &[("limit", limit)]).expect("it answers");
        (answer.status, serde_json::from_str::<Value>(&answer.body).expect("JSON"))
    };
    let (mine, real) = (ask(&ours.client, "1000").1, ask(&theirs.client, "1000").1);
    assert_eq!(mine["data"]["headStats"], real["data"]["headStats"]);
    for name in TABLES {
        assert_eq!(table(&mine["data"], name), table(&real["data"], name), "{name}");
    }
    assert_eq!(mine["data"]["newSeriesInLastHour"], 78);
    let grown = table(&mine["data"], "newSeriesCountByMetricName");
    assert_eq!(grown, table(&real["data"], "seriesCountByMetricName"));
    assert_eq!(table(&mine["data"], "newSeriesCountByLabelName")["job"], 78);
    assert_eq!(table(&mine["data"], "newSeriesCountByLabelValuePair")["job=web"], 13);
    for limit in ["1", "3", "10000", ""] {
        let (mine, real) = (ask(&ours.client, limit).1, ask(&theirs.client, limit).1);
        for name in TABLES {
            // Where several have the same count, which of them are shown is nobody's promise.
            let counts = |data: &Value| table(&data["data"], name).into_values().collect::<Vec<_>>();
            let (mut mine, mut real) = (counts(&mine), counts(&real));
            mine.sort_unstable();
            real.sort_unstable();
            assert_eq!(mine, real, "{name}, limit {limit}");
        }
    }
    for limit in ["0", "-1", "x"] {
        assert_eq!(ask(&ours.client, limit), ask(&theirs.client, limit), "limit {limit}");
    }
}

#[test]
fn a_limit_refuses_by_its_name() {
    let folder = folder();
    let launch = launch_hearth(folder.path())
        .flag(RECEIVER)
        .flag("--storage.max-series=50")
        .flag("--storage.max-series-per-metric=30")
        .flag("--storage.max-series-per-job=40")
        .flag("--storage.max-labels-per-series=3")
        .flag("--storage.max-label-name-length=9")
        .flag("--storage.max-label-value-length=20");
    let server = launch.start().expect("hearth starts");
    let now = now_ms() - 60_000;
    let check = |sent: Vec<Vec<(&str, String)>>, step: i64, named: &str, refused: usize| {
        let (status, text) = write(&server.client, &sent, now + step);
        let stored = sent.len() - refused;
        assert_eq!(status, if refused > 0 { 400 } else { 204 }, "{text}");
        if refused > 0 {
            assert!(text.contains(&format!("({named}): {refused} samples")), "{text}");
            assert!(text.contains(&format!("{stored} samples are stored")), "{text}");
        }
    };
    check(series("a", "x", 35), 0, "storage.max-series-per-metric", 5);
    check(series("b", "x", 15), 0, "storage.max-series-per-job", 5);
    check(series("c", "y", 15), 0, "storage.max-series", 5);
    let long =
        |name: &'static str, value: &str| vec![vec![("__name__", "a".to_owned()), (name, value.to_owned())]];
    check(long("a_long_name", "x"), 0, "storage.max-label-name-length", 1);
    check(long("instance", "a value of some length"), 0, "storage.max-label-value-length", 1);
    let mut wide = series("a", "x", 1);
    wide[0].push(("zone", "1".to_owned()));
    check(wide, 0, "storage.max-labels-per-series", 1);
    // Those that are there go on; which of the 35 they are, is nobody's promise.
    check(series("a", "x", 35), 1, "storage.max-series", 5);
    let page = server.client.get("/metrics", &[]).expect("it answers").body;
    for (reason, count) in [
        ("metric_series_limit", 5),
        ("job_series_limit", 5),
        ("series_limit", 10),
        ("label_name_limit", 1),
        ("label_value_limit", 1),
        ("label_count_limit", 1),
        ("new_series_limit", 0),
    ] {
        let line = format!("hearth_refused_samples_total{{reason=\"{reason}\"}} {count}\n");
        assert!(page.contains(&line), "{line} in {page}");
    }
}

/// What is kept changes with a reload, and the page and the API say so.
#[test]
fn what_is_kept_is_reloaded() {
    let folder = folder();
    let launch = launch_hearth(folder.path())
        .flag("--web.enable-lifecycle")
        .flag("--storage.tsdb.retention.time=3d")
        .config("storage: {tsdb: {retention: {size: 2GB}}}\n");
    let server = launch.start().expect("hearth starts");
    let check = |text: &str, seconds: &str, bytes: &str, percent: &str| {
        let info = server.client.data("/api/v1/status/runtimeinfo", &[]);
        let info = info.or_else(|_| {
            let answer = server.client.get("/api/v1/status/runtimeinfo", &[])?;
            let value: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
            Ok::<Value, String>(value["data"].clone())
        });
        assert_eq!(info.expect("it answers")["storageRetention"], text);
        let page = server.client.get("/metrics", &[]).expect("it answers").body;
        for (name, value) in [("seconds", seconds), ("bytes", bytes), ("percentage", percent)] {
            let line = format!("prometheus_tsdb_retention_limit_{name} {value}\n");
            assert!(page.contains(&line), "{line} in {page}");
        }
    };
    check("3d or 2GiB", "259200", "2.147483648e+09", "0");
    let config = server.launch().folder.join("prometheus.yml");
    let reload = |text: &str| {
        std::fs::write(&config, text).expect("the configuration can be written");
        server.client.post_form("/-/reload", &[]).expect("it answers").status
    };
    assert_eq!(reload("storage: {tsdb: {retention: {time: 1w, percentage: 80}}}\n"), 200);
    check("1w or 80%", "604800", "0", "80");
    assert_eq!(reload("storage: {tsdb: {retention: {percentage: 180}}}\n"), 500);
    check("1w or 80%", "604800", "0", "80");
    assert_eq!(reload("{}\n"), 200);
    check("3d", "259200", "0", "0");
}
