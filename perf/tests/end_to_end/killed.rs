//! 100,000 series x 60 samples by remote write, with a kill -9 in the middle, twenty times (two hundred times where
//! `HEARTH_LONG` is set): after every
//! restart, which nobody helps, each acknowledged sample is there and no sample that was never sent.
//!
//! Each value is a whole number made from its series and round, so that a count and a sum over everything
//! are exact and a lost, doubled or altered sample shows in one of them.

use crate::setup::{RECEIVER, folder, launch_hearth, now_ms};
use fastrand::Rng;
use hearth_perf::http::{Client, seconds};
use hearth_perf::process::{Killer, Server};
use hearth_perf::request::{Encoder, label_bytes};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SERIES: usize = 100_000;
const ROUNDS: usize = 60;
const KILLS: usize = 20;
/// The same of a long run, which `HEARTH_LONG` asks for.
const LONG_KILLS: usize = 200;
const SAMPLES_PER_REQUEST: usize = 2000;
const SENDERS: usize = 4;
const INTERVAL_MS: i64 = 15_000;

const REQUESTS_PER_ROUND: usize = SERIES / SAMPLES_PER_REQUEST;
const REQUESTS: usize = REQUESTS_PER_ROUND * ROUNDS;

/// What was sent, or what a server holds: how many samples and the sum of their values.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Held {
    samples: usize,
    sum: f64,
}

impl Held {
    fn add(&mut self, other: Held) {
        self.samples += other.samples;
        self.sum += other.sum;
    }
}

struct Data {
    start_ms: i64,
    labels: Vec<Vec<u8>>,
}

impl Data {
    fn new(start_ms: i64) -> Data {
        let labels = (0..SERIES).map(|number| {
            let (shelf, place) = ((number / 1000).to_string(), (number % 1000).to_string());
            label_bytes([("__name__", "kept_value"), ("job", "kill"), ("place", &place), ("shelf", &shelf)])
        });
        Data { start_ms, labels: labels.collect() }
    }

    fn time_ms(&self, round: usize) -> i64 {
        self.start_ms + round as i64 * INTERVAL_MS
    }

    fn end_ms(&self) -> i64 {
        self.time_ms(ROUNDS - 1)
    }

    fn value(number: usize, round: usize) -> f64 {
        (number % 997 + 3 * round) as f64
    }

    /// The request's body and what it holds.
    fn request<'a>(&self, request: usize, encoder: &'a mut Encoder) -> (&'a [u8], Held) {
        let (round, part) = (request / REQUESTS_PER_ROUND, request % REQUESTS_PER_ROUND);
        let mut held = Held::default();
        for number in part * SAMPLES_PER_REQUEST..(part + 1) * SAMPLES_PER_REQUEST {
            let value = Data::value(number, round);
            held.add(Held { samples: 1, sum: value });
            encoder.push(&self.labels[number], &[(self.time_ms(round), value)]);
        }
        (encoder.finish().expect("a request can be encoded"), held)
    }
}

/// One sender: always the same part of the series, in the order of the rounds.
struct Sender {
    requests: Vec<usize>,
    next: usize,
    acknowledged: Held,
    /// Sent at least once, not acknowledged: the server may hold any part of it.
    in_doubt: Held,
}

impl Sender {
    fn new(number: usize) -> Sender {
        let requests = (0..REQUESTS).filter(|request| request % REQUESTS_PER_ROUND % SENDERS == number);
        let requests = requests.collect();
        Sender { requests, next: 0, acknowledged: Held::default(), in_doubt: Held::default() }
    }

