//! Anchored regular expressions with RE2's meaning, analysed so that most never run as one.

use std::fmt;

/// Why an expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// What an index can do instead of trying the expression on every value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Exactly these values.
    Set(Vec<String>),
    /// Every value (`.*`).
    Any,
    /// Every value but "" (`.+`).
    NotEmpty,
    /// Only values that start so can match; `rest` decides.
    Prefix(String),
    /// Only values that contain this can match.
    Contains(String),
    /// Nothing is known.
    Unknown,
}

/// A compiled expression; it matches whole values only.
#[derive(Debug, Clone)]
pub struct Regex {
    shape: Shape,
    automaton: std::sync::Arc<regex_automata::meta::Regex>,
}

impl Regex {
    pub fn anchored(source: &str) -> Result<Regex, Error> {
        let automaton = regex_automata::meta::Regex::new(&format!("^(?s:{source})$"))
            .map_err(|e| Error(e.to_string()))?;
        Ok(Regex { shape: Shape::Unknown, automaton: automaton.into() })
    }

    pub fn is_match(&self, value: &str) -> bool {
        self.automaton.is_match(value)
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}
