//! The series of one label pair, in a block: the gaps between them in few bits each, or a roaring bitmap in its portable
//! form where that is smaller, or where they are so many that it is read much faster.
//!
//! `count varint, from 1 | k u8, 0 to 31 | for each id, from the lowest bit of the first byte on: the gap between it and the
//! one before it (0 between two that follow each other; of the first the id itself) shifted right by k, as so many zeros
//! and a one; the k lowest bits of the gap`, or `0 | length varint | bitmap`

use crate::bytes::{Reader, push_varint};
use crate::index::postings::Postings;
use roaring::RoaringBitmap;
use std::io;

/// Beyond, only a bitmap will do: gaps are taken one by one.
const MOST_GAPS: u64 = 1 << 16;
/// Bits that hold any gap.
const MAX_LOW_BITS: u32 = 31;

/// What is between each id and the one before.
fn gaps(postings: &Postings) -> impl Iterator<Item = u32> {
    let mut next = 0u32;
    postings.ids().map(move |id| {
        let gap = id - next;
        next = id.saturating_add(1);
        gap
    })
}

/// Bytes that the gaps take with so many low bits each.
fn gap_bytes(postings: &Postings, low_bits: u32) -> u64 {
    let high: u64 = gaps(postings).map(|gap| u64::from(gap >> low_bits)).sum();
    (high + postings.len() * u64::from(low_bits + 1)).div_ceil(8)
}

/// The number of low bits with which the gaps take the fewest bytes, and these.
fn best(postings: &Postings) -> (u32, u64) {
    let sum: u64 = gaps(postings).map(u64::from).sum();
    // Near the mean's logarithm it is flat.
    let near = (sum / postings.len().max(1) + 1).ilog2();
    let tried = near.saturating_sub(1)..=(near + 1).min(MAX_LOW_BITS);
    tried.map(|low_bits| (low_bits, gap_bytes(postings, low_bits))).min_by_key(|t| t.1).unwrap_or((0, 0))
}

pub fn push(out: &mut Vec<u8>, postings: Postings) -> io::Result<()> {
    let (low_bits, bytes) = match postings.len() {
        1..=MOST_GAPS => best(&postings),
        _ => (0, u64::MAX),
    };
    // A bitmap has a head, and takes two bits an id at the least, or some bytes a run.
    if bytes <= 16 {
        push_gaps(out, &postings, low_bits);
        return Ok(());
    }
    let mut bitmap = RoaringBitmap::new();
    postings.union_into(&mut bitmap);
    bitmap.optimize();
    if bytes <= bitmap.serialized_size() as u64 {
        push_gaps(out, &postings, low_bits);
        return Ok(());
    }
    out.push(0);
    push_varint(out, bitmap.serialized_size() as u64);
    bitmap.serialize_into(out)
}

fn push_gaps(out: &mut Vec<u8>, postings: &Postings, low_bits: u32) {
    push_varint(out, postings.len());
    out.push(low_bits as u8);
    let (mut word, mut filled) = (0u64, 0u32);
    let mut put = |bits: u64, count: u32, out: &mut Vec<u8>| {
        word |= bits << filled;
        filled += count;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    };
    for gap in gaps(postings) {
        let mut zeros = gap >> low_bits;
        while zeros >= 8 {
            put(0, 8, out);
            zeros -= 8;
        }
        put(1 << zeros, zeros + 1, out);
        put(u64::from(gap) & ((1 << low_bits) - 1), low_bits, out);
    }
    put(0, 7, out);
}

