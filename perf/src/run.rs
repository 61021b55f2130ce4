//! One server through the whole course: load, rest, questions, a kill and a restart, an orderly stop.
//! The flags that each server runs with stand here and nowhere else.

use crate::flags::Flags;
use crate::load;
use crate::prepared::Prepared;
use crate::process::{Kind, Launch, Server, disk_bytes};
use crate::queries::{self, Question};
use crate::report::Better;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A folder for a run's data within the one that `--folder` names, or within the system's; gone when it is dropped.
pub fn folder(flags: &Flags, prefix: &str) -> Result<TempDir, String> {
    let parent = match flags.text("folder") {
        "" => std::env::temp_dir(),
        folder => PathBuf::from(folder),
    };
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(&parent);
    made.map_err(|error| format!("{}: {error}", parent.display()))
}

/// Who takes part, as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    /// `hearth:synced`, `prometheus`, …
    pub name: String,
    pub kind: Kind,
    pub binary: PathBuf,
    /// For Hearth, how durable a write is before it is acknowledged.
    ack: Option<String>,
}

impl Entrant {
    /// Those that `--servers` names, by the binaries of `--hearth` and `--peers`.
    pub fn all(flags: &Flags) -> Result<Vec<Entrant>, String> {
        let (hearth, peers) = (Path::new(flags.text("hearth")), Path::new(flags.text("peers")));
        flags.text("servers").split(',').map(|name| Entrant::named(name, hearth, peers)).collect()
    }

    /// Reads `hearth[:synced|written|memory]`, `prometheus` or `victoriametrics`.
    pub fn named(name: &str, hearth: &Path, peers: &Path) -> Result<Entrant, String> {
        let (server, ack) = name.split_once(':').map_or((name, None), |(server, ack)| (server, Some(ack)));
        let (kind, binary) = match server {
            "hearth" => (Kind::Hearth, hearth.to_path_buf()),
            "prometheus" => (Kind::Prometheus, peers.join("bin/prometheus")),
            "victoriametrics" => (Kind::VictoriaMetrics, peers.join("bin/victoria-metrics")),
            _ => return Err(format!("{name}: neither hearth, prometheus nor victoriametrics")),
        };
        if ack.is_some() && kind != Kind::Hearth {
            return Err(format!("{name}: only hearth's acknowledgement can be chosen"));
        }
        Ok(Entrant { name: name.to_string(), kind, binary, ack: ack.map(str::to_string) })
    }

    /// Everything that is pinned for a fair comparison: the same retention, no scraping, no cached
    /// answers, and limits out of the way of the load.
    pub fn launch(&self, folder: &Path) -> Launch {
        let launch = Launch::new(self.kind, self.binary.clone(), folder);
        match self.kind {
            Kind::VictoriaMetrics => launch
                .flag("-retentionPeriod=15d")
                .flag("-search.disableCache")
                .flag("-search.latencyOffset=0s")
                .flag("-search.maxUniqueTimeseries=10000000")
                .flag("-search.maxQueryDuration=120s")
                .flag("-loggerLevel=WARN"),
            _ => {
                let mut launch = launch
                    .config("global: {}\n")
                    .flag("--web.enable-remote-write-receiver")
                    .flag("--storage.tsdb.retention.time=15d")
                    .flag("--log.level=warn");
                if self.kind == Kind::Hearth {
                    launch = launch.flag("--query.cache.size=0B");
                }
                if let Some(ack) = &self.ack {
                    launch = launch.flag(format!("--storage.wal.ack={ack}"));
                }
                launch
            }
        }
    }
}

/// How the course is run.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    pub connections: usize,
    /// After the load: work that was put off is done, and counted, here.
    pub rest: Duration,
    pub questions: &'static [Question],
    /// Each question is asked for at least this long.
    pub question: Duration,
}

/// What came of one run.
#[derive(Debug)]
pub struct Outcome {
    /// Name, direction, value, in the table's order.
    pub figures: Vec<(String, Better, f64)>,
    /// The answer to each question.
    pub answers: Vec<Value>,
}

