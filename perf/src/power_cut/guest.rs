//! What runs inside the machine: starts the server, reads everything back, then sends until the power is cut.

use super::machine::SAYS;
use super::{Plan, REQUESTS_PER_BOOT, SERIES, STEP_MS, labels, value};
use crate::http::Client;
use crate::process::{Kind, Launch};
use crate::request::Encoder;
use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SENDERS: usize = 4;
/// Between two marks: each takes a process.
const MARK_EVERY: Duration = Duration::from_millis(25);
/// Between two requests that make the server look for work in the background at once, instead of every few seconds:
/// blocks to write and to bring together, checkpoints.
const TEND_EVERY: Duration = Duration::from_millis(300);

/// What was read back.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    pub samples: usize,
    /// Requests that were acknowledged and are not there, or not all of their samples, in the order of their
    /// acknowledgements.
    pub lost: Vec<u64>,
    /// What nobody ever sent.
    pub wrong: Vec<String>,
}

impl Verdict {
    /// Looks at every sample of an answer's `result`.
    pub fn of(result: &Value, plan: &Plan) -> Verdict {
        let (mut verdict, mut there) = (Verdict::default(), HashSet::new());
        for found in result.as_array().into_iter().flatten() {
            let series = found["metric"]["series"].as_str().and_then(|text| text.parse().ok());
            let series: usize = series.unwrap_or(usize::MAX);
            for sample in found["values"].as_array().into_iter().flatten() {
                verdict.samples += 1;
                let time_ms = (sample[0].as_f64().unwrap_or(0.0) * 1000.0).round() as i64 - plan.start_ms;
                let request = u64::try_from(time_ms / STEP_MS).unwrap_or(u64::MAX);
                let number = sample[1].as_str().and_then(|text| text.parse::<f64>().ok());
                let sent = time_ms % STEP_MS == 0
                    && series < SERIES
                    && request < plan.boot * REQUESTS_PER_BOOT
                    && number == Some(value(request, series));
                if !sent || !there.insert((request, series)) {
                    verdict.wrong.push(format!("series {series}: {sample}"));
                }
            }
        }
        let whole = |request: &u64| (0..SERIES).all(|series| there.contains(&(*request, series)));
        verdict.lost = plan.acknowledged.iter().copied().filter(|request| !whole(request)).collect();
        verdict
    }

    fn say(&self) -> String {
        let list = |all: &[u64]| all.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let wrong = self.wrong.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
        format!("checked {} samples|{}|{}|{wrong}", self.samples, list(&self.lost), self.wrong.len())
    }

    /// The same out of what the guest said.
    pub fn heard(said: &str) -> Option<Verdict> {
        let mut parts = said.strip_prefix("checked ")?.split('|');
        let samples = parts.next()?.strip_suffix(" samples")?.parse().ok()?;
        let lost = parts.next()?.split(',').filter_map(|number| number.parse().ok()).collect();
        let wrong = parts.next()?.parse::<usize>().ok()?;
        let examples = parts.next()?.to_owned();
        Some(Verdict { samples, lost, wrong: vec![examples; wrong] })
    }
}

fn say(what: &str) {
    println!("{SAYS}{what}");
}

/// Runs until the power is cut; an error ends it.
pub fn run(folder: &Path) -> Result<(), String> {
    let plan = Plan::read(folder)?;
    let mut launch =
        Launch::new(Kind::Hearth, plan.server.clone(), &plan.disk.join("hearth")).config("global: {}\n");
    for flag in &plan.flags {
        launch = launch.flag(flag);
    }
    say("starting");
    let server = launch.start()?;
    let log = server.log();
    if let Some(told) = log.lines().find(|line| line.contains("panicked at")) {
        return Err(format!("the server panicked: {told}"));
    }
    let backend = log
        .lines()
        .rev()
        .find_map(|line| line.split_once(" io=").map(|(_, name)| name.trim_matches('"').to_owned()));
    say(&format!("ready {:.2} {}", server.ready_s, backend.unwrap_or_default()));
    let boots = plan.time_ms(plan.boot * REQUESTS_PER_BOOT);
    let range_s = (boots - plan.start_ms) / 1000 + 1;
    let found = server.client.instant(&format!("power_cut[{range_s}s]"), boots)?;
    say(&Verdict::of(&found["result"], &plan).say());
    say("sending");
    send(server.client.base(), &plan)
}

