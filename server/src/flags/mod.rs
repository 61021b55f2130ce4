//! The command line: Prometheus' flags by their names, and a few of our own.
//!
//! A flag that is known but has no effect is accepted and named in one warning; a flag that is not known
//! is an error. Nothing is ever ignored silently.

mod features;
mod help;
mod parse;
mod table;

pub use features::Features;
pub use parse::{Parsed, parse};
use table::Effect;

use hearth_model::parse_duration_ms;
use std::collections::BTreeMap;
use std::time::Duration;

/// The values in effect. Every value was checked against its kind when it was parsed.
#[derive(Debug, Clone)]
pub struct Flags {
    values: BTreeMap<&'static str, Vec<String>>,
    given: Vec<&'static str>,
}

impl Flags {
    fn values(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some(values) => values,
            None => panic!("no flag is called {name}"),
        }
    }

    pub fn text(&self, name: &str) -> &str {
        self.values(name).last().map_or("", String::as_str)
    }

    pub fn texts(&self, name: &str) -> &[String] {
        self.values(name)
    }

    pub fn switch(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    pub fn duration(&self, name: &str) -> Duration {
        let ms = parse_duration_ms(self.text(name)).expect("checked when parsed");
        Duration::from_millis(ms.unsigned_abs())
    }

    pub fn count(&self, name: &str) -> usize {
        parse::count(self.text(name)).expect("checked when parsed")
    }

    pub fn bytes(&self, name: &str) -> u64 {
        parse::bytes(self.text(name)).expect("checked when parsed")
    }

    /// Whether the command line set it.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    /// What the operator asked for and does not get, one line each.
    pub fn without_effect(&self) -> Vec<(&'static str, &'static str)> {
        let flags = self.given.iter().filter_map(|name| table::find(name));
        flags
            .filter_map(|flag| match flag.effect {
                Effect::Served => None,
                Effect::NotYet(why) | Effect::Meaningless(why) => Some((flag.name, why)),
            })
            .collect()
    }

    /// As `/api/v1/status/flags` shows them.
    pub fn shown(&self) -> BTreeMap<String, String> {
        self.values.iter().map(|(name, values)| ((*name).to_owned(), values.join(","))).collect()
    }
}

#[cfg(test)]
mod tests;
