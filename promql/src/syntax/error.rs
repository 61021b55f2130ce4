//! Why a query cannot be read, and where.

use super::position::{LineColumn, PositionRange};
use std::fmt;

/// A fault in the query text. Shown as Prometheus shows it: `1:5: parse error: unexpected …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub position: PositionRange,
    /// The start of `position` in the query that was parsed.
    pub line_column: LineColumn,
    pub message: String,
}

impl ParseError {
    pub fn new(query: &str, position: PositionRange, message: impl Into<String>) -> Self {
        let line_column = LineColumn::of(query, position.start);
        ParseError { position, line_column, message: message.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: parse error: {}", self.line_column, self.message)
    }
}

impl std::error::Error for ParseError {}
