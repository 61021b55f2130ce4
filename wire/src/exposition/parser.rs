//! The walk over a body: which format, where in it, and the parts both formats read the same way.

use super::content_type::Format;
use super::cursor::Cursor;
use super::error::ParseError;
use super::{Entry, ExemplarPart, SampleLine, openmetrics, text};
use crate::config::Limits;
use hearth_model::number::{NumberError, parse_float};

/// Walks one body. After an error, and after [`Entry::Eof`], every further entry is [`Entry::Eof`].
#[derive(Debug, Clone)]
pub struct Parser<'a> {
    pub(super) cursor: Cursor<'a>,
    format: Format,
    line_bytes: usize,
    pub(super) series_labels: usize,
    done: bool,
    was_expected: bool,
}

impl<'a> Parser<'a> {
    /// An empty body is complete in either format.
    pub fn new(format: Format, body: &'a [u8], limits: &Limits) -> Self {
        let all_utf8 = std::str::from_utf8(body).is_ok();
        Parser {
            cursor: Cursor { body, at: 0, all_utf8 },
            format,
            line_bytes: limits.line_bytes,
            series_labels: limits.series_labels,
            done: body.is_empty(),
            was_expected: false,
        }
    }

    /// The next entry. (Not an `Iterator`: entries end with one of their own, and so that an error cannot
    /// be skipped over.)
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Entry<'a>, ParseError> {
        self.next_expecting(b"")
    }

    /// The same, faster where the next line is a sample of the series `expected`: text that this parser,
    /// in this format, has given out as [`SampleLine::series`] before. Targets show their series in the
    /// same order again and again.
    pub fn next_expecting(&mut self, expected: &[u8]) -> Result<Entry<'a>, ParseError> {
        if self.done {
            return Ok(Entry::Eof);
        }
        let start = self.cursor.at;
        let series = self.expected_series(expected);
        self.was_expected = series.is_some();
        let entry = match series {
            Some(series) => self.after_series(series),
            None => self.any_entry(),
        };
        let entry = entry.and_then(|entry| {
            if self.cursor.at - start > self.line_bytes {
                return Err(self.cursor.wrong(start, "line is longer than the limit"));
            }
            Ok(entry)
        });
        self.done = !matches!(entry, Ok(ref entry) if *entry != Entry::Eof);
        entry
    }

    /// Whether the entry that came last is a sample of the expected series.
    pub fn was_expected(&self) -> bool {
        self.was_expected
    }

    /// Where the next entry begins, in bytes of the body.
    pub fn offset(&self) -> usize {
        self.cursor.at
    }

    fn any_entry(&mut self) -> Result<Entry<'a>, ParseError> {
        match self.format {
            Format::Text => text::entry(self),
            Format::OpenMetrics => openmetrics::entry(self),
        }
    }

    fn after_series(&mut self, series: &'a [u8]) -> Result<Entry<'a>, ParseError> {
        let sample = match self.format {
            Format::Text => text::after_series(self, series)?,
            Format::OpenMetrics => openmetrics::after_series(self, series)?,
        };
        Ok(Entry::Sample(sample))
    }

    /// Steps over the series where it is the expected one. What follows decides: a series that could go
    /// on (`name` and then ` {`) is read in full.
    #[inline]
    fn expected_series(&mut self, expected: &[u8]) -> Option<&'a [u8]> {
        let rest = self.cursor.rest();
        let after = rest.get(expected.len()..)?;
        if expected.is_empty() || rest[..expected.len()] != *expected || after.first() != Some(&b' ') {
            return None;
        }
        let closed = expected.last() == Some(&b'}');
        let next = after.iter().find(|&&b| b != b' ' && b != b'\t');
        if !closed && next == Some(&b'{') {
            return None;
        }
        self.cursor.at += expected.len();
        Some(&rest[..expected.len()])
    }

    /// What stands between the braces, the opening one stepped over already; the closing one is stepped
    /// over at the end. `lone_name`: a metric name without a label's `=` may stand there, once. Returns
    /// whether it did.
    pub(super) fn braces(&mut self, style: BraceStyle, lone_name: bool) -> Result<bool, ParseError> {
        let mut name_seen = false;
        let mut labels = 0usize;
        loop {
            self.blanks(style);
            let start = self.cursor.at;
            let quoted = match self.cursor.peek() {
                Some(b'}') => {
                    self.cursor.at += 1;
                    return Ok(name_seen);
                }
                Some(b'"') => {
                    if !self.cursor.quoted(style.name_line_breaks) {
                        return Err(self.cursor.expected("expected label name"));
                    }
                    self.check_utf8(start, "name is not valid UTF-8")?;
                    true
                }
                _ => {
                    if !self.cursor.label_name() {
                        return Err(self.cursor.expected("expected label name"));
                    }
                    false
                }
            };
            self.blanks(style);
            let lone = matches!(self.cursor.peek(), Some(b',' | b'}'));
            if lone && quoted && lone_name && !name_seen {
                name_seen = true;
                self.cursor.take(b',');
                continue;
            }
            if !self.cursor.take(b'=') {
                return Err(self.cursor.expected("expected equal sign"));
            }
            self.label_value(style)?;
            labels += 1;
            if labels > self.series_labels {
                return Err(self.cursor.wrong(start, "series has more labels than the limit"));
            }
            self.blanks(style);
            if !self.cursor.take(b',') && !style.commas_optional && self.cursor.peek() != Some(b'}') {
                return Err(self.cursor.expected("expected comma or closing brace"));
            }
        }
    }

    #[inline(always)]
    fn label_value(&mut self, style: BraceStyle) -> Result<(), ParseError> {
        self.blanks(style);
        let start = self.cursor.at;
        if self.cursor.peek() != Some(b'"') || !self.cursor.quoted(style.value_line_breaks) {
            return Err(self.cursor.expected("expected label value"));
        }
        self.check_utf8(start, "label value is not valid UTF-8")
    }

    #[inline(always)]
    fn blanks(&mut self, style: BraceStyle) {
        if style.blanks {
            self.cursor.skip_blanks();
        }
    }

    #[inline(always)]
    fn check_utf8(&self, start: usize, what: &'static str) -> Result<(), ParseError> {
        if self.cursor.all_utf8 || std::str::from_utf8(self.cursor.since(start)).is_ok() {
            return Ok(());
        }
        Err(self.cursor.wrong(start, what))
    }

    /// A series name in front of its braces, or within them. The cursor is at its first byte.
    #[inline(always)]
    pub(super) fn series(&mut self, style: BraceStyle) -> Result<&'a [u8], ParseError> {
        let start = self.cursor.at;
        let named = self.cursor.metric_name();
        let name_end = self.cursor.at;
        self.blanks(style);
        if !self.cursor.take(b'{') {
            // Blanks after a bare name belong to what follows.
            self.cursor.at = name_end;
            return Ok(self.cursor.since(start));
        }
        if !self.braces(style, !named)? && !named {
            return Err(self.cursor.wrong(start, "metric name not set"));
        }
        Ok(self.cursor.since(start))
    }

    pub(super) fn number(&self, token: &'a [u8]) -> Result<f64, ParseError> {
        parse_float(token).map_err(|error| {
            let start = self.cursor.at - token.len();
            self.cursor.wrong(
                start,
                match error {
                    NumberError::Syntax => "invalid float",
                    NumberError::Range => "float out of range",
                },
            )
        })
    }

    /// The name of a family in a metadata line, its quotes taken off.
    pub(super) fn family(&mut self, what: &'static str) -> Result<&'a str, ParseError> {
        let start = self.cursor.at;
        if self.cursor.peek() == Some(b'"') {
            if !self.cursor.quoted(true) {
                return Err(self.cursor.expected(what));
            }
            let quoted = self.cursor.since(start);
            return self.cursor.text(&quoted[1..quoted.len() - 1], start, "metric name is not valid UTF-8");
        }
        if !self.cursor.metric_name() {
            return Err(self.cursor.expected(what));
        }
        self.cursor.text(self.cursor.since(start), start, what)
    }
}

/// Where the formats differ within braces.
#[derive(Debug, Clone, Copy)]
pub(super) struct BraceStyle {
    /// Blanks may stand between any two tokens.
    pub blanks: bool,
    /// A comma may be left out.
    pub commas_optional: bool,
    pub name_line_breaks: bool,
    pub value_line_breaks: bool,
}

impl<'a> SampleLine<'a> {
    pub(super) fn new(series: &'a [u8], value: f64) -> Self {
        SampleLine { series, value, timestamp_ms: None, exemplar: None::<ExemplarPart<'a>>, created_ms: None }
    }
}
