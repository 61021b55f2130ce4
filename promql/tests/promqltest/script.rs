//! The commands of a `.test` file.

use crate::sequence::{Cell, parse_series};
use hearth_model::{Labels, duration};

#[derive(Debug, Clone)]
pub struct LoadedSeries {
    pub labels: Labels,
    pub cells: Vec<Cell>,
    /// The cells are start timestamps, milliseconds from the sample at the same interval: `series@st`.
    pub starts: bool,
}

#[derive(Debug)]
pub struct Load {
    pub interval_ms: i64,
    /// Classic histograms are loaded as native ones with custom buckets too.
    pub with_nhcb: bool,
    pub series: Vec<LoadedSeries>,
}

#[derive(Debug, Clone, Copy)]
pub enum When {
    Instant(i64),
    Range { start_ms: i64, end_ms: i64, step_ms: i64 },
}

#[derive(Debug, Clone)]
pub enum Pattern {
    Anything,
    Exactly(String),
    Matching(String),
}

impl Pattern {
    pub fn admits(&self, text: &str) -> bool {
        match self {
            Pattern::Anything => true,
            Pattern::Exactly(expected) => text == expected,
            Pattern::Matching(regex) => {
                let regex = hearth_model::matcher::regex::Regex::anchored(&format!(".*(?:{regex}).*"));
                regex.is_ok_and(|r| r.is_match(text))
            }
        }
    }
}

#[derive(Debug, Clone)]
pub enum Expect {
    Ordered,
    Fail(Pattern),
    Warn(Pattern),
    Info(Pattern),
    NoWarn,
    NoInfo,
    Text(String),
    /// A range vector, its points this far apart.
    Matrix {
        start_ms: i64,
        step_ms: i64,
    },
}

#[derive(Debug, Clone)]
pub struct Eval {
    pub expr: String,
    pub when: When,
    pub expects: Vec<Expect>,
    pub series: Vec<LoadedSeries>,
    pub scalar: Option<f64>,
}

impl Eval {
    pub fn is_ordered(&self) -> bool {
        self.expects.iter().any(|e| matches!(e, Expect::Ordered))
    }

    pub fn expects_failure(&self) -> Option<&Pattern> {
        self.expects.iter().find_map(|e| if let Expect::Fail(pattern) = e { Some(pattern) } else { None })
    }
}

#[derive(Debug)]
pub enum Command {
    Clear,
    Load(Load),
    Eval(Eval),
}

pub fn parse_time(text: &str) -> Result<i64, String> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok(sign * (seconds * 1000.0).round() as i64);
    }
    duration::parse_duration_ms(text).map(|ms| sign * ms).map_err(|e| format!("{text:?}: {e}"))
}

fn parse_pattern(rest: &str) -> Result<Pattern, String> {
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Pattern::Anything);
    }
    if let Some(text) = rest.strip_prefix("msg:") {
        return Ok(Pattern::Exactly(text.trim().to_owned()));
    }
    match rest.strip_prefix("regex:") {
        Some(text) => Ok(Pattern::Matching(text.trim().to_owned())),
        None => Err(format!("unknown expectation {rest:?}")),
    }
}

fn parse_expect(rest: &str) -> Result<Expect, String> {
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Ok(match word {
        "ordered" => Expect::Ordered,
        "fail" => Expect::Fail(parse_pattern(rest)?),
        "warn" => Expect::Warn(parse_pattern(rest)?),
        "info" => Expect::Info(parse_pattern(rest)?),
        "no_warn" => Expect::NoWarn,
        "no_info" => Expect::NoInfo,
        "string" => Expect::Text(crate::sequence::unquote(rest.trim())?),
        "range" => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            match words[..] {
                ["vector", "from", start, "to", _, "step", step] => {
                    Expect::Matrix { start_ms: parse_time(start)?, step_ms: parse_time(step)? }
                }
                _ => return Err(format!("cannot read expectation range {rest:?}")),
            }
        }
        other => return Err(format!("unknown expectation {other:?}")),
    })
}

fn parse_eval(line: &str) -> Result<Eval, String> {
    let (command, rest) = line.split_once(char::is_whitespace).ok_or("eval of nothing")?;
    let mut expects = match command {
        "eval" => Vec::new(),
        "eval_fail" => vec![Expect::Fail(Pattern::Anything)],
        "eval_warn" => vec![Expect::Warn(Pattern::Anything)],
        "eval_info" => vec![Expect::Info(Pattern::Anything)],
        "eval_ordered" => vec![Expect::Ordered],
        other => return Err(format!("unknown command {other:?}")),
    };
    expects.reserve(2);
    let mut rest = rest.trim_start();
    let mut word = || {
        let (word, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = tail.trim_start();
        word
    };
    let when = match (word(), word()) {
        ("instant", "at") => When::Instant(parse_time(word())?),
        ("range", "from") => {
            let (start, _, end, _, step) = (word(), word(), word(), word(), word());
            When::Range { start_ms: parse_time(start)?, end_ms: parse_time(end)?, step_ms: parse_time(step)? }
        }
        other => return Err(format!("cannot read eval {other:?}")),
    };
    Ok(Eval { expr: rest.to_owned(), when, expects, series: Vec::new(), scalar: None })
}

fn parse_load(line: &str) -> Result<Load, String> {
    let (command, interval) = line.split_once(char::is_whitespace).ok_or("load without interval")?;
    let with_nhcb = match command {
        "load" => false,
        "load_with_nhcb" => true,
        other => return Err(format!("unknown command {other:?}")),
    };
    Ok(Load { interval_ms: parse_time(interval.trim())?, with_nhcb, series: Vec::new() })
}

/// One line below an eval.
fn add_expectation(eval: &mut Eval, line: &str) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("expect ") {
        eval.expects.push(parse_expect(rest.trim())?);
    } else if let Some(text) = line.strip_prefix("expected_fail_message ") {
        eval.expects = vec![Expect::Fail(Pattern::Exactly(text.trim().to_owned()))];
    } else if let Some(text) = line.strip_prefix("expected_fail_regexp ") {
        eval.expects = vec![Expect::Fail(Pattern::Matching(text.trim().to_owned()))];
    } else if let Ok(number) = crate::sequence::parse_number(line) {
        eval.scalar = Some(number);
    } else {
        eval.series.push(parse_series(line)?);
    }
    Ok(())
}

/// The commands with their lines. Indented lines belong to the command before them, unless they are evals.
pub fn parse(text: &str) -> Result<Vec<(usize, Command)>, String> {
    let mut commands: Vec<(usize, Command)> = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(i, line)| (i + 1, line)) {
        let trimmed = line.trim();
        if trimmed.starts_with('#') {
            continue;
        }
        if trimmed.is_empty() {
            continue;
        }
        let at = |error: String| format!("line {number}: {error}");
        if line.starts_with(char::is_whitespace) && !trimmed.starts_with("eval ") {
            match commands.last_mut() {
                Some((_, Command::Load(load))) => load.series.push(parse_series(trimmed).map_err(at)?),
                Some((_, Command::Eval(eval))) => add_expectation(eval, trimmed).map_err(at)?,
                _ => return Err(at(format!("{trimmed:?} belongs to nothing"))),
            }
            continue;
        }
        let command = if trimmed == "clear" {
            Command::Clear
        } else if trimmed.starts_with("load") {
            Command::Load(parse_load(trimmed).map_err(at)?)
        } else if trimmed.starts_with("eval") {
            Command::Eval(parse_eval(trimmed).map_err(at)?)
        } else {
            return Err(at(format!("unknown command {trimmed:?}")));
        };
        commands.push((number, command));
    }
    Ok(commands)
}
