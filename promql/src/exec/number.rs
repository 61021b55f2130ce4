//! Numbers as they appear in texts and labels of results.

use hearth_model::number::{write_fixed, write_short};

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    out.into_iter().map(char::from).collect()
}

/// Never with an exponent: what `count_values` writes into a label.
pub fn decimal(value: f64) -> String {
    text(|out| write_fixed(out, value))
}

/// As OpenMetrics writes bounds and quantiles into labels: whole numbers with `.0`.
pub fn open_metrics(value: f64) -> String {
    let text = general(value);
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') { text + ".0" } else { text }
}

/// Go's `%.2g`: two digits at most.
pub fn two_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return general(value);
    }
    // Rounded to one digit behind the point in scientific notation, which has it as a decimal fraction.
    let rounded = format!("{value:.1e}");
    let (digits, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..2).contains(&exponent) {
        return decimal(rounded.parse().unwrap_or(value));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", digits.trim_end_matches('0').trim_end_matches('.'), exponent.abs())
}

/// Go's `%g`: what warnings show.
pub fn general(value: f64) -> String {
    text(|out| write_short(out, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_left() {
        let values =
            [0.0, 1.0, 10.0, 99.6, 100.0, 1234.0, 25.4, 0.123, 0.00123, 0.0000999, -7.25, f64::INFINITY];
        let expect =
            ["0", "1", "10", "1e+02", "1e+02", "1.2e+03", "25", "0.12", "0.0012", "0.0001", "-7.2", "+Inf"];
        for (value, expect) in values.into_iter().zip(expect) {
            assert_eq!(two_digits(value), expect, "{value}");
        }
    }
}
