//! The subcommands on data directories, of Hearth's or of Prometheus', with promtool's words and output where it
//! has the same:
//!
//! ```text
//! hearth tsdb list|analyze|dump|dump-openmetrics|verify|export|reshard|create-blocks-from …
//! ```
//!
//! Nothing in here starts a server. All but `reshard` and `create-blocks-from` only read, also beside a server that
//! runs.

mod analyze;
mod dump;
mod list;
mod openmetrics;
mod output;

use hearth_engine::Options;
use hearth_engine::moving::MovingError;
use hearth_engine::moving::backfill::backfill;
use hearth_engine::moving::export::{Plan, export};
use hearth_engine::moving::read::Files;
use hearth_engine::moving::reshard::reshard;
use hearth_engine::moving::verify::verify;
use hearth_model::{Matcher, TimeRange};
use hearth_promql::syntax::parse_metric_selector;
use openmetrics::OpenMetrics;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

const USAGE: &str = "usage:
  hearth tsdb list [--human-readable] [DIRECTORY]
  hearth tsdb analyze [--limit=20] [--match=SELECTOR] [DIRECTORY] [BLOCK]
  hearth tsdb dump [--min-time=MS] [--max-time=MS] [--match=SELECTOR...] [DIRECTORY]
  hearth tsdb dump-openmetrics [--min-time=MS] [--max-time=MS] [--match=SELECTOR...] [DIRECTORY]
  hearth tsdb verify [DIRECTORY]
  hearth tsdb export [--min-time=MS] [--max-time=MS] [--match=SELECTOR...] [--block-duration=2h] DIRECTORY INTO
  hearth tsdb reshard --shards=NUMBER [DIRECTORY]
  hearth tsdb create-blocks-from openmetrics FILE [DIRECTORY]

DIRECTORY is a data directory of Hearth's or of Prometheus' (data/ where none is given); MS are milliseconds since
1970. export writes blocks that Prometheus reads. reshard and create-blocks-from need a directory that no server
uses; reshard keeps what was there in its folder before-reshard. create-blocks-from adds samples of any time to what
is there, or makes a directory; what is older than a server's retention goes when that starts.
";

/// Why a command failed, and the exit code that goes with it.
pub enum Failure {
    Told(String, u8),
    /// Whoever read what was printed has seen enough.
    ReaderGone,
}

impl From<MovingError> for Failure {
    fn from(error: MovingError) -> Self {
        Failure::Told(error.to_string(), 1)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Told(format!("printing: {error}"), 1),
        }
    }
}

fn usage(what: impl std::fmt::Display) -> Failure {
    Failure::Told(format!("{what}\n{USAGE}"), 2)
}

/// What a command is asked for.
struct Arguments {
    words: Vec<String>,
    flags: Vec<(String, String)>,
}

const SWITCHES: &[&str] = &["human-readable"];

/// The flags that a command knows, and how many words it takes at most.
fn known(command: &str) -> Option<(&'static [&'static str], usize)> {
    Some(match command {
        "list" => (&["human-readable"], 1),
        "analyze" => (&["limit", "match"], 2),
        "dump" | "dump-openmetrics" => (&["min-time", "max-time", "match"], 1),
        "verify" => (&[], 1),
        "export" => (&["min-time", "max-time", "match", "block-duration"], 2),
        "reshard" => (&["shards"], 1),
        "create-blocks-from" => (&[], 3),
        _ => return None,
    })
}

