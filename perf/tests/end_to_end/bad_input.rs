//! Broken and hostile input from every side: each gets a clear answer, and the server keeps its data, its
//! memory and its head.

use crate::pages::{Page, serve};
use crate::setup::{RECEIVER, folder, launch_hearth, now_ms};
use hearth_perf::http::Client;
use hearth_perf::process::{Server, wait_until};
use hearth_perf::request::{Encoder, label_bytes};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How much an attack may add to what the server holds. Far more than a parser needs, far less than the
/// 4 GB that some of the input asks for.
const MOST_GROWTH_BYTES: u64 = 400 << 20;

const OPEN_BRACKETS: usize = 100_000;

fn request(value: f64, time_ms: i64) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.push(&label_bytes([("__name__", "witness")]), &[(time_ms, value)]);
    encoder.finish().expect("a request can be encoded").to_vec()
}

fn compressed(raw: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(raw).expect("bytes can be compressed")
}

fn raw(body: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(body).expect("it was compressed here")
}

/// A witness is written before and read after; memory stays within its bound; the log holds no panic.
fn unharmed(server: &mut Server, before_bytes: u64, witness_ms: i64) {
    let found = server.client.number("witness", witness_ms).expect("the server still answers");
    assert_eq!(found, Some(42.0), "the witness is lost");
    let again =
        server.client.remote_write(&request(43.0, witness_ms + 1)).expect("the server still takes writes");
    assert_eq!(again.status / 100, 2, "{}", again.body);
    let peak_bytes = server.memory().expect("/proc can be read").peak_bytes;
    assert!(peak_bytes < before_bytes + MOST_GROWTH_BYTES, "{} MiB at its peak", peak_bytes >> 20);
    assert!(server.is_alive() && !server.log().contains("panicked at"), "{}", server.log());
}

/// Starts it, writes the witness; returns what it holds by then and the witness's time.
fn start(launch: hearth_perf::process::Launch) -> (Server, u64, i64) {
    let server = launch.flag(RECEIVER).start().expect("hearth starts");
    let witness_ms = now_ms() - 60_000;
    let answer = server.client.remote_write(&request(42.0, witness_ms)).expect("the server takes writes");
    assert_eq!(answer.status / 100, 2, "{}", answer.body);
    let before_bytes = server.memory().expect("/proc can be read").resident_bytes;
    (server, before_bytes, witness_ms)
}

#[test]
fn broken_remote_writes_are_refused() {
    let folder = folder();
    let (mut server, before_bytes, witness_ms) = start(launch_hearth(folder.path()));
    let good = request(1.0, now_ms());
    let plain = raw(&good);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("not snappy", b"this is no snappy block at all".to_vec()),
        ("snappy cut short", good[..good.len() / 2].to_vec()),
        ("protobuf cut short", compressed(&plain[..plain.len() - 3])),
        ("snappy says 4 GB", [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &good[1..]].concat()),
        ("protobuf says 4 GB", compressed(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0a, 0x02])),
        ("a varint without end", compressed(&[0xff; 64])),
    ];
    for _ in 0..20 {
        for (what, body) in &cases {
            let answer = server.client.remote_write(body).expect("it answers");
            assert_eq!(answer.status, 400, "{what}: {}", answer.body);
            assert!(!answer.body.trim().is_empty(), "{what}: no word about what is wrong");
        }
    }
    unharmed(&mut server, before_bytes, witness_ms);
}

