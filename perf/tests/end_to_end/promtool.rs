//! `promtool query` prints the same against Hearth as against Prometheus, both filled with the same data.

use crate::setup::{RECEIVER, folder, launch_hearth, launch_prometheus, now_ms, peer};
use hearth_perf::http::seconds;
use hearth_perf::load;
use hearth_perf::prepared::{Plan, Prepared};
use std::process::Command;

const INSTANT: &[&str] = &[
    "http_requests_total{mode=\"read\",device=\"dev1\"}",
    "sum by (namespace, mode) (rate(http_requests_total[5m]))",
    "avg(queue_fill_percent)",
    "topk(3, request_latency_mean_seconds)",
    "http_requests_total{device=\"dev1\",mode=\"read\"}[1m]",
    "count by (__name__) ({job=\"node\"})",
    "absent_metric",
    "1 + 2",
    "1 / 0",
    "\"text\"",
];

const RANGE: &[&str] = &[
    "sum by (mode) (rate(http_requests_total[2m]))",
    "http_requests_total{mode=\"sync\",device=\"dev2\"}",
    "max(request_latency_mean_seconds) - min(request_latency_mean_seconds)",
    "absent_metric",
];

const SERIES: &[&[&str]] = &[
    &["http_requests_total"],
    &["queue_fill_percent{mode=~\"r.+\"}", "gc_pause_mean_seconds{device=\"dev0\"}"],
    &["absent_metric"],
];

const LABELS: &[&str] = &["__name__", "mode", "node", "absent"];

/// Exit status and output. Instant vectors and series have no order of their own.
fn promtool(arguments: &[String], sorted: bool) -> (Option<i32>, String) {
    let output = Command::new(peer("promtool")).args(arguments).output().expect("promtool runs");
    let mut lines: Vec<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_string).collect();
    if sorted {
        lines.sort();
    }
    (output.status.code(), lines.join("\n"))
}

/// Whether two outputs are the same, but for the last digits of a number: a sum may add in another order.
fn same_text(ours: &str, theirs: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split_inclusive(|letter: char| letter.is_whitespace() || "\"[]{},".contains(letter))
            .map(str::to_string)
            .collect()
    };
    let (ours, theirs) = (words(ours), words(theirs));
    let close = |(one, two): (&String, &String)| {
        let number = |word: &str| word.trim_end_matches(['\n', ' ', '"']).parse::<f64>();
        match (number(one), number(two)) {
            (Ok(one), Ok(two)) if one != two => (one - two).abs() <= 1e-12 * one.abs().max(two.abs()),
            _ => one == two,
        }
    };
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(close)
}

#[test]
fn only_last_digits_may_differ() {
    assert!(same_text("{a=\"1\"} => 51.115249999999996 @[5]\n", "{a=\"1\"} => 51.11525 @[5]\n"));
    assert!(!same_text("{} => 1e5 @[5]", "{} => 100000 @[5]"));
    assert!(!same_text("{} => 1.5 @[5]", "{} => 1.50001 @[5]"));
    assert!(!same_text("{a=\"1\"} => 1", "{b=\"1\"} => 1"));
}

/// A call of promtool: what stands before the server's address, what after it, whether order is free.
fn calls(plan: &Plan) -> Vec<(Vec<String>, Vec<String>, bool)> {
    let (start, end) = (seconds(plan.start_ms()), seconds(plan.end_ms));
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let mut calls = Vec::new();
    for query in INSTANT {
        calls.push((words(&["query", "instant", "--time", &end]), words(&[query]), true));
    }
    calls.push((
        words(&["query", "instant", "-o", "json", "--time", &end]),
        words(&["count({job=\"node\"})"]),
        false,
    ));
    for query in RANGE {
        let before = words(&["query", "range", "--start", &start, "--end", &end, "--step", "30s"]);
        calls.push((before, words(&[query]), false));
    }
    for matchers in SERIES {
        let mut before = words(&["query", "series", "--start", &start, "--end", &end]);
        before.extend(matchers.iter().map(|matcher| format!("--match={matcher}")));
        calls.push((before, Vec::new(), true));
    }
    for label in LABELS {
        calls.push((words(&["query", "labels", "--start", &start, "--end", &end]), words(&[label]), false));
    }
    // Broken queries fail on both.
    for broken in ["sum(", "rate(http_requests_total)", "http_requests_total{"] {
        calls.push((words(&["query", "instant"]), words(&[broken]), true));
    }
    calls
}

#[test]
fn promtool_prints_the_same() {
    let folder = folder();
    let ours = launch_hearth(folder.path()).flag(RECEIVER).start().expect("hearth starts");
    let theirs = launch_prometheus(folder.path()).flag(RECEIVER).start().expect("prometheus starts");
    let plan = Plan {
        series: 2000,
        rounds: 40,
        interval_ms: 15_000,
        samples_per_request: 500,
        end_ms: now_ms() / 1000 * 1000 - 60_000,
        seed: 3,
    };
    let prepared = Prepared::write(plan, &folder.path().join("load")).expect("the load can be written");
    for server in [&ours, &theirs] {
        let sent = load::send(&prepared, server.client.base(), 2).expect("the load is taken");
        assert_eq!(sent.samples, plan.samples());
    }

    let mut wrong = Vec::new();
    for (before, after, sorted) in calls(&plan) {
        let at = |base: &str| [before.clone(), vec![base.to_string()], after.clone()].concat();
        let (our_status, our_text) = promtool(&at(ours.client.base()), sorted);
        let (their_status, their_text) = promtool(&at(theirs.client.base()), sorted);
        if our_status != their_status || !same_text(&our_text, &their_text) {
            wrong.push(format!(
                "{} {}: status {our_status:?}\n{our_text}\n  instead of status {their_status:?}\n{their_text}",
                before.join(" "),
                after.join(" ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n\n"));
}
