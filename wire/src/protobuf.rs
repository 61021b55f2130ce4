//! The protobuf wire format, read and written by hand: varints, fixed widths, lengths. Knows no message.
//! Groups are refused: no format of ours has any, and skipping them needs recursion.

use std::fmt;
use std::ops::Range;

/// Why bytes are not protobuf, or not the expected message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    Truncated,
    VarintOverflow,
    LengthPastEnd { length: u64 },
    FieldNumberZero,
    Group,
    UnknownWireType(u8),
    WrongWireType { found: u8, expected: u8 },
    PackedLength { length: usize },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Truncated => f.write_str("message ends within a field"),
            Malformed::VarintOverflow => f.write_str("varint is longer than 64 bits"),
            Malformed::LengthPastEnd { length } => {
                write!(f, "length {length} reaches past the end of the message")
            }
            Malformed::FieldNumberZero => f.write_str("field number is 0 or above the maximum"),
            Malformed::Group => f.write_str("groups are not supported"),
            Malformed::UnknownWireType(found) => write!(f, "unknown wire type {found}"),
            Malformed::WrongWireType { found, expected } => {
                write!(f, "wire type is {found}, expected {expected}")
            }
            Malformed::PackedLength { length } => {
                write!(f, "packed field of {length} bytes does not hold whole values")
            }
        }
    }
}

/// A fault and the offset, in the whole body, where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub offset: usize,
    pub what: Malformed,
}

pub(crate) type Read<T> = Result<T, Fault>;

pub(crate) const VARINT: u8 = 0;
pub(crate) const FIXED64: u8 = 1;
pub(crate) const LENGTH: u8 = 2;
const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;
pub(crate) const FIXED32: u8 = 5;

/// A field's number and wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    pub field: u32,
    pub wire: u8,
}

/// Reads one message; offsets count from the start of the whole body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// The body up to the end of this message.
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Reader { bytes: body, at: 0 }
    }

    #[inline(always)]
    pub fn offset(&self) -> usize {
        self.at
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub fn end(&self) -> usize {
        self.bytes.len()
    }

    /// The body up to the end of this message.
    pub fn whole(&self) -> &'a [u8] {
        self.bytes
    }

    /// What is left of the message.
    #[inline(always)]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Moves on over bytes that the caller has read from [`Reader::rest`].
    #[inline(always)]
    pub fn advance(&mut self, count: usize) {
        debug_assert!(self.at + count <= self.bytes.len());
        self.at += count;
    }

    #[cold]
    pub fn fault(&self, what: Malformed) -> Fault {
        Fault { offset: self.at, what }
    }

    #[inline(always)]
    pub fn varint(&mut self) -> Read<u64> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for (i, &byte) in self.bytes[self.at..].iter().enumerate().take(10) {
            if i == 9 && byte > 1 {
                return Err(self.fault(Malformed::VarintOverflow));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        Err(self.fault(Malformed::Truncated))
    }

    #[inline]
    pub fn tag(&mut self) -> Read<Tag> {
        let start = *self;
        let raw = self.varint()?;
        let (field, wire) = (raw >> 3, (raw & 7) as u8);
        if field == 0 || field > 0x1fff_ffff {
            return Err(start.fault(Malformed::FieldNumberZero));
        }
        Ok(Tag { field: field as u32, wire })
    }

    /// Fails where a known field has another wire type than it should.
    #[inline]
    pub fn expect(&self, tag: Tag, expected: u8) -> Read<()> {
        if tag.wire == expected {
            return Ok(());
        }
        Err(self.fault(match tag.wire {
            GROUP_START | GROUP_END => Malformed::Group,
            found => Malformed::WrongWireType { found, expected },
        }))
    }

    #[inline(always)]
    pub fn fixed64(&mut self) -> Read<u64> {
        match self.bytes[self.at..].first_chunk::<8>() {
            Some(chunk) => {
                self.at += 8;
                Ok(u64::from_le_bytes(*chunk))
            }
            None => Err(self.fault(Malformed::Truncated)),
        }
    }

    /// The range of a length-delimited field's content, which is stepped over.
    #[inline(always)]
    pub fn range(&mut self) -> Read<Range<usize>> {
        let start = *self;
        let length = self.varint()?;
        if length > (self.bytes.len() - self.at) as u64 {
            return Err(start.fault(Malformed::LengthPastEnd { length }));
        }
        let from = self.at;
        self.at += length as usize;
        Ok(from..self.at)
    }

    #[inline(always)]
    pub fn message(&mut self) -> Read<Reader<'a>> {
        let range = self.range()?;
        Ok(Reader { bytes: &self.bytes[..range.end], at: range.start })
    }

    /// Steps over a field that nobody here knows.
    pub fn skip(&mut self, tag: Tag) -> Read<()> {
        match tag.wire {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            LENGTH => self.range().map(drop),
            FIXED32 => {
                if self.bytes.len() - self.at < 4 {
                    return Err(self.fault(Malformed::Truncated));
                }
                self.at += 4;
                Ok(())
            }
            GROUP_START | GROUP_END => Err(self.fault(Malformed::Group)),
            other => Err(self.fault(Malformed::UnknownWireType(other))),
        }
    }
}