#[test]
fn broken_http_is_survived() {
    let folder = folder();
    let (mut server, before_bytes, witness_ms) = start(launch_hearth(folder.path()));
    let head = "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n";
    let cases = [
        "\0\u{1}\u{2} what is this\r\n\r\n".to_string(),
        format!("{head}Content-Encoding: snappy\r\nContent-Length: 4294967296\r\n\r\nshort"),
        format!("{head}Content-Encoding: snappy\r\nContent-Length: -1\r\n\r\n"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffff\r\nshort"),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(1 << 20)),
    ];
    for case in &cases {
        let mut connection = TcpStream::connect(server.address()).expect("it listens");
        // It may hang up in the middle; what it answers, if anything, is read to not cut it off.
        let _hung_up = connection.write_all(case.as_bytes());
        let _half = connection.shutdown(std::net::Shutdown::Write);
        let _rest = connection.read_to_end(&mut Vec::new());
    }
    let wrong_type = ureq::post(format!("{}/api/v1/write", server.client.base()))
        .config()
        .http_status_as_error(false)
        .build()
        .header("Content-Type", "text/html")
        .send("<p>")
        .expect("it answers");
    assert!((400..500).contains(&wrong_type.status().as_u16()), "{}", wrong_type.status());
    let wrong_method = server.client.get("/api/v1/write", &[]).expect("it answers");
    assert_eq!(wrong_method.status, 405, "{}", wrong_method.body);
    unharmed(&mut server, before_bytes, witness_ms);
}

/// Prometheus takes the good part of such a request and says nothing; an error that names the bad part is as
/// good. Neither may store it, or lose the good part.
#[test]
fn a_bad_series_does_not_take_a_good_one_along() {
    let folder = folder();
    let (mut server, before_bytes, witness_ms) = start(launch_hearth(folder.path()));
    let not_utf8 = {
        let mut labels = label_bytes([("__name__", "spoiled")]);
        let at = labels.len() - 1;
        labels[at] = 0xff;
        labels
    };
    let bad = [
        not_utf8,
        label_bytes([("job", "no name")]),
        label_bytes([("__name__", "twice"), ("a", "1"), ("a", "2")]),
    ];
    for (number, labels) in bad.iter().enumerate() {
        let (mut encoder, name) = (Encoder::default(), format!("good_{number}"));
        encoder.push(labels, &[(witness_ms, 1.0)]);
        encoder.push(&label_bytes([("__name__", name.as_str())]), &[(witness_ms, 7.0)]);
        let answer = server.client.remote_write(encoder.finish().expect("a request can be encoded"));
        let answer = answer.expect("it answers");
        assert!([200, 204, 400].contains(&answer.status), "{number}: {} {}", answer.status, answer.body);
        assert_eq!(server.client.number(&name, witness_ms), Ok(Some(7.0)), "request {number}");
    }
    let all = server.client.number(r#"count({__name__!=""})"#, witness_ms);
    assert_eq!(all, Ok(Some(1.0 + bad.len() as f64)), "the witness and the good series, nothing else");
    unharmed(&mut server, before_bytes, witness_ms);
}

fn refused_query(client: &Client, query: &str) {
    let what = &query[..query.len().min(60)];
    let answer = client.post_form("/api/v1/query", &[("query", query)]).expect("it answers");
    assert_eq!(answer.status, 400, "{what}: {}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).expect("errors are JSON");
    assert_eq!(
        (&body["status"], &body["errorType"]),
        (&"error".into(), &"bad_data".into()),
        "{what}: {body}"
    );
    let text = body["error"].as_str().unwrap_or_default();
    assert!(!text.is_empty() && text.len() < 10_000, "{what}: {} bytes of error text", text.len());
}

#[test]
fn monstrous_queries_are_refused() {
    let folder = folder();
    let (mut server, before_bytes, witness_ms) = start(launch_hearth(folder.path()));
    for query in [
        "(".repeat(OPEN_BRACKETS),
        "((".repeat(OPEN_BRACKETS / 2) + "1",
        "sum(".repeat(OPEN_BRACKETS),
        "a{".repeat(OPEN_BRACKETS),
        "[".repeat(OPEN_BRACKETS),
        "\u{feff}up".to_string(),
        "rate(witness)".to_string(),
        "witness{a=~\"(((\"}".to_string(),
        "\"open".to_string(),
    ] {
        refused_query(&server.client, &query);
    }
    // Deep but closed, and long: answered or refused, not crashed on.
    for query in [
        format!("{}1{}", "(".repeat(OPEN_BRACKETS), ")".repeat(OPEN_BRACKETS)),
        format!("{}1", "-".repeat(OPEN_BRACKETS)),
        format!("1{}", "+1".repeat(OPEN_BRACKETS)),
        format!("1{}", "^1".repeat(OPEN_BRACKETS)),
    ] {
        let answer = server.client.post_form("/api/v1/query", &[("query", &query)]).expect("it answers");
        assert!([200, 400, 422].contains(&answer.status), "{}: {}", &query[..20], answer.status);
    }
    unharmed(&mut server, before_bytes, witness_ms);
}

#[test]
fn an_unknown_key_in_the_configuration_is_named() {
    let folder = folder();
    let text = "global:\n  scrape_interval: 5s\n  scrape_intervall: 5s\n";
    let launch = launch_hearth(folder.path()).config(text);
    let (status, log) = launch.run_to_end(Duration::from_secs(60)).expect("it ends by itself");
    assert!(!status.success(), "{log}");
    assert!(log.contains("scrape_intervall"), "the key is not named: {log}");
    assert!(log.contains("line 3") || log.contains(":3"), "the line is not named: {log}");
}

#[test]
fn a_scrape_without_end_is_cut_off() {
    let folder = folder();
    let address = serve(|path| match path {
        "/endless" => Page::Endless { bytes_per_second: 48 << 20 },
        "/good" => Page::Text("good_metric 1\n".to_string().into()),
        _ => Page::Missing,
    });
    let configuration = format!(
        "global:
  scrape_interval: 2s
  scrape_timeout: 2s
scrape_configs:
  - job_name: limited
    metrics_path: /endless
    body_size_limit: 4MB
    static_configs: [{{targets: ['{address}']}}]
  - job_name: unlimited
    metrics_path: /endless
    static_configs: [{{targets: ['{address}']}}]
  - job_name: good
    metrics_path: /good
    static_configs: [{{targets: ['{address}']}}]
"
    );
    let (mut server, before_bytes, witness_ms) = start(launch_hearth(folder.path()).config(configuration));
    wait_until("several scrapes of each", Duration::from_secs(60), || {
        let scraped = server.client.number("min(count_over_time(up[1m]))", now_ms())?;
        Ok(scraped >= Some(5.0) && server.client.number("count(up)", now_ms())? == Some(3.0))
    })
    .expect("scraping goes on");
    let now_ms = now_ms();
    assert_eq!(server.client.number(r#"up{job="limited"}"#, now_ms), Ok(Some(0.0)));
    assert_eq!(server.client.number(r#"up{job="unlimited"}"#, now_ms), Ok(Some(0.0)));
    assert_eq!(server.client.number("good_metric", now_ms), Ok(Some(1.0)));
    assert_eq!(server.client.number("count(endless_metric)", now_ms), Ok(None), "part of a page was stored");
    let targets = server.client.get("/api/v1/targets", &[]).expect("the targets are listed").body;
    let targets: Value = serde_json::from_str(&targets).expect("targets are JSON");
    let active = targets["data"]["activeTargets"].as_array().expect("active targets are a list");
    for target in active.iter().filter(|target| target["labels"]["job"] != "good") {
        assert!(!target["lastError"].as_str().unwrap_or_default().is_empty(), "no word about why: {target}");
    }
    unharmed(&mut server, before_bytes, witness_ms);
}
