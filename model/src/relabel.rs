//! Relabelling: a pure function from labels and rules to labels, or to "dropped".
//!
//! [`RelabelConfig`] is a rule as it stands in YAML, [`Rule`] the same made ready to run. It must never
//! panic, and never make a label that no label set can hold: what would be longer is not set.

mod config;

pub use config::{Action, RelabelConfig, RelabelError};

use crate::label::{Labels, LabelsBuilder, MAX_PART_BYTES};
use crate::matcher::capture::{CaptureRegex, Template};
use md5::{Digest, Md5};
use smallvec::SmallVec;

/// Source values up to so many bytes are joined without an allocation.
const INLINE_BYTES: usize = 256;

/// One rule, ready to run.
#[derive(Debug, Clone)]
pub struct Rule {
    sources: Vec<String>,
    separator: String,
    work: Work,
}

#[derive(Debug, Clone)]
enum Work {
    Keep(CaptureRegex),
    Drop(CaptureRegex),
    KeepEqual { target: String },
    DropEqual { target: String },
    Replace { regex: CaptureRegex, target: Template, replacement: Template },
    Lowercase { target: String },
    Uppercase { target: String },
    HashMod { modulus: u64, target: String },
    LabelMap { regex: CaptureRegex, replacement: Template },
    LabelDrop(CaptureRegex),
    LabelKeep(CaptureRegex),
}

/// Where a rule reads from.
trait Source {
    fn value(&self, name: &str) -> &str;
    fn any_name(&self, holds: impl FnMut(&str) -> bool) -> bool;
}

impl Source for Labels {
    fn value(&self, name: &str) -> &str {
        Labels::value(self, name)
    }

    fn any_name(&self, mut holds: impl FnMut(&str) -> bool) -> bool {
        self.iter().any(|(name, _)| holds(name))
    }
}

impl Source for LabelsBuilder {
    fn value(&self, name: &str) -> &str {
        self.get(name)
    }

    fn any_name(&self, mut holds: impl FnMut(&str) -> bool) -> bool {
        self.iter().any(|(name, _)| holds(name))
    }
}

/// Applies the rules in turn; `None` as soon as one of them drops the labels. Labels that no rule changes
/// come back as they are, and labels that are dropped before the first change cost no allocation.
pub fn relabel(labels: &Labels, rules: &[Rule]) -> Option<Labels> {
    let mut changed: Option<LabelsBuilder> = None;
    for rule in rules {
        let keep = match &mut changed {
            Some(builder) => rule.apply(builder),
            None => match rule.judge(labels) {
                Some(keep) => keep,
                None => {
                    if rule.touches(labels) {
                        rule.change(changed.insert(LabelsBuilder::from(labels)));
                    }
                    true
                }
            },
        };
        if !keep {
            return None;
        }
    }
    Some(changed.map_or_else(|| labels.clone(), |builder| builder.build()))
}

/// Applies the rules to labels under construction; `false` as soon as one of them drops the labels,
/// which are then as that rule found them.
pub fn apply(rules: &[Rule], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

impl Rule {
    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        if let Some(keep) = self.judge(labels) {
            return keep;
        }
        self.change(labels);
        true
    }

    /// The source labels' values, joined.
    fn with_value<T>(&self, labels: &impl Source, run: impl FnOnce(&str) -> T) -> T {
        match &self.sources[..] {
            [] => run(""),
            [only] => run(labels.value(only)),
            [first, rest @ ..] => {
                let mut joined: SmallVec<[u8; INLINE_BYTES]> = SmallVec::new();
                joined.extend_from_slice(labels.value(first).as_bytes());
                for name in rest {
                    joined.extend_from_slice(self.separator.as_bytes());
                    joined.extend_from_slice(labels.value(name).as_bytes());
                }
                // Text joined with text is text.
                run(std::str::from_utf8(&joined).unwrap_or_default())
            }
        }
    }

    /// Whether a rule that only keeps or drops keeps these labels; `None` for any other rule.
    fn judge(&self, labels: &impl Source) -> Option<bool> {
        match &self.work {
            Work::Keep(regex) => Some(self.with_value(labels, |value| regex.is_match(value))),
            Work::Drop(regex) => Some(!self.with_value(labels, |value| regex.is_match(value))),
            Work::KeepEqual { target } => {
                Some(self.with_value(labels, |value| labels.value(target) == value))
            }
            Work::DropEqual { target } => {
                Some(self.with_value(labels, |value| labels.value(target) != value))
            }
            _ => None,
        }
    }

    /// `false` where the rule certainly leaves these labels as they are.
    fn touches(&self, labels: &impl Source) -> bool {
        match &self.work {
            Work::Replace { regex, .. } => self.with_value(labels, |value| regex.is_match(value)),
            Work::LabelMap { regex, .. } | Work::LabelDrop(regex) => {
                labels.any_name(|name| regex.is_match(name))
            }
            Work::LabelKeep(regex) => labels.any_name(|name| !regex.is_match(name)),
            _ => true,
        }
    }

    /// Does what a rule does that neither keeps nor drops.
    fn change(&self, labels: &mut LabelsBuilder) {
        match &self.work {
            Work::Keep(_) | Work::Drop(_) | Work::KeepEqual { .. } | Work::DropEqual { .. } => {}
            Work::Replace { regex, target, replacement } => {
                let (mut name, mut text) = (String::new(), String::new());
                let matched = self.with_value(labels, |value| {
                    regex.expand(value, target, &mut name) && regex.expand(value, replacement, &mut text)
                });
                if matched {
                    set(labels, &name, &text);
                }
            }
            Work::Lowercase { target } => {
                let text = self.with_value(labels, |value| value.chars().map(lower).collect::<String>());
                set(labels, target, &text);
            }
            Work::Uppercase { target } => {
                let text = self.with_value(labels, |value| value.chars().map(upper).collect::<String>());
                set(labels, target, &text);
            }
            Work::HashMod { modulus, target } => {
                let hash = self.with_value(labels, hash);
                set(labels, target, &hash.checked_rem(*modulus).unwrap_or(0).to_string());
            }
            Work::LabelMap { regex, replacement } => {
                let found: Vec<(String, String)> = labels
                    .iter()
                    .filter_map(|(name, value)| {
                        let mut new = String::new();
                        regex.expand(name, replacement, &mut new).then(|| (new, value.to_owned()))
                    })
                    .collect();
                for (name, value) in found {
                    set(labels, &name, &value);
                }
            }
            Work::LabelDrop(regex) => drop(labels.retain(|name| !regex.is_match(name))),
            Work::LabelKeep(regex) => drop(labels.retain(|name| regex.is_match(name))),
        }
    }
}

/// Sets a label, or removes it where the value is empty. A name that is empty and parts that no label
/// set can hold change nothing.
fn set(labels: &mut LabelsBuilder, name: &str, value: &str) {
    if !name.is_empty() && name.len() <= MAX_PART_BYTES && value.len() <= MAX_PART_BYTES {
        labels.set(name, value);
    }
}

/// The last eight bytes of the MD5 sum, as Prometheus has always taken them.
fn hash(value: &str) -> u64 {
    let digest: [u8; 16] = Md5::digest(value.as_bytes()).into();
    digest[8..].iter().fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// One character for one, as in Go: what has no such counterpart stays (ß), or takes the first (İ).
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

fn upper(c: char) -> char {
    let mut all = c.to_uppercase();
    match (all.next(), all.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

#[cfg(test)]
mod tests;
