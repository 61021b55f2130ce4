//! Runs `.test` files in the format of Prometheus' own PromQL tests against the engine over an in-memory
//! store of several shards.
//!
//! `PROMQLTEST_DIR=DIR cargo test -p hearth-promql --test promqltest` runs every file of a folder and
//! prints a line a file; without the variable the project's own files in `testdata/` run.

#[path = "promqltest/compare.rs"]
mod compare;
#[path = "promqltest/script.rs"]
mod script;
#[path = "promqltest/sequence.rs"]
mod sequence;
#[path = "promqltest/store.rs"]
mod store;

use hearth_model::QueryContext;
use hearth_promql::syntax::ParseOptions;
use hearth_promql::{
    Answer, Engine, EngineOptions, InstantRequest, Query, QueryError, RangeRequest, RequestOptions, Value,
};
use script::{Command, Eval, Expect, When};
use std::path::{Path, PathBuf};

const SHARDS: usize = 3;

fn engine(store: &store::Loaded) -> Engine<hearth_model::testing::MemStore> {
    let options = EngineOptions {
        parse: ParseOptions::ALL,
        delayed_name_removal: true,
        use_start_timestamps: true,
        ..EngineOptions::default()
    };
    Engine::new(store.fill(SHARDS), options)
}

fn ask(engine: &impl Query, eval: &Eval) -> Result<Answer, QueryError> {
    let options = RequestOptions::new(QueryContext::unlimited());
    let text = eval.expr.clone();
    futures_executor::block_on(match eval.when {
        When::Instant(time_ms) => engine.instant(InstantRequest { text, time_ms, options }),
        When::Range { start_ms, end_ms, step_ms } => {
            engine.range(RangeRequest { text, start_ms, end_ms, step_ms, options })
        }
    })
}

/// An instant query must say the same as the middle of a range query.
fn check_as_range(engine: &impl Query, eval: &Eval, answer: &Answer) -> Result<(), String> {
    let When::Instant(time_ms) = eval.when else { return Ok(()) };
    let depends_on_range = ["range()", "step()", "start()", "end()"].iter().any(|f| eval.expr.contains(f));
    let comparable = matches!(answer.value, Value::Vector(_) | Value::Scalar(_));
    if eval.is_ordered() || depends_on_range || !comparable {
        return Ok(());
    }
    let when = When::Range { start_ms: time_ms - 60_000, end_ms: time_ms + 60_000, step_ms: 60_000 };
    let ranged = ask(engine, &Eval { when, ..eval.clone() });
    let ranged = ranged.map_err(|e| format!("as a range query: {e}"))?;
    let middle = compare::at_time(&ranged.value, time_ms, &answer.value);
    compare::values(eval, &middle).map_err(|e| format!("as a range query: {e}"))
}

fn check(engine: &impl Query, eval: &Eval) -> Result<(), String> {
    let answer = match (ask(engine, eval), eval.expects_failure()) {
        (Err(error), Some(expected)) => {
            return match expected.admits(&error.to_string()) {
                true => Ok(()),
                false => Err(format!("fails with {error}, expected {expected:?}")),
            };
        }
        (Err(error), None) => return Err(format!("fails with {error}")),
        (Ok(answer), Some(_)) => return Err(format!("does not fail: {:?}", answer.value)),
        (Ok(answer), None) => answer,
    };
    compare::values(eval, &answer.value)?;
    for expect in &eval.expects {
        let (kind, notes, wanted) = match expect {
            Expect::Warn(text) => ("warning", &answer.warnings, Some(text)),
            Expect::Info(text) => ("info", &answer.infos, Some(text)),
            Expect::NoWarn => ("warning", &answer.warnings, None),
            Expect::NoInfo => ("info", &answer.infos, None),
            _ => continue,
        };
        match wanted {
            None if !notes.is_empty() => return Err(format!("unexpected {kind}: {notes:?}")),
            Some(text) if !notes.iter().any(|note| text.admits(note)) => {
                return Err(format!("{kind} {text:?} is missing, got {notes:?}"));
            }
            _ => {}
        }
    }
    check_as_range(engine, eval, &answer)
}

/// Passed evals, and what went wrong.
fn run_file(path: &Path) -> (usize, Vec<String>) {
    let text = std::fs::read_to_string(path).expect("test file can be read");
    let commands = match script::parse(&text) {
        Ok(commands) => commands,
        Err(error) => return (0, vec![format!("{}: {error}", path.display())]),
    };
    let mut loaded = store::Loaded::default();
    let mut current = None;
    let (mut passed, mut failures) = (0, Vec::new());
    for (line, command) in commands {
        let result = match command {
            Command::Clear => {
                loaded = store::Loaded::default();
                current = None;
                continue;
            }
            Command::Load(load) => {
                current = None;
                match loaded.add(&load) {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                }
            }
            Command::Eval(eval) => {
                let engine = current.get_or_insert_with(|| engine(&loaded));
                check(engine, &eval).map_err(|error| format!("{}\n    {error}", eval.expr))
            }
        };
        match result {
            Ok(()) => passed += 1,
            Err(error) => failures.push(format!("{}:{line}: {error}", path.display())),
        }
    }
    (passed, failures)
}

/// The one test that a runner sees when it asks for a list, as nextest does.
const NAME: &str = "promqltest";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks = |flag: &str| arguments.iter().any(|a| a == flag);
    if asks("--list") {
        if !asks("--ignored") {
            println!("{NAME}: test");
        }
        return;
    }
    let own = PathBuf::from("testdata");
    let given = std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from);
    let folder = given.unwrap_or(own);
    let only = std::env::var("PROMQLTEST_ONLY").ok();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("cannot list {}: {e}", folder.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "test"))
        .filter(|path| only.as_ref().is_none_or(|o| path.to_string_lossy().contains(o.as_str())))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .test file in {}", folder.display());
    let (mut all_passed, mut all_failed) = (0, 0);
    for path in &files {
        let (passed, failures) = run_file(path);
        for failure in &failures {
            println!("{failure}");
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        println!("{name}: {passed} passed, {} failed", failures.len());
        all_passed += passed;
        all_failed += failures.len();
    }
    println!("all: {all_passed} passed, {all_failed} failed");
    if all_failed > 0 {
        std::process::exit(1);
    }
}