    /// Sends up to and without request `until`, or until the server is gone; `done` counts for all
    /// senders.
    fn send(&mut self, data: &Data, base: &str, until: usize, done: &AtomicUsize) -> Result<(), String> {
        let (client, mut encoder) = (Client::new(base), Encoder::default());
        while self.requests.get(self.next).is_some_and(|request| *request < until) {
            let (body, held) = data.request(self.requests[self.next], &mut encoder);
            self.in_doubt = held;
            match client.remote_write(body) {
                // The connection broke: the server was killed.
                Err(_) => return Ok(()),
                Ok(answer) if (200..300).contains(&answer.status) => {}
                Ok(answer) => return Err(format!("status {}: {}", answer.status, answer.body)),
            }
            self.acknowledged.add(held);
            self.in_doubt = Held::default();
            self.next += 1;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn twenty_kills_lose_and_invent_nothing() {
    let kills = if std::env::var_os("HEARTH_LONG").is_some() { LONG_KILLS } else { KILLS };
    let seed = now_ms() as u64;
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let folder = folder();
    let data = Data::new(now_ms() / 1000 * 1000 - ROUNDS as i64 * INTERVAL_MS);
    let launch = launch_hearth(folder.path()).flag(RECEIVER);
    let mut senders: Vec<_> = (0..SENDERS).map(Sender::new).collect();
    let mut server = launch.start().expect("hearth starts");
    for kill in 1..=kills {
        let until = REQUESTS * kill / kills;
        let after = rng.usize(1..REQUESTS / kills);
        let pause = Duration::from_micros(rng.u64(0..5000));
        send_and_kill(&mut senders, &data, &server, until, Some((after, pause)));
        // Killed once more for the reaping, where the senders were done before the kill came.
        server.kill().expect("the process can be reaped");
        server = launch.start().expect("hearth starts again by itself");
        check_kept(&server, &data, &senders, kill);
        // The rest of this stretch, what is in doubt first.
        send_and_kill(&mut senders, &data, &server, until, None);
    }
    server.kill().expect("the process can be killed");
    let server = launch.start().expect("hearth starts again by itself");
    check_whole(&server, &data, &mut rng);
}

/// Lets all senders send until they are through, or the server is killed: after that many requests and
/// that pause.
fn send_and_kill(
    senders: &mut [Sender],
    data: &Data,
    server: &Server,
    until: usize,
    kill: Option<(usize, Duration)>,
) {
    let done = AtomicUsize::new(0);
    let (base, killer) = (server.client.base(), server.killer());
    std::thread::scope(|scope| {
        let done = &done;
        let running: Vec<_> = senders
            .iter_mut()
            .map(|sender| scope.spawn(move || sender.send(data, base, until, done)))
            .collect();
        if let Some((after, pause)) = kill {
            kill_after(
                killer,
                || done.load(Ordering::Relaxed) >= after || running.iter().all(|one| one.is_finished()),
                pause,
            );
        }
        for sender in running {
            sender.join().expect("a sender panicked").expect("only a killed server refuses");
        }
    });
}

fn kill_after(killer: Killer, due: impl Fn() -> bool, pause: Duration) {
    while !due() {
        std::thread::yield_now();
    }
    // Not to wait for anything: it moves the kill to anywhere in the handling of a request.
    std::thread::sleep(pause);
    killer.kill().expect("the server runs until it is killed");
}

/// What the server holds of everything ever sent.
fn held(server: &Server, data: &Data) -> Held {
    let window = format!("{}s", (ROUNDS as i64 * INTERVAL_MS) / 1000);
    let number = |function: &str| {
        let query = format!("sum({function}(kept_value{{job=\"kill\"}}[{window}]))");
        server.client.number(&query, data.end_ms()).expect("the server answers").unwrap_or(0.0)
    };
    Held { samples: number("count_over_time") as usize, sum: number("sum_over_time") }
}

fn check_kept(server: &Server, data: &Data, senders: &[Sender], kill: usize) {
    let (mut least, mut most) = (Held::default(), Held::default());
    for sender in senders {
        least.add(sender.acknowledged);
        most.add(sender.acknowledged);
        most.add(sender.in_doubt);
    }
    let metrics = server.client.get("/metrics", &[]).expect("it answers").body;
    assert!(
        metrics.contains("\nprometheus_tsdb_clean_start 0\n"),
        "kill {kill}: the start knows of the kill"
    );
    let held = held(server, data);
    println!("kill {kill}: {held:?}, acknowledged {least:?}, ready after {:.2} s", server.ready_s);
    assert!(
        held.samples >= least.samples && held.sum >= least.sum,
        "kill {kill}: {held:?}, acknowledged {least:?}"
    );
    assert!(
        held.samples <= most.samples && held.sum <= most.sum,
        "kill {kill}: {held:?}, ever sent {most:?}"
    );
}

/// Everything was acknowledged in the end: every sample of every series, no more.
fn check_whole(server: &Server, data: &Data, rng: &mut Rng) {
    let mut expect = Held::default();
    for number in 0..SERIES {
        let sum = (0..ROUNDS).map(|round| Data::value(number, round)).sum();
        expect.add(Held { samples: ROUNDS, sum });
    }
    assert_eq!(held(server, data), expect);
    let window = format!("{}s", (ROUNDS as i64 * INTERVAL_MS) / 1000);
    let query = format!("count(count_over_time(kept_value{{job=\"kill\"}}[{window}]) == {ROUNDS})");
    let whole = server.client.number(&query, data.end_ms()).expect("the server answers");
    assert_eq!(whole, Some(SERIES as f64), "series with all of their samples");
    for _ in 0..50 {
        check_series(server, data, rng.usize(0..SERIES), &window);
    }
}

/// A series sample by sample.
fn check_series(server: &Server, data: &Data, number: usize, window: &str) {
    let query = format!("kept_value{{shelf=\"{}\",place=\"{}\"}}[{window}]", number / 1000, number % 1000);
    let answer = server.client.instant(&query, data.end_ms()).expect("the server answers");
    let values = answer["result"][0]["values"].as_array().cloned().unwrap_or_default();
    let found: Vec<_> = values.iter().map(pair).collect();
    let expect: Vec<_> = (0..ROUNDS)
        .map(|round| (seconds(data.time_ms(round)), Data::value(number, round).to_string()))
        .collect();
    assert_eq!(found, expect, "{query}");
}

fn pair(value: &Value) -> (String, String) {
    let time_s = value[0].as_f64().unwrap_or(f64::NAN);
    (format!("{time_s:.3}"), value[1].as_str().unwrap_or_default().to_string())
}
