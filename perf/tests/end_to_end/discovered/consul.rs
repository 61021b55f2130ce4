//! Consul: an agent whose services change, with blocking queries. The Prometheus here is built without Consul,
//! so VictoriaMetrics stands in for it; what it adds is left out of the comparison.

use super::api::{Reply, Request, serve};
use crate::setup::{folder, launch_hearth, launch_victoria_metrics};
use hearth_perf::http::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Error;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A blocking query is answered after this long at the latest, with nothing new.
const LONGEST_WAIT: Duration = Duration::from_millis(700);

#[derive(Default)]
struct Agent {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    index: u64,
    /// By name; with the index of the last change.
    services: BTreeMap<String, (u64, Vec<Value>)>,
    catalogue: u64,
    /// How often something was asked in a way.
    counts: BTreeMap<&'static str, usize>,
}

impl Agent {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no answer panicked")
    }

    /// Sets the instances of a service; without any it is gone.
    fn set(&self, name: &str, instances: Vec<Value>) {
        let mut state = self.lock();
        state.index += 1;
        let index = state.index;
        state.catalogue = index;
        match instances.is_empty() {
            true => drop(state.services.remove(name)),
            false => drop(state.services.insert(name.to_owned(), (index, instances))),
        }
        self.changed.notify_all();
    }

    /// Another agent with the same services, which counts from the beginning.
    fn restart(&self) {
        let mut state = self.lock();
        state.index = 3;
        state.catalogue = 3;
        state.services.values_mut().for_each(|(index, _)| *index = 2);
        self.changed.notify_all();
    }

    fn count(&self, what: &str) -> usize {
        self.lock().counts.get(what).copied().unwrap_or(0)
    }

    fn answer(&self, request: &Request, reply: &mut Reply<'_>) -> Result<(), Error> {
        // Agents take the token in either header.
        let tokens = (request.header("x-consul-token"), request.header("authorization"));
        assert!(tokens.0 == "secret" || tokens.1 == "Bearer secret", "{tokens:?}");
        if request.path == "/v1/agent/self" {
            let body = json!({"Config": {"Datacenter": "dc1", "NodeName": "n"}, "Member": {"Name": "n"}});
            return reply.json("200 OK", &body.to_string());
        }
        let mut state = self.lock();
        let index_of = |state: &State| match request.path.strip_prefix("/v1/health/service/") {
            Some(name) => state.services.get(name).map_or(state.index, |(index, _)| *index),
            None => state.catalogue,
        };
        let stale = request.query.iter().any(|(name, _)| name == "stale");
        *state.counts.entry(if stale { "stale" } else { "consistent" }).or_default() += 1;
        if let Ok(seen) = request.get("index").parse::<u64>() {
            *state.counts.entry("blocking").or_default() += 1;
            let until = Instant::now() + LONGEST_WAIT;
            while index_of(&state) == seen && Instant::now() < until {
                let rest = until.saturating_duration_since(Instant::now());
                state = self.changed.wait_timeout(state, rest).expect("no answer panicked").0;
            }
        }
        let index = index_of(&state).to_string();
        let body = match request.path.strip_prefix("/v1/health/service/") {
            Some(name) => State::instances(&state, name, request),
            None => State::catalogue(&state, request),
        };
        drop(state);
        let headers = [("Content-Type", "application/json"), ("X-Consul-Index", index.as_str())];
        reply.whole("200 OK", &headers, &body.to_string())
    }
}

/// Whether an instance is where the request looks, on a node with the metadata that it names.
fn within(instance: &Value, request: &Request) -> bool {
    let datacenter = match request.get("dc") {
        "" => "dc1",
        named => named,
    };
    let has = |pair: &str| {
        let (name, value) = pair.split_once(':').expect("metadata is name:value");
        instance["Node"]["Meta"][name] == value
    };
    let mut wanted = request.query.iter().filter(|(name, _)| name == "node-meta");
    instance["Node"]["Datacenter"] == datacenter && wanted.all(|(_, pair)| has(pair))
}

