//! Exemplars and metadata that the real Prometheus left in its log: Hearth answers them as it did, also after another
//! number of shards.

use super::{copy, run, text};
use crate::exemplars::{FEATURE, ask, serve};
use crate::setup::{folder, hearth, launch_hearth, launch_prometheus, now_ms};
use hearth_perf::http::{Client, seconds};
use hearth_perf::process::wait_until;
use serde_json::{Value, json};
use std::time::Duration;

fn page(now: i64) -> String {
    format!(
        "# HELP latency_seconds How long it took.\n# TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\n\
         latency_seconds_bucket{{le=\"0.1\"}} 3 # {{trace_id=\"abc\"}} 0.067 {}\n\
         latency_seconds_bucket{{le=\"+Inf\"}} 5 # {{trace_id=\"def\",span_id=\"é\"}} 3.5 {}\n\
         latency_seconds_count 5\nlatency_seconds_sum 7.5\n\
         # HELP depth How deep it is.\n# TYPE depth gauge\ndepth 3\n\
         # TYPE jobs counter\njobs_total{{kind=\"a\"}} 1 # {{trace_id=\"ghi\"}} 1 {}\njobs_total{{kind=\"b\"}} 2\n# EOF\n",
        seconds(now),
        seconds(now + 1_500),
        seconds(now - 2_000),
    )
}

fn metadata(client: &Client) -> Value {
    let answer = client.get("/api/v1/metadata", &[]).expect("it answers");
    let mut said = serde_json::from_str::<Value>(&answer.body).expect("JSON")["data"].take();
    // Prometheus says something of what it adds to each scrape, too.
    if let Some(said) = said.as_object_mut() {
        said.retain(|name, _| name != "up" && !name.starts_with("scrape_"));
    }
    said
}

#[test]
fn exemplars_and_metadata_are_taken_over() {
    let (folder, now) = (folder(), now_ms() - 60_000);
    let target = serve(page(now));
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: x\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    let theirs =
        launch_prometheus(folder.path()).flag(format!("{FEATURE},metadata-wal-records")).config(config);
    let running = theirs.start().expect("prometheus starts");
    let all = |client: &Client| ask(client, "{__name__=~\".+\"}", now - 10_000, now + 10_000).1;
    let there = || Ok(all(&running.client)["data"].as_array().is_some_and(|found| found.len() == 3));
    wait_until("exemplars", Duration::from_secs(30), there).expect("they are scraped");
    let expect = all(&running.client);
    running.stop().expect("it ends when asked to");

    let launch = launch_hearth(folder.path()).flag(FEATURE);
    copy(&theirs.data(), &launch.data());
    // Nobody is scraped: all of it comes from the log.
    let said = json!({
        "latency_seconds": [{"type": "histogram", "unit": "seconds", "help": "How long it took."}],
        "depth": [{"type": "gauge", "unit": "", "help": "How deep it is."}],
        "jobs_total": [{"type": "counter", "unit": "", "help": ""}],
    });
    for shards in ["", "--shards=8", "--shards=1"] {
        if !shards.is_empty() {
            let (code, told) = run(&hearth(), &["tsdb", "reshard", shards, text(&launch.data())]);
            assert_eq!(code, Some(0), "{told}");
            assert!(told.contains("3 exemplars and what is known of "), "{told}");
            std::fs::remove_dir_all(launch.data().join("before-reshard")).expect("what was set aside");
        }
        let running = launch.start().expect("hearth starts on it");
        assert_eq!(all(&running.client), expect, "{shards}");
        assert_eq!(metadata(&running.client), said, "{shards}");
        running.stop().expect("it ends when asked to");
    }
    // Samples that are filled in leave them where they are.
    let file = folder.path().join("more.txt");
    std::fs::write(&file, "more 1 1000\n# EOF\n").expect("writes");
    let data = launch.data();
    let fill = ["tsdb", "create-blocks-from", "openmetrics", text(&file), text(&data)];
    let (code, told) = run(&hearth(), &fill);
    assert_eq!(code, Some(0), "{told}");
    let running = launch.start().expect("hearth starts on it");
    assert_eq!((all(&running.client), metadata(&running.client)), (expect, said));
    running.stop().expect("it ends when asked to");
}