/// Sends request after request, and marks what was acknowledged.
fn send(base: &str, plan: &Plan) -> Result<(), String> {
    let next = AtomicU64::new(plan.boot * REQUESTS_PER_BOOT);
    let acknowledged = Mutex::new(Vec::new());
    let last = (plan.boot + 1) * REQUESTS_PER_BOOT;
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                if let Err(error) = sender(base, plan, &next, last, &acknowledged) {
                    say(&format!("failed: {}", error.replace('\n', " ")));
                }
            });
        }
        scope.spawn(|| tend(base));
        for mark in 0.. {
            std::thread::sleep(MARK_EVERY);
            let taken = std::mem::take(&mut *acknowledged.lock().map_err(|_| "a sender panicked")?);
            if taken.is_empty() {
                continue;
            }
            let message = ["message", "cut", "0", "mark", &mark.to_string()];
            let done = Command::new("dmsetup").args(message).status().map_err(|error| error.to_string())?;
            if !done.success() {
                return Err(format!("dmsetup: {done}"));
            }
            let taken: Vec<String> = taken.iter().map(u64::to_string).collect();
            say(&format!("mark {mark} {}", taken.join(",")));
        }
        Ok(())
    })
}

/// Keeps the server at its work in the background until it is gone.
fn tend(base: &str) {
    let client = Client::new(base);
    while client.post_form("/api/v1/admin/tsdb/clean_tombstones", &[]).is_ok_and(|a| a.status == 204) {
        std::thread::sleep(TEND_EVERY);
    }
    say("failed: the server does not tend its data");
}

fn sender(
    base: &str,
    plan: &Plan,
    next: &AtomicU64,
    last: u64,
    acknowledged: &Mutex<Vec<u64>>,
) -> Result<(), String> {
    let (client, mut encoder) = (Client::new(base), Encoder::default());
    let labels: Vec<Vec<u8>> = (0..SERIES).map(labels).collect();
    loop {
        let request = next.fetch_add(1, Ordering::Relaxed);
        if request >= last {
            return Ok(());
        }
        for (series, labels) in labels.iter().enumerate() {
            encoder.push(labels, &[(plan.time_ms(request), value(request, series))]);
        }
        let answer = client.remote_write(encoder.finish()?)?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("request {request}: status {}: {}", answer.status, answer.body));
        }
        acknowledged.lock().map_err(|_| "another sender panicked")?.push(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(acknowledged: &[u64]) -> Plan {
        let acknowledged = acknowledged.to_vec();
        Plan { server: "".into(), flags: vec![], disk: "".into(), start_ms: 1_000, boot: 1, acknowledged }
    }

    /// What a server answers that holds these requests of a series.
    fn held(series: usize, requests: &[u64]) -> Value {
        let time = |request: u64| (1_000 + request as i64 * STEP_MS) as f64 / 1000.0;
        let values: Vec<_> =
            requests.iter().map(|r| json!([time(*r), value(*r, series).to_string()])).collect();
        json!({"metric": {"series": series.to_string()}, "values": values})
    }

    #[test]
    fn what_is_missing_and_what_is_wrong_is_told() {
        let all: Vec<Value> = (0..SERIES).map(|series| held(series, &[1, 2])).collect();
        let verdict = Verdict::of(&json!(all), &plan(&[2, 1]));
        assert_eq!(verdict, Verdict { samples: 2 * SERIES, lost: vec![], wrong: vec![] });

        let mut part = all.clone();
        part[7] = held(7, &[2]);
        assert_eq!(Verdict::of(&json!(part), &plan(&[2, 1])).lost, [1]);

        let mut wrong = all.clone();
        wrong[3]["values"][0][1] = json!("5.5");
        let verdict = Verdict::of(&json!(wrong), &plan(&[]));
        assert_eq!(verdict.wrong, ["series 3: [5.0,\"5.5\"]"]);
        assert_eq!(Verdict::of(&json!([held(99, &[1])]), &plan(&[])).wrong.len(), 1);
        assert_eq!(Verdict::of(&json!([held(1, &[1, 1])]), &plan(&[])).wrong.len(), 1);
        assert_eq!(Verdict::of(&json!([held(1, &[REQUESTS_PER_BOOT])]), &plan(&[])).wrong.len(), 1);
    }

    #[test]
    fn a_verdict_is_heard_as_it_was_said() {
        let verdict = Verdict { samples: 5, lost: vec![3, 1], wrong: vec![] };
        assert_eq!(Verdict::heard(&verdict.say()), Some(verdict));
        let verdict = Verdict { samples: 5, lost: vec![], wrong: vec!["a".into()] };
        assert_eq!(Verdict::heard(&verdict.say()), Some(verdict));
        assert_eq!(Verdict::heard("ready"), None);
    }
}
