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
    /// Over all of the data with a step of one scrape; else at its end.
    pub is_range: bool,
}

const fn instant(name: &'static str, expression: &'static str) -> Question {
    Question { name, expression, is_range: false }
}

const fn range(name: &'static str, expression: &'static str) -> Question {
    Question { name, expression, is_range: true }
}

/// The questions, the cheap ones first.
pub const QUESTIONS: &[Question] = &[
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

/// What a question cost, a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub cpu_ms: f64,
    /// The median.
    pub wall_ms: f64,
}

/// Fewest and most times that a question is asked.
const TIMES: std::ops::RangeInclusive<usize> = 3..=300;

/// The answer, as `data`.
pub fn ask(client: &Client, question: &Question, plan: &Plan) -> Result<Value, String> {
    let time = seconds(plan.end_ms);
    if !question.is_range {
        return client.data("/api/v1/query", &[("query", question.expression), ("time", &time)]);
    }
    let form = [
        ("query", question.expression),
        ("start", &seconds(plan.start_ms())),
        ("end", &time),
        ("step", &seconds(plan.interval_ms)),
    ];
    client.data("/api/v1/query_range", &form)
}

/// Asks for at least that long, after once unmeasured, and divides: CPU is counted in hundredths of a
/// second, so that a single quick answer would cost nothing.
pub fn time(server: &Server, question: &Question, plan: &Plan, at_least: Duration) -> Result<Cost, String> {
    ask(&server.client, question, plan)?;
    let (began, cpu_before_s) = (Instant::now(), server.cpu_s()?);
    let mut walls_ms = Vec::new();
    while walls_ms.len() < *TIMES.start() || (began.elapsed() < at_least && walls_ms.len() < *TIMES.end()) {
        let asked = Instant::now();
        ask(&server.client, question, plan)?;
        walls_ms.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    let cpu_ms = (server.cpu_s()? - cpu_before_s) * 1000.0 / walls_ms.len() as f64;
    walls_ms.sort_by(f64::total_cmp);
    Ok(Cost { cpu_ms, wall_ms: walls_ms[walls_ms.len() / 2] })
}
