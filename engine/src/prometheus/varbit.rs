//! Numbers of a varying number of bits: whole numbers under a prefix that says how wide they are, and floats
//! against the one before.

use super::bits::{BitReader, BitWriter};

/// Widths that follow 1 to 7 ones and a zero; after eight ones come 64 bits.
const WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];

/// Whether the number lies within what `width` bits hold: as many above zero as below, and one more.
pub fn fits(n: i64, width: u32) -> bool {
    let half = 1i64 << (width - 1);
    -half < n && n <= half
}

/// The number that `width` bits stand for.
pub fn signed(bits: u64, width: u32) -> i64 {
    if width < 64 && bits > 1 << (width - 1) { bits.wrapping_sub(1 << width) as i64 } else { bits as i64 }
}

/// The width that the prefix announces; 0 for the number 0.
#[inline]
fn width(reader: &mut BitReader<'_>) -> Option<u32> {
    Some(match reader.ones(8)? {
        0 => 0,
        ones => WIDTHS[ones as usize - 1],
    })
}

#[inline]
pub fn read_int(reader: &mut BitReader<'_>) -> Option<i64> {
    let width = width(reader)?;
    if width == 0 { Some(0) } else { Some(signed(reader.bits(width)?, width)) }
}

#[inline]
pub fn read_uint(reader: &mut BitReader<'_>) -> Option<u64> {
    let width = width(reader)?;
    reader.bits(width)
}

fn push_prefixed(writer: &mut BitWriter, at: usize, bits: u64) {
    // One more one than `at`, then a zero, unless these are all the ones there are.
    if at == 7 {
        writer.bits(0xff, 8)
    } else {
        writer.bits((2 << (at + 1)) - 2, at as u32 + 2)
    }
    writer.bits(bits, WIDTHS[at]);
}

pub fn push_int(writer: &mut BitWriter, n: i64) {
    if n == 0 {
        return writer.bit(false);
    }
    let at = WIDTHS[..7].iter().position(|width| fits(n, *width)).unwrap_or(7);
    push_prefixed(writer, at, n as u64);
}

pub fn push_uint(writer: &mut BitWriter, n: u64) {
    if n == 0 {
        return writer.bit(false);
    }
    let at = WIDTHS[..7].iter().position(|width| n >> width == 0).unwrap_or(7);
    push_prefixed(writer, at, n);
}

/// A float that is written against the one before it.
#[derive(Debug, Clone, Copy)]
pub struct XorValue {
    pub value: f64,
    /// Zeros around the bits that differed last.
    leading: u32,
    trailing: u32,
    /// Whether there was a difference before whose place can be used again; only a writer asks.
    placed: bool,
}

impl XorValue {
    pub fn new(value: f64) -> XorValue {
        XorValue { value, leading: 0, trailing: 0, placed: false }
    }

    /// Takes the next value; `None` where the bits end or do not fit.
    #[inline]
    pub fn read(&mut self, reader: &mut BitReader<'_>) -> Option<f64> {
        if !reader.bit()? {
            return Some(self.value);
        }
        if reader.bit()? {
            self.leading = reader.bits(5)? as u32;
            let width = match reader.bits(6)? as u32 {
                0 => 64,
                width => width,
            };
            self.trailing = 64u32.checked_sub(self.leading)?.checked_sub(width)?;
        }
        let width = 64 - self.leading - self.trailing;
        let bits = reader.bits(width)?;
        self.value = f64::from_bits(self.value.to_bits() ^ bits << self.trailing);
        Some(self.value)
    }

    pub fn push(&mut self, writer: &mut BitWriter, value: f64) {
        let change = self.value.to_bits() ^ value.to_bits();
        self.value = value;
        if change == 0 {
            return writer.bit(false);
        }
        writer.bit(true);
        // Five bits have room for no more.
        let (leading, trailing) = (change.leading_zeros().min(31), change.trailing_zeros());
        if self.placed && leading >= self.leading && trailing >= self.trailing {
            writer.bit(false);
            writer.bits(change >> self.trailing, 64 - self.leading - self.trailing);
            return;
        }
        (self.leading, self.trailing, self.placed) = (leading, trailing, true);
        writer.bit(true);
        writer.bits(u64::from(leading), 5);
        let width = 64 - leading - trailing;
        // 64 does not fit into six bits, and no width is 0.
        writer.bits(u64::from(width % 64), 6);
        writer.bits(change >> trailing, width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            any::<i64>(),
            -20i64..20,
            (0u32..63, any::<bool>(), -2i64..3).prop_map(|(shift, negative, by)| {
                let n = (1i64 << shift).wrapping_add(by);
                if negative { n.wrapping_neg() } else { n }
            })
        ]
    }

    proptest! {
        #[test]
        fn whole_numbers_read_back(numbers in prop::collection::vec(number(), 0..50)) {
            let mut writer = BitWriter::default();
            for n in &numbers {
                push_int(&mut writer, *n);
                push_uint(&mut writer, *n as u64);
            }
            let mut reader = BitReader::new(&writer.bytes);
            for n in numbers {
                prop_assert_eq!(read_int(&mut reader), Some(n));
                prop_assert_eq!(read_uint(&mut reader), Some(n as u64));
            }
        }

        #[test]
        fn floats_read_back(bits in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..4, (0u64..1000).prop_map(|n| (n as f64).to_bits())], 0..50)) {
            let (mut writer, mut pushed) = (BitWriter::default(), XorValue::new(1.5));
            bits.iter().for_each(|bits| pushed.push(&mut writer, f64::from_bits(*bits)));
            let (mut reader, mut read) = (BitReader::new(&writer.bytes), XorValue::new(1.5));
            for bits in bits {
                prop_assert_eq!(read.read(&mut reader).map(f64::to_bits), Some(bits));
            }
        }
    }

    #[test]
    fn widths_begin_where_they_should() {
        let bits = |n: i64| {
            let mut writer = BitWriter::default();
            push_int(&mut writer, n);
            writer.bytes.iter().map(|byte| format!("{byte:08b}")).collect::<String>()
        };
        assert_eq!(bits(0), "00000000");
        assert_eq!(bits(4), "10100000");
        assert_eq!(bits(-3), "10101000");
        assert_eq!(&bits(5)[..9], "110000101");
        assert_eq!(&bits(-4)[..9], "110111100");
    }
}
