//! Exemplars beside the real Prometheus: both scrape the same page with exemplars, a kill takes none of ours, and
//! both answer the same.

use crate::setup::{folder, launch_hearth, launch_prometheus, now_ms};
use hearth_perf::http::{Client, seconds};
use hearth_perf::process::wait_until;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

pub const FEATURE: &str = "--enable-feature=exemplar-storage";

/// Serves one OpenMetrics page for as long as the test runs; its address.
pub fn serve(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let Ok(_) = stream.read(&mut request) else { continue };
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8";
            let length = page.len();
            // A scraper that went away is no fault.
            let _gone =
                write!(stream, "{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}");
        }
    });
    address
}

pub fn ask(client: &Client, query: &str, start_ms: i64, end_ms: i64) -> (u16, Value) {
    let form = [("query", query), ("start", &seconds(start_ms)), ("end", &seconds(end_ms))];
    let answer = client.post_form("/api/v1/query_exemplars", &form).expect("it answers");
    (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
}

#[test]
fn both_keep_the_same_exemplars() {
    let folder = folder();
    let now = now_ms() - 60_000;
    let page = format!(
        "# TYPE latency_seconds histogram\n\
         latency_seconds_bucket{{le=\"0.1\"}} 3 # {{trace_id=\"abc\"}} 0.067 {}\n\
         latency_seconds_bucket{{le=\"+Inf\"}} 5 # {{trace_id=\"def\",span_id=\"1\"}} 3.5 {}\n\
         latency_seconds_count 5\nlatency_seconds_sum 7.5\n\
         # TYPE jobs counter\njobs_total{{kind=\"a\"}} 1 # {{trace_id=\"ghi\"}} 1 {}\njobs_total{{kind=\"b\"}} 2\n# EOF\n",
        seconds(now),
        seconds(now + 1_500),
        seconds(now - 2_000),
    );
    let target = serve(page);
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: x\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    let launch = launch_hearth(folder.path()).flag(FEATURE).config(config.clone());
    let ours = launch.start().expect("hearth starts");
    let theirs =
        launch_prometheus(folder.path()).flag(FEATURE).config(config).start().expect("prometheus starts");
    let all = "{__name__=~\".+\"}";
    let count = |client: &Client| {
        let (_, answer) = ask(client, all, now - 10_000, now + 10_000);
        answer["data"].as_array().map_or(0, Vec::len)
    };
    for client in [&ours.client, &theirs.client] {
        let there = wait_until("exemplars", Duration::from_secs(30), || Ok(count(client) == 3));
        there.expect("they are scraped");
    }
    // What was scraped is handed to the kernel before it is shown, so a kill does not take it.
    ours.kill().expect("the process can be killed");
    let ours = launch.start().expect("hearth starts again");
    assert_eq!(count(&ours.client), 3);
    for (query, from, to) in [
        (all, -10_000, 10_000),
        ("rate(latency_seconds_bucket[1m])", -10_000, 10_000),
        ("jobs_total", -10_000, 10_000),
        ("jobs_total / on () latency_seconds_count", -10_000, 10_000),
        (all, 0, 0),
        (all, 1, 10_000),
        ("nothing_at_all", -10_000, 10_000),
        ("1 + 1", -10_000, 10_000),
        ("jobs_total{", -10_000, 10_000),
        (all, 10_000, -10_000),
    ] {
        let of = |client: &Client| ask(client, query, now + from, now + to);
        let (mine, real) = (of(&ours.client), of(&theirs.client));
        assert_eq!(mine.0, real.0, "{query}: {} and {}", mine.1, real.1);
        if query.ends_with('{') {
            continue;
        }
        assert_eq!(mine.1, real.1, "{query}");
    }
    let page = ours.client.get("/metrics", &[]).expect("it answers").body;
    assert!(page.contains("prometheus_tsdb_exemplar_exemplars_in_storage 3\n"), "{page}");
    let max = page.lines().find_map(|line| line.strip_prefix("prometheus_tsdb_exemplar_max_exemplars "));
    assert_eq!(max, Some("100000"));
}
