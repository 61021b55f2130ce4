//! Durations as configuration files, flags and queries write them (`1d12h`, `90s`, `100ms`): read and
//! printed exactly as Prometheus does. Nothing in here knows what a duration is used for.

use std::fmt;

/// The units, largest first: name, milliseconds, and whether printing uses it only where it divides.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

/// The longest duration, as Prometheus counts them in nanoseconds: about 292 years.
const MAX_MS: u64 = (i64::MAX / 1_000_000) as u64;

/// Why a text is not a duration; its text is Prometheus'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DurationError {
    Empty,
    Invalid(String),
    UnknownUnit { unit: String, text: String },
    OutOfRange,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurationError::Empty => f.write_str("empty duration string"),
            DurationError::Invalid(text) => write!(f, "not a valid duration string: {text:?}"),
            DurationError::UnknownUnit { unit, text } => {
                write!(f, "unknown unit {unit:?} in duration {text:?}")
            }
            DurationError::OutOfRange => f.write_str("duration out of range"),
        }
    }
}

impl std::error::Error for DurationError {}

/// Milliseconds of a duration: numbers with units, largest unit first, no unit twice; or `0`.
pub fn parse_duration_ms(text: &str) -> Result<i64, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    match text {
        "0" => return Ok(0),
        "" => return Err(DurationError::Empty),
        _ => {}
    }
    let (mut rest, mut total, mut next_unit) = (text, 0u64, 0);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(|b| !b.is_ascii_digit()).count();
        let unit;
        (unit, rest) = rest.split_at(letters);
        if unit.is_empty() {
            return Err(invalid());
        }
        let position = UNITS
            .iter()
            .position(|(name, ..)| *name == unit)
            .ok_or_else(|| DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() })?;
        if position < next_unit {
            return Err(invalid());
        }
        next_unit = position + 1;
        let part = number.checked_mul(UNITS[position].1).ok_or(DurationError::OutOfRange)?;
        total = total.checked_add(part).filter(|&t| t <= MAX_MS).ok_or(DurationError::OutOfRange)?;
    }
    Ok(total as i64)
}

/// Prints a duration; a negative one gets its sign in front.
pub fn duration_text(duration_ms: i64) -> String {
    if duration_ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::from(if duration_ms < 0 { "-" } else { "" });
    let mut rest = duration_ms.unsigned_abs();
    for (unit, unit_ms, only_exact) in UNITS {
        if rest < unit_ms || (only_exact && !rest.is_multiple_of(unit_ms)) {
            continue;
        }
        out.push_str(&(rest / unit_ms).to_string());
        out.push_str(unit);
        rest %= unit_ms;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let got = match parse_duration_ms(text) {
            Ok(ms) => format!("{ms} {}", duration_text(ms)),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn reads_and_prints() {
        check("0", "0 0s");
        check("0s", "0 0s");
        check("5m", "300000 5m");
        check("36h", "129600000 1d12h");
        check("14d", "1209600000 2w");
        check("15d", "1296000000 15d");
        check("1y2w3d4h5m6s7ms", "33019506007 382d4h5m6s7ms");
        check("90s", "90000 1m30s");
    }

    #[test]
    fn refuses_with_the_reason() {
        check("", "empty duration string");
        check("x", "not a valid duration string: \"x\"");
        check("5", "not a valid duration string: \"5\"");
        check("-5m", "not a valid duration string: \"-5m\"");
        check("5x", "unknown unit \"x\" in duration \"5x\"");
        check("1m1h", "not a valid duration string: \"1m1h\"");
        check("1m1m", "not a valid duration string: \"1m1m\"");
        check("300y", "duration out of range");
        check("99999999999999999999s", "not a valid duration string: \"99999999999999999999s\"");
        check("5é", "unknown unit \"é\" in duration \"5é\"");
    }
}
