//! Label sets of a block's series: each written against the one before, with a fresh start every
//! [`GROUP`] series, so that neighbours (which share most labels) cost a few bytes and any one is found
//! after a few steps.
//!
//! `number of pairs varint | bit mask, bit i set: pair i is that of the set before | for each other pair:
//! 0 where the name is that of the set before, else the name's symbol + 1, varint; the value's symbol, varint`

use crate::bytes::{Reader, push_varint};
use crate::index::symbols::Symbol;

/// Series between two fresh starts.
pub const GROUP: u32 = 16;
/// A label set with more is damage: the longest key a request can carry has fewer.
const MAX_PAIRS: u64 = 1 << 20;

/// Appends `pairs` (name, value, name, …) against those of the set before.
pub fn push(out: &mut Vec<u8>, before: &[Symbol], pairs: &[Symbol]) {
    let count = pairs.len() / 2;
    push_varint(out, count as u64);
    let pair = |of: &[Symbol], at: usize| of.get(2 * at..2 * at + 2).map(|p| (p[0], p[1]));
    let same = |at: usize| pair(before, at) == pair(pairs, at);
    for start in (0..count).step_by(8) {
        let bits = (start..count.min(start + 8)).filter(|at| same(*at));
        out.push(bits.fold(0, |mask, at| mask | 1 << (at - start)));
    }
    for (at, new) in pairs.chunks_exact(2).enumerate().filter(|(at, _)| !same(*at)) {
        let same_name = pair(before, at).is_some_and(|(name, _)| name == new[0]);
        push_varint(out, if same_name { 0 } else { u64::from(new[0]) + 1 });
        push_varint(out, u64::from(new[1]));
    }
}

/// Turns the pairs of the set before into those of the set that comes next; `None` on damage.
pub fn read(reader: &mut Reader<'_>, pairs: &mut Vec<Symbol>) -> Option<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_read_back(sets in prop::collection::vec(prop::collection::vec((0u32..4, prop_oneof![0u32..3, any::<u32>()]), 0..20), 1..20)) {
            let flat = |set: &Vec<(u32, u32)>| set.iter().flat_map(|(n, v)| [*n, *v]).collect::<Vec<_>>();
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
        }

        #[test]
        fn any_bytes_are_a_set_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let (mut reader, mut pairs) = (Reader::new(&bytes), Vec::new());
            while read(&mut reader, &mut pairs).is_some() && !reader.is_empty() {}
        }
    }
}
