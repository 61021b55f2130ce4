//! The exposition formats: what a target shows on `/metrics`. [`Parser`] walks a body and yields borrowed
//! entries, without an allocation per line; [`mod@print`] writes our own.
//!
//! Accepts and refuses what Prometheus 3.5 accepts and refuses, but for these, which it lets through only
//! by accident: `{name}` (it takes the name's first and last letter off), blanks before a metric name (it
//! makes them part of the name), and a NUL byte at the start of a line (it drops the rest of the body
//! without a word). The first and the last are errors here, the blanks are skipped.

mod content_type;
mod cursor;
mod error;
mod escape;
mod openmetrics;
mod parser;
pub mod print;
mod series;
mod text;

pub use content_type::{ACCEPT, ContentTypeError, Format};
pub use error::ParseError;
pub use escape::Escaping;
pub use parser::Parser;
pub use series::{LabelsError, labels_of, pairs_of, unescape_help};

use crate::metadata::MetricType;

/// One line of a body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Entry<'a> {
    Type {
        family: &'a str,
        metric_type: MetricType,
    },
    /// `help` is escaped as it came: see [`unescape_help`].
    Help {
        family: &'a str,
        help: &'a str,
    },
    Unit {
        family: &'a str,
        unit: &'a str,
    },
    Comment(&'a [u8]),
    Sample(SampleLine<'a>),
    /// The body is over, and complete.
    Eof,
}

/// A sample as it stands in the body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleLine<'a> {
    /// The series as written, from the first byte of its name to the last of its labels: the same bytes
    /// always mean the same labels, so they serve as a key. See [`labels_of`].
    pub series: &'a [u8],
    pub value: f64,
    pub timestamp_ms: Option<i64>,
    pub exemplar: Option<ExemplarPart<'a>>,
}

/// An exemplar as it stands behind a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExemplarPart<'a> {
    /// The labels as written, braces included: for [`pairs_of`].
    pub labels: &'a [u8],
    pub value: f64,
    pub timestamp_ms: Option<i64>,
}

#[cfg(test)]
mod tests;
