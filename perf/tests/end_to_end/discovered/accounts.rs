//! Accounts at vendors whose APIs list machines: each is first as it is, then fails in every way that there is, and then
//! it has changed. What the vendors answer stands in other files.

use super::Pair;
use super::api::{Reply, Request};
use hearth_perf::http::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What is true of all accounts at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    First,
    Failing,
    Changed,
}

/// An answer that is no failure of the phase.
pub struct Answer {
    pub status: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(body: &Value) -> Answer {
        Answer { status: "200 OK", headers: Vec::new(), body: body.to_string() }
    }

    pub fn refused(body: &Value) -> Answer {
        Answer { status: "401 Unauthorized", ..Answer::json(body) }
    }

    pub fn xml(body: String) -> Answer {
        Answer { status: "200 OK", headers: Vec::new(), body }
    }

    pub fn missing() -> Answer {
        Answer { status: "404 Not Found", headers: Vec::new(), body: "{}".to_owned() }
    }

    pub fn header(mut self, name: &'static str, value: impl ToString) -> Answer {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// What an account has: nothing at all where it is called so, or all of this, the last one only once it has changed, the
/// first one only before.
pub fn owned(account: &str, changed: bool, mut all: Vec<Value>) -> Vec<Value> {
    if account == "empty" {
        return Vec::new();
    }
    let without = if changed { 0 } else { all.len() - 1 };
    all.remove(without);
    all
}

/// Two of them: the page of this number, which counts from 1, and whether there is one after it.
pub fn page(all: &[Value], number: &str) -> (Vec<Value>, usize, bool) {
    let number: usize = if number.is_empty() { 1 } else { number.parse().expect("the number of a page") };
    let start = (number - 1) * 2;
    (all.iter().skip(start).take(2).cloned().collect(), number, start + 2 < all.len())
}

/// A vendor: what its API answers, `true` where the account has changed.
pub type Vendor = fn(&Request, bool) -> Answer;

/// Shared by a test and what answers for it.
pub struct Accounts {
    phase: Mutex<Phase>,
    failures: AtomicUsize,
    vendors: BTreeMap<&'static str, Vendor>,
}

/// What comes instead of an answer.
const FAILURES: [(&str, &str); 5] = [
    ("500 Internal Server Error", "{\"error\": \"the test fails\"}"),
    ("200 OK", "{\"cut\": [{\"off"),
    ("401 Unauthorized", "{\"message\": \"the test refuses\"}"),
    ("200 OK", "<html>no vendor speaks so</html>"),
    ("404 Not Found", ""),
];

impl Accounts {
    /// Each vendor by its host.
    pub fn new(vendors: impl IntoIterator<Item = (&'static str, Vendor)>) -> Arc<Accounts> {
        Arc::new(Accounts {
            phase: Mutex::new(Phase::First),
            failures: AtomicUsize::new(0),
            vendors: vendors.into_iter().collect(),
        })
    }

    pub fn hosts(&self) -> Vec<&'static str> {
        self.vendors.keys().copied().collect()
    }

    fn set(&self, phase: Phase) {
        *self.phase.lock().expect("no answer panicked") = phase;
    }

    pub fn answer(&self, request: &Request, reply: &mut Reply<'_>) -> Result<(), Error> {
        let host = request.header("host");
        let vendor = self.vendors.get(host.split(':').next().unwrap_or_default());
        let vendor = vendor.unwrap_or_else(|| panic!("there is no host {host}"));
        let phase = *self.phase.lock().expect("no answer panicked");
        if phase == Phase::Failing {
            let turn = self.failures.fetch_add(1, Ordering::Relaxed);
            let (status, body) = FAILURES[turn % FAILURES.len()];
            return reply.json(status, body);
        }
        let answer = vendor(request, phase == Phase::Changed);
        let headers = answer.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = [("Content-Type", "application/json")].into_iter().chain(headers).collect();
        reply.whole(answer.status, &headers, &answer.body)
    }
}

/// How often each mechanism has failed.
fn failures(client: &Client) -> BTreeMap<String, f64> {
    let page = client.get("/metrics", &[]).expect("figures").body;
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("prometheus_sd_refresh_failures_total{")) {
        let (labels, value) = line.rsplit_once(' ').expect("a sample has a value");
        let mechanism = labels.split("mechanism=\"").nth(1).and_then(|rest| rest.split('"').next());
        // One line, or one for each job.
        let failures: f64 = value.parse().expect("a number");
        *found.entry(mechanism.unwrap_or(labels).to_owned()).or_default() += failures;
    }
    found
}

/// Waits until each of these mechanisms has failed this often more at both servers.
fn let_fail(pair: &Pair, mechanisms: &[&str], times: f64) {
    let clients = [&pair.ours.client, &pair.theirs.client];
    let before = clients.map(failures);
    pair.wait(|_| {
        for (client, before) in clients.iter().zip(&before) {
            let now = failures(client);
            let of = |all: &BTreeMap<String, f64>, name: &str| all.get(name).copied().unwrap_or(0.0);
            if let Some(name) = mechanisms.iter().find(|name| of(&now, name) < of(before, name) + times) {
                return Err(format!("{name} has not failed {times} times at {}: {now:?}", client.base()));
            }
        }
        Ok(())
    });
}

/// A job for each section: a mechanism, what tells its targets apart, and the section's fields inside a map. Nobody is
/// scraped: the address is kept in a label, and nothing listens where it points then.
pub fn configuration(sections: &[(&str, &str, String)]) -> String {
    let job = |(number, (mechanism, id, section)): (usize, &(&str, &str, String))| {
        format!(
            "  - job_name: {mechanism}-{number}
    {mechanism}_sd_configs: [{{{section}, refresh_interval: 1s}}]
    relabel_configs:
      - {{source_labels: [__meta_{mechanism}_{id}, __address__], target_label: found}}
      - {{target_label: __address__, replacement: '127.0.0.1:1'}}
"
        )
    };
    let jobs: String = sections.iter().enumerate().map(job).collect();
    format!("global: {{scrape_interval: 1h}}\nscrape_configs:\n{jobs}")
}

/// Goes through all phases. There are so many targets in the first and the last; `mark` is in the last one alone.
pub fn compare(pair: &Pair, accounts: &Accounts, mechanisms: &[&str], counts: [usize; 2], mark: &str) {
    let shows = |targets: &BTreeSet<String>, count: usize, changed: bool| {
        let marked = targets.iter().any(|target| target.contains(mark));
        if targets.len() == count && marked == changed {
            return Ok(());
        }
        Err(format!("{} targets of {count}, {mark}: {marked}", targets.len()))
    };
    pair.agree("at the start", |theirs| shows(theirs, counts[0], false));
    accounts.set(Phase::Failing);
    let_fail(pair, mechanisms, 10.0);
    pair.agree("failing", |theirs| shows(theirs, counts[0], false));
    accounts.set(Phase::Changed);
    pair.agree("changed", |theirs| shows(theirs, counts[1], true));
}
