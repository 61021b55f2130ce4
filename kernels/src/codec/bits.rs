//! A stream of bits, most significant first: written through a 64-bit accumulator, read through
//! unaligned 64-bit loads.

/// Where the whole words of a stream go.
pub trait WordSink {
    fn push_word(&mut self, word: u64);
}

impl WordSink for Vec<u8> {
    #[inline(always)]
    fn push_word(&mut self, word: u64) {
        self.extend_from_slice(&word.to_be_bytes());
    }
}

/// The open end of a bit stream: up to 63 bits that do not fill a word yet. What was filled went to
/// the sink, whole words only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BitTail {
    /// Left-aligned: the first pending bit is the most significant one.
    word: u64,
    used: u8,
}

impl BitTail {
    /// Appends the low `count` bits of `value`; `count` is 1..=64 and the bits above it are zero.
    #[inline(always)]
    pub fn push(&mut self, sink: &mut impl WordSink, value: u64, count: u32) {
        debug_assert!((1..=64).contains(&count) && (count == 64 || value >> count == 0));
        let free = 64 - u32::from(self.used);
        if count < free {
            self.word |= value << (free - count);
            self.used += count as u8;
            return;
        }
        let over = count - free;
        sink.push_word(self.word | value >> over);
        self.word = if over == 0 { 0 } else { value << (64 - over) };
        self.used = over as u8;
    }

    /// The pending bits, left-aligned, and how many of them there are.
    pub fn parts(&self) -> (u64, u8) {
        (self.word, self.used)
    }

    /// A tail out of its parts.
    #[inline(always)]
    pub fn new(word: u64, used: u8) -> Self {
        BitTail { word, used }
    }

    /// A tail with these pending bits; `None` where there are too many, or others behind them.
    pub fn from_parts(word: u64, used: u8) -> Option<Self> {
        let rest = word.checked_shl(u32::from(used))?;
        (rest == 0).then_some(BitTail { word, used })
    }

    /// The pending bits as bytes, rounded up.
    pub fn pending(&self) -> ([u8; 8], usize) {
        (self.word.to_be_bytes(), usize::from(self.used).div_ceil(8))
    }

    /// Appends the pending bits, the last byte filled with zeros. The stream is closed after this.
    pub fn finish(&self, bytes: &mut Vec<u8>) {
        let (tail, length) = self.pending();
        bytes.extend_from_slice(&tail[..length]);
    }
}

/// Bytes of slack that a reader needs behind the stream.
pub const READ_SLACK_BYTES: usize = 16;

/// Reads a bit stream whose slice has [`READ_SLACK_BYTES`] bytes of anything behind its end.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at_bits: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, at_bits: 0 }
    }

    /// At least 57 bits from here on, left-aligned; zeros past the slice.
    #[inline(always)]
    pub fn peek(&self) -> u64 {
        let at = self.at_bits >> 3;
        match self.bytes.get(at..at + 8) {
            Some(word) => {
                let word: [u8; 8] = word.try_into().unwrap_or_default();
                u64::from_be_bytes(word) << (self.at_bits & 7)
            }
            None => 0,
        }
    }

    #[inline(always)]
    pub fn skip(&mut self, count: u32) {
        self.at_bits += count as usize;
    }

    /// The next `count` bits, 1..=64.
    #[inline(always)]
    pub fn take(&mut self, count: u32) -> u64 {
        if count <= 57 {
            let value = self.peek() >> (64 - count);
            self.skip(count);
            return value;
        }
        let high = self.peek() >> 32;
        self.skip(32);
        let low = self.peek() >> (64 - (count - 32));
        self.skip(count - 32);
        high << (count - 32) | low
    }

    /// Whether more was read than the stream holds (its slack left out).
    pub fn overran(&self) -> bool {
        self.at_bits > self.bytes.len().saturating_sub(READ_SLACK_BYTES) * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_in_order_at_every_alignment() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state
        };
        let (mut bytes, mut tail, mut expect) = (Vec::new(), BitTail::default(), Vec::new());
        for _ in 0..5_000 {
            let count = (next() >> 33) as u32 % 64 + 1;
            let value = next() >> (64 - count);
            tail.push(&mut bytes, value, count);
            expect.push((value, count));
        }
        tail.finish(&mut bytes);
        bytes.extend_from_slice(&[0xff; READ_SLACK_BYTES]);
        let mut reader = BitReader::new(&bytes);
        for (value, count) in expect {
            assert_eq!(reader.take(count), value);
        }
        assert!(!reader.overran());
        reader.take(64);
        assert!(reader.overran());
    }
}
