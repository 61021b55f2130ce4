//! Floats as text, read and written exactly as Prometheus (that is, Go) does. Values are printed with the
//! shortest digits that read back as the same bits; std's printing differs from Go's on ties, so nothing
//! that a user sees may use it.

/// Why text is not a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    Syntax,
    /// A finite number too large for a float.
    Range,
}

impl std::fmt::Display for NumberError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NumberError::Syntax => "invalid float",
            NumberError::Range => "float out of range",
        })
    }
}

impl std::error::Error for NumberError {}

/// Powers of ten that are exact as floats.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Reads a float as the exposition formats write it: decimal, or `Inf`, `Infinity` and `NaN` in any case,
/// the first two with a sign where wanted. Neither hexadecimal floats nor underscores. NaN comes out as
/// the ordinary one.
#[inline]
pub fn parse_float(text: &[u8]) -> Result<f64, NumberError> {
    match short_decimal(text) {
        Some(value) => Ok(value),
        None => any_float(text),
    }
}

/// `123`, `-1.5`: up to 18 digits whose number is exact as a float, so one division rounds correctly.
#[inline]
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let (mut number, mut point) = (0u64, None);
    for (i, &byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if byte == b'.' && point.is_none() {
            point = Some(i);
        } else {
            return None;
        }
    }
    let decimals = point.map_or(0, |at| digits.len() - 1 - at);
    // 19 digits without a point could wrap; with one there are at most 18. "." alone has no digit.
    if (point.is_none() && digits.len() > 18) || (point.is_some() && digits.len() == 1) || number > 1 << 53 {
        return None;
    }
    let value = number as f64 / EXACT_POWERS[decimals];
    Some(if negative { -value } else { value })
}

#[cold]
fn any_float(text: &[u8]) -> Result<f64, NumberError> {
    let text = std::str::from_utf8(text).map_err(|_| NumberError::Syntax)?;
    let value: f64 = text.parse().map_err(|_| NumberError::Syntax)?;
    if value.is_nan() {
        // std takes a sign before NaN, Go does not.
        let plain = !text.starts_with(['+', '-']);
        return if plain {
            Ok(f64::from_bits(crate::sample::NORMAL_NAN_BITS))
        } else {
            Err(NumberError::Syntax)
        };
    }
    let spelled = text.trim_start_matches(['+', '-']).starts_with(['i', 'I']);
    if value.is_infinite() && !spelled {
        return Err(NumberError::Range);
    }
    Ok(value)
}

/// `NaN`, `+Inf`, `-Inf`; false where the value is finite.
#[inline]
fn write_special(out: &mut Vec<u8>, value: f64) -> bool {
    if value.is_finite() {
        return false;
    }
    let text: &[u8] = match (value.is_nan(), value > 0.0) {
        (true, _) => b"NaN",
        (false, true) => b"+Inf",
        (false, false) => b"-Inf",
    };
    out.extend_from_slice(text);
    true
}

/// Whole numbers up to 2^53, which are printed the integer's way.
#[inline]
fn whole(value: f64) -> Option<i64> {
    let whole = value as i64;
    let negative_zero = whole == 0 && value.is_sign_negative();
    (whole.unsigned_abs() <= 1 << 53 && whole as f64 == value && !negative_zero).then_some(whole)
}

fn write_whole(out: &mut Vec<u8>, value: f64) -> bool {
    let Some(whole) = whole(value) else { return false };
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    true
}

/// Shortest decimal digits of a finite float: `0.d1d2d3… * 10^point`, sign apart.
struct Digits {
    bytes: [u8; 24],
    count: usize,
    point: i32,
    negative: bool,
}

impl Digits {
    fn of(value: f64) -> Digits {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value).as_bytes();
        let (negative, text) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let mut digits = Digits { bytes: [0; 24], count: 0, point: 0, negative };
        let (mut seen_point, mut exponent, mut in_exponent, mut exponent_negative) =
            (false, 0i32, false, false);
        for &byte in text {
            match byte {
                b'.' => seen_point = true,
                b'e' => in_exponent = true,
                b'-' => exponent_negative = true,
                b'+' => {}
                digit if in_exponent => exponent = exponent * 10 + i32::from(digit - b'0'),
                digit => {
                    // Leading zeros only move the point.
                    if digits.count == 0 && digit == b'0' {
                        digits.point -= i32::from(seen_point);
                        continue;
                    }
                    digits.bytes[digits.count] = digit;
                    digits.count += 1;
                    digits.point += i32::from(!seen_point);
                }
            }
        }
        while digits.count > 0 && digits.bytes[digits.count - 1] == b'0' {
            digits.count -= 1;
        }
        digits.point += if exponent_negative { -exponent } else { exponent };
        if digits.count == 0 {
            (digits.bytes[0], digits.count, digits.point) = (b'0', 1, 1);
        }
        digits
    }

    fn slice(&self) -> &[u8] {
        &self.bytes[..self.count]
    }

    fn write_sign(&self, out: &mut Vec<u8>) {
        if self.negative {
            out.push(b'-');
        }
    }

    fn write_fixed(&self, out: &mut Vec<u8>) {
        self.write_sign(out);
        let digits = self.slice();
        if self.point <= 0 {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + self.point.unsigned_abs() as usize, b'0');
            out.extend_from_slice(digits);
            return;
        }
        let whole = self.point as usize;
        if whole >= digits.len() {
            out.extend_from_slice(digits);
            out.resize(out.len() + whole - digits.len(), b'0');
            return;
        }
        out.extend_from_slice(&digits[..whole]);
        out.push(b'.');
        out.extend_from_slice(&digits[whole..]);
    }

    /// `d.ddde+XX`, two digits of exponent at least.
    fn write_exponent(&self, out: &mut Vec<u8>) {
        self.write_sign(out);
        let digits = self.slice();
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let exponent = self.point - 1;
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        if exponent.unsigned_abs() < 10 {
            out.push(b'0');
        }
        out.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
    }
}

