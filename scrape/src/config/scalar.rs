//! The scalars of a Prometheus configuration: durations, byte sizes, Go-YAML booleans and integers,
//! secrets. Each reads what Prometheus reads and prints what Prometheus prints.
//! Must never print a secret.

use hearth_model::duration::{DurationError, duration_text, parse_duration_ms};
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A duration of whole milliseconds: `1m30s`. Zero stands for "not set" where a default exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct PromDuration {
    pub ms: i64,
}

impl PromDuration {
    pub const fn from_ms(ms: i64) -> Self {
        PromDuration { ms }
    }

    pub const fn from_secs(seconds: i64) -> Self {
        PromDuration { ms: seconds * 1_000 }
    }

    pub fn is_zero(self) -> bool {
        self.ms == 0
    }

    pub fn seconds(self) -> f64 {
        self.ms as f64 / 1_000.0
    }

    pub fn std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.ms.max(0) as u64)
    }
}

impl FromStr for PromDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse_duration_ms(text).map(PromDuration::from_ms)
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration_text(self.ms))
    }
}

impl Serialize for PromDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scalar::deserialize(deserializer)?.0.parse().map_err(D::Error::custom)
    }
}

/// A size in bytes with units of 1024: `10MB` and `10MiB` are the same. Zero stands for "no limit".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct ByteSize {
    pub bytes: u64,
}

const SIZE_LETTERS: [u8; 6] = *b"KMGTPE";

impl ByteSize {
    pub fn is_zero(&self) -> bool {
        self.bytes == 0
    }
}

/// The length of one unit in bytes; `binary` tells which of the two spellings (`KiB`, `KB`) is meant.
fn size_unit(unit: &str, binary: bool) -> Option<u64> {
    if unit == "B" {
        return Some(1);
    }
    let (letter, rest) = unit.split_at_checked(1)?;
    let power = SIZE_LETTERS.iter().position(|l| *l == letter.as_bytes()[0])?;
    (rest == if binary { "iB" } else { "B" }).then(|| 1024u64.pow(power as u32 + 1))
}

fn parse_size(text: &str, binary: bool) -> Result<u64, String> {
    let (mut rest, mut bytes) = (text, 0u128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let invalid = || format!("units: invalid {text}");
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let factor =
            size_unit(unit, binary).ok_or_else(|| format!("units: unknown unit {unit} in {text}"))? as u128;
        let part = |digits: &str| {
            if digits.is_empty() { Ok(0) } else { digits.parse::<u64>().map_err(|_| invalid()) }
        };
        bytes = bytes.saturating_add(part(whole)? as u128 * factor);
        if !fraction.is_empty() {
            let scale = 10u128.checked_pow(fraction.len() as u32).ok_or_else(invalid)?;
            bytes = bytes.saturating_add(part(fraction)? as u128 * factor / scale);
        }
        rest = tail;
    }
    // Go keeps the sum in an i64.
    u64::try_from(bytes)
        .ok()
        .filter(|n| *n <= i64::MAX as u64)
        .ok_or_else(|| format!("units: invalid {text}"))
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => return Ok(ByteSize::default()),
            "" => return Err("units: invalid ".into()),
            _ => {}
        }
        parse_size(text, true).or_else(|_| parse_size(text, false)).map(|bytes| ByteSize { bytes })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.bytes;
        for (power, letter) in SIZE_LETTERS.iter().enumerate().rev() {
            let unit = 1024u64.pow(power as u32 + 1);
            if rest >= unit {
                write!(f, "{}{}iB", rest / unit, *letter as char)?;
                rest %= unit;
            }
        }
        if rest > 0 || self.bytes == 0 { write!(f, "{rest}B") } else { Ok(()) }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scalar::deserialize(deserializer)?.0.parse().map_err(D::Error::custom)
    }
}

/// Text that no output of ours shows.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<secret>")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Secret(Scalar::deserialize(deserializer)?.0))
    }
}

/// Any YAML scalar as its text, the way Go-YAML hands `123` or `true` to a string field; null is "".
pub(crate) struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar(String::new()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

fn go_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Some(false),
        _ => None,
    }
}

/// A boolean with all of Go-YAML's spellings.
pub(crate) struct GoBool(pub bool);

impl<'de> Deserialize<'de> for GoBool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Scalar::deserialize(deserializer)?.0;
        go_bool(&text)
            .map(GoBool)
            .ok_or_else(|| D::Error::custom(format!("cannot unmarshal `{text}` into bool")))
    }
}

/// An unsigned integer in Go's spellings (`0x10`, `0o7`, `0b1`, `1_000`).
struct GoUint(u64);

