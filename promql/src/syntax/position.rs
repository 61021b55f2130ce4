//! Where in the query text something stands. Byte offsets inside, `line:column` only when shown.

use std::fmt;

/// The bytes `[start, end)` of the query text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PositionRange {
    pub start: u32,
    pub end: u32,
}

impl PositionRange {
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        PositionRange { start: start as u32, end: end as u32 }
    }

    /// From the start of `self` to the end of `other`.
    pub fn to(self, other: PositionRange) -> Self {
        PositionRange { start: self.start, end: other.end.max(self.start) }
    }

    pub fn text(self, query: &str) -> &str {
        query.get(self.start as usize..self.end as usize).unwrap_or("")
    }
}

/// A byte offset as people count it: lines from 1, columns from 1 and in bytes, as Prometheus does. An
/// empty text has no positions: line 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    pub line: usize,
    pub column: usize,
}

impl LineColumn {
    pub fn of(query: &str, offset: u32) -> LineColumn {
        if query.is_empty() {
            return LineColumn { line: 0, column: 0 };
        }
        let before = &query.as_bytes()[..(offset as usize).min(query.len())];
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let column = before.iter().rev().take_while(|&&b| b != b'\n').count() + 1;
        LineColumn { line, column }
    }
}

impl fmt::Display for LineColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str("unknown position"),
            line => write!(f, "{line}:{}", self.column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let query = "up +\n  down";
        assert_eq!(LineColumn::of(query, 0).to_string(), "1:1");
        assert_eq!(LineColumn::of(query, 3).to_string(), "1:4");
        assert_eq!(LineColumn::of(query, 7).to_string(), "2:3");
        assert_eq!(LineColumn::of(query, 999).to_string(), "2:7");
    }
}
