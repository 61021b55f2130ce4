//! OpenMetrics 1.0.0 (and 0.0.1, which reads the same): one blank where there is one, and an end mark.

use super::parser::{BraceStyle, Parser};
use super::{Entry, ExemplarPart, ParseError, SampleLine};
use crate::metadata::MetricType;

const SERIES: BraceStyle =
    BraceStyle { blanks: false, commas_optional: false, name_line_breaks: true, value_line_breaks: false };
const EXEMPLAR: BraceStyle = BraceStyle { name_line_breaks: false, ..SERIES };

#[inline]
pub(super) fn entry<'a>(parser: &mut Parser<'a>) -> Result<Entry<'a>, ParseError> {
    match parser.cursor.peek() {
        None => Err(no_end(parser)),
        Some(b'#') => metadata(parser),
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' | b'{') => {
            let series = parser.series(SERIES)?;
            after_series(parser, series).map(Entry::Sample)
        }
        Some(_) => Err(parser.cursor.expected("expected a metric name or metadata")),
    }
}

#[cold]
fn no_end(parser: &Parser<'_>) -> ParseError {
    parser.cursor.expected("expected # EOF at the end of the data")
}

fn metadata<'a>(parser: &mut Parser<'a>) -> Result<Entry<'a>, ParseError> {
    let rest = parser.cursor.rest();
    if rest.starts_with(b"# EOF") {
        parser.cursor.at += "# EOF".len();
        parser.cursor.take(b'\n');
        if parser.cursor.peek().is_some() {
            return Err(parser.cursor.expected("unexpected data after # EOF"));
        }
        return Ok(Entry::Eof);
    }
    let what = match rest.first_chunk::<7>() {
        Some(b"# HELP ") => "expected metric name after HELP",
        Some(b"# TYPE ") => "expected metric name after TYPE",
        Some(b"# UNIT ") => "expected metric name after UNIT",
        _ => return Err(parser.cursor.expected("expected HELP, TYPE, UNIT or EOF after #")),
    };
    parser.cursor.at += "# HELP ".len();
    let family = parser.family(what)?;
    let start = parser.cursor.at;
    if !parser.cursor.take(b' ') {
        return Err(parser.cursor.expected("expected text after metric name"));
    }
    let (text, line_break) = parser.cursor.line_rest();
    if !line_break {
        return Err(parser.cursor.wrong(start, "expected a line break after the text"));
    }
    parser.cursor.at += 1;
    match rest[2] {
        b'H' => {
            let help = parser.cursor.text(text, start, "help text is not valid UTF-8")?;
            Ok(Entry::Help { family, help })
        }
        b'T' => {
            let wrong = || ParseError::at(parser.cursor.body, start, "invalid metric type", text);
            Ok(Entry::Type { family, metric_type: metric_type(text).ok_or_else(wrong)? })
        }
        _ => {
            let unit = parser.cursor.text(text, start, "unit is not valid UTF-8")?;
            let suffix = family.strip_suffix(unit).is_some_and(|f| unit.is_empty() || f.ends_with('_'));
            if !suffix {
                let what = "unit is not a suffix of the metric name";
                return Err(ParseError::at(parser.cursor.body, start, what, text));
            }
            Ok(Entry::Unit { family, unit })
        }
    }
}

fn metric_type(text: &[u8]) -> Option<MetricType> {
    Some(match text {
        b"counter" => MetricType::Counter,
        b"gauge" => MetricType::Gauge,
        b"histogram" => MetricType::Histogram,
        b"gaugehistogram" => MetricType::GaugeHistogram,
        b"summary" => MetricType::Summary,
        b"info" => MetricType::Info,
        b"stateset" => MetricType::StateSet,
        b"unknown" => MetricType::Unknown,
        _ => return None,
    })
}

/// One blank, then a token up to the next blank or line break.
#[inline(always)]
fn token<'a>(parser: &mut Parser<'a>, what: &'static str) -> Result<&'a [u8], ParseError> {
    if !parser.cursor.take(b' ') {
        return Err(parser.cursor.expected(what));
    }
    let token = parser.cursor.until(b" ");
    if token.is_empty() { Err(parser.cursor.expected(what)) } else { Ok(token) }
}

/// Value, time and exemplar; the cursor is behind the series.
#[inline]
pub(super) fn after_series<'a>(
    parser: &mut Parser<'a>,
    series: &'a [u8],
) -> Result<SampleLine<'a>, ParseError> {
    let token = token(parser, "expected value after metric")?;
    let mut sample = SampleLine::new(series, parser.number(token)?);
    if parser.cursor.peek() == Some(b' ') && !parser.cursor.rest().starts_with(b" # {") {
        sample.timestamp_ms = Some(time(parser, "expected timestamp, exemplar or new line")?);
    }
    if parser.cursor.rest().starts_with(b" # {") {
        sample.exemplar = Some(exemplar(parser)?);
    }
    if parser.cursor.take(b'\n') {
        return Ok(sample);
    }
    Err(match parser.cursor.peek() {
        None => no_end(parser),
        Some(_) => parser.cursor.expected("expected new line after sample"),
    })
}

/// Seconds, in any form of a float; what is finer than a millisecond is cut off.
fn time(parser: &mut Parser<'_>, what: &'static str) -> Result<i64, ParseError> {
    let token = token(parser, what)?;
    let seconds = parser.number(token)?;
    if !seconds.is_finite() {
        return Err(parser.cursor.wrong(parser.cursor.at - token.len(), "timestamp is not finite"));
    }
    Ok((seconds * 1000.0) as i64)
}

fn exemplar<'a>(parser: &mut Parser<'a>) -> Result<ExemplarPart<'a>, ParseError> {
    parser.cursor.at += " # {".len();
    let start = parser.cursor.at - 1;
    parser.braces(EXEMPLAR, false)?;
    let labels = parser.cursor.since(start);
    let token = token(parser, "expected value after exemplar labels")?;
    let value = parser.number(token)?;
    let timed = parser.cursor.peek() == Some(b' ');
    let timestamp_ms =
        if timed { Some(time(parser, "expected timestamp or new line after exemplar")?) } else { None };
    Ok(ExemplarPart { labels, value, timestamp_ms })
}
