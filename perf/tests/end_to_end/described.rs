//! What is known of metrics besides their samples, beside the real Prometheus: both say the same of what they scrape;
//! and a kill takes nothing of it from Hearth, neither what was scraped nor what came by remote write.

use crate::pages::{Page, serve};
use crate::setup::{RECEIVER, folder, launch_hearth, launch_prometheus};
use hearth_perf::http::Client;
use hearth_perf::process::wait_until;
use hearth_perf::request::Encoder;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const PAGE: &str = "# HELP jobs_total Jobs that were done.\n# TYPE jobs_total counter\njobs_total 5\n\
                    # HELP depth How deep it is.\n# TYPE depth gauge\ndepth 3\n";

fn ask(client: &Client, query: &[(&str, &str)]) -> Value {
    let answer = client.get("/api/v1/metadata", query).expect("it answers");
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str::<Value>(&answer.body).expect("JSON")["data"].take()
}

fn entry(kind: &str, help: &str) -> Value {
    json!([{"type": kind, "unit": "", "help": help}])
}

#[test]
fn metadata_survives_a_kill() {
    let folder = folder();
    let target = serve(|_| Page::Text(Arc::new(PAGE.to_owned())));
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: x\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    let launch = launch_hearth(folder.path()).flag(RECEIVER);
    let ours = launch.clone().config(config.clone()).start().expect("hearth starts");
    let theirs = launch_prometheus(folder.path()).config(config).start().expect("prometheus starts");
    for client in [&ours.client, &theirs.client] {
        let there = || Ok(ask(client, &[]).as_object().is_some_and(|all| all.len() == 2));
        wait_until("metadata", Duration::from_secs(30), there).expect("it is scraped");
    }
    let scraped = json!({"jobs_total": entry("counter", "Jobs that were done."), "depth": entry("gauge", "How deep it is.")});
    assert_eq!((ask(&ours.client, &[]), ask(&theirs.client, &[])), (scraped.clone(), scraped.clone()));
    // In a request without samples, as senders do it; then another word on the same.
    for help in ["First.", "Second."] {
        let mut request = Encoder::default();
        request.push_metadata(2, "written", help);
        let answer = ours.client.remote_write(request.finish().expect("is encoded")).expect("it answers");
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
    let mut all = scraped;
    all["written"] = entry("gauge", "Second.");
    assert_eq!(ask(&ours.client, &[]), all);
    ours.kill().expect("it can be killed");
    // Without the target: nobody says it again.
    let ours = launch.start().expect("hearth starts again");
    assert_eq!(ask(&ours.client, &[]), all);
    assert_eq!(ask(&ours.client, &[("metric", "depth")]), json!({"depth": all["depth"]}));
    assert_eq!(ask(&ours.client, &[("limit", "1")]).as_object().map(|all| all.len()), Some(1));
    assert_eq!(ask(&ours.client, &[("metric", "nothing")]), json!({}));
    ours.stop().expect("it ends when asked to");
}
