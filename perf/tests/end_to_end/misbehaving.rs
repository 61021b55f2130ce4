//! Targets that die, hang, change, lie and flood, scraped by Hearth and by Prometheus with one configuration:
//! after each turn both must have the same series with the same values, and agree on what ended.

use crate::exporter::{Answer, Message, OPENMETRICS, PROTOBUF, TEXT, gzipped, page, serve, text};
use crate::setup::{folder, launch_hearth, launch_prometheus, now_ms};
use hearth_perf::http::Client;
use hearth_perf::process::wait_until;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// One job: its settings beside name and target, and what its target does.
struct Case {
    name: &'static str,
    settings: &'static str,
    answers: Vec<Answer>,
}

fn case(name: &'static str, settings: &'static str, answers: Vec<Answer>) -> Case {
    Case { name, settings, answers }
}

/// A gzip stream of `body`, stored.
fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut pieces = body.chunks(0xffff).peekable();
    while let Some(piece) = pieces.next() {
        out.push(u8::from(pieces.peek().is_none()));
        out.extend((piece.len() as u16).to_le_bytes());
        out.extend((!(piece.len() as u16)).to_le_bytes());
        out.extend(piece);
    }
    out.extend(crc32(body).to_le_bytes());
    out.extend((body.len() as u32).to_le_bytes());
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Samples with times of their own, a while ago so that both servers have them when they are asked.
fn timed(start_ms: i64, turn: i64) -> Answer {
    let at_ms = start_ms - 30_000 + turn * 1_000;
    text(&format!("timed {turn} {at_ms}\nuntimed {turn}\n"))
}

fn classic(turn: u64) -> String {
    format!(
        "# TYPE h histogram\n# HELP h Help.\nh_bucket{{le=\"1\"}} {}\nh_bucket{{le=\"5\"}} {}\nh_bucket{{le=\"+Inf\"}} {}\n\
         h_sum {}\nh_count {}\n# TYPE q summary\nq{{quantile=\"0.5\"}} 1\nq_sum 2\nq_count 3\n",
        turn,
        2 * turn,
        2 * turn + 1,
        4 * turn,
        2 * turn + 1
    )
}

/// A counter, and a histogram of both kinds whose buckets grow with the turn.
fn protobuf(turn: u64) -> Answer {
    let label = Message::default().text(1, "path").text(2, "/x");
    let counter = Message::default().float(1, turn as f64);
    let metric = Message::default().message(1, label.clone()).message(3, counter);
    let counters =
        Message::default().text(1, "requests_total").text(2, "Requests.").int(3, 0).message(4, metric);
    let bucket = |bound: f64, count: u64| Message::default().int(1, count).float(2, bound);
    let histogram = Message::default()
        .int(1, 3 * turn + 1)
        .float(2, 2.5 * turn as f64)
        .message(3, bucket(1.0, turn))
        .message(3, bucket(2.0, 3 * turn + 1))
        .signed(5, 2)
        .float(6, 0.001)
        .int(7, 1)
        .message(12, Message::default().signed(1, -1).int(2, 2))
        .message(12, Message::default().signed(1, 3).int(2, 1))
        // Deltas: turn, turn, turn.
        .signed(13, turn as i64)
        .signed(13, 0)
        .signed(13, 0);
    let metric = Message::default().message(1, label).message(7, histogram);
    let histograms = Message::default().text(1, "latency").text(2, "Latency.").int(3, 4).message(4, metric);
    page(PROTOBUF, [counters.delimited(), histograms.delimited()].concat())
}

fn openmetrics(turn: u64) -> Answer {
    let body = format!(
        "# TYPE c_seconds counter\n# UNIT c_seconds seconds\n# HELP c_seconds A \\\"c\\\".\n\
         c_seconds_total{{a=\"b\"}} {turn} # {{trace_id=\"t{turn}\"}} 0.5\n# TYPE i info\ni_info{{v=\"1\"}} 1\n\
         # TYPE s stateset\ns{{s=\"on\"}} 1\n# TYPE g gauge\ng 1e-3\n# EOF\n"
    );
    page(OPENMETRICS, body)
}

fn limits() -> Vec<Case> {
    let growing = || vec![text("a 1\nb 1\n"), text("a 2\nb 2\nc 2\n"), text("a 3\n"), text("a 4\nb 4\n")];
    let wide = || {
        vec![text("a 1\n"), text("a 2\nlonger_name{label_name=\"label value\",b=\"c\"} 2\n"), text("a 3\n")]
    };
    vec![
        case("samples", "sample_limit: 2", growing()),
        case("labels", "label_limit: 4", wide()),
        case("label_names", "label_name_length_limit: 8", wide()),
        case(
            "label_values",
            "label_value_length_limit: 20",
            vec![text("a 1\n"), text("a{x=\"012345678901234567890\"} 1\n"), text("a 1\n")],
        ),
        case(
            "body",
            "body_size_limit: 64B",
            vec![
                text("a 1\n"),
                text(&"a 2\n".repeat(16)),
                text(&format!("{}a 2", "a 2\n".repeat(15))),
                text("a 3\n"),
            ],
        ),
        case(
            "bomb",
            "body_size_limit: 100KB",
            vec![
                gzipped(gzip(b"a 1\n")),
                gzipped(gzip(&b"# comment\n".repeat(20_000))),
                gzipped(b"no gzip".to_vec()),
                gzipped(gzip(b"a 2\n")),
            ],
        ),
        case(
            "endless",
            "body_size_limit: 1MB",
            vec![text("a 1\n"), Answer::Endless(b"a 1\n".repeat(4_096)), text("a 2\n")],
        ),
        case(
            "buckets",
            "scrape_protocols: [PrometheusProto]\nnative_histogram_bucket_limit: 2",
            (1..4).map(protobuf).collect(),
        ),
        case(
            "factor",
            "scrape_protocols: [PrometheusProto]\nnative_histogram_min_bucket_factor: 2",
            (1..4).map(protobuf).collect(),
        ),
    ]
}