#[inline(always)]
pub(crate) fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

pub(crate) fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

pub(crate) fn varint_len(n: u64) -> usize {
    (u64::BITS - (n | 1).leading_zeros()).div_ceil(7) as usize
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Field numbers up to 15 only: one byte.
pub(crate) fn put_tag(out: &mut Vec<u8>, field: u8, wire: u8) {
    put_varint(out, u64::from(field) << 3 | u64::from(wire));
}

/// Writes a length-delimited field whose content `write` appends: the length is put in place afterwards.
pub(crate) fn put_message(out: &mut Vec<u8>, field: u8, write: impl FnOnce(&mut Vec<u8>)) {
    put_tag(out, field, LENGTH);
    let start = out.len();
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = length as u8;
        return;
    }
    // Longer lengths need room: move the content up by the bytes that are missing.
    let width = varint_len(length as u64);
    out.resize(out.len() + width - 1, 0);
    let end = out.len();
    out.copy_within(start + 1..end - (width - 1), start + width);
    let mut n = length;
    for (i, byte) in out[start..start + width].iter_mut().enumerate() {
        *byte = (n & 0x7f) as u8 | if i + 1 < width { 0x80 } else { 0 };
        n >>= 7;
    }
}

pub(crate) fn put_fixed64(out: &mut Vec<u8>, field: u8, bits: u64) {
    put_tag(out, field, FIXED64);
    out.extend_from_slice(&bits.to_le_bytes());
}

pub(crate) fn put_varint_field(out: &mut Vec<u8>, field: u8, n: u64) {
    put_tag(out, field, VARINT);
    put_varint(out, n);
}

pub(crate) fn put_text(out: &mut Vec<u8>, field: u8, text: &str) {
    put_tag(out, field, LENGTH);
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_read_back_and_overflow_is_seen() {
        for n in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, n);
            assert_eq!(bytes.len(), varint_len(n));
            assert_eq!(Reader::new(&bytes).varint(), Ok(n));
            assert_eq!(unzigzag(zigzag(n as i64)), n as i64);
        }
        let check = |bytes: &[u8], what| {
            assert_eq!(Reader::new(bytes).varint(), Err(Fault { offset: 0, what }), "{bytes:?}")
        };
        check(&[0x80], Malformed::Truncated);
        check(&[], Malformed::Truncated);
        check(&[0xff; 9], Malformed::Truncated);
        check(&[0xff; 11], Malformed::VarintOverflow);
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], Malformed::VarintOverflow);
    }

    #[test]
    fn long_messages_get_their_length_put_in_place() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
            let mut out = vec![7];
            put_message(&mut out, 3, |out| out.extend((0..length).map(|i| i as u8)));
            let mut reader = Reader::new(&out[1..]);
            assert_eq!(reader.tag(), Ok(Tag { field: 3, wire: LENGTH }));
            let message = reader.message().expect("fits");
            assert_eq!(message.rest().len(), length);
            assert!(message.rest().iter().enumerate().all(|(i, &b)| b == i as u8) && reader.is_empty());
        }
    }

    #[test]
    fn unknown_fields_are_skipped_but_never_groups() {
        let check = |bytes: &[u8], expect: Read<()>| {
            let mut reader = Reader::new(bytes);
            let skipped = reader.tag().and_then(|tag| reader.skip(tag));
            assert_eq!(skipped, expect, "{bytes:?}");
        };
        check(&[0x08, 0x05], Ok(()));
        check(&[0x0d, 1, 2, 3, 4], Ok(()));
        check(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8], Ok(()));
        check(&[0x0a, 2, 1, 2], Ok(()));
        check(&[0x0d, 1, 2, 3], Err(Fault { offset: 1, what: Malformed::Truncated }));
        check(&[0x0b], Err(Fault { offset: 1, what: Malformed::Group }));
        check(&[0x0f], Err(Fault { offset: 1, what: Malformed::UnknownWireType(7) }));
        check(&[0x02], Err(Fault { offset: 0, what: Malformed::FieldNumberZero }));
        check(&[0x0a, 3, 1], Err(Fault { offset: 1, what: Malformed::LengthPastEnd { length: 3 } }));
    }
}
