//! The fixed questions that every server answers in a comparison, over the data of `series`, and how long
//! each takes: from a glance at one series to a rate over every counter.

use crate::http::{Client, seconds};
use crate::prepared::Plan;
use crate::process::Server;
use serde_json::Value;
use std::time::{Duration, Instant};

/// A question.
#[derive(Debug)]
pub struct Question {
    pub name: &'static str,
    pub expression: &'static str,
    /// Over all of the data; else at its end.
    pub step: Option<Step>,
}

/// The step of a range.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Scrape,
    Minute,
}

const fn instant(name: &'static str, expression: &'static str) -> Question {
    Question { name, expression, step: None }
}

const fn range(name: &'static str, expression: &'static str) -> Question {
    Question { name, expression, step: Some(Step::Scrape) }
}

const fn long(name: &'static str, expression: &'static str) -> Question {
    Question { name, expression, step: Some(Step::Minute) }
}

/// The questions of a set.
pub fn questions(set: &str) -> Result<&'static [Question], String> {
    match set {
        "mixed" => Ok(MIXED),
        "long" => Ok(LONG),
        _ => Err(format!("{set}: neither mixed nor long")),
    }
}

/// What a dashboard and an operator ask, the cheap ones first; ranges at the step of one scrape.
const MIXED: &[Question] = &[
    instant("one series", r#"http_requests_total{node="node-00000",device="dev1",mode="read"}"#),
    instant(
        "rate of one series",
        r#"rate(http_requests_total{node="node-00000",device="dev1",mode="read"}[5m])"#,
    ),
    instant("sum of a metric by namespace", "sum by (namespace) (node_filesystem_size_bytes)"),
    instant("top ten of a gauge", "topk(10, queue_fill_percent)"),
    instant("regex in the middle", r#"count(http_requests_total{pod=~".*-0*1[0-9]*$"})"#),
    instant("rate of a metric", "sum by (namespace) (rate(http_requests_total[5m]))"),
    instant("count everything", r#"count({__name__!=""})"#),
    instant("count everything by name", r#"count by (__name__) ({job="node"})"#),
    instant("rate of every counter", r#"sum by (mode) (rate({__name__=~".+_total"}[5m]))"#),
    range(
        "range: rate of one series",
        r#"rate(http_requests_total{node="node-00000",device="dev1",mode="read"}[5m])"#,
    ),
    range("range: maximum of a gauge", "max by (namespace) (max_over_time(queue_fill_percent[10m]))"),
    range("range: rate of a metric", "sum by (mode) (rate(http_requests_total[5m]))"),
    range(
        "range: ratio of two rates",
        "sum by (node) (rate(http_response_bytes_total[5m])) / sum by (node) (rate(http_requests_total[5m]))",
    ),
    range("range: rate of every counter", r#"sum by (mode) (rate({__name__=~".+_total"}[5m]))"#),
];

/// Ranges at a step of a minute, for some hours of data: each kind of work that an executor does.
const LONG: &[Question] = &[
    long("one series", r#"rate(http_requests_total{node="node-00000",device="dev1",mode="read"}[5m])"#),
    long(
        "sum of the rates of half the metrics",
        r#"sum by (mode) (rate({__name__=~".+_(total|bucket|percent|mean_seconds)"}[5m]))"#,
    ),
    long(
        "quantile of buckets",
        "histogram_quantile(0.9, sum by (le, namespace) (rate(grpc_server_handling_seconds_bucket[5m])))",
    ),
    long("maximum over an hour", "max by (namespace) (max_over_time(queue_fill_percent[1h]))"),
    long(
        "quantile over half an hour",
        "avg by (namespace) (quantile_over_time(0.9, request_latency_mean_seconds[30m]))",
    ),
    long(
        "join one to one",
        "rate(http_response_bytes_total[5m]) / ignoring (collector) rate(http_requests_total[5m])",
    ),
    long(
        "join many to one",
        "rate(http_requests_total[5m]) * on (node) group_left sum by (node) (kube_pod_status_ready)",
    ),
    long("top ten", "topk(10, rate(http_requests_total[5m]))"),
    long("regex", r#"sum by (namespace) (rate({__name__=~"node_.+",pod=~".*-0*1[0-9]*$"}[5m]))"#),
    long("subquery", "max_over_time(sum by (namespace) (rate(http_requests_total[5m]))[30m:1m])"),
    long("count of everything", r#"count({__name__!=""})"#),
    long("raw values of a metric", "http_requests_total"),
];

/// What a question cost, a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub cpu_ms: f64,
    /// The median.
    pub wall_ms: f64,
    /// What the process held at most, above what it held before.
    pub peak_bytes: u64,
}

/// Fewest and most times that a question is asked.
const TIMES: std::ops::RangeInclusive<usize> = 3..=3_000;

/// The answer, as `data`.
pub fn ask(client: &Client, question: &Question, plan: &Plan) -> Result<Value, String> {
    let time = seconds(plan.end_ms);
    let step_ms = match question.step {
        None => {
            return client.data("/api/v1/query", &[("query", question.expression), ("time", &time)]);
        }
        Some(Step::Scrape) => plan.interval_ms,
        Some(Step::Minute) => 60_000,
    };
    let form = [
        ("query", question.expression),
        ("start", &seconds(plan.start_ms())),
        ("end", &time),
        ("step", &seconds(step_ms)),
    ];
    client.data("/api/v1/query_range", &form)
}

/// Asks for at least that long, after once unmeasured, and divides: CPU is counted in hundredths of a
/// second, so that a single quick answer would cost nothing.
pub fn time(server: &Server, question: &Question, plan: &Plan, at_least: Duration) -> Result<Cost, String> {
    let held_bytes = server.forget_peak()?;
    ask(&server.client, question, plan)?;
    let peak_bytes = server.memory()?.peak_bytes.saturating_sub(held_bytes);
    let (began, cpu_before_s) = (Instant::now(), server.cpu_s()?);
    let mut walls_ms = Vec::new();
    while walls_ms.len() < *TIMES.start() || (began.elapsed() < at_least && walls_ms.len() < *TIMES.end()) {
        let asked = Instant::now();
        ask(&server.client, question, plan)?;
        walls_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    let cpu_ms = (server.cpu_s()? - cpu_before_s) * 1000.0 / walls_ms.len() as f64;
    walls_ms.sort_by(f64::total_cmp);
    Ok(Cost { cpu_ms, wall_ms: walls_ms[walls_ms.len() / 2], peak_bytes })
}
