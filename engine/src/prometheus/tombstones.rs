//! A block's tombstones: stretches of time of its series that were deleted and not yet rewritten.
//!
//! `0x0130ba30 | version 1`, then for each: `series uvarint | from, to varint`; at the end `crc32c u32` of them.

use super::FormatError;
use crate::bytes::Reader;
use ahash::AHashMap;

pub const MAGIC: u32 = 0x0130_ba30;
const HEADER_BYTES: usize = 5;

/// Deleted stretches by series, as the index calls it; both ends belong to them.
pub type Tombstones = AHashMap<u64, Vec<(i64, i64)>>;

/// Reads the file's bytes.
pub fn parse(bytes: &[u8]) -> Result<Tombstones, FormatError> {
    let mut found = Tombstones::new();
    let mut head = Reader::new(bytes);
    if head.u32_be() != Some(MAGIC) {
        return Err(FormatError::Damaged("not a file of tombstones"));
    }
    match head.u8() {
        Some(1) => {}
        version => {
            return Err(FormatError::Unknown("version of tombstones", u64::from(version.unwrap_or(0))));
        }
    }
    let (body, crc) =
        head.rest().split_last_chunk::<4>().ok_or(FormatError::Damaged("tombstones end early"))?;
    if u32::from_be_bytes(*crc) != crc32c::crc32c(body) {
        return Err(FormatError::Damaged("checksum of the tombstones does not hold"));
    }
    let mut input = Reader::new(body);
    while !input.is_empty() {
        let read = (|| Some((input.varint()?, input.zigzag()?, input.zigzag()?)))();
        let (series, from, to) = read.ok_or(FormatError::Damaged("a tombstone ends early"))?;
        found.entry(series).or_default().push((from, to));
    }
    Ok(found)
}

/// The file that says so.
pub fn print(tombstones: &Tombstones) -> Vec<u8> {
    use crate::bytes::{push_varint, zigzag};
    let mut out = MAGIC.to_be_bytes().to_vec();
    out.push(1);
    let mut all: Vec<_> = tombstones.iter().collect();
    all.sort();
    for (series, stretches) in all {
        for (from, to) in stretches {
            push_varint(&mut out, *series);
            push_varint(&mut out, zigzag(*from));
            push_varint(&mut out, zigzag(*to));
        }
    }
    let crc = crc32c::crc32c(&out[HEADER_BYTES..]);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

/// Whether a time is within any of the stretches.
pub fn covers(stretches: &[(i64, i64)], time: i64) -> bool {
    stretches.iter().any(|(from, to)| (*from..=*to).contains(&time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_read_back_and_damage_is_told() {
        let stones = Tombstones::from_iter([(3, vec![(-5, 5), (10, i64::MAX)]), (900, vec![(i64::MIN, 0)])]);
        let bytes = print(&stones);
        assert_eq!(parse(&bytes), Ok(stones));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(parse(&damaged).is_err(), "byte {at}");
        }
        assert!(covers(&[(1, 2), (5, 5)], 5) && !covers(&[(1, 2)], 3));
    }
}
