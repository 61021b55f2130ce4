//! How many samples a second of its CPU a server scrapes: many targets with a page of a thousand series each, all
//! of them one process here, kept-alive connections, one server after the other; and how late the scrapes come, how
//! much memory a target takes, and whether a reload meanwhile costs one. `scrapes --help` lists the flags.
#![forbid(unsafe_code)]

use hearth_perf::flags::{self, Flag, Flags};
use hearth_perf::process::{Kind, Launch, Server};
use hearth_perf::synthetic::Exporter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const FLAGS: &[Flag] = &[
    ("hearth", "hearth", "the binary to measure"),
    ("peers", "", "the folder of the servers to measure beside it; none where there is none"),
    ("targets", "50", "targets"),
    ("series", "1000", "series of each target"),
    ("others", "0", "of these, series that are others in each scrape"),
    ("form", "plain", "how a made page is written: plain, timestamps, openmetrics, exemplars, protobuf"),
    ("interval-ms", "1000", "between two scrapes of a target"),
    ("warm-s", "10", "seconds before measuring"),
    ("seconds", "30", "seconds to measure"),
    ("page", "", "a recorded page to serve in the place of a made one"),
    (
        "reloads",
        "0",
        "times to reload while measuring: a target comes, another goes, the others must not notice",
    ),
];

fn main() -> ExitCode {
    flags::ended(run())
}

/// Each target has an address of its own, as in life. One more target than asked for comes and goes by `turn`.
fn configuration(flags: &Flags, exporter: &Exporter, turn: usize) -> Result<String, String> {
    let interval = flags.text("interval-ms");
    let mut out = format!(
        "global: {{scrape_interval: {interval}ms, scrape_timeout: {interval}ms}}\nscrape_configs:\n- job_name: load\n  static_configs:\n"
    );
    let targets = flags.number::<usize>("targets")?;
    for target in (0..targets).chain((turn > 0).then_some(targets + turn)) {
        let address = exporter.address(target);
        out.push_str(&format!(
            "  - {{targets: ['{address}'], labels: {{__metrics_path__: /{target}, instance: 'target-{target}'}}}}\n"
        ));
    }
    Ok(out)
}

/// Reloads again and again while time goes by; the slowest of them, in milliseconds.
fn reload(
    server: &Server,
    flags: &Flags,
    exporter: &Exporter,
    folder: &Path,
    seconds: u64,
) -> Result<f64, String> {
    let reloads: u64 = flags.number("reloads")?;
    let mut slowest_ms = 0.0f64;
    for turn in 1..=reloads {
        std::thread::sleep(Duration::from_secs(seconds) / (reloads + 1) as u32);
        let text = configuration(flags, exporter, turn as usize)?;
        std::fs::write(folder.join("prometheus.yml"), text).map_err(|error| error.to_string())?;
        let began = Instant::now();
        let answer = server.client.post_form("/-/reload", &[])?;
        if answer.status != 200 {
            return Err(format!("reload: {} {}", answer.status, answer.body));
        }
        slowest_ms = slowest_ms.max(began.elapsed().as_secs_f64() * 1e3);
    }
    std::thread::sleep(Duration::from_secs(seconds) / (reloads + 1) as u32);
    Ok(slowest_ms)
}

fn measure(kind: Kind, binary: &str, flags: &Flags, folder: &Path) -> Result<f64, String> {
    let (recorded, targets) = (flags.text("page"), flags.number::<usize>("targets")?);
    let exporter = match recorded {
        "" => Exporter::made(flags.text("form").parse()?, flags.number("series")?, flags.number("others")?)?,
        path => {
            Exporter::recorded(std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?)?
        }
    };
    let launch = Launch::new(kind, PathBuf::from(binary), folder).config(configuration(flags, &exporter, 0)?);
    let launch = match kind {
        Kind::VictoriaMetrics => {
            launch.flag(format!("-promscrape.config={}", folder.join("prometheus.yml").display()))
        }
        _ => launch.flag("--web.enable-lifecycle"),
    };
    let server = launch.start()?;
    std::thread::sleep(Duration::from_secs(flags.number("warm-s")?));
    let (began, cpu_s, seconds) = (Instant::now(), server.cpu_s()?, flags.number("seconds")?);
    exporter.begin();
    let reload_ms = reload(&server, flags, &exporter, folder, seconds)?;
    let seen = exporter.seen(flags.number::<u64>("interval-ms")? as f64, targets);
    let cpu_s = server.cpu_s()? - cpu_s;
    let rate = (seen.scrapes * exporter.samples()) as f64 / cpu_s;
    let resident = server.memory()?.resident_bytes;
    println!(
        "{kind:?}: {} scrapes of {} samples in {:.1} s, {cpu_s:.2} s of CPU, {rate:.0} samples per CPU-second; \
         lateness p50 {:.1}, p99 {:.1}, most {:.1} ms; {} left out, longest gap {:.0} ms; {} MiB resident, {} KiB a target",
        seen.scrapes,
        exporter.samples(),
        began.elapsed().as_secs_f64(),
        seen.late_ms(0.5),
        seen.late_ms(0.99),
        seen.late_ms(1.0),
        seen.left_out,
        seen.longest_gap_ms,
        resident >> 20,
        (resident >> 10) / targets as u64,
    );
    if flags.number::<usize>("reloads")? > 0 {
        println!("    slowest reload {reload_ms:.0} ms");
    }
    server.stop().map(|_| rate)
}

fn run() -> Result<(), String> {
    let flags = Flags::parse(FLAGS, std::env::args().skip(1))?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ours = measure(Kind::Hearth, flags.text("hearth"), &flags, &folder.path().join("hearth"))?;
    for (kind, name) in [(Kind::Prometheus, "prometheus"), (Kind::VictoriaMetrics, "victoria-metrics")] {
        if !flags.text("peers").is_empty() {
            let binary = Path::new(flags.text("peers")).join("bin").join(name);
            let theirs = measure(kind, &binary.to_string_lossy(), &flags, &folder.path().join(name))?;
            println!("    Hearth / {name}: {:.1}", ours / theirs);
        }
    }
    Ok(())
}
