//! Label sets: sorted, unique by name, no empty values, immutable and cheap to clone.
//!
//! Invariants of [`Labels`]:
//! 1. names ascend byte-wise and are unique;
//! 2. no value is empty (an empty value means "not there");
//! 3. the text is `len name len value …`, each length (in bytes) written as one Unicode scalar value,
//!    so that the whole is one `str`, one allocation, and every part can be sliced without a check of
//!    its own. Lengths up to 127 cost one byte.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The name of the label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";
/// Longest name or value a label set can hold, in bytes: what one scalar value can say (invariant 3).
pub const MAX_PART_BYTES: usize = 0x10_FFFF - SURROGATES as usize;

/// Room in which most label sets are put together without growing.
const USUAL_BYTES: usize = 256;

const FIRST_SURROGATE: u32 = 0xD800;
const SURROGATES: u32 = 0x800;

/// An immutable label set.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<str>);

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

fn push_part(text: &mut String, part: &str) {
    let length = part.len() as u32;
    let scalar = if length < FIRST_SURROGATE { length } else { length + SURROGATES };
    // A part longer than MAX_PART_BYTES is cut by every parser long before; the assert guards the invariant.
    text.push(char::from_u32(scalar).expect("label part longer than MAX_PART_BYTES"));
    text.push_str(part);
}

fn split_part(text: &str) -> Option<(&str, &str)> {
    let scalar = text.chars().next()?;
    let code = scalar as u32;
    let length = if code < FIRST_SURROGATE { code } else { code - SURROGATES } as usize;
    let rest = &text[scalar.len_utf8()..];
    Some((&rest[..length], &rest[length..]))
}

impl Labels {
    pub fn empty() -> Self {
        Labels(Arc::from(""))
    }

    /// From pairs in any order; empty values are left out; of two equal names the later wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// From pairs that already ascend by unique names and have no empty value.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut text = String::with_capacity(USUAL_BYTES);
        let mut last: Option<&str> = None;
        for (name, value) in pairs {
            debug_assert!(
                last.is_none_or(|l| l < name) && !value.is_empty(),
                "labels not canonical at {name}"
            );
            last = Some(name);
            push_part(&mut text, name);
            push_part(&mut text, value);
        }
        Labels(Arc::from(text))
    }

    pub fn iter(&self) -> LabelIter<'_> {
        LabelIter { rest: &self.0 }
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The value of a label, or "" where it is not there: what matchers and relabelling see.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    /// Only the labels for which `keep(name)` holds.
    pub fn filter(&self, mut keep: impl FnMut(&str) -> bool) -> Labels {
        Labels::from_sorted(self.iter().filter(|(n, _)| keep(n)))
    }

    pub fn without_metric_name(&self) -> Labels {
        self.filter(|n| n != METRIC_NAME)
    }

    /// This set with one label set (or removed, where `value` is empty).
    pub fn with(&self, name: &str, value: &str) -> Labels {
        let mut builder = LabelsBuilder::from(self);
        builder.set(name, value);
        builder.build()
    }

    /// Bytes of memory behind this set, its header left out.
    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Ord for Labels {
    /// By name, then value, label by label; a prefix sorts before what it is a prefix of.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelIter<'a>;
    fn into_iter(self) -> LabelIter<'a> {
        self.iter()
    }
}

/// Pairs of a label set, ascending by name.
#[derive(Clone)]
pub struct LabelIter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for LabelIter<'a> {
    type Item = (&'a str, &'a str);
    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = split_part(self.rest)?;
        let (value, rest) = split_part(rest)?;
        self.rest = rest;
        Some((name, value))
    }
}

