//! A series' key: the canonical bytes of its labels, the same bytes that a remote-write sender puts on
//! the wire, so that a known series is found by the bytes as they came, unparsed.
//!
//! For each label, ascending by unique name, no empty value:
//! ```text
//! 0x0a  len(rest)  0x0a len(name) name  0x12 len(value) value        (lengths: minimal LEB128)
//! ```
//! That is protobuf's encoding of `repeated Label labels = 1` with the tags in order.

use crate::label::{Labels, MAX_PART_BYTES, METRIC_NAME};
use std::fmt;

/// Why bytes are not the labels of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Not the protobuf shape above.
    Malformed,
    NotUtf8,
    EmptyName,
    DuplicateName(String),
    NoMetricName,
    TooLong {
        part_bytes: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Malformed => f.write_str("malformed label encoding"),
            KeyError::NotUtf8 => f.write_str("label is not valid UTF-8"),
            KeyError::EmptyName => f.write_str("label name is empty"),
            KeyError::DuplicateName(name) => write!(f, "duplicate label name {name:?}"),
            KeyError::NoMetricName => f.write_str("label set has no metric name"),
            KeyError::TooLong { part_bytes } => {
                write!(f, "label name or value of {part_bytes} bytes, the limit is {MAX_PART_BYTES}")
            }
        }
    }
}

impl std::error::Error for KeyError {}

fn push_varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn varint_len(n: usize) -> usize {
    (usize::BITS - (n | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends the key of a canonical (sorted, unique, non-empty) run of labels.
pub fn push_key<'a>(out: &mut Vec<u8>, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (name, value) in labels {
        let body = 2 + varint_len(name.len()) + name.len() + varint_len(value.len()) + value.len();
        out.push(0x0a);
        push_varint(out, body);
        out.push(0x0a);
        push_varint(out, name.len());
        out.extend_from_slice(name.as_bytes());
        out.push(0x12);
        push_varint(out, value.len());
        out.extend_from_slice(value.as_bytes());
    }
}

pub fn key_of(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::with_capacity(labels.size_bytes() + 4 * 16);
    push_key(&mut out, labels);
    out
}

fn take_varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut n = 0usize;
    for (i, &b) in bytes.iter().enumerate().take(5) {
        n |= ((b & 0x7f) as usize) << (7 * i);
        if b < 0x80 {
            *bytes = &bytes[i + 1..];
            return Some(n);
        }
    }
    None
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_varint(bytes)?;
    let (part, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}

/// The name and value inside one label message. Fields may come in any order and repeat (the last
/// wins); unknown fields are refused: no sender writes any.
fn take_label<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    if bytes.first() != Some(&0x0a) {
        return None;
    }
    *bytes = &bytes[1..];
    let mut body = take_bytes(bytes)?;
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    while let Some((&tag, rest)) = body.split_first() {
        body = rest;
        match tag {
            0x0a => name = take_bytes(&mut body)?,
            0x12 => value = take_bytes(&mut body)?,
            _ => return None,
        }
    }
    Some((name, value))
}

/// What raw label bytes turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Ascending by name.
    pub pairs: Vec<(&'a str, &'a str)>,
    /// The bytes are already this series' key.
    pub canonical: bool,
}

impl Decoded<'_> {
    pub fn labels(&self) -> Labels {
        Labels::from_sorted(self.pairs.iter().copied())
    }
}

/// Reads raw label bytes, of any order, and checks them as a series needs: a metric name, no name
/// twice, no empty name, valid UTF-8. Labels with an empty value are left out.
pub fn decode_key(raw: &[u8]) -> Result<Decoded<'_>, KeyError> {
    match short_key(raw) {
        Some(pairs) => Ok(Decoded { pairs, canonical: true }),
        None => decode_any(raw),
    }
}

/// The labels of a key as nearly all are: canonical, and no length takes more than a byte. All that stands around
/// names and values is then ASCII, so each of them is valid UTF-8 if the whole is.
fn short_key(raw: &[u8]) -> Option<Vec<(&str, &str)>> {
    let text = std::str::from_utf8(raw).ok()?;
    let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(16);
    let (mut at, mut named) = (0, false);
    while at < raw.len() {
        let [0x0a, body, 0x0a, name_length, ..] = *raw.get(at..)? else { return None };
        let name_end = at + 4 + usize::from(name_length);
        let [0x12, value_length, ..] = *raw.get(name_end..)? else { return None };
        let end = name_end + 2 + usize::from(value_length);
        let short = (body | name_length | value_length) < 0x80;
        if !short || at + 2 + usize::from(body) != end || name_length == 0 || value_length == 0 {
            return None;
        }
        let (name, value) = (text.get(at + 4..name_end)?, text.get(name_end + 2..end)?);
        if pairs.last().is_some_and(|last| last.0 >= name) {
            return None;
        }
        named |= name == METRIC_NAME;
        pairs.push((name, value));
        at = end;
    }
    named.then_some(pairs)
}

