//! Arguments to values. The rules are those of Prometheus' parser: `--name=value`, `--name value`,
//! `--switch`, `--no-switch`, `@file` with one argument a line, and `--` before nothing.

use super::table::{FLAGS, Flag, Kind, find};
use super::{Flags, help};
use hearth_model::parse_duration_ms;
use std::collections::BTreeMap;

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    Run(Flags),
    Help(String),
    Version,
}

/// A command line that cannot be run, and the exit code that goes with it.
#[derive(Debug, PartialEq, Eq)]
pub struct UsageError {
    pub text: String,
    pub exit_code: u8,
}

/// Deepest `@file` within `@file`.
const MAX_FILE_DEPTH: usize = 8;

fn refuse(text: String) -> UsageError {
    UsageError { text, exit_code: 1 }
}

/// Reads the arguments that follow the program's name.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Parsed, UsageError> {
    let arguments = expand_files(arguments.into_iter().collect(), 0)?;
    let mut values: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut given = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-h" | "--help" => return Ok(Parsed::Help(help::text(false))),
            "--help-long" | "--help-man" => return Ok(Parsed::Help(help::text(true))),
            "--version" => return Ok(Parsed::Version),
            "--" => match rest.next() {
                Some(extra) => return Err(refuse(format!("unexpected {extra}"))),
                None => break,
            },
            _ => {}
        }
        let (flag, value) = one(&argument, &mut rest)?;
        let repeatable = matches!(flag.kind, Kind::Texts | Kind::SomeOf(_) | Kind::Names);
        let slot = values.entry(flag.name).or_default();
        if !slot.is_empty() && !repeatable {
            let text = format!("flag '{}' cannot be repeated", flag.name);
            return Err(UsageError { text, exit_code: 2 });
        }
        slot.push(value);
        given.push(flag.name);
    }
    given.sort_unstable();
    given.dedup();
    for flag in FLAGS {
        values.entry(flag.name).or_insert_with(|| vec![flag.default.to_owned()]);
    }
    Ok(Parsed::Run(Flags { values, given }))
}

/// One flag with its value, which may be the next argument.
fn one(
    argument: &str,
    rest: &mut impl Iterator<Item = String>,
) -> Result<(&'static Flag, String), UsageError> {
    let Some(body) = argument.strip_prefix("--") else {
        let mut letters = argument.strip_prefix('-').unwrap_or_default().chars();
        return Err(refuse(match letters.next() {
            Some(letter) => format!("unknown short flag '-{letter}'"),
            None => format!("unexpected {argument}"),
        }));
    };
    let (name, inline) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let negated = name.strip_prefix("no-").and_then(find).filter(|flag| flag.kind == Kind::Switch);
    let Some(flag) = negated.or_else(|| find(name)) else {
        let near = nearest(name).map_or(String::new(), |near| format!(", did you mean '--{near}'?"));
        return Err(refuse(format!("unknown long flag '--{name}'{near}")));
    };
    if flag.kind == Kind::Switch {
        return match inline {
            Some(value) => Err(refuse(format!("unexpected {value}"))),
            None => Ok((flag, negated.is_none().to_string())),
        };
    }
    let value = match inline {
        Some(value) => value.to_owned(),
        None => rest
            .next()
            .filter(|next| !next.starts_with("--"))
            .ok_or_else(|| refuse(format!("expected argument for flag '--{name}'")))?,
    };
    let value = check(flag, value).map_err(|text| UsageError { text, exit_code: 2 })?;
    Ok((flag, value))
}

/// The value, in the form in which it is shown.
fn check(flag: &Flag, value: String) -> Result<String, String> {
    match flag.kind {
        Kind::Switch | Kind::Text | Kind::Texts | Kind::Names => Ok(value),
        Kind::Duration => {
            parse_duration_ms(&value).map(hearth_model::duration_text).map_err(|e| e.to_string())
        }
        Kind::Bytes => bytes(&value).map(|_| value),
        Kind::Count => count(&value).map(|count| count.to_string()),
        Kind::Ratio => match value.parse::<f64>() {
            Ok(ratio) if ratio.is_finite() => Ok(value),
            _ => Err(format!("strconv.ParseFloat: parsing {value:?}: invalid syntax")),
        },
        Kind::OneOf(choices) if choices.contains(&value.as_str()) => Ok(value),
        Kind::OneOf(choices) => Err(match flag.name {
            "log.level" => format!("unrecognized log level {value}"),
            "log.format" => format!("unrecognized log format {value}"),
            _ => format!("enum value must be one of {}, got '{value}'", choices.join(",")),
        }),
        Kind::SomeOf(choices) => match value.split(',').find(|part| !choices.contains(part)) {
            None => Ok(value),
            Some(other) => Err(format!(
                "unknown remote write protobuf message {other}, supported: {}",
                choices.join(", ")
            )),
        },
    }
}

/// A whole number; `5e7` is one too, as Prometheus' own default is written so.
pub fn count(text: &str) -> Result<usize, String> {
    if let Ok(count) = text.parse::<usize>() {
        return Ok(count);
    }
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1e15).contains(&number) && number.fract() == 0.0 => Ok(number as usize),
        Ok(_) => Err(format!("{text:?} is not a whole number of zero or more")),
        Err(_) => Err(format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
    }
}

/// Bytes with a unit, in powers of two: `512MB`, `1GiB`, `1.5GB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.strip_suffix("iB").or(unit.strip_suffix('B')) {
        Some("") => 0,
        Some("K") => 10,
        Some("M") => 20,
        Some("G") => 30,
        Some("T") => 40,
        Some("P") => 50,
        Some("E") => 60,
        _ => return Err(format!("units: unknown unit {unit} in {text}")),
    };
    let number: f64 = number.parse().map_err(|_| format!("units: invalid {text}"))?;
    Ok((number * (1u64 << shift) as f64) as u64)
}

fn expand_files(arguments: Vec<String>, depth: usize) -> Result<Vec<String>, UsageError> {
    let mut out = Vec::new();
    for argument in arguments {
        let Some(path) = argument.strip_prefix('@') else {
            out.push(argument);
            continue;
        };
        let fail = |why: String| refuse(format!("failed to open arguments file {path:?}: {why}"));
        if depth == MAX_FILE_DEPTH {
            return Err(fail("argument files are nested too deeply".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| fail(format!("open {path}: {error}")))?;
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        out.extend(expand_files(lines.map(str::to_owned).collect(), depth + 1)?);
    }
    Ok(out)
}

/// The known name that a mistyped one most likely means: few edits away, or the only one that it starts.
fn nearest(name: &str) -> Option<&'static str> {
    let shown = || FLAGS.iter().filter(|flag| !flag.hidden).map(|flag| flag.name);
    let best = shown().map(|known| (distance(name, known), known)).min()?;
    if best.0 <= 2 + name.len() / 8 {
        return Some(best.1);
    }
    let mut longer = shown().filter(|known| !name.is_empty() && known.starts_with(name));
    longer.next().filter(|_| longer.next().is_none())
}

/// Edits between two names (Levenshtein), in one row of memory.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
