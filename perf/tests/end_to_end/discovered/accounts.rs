//! Accounts at vendors whose APIs list machines: each is first as it is, then fails in every way that there is, and then
//! it has changed. What the vendors answer stands in other files.

use super::Pair;
use super::api::{Reply, Request};
use hearth_perf::http::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What is true of all accounts at the moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
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

    pub fn set(&self, phase: Phase) {
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
pub fn failures(client: &Client) -> BTreeMap<String, f64> {
    let page = client.get("/metrics", &[]).expect("figures").body;
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("prometheus_sd_refresh_failures_total{")) {
        let (labels, value) = line.rsplit_once(' ').expect("a sample has a value");
        let mechanism = labels.split("mechanism=\"").nth(1).and_then(|rest| rest.split('"').next());
        found.insert(mechanism.unwrap_or(labels).to_owned(), value.parse().expect("a number"));
    }
    found
}

/// Waits until each of these mechanisms has failed this often more at both servers.
pub fn let_fail(pair: &Pair, mechanisms: &[&str], times: f64) {
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
