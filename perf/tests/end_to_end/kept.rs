//! Kept results of range queries on a real store: what comes late or out of order is in the next answer.

use crate::setup::{RECEIVER, folder, launch_hearth, now_ms};
use hearth_perf::http::{Client, seconds};
use hearth_perf::request::{Encoder, label_bytes};
use serde_json::Value;

const STEP_MS: i64 = 15_000;

fn write(client: &Client, series: &str, samples: &[(i64, f64)]) {
    let mut request = Encoder::default();
    request.push(&label_bytes([("__name__", "m"), ("s", series)]), samples);
    let body = request.finish().expect("it is encoded").to_vec();
    let answer = client.remote_write(&body).expect("it answers");
    assert!((200..300).contains(&answer.status), "{}", answer.body);
}

fn ask(client: &Client, range: (i64, i64), nocache: &str) -> Value {
    let form = [
        ("query", "sum(sum_over_time(m[1m]))"),
        ("start", &seconds(range.0)),
        ("end", &seconds(range.1)),
        ("step", "15"),
        ("nocache", nocache),
    ];
    client.data("/api/v1/query_range", &form).expect("it answers")
}

fn counted(client: &Client, name: &str) -> String {
    let page = client.get("/metrics", &[]).expect("it answers").body;
    let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.expect("the metric is there").to_owned()
}

#[test]
fn late_samples_are_in_the_next_answer() {
    let folder = folder();
    let server = launch_hearth(folder.path()).flag(RECEIVER).start().expect("hearth starts");
    let client = Client::new(format!("http://{}", server.address()));
    let end = now_ms() / STEP_MS * STEP_MS - 600_000;
    let range = (end - 1_200_000, end);
    let times = (0..100).map(|i| end - i * STEP_MS).rev();
    let samples: Vec<(i64, f64)> = times.map(|time| (time, (time % 1_000_003) as f64)).collect();
    write(&client, "a", &samples);
    let first = ask(&client, range, "0");
    assert_eq!(ask(&client, range, "0"), first);
    assert_eq!(counted(&client, "hearth_query_cache_hits_total"), "hearth_query_cache_hits_total 1");
    // In order, and far behind what is kept: nothing has to be computed anew.
    write(&client, "a", &[(end + 400_000, 1.0)]);
    assert_eq!(ask(&client, range, "0"), first);
    assert_eq!(counted(&client, "hearth_query_cache_hits_total"), "hearth_query_cache_hits_total 2");
    // Another series, and a sample between those of the first.
    for (series, time) in [("b", end - 300_000), ("a", end - 600_500)] {
        write(&client, series, &[(time, 7.0)]);
        let fresh = ask(&client, range, "1");
        assert_ne!(fresh, first);
        assert_eq!(ask(&client, range, "0"), fresh);
    }
    assert_eq!(
        counted(&client, "hearth_query_cache_partial_hits_total"),
        "hearth_query_cache_partial_hits_total 2"
    );
    server.stop().expect("it ends when asked to");
}