/// Runs one entrant in a fresh folder.
pub fn run(
    entrant: &Entrant,
    prepared: &Prepared,
    course: &Course,
    folder: &Path,
) -> Result<Outcome, String> {
    let launch = entrant.launch(folder);
    let server = launch.start()?;
    let mut figures = Figures::default();
    ingest(&server, prepared, course, &mut figures)?;

    let answers = ask(&server, prepared, course, &mut figures)?;

    server.kill()?;
    let server = launch.start()?;
    figures.less("ready after a kill, s", server.ready_s);
    figures.less("CPU until ready, s", server.cpu_s()?);
    let counted = server.client.number(r#"count({__name__!=""})"#, prepared.plan.end_ms)?;
    // Only a server that promises no more than VictoriaMetrics may miss what came last before the kill.
    if counted != Some(prepared.plan.series as f64) && entrant.kind != Kind::VictoriaMetrics {
        return Err(format!("{}: {counted:?} series after the kill", entrant.name));
    }
    figures.less("orderly stop, s", server.stop()?);
    figures.less("disk after the stop, MiB", mebibytes(disk_bytes(&launch.data())));
    Ok(Outcome { figures: figures.0, answers })
}

/// The answers, and what each cost, and the geometric means.
fn ask(
    server: &Server,
    prepared: &Prepared,
    course: &Course,
    figures: &mut Figures,
) -> Result<Vec<Value>, String> {
    let (mut answers, mut logs, mut peak_bytes) = (Vec::new(), [0.0; 2], 0);
    for question in course.questions {
        let cost = queries::time(server, question, &prepared.plan, course.question)?;
        for ((unit, cost), log) in
            ["CPU ms", "wall ms"].iter().zip([cost.cpu_ms, cost.wall_ms]).zip(&mut logs)
        {
            figures.less(format!("{}, {unit}", question.name), cost);
            // CPU is counted in hundredths of a second: one that was not seen is not for nothing.
            *log += cost.max(0.01).ln();
        }
        // No mean of these: most questions need no memory that the ones before have not left behind.
        figures.less(format!("{}, peak MiB", question.name), mebibytes(cost.peak_bytes));
        answers.push(queries::ask(&server.client, question, &prepared.plan)?);
        peak_bytes = peak_bytes.max(server.memory()?.peak_bytes);
    }
    figures.less("peak RSS with questions, MiB", mebibytes(peak_bytes));
    for (unit, log) in ["CPU ms", "wall ms"].iter().zip(logs) {
        figures.less(format!("geometric mean, {unit}"), (log / course.questions.len() as f64).exp());
    }
    Ok(answers)
}

#[derive(Default)]
struct Figures(Vec<(String, Better, f64)>);

impl Figures {
    fn less(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), Better::Less, value));
    }

    fn more(&mut self, name: impl Into<String>, value: f64) {
        self.0.push((name.into(), Better::More, value));
    }
}

fn ingest(
    server: &Server,
    prepared: &Prepared,
    course: &Course,
    figures: &mut Figures,
) -> Result<(), String> {
    let plan = &prepared.plan;
    let cpu_before_s = server.cpu_s()?;
    let sent = load::send(prepared, server.client.base(), course.connections)?;
    let cpu_sent_s = server.cpu_s()? - cpu_before_s;
    let memory_sent = server.memory()?;
    rest(server, course.rest)?;
    let cpu_s = server.cpu_s()? - cpu_before_s;
    let counted = server.client.number(r#"count({__name__!=""})"#, plan.end_ms)?;
    if counted != Some(plan.series as f64) {
        return Err(format!("{counted:?} series after the load, {} were sent", plan.series));
    }
    figures.more("samples per CPU-second, load", plan.samples() as f64 / cpu_sent_s);
    figures.more("samples per CPU-second, load and rest", plan.samples() as f64 / cpu_s);
    figures.less("CPU of the load, s", cpu_sent_s);
    figures.less("CPU of load and rest, s", cpu_s);
    figures.less("wall of the load, s", sent.wall_s);
    figures.less("requests repeated", sent.repeated as f64);
    figures.less("write latency p50, ms", sent.latency_ms(0.5));
    figures.less("write latency p99, ms", sent.latency_ms(0.99));
    let memory = server.memory()?;
    figures.less("RSS after the load, MiB", mebibytes(memory_sent.resident_bytes));
    figures.less("RSS after the rest, MiB", mebibytes(memory.resident_bytes));
    figures.less("anonymous RSS after the rest, MiB", mebibytes(memory.anonymous_bytes));
    figures.less("anonymous RSS per series, B", memory.anonymous_bytes as f64 / plan.series as f64);
    figures.less("disk after the rest, MiB", mebibytes(server.disk_bytes()));
    figures.less("disk per sample, B", server.disk_bytes() as f64 / plan.samples() as f64);
    Ok(())
}

/// Waits, and makes what VictoriaMetrics still holds back visible to queries.
fn rest(server: &Server, rest: Duration) -> Result<(), String> {
    let began = Instant::now();
    if server.launch().kind == Kind::VictoriaMetrics {
        server.client.get("/internal/force_flush", &[])?;
    }
    std::thread::sleep(rest.saturating_sub(began.elapsed()));
    Ok(())
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entrants_are_read_from_their_names() {
        let named = |name| Entrant::named(name, Path::new("h"), Path::new("p"));
        assert_eq!(named("hearth:written").unwrap().ack.as_deref(), Some("written"));
        assert_eq!(named("prometheus").unwrap().binary, Path::new("p/bin/prometheus"));
        assert!(named("prometheus:synced").is_err() && named("other").is_err());
    }
}
