//! What queries do to writes, and what a crowd of clients gets: constant writes alone, the same writes while one
//! client asks a heavy question again and again, then many clients at once. `perf/pressure` builds and finds what
//! this needs; `pressure --help` lists the flags.
#![forbid(unsafe_code)]

use hearth_perf::flags::{self, Flag, Flags};
use hearth_perf::http::{Client, seconds};
use hearth_perf::load::{self, Sent};
use hearth_perf::prepared::{Plan, Prepared};
use hearth_perf::run::Entrant;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const FLAGS: &[Flag] = &[
    ("servers", "hearth:synced,hearth:written,prometheus,victoriametrics", "who takes part"),
    ("hearth", "", "the binary of Hearth"),
    ("peers", "", "the folder that scripts/peers filled"),
    ("series", "50000", "series"),
    ("rounds", "120", "samples a series before the measurement"),
    ("samples-per-request", "1000", "series in a request, one sample each"),
    ("every-ms", "10", "between two requests of the constant writes"),
    ("seconds", "20", "how long each of the two stretches of constant writes is"),
    ("clients", "200", "of the crowd"),
    ("questions", "5", "that each client of the crowd asks"),
];

/// Asked over all of the data while the writes go on.
const HEAVY: &str = r#"sum by (mode) (rate({__name__=~".+_(total|bucket)"}[5m]))"#;
/// Asked by the crowd.
const LIGHT: &str = "sum by (namespace) (rate(http_requests_total[5m]))";

fn main() -> ExitCode {
    flags::ended(pressure())
}

fn pressure() -> Result<(), String> {
    let flags = Flags::parse(FLAGS, std::env::args().skip(1))?;
    let every = Duration::from_millis(flags.number("every-ms")?);
    let stretch =
        (Duration::from_secs(flags.number("seconds")?).as_millis() / every.as_millis().max(1)) as usize;
    let (series, per_request) = (flags.number("series")?, flags.number::<usize>("samples-per-request")?);
    let per_round = usize::div_ceil(series, per_request.max(1));
    let before = flags.number::<usize>("rounds")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
    let plan = Plan {
        series,
        rounds: before + (2 * stretch).div_ceil(per_round.max(1)),
        interval_ms: 15_000,
        samples_per_request: per_request,
        end_ms: now.as_millis() as i64,
        seed: 1,
    };
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let prepared = Prepared::write(plan, &folder.path().join("load"))?;
    println!(
        "| server | writes alone p50 / p99 / max, ms | with a heavy query p50 / p99 / max, ms | heavy queries | crowd |"
    );
    println!("|---|---|---|---|---|");
    for entrant in Entrant::all(&flags)? {
        let name = &entrant.name;
        let server = entrant.launch(&folder.path().join(name.replace(':', "-"))).start()?;
        let base = server.client.base().to_owned();
        let calm_from = before * per_round;
        load::send_some(&prepared, &base, 0..calm_from, None)?;
        let alone = load::send_some(&prepared, &base, calm_from..calm_from + stretch, Some(every))?;
        let rest = calm_from + stretch..(calm_from + 2 * stretch).min(prepared.requests());
        let (pressed, asked) =
            while_asked(&base, &plan, || load::send_some(&prepared, &base, rest, Some(every)))?;
        let crowd = crowd(&base, &plan, flags.number("clients")?, flags.number("questions")?)?;
        println!("| {name} | {} | {} | {asked} | {crowd} |", latencies(&alone), latencies(&pressed));
        server.stop()?;
    }
    Ok(())
}

fn latencies(sent: &Sent) -> String {
    let [middle, high, most] = [0.5, 0.99, 1.0].map(|share| sent.latency_ms(share));
    format!("{middle:.2} / {high:.2} / {most:.1}")
}

/// Runs `work` while a client asks the heavy question without a pause; returns how many answers it got.
fn while_asked<T>(
    base: &str,
    plan: &Plan,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<(T, usize), String> {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (client, mut answers) = (Client::new(base), 0);
            while !ended.load(Ordering::Relaxed) {
                client.range(HEAVY, plan.start_ms(), plan.end_ms, 60_000)?;
                answers += 1;
            }
            Ok::<usize, String>(answers)
        });
        let done = work();
        ended.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|_| "the asking client panicked".to_owned())??;
        Ok((done?, asked))
    })
}

/// Many clients at once; returns how long they took and how often they got each status.
fn crowd(base: &str, plan: &Plan, clients: usize, questions: usize) -> Result<String, String> {
    let (began, time) = (Instant::now(), seconds(plan.end_ms));
    let ask = || {
        let (client, mut statuses) = (Client::new(base), BTreeMap::<String, usize>::new());
        for _ in 0..questions {
            let answer = client.get("/api/v1/query", &[("query", LIGHT), ("time", &time)]);
            let status = answer.map_or_else(|error| error, |answer| answer.status.to_string());
            *statuses.entry(status).or_default() += 1;
        }
        statuses
    };
    let mut all = BTreeMap::<String, usize>::new();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..clients).map(|_| scope.spawn(ask)).collect();
        for client in asking {
            let statuses = client.join().map_err(|_| "a client panicked".to_owned())?;
            statuses.into_iter().for_each(|(status, count)| *all.entry(status).or_default() += count);
        }
        Ok::<(), String>(())
    })?;
    let statuses: Vec<String> = all.iter().map(|(status, count)| format!("{count} x {status}")).collect();
    Ok(format!("{} in {:.1} s", statuses.join(", "), began.elapsed().as_secs_f64()))
}