/// Never with an exponent: Go's format 'f' with the fewest digits. Label values made by PromQL, and sample
/// values in printed vectors, look like this.
pub fn write_fixed(out: &mut Vec<u8>, value: f64) {
    if write_special(out, value) || write_whole(out, value) {
        return;
    }
    Digits::of(value).write_fixed(out);
}

/// The longest text of a value in result JSON.
pub const RESULT_BYTES: usize = 32;

/// As values in result JSON: without an exponent where 1e-6 <= |value| < 1e21, and for zero.
pub fn write_result(out: &mut Vec<u8>, value: f64) {
    let mut text = [0; RESULT_BYTES];
    let length = put_result(&mut text, value);
    out.extend_from_slice(&text[..length]);
}

/// The same into a buffer; returns how many bytes it took.
#[inline]
pub fn put_result(out: &mut [u8; RESULT_BYTES], value: f64) -> usize {
    if let Some(whole) = whole(value) {
        return put_whole(out, whole);
    }
    if (1e-3..1e15).contains(&value.abs()) {
        // In this range the library prints the fixed form itself.
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value).as_bytes();
        return put_text(out, text.strip_suffix(b".0").unwrap_or(text));
    }
    put_text(out, &rare_result(value))
}

/// A short text by two copies of a fixed size that overlap: a call for a handful of bytes costs more than they do.
#[inline]
fn put_text(out: &mut [u8; RESULT_BYTES], text: &[u8]) -> usize {
    let length = text.len();
    if let (Some(first), Some(last)) = (text.first_chunk::<16>(), text.last_chunk::<16>()) {
        out[..16].copy_from_slice(first);
        out[length - 16..length].copy_from_slice(last);
    } else if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        out[..8].copy_from_slice(first);
        out[length - 8..length].copy_from_slice(last);
    } else {
        for (out, &byte) in out.iter_mut().zip(text) {
            *out = byte;
        }
    }
    length
}

/// A whole number of sixteen digits at most, as [`put_result`].
#[inline]
pub fn put_whole(out: &mut [u8; RESULT_BYTES], value: i64) -> usize {
    // Always written, and written over where there is no sign.
    out[0] = b'-';
    let start = usize::from(value < 0);
    let value = value.unsigned_abs();
    let low = eight_digits(value % EIGHT_DIGITS);
    let high = value / EIGHT_DIGITS;
    if high == 0 {
        return start + put_digits(out, start, low);
    }
    let end = start + put_digits(out, start, eight_digits(high));
    out[end..end + 8].copy_from_slice(&(low | ZEROS).to_le_bytes());
    end + 8
}

const EIGHT_DIGITS: u64 = 100_000_000;
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Eight digits in the order of memory, from 0 to 9 each, by halves, quarters and eighths at once: a product and a
/// shift divide by 100 below 10,000 and by 10 below 100.
#[inline]
fn eight_digits(value: u64) -> u64 {
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - tens * 10) << 8)
}

/// Without zeros in front; returns how many digits are left. Eight bytes are written.
#[inline]
fn put_digits(out: &mut [u8; RESULT_BYTES], start: usize, digits: u64) -> usize {
    // The last digit stays, if it is a zero.
    let zeros = (digits.trailing_zeros() / 8).min(7);
    out[start..start + 8].copy_from_slice(&((digits | ZEROS) >> (zeros * 8)).to_le_bytes());
    8 - zeros as usize
}

/// What is neither whole nor of usual size.
#[cold]
fn rare_result(value: f64) -> Vec<u8> {
    let mut out = Vec::with_capacity(RESULT_BYTES);
    if write_special(&mut out, value) {
        return out;
    }
    let digits = Digits::of(value);
    if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        digits.write_fixed(&mut out);
    } else {
        digits.write_exponent(&mut out);
    }
    out
}

