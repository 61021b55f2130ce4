//! Floats as integers: decimal ones times a power of ten, and any by its place in the order of floats.

use super::layout::EXPONENT_MAX;

/// Powers of ten, all exact.
pub(super) const POWERS: [f64; EXPONENT_MAX as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Adding it to a float below 2^51 leaves the nearest integer in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Integers of decimal floats are smaller than this.
const LIMIT: f64 = (1u64 << 51) as f64;

/// What a decimal word stands for.
#[inline(always)]
pub(super) fn from_integer(word: u64, power: f64) -> u64 {
    (word as i64 as f64 / power).to_bits()
}

/// The integer of a float, and whether it stands for exactly that float, bit for bit.
#[inline(always)]
pub(super) fn to_integer(bits: u64, power: f64) -> (u64, bool) {
    let scaled = f64::from_bits(bits) * power;
    let rounded = scaled + ROUNDER;
    let back = (rounded - ROUNDER) / power;
    let word = rounded.to_bits().wrapping_sub(ROUNDER.to_bits());
    // -0.0 comes back as 0.0, NaN as another NaN or none, infinities are beyond the limit.
    (word, (scaled.abs() < LIMIT) & (back.to_bits() == bits))
}

/// The place of a float among all floats, by sign and size; its own inverse.
#[inline(always)]
pub(super) fn ordered(bits: u64) -> u64 {
    bits ^ (((bits as i64 >> 63) as u64) >> 1)
}

/// NaN, infinities and -0.0: in no order with their neighbours.
#[inline(always)]
pub(super) fn is_special(bits: u64) -> bool {
    (bits & 0x7ff0_0000_0000_0000 == 0x7ff0_0000_0000_0000) | (bits == 1 << 63)
}

/// The smallest exponent, from `least` on, that makes an integer of the float.
fn exponent_of(bits: u64, least: u8) -> Option<u8> {
    (least..=EXPONENT_MAX).find(|&e| to_integer(bits, POWERS[usize::from(e)]).1)
}

/// Values that are looked at to guess the exponent.
const SAMPLED: usize = 16;

/// The exponent, from `least` on, that fits nearly all values looked at; none where a quarter of them
/// fits none.
pub(super) fn guess_exponent(values: impl ExactSizeIterator<Item = u64>, least: u8) -> Option<u8> {
    // Odd, so that values of a period of two are not all of one kind.
    let step = (values.len() / SAMPLED) | 1;
    let (mut exponent, mut looked, mut misses) = (least, 0, 0);
    for bits in values.step_by(step).filter(|b| !is_special(*b)) {
        looked += 1;
        match exponent_of(bits, exponent) {
            Some(found) => exponent = found,
            None => misses += 1,
        }
    }
    (misses * 4 <= looked).then_some(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], expect: Option<u8>) {
        assert_eq!(guess_exponent(values.iter().map(|v| v.to_bits()), 0), expect);
    }

    #[test]
    fn exponents_are_found() {
        check(&[1.0, 2.0, 0.0], Some(0));
        check(&[0.25, 1.5, -3.125], Some(3));
        check(&[1e-9, 12.000_000_001], Some(9));
        check(&[std::f64::consts::PI, 1.0 / 3.0], None);
        check(&[], Some(0));
    }

    #[test]
    fn order_is_that_of_floats() {
        let ascending = [f64::NEG_INFINITY, -2.0, -1e-310, -0.0, 0.0, 1e-310, 2.0, f64::INFINITY];
        let words: Vec<i64> = ascending.iter().map(|v| ordered(v.to_bits()) as i64).collect();
        assert!(words.is_sorted());
        assert!(ascending.iter().all(|v| ordered(ordered(v.to_bits())) == v.to_bits()));
    }

    #[test]
    fn what_is_no_decimal_is_told() {
        for value in [-0.0, f64::NAN, f64::INFINITY, 5e-324, 4_503_599_627_370_496.0, 1e300] {
            assert!(!to_integer(value.to_bits(), 1.0).1, "{value}");
        }
        assert_eq!(to_integer((-12.34f64).to_bits(), 100.0), ((-1234i64) as u64, true));
    }
}
