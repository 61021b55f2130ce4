//! Anchored regular expressions with RE2's meaning, analysed so that most never run as one.
//!
//! 1. [`super::re2`] reads the pattern into a tree, unless it is a plain list of words (`a|b|c`), as dashboards
//!    send them by the thousand.
//! 2. [`super::shape`] looks for plain words in it: a set of values, or pieces with gaps between them.
//!    Such a pattern is matched by comparing strings, and no automaton is built.
//! 3. Anything else is compiled; plain beginnings and ends are still compared first.
//!
//! It must never panic, and never hold more memory than its limits say, whatever the pattern.

pub use super::re2::Error;

use super::re2::{self, Fault};
use super::shape::{Hints, Words};
use regex_automata::meta;
use regex_syntax::hir::{Hir, Look};
use std::fmt;
use std::sync::Arc;

/// Largest automaton of one expression in bytes, before it has run. In the order of what RE2 allows.
const MAX_AUTOMATON_BYTES: usize = 8 << 20;
/// What one thread may hold of states that are made while an expression runs.
const STATE_CACHE_BYTES: usize = 1 << 20;

/// What an index can do instead of trying the expression on every value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Exactly these values, ascending, each once. None at all: nothing matches.
    Set(Vec<String>),
    /// Every value (`.*`).
    Any,
    /// Every value but "" (`.+`).
    NotEmpty,
    /// Only values that start so can match; `is_match` decides.
    Prefix(String),
    /// Only values that contain this can match; `is_match` decides.
    Contains(String),
    /// Nothing is known.
    Unknown,
}

/// A compiled expression; it matches whole values only.
#[derive(Clone)]
pub struct Regex(Arc<Inner>);

struct Inner {
    source: String,
    shape: Shape,
    test: Test,
}

/// How a value is tested.
enum Test {
    Words(Words),
    Automaton { hints: Box<Hints>, automaton: meta::Regex },
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Regex").field(&self.0.source).finish()
    }
}

impl Regex {
    /// Compiles what a matcher says: `^(?s:source)$`, where `source` is complete in itself.
    pub fn anchored(source: &str) -> Result<Regex, Error> {
        if let Some(words) = Words::listed(source) {
            let (shape, test) = (words.shape(), Test::Words(words));
            return Ok(Regex(Arc::new(Inner { source: source.to_owned(), shape, test })));
        }
        let parsed = re2::parse(source, true)?;
        Regex::build(source, parsed.hir)
    }

    pub(super) fn build(source: &str, hir: Hir) -> Result<Regex, Error> {
        let (shape, test) = match Words::find(&hir) {
            Some(words) => (words.shape(), Test::Words(words)),
            None => {
                let hints = Box::new(Hints::find(&hir));
                let automaton = compile(source, hir)?;
                (hints.shape(), Test::Automaton { hints, automaton })
            }
        };
        Ok(Regex(Arc::new(Inner { source: source.to_owned(), shape, test })))
    }

    pub fn is_match(&self, value: &str) -> bool {
        match &self.0.test {
            Test::Words(words) => words.matches(value),
            Test::Automaton { hints, automaton } => hints.allow(value) && automaton.is_match(value),
        }
    }

    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// The pattern as it was given.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    pub(super) fn automaton(&self) -> Option<&meta::Regex> {
        match &self.0.test {
            Test::Words(_) => None,
            Test::Automaton { automaton, .. } => Some(automaton),
        }
    }
}

/// Compiles a tree to match whole values.
pub(super) fn compile(source: &str, hir: Hir) -> Result<meta::Regex, Error> {
    let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
    let config = meta::Config::new()
        .nfa_size_limit(Some(MAX_AUTOMATON_BYTES))
        .onepass_size_limit(Some(MAX_AUTOMATON_BYTES))
        .hybrid_cache_capacity(STATE_CACHE_BYTES);
    // The tree is valid by construction, so what can fail is its size.
    let built = meta::Builder::new().configure(config).build_from_hir(&whole);
    built.map_err(|_| Error::new(Fault::Size, source))
}

#[cfg(test)]
mod tests;
