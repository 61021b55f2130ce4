//! Label sets of a block's series: each written against the one before, with a fresh start every
//! [`GROUP`] series, so that neighbours (which share most labels) cost a few bytes and any one is found
//! after a few steps.
//!
//! `head varint: 1 + 2 * mask where there are as many pairs as in the set before and no more than 62, else 2 * number of
//! pairs, and then the mask, whole bytes | for each pair whose bit is set in the mask: varint 2 * difference + 1 where the
//! name is another than that of the pair at the same place of the set before, the difference being zigzag and between the
//! symbols of the two values (0 where there is no such pair); then, if so, the name's symbol, varint`

use crate::bytes::{Reader, push_varint, unzigzag, zigzag};
use crate::index::symbols::Symbol;

/// Series between two fresh starts.
pub const GROUP: u32 = 16;
/// A label set with more is damage: the longest key a request can carry has fewer.
const MAX_PAIRS: u64 = 1 << 20;
/// As many bits as a head has room for.
const MAX_MASKED: usize = 62;

/// Appends `pairs` (name, value, name, …) against those of the set before.
pub fn push(out: &mut Vec<u8>, before: &[Symbol], pairs: &[Symbol]) {
    let count = pairs.len() / 2;
    let pair = |of: &[Symbol], at: usize| of.get(2 * at..2 * at + 2).map(|p| (p[0], p[1]));
    let differs = |at: &usize| pair(before, *at) != pair(pairs, *at);
    let mask = |places: std::ops::Range<usize>| {
        let start = places.start;
        places.filter(differs).fold(0u64, |mask, at| mask | 1 << (at - start))
    };
    if pairs.len() == before.len() && count <= MAX_MASKED {
        push_varint(out, mask(0..count) << 1 | 1);
    } else {
        push_varint(out, (count as u64) << 1);
        out.extend((0..count).step_by(8).map(|start| mask(start..count.min(start + 8)) as u8));
    }
    for at in (0..count).filter(differs) {
        let (name, value) = (pairs[2 * at], pairs[2 * at + 1]);
        let (old_name, old_value) = pair(before, at).map_or((None, 0), |(name, value)| (Some(name), value));
        let difference = zigzag(i64::from(value) - i64::from(old_value));
        push_varint(out, difference << 1 | u64::from(old_name != Some(name)));
        if old_name != Some(name) {
            push_varint(out, u64::from(name));
        }
    }
}

/// Turns the pairs of the set before into those of the set that comes next; `None` on damage.
pub fn read(reader: &mut Reader<'_>, pairs: &mut Vec<Symbol>) -> Option<()> {
    let head = reader.varint()?;
    if head & 1 == 1 {
        let (mut mask, count) = (head >> 1, pairs.len() / 2);
        while mask != 0 {
            let at = mask.trailing_zeros() as usize;
            if at >= count {
                return None;
            }
            read_pair(reader, pairs, at)?;
            mask &= mask - 1;
        }
        return Some(());
    }
    if head >> 1 > MAX_PAIRS {
        return None;
    }
    let count = (head >> 1) as usize;
    let mask = reader.bytes(count.div_ceil(8))?;
    for at in 0..count {
        if mask[at / 8] >> (at % 8) & 1 == 1 {
            read_pair(reader, pairs, at)?;
        } else if pairs.len() < 2 * at + 2 {
            return None;
        }
    }
    pairs.truncate(2 * count);
    Some(())
}

/// Reads the pair at this place: one that there is, or the next.
#[inline]
fn read_pair(reader: &mut Reader<'_>, pairs: &mut Vec<Symbol>, at: usize) -> Option<()> {
    let head = reader.varint()?;
    let known = pairs.len() >= 2 * at + 2;
    if !known {
        pairs.extend([0, 0]);
    }
    let value = i64::from(pairs[2 * at + 1]).checked_add(unzigzag(head >> 1))?;
    pairs[2 * at + 1] = u32::try_from(value).ok()?;
    match head & 1 {
        0 if known => {}
        0 => return None,
        _ => pairs[2 * at] = reader.varint_u32()?,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flat(set: &[(u32, u32)]) -> Vec<Symbol> {
        set.iter().flat_map(|(n, v)| [*n, *v]).collect()
    }

    #[test]
    fn a_neighbour_costs_a_few_bytes() {
        let (mut out, before) = (Vec::new(), [1, 500, 2, 600, 3, 700]);
        push(&mut out, &before, &[1, 500, 2, 601, 3, 700]);
        assert_eq!(out, [0b101, 4]);
        let mut pairs = before.to_vec();
        assert_eq!(read(&mut Reader::new(&out), &mut pairs), Some(()));
        assert_eq!(pairs, [1, 500, 2, 601, 3, 700]);
    }

    proptest! {
        #[test]
        fn sets_read_back(
            sets in prop::collection::vec(
                prop::collection::vec((0u32..4, prop_oneof![0u32..3, any::<u32>()]), 0..20), 1..20,
            ),
            long in prop::collection::vec((0u32..2, 0u32..2), 60..70),
        ) {
            let mut sets = sets;
            let mut other = long.clone();
            other[59].1 = 9;
            sets.extend([long.clone(), long, other]);
            let (mut out, mut before) = (Vec::new(), Vec::new());
            for set in &sets {
                push(&mut out, &before, &flat(set));
                before = flat(set);
            }
            let (mut reader, mut pairs) = (Reader::new(&out), Vec::new());
            for set in &sets {
                prop_assert_eq!(read(&mut reader, &mut pairs), Some(()));
                prop_assert_eq!(&pairs, &flat(set));
            }
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_a_set_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let (mut reader, mut pairs) = (Reader::new(&bytes), Vec::new());
            while read(&mut reader, &mut pairs).is_some() && !reader.is_empty() {}
        }
    }
}
