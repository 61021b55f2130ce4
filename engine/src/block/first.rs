//! What format version 1 wrote in another way. It is only read: what is written anew is of the version of today.

use super::rows::ChunkRef;
use super::writer::Kind;
use crate::bytes::{Reader, unzigzag};
use crate::chunk::MAX_CHUNK_SAMPLES;
use crate::index::symbols::Symbol;
use roaring::RoaringBitmap;

/// Of a chunk whose times are elsewhere: their row follows.
const FLOAT_AT: u8 = 2;

/// A chunk list: `chunks varint, start of the first varint`, then each chunk. What comes behind it may be anything.
pub fn chunks(bytes: &[u8], out: &mut Vec<ChunkRef>) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let (count, mut start) = (reader.varint()?, reader.varint()?);
    let mut before = 0i64;
    for _ in 0..count {
        let kind = match reader.u8()? {
            FLOAT_AT => Kind::FloatAt(reader.varint_u32()?),
            0 => Kind::Float,
            1 => Kind::Histogram,
            3 => Kind::HistogramRuns,
            _ => return None,
        };
        let min_ms = before.wrapping_add(unzigzag(reader.varint()?));
        let max_ms = min_ms.wrapping_add(reader.varint()? as i64);
        let samples = usize::try_from(reader.varint()?).ok().filter(|n| *n <= MAX_CHUNK_SAMPLES)?;
        let end = start.checked_add(reader.varint()?)?;
        out.push(ChunkRef { kind, min_ms, max_ms, samples, start, end });
        (start, before) = (end, max_ms);
    }
    Some(())
}

/// A label set with more pairs is damage.
const MAX_PAIRS: u64 = 1 << 20;

/// Turns the pairs of the label set before into those of the set that comes next: `number of pairs varint | bit mask,
/// bit i set: pair i is that of the set before | for each other pair: 0 where the name is that of the set before, else
/// the name's symbol + 1, varint; the value's symbol, varint`.
pub fn labels(reader: &mut Reader<'_>, pairs: &mut Vec<Symbol>) -> Option<()> {
    let count = reader.varint().filter(|n| *n <= MAX_PAIRS)? as usize;
    let mask = reader.bytes(count.div_ceil(8))?;
    for at in 0..count {
        let known = pairs.len() >= 2 * at + 2;
        if mask[at / 8] >> (at % 8) & 1 == 1 {
            if !known {
                return None;
            }
            continue;
        }
        let name = match reader.varint()? {
            0 if known => pairs[2 * at],
            0 => return None,
            n => u32::try_from(n - 1).ok()?,
        };
        let value = reader.varint_u32()?;
        if known {
            pairs[2 * at] = name;
            pairs[2 * at + 1] = value;
        } else {
            pairs.extend([name, value]);
        }
    }
    pairs.truncate(2 * count);
    Some(())
}

/// Most ids of a list.
const LIST_IDS: u64 = 32;

/// The ids of a label pair: `count varint, 1 to 31 | differences varint each`, or `0 | length u32 | bitmap`.
pub fn postings(bytes: &[u8]) -> Option<RoaringBitmap> {
    let mut reader = Reader::new(bytes);
    let ids = reader.varint()?;
    if ids == 0 {
        let length = reader.u32()? as usize;
        return RoaringBitmap::deserialize_from(reader.bytes(length)?).ok();
    }
    let (mut out, mut id) = (RoaringBitmap::new(), 0u32);
    for _ in 0..ids.min(LIST_IDS) {
        id = id.checked_add(reader.varint_u32()?)?;
        out.insert(id);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two chunks, the second at shared times; two label sets, the second of another value; both kinds of ids.
    #[test]
    fn what_it_wrote_is_read() {
        let mut found = Vec::new();
        let list = [2, 7, 0, 0xd0, 0x0f, 0xe8, 0x07, 3, 20, 2, 5, 0xd0, 0x0f, 0xe8, 0x07, 3, 30];
        assert_eq!(chunks(&list, &mut found), Some(()));
        let first = ChunkRef { kind: Kind::Float, min_ms: 1000, max_ms: 2000, samples: 3, start: 7, end: 27 };
        let second =
            ChunkRef { kind: Kind::FloatAt(5), min_ms: 3000, max_ms: 4000, start: 27, end: 57, ..first };
        assert_eq!(found, [first, second]);

        let (mut reader, mut pairs) = (Reader::new(&[2, 0, 2, 3, 5, 6, 2, 1, 0, 9]), Vec::new());
        assert_eq!((labels(&mut reader, &mut pairs), &pairs[..]), (Some(()), &[1, 3, 4, 6][..]));
        assert_eq!((labels(&mut reader, &mut pairs), &pairs[..]), (Some(()), &[1, 3, 4, 9][..]));

        assert_eq!(postings(&[2, 4, 3]), Some([4, 7].into_iter().collect()));
        let bitmap: RoaringBitmap = (0..100).collect();
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(bitmap.serialized_size() as u32).to_le_bytes());
        bitmap.serialize_into(&mut bytes).expect("memory takes it");
        assert_eq!(postings(&bytes), Some(bitmap));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80), as_bitmap in any::<bool>()) {
            let _ = chunks(&bytes, &mut Vec::new());
            let (mut reader, mut pairs) = (Reader::new(&bytes), Vec::new());
            while labels(&mut reader, &mut pairs).is_some() && !reader.is_empty() {}
            if as_bitmap && bytes.len() > 5 {
                bytes[0] = 0;
                let length = bytes.len() as u32 - 5;
                bytes[1..5].copy_from_slice(&length.to_le_bytes());
            }
            let _ = postings(&bytes);
        }
    }
}
