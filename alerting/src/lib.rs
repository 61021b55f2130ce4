//! Rules and alerts. So far the reading half: rule files, strictly parsed and checked, each expression by
//! the query language's own parser. Nothing evaluates a rule yet.
//!
//! Architecture invariant: nothing here knows of HTTP or of how samples are stored.
#![forbid(unsafe_code)]

pub mod config;
pub mod rules;

pub use rules::{Group, Rule, RuleFile, RuleFileError, RuleKind, load, parse};
