//! One measured value at one millisecond, and the bit patterns of NaN that carry meaning.

/// Bits of the NaN that ends a series: "from here on there is no value".
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;
/// Bits of the NaN that is an ordinary value.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// A float sample. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub timestamp_ms: i64,
    pub value: f64,
}

/// The stale marker as a float. Only its bits identify it: NaN never equals itself.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_bits_are_stale() {
        assert!(is_stale(stale_nan()) && stale_nan().is_nan());
        assert!(!is_stale(f64::from_bits(NORMAL_NAN_BITS)) && !is_stale(f64::NAN) && !is_stale(0.0));
    }
}
