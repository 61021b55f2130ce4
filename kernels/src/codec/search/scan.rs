//! The search's passes over all words, on the machine's vectors: differences, divisions, and what each
//! candidate's residuals would need, without writing them down.

use crate::arch::Level;
use crate::codec::cursor::zigzag;
use crate::codec::granule::{self, GRANULE, WINDOW_BYTES, allowed_width};
use crate::codec::layout::{GRANULES_MAX, Scale};
use crate::codec::vectors::{OnVectors, Vectors, dispatch};
use crate::codec::widths::Needs;
use pulp::NullaryFnOnce;

/// Residuals of words against a base: what is left, or zigzag of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Residuals<'a> {
    pub words: &'a [u64],
    pub base: u64,
    pub signed: bool,
}

impl Residuals<'_> {
    #[inline(always)]
    fn of<const SIGNED: bool>(&self, word: u64) -> u64 {
        let left = word.wrapping_sub(self.base);
        if SIGNED { zigzag(left) } else { left }
    }

    /// Shows each granule's residuals; those behind the last word are zero. No closures: nobody promises
    /// that their bodies are inlined.
    #[inline(always)]
    fn show<const SIGNED: bool, V: Vectors>(&self, vectors: V, to: &mut impl Look) {
        let (granules, rest) = self.words.as_chunks::<GRANULE>();
        for (at, words) in granules.iter().enumerate() {
            let mut residuals = [0; GRANULE];
            for (residual, word) in residuals.iter_mut().zip(words) {
                *residual = self.of::<SIGNED>(*word);
            }
            to.look(vectors, at, &residuals);
        }
        if !rest.is_empty() {
            let mut residuals = [0; GRANULE];
            for (residual, word) in residuals.iter_mut().zip(rest) {
                *residual = self.of::<SIGNED>(*word);
            }
            to.look(vectors, granules.len(), &residuals);
        }
    }

    pub fn write(self, out: &mut [u64]) {
        run(Show(self, Write(out)));
    }
}

/// Who sees residuals, granule by granule.
trait Look {
    fn look<V: Vectors>(&mut self, vectors: V, at: usize, residuals: &[u64; GRANULE]);
}

struct Show<'a, L>(Residuals<'a>, L);

impl<L: Look> Pass for Show<'_, L> {
    type Output = L;

    #[inline(always)]
    fn run<V: Vectors>(self, vectors: V) -> L {
        let Show(residuals, mut look) = self;
        // Asked once, not for each granule.
        if residuals.signed {
            residuals.show::<true, V>(vectors, &mut look);
        } else {
            residuals.show::<false, V>(vectors, &mut look);
        }
        look
    }
}

struct Write<'a>(&'a mut [u64]);

impl Look for Write<'_> {
    #[inline(always)]
    fn look<V: Vectors>(&mut self, _: V, at: usize, residuals: &[u64; GRANULE]) {
        let out = &mut self.0[at * GRANULE..];
        match out.first_chunk_mut() {
            Some(out) => *out = *residuals,
            None => out.copy_from_slice(&residuals[..out.len()]),
        }
    }
}

/// What a candidate's residuals need.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighed {
    pub needs: Needs,
    /// Of each granule, which residuals are not zero.
    pub masks: [u8; GRANULES_MAX],
    /// How many are not zero.
    pub count: usize,
}

/// A pass, to be compiled for each machine's vectors.
trait Pass {
    type Output;

    fn run<V: Vectors>(self, vectors: V) -> Self::Output;
}

struct On<V, P>(V, P);

impl<V: Vectors, P: Pass> NullaryFnOnce for On<V, P> {
    type Output = P::Output;

    #[inline(always)]
    fn call(self) -> P::Output {
        self.1.run(self.0)
    }
}

struct Wide<P>(P);

impl<P: Pass> OnVectors for Wide<P> {
    type Output = P::Output;

    fn on<V: Vectors>(self, vectors: V) -> P::Output {
        vectors.vectorize(On(vectors, self.0))
    }
}

fn run<P: Pass>(pass: P) -> P::Output {
    dispatch(Level::WIDEST, Wide(pass))
}

