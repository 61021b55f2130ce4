//! The exposition formats: what a target shows on `/metrics`. [`Parser`] walks a body and yields borrowed
//! entries, without an allocation per line; [`ProtobufParser`] does the same for the protobuf format;
//! [`mod@print`] writes our own.
//!
//! Accepts and refuses what Prometheus 3.5 accepts and refuses, but for these, which it lets through only
//! by accident: `{name}` (it takes the name's first and last letter off), blanks before a metric name (it
//! makes them part of the name), and a NUL byte at the start of a line (it drops the rest of the body
//! without a word). The first and the last are errors here, the blanks are skipped.

mod around;
mod content_type;
mod cursor;
mod error;
mod escape;
mod openmetrics;
mod parser;
pub mod print;
mod protobuf;
mod series;
mod shape;
mod text;

pub use around::{Differences, Noted, Stray};
pub use content_type::{ContentTypeError, Format, Protocol};
pub use error::ParseError;
pub use escape::{Escaping, unescape_values};
pub use parser::Parser;
pub use protobuf::{
    Beside, Histograms, ProtobufError, ProtobufFault, ProtobufParser, ProtobufShape, write_bound,
};
pub use series::{LabelsError, labels_of, pairs_of, unescape_help};
pub use shape::{Readings, Shape};

use crate::metadata::MetricType;
use hearth_model::Histogram;
use hearth_model::batch::Exemplar;

/// One line of a body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Entry<'a> {
    Type {
        family: &'a str,
        metric_type: MetricType,
    },
    /// `help` of a text body is escaped as it came: see [`unescape_help`].
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
    /// Of protobuf only.
    Histogram(HistogramLine<'a>),
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
    /// When the counter began, where the sample says so itself: in protobuf.
    pub created_ms: Option<i64>,
}

/// A native histogram with the series it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistogramLine<'a> {
    pub series: &'a [u8],
    pub histogram: &'a Histogram,
    pub timestamp_ms: Option<i64>,
    pub created_ms: Option<i64>,
    pub exemplars: &'a [Exemplar],
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
