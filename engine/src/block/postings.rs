//! The series of one label pair, in a block: a short list as differences, a long one as a roaring bitmap
//! in its portable form.
//!
//! `count varint, 1..=31 | differences varint each`, or `0 | length u32 | bitmap`

use crate::bytes::{Reader, push_varint};
use crate::index::postings::Postings;
use roaring::RoaringBitmap;
use std::io;

/// From here on a bitmap is smaller.
const LIST_IDS: u64 = 32;

pub fn push(out: &mut Vec<u8>, postings: Postings) -> io::Result<()> {
    if postings.len() < LIST_IDS {
        push_varint(out, postings.len());
        let mut before = 0;
        for id in postings.ids() {
            push_varint(out, u64::from(id - before));
            before = id;
        }
        return Ok(());
    }
    let mut bitmap = RoaringBitmap::new();
    postings.union_into(&mut bitmap);
    bitmap.optimize();
    out.push(0);
    out.extend_from_slice(&(bitmap.serialized_size() as u32).to_le_bytes());
    bitmap.serialize_into(out)
}

/// Adds the ids to `out`; `None` on damage. Ids that no series of the block has (`count` or more) are damage
/// too.
pub fn union_into(bytes: &[u8], count: u32, out: &mut RoaringBitmap) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let ids = reader.varint()?;
    if ids == 0 {
        let length = reader.u32()? as usize;
        let bitmap = RoaringBitmap::deserialize_from(reader.bytes(length)?).ok()?;
        if bitmap.max().is_some_and(|max| max >= count) {
            return None;
        }
        *out |= bitmap;
        return Some(());
    }
    let mut id = 0u32;
    for _ in 0..ids.min(LIST_IDS) {
        id = id.checked_add(reader.varint_u32()?).filter(|id| *id < count)?;
        out.insert(id);
    }
    Some(())
}

/// Whether any of the ids is in `ids`.
pub fn intersects(bytes: &[u8], count: u32, ids: &RoaringBitmap) -> Option<bool> {
    let mut own = RoaringBitmap::new();
    union_into(bytes, count, &mut own)?;
    Some(!own.is_disjoint(ids))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_read_back(ids in prop::collection::btree_set(0u32..5000, 1..100)) {
            let (mut postings, mut bytes) = (Postings::default(), Vec::new());
            ids.iter().for_each(|id| postings.push(*id));
            push(&mut bytes, postings).expect("memory takes it");
            let mut read = RoaringBitmap::new();
            prop_assert_eq!(union_into(&bytes, 5000, &mut read), Some(()));
            prop_assert!(read.iter().eq(ids));
        }

        #[test]
        fn any_bytes_are_ids_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80), as_bitmap in any::<bool>()) {
            if as_bitmap && bytes.len() > 5 {
                bytes[0] = 0;
                let length = bytes.len() as u32 - 5;
                bytes[1..5].copy_from_slice(&length.to_le_bytes());
            }
            let mut read = RoaringBitmap::new();
            if union_into(&bytes, 100, &mut read).is_some() {
                prop_assert!(read.max().is_none_or(|max| max < 100));
            }
        }
    }
}