/// Bits, from the lowest of the first byte on; beyond the end there are zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// At least 57 of the next bits.
    #[inline]
    fn window(&self) -> u64 {
        let from = (self.at / 8).min(self.bytes.len());
        let word = match self.bytes[from..].first_chunk() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => {
                let mut last = [0; 8];
                let rest = &self.bytes[from..];
                last[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(last)
            }
        };
        word >> (self.at % 8)
    }

    /// The next gap; none where the bits end before it does.
    #[inline]
    fn gap(&mut self, low_bits: u32) -> Option<u64> {
        let mut high = 0u64;
        let mut window = self.window();
        // All of a window without a one is zeros.
        while window << 7 == 0 {
            if self.at / 8 >= self.bytes.len() {
                return None;
            }
            high += 57;
            self.at += 57;
            window = self.window();
        }
        let zeros = window.trailing_zeros();
        self.at += zeros as usize + 1;
        let low = self.window() & ((1 << low_bits) - 1);
        self.at += low_bits as usize;
        if self.at > self.bytes.len() * 8 {
            return None;
        }
        high += u64::from(zeros);
        (high <= u64::from(u32::MAX >> low_bits)).then_some(high << low_bits | low)
    }
}

/// The ids; `None` on damage. What comes behind them may be anything.
pub fn read(bytes: &[u8]) -> Option<RoaringBitmap> {
    let mut reader = Reader::new(bytes);
    let count = reader.varint()?;
    if count == 0 {
        let length = usize::try_from(reader.varint()?).ok()?;
        return RoaringBitmap::deserialize_from(reader.bytes(length)?).ok();
    }
    let low_bits = u32::from(reader.u8()?);
    // Each takes a bit at least.
    if low_bits > MAX_LOW_BITS || count > MOST_GAPS || count.div_ceil(8) > reader.rest().len() as u64 {
        return None;
    }
    let mut bits = Bits { bytes: reader.rest(), at: 0 };
    let mut ids = Vec::with_capacity(count as usize);
    let mut next = 0u64;
    for _ in 0..count {
        let id = next.checked_add(bits.gap(low_bits)?)?;
        ids.push(u32::try_from(id).ok()?);
        next = id + 1;
    }
    RoaringBitmap::from_sorted_iter(ids).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(ids: impl IntoIterator<Item = u32>) -> Vec<u8> {
        let (mut postings, mut bytes) = (Postings::default(), Vec::new());
        ids.into_iter().for_each(|id| postings.push(id));
        push(&mut bytes, postings).expect("memory takes it");
        bytes
    }

    #[track_caller]
    fn check(ids: &[u32], most_bytes: usize) {
        let bytes = written(ids.iter().copied());
        assert!(read(&bytes).expect("reads").iter().eq(ids.iter().copied()));
        assert!(bytes.len() <= most_bytes, "{} ids take {} bytes", ids.len(), bytes.len());
    }

    #[test]
    fn ids_take_what_their_gaps_need() {
        check(&[0], 3);
        check(&[9], 3);
        check(&[u32::MAX], 8);
        check(&[0, u32::MAX], 14);
        check(&(0..100_000).collect::<Vec<_>>(), 40);
        check(&(1000..1500).collect::<Vec<_>>(), 40);
        // Every fifth of two thousand: four bits each.
        check(&(0..2000).step_by(5).collect::<Vec<_>>(), 203);
        // Too many for gaps.
        check(&(0..1_000_000).step_by(5).collect::<Vec<_>>(), 140_000);
    }

    proptest! {
        #[test]
        fn ids_read_back(
            ids in prop::collection::btree_set(0u32..5000, 1..100),
            wide in prop::collection::btree_set(any::<u32>(), 1..60),
            dense in prop::collection::btree_set(0u32..3000, 1..2500),
        ) {
            for ids in [ids, wide, dense] {
                prop_assert!(read(&written(ids.iter().copied())).expect("reads").iter().eq(ids));
            }
        }

        #[test]
        fn any_bytes_are_ids_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80), as_bitmap in any::<bool>()) {
            if as_bitmap && bytes.len() > 2 {
                bytes[0] = 0;
                bytes[1] = bytes.len() as u8 - 2;
            }
            if let Some(ids) = read(&bytes) {
                prop_assert!(as_bitmap || !ids.is_empty() || bytes[0] == 0);
            }
        }
    }
}
