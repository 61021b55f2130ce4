//! The search's passes over all words, on the machine's vectors: differences, divisions, and what each
//! candidate's residuals would need, without writing them down.

use crate::arch::Level;
use crate::codec::cursor::zigzag;
use crate::codec::granule::{GRANULE, allowed_width};
use crate::codec::layout::{GRANULES_MAX, Scale};
use crate::codec::vectors::{OnVectors, Vectors, dispatch};
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
pub(super) struct Needs {
    pub widths: [u8; GRANULES_MAX],
    /// Of each granule, which residuals are not zero.
    pub masks: [u8; GRANULES_MAX],
}

impl Needs {
    pub fn new() -> Self {
        Needs { widths: [0; GRANULES_MAX], masks: [0; GRANULES_MAX] }
    }
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

struct Weigh<'a>(&'a mut Needs);

impl Look for Weigh<'_> {
    #[inline(always)]
    fn look<V: Vectors>(&mut self, vectors: V, at: usize, residuals: &[u64; GRANULE]) {
        let (all, mask) = vectors.any(residuals);
        if let (Some(width), Some(to)) = (self.0.widths.get_mut(at), self.0.masks.get_mut(at)) {
            *width = allowed_width(64 - all.leading_zeros());
            *to = mask;
        }
    }
}

/// Finds what these residuals need.
pub(super) fn needs(residuals: Residuals<'_>, needs: &mut Needs) {
    run(Show(residuals, Weigh(needs)));
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

struct Extent<'a>(&'a [u64]);

impl Pass for Extent<'_> {
    type Output = (i64, i64, u64);

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) -> (i64, i64, u64) {
        let (mut least, mut most, mut all) = ([i64::MAX; GRANULE], [i64::MIN; GRANULE], [0; GRANULE]);
        let (granules, rest) = self.0.as_chunks::<GRANULE>();
        for granule in granules {
            for (i, word) in granule.iter().enumerate() {
                least[i] = least[i].min(*word as i64);
                most[i] = most[i].max(*word as i64);
                all[i] |= word;
            }
        }
        for word in rest {
            least[0] = least[0].min(*word as i64);
            most[0] = most[0].max(*word as i64);
            all[0] |= word;
        }
        let least = least.into_iter().fold(i64::MAX, i64::min);
        (least, most.into_iter().fold(i64::MIN, i64::max), all.into_iter().fold(0, |all, word| all | word))
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
            words in prop::collection::vec(prop_oneof![Just(7u64), any::<u64>(), 0u64..100], 1..100), base in 0u64..10, signed in any::<bool>(),
        ) {
            let residuals = Residuals { words: &words, base, signed };
            let mut plain = vec![0; words.len()];
            residuals.write(&mut plain);
            let mut expect = Needs::new();
            dispatch(Level::Scalar, Wide(Show(residuals, Weigh(&mut expect))));
            let packed: Vec<u64> = plain.iter().filter(|r| **r != 0).map(|r| r - 1).collect();
            for level in Level::ALL {
                let mut found = Needs::new();
                dispatch(level, Wide(Show(residuals, Weigh(&mut found))));
                prop_assert_eq!((found.widths, found.masks), (expect.widths, expect.masks));
                let mut out = vec![0; words.len() + GRANULE];
                let length = dispatch(level, Wide(Show(residuals, Compress { out: &mut out, length: 0 }))).length;
                prop_assert_eq!(&out[..length], &packed[..]);
            }
        }
    }
}