/// The sums stand beside the arrays, so that they stay in registers.
struct Weigh<'a> {
    widths: &'a mut [u8; GRANULES_MAX],
    masks: &'a mut [u8; GRANULES_MAX],
    which: u64,
    bytes: usize,
    count: usize,
}

impl Look for Weigh<'_> {
    #[inline(always)]
    fn look<V: Vectors>(&mut self, vectors: V, at: usize, residuals: &[u64; GRANULE]) {
        let (all, mask) = vectors.any(residuals);
        if let (Some(to), Some(masks)) = (self.widths.get_mut(at), self.masks.get_mut(at)) {
            let width = allowed_width(64 - all.leading_zeros());
            (*to, *masks) = (width, mask);
            self.which |= Needs::bit(width);
            self.bytes += usize::from(width);
            self.count += mask.count_ones() as usize;
        }
    }
}

fn weigh_on(level: Level, residuals: Residuals<'_>) -> Weighed {
    let (mut widths, mut masks) = ([0; GRANULES_MAX], [0; GRANULES_MAX]);
    let look = Weigh { widths: &mut widths, masks: &mut masks, which: 0, bytes: 0, count: 0 };
    let Weigh { which, bytes, count, .. } = dispatch(level, Wide(Show(residuals, look)));
    let needs = Needs { widths, granules: residuals.words.len().div_ceil(GRANULE), which, bytes };
    Weighed { needs, masks, count }
}

/// Finds what these residuals need.
pub(super) fn weigh(residuals: Residuals<'_>) -> Weighed {
    weigh_on(Level::WIDEST, residuals)
}

struct Pack<'a> {
    widths: &'a [u8],
    out: &'a mut [u8],
    at: usize,
}

impl Look for Pack<'_> {
    #[inline(always)]
    fn look<V: Vectors>(&mut self, vectors: V, at: usize, residuals: &[u64; GRANULE]) {
        let width = self.widths.get(at).copied().unwrap_or(0);
        if let Some(window) = self.out[self.at..].first_chunk_mut() {
            vectors.pack(residuals, width, window);
        }
        self.at += usize::from(width);
    }
}

fn pack_on(level: Level, residuals: Residuals<'_>, widths: &[u8], out: &mut Vec<u8>) {
    let (start, end) = (out.len(), out.len() + granule::run_bytes(widths, residuals.words.len()));
    // Granules are written in whole windows, each over the excess of the one before.
    out.resize(end + WINDOW_BYTES, 0);
    dispatch(level, Wide(Show(residuals, Pack { widths, out: &mut out[start..], at: 0 })));
    out.truncate(end);
}

/// Appends these residuals, each of which fits its granule's width.
pub(super) fn pack(residuals: Residuals<'_>, widths: &[u8], out: &mut Vec<u8>) {
    pack_on(Level::WIDEST, residuals, widths, out);
}

struct Compress<'a> {
    out: &'a mut [u64],
    length: usize,
}

impl Look for Compress<'_> {
    #[inline(always)]
    fn look<V: Vectors>(&mut self, vectors: V, _: usize, residuals: &[u64; GRANULE]) {
        if let Some(room) = self.out[self.length..].first_chunk_mut() {
            self.length += vectors.compress(residuals, room);
        }
    }
}

/// The residuals that are not zero, less one; returns how many. `out` has a granule of room behind the
/// words' number.
pub(super) fn compress(residuals: Residuals<'_>, out: &mut [u64]) -> usize {
    run(Show(residuals, Compress { out, length: 0 })).length
}

struct Differ<'a>(&'a [u64], &'a mut [u64]);

impl Pass for Differ<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        let Differ(words, out) = self;
        let (before, after) = (&words[..words.len() - 1], &words[1..]);
        for ((out, before), after) in out[1..].iter_mut().zip(before).zip(after) {
            *out = after.wrapping_sub(*before);
        }
    }
}

/// Distances between neighbours; the first is the second again, so that it stands out nowhere.
pub(super) fn differ(words: &[u64], out: &mut [u64]) {
    run(Differ(words, out));
    out[0] = if words.len() > 1 { out[1] } else { 0 };
}

struct Xor<'a>(&'a [u64], &'a mut [u64]);

