//! The Prometheus text format, 0.0.4 and 1.0.0 (which adds quoted names).

use super::parser::{BraceStyle, Parser};
use super::{Entry, ParseError, SampleLine};
use crate::metadata::MetricType;

const STYLE: BraceStyle =
    BraceStyle { blanks: true, commas_optional: true, name_line_breaks: true, value_line_breaks: true };

#[inline]
pub(super) fn entry<'a>(parser: &mut Parser<'a>) -> Result<Entry<'a>, ParseError> {
    loop {
        parser.cursor.skip_blanks();
        match parser.cursor.peek() {
            None => return Ok(Entry::Eof),
            Some(b'\n') => parser.cursor.at += 1,
            Some(b'#') => return comment(parser),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' | b'{') => {
                let series = parser.series(STYLE)?;
                return after_series(parser, series).map(Entry::Sample);
            }
            Some(_) => {
                return Err(parser.cursor.expected("expected a metric name, a comment or a line break"));
            }
        }
    }
}

fn comment<'a>(parser: &mut Parser<'a>) -> Result<Entry<'a>, ParseError> {
    let start = parser.cursor.at;
    parser.cursor.at += 1;
    let hash_end = parser.cursor.at;
    parser.cursor.skip_blanks();
    let blank = parser.cursor.at > hash_end;
    let keyword = parser.cursor.rest().first_chunk::<5>();
    match keyword {
        Some(b"HELP " | b"HELP\t") if blank => help(parser),
        Some(b"TYPE " | b"TYPE\t") if blank => metric_type(parser),
        _ => {
            parser.cursor.line_rest();
            let comment = parser.cursor.since(start);
            parser.cursor.take(b'\n');
            Ok(Entry::Comment(comment))
        }
    }
}

/// Family and text of a metadata line whose keyword is at the cursor.
fn metadata<'a>(
    parser: &mut Parser<'a>,
    what: &'static str,
) -> Result<(&'a str, &'a [u8], usize), ParseError> {
    parser.cursor.at += "HELP".len();
    parser.cursor.skip_blanks();
    let family = parser.family(what)?;
    let start = parser.cursor.at;
    let (text, _) = parser.cursor.line_rest();
    parser.cursor.take(b'\n');
    // Nothing but blanks is no text; else the first byte is what separates it from the name.
    let text = if text.iter().all(|b| matches!(b, b' ' | b'\t')) { &[] } else { &text[1..] };
    Ok((family, text, start))
}

fn help<'a>(parser: &mut Parser<'a>) -> Result<Entry<'a>, ParseError> {
    let (family, text, start) = metadata(parser, "expected metric name after HELP")?;
    let help = parser.cursor.text(text, start, "help text is not valid UTF-8")?;
    Ok(Entry::Help { family, help })
}

fn metric_type<'a>(parser: &mut Parser<'a>) -> Result<Entry<'a>, ParseError> {
    let (family, text, start) = metadata(parser, "expected metric name after TYPE")?;
    let metric_type = match text {
        b"counter" => MetricType::Counter,
        b"gauge" => MetricType::Gauge,
        b"histogram" => MetricType::Histogram,
        b"summary" => MetricType::Summary,
        b"untyped" => MetricType::Unknown,
        _ => return Err(ParseError::at(parser.cursor.body, start, "invalid metric type", text)),
    };
    Ok(Entry::Type { family, metric_type })
}

/// Value and time; the cursor is behind the series.
#[inline]
pub(super) fn after_series<'a>(
    parser: &mut Parser<'a>,
    series: &'a [u8],
) -> Result<SampleLine<'a>, ParseError> {
    parser.cursor.skip_blanks();
    let token = parser.cursor.until(b" \t{");
    if token.is_empty() {
        return Err(parser.cursor.expected("expected value after metric"));
    }
    let mut sample = SampleLine::new(series, parser.number(token)?);
    parser.cursor.skip_blanks();
    if end_of_line(parser) {
        return Ok(sample);
    }
    let digits = parser.cursor.digits();
    if digits.is_empty() {
        return Err(parser.cursor.expected("expected timestamp or new line"));
    }
    let start = parser.cursor.at - digits.len();
    // Only digits, so the one thing that can be wrong is their number.
    let time = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    sample.timestamp_ms = Some(time.ok_or_else(|| parser.cursor.wrong(start, "timestamp out of range"))?);
    parser.cursor.skip_blanks();
    if !end_of_line(parser) {
        return Err(parser.cursor.expected("expected new line after timestamp"));
    }
    Ok(sample)
}

/// The last line may lack its line break.
#[inline(always)]
fn end_of_line(parser: &mut Parser<'_>) -> bool {
    parser.cursor.take(b'\n') || parser.cursor.peek().is_none()
}
