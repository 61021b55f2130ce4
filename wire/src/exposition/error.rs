//! What is wrong with a body, and in which line.

use std::fmt;

/// Longest piece of a body shown in an error, in bytes.
const SHOWN_BYTES: usize = 40;

/// Why a body was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// Such as `expected label name`.
    pub what: &'static str,
    /// What stands there instead; empty at the end of the body.
    pub found: String,
}

impl ParseError {
    /// Of the byte at `at`, showing `found`.
    #[cold]
    pub(super) fn at(body: &[u8], at: usize, what: &'static str, found: &[u8]) -> ParseError {
        let before = &body[..at.min(body.len())];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let shown = &found[..found.len().min(SHOWN_BYTES)];
        let mut text = String::from_utf8_lossy(shown).into_owned();
        if shown.len() < found.len() {
            text.push('…');
        }
        ParseError { line, what, found: text }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)?;
        if self.found.is_empty() {
            f.write_str(", found the end")
        } else {
            write!(f, ", found {:?}", self.found)
        }
    }
}

impl std::error::Error for ParseError {}