impl Arguments {
    fn read(arguments: &[String]) -> Result<Arguments, Failure> {
        let (mut words, mut flags) = (Vec::new(), Vec::new());
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "-r" {
                flags.push(("human-readable".to_owned(), "true".to_owned()));
                continue;
            }
            let Some(flag) = argument.strip_prefix("--") else {
                words.push(argument.clone());
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None if SWITCHES.contains(&flag) => (flag, "true".to_owned()),
                None => match rest.next() {
                    Some(value) => (flag, value.clone()),
                    None => return Err(usage(format!("expected argument for flag '--{flag}'"))),
                },
            };
            flags.push((name.to_owned(), value));
        }
        Ok(Arguments { words, flags })
    }

    fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from(self.words.first().map_or("data/", String::as_str))
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, Failure> {
        match self.flag(name) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| usage(format!("--{name}: {text:?} is not a number"))),
        }
    }

    fn range(&self) -> Result<TimeRange, Failure> {
        let (min_ms, max_ms) = (self.number("min-time", i64::MIN)?, self.number("max-time", i64::MAX)?);
        Ok(TimeRange::new(min_ms, max_ms))
    }

    /// A series counts when it matches any of the selectors.
    fn selectors(&self) -> Result<Vec<Arc<[Matcher]>>, Failure> {
        let given = self.flags.iter().filter(|(name, _)| name == "match");
        given
            .map(|(_, text)| match parse_metric_selector(text) {
                Ok(matchers) => Ok(Arc::from(matchers)),
                Err(error) => Err(Failure::Told(format!("--match={text}: {error}"), 1)),
            })
            .collect()
    }
}

