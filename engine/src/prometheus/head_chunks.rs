//! Files of chunks that the head has mapped (`chunks_head`): chunks of any series, in the order in which they
//! were full.
//!
//! File: `0x0130bc91 | version 1 | 0 0 0`, then chunks: `series u64 | oldest, newest time u64 | encoding u8 |
//! length uvarint | data | crc32c u32` of all since the series. Behind the last one there may be zeros.

use super::FormatError;
use super::chunks::{Encoding, HEADER_BYTES};
use crate::bytes::Reader;

pub const MAGIC: u32 = 0x0130_bc91;
/// Set in the encoding of a chunk of out-of-order samples.
const OUT_OF_ORDER: u8 = 0x80;

/// A chunk as it lies in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadChunk<'a> {
    pub series: u64,
    pub min_ms: i64,
    pub max_ms: i64,
    pub out_of_order: bool,
    pub encoding: Encoding,
    pub data: &'a [u8],
}

/// Gives every chunk of a file to `sink`. An error says where the file is no longer readable; what came before
/// is good.
pub fn read(bytes: &[u8], mut sink: impl FnMut(HeadChunk<'_>)) -> Result<(), (u64, FormatError)> {
    let mut input = Reader::new(bytes);
    if bytes.iter().all(|byte| *byte == 0) {
        // Made, and nothing written yet.
        return Ok(());
    }
    match (input.u32_be(), input.u8(), input.bytes(3)) {
        (Some(MAGIC), Some(1), Some(_)) => {}
        (Some(MAGIC), Some(version), _) => {
            return Err((4, FormatError::Unknown("version of a head chunks file", u64::from(version))));
        }
        _ => return Err((0, FormatError::Damaged("not a head chunks file"))),
    }
    let mut rest = bytes.get(HEADER_BYTES as usize..).unwrap_or_default();
    loop {
        let offset = (bytes.len() - rest.len()) as u64;
        if rest.iter().take(24).all(|byte| *byte == 0) {
            let clean = rest.iter().all(|byte| *byte == 0);
            let found = FormatError::Damaged("bytes behind the end of a head chunks file");
            return if clean { Ok(()) } else { Err((offset, found)) };
        }
        let (chunk, next) = one(rest).map_err(|error| (offset, error))?;
        sink(chunk);
        rest = next;
    }
}

fn one(bytes: &[u8]) -> Result<(HeadChunk<'_>, &[u8]), FormatError> {
    const SHORT: FormatError = FormatError::Damaged("head chunk ends early");
    let mut input = Reader::new(bytes);
    let series = input.u64_be().ok_or(SHORT)?;
    let (min_ms, max_ms) = (input.u64_be().ok_or(SHORT)? as i64, input.u64_be().ok_or(SHORT)? as i64);
    let encoding = input.u8().ok_or(SHORT)?;
    let length = input.count(1).ok_or(SHORT)?;
    let data = input.bytes(length).ok_or(SHORT)?;
    let covered = &bytes[..bytes.len() - input.rest().len()];
    if input.u32_be().ok_or(SHORT)? != crc32c::crc32c(covered) {
        return Err(FormatError::Damaged("head chunk's checksum does not hold"));
    }
    let out_of_order = encoding & OUT_OF_ORDER != 0;
    let encoding = Encoding::of(encoding & !OUT_OF_ORDER)?;
    Ok((HeadChunk { series, min_ms, max_ms, out_of_order, encoding, data }, input.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(chunks: &[(u64, u8, &[u8])]) -> Vec<u8> {
        let mut out = MAGIC.to_be_bytes().to_vec();
        out.extend_from_slice(&[1, 0, 0, 0]);
        for (series, encoding, data) in chunks {
            let start = out.len();
            for n in [*series, 5, 9] {
                out.extend_from_slice(&n.to_be_bytes());
            }
            out.extend_from_slice(&[*encoding, data.len() as u8]);
            out.extend_from_slice(data);
            let crc = crc32c::crc32c(&out[start..]);
            out.extend_from_slice(&crc.to_be_bytes());
        }
        out.resize(out.len() + 100, 0);
        out
    }

    #[test]
    fn chunks_come_until_the_end_or_damage() {
        let mut bytes = file(&[(7, 1, b"ab"), (8, 0x82, b"c")]);
        let mut seen = Vec::new();
        let read_all = |bytes: &[u8], seen: &mut Vec<(u64, bool)>| {
            seen.clear();
            read(bytes, |chunk| seen.push((chunk.series, chunk.out_of_order)))
        };
        assert_eq!(read_all(&bytes, &mut seen), Ok(()));
        assert_eq!(seen, [(7, false), (8, true)]);
        let last = bytes.iter().rposition(|byte| *byte != 0).expect("there is something");
        bytes[last] ^= 1;
        assert!(read_all(&bytes, &mut seen).is_err());
        assert_eq!(seen, [(7, false)]);
        assert_eq!(read_all(&[0; 50], &mut seen), Ok(()));
    }
}
