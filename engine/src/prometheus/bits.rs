//! A stream of bits, most significant first, as chunks are made of.

use crate::bytes;

/// Takes bits from the front of some bytes; `None` where they end early.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at_bits: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, at_bits: 0 }
    }

    pub fn left_bits(&self) -> usize {
        self.bytes.len() * 8 - self.at_bits
    }

    #[inline]
    pub fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.at_bits >> 3)?;
        let bit = byte >> (7 - (self.at_bits & 7)) & 1;
        self.at_bits += 1;
        Some(bit == 1)
    }

    /// The next `count` bits, at most 64, as the low bits of a number.
    #[inline]
    pub fn bits(&mut self, count: u32) -> Option<u64> {
        if count == 0 {
            return Some(0);
        }
        if count > 64 || self.left_bits() < count as usize {
            return None;
        }
        let (at, skip) = (self.at_bits >> 3, (self.at_bits & 7) as u32);
        self.at_bits += count as usize;
        let rest = &self.bytes[at..];
        let mut word = [0; 8];
        match rest.first_chunk::<8>() {
            Some(first) => word = *first,
            None => word[..rest.len()].copy_from_slice(rest),
        }
        let mut value = u64::from_be_bytes(word) << skip;
        if skip + count > 64 {
            // The bits reach into a ninth byte.
            value |= u64::from(rest.get(8).copied().unwrap_or(0)) >> (8 - skip);
        }
        Some(value >> (64 - count))
    }

    /// How many of the next bits, at most `most`, are set before one that is not; that one is taken too.
    #[inline]
    pub fn ones(&mut self, most: u32) -> Option<u32> {
        for count in 0..most {
            if !self.bit()? {
                return Some(count);
            }
        }
        Some(most)
    }

    pub fn varint(&mut self) -> Option<u64> {
        bytes::varint(|| self.bits(8).map(|byte| byte as u8))
    }

    pub fn zigzag(&mut self) -> Option<i64> {
        self.varint().map(bytes::unzigzag)
    }
}

/// Appends bits to bytes; the last byte is filled with zeros.
#[derive(Debug, Default)]
pub struct BitWriter {
    pub bytes: Vec<u8>,
    /// Bits of the last byte that are free.
    free: u32,
}

impl BitWriter {
    /// Goes on behind whole bytes.
    pub fn after(bytes: Vec<u8>) -> BitWriter {
        BitWriter { bytes, free: 0 }
    }

    pub fn bit(&mut self, bit: bool) {
        self.bits(u64::from(bit), 1);
    }

    /// The low `count` bits of `value`, at most 64.
    pub fn bits(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 64);
        let mut left = count;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = left.min(self.free);
            let part = (value >> (left - take)) & ((1 << take) - 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= (part as u8) << (self.free - take);
            }
            self.free -= take;
            left -= take;
        }
    }

    pub fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.bits(n & 0x7f | 0x80, 8);
            n >>= 7;
        }
        self.bits(n, 8);
    }

    pub fn zigzag(&mut self, n: i64) {
        self.varint(bytes::zigzag(n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_read_back(parts in prop::collection::vec((any::<u64>(), 0u32..=64), 0..50)) {
            let mask = |count: u32| if count == 64 { u64::MAX } else { (1 << count) - 1 };
            let mut writer = BitWriter::default();
            parts.iter().for_each(|(value, count)| writer.bits(*value, *count));
            let mut reader = BitReader::new(&writer.bytes);
            for (value, count) in parts {
                prop_assert_eq!(reader.bits(count), Some(value & mask(count)));
            }
            prop_assert!(reader.left_bits() < 8);
        }
    }
}