/// Runs the arguments where they name one of these commands; the exit code.
pub fn run(arguments: &[String]) -> Option<u8> {
    if arguments.first().map(String::as_str) != Some("tsdb") {
        return None;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = command(&arguments[1..], &mut out).and_then(|code| Ok(out.flush().map(|()| code)?));
    Some(match outcome {
        Ok(code) => code,
        Err(Failure::ReaderGone) => 0,
        Err(Failure::Told(text, code)) => {
            eprintln!("{}", text.trim_end());
            code
        }
    })
}

fn command(arguments: &[String], out: &mut impl Write) -> Result<u8, Failure> {
    if arguments.is_empty() || arguments.iter().any(|a| a == "-h" || a == "--help") {
        out.write_all(USAGE.as_bytes())?;
        return Ok(0);
    }
    let command = arguments[0].as_str();
    let Some((flags, words)) = known(command) else {
        return Err(usage(format!("unknown command tsdb {command}")));
    };
    let arguments = Arguments::read(&arguments[1..])?;
    if let Some((name, _)) = arguments.flags.iter().find(|(name, _)| !flags.contains(&name.as_str())) {
        return Err(usage(format!("unknown flag '--{name}'")));
    }
    if let Some(extra) = arguments.words.get(words) {
        return Err(usage(format!("unexpected {extra}")));
    }
    match command {
        "list" => list::run(&arguments.directory(), arguments.flag("human-readable").is_some(), out),
        "analyze" => {
            let selectors = arguments.selectors()?;
            let limit = arguments.number("limit", 20)?;
            let block = arguments.words.get(1).map(String::as_str);
            analyze::run(&arguments.directory(), block, &selectors, limit, out)
        }
        "verify" => check(&arguments, out),
        "export" => send(&arguments, out),
        "reshard" => divide(&arguments, out),
        "create-blocks-from" => fill(&arguments, out),
        _ => {
            let form = if command == "dump" { dump::Form::Promtool } else { dump::Form::OpenMetrics };
            let (selectors, range) = (arguments.selectors()?, arguments.range()?);
            let mut files = Files::open(&arguments.directory())?;
            dump::run(&mut files, &selectors, range, form, out)?;
            Ok(told(&files))
        }
    }
}

/// What could not be read goes to the other stream; the exit code that goes with it.
fn told(files: &Files) -> u8 {
    for damage in &files.damages {
        eprintln!("not everything was read: {damage}");
    }
    u8::from(!files.damages.is_empty())
}

fn check(arguments: &Arguments, out: &mut impl Write) -> Result<u8, Failure> {
    let report = verify(&arguments.directory())?;
    for damage in &report.damages {
        writeln!(out, "damaged: {damage}")?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    if report.more > 0 {
        writeln!(out, "and {} more", report.more)?;
    }
    writeln!(
        out,
        "{} files, {}, {} series and {} samples read: {}",
        report.files,
        output::size(report.bytes),
        report.series,
        report.samples,
        if report.damages.is_empty() { "no damage" } else { "DAMAGED" }
    )?;
    Ok(u8::from(!report.damages.is_empty()))
}

fn send(arguments: &Arguments, out: &mut impl Write) -> Result<u8, Failure> {
    let Some(into) = arguments.words.get(1) else {
        return Err(usage("required argument missing: the directory to write blocks into"));
    };
    let length = arguments.flag("block-duration").unwrap_or("2h");
    let block_ms = hearth_model::duration::parse_duration_ms(length)
        .map_err(|error| usage(format!("--block-duration: {error}")))?;
    let sets = arguments.selectors()?;
    let into = PathBuf::from(into);
    let plan = Plan {
        into: &into,
        sets: &sets,
        range: arguments.range()?,
        block_ms,
        now_ms: jiff::Timestamp::now().as_millisecond(),
    };
    let mut files = Files::open(&arguments.directory())?;
    let written = export(&mut files, &plan, |meta| {
        // Long exports show that they go on; who reads nothing of it misses nothing.
        eprintln!("{} {} samples", meta.ulid, meta.stats.num_samples);
    })?;
    let samples: u64 = written.iter().map(|meta| meta.stats.num_samples).sum();
    writeln!(out, "{} blocks with {samples} samples written into {}", written.len(), into.display())?;
    Ok(told(&files))
}

fn divide(arguments: &Arguments, out: &mut impl Write) -> Result<u8, Failure> {
    let shards: usize = arguments.number("shards", 0)?;
    if shards == 0 {
        return Err(usage("required flag --shards not provided"));
    }
    let mut options = Options::new(arguments.directory());
    options.shards = Some(shards);
    let done = reshard(&options)?;
    writeln!(
        out,
        "{} shards became {}: {} samples in {} blocks, {} in memory and log, {} exemplars and what is known of {} metrics; what was there is in {}",
        done.from,
        done.to,
        done.block_samples,
        done.blocks,
        done.head_samples,
        done.exemplars,
        done.metrics,
        options.path.join("before-reshard").display()
    )?;
    Ok(0)
}

fn fill(arguments: &Arguments, out: &mut impl Write) -> Result<u8, Failure> {
    let [format, file, directory @ ..] = arguments.words.as_slice() else {
        return Err(usage("required arguments missing: the format (openmetrics) and the file"));
    };
    if format != "openmetrics" {
        return Err(usage(format!("{format:?} is no format to create blocks from: openmetrics is")));
    }
    let options = Options::new(directory.first().map_or("data/", String::as_str));
    let done = backfill(&options, &mut OpenMetrics::new(PathBuf::from(file)))?;
    let time =
        |ms| jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |t| t.to_string());
    writeln!(
        out,
        "{} samples from {} to {} written into {} blocks in {}",
        done.samples,
        time(done.min_ms),
        time(done.max_ms),
        done.blocks,
        options.path.display()
    )?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], expect: Result<u8, &str>) {
        let arguments: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        match (command(&arguments, &mut Vec::new()), expect) {
            (Ok(code), Ok(expect)) => assert_eq!(code, expect),
            (Err(Failure::Told(text, _)), Err(part)) => assert!(text.contains(part), "{text}"),
            (got, expect) => panic!("{:?} instead of {expect:?}", got.ok()),
        }
    }

    #[test]
    fn commands_are_known_and_others_refused() {
        check(&[], Ok(0));
        check(&["list", "--help"], Ok(0));
        check(&["bench"], Err("unknown command tsdb bench"));
        check(&["list", "--limit=1"], Err("unknown flag '--limit'"));
        check(&["list", "a", "b"], Err("unexpected b"));
        check(&["dump", "--min-time=soon", "a"], Err("--min-time: \"soon\" is not a number"));
        check(&["analyze", "--match={", "a"], Err("--match={:"));
        check(&["export", "a"], Err("the directory to write blocks into"));
        check(&["reshard", "a"], Err("--shards not provided"));
        check(&["create-blocks-from", "openmetrics"], Err("the format (openmetrics) and the file"));
        check(&["create-blocks-from", "rules", "a"], Err("\"rules\" is no format"));
        check(&["verify", "/nonexistent/directory"], Err("holds no data"));
        assert!(run(&["--config.file=x".to_owned()]).is_none());
    }
}
