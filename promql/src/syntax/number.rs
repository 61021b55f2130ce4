//! Numbers as the language writes them, and where numbers and durations end.

/// Where the number at the start of `text` ends. `Err` says how far one had to read to see that it is none.
pub fn scan_number(text: &str) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut i = 0;
    let mut hex = false;
    if at(0) == b'0' {
        i = 1;
        if matches!(at(1), b'x' | b'X') {
            i = 2 + usize::from(at(2) == b'_');
            hex = true;
        }
    }
    let is_digit = |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    i += usize::from(at(i) == b'.');
    i += usize::from(is_digit(at(i)));
    let (mut dot_seen, mut exponent_seen) = (false, false);
    loop {
        let b = at(i);
        match b {
            b'.' => {
                i += 1;
                if dot_seen {
                    return Err(i);
                }
                dot_seen = true;
                if matches!(at(i), b'_' | b'.') {
                    return Err(i + 1);
                }
                if hex {
                    return Err(i);
                }
            }
            b'e' | b'E' => {
                i += 1;
                if exponent_seen {
                    return Err(i);
                }
                exponent_seen = true;
                i += usize::from(matches!(at(i), b'+' | b'-'));
                if matches!(at(i), b'.' | b'_' | b'e' | b'E') {
                    return Err(i + 1);
                }
                if i >= bytes.len() {
                    return Err(i);
                }
            }
            b'_' => {
                i += 1;
                if matches!(at(i), b'.' | b'_' | b'e' | b'E') {
                    return Err(i + 1);
                }
                if i >= bytes.len() {
                    return Err(i);
                }
            }
            // A run of hexadecimal digits may hold an `e`, but not start with one.
            b if is_digit(b) => {
                while is_digit(at(i)) {
                    i += 1;
                }
            }
            b if b.is_ascii_alphabetic() || i == 0 => return Err(i),
            _ => return Ok(i),
        }
    }
}

/// Where the duration at the start of `text` ends, given that [`scan_number`] read up to `from`.
/// `Err` says how far one had to read to see that it is none.
pub fn scan_duration(text: &str, from: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let at = |i: usize| bytes.get(i).copied().unwrap_or(0);
    let mut i = from;
    if !matches!(at(i), b's' | b'm' | b'h' | b'd' | b'w' | b'y') {
        return Err(i);
    }
    i += 1;
    i += usize::from(at(i) == b's');
    while at(i).is_ascii_digit() {
        while at(i).is_ascii_digit() {
            i += 1;
        }
        // Years can only come first.
        if !matches!(at(i), b's' | b'm' | b'h' | b'd' | b'w') {
            return Err(i);
        }
        i += 1;
        i += usize::from(at(i) == b's');
    }
    if at(i) == b'_' || at(i).is_ascii_alphanumeric() { Err(i + 1) } else { Ok(i) }
}

/// The value of a number that [`scan_number`] delimited; else what is wrong with it.
pub fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(value) = parse_integer(text) {
        return Ok(value as f64);
    }
    let fault = |what: &str| {
        Err(format!(
            "error parsing number: strconv.ParseFloat: parsing {}: {what}",
            super::quote::quote(text)
        ))
    };
    let lower = text.to_ascii_lowercase();
    // `inf` and `nan` come from the lexer as words. A hexadecimal number beyond 64 bits has no reading.
    if lower.starts_with("0x") || !underscores_separate_digits(text) {
        return fault("invalid syntax");
    }
    match lower.replace('_', "").parse::<f64>() {
        Ok(value) if value.is_infinite() && lower != "inf" => fault("value out of range"),
        Ok(value) => Ok(value),
        Err(_) => fault("invalid syntax"),
    }
}

/// An integer of 64 bits: decimal, `0x…` or octal with a leading zero.
fn parse_integer(text: &str) -> Option<i64> {
    if !underscores_separate_digits(text) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (&lower[..], 10),
    };
    i64::from_str_radix(&digits.replace('_', ""), radix).ok()
}

/// Every underscore stands between digits, where the prefix `0x` and a leading zero count as one.
fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'_') {
        return true;
    }
    let hex = bytes.len() > 1 && bytes[0] == b'0' && bytes[1] | 0x20 == b'x';
    let is_digit = |b: u8| b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
    bytes.iter().enumerate().filter(|&(_, &b)| b == b'_').all(|(i, _)| {
        let before = i > 0 && (is_digit(bytes[i - 1]) || (hex && i == 2));
        before && bytes.get(i + 1).is_some_and(|&b| is_digit(b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_gos_value() {
        let check = |text: &str, expect: f64| {
            assert_eq!(scan_number(text), Ok(text.len()), "{text}");
            assert_eq!(parse_number(text), Ok(expect), "{text}");
        };
        check("1_000", 1000.0);
        check("1_000.5", 1000.5);
        check("017", 15.0);
        check("08", 8.0);
        check("0x1F", 31.0);
        check("0x_1f", 31.0);
        check("0x11e", 286.0);
        check("1e3", 1000.0);
        check("9223372036854775808", 9223372036854775808.0);
        check(".5", 0.5);
        check("5.", 5.0);
        assert!(parse_number("1e1000").is_err());
        assert!(scan_number("1__0").is_err());
        assert!(scan_number("0x1.8").is_err());
    }
}