fn formats(start_ms: i64) -> Vec<Case> {
    let utf8 = || {
        vec![
            text("{\"my.metric\",\"l.x\"=\"v\"} 1\n"),
            text("plain 1\n"),
            text("{\"my.metric\",\"l.x\"=\"v\"} 2\n"),
        ]
    };
    let types = || {
        ["text/html", "", "text/plain;;", "application/json", TEXT].map(|kind| page(kind, "a 1\n")).to_vec()
    };
    let classics = || (1..5).map(|turn| text(&classic(turn))).collect::<Vec<_>>();
    vec![
        case("protobuf", "scrape_protocols: [PrometheusProto]", (1..6).map(protobuf).collect()),
        case(
            "both",
            "scrape_protocols: [PrometheusProto]\nalways_scrape_classic_histograms: true",
            (1..6).map(protobuf).collect(),
        ),
        case("converted", "convert_classic_histograms_to_nhcb: true", classics()),
        case(
            "converted_kept",
            "convert_classic_histograms_to_nhcb: true\nalways_scrape_classic_histograms: true",
            classics(),
        ),
        case("classic", "", classics()),
        case(
            "broken_protobuf",
            "scrape_protocols: [PrometheusProto]",
            vec![protobuf(1), page(PROTOBUF, "\x05abc"), protobuf(2)],
        ),
        case("openmetrics", "", (1..6).map(openmetrics).collect()),
        case("no_end", "", vec![openmetrics(1), page(OPENMETRICS, "a 1\n"), openmetrics(2)]),
        case("types", "", types()),
        case("types_fallback", "fallback_scrape_protocol: PrometheusText0.0.4", types()),
        case("utf8", "", utf8()),
        case(
            "legacy",
            "metric_name_validation_scheme: legacy\nmetric_name_escaping_scheme: underscores",
            utf8(),
        ),
        case("timed", "", (1..6).map(|turn| timed(start_ms, turn)).chain([text("untimed 9\n")]).collect()),
        case(
            "timed_tracked",
            "track_timestamps_staleness: true",
            (1..6).map(|turn| timed(start_ms, turn)).chain([text("untimed 9\n")]).collect(),
        ),
        case("timed_ignored", "honor_timestamps: false", (1..6).map(|turn| timed(start_ms, turn)).collect()),
    ]
}

fn troubles() -> Vec<Case> {
    let labelled = || {
        vec![
            text("a{job=\"x\",instance=\"\"} 1\n"),
            text("a{job=\"y\"} 2\n"),
            text("a{instance=\"z\",exported_job=\"e\"} 3\n"),
        ]
    };
    vec![
        case(
            "changing",
            "",
            vec![
                text("a{l=\"1\"} 1\nb 1\n"),
                text("a{l=\"2\"} 2\nb 2\n"),
                text("b 3\n"),
                text(""),
                text("a{l=\"1\"} 5\nb 5\n"),
            ],
        ),
        case(
            "dying",
            "",
            vec![
                text("a 1\n"),
                Answer::Nothing,
                text("a 2\n"),
                Answer::Status("503 Service Unavailable"),
                text("a 3\n"),
            ],
        ),
        case(
            "hanging",
            "",
            vec![text("a 1\n"), Answer::Silence, text("a 2\n"), Answer::Silence, text("a 3\n")],
        ),
        case("duplicates", "", vec![text("a 1\na 2\nb 1\n"), text("a 3\na 3\n"), text("a 4\n")]),
        case(
            "bad_line",
            "",
            vec![text("a 1\nb 1\n"), text("a 2\nb }\n"), text("a 3\nb 3\n"), text("a 4\na{ 1\n")],
        ),
        case(
            "values",
            "",
            vec![
                text("a NaN\nb +Inf\nc -Inf\nd 1e308\ne 0x1p3\n"),
                text("a NaN\nb 1_000\n"),
                text("a nan\nb inf\n"),
            ],
        ),
        case("labels_own", "", labelled()),
        case("labels_honoured", "honor_labels: true", labelled()),
        case(
            "relabelled",
            "metric_relabel_configs: [{action: drop, source_labels: [__name__], regex: go_.*}, {action: labeldrop, regex: l}]",
            vec![text("go_a 1\na{l=\"1\"} 1\na{l=\"2\"} 2\n"), text("go_a 1\na{l=\"2\"} 3\n"), text("b 1\n")],
        ),
    ]
}

