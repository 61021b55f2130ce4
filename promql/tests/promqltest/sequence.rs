//! Series notation: `name{label="value"} 1 2+3x4 _ stale {{schema:0 count:1}}x2`.

use crate::script::LoadedSeries;
use hearth_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use hearth_model::{CounterReset, Histogram, Labels, stale_nan};

/// What a series has at one interval.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Nothing,
    Float(f64),
    /// With whether the text says anything of counter resets.
    Histogram(Histogram, bool),
}

pub fn parse_number(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let error = || format!("{text:?} is no number");
    if digits.starts_with(['-', '+']) || digits.is_empty() {
        return Err(error());
    }
    if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).map(|n| sign * n as f64).map_err(|_| error());
    }
    if digits.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    if digits.eq_ignore_ascii_case("inf") {
        return Ok(sign * f64::INFINITY);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(error());
    }
    digits.replace('_', "").parse::<f64>().map(|n| sign * n).map_err(|_| error())
}

pub fn unquote(text: &str) -> Result<String, String> {
    match hearth_promql::syntax::parse(text, &Default::default()) {
        Ok(hearth_promql::syntax::Expr::String(literal)) => Ok(literal.value),
        other => Err(format!("{text:?} is no string: {other:?}")),
    }
}

/// Where the labels of a series end.
fn labels_end(line: &str) -> usize {
    let (mut braces, mut quote) = (0, None);
    let mut escaped = false;
    for (i, c) in line.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if c == '\\' && q != '`' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' | '`' => quote = Some(c),
                '{' => braces += 1,
                '}' => {
                    braces -= 1;
                    if braces == 0 {
                        return i + 1;
                    }
                }
                c if c.is_whitespace() && braces == 0 && !line[i..].trim_start().starts_with("{") => {
                    return i;
                }
                c if c.is_whitespace() && braces == 0 && line[i..].trim_start().starts_with("{{") => {
                    return i;
                }
                _ => {}
            },
        }
    }
    line.len()
}

fn parse_labels(text: &str) -> Result<Labels, String> {
    let text = text.trim();
    if text == "{}" {
        return Ok(Labels::empty());
    }
    let matchers = hearth_promql::syntax::parse_metric_selector(text)
        .map_err(|e| format!("cannot read labels {text:?}: {e}"))?;
    Ok(Labels::from_pairs(matchers.iter().map(|m| (m.name.as_str(), m.value.as_str()))))
}

pub fn parse_series(line: &str) -> Result<LoadedSeries, String> {
    let end = labels_end(line);
    let (mut labels, mut rest) = (&line[..end], &line[end..]);
    let starts = labels.ends_with("@st") || rest.starts_with("@st");
    labels = labels.strip_suffix("@st").unwrap_or(labels);
    rest = rest.strip_prefix("@st").unwrap_or(rest);
    let push = if starts { push_starts } else { push_item };
    let mut cells = Vec::new();
    for item in items(rest)? {
        push(item, &mut cells).map_err(|e| format!("{item:?}: {e}"))?;
    }
    Ok(LoadedSeries { labels: parse_labels(labels)?, cells, starts })
}

/// Splits at whitespace outside of histograms.
fn items(text: &str) -> Result<Vec<&str>, String> {
    let (mut out, mut start, mut depth) = (Vec::new(), None, 0i32);
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            if let Some(start) = start.take() {
                out.push(&text[start..i]);
            }
        } else if start.is_none() {
            start = Some(i);
        }
    }
    if depth != 0 {
        return Err(format!("braces do not match in {text:?}"));
    }
    out.extend(start.map(|start| &text[start..]));
    Ok(out)
}

fn times(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text:?} is no count"))
}

fn push_item(item: &str, cells: &mut Vec<Cell>) -> Result<(), String> {
    if let Some(rest) = item.strip_prefix('_') {
        let count = rest.strip_prefix('x').map_or(Ok(1), times)?;
        cells.extend(std::iter::repeat_n(Cell::Nothing, count));
        return Ok(());
    }
    if let Some(rest) = item.strip_prefix("stale") {
        let count = rest.strip_prefix('x').map_or(Ok(0), times)? + 1;
        cells.extend(std::iter::repeat_n(Cell::Float(stale_nan()), count));
        return Ok(());
    }
    if item.starts_with("{{") {
        return push_histograms(item, cells);
    }
    // The first sign behind a digit (and not behind an exponent) begins the step.
    let bytes = item.as_bytes();
    let times_at = item.rfind('x');
    let (numbers, count) = match times_at {
        Some(at) => (&item[..at], times(&item[at + 1..])?),
        None => (item, 0),
    };
    let sign = (1..numbers.len())
        .find(|&i| matches!(bytes[i], b'+' | b'-') && !matches!(bytes[i - 1], b'e' | b'E' | b'+' | b'-'));
    let (first, step) = match sign {
        Some(at) if times_at.is_some() => (parse_number(&numbers[..at])?, parse_step(&numbers[at..])?),
        _ => (parse_number(numbers)?, 0.0),
    };
    let mut value = first;
    for _ in 0..=count {
        cells.push(Cell::Float(value));
        value += step;
    }
    Ok(())
}

/// `-1m`, `-30s-1mx2`, `_`: durations with a sign, and a step to be added some times.
fn push_starts(item: &str, cells: &mut Vec<Cell>) -> Result<(), String> {
    if item.starts_with('_') {
        return push_item(item, cells);
    }
    let (durations, count) = match item.rsplit_once('x') {
        Some((durations, count)) => (durations, times(count)?),
        None => (item, 0),
    };
    let duration = |text: &str| crate::script::parse_time(text.strip_prefix('+').unwrap_or(text));
    let sign = durations.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-'));
    let (first, step) = match sign {
        Some((at, _)) => (duration(&durations[..at])?, duration(&durations[at..])?),
        None => (duration(durations)?, 0),
    };
    cells.extend((0..=count as i64).map(|i| Cell::Float((first + i * step) as f64)));
    Ok(())
}

/// `+3`, `-3` or `+-3`.
fn parse_step(text: &str) -> Result<f64, String> {
    match text.strip_prefix('+') {
        Some(rest) => parse_number(rest),
        None => parse_number(text),
    }
}

fn push_histograms(item: &str, cells: &mut Vec<Cell>) -> Result<(), String> {
    let end = item.find("}}").ok_or("histogram without end")? + 2;
    let (first, hinted) = parse_histogram(&item[..end])?;
    let rest = &item[end..];
    if let Some(count) = rest.strip_prefix('x') {
        cells.extend(std::iter::repeat_n(Cell::Histogram(first, hinted), times(count)? + 1));
        return Ok(());
    }
    if rest.is_empty() {
        cells.push(Cell::Histogram(first, hinted));
        return Ok(());
    }
    let subtract = rest.starts_with('-');
    let end = rest.find("}}").ok_or("step without end")? + 2;
    let (step, _) = parse_histogram(&rest[1..end])?;
    let count = times(rest[end..].strip_prefix('x').ok_or("step without count")?)?;
    let mut value = first;
    let hint = value.reset;
    for _ in 0..=count {
        cells.push(Cell::Histogram(value.clone(), hinted));
        value = hearth_promql::exec::histogram::combined(&value, &step, subtract)
            .map_err(|_| "incompatible step".to_owned())?
            .histogram;
        value.reset = hint;
    }
    Ok(())
}

fn parse_histogram(text: &str) -> Result<(Histogram, bool), String> {
    let inner = text.strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).ok_or("no histogram")?;
    let mut h = Histogram { sum: 0.0, ..Histogram::stale() };
    let (mut offset, mut n_offset, mut hinted) = (0i32, 0i32, false);
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (key, tail) = rest.split_once(':').ok_or_else(|| format!("no key in {rest:?}"))?;
        let tail = tail.trim_start();
        let (value, tail) = match tail.strip_prefix('[') {
            Some(list) => list.split_once(']').ok_or("list without end")?,
            None => tail.split_once(char::is_whitespace).unwrap_or((tail, "")),
        };
        let list = || value.split_whitespace().map(parse_number).collect::<Result<Vec<_>, _>>();
        match key.trim() {
            "schema" => h.schema = parse_number(value)? as i32,
            "sum" => h.sum = parse_number(value)?,
            "count" => h.count = parse_number(value)?,
            "z_bucket" => h.zero_count = parse_number(value)?,
            "z_bucket_w" => h.zero_threshold = parse_number(value)?,
            "offset" => offset = parse_number(value)? as i32,
            "n_offset" => n_offset = parse_number(value)? as i32,
            "buckets" => h.positive_counts = list()?,
            "n_buckets" => h.negative_counts = list()?,
            "custom_values" => h.custom_values = list()?,
            "counter_reset_hint" => {
                hinted = true;
                h.reset = match value {
                    "unknown" => CounterReset::Unknown,
                    "reset" => CounterReset::Reset,
                    "not_reset" => CounterReset::NotReset,
                    "gauge" => CounterReset::Gauge,
                    other => return Err(format!("unknown counter reset hint {other:?}")),
                };
            }
            other => return Err(format!("unknown histogram key {other:?}")),
        }
        rest = tail.trim_start();
    }
    let spans = |offset: i32, counts: &[f64]| match counts.len() {
        0 => Vec::new(),
        length => vec![Span { offset, length: length as u32 }],
    };
    h.positive_spans = spans(offset, &h.positive_counts);
    h.negative_spans = spans(n_offset, &h.negative_counts);
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        h.zero_threshold = 0.0;
    }
    Ok((h, hinted))
}