impl Pass for Xor<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> u64 {
        let Xor(words, out) = self;
        let (before, after) = (&words[..words.len() - 1], &words[1..]);
        let mut all = 0;
        for ((out, before), after) in out[1..].iter_mut().zip(before).zip(after) {
            *out = before ^ after;
            all |= *out;
        }
        all
    }
}

/// What neighbours differ in, and all of these bits together; the first is zero.
pub(super) fn xor(words: &[u64], out: &mut [u64]) -> u64 {
    out[0] = 0;
    run(Xor(words, out))
}

struct Extent<'a>(&'a [u64]);

impl Pass for Extent<'_> {
    type Output = (i64, i64, u64);

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> (i64, i64, u64) {
        // One loop over all words: in eight sums beside each other they are gathered one by one.
        let (mut least, mut most, mut all) = (i64::MAX, i64::MIN, 0);
        for word in self.0 {
            least = least.min(*word as i64);
            most = most.max(*word as i64);
            all |= word;
        }
        (least, most, all)
    }
}

/// The least and the greatest word, and the bits of all.
pub(super) fn extent(words: &[u64]) -> (i64, i64, u64) {
    run(Extent(words))
}

/// Multiplying a multiple of an odd number by this divides it, in arithmetic that wraps: Newton's method
/// doubles the bits that are right, from three.
fn inverse(odd: u64) -> u64 {
    (0..5).fold(odd, |inverse, _| inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse))))
}

struct Divide<'a>(&'a mut [u64], u64, u64);

impl Pass for Divide<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        let Divide(words, factor, remainder) = self;
        let shift = factor.trailing_zeros();
        let inverse = inverse(factor >> shift);
        for word in words {
            let multiple = word.wrapping_sub(remainder);
            *word = ((multiple as i64 >> shift) as u64).wrapping_mul(inverse);
        }
    }
}

/// Divides words that are multiples of the factor but for the remainder.
pub(super) fn divide(words: &mut [u64], scale: Scale) {
    run(Divide(words, scale.factor, scale.remainder));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::vectors::Scalar;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn multiples_are_divided(words in prop::collection::vec(-1_000_000i64..1_000_000, 1..20), factor in 1u64..100_000, rest in any::<u64>()) {
            let remainder = rest % factor;
            let mut scaled: Vec<u64> = words.iter().map(|w| (*w as u64).wrapping_mul(factor).wrapping_add(remainder)).collect();
            divide(&mut scaled, Scale { factor, remainder });
            prop_assert_eq!(scaled, words.iter().map(|w| *w as u64).collect::<Vec<_>>());
        }

        #[test]
        fn every_level_finds_the_same(
            words in prop::collection::vec(prop_oneof![Just(7u64), any::<u64>(), 0u64..100], 1..100), base in 0u64..10, signed in any::<bool>(), shift in 0u32..64,
        ) {
            let words: Vec<u64> = words.iter().map(|w| w >> shift).collect();
            let residuals = Residuals { words: &words, base, signed };
            let mut plain = vec![0; words.len()];
            residuals.write(&mut plain);
            let expect = weigh_on(Level::Scalar, residuals);
            let widths = expect.needs.widths();
            let mut granules = Vec::new();
            pack_on(Level::Scalar, residuals, widths, &mut granules);
            let mut unpacked = vec![0; words.len().next_multiple_of(GRANULE)];
            granule::unpack_run(Scalar, &granules, widths, &mut unpacked);
            prop_assert_eq!(&unpacked[..words.len()], &plain[..]);
            let packed: Vec<u64> = plain.iter().filter(|r| **r != 0).map(|r| r - 1).collect();
            for level in Level::ALL {
                let found = weigh_on(level, residuals);
                prop_assert_eq!((found.needs, found.masks, found.count), (expect.needs, expect.masks, expect.count));
                let mut again = Vec::new();
                pack_on(level, residuals, widths, &mut again);
                prop_assert_eq!(&again, &granules);
                let mut out = vec![0; words.len() + GRANULE];
                let length = dispatch(level, Wide(Show(residuals, Compress { out: &mut out, length: 0 }))).length;
                prop_assert_eq!(&out[..length], &packed[..]);
            }
        }
    }
}
