//! Numbers in bytes: variable-length integers, and a reader that never goes beyond its end.

/// Appends LEB128.
pub fn push_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads LEB128 of at most ten bytes: what has more bits than 64 is no number, nor is what ends early.
#[inline]
pub fn varint(mut next: impl FnMut() -> Option<u8>) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        // Of the tenth byte one bit is left.
        if shift == 63 && byte > 1 {
            return None;
        }
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

/// Small numbers of either sign become small numbers without one.
pub fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63) as u64
}

pub fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

pub fn push_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Takes numbers from the front of some bytes; `None` where they end early.
#[derive(Debug, Clone, PartialEq)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(head)
    }

    pub fn u8(&mut self) -> Option<u8> {
        Some(self.bytes(1)?[0])
    }

    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        varint(|| self.u8())
    }

    pub fn varint_u32(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    pub fn f64(&mut self) -> Option<f64> {
        Some(f64::from_bits(self.u64()?))
    }

    pub fn u32_be(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub fn u64_be(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.bytes(8)?.try_into().ok()?))
    }

    pub fn f64_be(&mut self) -> Option<f64> {
        Some(f64::from_bits(self.u64_be()?))
    }

    pub fn zigzag(&mut self) -> Option<i64> {
        self.varint().map(unzigzag)
    }

    /// A text behind its length.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    /// How many parts follow, each of at least `least` bytes: more than there are bytes for is refused before
    /// anything is allocated.
    pub fn count(&mut self, least: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.rest.len() / least).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::bits::{BitReader, BitWriter};
    use proptest::prelude::*;

    /// What both readers say of these bytes.
    #[track_caller]
    fn check(bytes: &[u8], expect: Option<u64>) {
        assert_eq!(Reader::new(bytes).varint(), expect, "{bytes:x?}");
        assert_eq!(BitReader::new(bytes).varint(), expect, "{bytes:x?}");
        // One bit later, where no byte stands by itself.
        let mut shifted = BitWriter::default();
        shifted.bit(true);
        bytes.iter().for_each(|byte| shifted.bits(u64::from(*byte), 8));
        let mut reader = BitReader::new(&shifted.bytes);
        assert_eq!(reader.bit(), Some(true));
        assert_eq!(reader.varint(), expect, "{bytes:x?}");
    }

    #[test]
    fn a_tenth_byte_holds_one_bit() {
        let tenth = |byte: u8| [&[0xff; 9][..], &[byte]].concat();
        check(&tenth(0), Some(u64::MAX >> 1));
        check(&tenth(1), Some(u64::MAX));
        for byte in 2..=u8::MAX {
            check(&tenth(byte), None);
        }
        check(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], Some(1 << 63));
        check(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02], None);
        check(&[0x80; 11], None);
        check(&[0xff; 9], None);
        check(&[], None);
        // Longer than it need be, as Go takes it.
        check(&[0x81, 0x80, 0x00], Some(1));
    }

    #[test]
    fn more_parts_than_there_are_bytes_for_are_refused() {
        let mut bytes = Vec::new();
        push_varint(&mut bytes, 3);
        bytes.extend_from_slice(&[0; 6]);
        assert_eq!(Reader::new(&bytes).count(2), Some(3));
        assert_eq!(Reader::new(&bytes).count(3), None);
    }

    proptest! {
        #[test]
        fn numbers_read_back(numbers in prop::collection::vec(any::<i64>(), 0..20)) {
            let mut out = Vec::new();
            numbers.iter().for_each(|n| push_varint(&mut out, zigzag(*n)));
            let mut reader = Reader::new(&out);
            for n in numbers {
                prop_assert_eq!(reader.zigzag(), Some(n));
            }
            prop_assert!(reader.is_empty() && reader.varint().is_none());
        }
    }
}