impl fmt::Display for Labels {
    /// As Prometheus prints a series: `name{label="value"}`, or `{…}` where no metric name is there or
    /// where it is not a classic name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let classic = is_classic_metric_name(name);
        let mut others = self.iter().filter(|(n, _)| !(classic && *n == METRIC_NAME)).peekable();
        if classic {
            f.write_str(name)?;
            if others.peek().is_none() {
                return Ok(());
            }
        }
        f.write_str("{")?;
        let mut separator = "";
        for (n, v) in others {
            f.write_str(separator)?;
            if is_classic_label_name(n) {
                f.write_str(n)?
            } else {
                write_quoted(f, n)?
            }
            f.write_str("=")?;
            write_quoted(f, v)?;
            separator = ", ";
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text in double quotes with Go's escapes, as Prometheus prints label values.
pub fn write_quoted(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{7}' => f.write_str("\\a")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{b}' => f.write_str("\\v")?,
            '\u{c}' => f.write_str("\\f")?,
            c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(f, "\\x{:02x}", c as u32)?,
            c if c.is_ascii() || is_printable(c) => f.write_char(c)?,
            c if (c as u32) < 0x1_0000 => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "\\U{:08x}", c as u32)?,
        }
    }
    f.write_char('"')
}

/// Letters, marks, numbers, punctuation and symbols, but no spaces: what Go prints as it is. The
/// standard library knows the same set, and uses it for the debug form of a text; a mark is escaped
/// there only where nothing stands before it.
fn is_printable(c: char) -> bool {
    let mut text = String::from("a");
    text.push(c);
    text.escape_debug().nth(1) == Some(c)
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub fn is_classic_metric_name(name: &str) -> bool {
    is_name(name, true)
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_classic_label_name(name: &str) -> bool {
    is_name(name, false)
}

fn is_name(name: &str, colon: bool) -> bool {
    let mut bytes = name.bytes();
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':');
    bytes.next().is_some_and(letter) && bytes.all(|b| letter(b) || b.is_ascii_digit())
}

/// A label set under construction. Setting an empty value removes the label.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        LabelsBuilder { pairs: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }
}

impl LabelsBuilder {
    fn position(&self, name: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    pub fn get(&self, name: &str) -> &str {
        self.position(name).map_or("", |i| &self.pairs[i].1)
    }

    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match (self.position(name), value.is_empty()) {
            (Ok(i), true) => drop(self.pairs.remove(i)),
            (Ok(i), false) => value.clone_into(&mut self.pairs[i].1),
            (Err(_), true) => {}
            (Err(i), false) => self.pairs.insert(i, (name.to_owned(), value.to_owned())),
        }
        self
    }

    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) -> &mut Self {
        self.pairs.retain(|(n, _)| keep(n));
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expect: &str) {
        assert_eq!(Labels::from_pairs(pairs.iter().copied()).to_string(), expect);
    }

    #[test]
    fn prints_as_prometheus_does() {
        check(&[], "{}");
        check(&[("__name__", "up")], "up");
        check(&[("job", "a"), ("__name__", "up")], r#"up{job="a"}"#);
        check(&[("z", "1"), ("a", "2"), ("gone", "")], r#"{a="2", z="1"}"#);
        check(&[("__name__", "my.metric"), ("b", "x\"\\\n")], r#"{__name__="my.metric", b="x\"\\\n"}"#);
        check(&[("__name__", "up"), ("a.b", "é")], r#"up{"a.b"="é"}"#);
    }

    #[test]
    fn long_parts_survive_the_length_encoding() {
        for length in [1, 127, 128, 2_047, 2_048, 0xD7FF, 0xD800, 0xE000, 70_000, 1_000_000] {
            let value = "v".repeat(length);
            let labels = Labels::from_pairs([("n", value.as_str()), ("o", "p")]);
            assert_eq!(labels.get("n"), Some(value.as_str()));
            assert_eq!(labels.get("o"), Some("p"));
        }
    }

    #[test]
    fn orders_by_pairs_not_by_bytes_of_the_encoding() {
        let set = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        assert!(set(&[("a", "zz")]) < set(&[("b", "a")]));
        assert!(set(&[("aa", "1")]) < set(&[("b", "1")]));
        assert!(set(&[("a", "1")]) < set(&[("a", "1"), ("b", "1")]));
    }

    #[test]
    fn builder_sets_replaces_and_removes() {
        let mut b = LabelsBuilder::from(&Labels::from_pairs([("a", "1"), ("c", "3")]));
        b.set("b", "2").set("a", "9").remove("c");
        assert_eq!(b.build().to_string(), r#"{a="9", b="2"}"#);
    }
}
