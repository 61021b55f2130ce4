//! Granules: eight words of the same width, so that they fill whole bytes, as many as the width has bits.
//!
//! Word `i` of a granule stands at bit `i * width`, counted from the least significant bit of the first
//! byte on. The last granule of a run may hold fewer words; it then ends with its last word's last byte.
//! Widths are 0 to 57 and 64: up to 57 bits lie within eight bytes wherever they begin.

use super::vectors::Vectors;

/// Words in a granule.
pub(super) const GRANULE: usize = 8;

/// Bytes that an unpacking of one granule may look at, and a packing may write.
pub(super) const WINDOW_BYTES: usize = 64;

/// The width that holds words of up to so many bits.
#[inline(always)]
pub(super) fn allowed_width(bits: u32) -> u8 {
    if bits > 57 { 64 } else { bits as u8 }
}

pub(super) fn is_width(width: u8) -> bool {
    width <= 57 || width == 64
}

/// Bytes of a granule that holds `words` words.
#[inline(always)]
pub(super) fn granule_bytes(width: u8, words: usize) -> usize {
    (usize::from(width) * words).div_ceil(8)
}

#[inline(always)]
pub(super) fn mask(width: u8) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

/// Bytes of a run of `words` words whose granules have these widths.
pub(super) fn run_bytes(widths: &[u8], words: usize) -> usize {
    // No more than 128 of at most 64: small numbers are added faster.
    let whole = usize::from(widths.iter().fold(0u16, |sum, width| sum + u16::from(*width)));
    match (widths.last(), words % GRANULE) {
        (Some(&last), rest @ 1..) => whole - usize::from(last) + granule_bytes(last, rest),
        _ => whole,
    }
}

/// Takes a run of granules out of the payload into `words`, eight a granule; those behind the run's end
/// are anything. The payload is at least [`run_bytes`] long.
#[inline(always)]
pub(super) fn unpack_run<V: Vectors>(vectors: V, payload: &[u8], widths: &[u8], words: &mut [u64]) {
    let mut granules = widths.iter().zip(words.as_chunks_mut::<GRANULE>().0);
    let mut at = 0;
    while let Some(window) = payload[at..].first_chunk() {
        let Some((&width, words)) = granules.next() else { return };
        vectors.unpack(window, width, words);
        at += usize::from(width);
    }
    // The last windows reach beyond the payload: they look at a copy that goes on with zeros.
    let rest = &payload[at..];
    let mut end = [0; 2 * WINDOW_BYTES];
    end[..rest.len()].copy_from_slice(rest);
    let mut at = 0;
    for (&width, words) in granules {
        if let Some(window) = end[at..].first_chunk() {
            vectors.unpack(window, width, words);
        }
        at = (at + usize::from(width)).min(rest.len());
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::Scalar;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn words_come_back(words in any::<[u64; GRANULE]>(), width in 0u8..=58) {
            let width = allowed_width(u32::from(width));
            let words = words.map(|w| w & mask(width));
            let mut bytes = [0xaa; WINDOW_BYTES];
            Scalar.pack(&words, width, &mut bytes);
            let mut out = [0; GRANULE];
            unpack_run(Scalar, &bytes[..usize::from(width)], &[width], &mut out);
            prop_assert_eq!(out, words);
        }
    }
}