fn configuration(cases: &[Case], scraper: &str, address: &str) -> String {
    let mut out = "global:\n  scrape_interval: 2s\n  scrape_timeout: 1500ms\nscrape_configs:\n".to_owned();
    for case in cases {
        out.push_str(&format!("- job_name: {}\n  metrics_path: /{scraper}/{}\n", case.name, case.name));
        out.push_str(&format!("  static_configs: [{{targets: ['{address}']}}]\n"));
        for line in case.settings.lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out
}

/// Times in seconds, as text, of a target's scrapes.
fn turns(client: &Client, job: &str) -> Vec<String> {
    let query = format!("up{{job=\"{job}\"}}[10m]");
    let data = client.instant(&query, now_ms()).expect("up is there");
    let values = data["result"][0]["values"].as_array().cloned().unwrap_or_default();
    values.iter().map(|pair| pair[0].to_string()).collect()
}

/// Every series that the selector finds at that time, with its value.
fn state_of(client: &Client, query: &str, at: &str) -> BTreeMap<String, String> {
    let data =
        client.data("/api/v1/query", &[("query", query), ("time", at)]).expect("a selector is answered");
    let series = data["result"].as_array().cloned().unwrap_or_default();
    let point = |one: &Value| match &one["histogram"] {
        Value::Null => one["value"][1].to_string(),
        histogram => histogram[1].to_string(),
    };
    series.iter().map(|one| (one["metric"].to_string(), point(one))).collect()
}

fn compare(case: &Case, ours: &Client, theirs: &Client, wrong: &mut Vec<String>) {
    let (our_turns, their_turns) = (turns(ours, case.name), turns(theirs, case.name));
    // One turn more than there are answers: the last one is repeated.
    for turn in 0..=case.answers.len() {
        let query = match case.name {
            // Its samples have no label of the job's own.
            "labels_honoured" => "{__name__=\"a\",job=~\"x|y|labels_honoured\"}".to_owned(),
            name => format!("{{__name__!=\"scrape_duration_seconds\",job=\"{name}\"}}"),
        };
        let ours = state_of(ours, &query, &our_turns[turn]);
        let theirs = state_of(theirs, &query, &their_turns[turn]);
        // Where a page breaks off in the middle, Prometheus lets what stood before that line live on, and
        // shows the values of the last good scrape; here every series of a failed scrape ends.
        let broken = ours.iter().any(|(key, value)| key.contains("\"up\"") && value == "\"0\"");
        for key in ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key))) {
            let (our, their) = (ours.get(key), theirs.get(key));
            if our != their && !(broken && our.is_none()) {
                wrong.push(format!("{} turn {turn} {key}: {our:?} instead of {their:?}", case.name));
            }
        }
    }
}

fn metadata(client: &Client) -> BTreeMap<String, Value> {
    let answer = client.get("/api/v1/metadata", &[]).expect("metadata is listed");
    let data = serde_json::from_str::<Value>(&answer.body).expect("metadata is JSON")["data"].take();
    data.as_object().expect("by metric").iter().map(|(name, entry)| (name.clone(), entry.clone())).collect()
}

#[test]
fn targets_that_misbehave_leave_the_same_series() {
    let folder = folder();
    let start_ms = now_ms();
    let cases: Vec<Case> = troubles().into_iter().chain(limits()).chain(formats(start_ms)).collect();
    let plans: HashMap<_, _> =
        cases.iter().map(|case| (case.name.to_owned(), case.answers.clone())).collect();
    let address = serve(plans);
    let features = "--enable-feature=native-histograms,extra-scrape-metrics";
    let ours = launch_hearth(folder.path()).config(configuration(&cases, "ours", &address)).flag(features);
    let ours = ours.start().expect("hearth starts");
    let theirs =
        launch_prometheus(folder.path()).config(configuration(&cases, "theirs", &address)).flag(features);
    let theirs = theirs.start().expect("prometheus starts");
    for client in [&ours.client, &theirs.client] {
        wait_until("every turn is over", Duration::from_secs(120), || {
            Ok(cases.iter().all(|case| turns(client, case.name).len() > case.answers.len() + 1))
        })
        .expect("every target is scraped");
    }
    let mut wrong = Vec::new();
    for case in &cases {
        compare(case, &ours.client, &theirs.client, &mut wrong);
    }
    let (our_metadata, their_metadata) = (metadata(&ours.client), metadata(&theirs.client));
    for (name, theirs) in &their_metadata {
        let sorted = |value: &Value| {
            let mut texts: Vec<_> = value.as_array().into_iter().flatten().map(Value::to_string).collect();
            texts.sort();
            texts
        };
        let ours = our_metadata.get(name).map(sorted);
        if ours.as_ref() != Some(&sorted(theirs)) {
            wrong.push(format!("metadata of {name}: {ours:?} instead of {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n  {}", wrong.len(), wrong.join("\n  "));
}
