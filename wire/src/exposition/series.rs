//! From a series as a body writes it to its labels. Done once for each new series, so it may allocate.

use super::content_type::Format;
use super::cursor::Cursor;
use hearth_model::label::{MAX_PART_BYTES, METRIC_NAME};
use hearth_model::{Labels, LabelsBuilder};
use std::borrow::Cow;
use std::fmt;

/// Why the labels of a series that parsed cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelsError {
    EmptyName,
    DuplicateName(String),
    NoMetricName,
    TooLong { part_bytes: usize },
}

impl fmt::Display for LabelsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabelsError::EmptyName => f.write_str("label name is empty"),
            LabelsError::DuplicateName(name) => write!(f, "label name {name:?} is not unique"),
            LabelsError::NoMetricName => f.write_str("missing metric name (__name__ label)"),
            LabelsError::TooLong { part_bytes } => {
                write!(f, "label name or value of {part_bytes} bytes, the limit is {MAX_PART_BYTES}")
            }
        }
    }
}

impl std::error::Error for LabelsError {}

/// The labels of a series that a [`super::Parser`] has given out, metric name included.
pub fn labels_of(series: &[u8]) -> Result<Labels, LabelsError> {
    let mut seen: Vec<Cow<'_, str>> = Vec::with_capacity(16);
    let mut builder = LabelsBuilder::default();
    for (name, value) in pairs_of(series) {
        if name.is_empty() {
            return Err(LabelsError::EmptyName);
        }
        let part_bytes = name.len().max(value.len());
        if part_bytes > MAX_PART_BYTES {
            return Err(LabelsError::TooLong { part_bytes });
        }
        builder.set(&name, &value);
        seen.push(name);
    }
    // An empty value is no label, but its name is taken all the same.
    seen.sort_unstable();
    if let Some(pair) = seen.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(LabelsError::DuplicateName(pair[0].clone().into_owned()));
    }
    if builder.get(METRIC_NAME).is_empty() {
        return Err(LabelsError::NoMetricName);
    }
    Ok(builder.build())
}

/// Names and values, unescaped, in the order they are written, of a series (its metric name is the value
/// of `__name__`) or of an exemplar's labels, as a [`super::Parser`] has given them out. Ends early on
/// anything else.
pub fn pairs_of(series: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let mut cursor = Cursor { body: series, at: 0, all_utf8: false };
    let mut bare_name = cursor.metric_name().then(|| text(&series[..cursor.at])).flatten();
    cursor.skip_blanks();
    cursor.take(b'{');
    std::iter::from_fn(move || {
        if let Some(name) = bare_name.take() {
            return Some((Cow::Borrowed(METRIC_NAME), Cow::Borrowed(name)));
        }
        next_pair(&mut cursor)
    })
}

fn text(part: &[u8]) -> Option<&str> {
    std::str::from_utf8(part).ok()
}

fn next_pair<'a>(cursor: &mut Cursor<'a>) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let separate = |cursor: &mut Cursor<'a>| {
        cursor.skip_blanks();
        if cursor.take(b',') {
            cursor.skip_blanks();
        }
    };
    separate(cursor);
    let name = if cursor.peek()? == b'"' {
        quoted(cursor)?
    } else {
        let start = cursor.at;
        cursor.label_name().then_some(())?;
        Cow::Borrowed(text(cursor.since(start))?)
    };
    cursor.skip_blanks();
    if !cursor.take(b'=') {
        return Some((Cow::Borrowed(METRIC_NAME), name));
    }
    cursor.skip_blanks();
    (cursor.peek()? == b'"').then_some(())?;
    Some((name, quoted(cursor)?))
}

fn quoted<'a>(cursor: &mut Cursor<'a>) -> Option<Cow<'a, str>> {
    let start = cursor.at;
    cursor.quoted(true).then_some(())?;
    let part = cursor.since(start);
    Some(unescape(text(&part[1..part.len() - 1])?, true))
}

/// Help text as it is meant: `\\` and `\n` resolved, and `\"` where the format escapes quotes.
pub fn unescape_help(help: &str, format: Format) -> Cow<'_, str> {
    unescape(help, format == Format::OpenMetrics)
}

/// Escapes that mean nothing stay as they are.
fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let meant = match rest.as_bytes().get(at + 1) {
            Some(b'\\') => '\\',
            Some(b'n') => '\n',
            Some(b'"') if quotes => '"',
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
                continue;
            }
        };
        out.push(meant);
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}
