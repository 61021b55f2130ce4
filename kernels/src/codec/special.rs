//! Specials: values of a chunk that its arithmetic cannot express, or only dearly, kept bit for bit beside
//! it.

use super::CodecError;
use super::cursor::{Cursor, push_varint, varint_bytes};
use super::layout::{CHUNK_SAMPLES_MAX, position};

/// Bits with a code of their own, by code: see `layout`.
const KNOWN: [u64; 7] = [
    0x7ff0_0000_0000_0002,
    0x7ff8_0000_0000_0001,
    0x7ff8_0000_0000_0000,
    0xfff8_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x8000_0000_0000_0000,
];

const ANY: u8 = 255;

fn code(bits: u64) -> u8 {
    KNOWN.iter().position(|k| *k == bits).map_or(ANY, |at| at as u8)
}

/// Positions, ascending, of a chunk's specials.
#[derive(Debug, Clone)]
pub(super) struct Specials {
    positions: Vec<u16>,
}

impl Specials {
    pub fn new() -> Self {
        Specials { positions: Vec::with_capacity(CHUNK_SAMPLES_MAX) }
    }

    pub fn clear(&mut self) {
        self.positions.clear();
    }

    pub fn push(&mut self, position: usize) {
        self.positions.push(position as u16);
    }

    pub fn positions(&self) -> &[u16] {
        &self.positions
    }

    fn gaps(&self) -> impl Iterator<Item = u64> {
        let mut next = 0;
        self.positions.iter().map(move |&position| {
            let gap = position - next;
            next = position + 1;
            u64::from(gap)
        })
    }

    /// Bytes that [`Specials::write`] appends.
    pub fn bytes(&self, values: &[u64]) -> usize {
        if self.positions.is_empty() {
            return 0;
        }
        let bits = |p: &u16| if code(values[usize::from(*p)]) == ANY { 9 } else { 1 };
        varint_bytes(self.positions.len() as u64)
            + self.gaps().map(varint_bytes).sum::<usize>()
            + self.positions.iter().map(bits).sum::<usize>()
    }

    /// `values` are the bits of all of the chunk's values.
    pub fn write(&self, values: &[u64], out: &mut Vec<u8>) {
        push_varint(self.positions.len() as u64, out);
        for gap in self.gaps() {
            push_varint(gap, out);
        }
        for &position in &self.positions {
            let bits = values[usize::from(position)];
            out.push(code(bits));
            if code(bits) == ANY {
                out.extend_from_slice(&bits.to_le_bytes());
            }
        }
    }
}

/// A chunk's specials as they stand in its bytes: checked, not copied.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    gaps: Cursor<'a>,
    bits: Cursor<'a>,
    count: usize,
}

impl<'a> Stored<'a> {
    pub fn read(cursor: &mut Cursor<'a>, samples: usize) -> Result<Self, CodecError> {
        let count = cursor.count(samples)?;
        let gaps = cursor.clone();
        let mut next = 0;
        for _ in 0..count {
            next = position(cursor, next, samples)? + 1;
        }
        let bits = cursor.clone();
        for _ in 0..count {
            read_bits(cursor)?;
        }
        Ok(Stored { gaps, bits, count })
    }

    /// Puts them where they belong.
    pub fn apply(mut self, words: &mut [u64]) -> Result<(), CodecError> {
        let mut next = 0;
        for _ in 0..self.count {
            let at = position(&mut self.gaps, next, words.len())?;
            words[at] = read_bits(&mut self.bits)?;
            next = at + 1;
        }
        Ok(())
    }
}

fn read_bits(cursor: &mut Cursor<'_>) -> Result<u64, CodecError> {
    match cursor.byte()? {
        ANY => cursor.word(),
        code => KNOWN.get(usize::from(code)).copied().ok_or(CodecError::BadNumber),
    }
}
