//! The push gateway beside the real one: the same calls one after the other, the same statuses, and the same page
//! after each; over a restart, too.

use crate::setup::{folder, launch_hearth, launch_pushgateway};
use hearth_perf::process::{Server, wait_until};
use std::collections::BTreeMap;
use std::time::Duration;

/// Method, path and body.
const CALLS: &[(&str, &str, &str)] = &[
    ("PUT", "/metrics/job/a", "# TYPE m counter\n# HELP m One.\nm{x=\"1\"} 1\nm{x=\"2\"} 2\n"),
    ("POST", "/metrics/job/a", "n 5\n"),
    ("POST", "/metrics/job/a", "# TYPE m counter\nm{x=\"3\"} 3\n"),
    ("PUT", "/metrics/job/a/instance/i", "# TYPE m counter\nm 7\n"),
    // The path's labels win; what an escape or base64 stands for is a label.
    ("PUT", "/metrics/job/b/instance/j", "o{job=\"other\",instance=\"k\",l=\"v\"} 1\n"),
    ("PUT", "/metrics/job@base64/L3Zhci9sb2c/p@base64/=", "p 1\n"),
    ("PUT", "/metrics/job/c%20d/q/%C3%A9", "q 1\n"),
    // Another type than elsewhere; twice the same; with a timestamp; not readable; not whole; bad labels.
    ("PUT", "/metrics/job/e", "# TYPE m gauge\nm 1\n"),
    ("PUT", "/metrics/job/e", "r 1\nr 2\n"),
    ("PUT", "/metrics/job/e", "r 1 1000\n"),
    ("PUT", "/metrics/job/e", "r{ 1\n"),
    ("PUT", "/metrics/job/e", "r 1"),
    ("PUT", "/metrics/job/e/a-b/c", "r 1\n"),
    ("PUT", "/metrics/job/e/odd", "r 1\n"),
    ("PUT", "/metrics/job/e/x@base64/%25", "r 1\n"),
    // A type that the own group alone had may change; an empty push empties and counts as one.
    ("PUT", "/metrics/job/f", "# TYPE s counter\ns 1\n"),
    ("PUT", "/metrics/job/f", "# TYPE s gauge\ns 2\n"),
    ("PUT", "/metrics/job/f", ""),
    ("POST", "/metrics/job/g", ""),
    // Histograms and summaries, a family without a sample, values that are no numbers.
    (
        "PUT",
        "/metrics/job/h",
        "# TYPE t histogram\nt_bucket{le=\"1\"} 1\nt_bucket{le=\"+Inf\"} 2\nt_sum 3\nt_count 2\n# TYPE u summary\nu{quantile=\"0.5\"} 1\nu_sum 1\nu_count 1\n# TYPE v gauge\n",
    ),
    ("POST", "/metrics/job/h", "w NaN\nx +Inf\ny -Inf\nz 1e-3\n"),
    ("DELETE", "/metrics/job/a", ""),
    ("DELETE", "/metrics/job/a", ""),
    ("DELETE", "/metrics/job/nobody", ""),
    ("PUT", "/metrics/job/e", "# TYPE m gauge\nm 1\n"),
    ("DELETE", "/metrics/job/a/instance/i", ""),
    ("PUT", "/metrics/job/e", "# TYPE m gauge\nm 1\n"),
    ("GET", "/metrics/job/e", ""),
];

/// What is pushed, a line a sample: its series with labels in order, and its value; and the types. What a gateway says of
/// itself is left out, and times are only told from none.
fn page(server: &Server, path: &str) -> BTreeMap<String, String> {
    let text = server.client.get(path, &[]).expect("the page").body;
    let own = ["go_", "process_", "promhttp_", "pushgateway_"];
    let mut page = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP")) {
        let name = line.strip_prefix("# TYPE ").unwrap_or(line);
        if own.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let mut labels: Vec<&str> =
            labels.trim_end_matches('}').split(',').filter(|l| !l.is_empty()).collect();
        labels.sort_unstable();
        // An empty label is none.
        labels.retain(|label| *label != "instance=\"\"" && *label != "p=\"\"");
        let time = name.ends_with("_time_seconds") && !line.starts_with('#');
        let value = if time && value != "0" { "some time" } else { value };
        page.insert(format!("{name}{{{}}}", labels.join(",")), value.to_owned());
    }
    page
}

fn call(server: &Server, (method, path, body): (&str, &str, &str)) -> u16 {
    server.client.send(method, path, body.as_bytes()).expect("an answer").status
}

#[test]
fn the_gateway_answers_as_pushgateway_does() {
    let folder = folder();
    let kept = |name: &str| folder.path().join(name).display().to_string();
    let ours = launch_hearth(folder.path())
        .flag("--push.enable")
        .flag(format!("--push.persistence.file={}", kept("ours")));
    let theirs = launch_pushgateway(folder.path()).flag(format!("--persistence.file={}", kept("theirs")));
    let (mut our_server, mut their_server) =
        (ours.start().expect("hearth"), theirs.start().expect("pushgateway"));
    let mut wrong = Vec::new();
    for round in 0..2 {
        for (at, step) in CALLS.iter().enumerate() {
            let (got, expect) = (call(&our_server, *step), call(&their_server, *step));
            if got != expect {
                wrong.push(format!("call {at} {step:?}: {got}, pushgateway {expect}"));
            }
            // A deletion there is done after its answer; and one difference shows in every page from then on.
            let patience = if step.0 == "DELETE" && wrong.is_empty() { 2_000 } else { 100 };
            let patience = Duration::from_millis(patience);
            let same = wait_until("the pages are the same", patience, || {
                Ok(page(&our_server, "/push/metrics") == page(&their_server, "/metrics"))
            });
            if same.is_err() {
                let (got, expect) = (page(&our_server, "/push/metrics"), page(&their_server, "/metrics"));
                let only = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
                    one.iter()
                        .filter(|(k, v)| other.get(*k) != Some(v))
                        .map(|(k, v)| format!("{k} {v}"))
                        .collect::<Vec<_>>()
                };
                wrong.push(format!(
                    "after call {at} {step:?}: {:?}, pushgateway {:?}",
                    only(&got, &expect),
                    only(&expect, &got)
                ));
            }
        }
        if round == 0 {
            our_server.stop().expect("it stops");
            their_server.stop().expect("it stops");
            (our_server, their_server) =
                (ours.start().expect("hearth"), theirs.start().expect("pushgateway"));
            let (got, expect) = (page(&our_server, "/push/metrics"), page(&their_server, "/metrics"));
            assert!(got.len() > 10, "{got:?}");
            if got != expect {
                wrong.push(format!("after a restart: {got:?}, pushgateway {expect:?}"));
            }
        }
    }
    // The first one explains most of the others.
    let first: Vec<String> = wrong.iter().take(5).map(|text| text.chars().take(1_500).collect()).collect();
    assert!(wrong.is_empty(), "{} differences:\n  {}", wrong.len(), first.join("\n  "));
}