fn tags(instance: &Value) -> impl Iterator<Item = &str> {
    instance["Service"]["Tags"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

impl State {
    fn instances(&self, name: &str, request: &Request) -> Value {
        let all = self.services.get(name).map(|(_, instances)| instances.as_slice()).unwrap_or_default();
        let tagged = |instance: &Value| {
            let mut wanted = request.query.iter().filter(|(name, _)| name == "tag");
            wanted.all(|(_, tag)| tags(instance).any(|own| own == tag))
        };
        all.iter().filter(|instance| within(instance, request) && tagged(instance)).cloned().collect()
    }

    /// Names, each with the tags of all its instances. The one filter that tests use looks at names.
    fn catalogue(&self, request: &Request) -> Value {
        let filter = request.get("filter");
        let mut found = serde_json::Map::new();
        for (name, (_, instances)) in &self.services {
            let mut seen = instances.iter().filter(|instance| within(instance, request)).peekable();
            if seen.peek().is_some() && (filter.is_empty() || filter == format!("ServiceName == \"{name}\""))
            {
                let tags: BTreeSet<&str> = seen.flat_map(tags).collect();
                found.insert(name.clone(), json!(tags));
            }
        }
        Value::Object(found)
    }
}

fn instance(name: &str, number: u8, datacenter: &str, tags: &[&str]) -> Value {
    json!({
        "Node": {
            "ID": "", "Node": format!("node-{number}"), "Address": format!("127.4.0.{number}"), "Datacenter": datacenter,
            "TaggedAddresses": {"lan": format!("127.4.0.{number}"), "wan": "127.5.0.1", "lan_ipv4": "x"},
            "Meta": {"rack-id": "r1", "env": if number.is_multiple_of(2) { "test" } else { "live" }},
        },
        "Service": {
            "ID": format!("{name}-{number}"), "Service": name, "Tags": tags, "Address": "", "Port": 8000 + u16::from(number),
            "Meta": {"version": "1.0", "a.b/c": "é"}, "Namespace": "", "Partition": "",
        },
        "Checks": [{"Node": "n", "CheckID": "serfHealth", "Name": "", "Status": "passing"}],
    })
}

fn odd(number: u8, address: &str, checks: &[(&str, &str)]) -> Value {
    let mut odd = instance("odd", number, "dc1", &[]);
    odd["Service"]["Address"] = json!(address);
    let checks: Vec<_> = checks.iter().map(|(id, status)| json!({"CheckID": id, "Status": status})).collect();
    odd["Checks"] = json!(checks);
    odd["Service"]["Namespace"] = json!("ns");
    odd["Service"]["Partition"] = json!("part");
    odd["Service"]["Tags"] = Value::Null;
    odd["Node"]["Meta"] = Value::Null;
    odd
}

fn fill(agent: &Agent) {
    let web = |number| instance("web", number, "dc1", &["a", "b"]);
    agent.set("consul", vec![instance("consul", 9, "dc1", &[])]);
    agent.set("web", vec![web(1), web(2), instance("web", 3, "dc2", &["a", "far"])]);
    agent.set("db", vec![instance("db", 1, "dc1", &["b"])]);
    agent.set("with space", vec![instance("with space", 2, "dc1", &["a"])]);
    agent.set(
        "odd",
        vec![
            odd(1, "h.test", &[("x", "passing"), ("y", "warning")]),
            odd(2, "::1", &[("x", "critical"), ("y", "warning")]),
            odd(3, "127.6.0.1", &[("_node_maintenance", "critical"), ("y", "passing")]),
            odd(4, "", &[]),
        ],
    );
}

const JOBS: [(&str, &str); 8] = [
    ("all", ""),
    ("named", "services: [web, missing, db]"),
    ("tagged", "tags: [a, b], tag_separator: ';'"),
    ("named-tagged", "services: [web, db], tags: [a]"),
    ("on-nodes", "node_meta: {env: test, rack-id: r1}"),
    ("elsewhere", "datacenter: dc2"),
    ("consistent", "allow_stale: false, services: [odd]"),
    ("filtered", "filter: 'ServiceName == \"db\"'"),
];

/// Nobody is scraped: nothing listens where the address points in the end.
fn configuration(address: &str, interval: &str) -> String {
    let job = |(name, section): &(&str, &str)| {
        let section = if section.is_empty() { String::new() } else { format!(", {section}") };
        format!(
            "  - job_name: {name}
    consul_sd_configs: [{{server: '{address}', token: secret{interval}{section}}}]
    relabel_configs:
      - {{source_labels: [__address__], target_label: found}}
      - {{action: labelmap, regex: '__meta_consul_(.+)'}}
      - {{target_label: __address__, replacement: '127.0.0.1:1'}}
"
        )
    };
    let jobs: String = JOBS.iter().map(job).collect();
    format!("global: {{scrape_interval: 1h}}\nscrape_configs:\n{jobs}")
}

/// Job, address and the labels of Consul that Prometheus has, too.
fn found(client: &Client) -> Result<BTreeSet<String>, String> {
    let data = client.get_data("/api/v1/targets", &[])?;
    let targets = data["activeTargets"].as_array().ok_or("no list of targets")?;
    // An empty label is none; only VictoriaMetrics shows such.
    let one = |target: &Value| {
        let labels = target["discoveredLabels"].as_object().into_iter().flatten();
        let extra = |name: &str| {
            name.starts_with("__meta_consul_tag_") || name.starts_with("__meta_consul_tagpresent_")
        };
        let kept = labels.filter(|(name, value)| {
            *value != "" && (name.starts_with("__meta_consul_") && !extra(name) || *name == "__address__")
        });
        let kept: BTreeMap<_, _> = kept.collect();
        format!("{} {}", target["scrapePool"], json!(kept))
    };
    Ok(targets.iter().map(one).collect())
}

#[test]
fn services_of_an_agent_are_the_same() {
    let folder = folder();
    let agent = Arc::new(Agent::default());
    agent.lock().index = 50;
    fill(&agent);
    let shown = Arc::clone(&agent);
    let address = serve(move |request, reply| shown.answer(request, reply));
    let ours = launch_hearth(folder.path()).config(configuration(&address, ", refresh_interval: 1s"));
    let ours = ours.start().expect("hearth starts");
    let theirs = launch_victoria_metrics(folder.path())
        .config(configuration(&address, ""))
        .flag("-promscrape.consulSDCheckInterval=1s");
    let theirs = theirs.start().expect("victoria-metrics starts");
    let agree = |what: &str, count: usize, part: &str| {
        let expected = |theirs: &BTreeSet<String>| match theirs.iter().any(|target| target.contains(part)) {
            true if theirs.len() == count => Ok(()),
            _ => Err(format!("{} targets instead of {count}, {part}", theirs.len())),
        };
        super::agree(what, || (found(&ours.client), found(&theirs.client)), expected);
    };
    agree("the first list", 24, "with space");

    let web = |number| instance("web", number, "dc1", &["a", "b"]);
    agent.set("web", vec![web(2), web(4)]);
    agree("one came, one went", 24, "web-4");
    agent.set("web", vec![web(1), web(2), web(4)]);
    agree("it came back", 28, "web-1");
    let mut ill = instance("db", 1, "dc1", &["a", "b"]);
    ill["Checks"][0]["Status"] = json!("critical");
    ill["Service"]["Tags"] = json!(["a", "b"]);
    agent.set("db", vec![ill]);
    agree("ill and tagged", 30, "__meta_consul_health\":\"critical");
    agent.set("odd", Vec::new());
    agent.set("new", vec![instance("new", 2, "dc1", &["a", "b"])]);
    agree("one service for another", 25, "new-2");

    agent.restart();
    agent.set("new", vec![instance("new", 2, "dc1", &["a", "b"]), instance("new", 6, "dc1", &["b", "a"])]);
    agree("an index that went back", 28, "new-6");
    for what in ["stale", "consistent", "blocking"] {
        assert!(agent.count(what) > 0, "nothing was {what}");
    }
}
