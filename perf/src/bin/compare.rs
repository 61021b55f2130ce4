//! Runs Hearth and its peers in turn on the same data and prints one table. `perf/compare` builds and
//! finds what this needs; `compare --help` lists the flags.
#![forbid(unsafe_code)]

use hearth_perf::answer;
use hearth_perf::flags::{self, Flag, Flags};
use hearth_perf::prepared::{Plan, Prepared};
use hearth_perf::queries::{self, Question};
use hearth_perf::report::Table;
use hearth_perf::run::{self, Course, Entrant, Outcome};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FLAGS: &[Flag] = &[
    (
        "servers",
        "hearth:synced,hearth:written,prometheus,victoriametrics",
        "who takes part; ratios are of the first to the others",
    ),
    ("hearth", "", "the binary of Hearth"),
    ("peers", "", "the folder that scripts/peers filled"),
    ("series", "100000", "series"),
    ("rounds", "240", "samples a series"),
    ("interval-s", "15", "between two samples of a series, in the data"),
    ("samples-per-request", "2000", "series in a request, one sample each"),
    ("connections", "1", "kept-alive connections of the sender"),
    ("seed", "1", "of the values"),
    ("runs", "1", "rounds over all servers; the table gives the median"),
    ("rest-s", "10", "after the load, before memory and disk are read"),
    (
        "questions",
        "mixed",
        "which set: mixed (wide and narrow, instant and range) or long (ranges by the minute)",
    ),
    ("question-s", "1", "how long each question is asked at least"),
    ("folder", "", "where the data goes; a temporary folder if empty"),
    ("json", "", "file for the figures"),
];

fn main() -> ExitCode {
    flags::ended(compare())
}

fn compare() -> Result<(), String> {
    let flags = Flags::parse(FLAGS, std::env::args().skip(1))?;
    let plan = plan(&flags)?;
    let course = Course {
        connections: flags.number("connections")?,
        rest: Duration::from_secs(flags.number("rest-s")?),
        questions: queries::questions(flags.text("questions"))?,
        question: Duration::from_secs_f64(flags.number("question-s")?),
    };
    let entrants = Entrant::all(&flags)?;
    let folder = run::folder(&flags, "hearth-compare")?;
    eprintln!("preparing {} series x {} samples", plan.series, plan.rounds);
    let prepared = Prepared::write(plan, &folder.path().join("load"))?;

    let mut tables = Vec::new();
    for round in 0..flags.number::<usize>("runs")? {
        let mut table = Table::default();
        let mut first_answers = Vec::new();
        for entrant in &entrants {
            eprintln!("run {}: {}", round + 1, entrant.name);
            let outcome = in_fresh_folder(entrant, &prepared, &course, folder.path())?;
            table.column(&entrant.name, &outcome.figures);
            first_answers.push((entrant.name.clone(), outcome.answers));
        }
        report_disagreements(course.questions, &first_answers);
        tables.push(table);
    }
    let table = Table::median(&tables);
    println!("{}", heading(&plan, &course, tables.len(), prepared.bytes()));
    print!("{}", table.markdown());
    keep(flags.text("json"), &plan, &table)
}

fn plan(flags: &Flags) -> Result<Plan, String> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?.as_millis();
    Ok(Plan {
        series: flags.number("series")?,
        rounds: flags.number("rounds")?,
        interval_ms: flags.number::<i64>("interval-s")? * 1000,
        samples_per_request: flags.number("samples-per-request")?,
        end_ms: now_ms as i64 / 60_000 * 60_000,
        seed: flags.number("seed")?,
    })
}

fn in_fresh_folder(
    entrant: &Entrant,
    prepared: &Prepared,
    course: &Course,
    parent: &Path,
) -> Result<Outcome, String> {
    let folder = tempfile::tempdir_in(parent).map_err(|error| error.to_string())?;
    run::run(entrant, prepared, course, folder.path())
}

/// Says where Hearth answers something else than Prometheus: figures of a wrong answer are worth nothing.
/// VictoriaMetrics computes rates another way on purpose and is left out.
fn report_disagreements(questions: &[Question], answers: &[(String, Vec<serde_json::Value>)]) {
    let Some((_, expected)) = answers.iter().find(|(name, _)| name == "prometheus") else { return };
    for (name, answers) in answers.iter().filter(|(name, _)| name.starts_with("hearth")) {
        for (question, (ours, theirs)) in questions.iter().zip(answers.iter().zip(expected)) {
            for difference in answer::differences(ours, theirs) {
                eprintln!("{name} differs from prometheus, {}: {difference}", question.name);
            }
        }
    }
}

fn heading(plan: &Plan, course: &Course, runs: usize, bytes: u64) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{} series x {} samples, every {} s, {} samples a request ({} MiB in all), {} connection(s), {} s of \
         rest, {runs} run(s), {cores} cores",
        plan.series,
        plan.rounds,
        plan.interval_ms / 1000,
        plan.samples_per_request,
        bytes >> 20,
        course.connections,
        course.rest.as_secs(),
    )
}

fn keep(path: &str, plan: &Plan, table: &Table) -> Result<(), String> {
    if path.is_empty() {
        return Ok(());
    }
    let kept = json!({ "series": plan.series, "rounds": plan.rounds, "interval_ms": plan.interval_ms,
        "samples_per_request": plan.samples_per_request, "table": table.json() });
    std::fs::write(path, format!("{kept:#}\n")).map_err(|error| format!("{path}: {error}"))
}
