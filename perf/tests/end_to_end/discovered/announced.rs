//! Members that announce themselves in ZooKeeper: serversets and Nerve, while they come, change, break and go, and while
//! ZooKeeper is away.

use super::ensemble::Ensemble;
use super::{DEADLINE, Pair, targets};
use crate::setup::folder;
use hearth_perf::process::wait_until;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn member(host: &str, port: i64, more: Value) -> String {
    let mut member = json!({"serviceEndpoint": {"host": host, "port": port}, "additionalEndpoints": {}, "status": "ALIVE"});
    member.as_object_mut().expect("a map").extend(more.as_object().cloned().unwrap_or_default());
    member.to_string()
}

fn announced() -> Ensemble {
    let ensemble = Ensemble::default();
    let others = json!({"health-x": {"host": "h1", "port": 81}, "größe": {"host": "", "port": 0}});
    for (path, data) in [
        ("/serversets", ""),
        ("/serversets/a", "{\"not\": \"a member\""),
        ("/serversets/a/m1", &member("h1", 80, json!({"additionalEndpoints": others, "shard": 3}))),
        ("/serversets/a/m2", &member("::1", 81, json!({"shard": 0}))),
        ("/serversets/a/m3", &member("h3", 83, json!({"status": ""}))),
        ("/serversets/a/m3/child", &member("h3c", 84, json!({}))),
        ("/serversets/a/bad", "no JSON"),
        ("/serversets/a/cut", "{\"serviceEndpoint\":"),
        ("/serversets/a/list", "[1]"),
        ("/serversets/a/more", "{\"serviceEndpoint\": {\"host\": \"m\", \"port\": 1}} more"),
        ("/serversets/a/kinds", "{\"serviceEndpoint\": {\"host\": 5, \"port\": \"x\"}}"),
        ("/serversets/a/float", "{\"serviceEndpoint\": {\"host\": \"f\", \"port\": 1.5}}"),
        ("/serversets/a/large", "{\"serviceEndpoint\": {\"host\": \"l\", \"port\": 99999999999}}"),
        ("/serversets/a/nothing", "{}"),
        ("/serversets/a/null", "null"),
        (
            "/serversets/a/nulls",
            "{\"serviceEndpoint\": null, \"additionalEndpoints\": null, \"status\": null, \"shard\": null}",
        ),
        ("/serversets/größe x", &member("u", 1, json!({}))),
        ("/nerve", "{}"),
        ("/nerve/n1", &json!({"host": "127.13.0.1", "port": 9, "name": "svc"}).to_string()),
        ("/nerve/n2", &json!({"host": "::2", "port": 0, "extra": [1], "name": null}).to_string()),
        ("/nerve/n3", "null"),
        ("/nerve/n4", "\"text\""),
        ("/elsewhere", &member("nobody", 1, json!({}))),
    ] {
        ensemble.set(path, data);
    }
    ensemble
}

/// Nobody is scraped: the address is kept in a label, and nothing listens where it points then.
fn configuration(address: &str) -> String {
    let job = |(mechanism, path): (&str, &str)| {
        format!(
            "  - job_name: {mechanism}
    {mechanism}_sd_configs: [{{servers: ['{address}'], paths: ['{path}'], timeout: 3s}}]
    relabel_configs:
      - {{source_labels: [__meta_{mechanism}_path, __address__], target_label: found}}
      - {{target_label: __address__, replacement: '127.0.0.1:1'}}
"
        )
    };
    let jobs: String = [("serverset", "/serversets"), ("nerve", "/nerve")].into_iter().map(job).collect();
    format!("global: {{scrape_interval: 1h}}\nscrape_configs:\n{jobs}")
}

fn shows(targets: &BTreeSet<String>, count: usize, parts: &[&str]) -> Result<(), String> {
    let missing = parts.iter().find(|part| !targets.iter().any(|target| target.contains(**part)));
    match (targets.len() == count, missing) {
        (true, None) => Ok(()),
        (_, missing) => Err(format!("{} targets of {count}, without {missing:?}", targets.len())),
    }
}

#[test]
fn announced_members_are_the_same_while_they_change() {
    let folder = folder();
    let ensemble = announced();
    let pair = Pair::start(folder.path(), &configuration(&ensemble.serve()));
    pair.agree("at the start", |theirs| shows(theirs, 13, &["\"h3c:84\"", "\"[::2]:0\""]));

    ensemble.set("/serversets/b", "");
    ensemble.set("/serversets/b/n1", member("hb", 1, json!({})));
    ensemble.set("/serversets/a/m1", member("h1b", 80, json!({})));
    ensemble.set("/serversets/a/m2", "broken");
    ensemble.set("/serversets/a/bad", member("good", 5, json!({})));
    ensemble.remove("/serversets/a/m3/child");
    ensemble.remove("/serversets/a/m3");
    ensemble.set("/serversets/a/m3", member("h3b", 83, json!({})));
    ensemble.remove("/serversets/größe x");
    ensemble.set("/nerve/n1", "");
    pair.agree("changed", |theirs| {
        shows(theirs, 11, &["\"hb:1\"", "\"h1b:80\"", "\"good:5\"", "\"h3b:83\""])
    });
}

#[test]
fn announced_members_are_the_same_after_an_outage() {
    let folder = folder();
    let ensemble = announced();
    let pair = Pair::start(folder.path(), &configuration(&ensemble.serve()));
    pair.agree("at the start", |theirs| shows(theirs, 13, &[]));
    ensemble.outage(|ensemble| {
        ensemble.set("/serversets/a/m1", member("h1b", 80, json!({})));
        ensemble.set("/serversets/a/m4", member("h4", 85, json!({})));
        ensemble.remove("/serversets/a/m3/child");
        ensemble.set("/nerve/n4", json!({"host": "n4"}).to_string());
        pair.agree("away", |theirs| shows(theirs, 13, &["\"h1:80\"", "\"h3c:84\""]));
    });
    pair.agree("back", |theirs| shows(theirs, 14, &["\"h1b:80\"", "\"h4:85\"", "\"n4:0\""]));
    // The watches of the new session; the other side would take seconds to show it.
    ensemble.set("/serversets/a/m4", "");
    let ours = || targets(&pair.ours.client).and_then(|ours| shows(&ours, 13, &[]));
    wait_until("a change after the outage", DEADLINE, || Ok(ours().is_ok())).expect("it is seen");
}