/// Go's format 'g' with the fewest digits, as exposition text prints values: with an exponent below 1e-4
/// and from 1e6 on.
pub fn write_short(out: &mut Vec<u8>, value: f64) {
    if write_special(out, value) {
        return;
    }
    let digits = Digits::of(value);
    if value != 0.0 && !(-3..=6).contains(&digits.point) {
        digits.write_exponent(out);
    } else {
        digits.write_fixed(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn print(write: fn(&mut Vec<u8>, f64), value: f64) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn whole_numbers_print_as_the_library_prints_them() {
        let mut check = |value: i64| {
            assert_eq!(print(write_result, value as f64), itoa::Buffer::new().format(value), "{value}");
        };
        for digits in 0..=15 {
            let power = 10_i64.pow(digits);
            for near in [-11, -10, -9, -2, -1, 0, 1, 2, 9, 10, 11] {
                for factor in 1..=9 {
                    let value = factor * power + near;
                    if value.unsigned_abs() <= 1 << 53 {
                        check(value);
                        check(-value);
                    }
                }
            }
        }
        (0..20_000).for_each(&mut check);
        // Steps that are prime to ten, so that all digits come to all places.
        (0..200_000).for_each(|i| check((i * 45_035_996_273_i64) % (1 << 53)));
        check(1 << 53);
        check(-(1 << 53));
    }

    #[test]
    fn values_print_as_go_prints_them() {
        let check = |value: f64, fixed: &str, result: &str, short: &str| {
            assert_eq!(print(write_fixed, value), fixed);
            assert_eq!(print(write_result, value), result);
            assert_eq!(print(write_short, value), short);
        };
        check(0.0, "0", "0", "0");
        check(-0.0, "-0", "-0", "-0");
        check(1.0, "1", "1", "1");
        check(-1.5, "-1.5", "-1.5", "-1.5");
        check(0.1, "0.1", "0.1", "0.1");
        check(0.001, "0.001", "0.001", "0.001");
        check(0.00012, "0.00012", "0.00012", "0.00012");
        check(0.000012, "0.000012", "0.000012", "1.2e-05");
        check(1e-6, "0.000001", "0.000001", "1e-06");
        check(1e-7, "0.0000001", "1e-07", "1e-07");
        check(1.5e-10, "0.00000000015", "1.5e-10", "1.5e-10");
        check(1e6, "1000000", "1000000", "1e+06");
        check(123456.0, "123456", "123456", "123456");
        check(1234567.0, "1234567", "1234567", "1.234567e+06");
        check(1e15, "1000000000000000", "1000000000000000", "1e+15");
        check(1e20, "100000000000000000000", "100000000000000000000", "1e+20");
        check(1e21, "1000000000000000000000", "1e+21", "1e+21");
        check(1.5e300, &format!("15{}", "0".repeat(299)), "1.5e+300", "1.5e+300");
        check(5e-324, &format!("0.{}5", "0".repeat(323)), "5e-324", "5e-324");
        check(9007199254740993.0, "9007199254740992", "9007199254740992", "9.007199254740992e+15");
        check(123456789.125, "123456789.125", "123456789.125", "1.23456789125e+08");
        // A tie that std rounds the other way.
        check(665507614602871.0 + 0.25, "665507614602871.2", "665507614602871.2", "6.655076146028712e+14");
        check(f64::NAN, "NaN", "NaN", "NaN");
        check(f64::INFINITY, "+Inf", "+Inf", "+Inf");
        check(f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf");
    }

    #[test]
    fn floats_read_as_go_reads_them() {
        let check = |text: &str, expect: Result<f64, NumberError>| {
            let found = parse_float(text.as_bytes());
            assert_eq!(found.map(f64::to_bits), expect.map(f64::to_bits), "{text}");
        };
        let nan = f64::from_bits(crate::sample::NORMAL_NAN_BITS);
        for (text, value) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("+1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5", -0.5),
            ("0001.500", 1.5),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("1e-400", 0.0),
            ("123456789012345678", 123456789012345678.0),
            ("9007199254740993", 9007199254740992.0),
            ("0.1", 0.1),
            ("1.7976931348623157e308", f64::MAX),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("nan", nan),
            ("NaN", nan),
        ] {
            check(text, Ok(value));
        }
        for text in [
            "", ".", "-", "+", "e5", "1e", "1e+", "0x10", "0x1p-2", "1_000", "+nan", "-NaN", "infin", "1,5",
            " 1", "1 ", "1.2.3", "--1", "1\r", "١",
        ] {
            check(text, Err(NumberError::Syntax));
        }
        check("1e309", Err(NumberError::Range));
        check("-1e309", Err(NumberError::Range));
    }

    #[test]
    fn what_is_printed_reads_back() {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let value = f64::from_bits(random);
            let decimals = (random % 1_000_000) as f64 / 1000.0;
            for value in [value, decimals, (random >> 20) as f64] {
                for write in [write_fixed, write_result, write_short] {
                    let text = print(write, value);
                    let back = parse_float(text.as_bytes()).expect("a float");
                    assert!(back.to_bits() == value.to_bits() || value.is_nan(), "{value:e} as {text}");
                }
            }
        }
    }
}
