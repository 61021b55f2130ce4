//! Sends a load of remote-write requests, encoded beforehand, to a server that runs already, and prints
//! what the sender saw. `load --help` lists the flags.
#![forbid(unsafe_code)]

use hearth_perf::flags::{self, Flag, Flags};
use hearth_perf::load;
use hearth_perf::prepared::{Plan, Prepared};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

const FLAGS: &[Flag] = &[
    ("url", "http://127.0.0.1:9090", "the server, without a path"),
    ("series", "100000", "series"),
    ("rounds", "240", "samples a series"),
    ("interval-s", "15", "between two samples of a series, in the data"),
    ("samples-per-request", "2000", "series in a request, one sample each"),
    ("connections", "1", "kept-alive connections"),
    ("seed", "1", "of the values"),
];

fn main() -> ExitCode {
    flags::ended(run())
}

fn run() -> Result<(), String> {
    let flags = Flags::parse(FLAGS, std::env::args().skip(1))?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_millis();
    let plan = Plan {
        series: flags.number("series")?,
        rounds: flags.number("rounds")?,
        interval_ms: flags.number::<i64>("interval-s")? * 1000,
        samples_per_request: flags.number("samples-per-request")?,
        end_ms: now_ms as i64 / 1000 * 1000,
        seed: flags.number("seed")?,
    };
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let prepared = Prepared::write(plan, &folder.path().join("load"))?;
    eprintln!("prepared {} samples in {} MiB", plan.samples(), prepared.bytes() >> 20);
    let sent = load::send(&prepared, flags.text("url"), flags.number("connections")?)?;
    println!(
        "{} samples in {} requests ({} repeated), {:.1} s, {:.0} samples/s, latency p50 {:.2} ms p99 {:.2} ms",
        sent.samples,
        sent.requests,
        sent.repeated,
        sent.wall_s,
        sent.samples as f64 / sent.wall_s,
        sent.latency_ms(0.5),
        sent.latency_ms(0.99),
    );
    Ok(())
}
