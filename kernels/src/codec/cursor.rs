//! Bytes read in order, never past their end; and LEB128 varints, written and read.

use super::CodecError;

/// A place in foreign bytes.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let taken = self.rest().get(..count).ok_or(CodecError::Truncated)?;
        self.at += count;
        Ok(taken)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub fn byte(&mut self) -> Result<u8, CodecError> {
        Ok(self.take(1)?[0])
    }

    pub fn word(&mut self) -> Result<u64, CodecError> {
        let bytes = self.take(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| CodecError::Truncated)?))
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                return Err(CodecError::BadNumber);
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CodecError::BadNumber)
    }

    pub fn zigzag(&mut self) -> Result<i64, CodecError> {
        Ok(unzigzag(self.varint()?) as i64)
    }

    /// A varint that counts something of which there may be `most`.
    pub fn count(&mut self, most: usize) -> Result<usize, CodecError> {
        let count = self.varint()?;
        if count > most as u64 { Err(CodecError::BadCount) } else { Ok(count as usize) }
    }
}

/// Small numbers of either sign become small numbers: 0, -1, 1, -2, …
#[inline(always)]
pub(super) fn zigzag(value: u64) -> u64 {
    (value << 1) ^ ((value as i64 >> 63) as u64)
}

#[inline(always)]
pub(super) fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

pub(super) fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn push_zigzag(value: i64, out: &mut Vec<u8>) {
    push_varint(zigzag(value as u64), out);
}

/// Bytes that [`push_varint`] writes.
pub(super) fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(super) fn zigzag_bytes(value: i64) -> usize {
    varint_bytes(zigzag(value as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            push_varint(value, &mut bytes);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
            prop_assert_eq!(Cursor::new(&bytes).varint(), Ok(value));
            prop_assert_eq!(unzigzag(zigzag(value)), value);
            bytes.pop();
            prop_assert_eq!(Cursor::new(&bytes).varint(), Err(CodecError::Truncated));
        }
    }

    #[test]
    fn numbers_above_64_bits_are_refused() {
        let mut bytes = vec![0xff; 9];
        bytes.push(2);
        assert_eq!(Cursor::new(&bytes).varint(), Err(CodecError::BadNumber));
    }
}