fn decode_any(raw: &[u8]) -> Result<Decoded<'_>, KeyError> {
    let mut bytes = raw;
    let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(16);
    while !bytes.is_empty() {
        let (name, value) = take_label(&mut bytes).ok_or(KeyError::Malformed)?;
        let name = std::str::from_utf8(name).map_err(|_| KeyError::NotUtf8)?;
        let value = std::str::from_utf8(value).map_err(|_| KeyError::NotUtf8)?;
        if name.is_empty() {
            return Err(KeyError::EmptyName);
        }
        let part_bytes = name.len().max(value.len());
        if part_bytes > MAX_PART_BYTES {
            return Err(KeyError::TooLong { part_bytes });
        }
        pairs.push((name, value));
    }
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    if let Some(pair) = pairs.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(KeyError::DuplicateName(pair[0].0.to_owned()));
    }
    pairs.retain(|(_, value)| !value.is_empty());
    if !pairs.iter().any(|(name, _)| *name == METRIC_NAME) {
        return Err(KeyError::NoMetricName);
    }
    let mut canonical = Vec::with_capacity(raw.len());
    push_key(&mut canonical, pairs.iter().copied());
    Ok(Decoded { canonical: canonical == raw, pairs })
}

/// The pairs of a key that is known to be canonical (it came from [`push_key`]); ends early on
/// anything else.
pub fn key_pairs(mut key: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        let (name, value) = take_label(&mut key)?;
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        push_key(&mut out, pairs.iter().copied());
        out
    }

    #[test]
    fn a_key_reads_back_and_knows_whether_it_is_canonical() {
        let sorted = raw(&[("__name__", "up"), ("a", "1"), ("long", &"x".repeat(300))]);
        let read = decode_key(&sorted).expect("valid");
        assert!(read.canonical);
        assert_eq!(key_of(&read.labels()), sorted);
        assert_eq!(key_pairs(&sorted).count(), 3);
        let unsorted = raw(&[("a", "1"), ("__name__", "up"), ("b", "")]);
        let unsorted = decode_key(&unsorted).expect("valid");
        assert!(!unsorted.canonical);
        assert_eq!(unsorted.labels().to_string(), r#"up{a="1"}"#);
    }

    /// The short way finds what the long one finds, or nothing.
    #[test]
    fn short_keys_are_no_other_than_long_ones() {
        let mut random = fastrand::Rng::with_seed(7);
        let names = ["__name__", "a", "é", "zone", ""];
        let mut short = 0;
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for name in names.iter().filter(|_| random.u8(0..3) > 0).collect::<Vec<_>>() {
                let value = ["up", "ü", "", "x"][random.usize(0..4)];
                let value = if random.u8(0..20) == 0 { "y".repeat(200) } else { value.to_owned() };
                push_key(&mut bytes, [(*name, value.as_str())]);
            }
            for _ in 0..random.usize(0..3) {
                let at = random.usize(0..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.u8(..);
                }
            }
            if let Some(pairs) = short_key(&bytes) {
                short += 1;
                assert_eq!(decode_any(&bytes), Ok(Decoded { pairs, canonical: true }), "{bytes:?}");
            }
        }
        assert!(short > 100, "{short}");
    }

    #[test]
    fn bad_keys_say_why() {
        let check = |bytes: &[u8], expect: KeyError| assert_eq!(decode_key(bytes), Err(expect));
        check(&raw(&[("a", "1")]), KeyError::NoMetricName);
        check(&raw(&[("__name__", "")]), KeyError::NoMetricName);
        check(&raw(&[("", "1"), ("__name__", "x")]), KeyError::EmptyName);
        check(&raw(&[("__name__", "x"), ("a", "1"), ("a", "2")]), KeyError::DuplicateName("a".into()));
        check(&[0x0a, 0x7f, 0x0a], KeyError::Malformed);
        check(&[0x0a, 0x06, 0x0a, 0x01, 0xff, 0x12, 0x01, 0x61], KeyError::NotUtf8);
        for cut in 1..raw(&[("__name__", "x")]).len() {
            assert!(decode_key(&raw(&[("__name__", "x")])[..cut]).is_err());
        }
    }
}