impl<'de> Deserialize<'de> for GoUint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Scalar::deserialize(deserializer)?.0;
        let plain = text.replace('_', "");
        let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok();
        let parsed = match plain.get(..2) {
            Some("0x" | "0X") => radix(&plain[2..], 16),
            Some("0o" | "0O") => radix(&plain[2..], 8),
            Some("0b" | "0B") => radix(&plain[2..], 2),
            Some(_) if plain.starts_with('0') => radix(&plain[1..], 8),
            _ => radix(plain.strip_prefix('+').unwrap_or(&plain), 10),
        };
        parsed
            .map(GoUint)
            .ok_or_else(|| D::Error::custom(format!("cannot unmarshal `{text}` into an unsigned integer")))
    }
}

/// For `deserialize_with`: Go-YAML's reading of a field, where null leaves the type's zero.
pub(crate) mod read {
    use super::*;

    fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
        Option::<T>::deserialize(d)
    }

    pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
        Ok(nullable(d)?.unwrap_or_default())
    }

    /// A boolean that is false where nothing is said.
    pub fn flag<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
        Ok(nullable::<D, GoBool>(d)?.is_some_and(|b| b.0))
    }

    /// A boolean that is true where nothing is said.
    pub fn flag_true<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
        Ok(nullable::<D, GoBool>(d)?.is_none_or(|b| b.0))
    }

    pub fn maybe_flag<'de, D: Deserializer<'de>>(d: D) -> Result<Option<bool>, D::Error> {
        Ok(nullable::<D, GoBool>(d)?.map(|b| b.0))
    }

    pub fn count<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        Ok(nullable::<D, GoUint>(d)?.map_or(0, |n| n.0))
    }

    pub fn text<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
        Ok(nullable::<D, Scalar>(d)?.map_or_else(String::new, |s| s.0))
    }

    pub fn maybe_text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
        Ok(nullable::<D, Scalar>(d)?.map(|s| s.0))
    }

    pub fn texts<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Vec<String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }
            fn visit_unit<E>(self) -> Result<Vec<String>, E> {
                Ok(Vec::new())
            }
            fn visit_none<E>(self) -> Result<Vec<String>, E> {
                Ok(Vec::new())
            }
            fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Vec<String>, D::Error> {
                d.deserialize_seq(self)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
                let mut out = Vec::new();
                while let Some(Scalar(text)) = seq.next_element()? {
                    out.push(text);
                }
                Ok(out)
            }
        }
        d.deserialize_option(Texts)
    }

    pub fn text_map<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<std::collections::BTreeMap<String, String>, D::Error> {
        let map = nullable::<D, std::collections::BTreeMap<String, Scalar>>(d)?.unwrap_or_default();
        Ok(map.into_iter().map(|(name, value)| (name, value.0)).collect())
    }
}

/// For `skip_serializing_if`.
pub(crate) mod skip {
    pub fn unset(flag: &bool) -> bool {
        !*flag
    }
    pub fn zero(count: &u64) -> bool {
        *count == 0
    }
    pub fn zero_duration(duration: &super::PromDuration) -> bool {
        duration.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_size(text: &str, expect: Result<(u64, &str), &str>) {
        let got = text.parse::<ByteSize>();
        match expect {
            Ok((bytes, printed)) => {
                let got = got.expect(text);
                assert_eq!((got.bytes, got.to_string().as_str()), (bytes, printed));
            }
            Err(message) => assert_eq!(got, Err(message.to_string())),
        }
    }

    #[test]
    fn sizes_read_and_print_as_prometheus_does() {
        check_size("10MB", Ok((10 << 20, "10MiB")));
        check_size("10MiB", Ok((10 << 20, "10MiB")));
        check_size("1536KB", Ok((1536 << 10, "1MiB512KiB")));
        check_size("1.5GB", Ok((1536 << 20, "1GiB512MiB")));
        check_size("100B", Ok((100, "100B")));
        check_size("0", Ok((0, "0B")));
        check_size("10", Err("units: unknown unit  in 10"));
        check_size("10XB", Err("units: unknown unit XB in 10XB"));
    }

    #[test]
    fn booleans_and_integers_have_all_of_go_yamls_spellings() {
        #[derive(Deserialize)]
        struct T {
            #[serde(default, deserialize_with = "read::flag")]
            b: bool,
            #[serde(default, deserialize_with = "read::count")]
            n: u64,
        }
        let check = |yaml: &str, b: bool, n: u64| {
            let t: T = serde_yaml::from_str(yaml).expect(yaml);
            assert_eq!((t.b, t.n), (b, n), "{yaml}");
        };
        check("{b: yes, n: 0x10}", true, 16);
        check("{b: On, n: 010}", true, 8);
        check("{b: off, n: 1_000}", false, 1000);
        check("{b: , n: ~}", false, 0);
        assert!(serde_yaml::from_str::<T>("b: maybe").is_err());
        assert!(serde_yaml::from_str::<T>("n: -1").is_err());
    }
}
