//! The steps of reading a chunk that gain from wide vectors, each with its scalar specification; and the
//! choice of the machine's widest.
//!
//! What follows no pattern across neighbours is one source for all widths: it is compiled anew within
//! [`Vectors::vectorize`]. Only unpacking, spreading and sums over neighbours are written by hand.

use super::granule::{GRANULE, WINDOW_BYTES, mask};
use super::sparse::Masks;
use crate::arch::Level;
use pulp::NullaryFnOnce;

/// A machine's vectors. The default methods are the specification.
pub(super) trait Vectors: Copy {
    /// Runs the code compiled for these vectors; it and its callees must be `#[inline(always)]`.
    fn vectorize<F: NullaryFnOnce>(self, f: F) -> F::Output;

    /// Takes eight words out of a granule.
    #[inline(always)]
    fn unpack(self, window: &[u8; WINDOW_BYTES], width: u8, words: &mut [u64; GRANULE]) {
        let (width_bits, mask) = (usize::from(width), mask(width));
        for (i, word) in words.iter_mut().enumerate() {
            let bit = i * width_bits;
            // Of the last word of the widest granule on, no byte is past the window.
            let at = (bit >> 3).min(WINDOW_BYTES - 8);
            let bytes = window[at..].first_chunk().copied().unwrap_or_default();
            *word = (u64::from_le_bytes(bytes) >> (bit & 7)) & mask;
        }
    }

    /// Makes a granule of eight words that fit the width; what the window has behind its bytes is anything.
    #[inline(always)]
    fn pack(self, words: &[u64; GRANULE], width: u8, window: &mut [u8; WINDOW_BYTES]) {
        debug_assert!(words.iter().all(|w| *w <= mask(width)));
        let (mut pending, mut used, mut at) = (0u64, 0u32, 0);
        for &word in words {
            pending |= word << used;
            used += u32::from(width);
            if used >= 64 {
                window[at..at + 8].copy_from_slice(&pending.to_le_bytes());
                at += 8;
                used -= 64;
                // What of the word did not fit; nothing where it ended with the eight bytes.
                pending = if used == 0 { 0 } else { word >> (u32::from(width) - used) };
            }
        }
        if let Some(end) = window[at..].first_chunk_mut() {
            *end = pending.to_le_bytes();
        }
    }

    /// Spreads the residuals that stand at the end of `words`, before eight words of room, over all of it,
    /// and adds one to each. What is read is never behind what was written, since every residual still to
    /// come has a place still to come.
    #[inline(always)]
    fn spread(self, masks: &Masks, words: &mut [u64]) {
        let mut from = masks.granules().len() * GRANULE - masks.count();
        for (granule, &mask) in masks.granules().iter().enumerate() {
            let mut spread = [0u64; GRANULE];
            for (i, word) in spread.iter_mut().enumerate() {
                if mask >> i & 1 != 0 {
                    *word = words[from].wrapping_add(1);
                    from += 1;
                }
            }
            words.as_chunks_mut::<GRANULE>().0[granule] = spread;
        }
    }

    /// Each word becomes the sum of `before`, of all words up to it, and of as many steps.
    #[inline(always)]
    fn sum(self, words: &mut [u64], before: u64, step: u64) {
        let mut sum = before;
        for word in words {
            sum = sum.wrapping_add(step).wrapping_add(*word);
            *word = sum;
        }
    }

    /// Each word becomes the XOR of `before` and of all words up to it, these shifted.
    #[inline(always)]
    fn xor(self, words: &mut [u64], before: u64, shift: u8) {
        let mut all = before;
        for word in words {
            all ^= *word << shift;
            *word = all;
        }
    }

    /// The bits of all words together, and which are not zero.
    #[inline(always)]
    fn any(self, words: &[u64; GRANULE]) -> (u64, u8) {
        let all = words.iter().fold(0, |all, word| all | word);
        let mask = words.iter().enumerate().fold(0, |mask, (i, word)| mask | u8::from(*word != 0) << i);
        (all, mask)
    }

    /// Packs the words that are not zero, less one; returns how many. Those behind are anything.
    #[inline(always)]
    fn compress(self, words: &[u64; GRANULE], out: &mut [u64; GRANULE]) -> usize {
        let mut length = 0;
        for word in words {
            out[length & 7] = word.wrapping_sub(1);
            length += usize::from(*word != 0);
        }
        length
    }

    /// The nearest float of a signed integer.
    #[inline(always)]
    fn float(self, word: u64) -> f64 {
        word as i64 as f64
    }
}

/// No vectors: the specification.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

impl Vectors for Scalar {
    fn vectorize<F: NullaryFnOnce>(self, f: F) -> F::Output {
        f.call()
    }
}

/// The halves of an integer as floats of exact size, one rounding when they are joined: what vectors
/// without a conversion of 64-bit integers do.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
fn float_by_halves(word: u64) -> f64 {
    // 2^52, 2^84 + 2^63, and the sum of both.
    let low = f64::from_bits(0x4330_0000_0000_0000 | (word & 0xffff_ffff));
    let high = f64::from_bits(0x4530_0000_8000_0000 ^ (word >> 32));
    (high - f64::from_bits(0x4530_0000_8010_0000)) + low
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use core::arch::x86_64::{__m256i, __m512i, _mm512_maskz_permutexvar_epi8, _mm512_permutexvar_epi8};
    use pulp::x86::V3;

    /// For each width: of each two words, as they stand in the sixteen bytes from the first one's on, the bytes of both.
    static TWO: [[u8; 64]; 65] = {
        let mut table = [[0; 64]; 65];
        let mut width = 0;
        while width <= 64 {
            let mut at = 0;
            while at < 64 {
                let (word, two) = (at / 8, at / 16 * 2);
                table[width][at] = (word * width / 8 - two * width / 8 + at % 8) as u8;
                at += 1;
            }
            width += 1;
        }
        table
    };

    /// For each four bits: for each half of four words, the half of the packed ones that it comes from.
    static FROM: [[u32; 8]; 16] = {
        let mut table = [[0; 8]; 16];
        let mut mask = 0;
        while mask < 16 {
            let (mut i, mut from) = (0, 0);
            while i < 4 {
                table[mask][2 * i] = 2 * from;
                table[mask][2 * i + 1] = 2 * from + 1;
                from += mask as u32 >> i & 1;
                i += 1;
            }
            mask += 1;
        }
        table
    };

    /// For each four bits: all bits of the words whose bit is set.
    static WORDS: [[u64; 4]; 16] = {
        let mut table = [[0; 4]; 16];
        let mut mask = 0;
        while mask < 16 {
            let mut i = 0;
            while i < 4 {
                table[mask][i] = 0u64.wrapping_sub(mask as u64 >> i & 1);
                i += 1;
            }
            mask += 1;
        }
        table
    };

    const HALF: usize = GRANULE / 2;

    #[inline(always)]
    fn four(words: [u64; HALF]) -> __m256i {
        pulp::cast(words)
    }

    impl Vectors for V3 {
        #[inline(always)]
        fn vectorize<F: NullaryFnOnce>(self, f: F) -> F::Output {
            V3::vectorize(self, f)
        }

        #[inline(always)]
        fn unpack(self, window: &[u8; WINDOW_BYTES], width: u8, words: &mut [u64; GRANULE]) {
            let (f, row) = (self.avx2, usize::from(width).min(64));
            let mask = four([mask(row as u8); HALF]);
            for (half, words) in words.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
                // Not copied as slices: that is a call where crates are not optimised as one.
                let two = |two: usize| window[(half * HALF + two * 2) * row / 8..].first_chunk::<16>();
                let (Some(first), Some(second)) = (two(0), two(1)) else { return };
                let bytes = [*first, *second];
                let from: [u8; 32] = TWO[row].as_chunks().0[half];
                let moved = f._mm256_shuffle_epi8(pulp::cast(bytes), pulp::cast(from));
                let shifts = four(SHIFTS[row].as_chunks().0[half]);
                *words = pulp::cast(f._mm256_and_si256(f._mm256_srlv_epi64(moved, shifts), mask));
            }
        }

        #[inline(always)]
        fn spread(self, masks: &Masks, words: &mut [u64]) {
            let f = self.avx2;
            let mut from = masks.granules().len() * GRANULE - masks.count();
            for (granule, &mask) in masks.granules().iter().enumerate() {
                // Both halves are read before either is written: the second may stand where the first one goes.
                let bits = [usize::from(mask & 15), usize::from(mask >> 4)];
                let mut spread = [[0u64; HALF]; 2];
                for (bits, spread) in bits.into_iter().zip(&mut spread) {
                    let Some(packed) = words[from..].first_chunk::<HALF>() else { return };
                    let more = f._mm256_add_epi64(four(*packed), four([1; HALF]));
                    let moved = f._mm256_permutevar8x32_epi32(more, pulp::cast(FROM[bits]));
                    *spread = pulp::cast(f._mm256_and_si256(moved, four(WORDS[bits])));
                    from += bits.count_ones() as usize;
                }
                words.as_chunks_mut::<GRANULE>().0[granule] = pulp::cast(spread);
            }
        }

        #[inline(always)]
        fn sum(self, words: &mut [u64], before: u64, step: u64) {
            let f = self.avx2;
            let (mut before, step) = (four([before; HALF]), four([step; HALF]));
            let upper = four([0, 0, u64::MAX, u64::MAX]);
            for words in words.as_chunks_mut::<HALF>().0 {
                let lanes = f._mm256_add_epi64(four(*words), step);
                let lanes = f._mm256_add_epi64(lanes, f._mm256_slli_si256::<8>(lanes));
                let lower = f._mm256_and_si256(f._mm256_permute4x64_epi64::<0b01_01_01_01>(lanes), upper);
                let sums = f._mm256_add_epi64(lanes, lower);
                *words = pulp::cast(f._mm256_add_epi64(sums, before));
                // Not the last of what was stored: so only one addition waits for the words before.
                before = f._mm256_add_epi64(before, f._mm256_permute4x64_epi64::<0b11_11_11_11>(sums));
            }
        }

        #[inline(always)]
        fn xor(self, words: &mut [u64], before: u64, shift: u8) {
            let f = self.avx2;
            let (mut before, shift) = (four([before; HALF]), four([u64::from(shift); HALF]));
            let upper = four([0, 0, u64::MAX, u64::MAX]);
            for words in words.as_chunks_mut::<HALF>().0 {
                let lanes = f._mm256_sllv_epi64(four(*words), shift);
                let lanes = f._mm256_xor_si256(lanes, f._mm256_slli_si256::<8>(lanes));
                let lower = f._mm256_and_si256(f._mm256_permute4x64_epi64::<0b01_01_01_01>(lanes), upper);
                let all = f._mm256_xor_si256(lanes, lower);
                *words = pulp::cast(f._mm256_xor_si256(all, before));
                before = f._mm256_xor_si256(before, f._mm256_permute4x64_epi64::<0b11_11_11_11>(all));
            }
        }

        #[inline(always)]
        fn float(self, word: u64) -> f64 {
            float_by_halves(word)
        }
    }

    pulp::simd_type! {
        /// AVX-512 with permutations of bytes: Ice Lake, Zen 4 and later.
        pub(crate) struct Wide {
            avx: "avx",
            avx2: "avx2",
            bmi1: "bmi1",
            bmi2: "bmi2",
            popcnt: "popcnt",
            lzcnt: "lzcnt",
            avx512f: "avx512f",
            avx512bw: "avx512bw",
            avx512dq: "avx512dq",
            avx512vl: "avx512vl",
            avx512vbmi: "avx512vbmi",
        }
    }

    /// For each width: for each byte of eight words, the byte of the granule that it comes from.
    static BYTES: [[u8; 64]; 65] = {
        let mut table = [[0; 64]; 65];
        let mut width = 0;
        while width <= 64 {
            let mut at = 0;
            while at < 64 {
                let from = (at / 8) * width / 8 + at % 8;
                table[width][at] = if from < 64 { from as u8 } else { 63 };
                at += 1;
            }
            width += 1;
        }
        table
    };

    /// For each width: by how many bits each word is off its first byte.
    static SHIFTS: [[u64; 8]; 65] = {
        let mut table = [[0; 8]; 65];
        let mut width = 0;
        while width <= 64 {
            let mut i = 0;
            while i < 8 {
                table[width][i] = (i * width % 8) as u64;
                i += 1;
            }
            width += 1;
        }
        table
    };

    /// For each width whose granules are no longer than a word: where in it each word stands.
    static PLACES: [[u64; 8]; 8] = {
        let mut table = [[0; 8]; 8];
        let mut width = 0;
        while width < 8 {
            let mut i = 0;
            while i < 8 {
                table[width][i] = (i * width) as u64;
                i += 1;
            }
            width += 1;
        }
        table
    };

    /// For each width: for each byte of a granule, the byte of eight words, moved by [`SHIFTS`], that its first bit
    /// comes from.
    static FIRST: [[u8; 64]; 65] = {
        let mut table = [[0; 64]; 65];
        let mut width = 8;
        while width <= 64 {
            let mut at = 0;
            while at < width {
                let word = 8 * at / width;
                table[width][at] = (8 * word + at - word * width / 8) as u8;
                at += 1;
            }
            width += 1;
        }
        table
    };

    /// For each width: the bytes of a granule in which another word begins than the one of their first bit. It begins
    /// with the first byte of the next lane.
    static SECOND: [u64; 65] = {
        let mut table = [0; 65];
        let mut width = 8;
        while width <= 64 {
            let mut i = 1;
            while i < 8 {
                if i * width % 8 != 0 {
                    table[width] |= 1 << (i * width / 8);
                }
                i += 1;
            }
            width += 1;
        }
        table
    };

    #[inline(always)]
    fn load(words: [u64; 8]) -> __m512i {
        pulp::cast(words)
    }

    impl Wide {
        /// Sums of all lanes up to each.
        #[inline(always)]
        fn sums(self, lanes: __m512i) -> __m512i {
            let (f, zero) = (self.avx512f, load([0; 8]));
            let lanes = f._mm512_add_epi64(lanes, f._mm512_alignr_epi64::<7>(lanes, zero));
            let lanes = f._mm512_add_epi64(lanes, f._mm512_alignr_epi64::<6>(lanes, zero));
            f._mm512_add_epi64(lanes, f._mm512_alignr_epi64::<4>(lanes, zero))
        }

        #[inline(always)]
        fn xors(self, lanes: __m512i) -> __m512i {
            let (f, zero) = (self.avx512f, load([0; 8]));
            let lanes = f._mm512_xor_si512(lanes, f._mm512_alignr_epi64::<7>(lanes, zero));
            let lanes = f._mm512_xor_si512(lanes, f._mm512_alignr_epi64::<6>(lanes, zero));
            f._mm512_xor_si512(lanes, f._mm512_alignr_epi64::<4>(lanes, zero))
        }

        /// The last lane in every lane.
        #[inline(always)]
        fn last(self, lanes: __m512i) -> __m512i {
            self.avx512f._mm512_permutexvar_epi64(load([7; 8]), lanes)
        }
    }

    impl Vectors for Wide {
        #[inline(always)]
        fn vectorize<F: NullaryFnOnce>(self, f: F) -> F::Output {
            Wide::vectorize(self, f)
        }

        #[inline(always)]
        fn unpack(self, window: &[u8; WINDOW_BYTES], width: u8, words: &mut [u64; GRANULE]) {
            let (f, width) = (self.avx512f, usize::from(width).min(64));
            let (bytes, from): (__m512i, __m512i) = (pulp::cast(*window), pulp::cast(BYTES[width]));
            // SAFETY: the token `self.avx512vbmi` exists only where the machine has the instruction.
            let moved = unsafe { _mm512_permutexvar_epi8(from, bytes) };
            let shifted = f._mm512_srlv_epi64(moved, load(SHIFTS[width]));
            *words = pulp::cast(f._mm512_and_si512(shifted, load([mask(width as u8); 8])));
        }

        #[inline(always)]
        fn pack(self, words: &[u64; GRANULE], width: u8, window: &mut [u8; WINDOW_BYTES]) {
            let (f, width) = (self.avx512f, usize::from(width).min(64));
            if width < 8 {
                // All of it is one word.
                let moved = f._mm512_sllv_epi64(load(*words), load(PLACES[width]));
                let all = f._mm512_reduce_or_epi64(moved);
                window[..8].copy_from_slice(&all.to_le_bytes());
                return;
            }
            let moved = f._mm512_sllv_epi64(load(*words), load(SHIFTS[width]));
            let first: __m512i = pulp::cast(FIRST[width]);
            // The first byte of the next lane.
            let lane = f._mm512_and_si512(first, load([0x3838_3838_3838_3838; 8]));
            let second = f._mm512_add_epi64(lane, load([0x0808_0808_0808_0808; 8]));
            // SAFETY: the token `self.avx512vbmi` exists only where the machine has the instructions.
            let (first, second) = unsafe {
                (
                    _mm512_permutexvar_epi8(first, moved),
                    _mm512_maskz_permutexvar_epi8(SECOND[width], second, moved),
                )
            };
            *window = pulp::cast(f._mm512_or_si512(first, second));
        }

        #[inline(always)]
        fn spread(self, masks: &Masks, words: &mut [u64]) {
            let f = self.avx512f;
            let mut from = masks.granules().len() * GRANULE - masks.count();
            for (granule, &mask) in masks.granules().iter().enumerate() {
                let Some(packed) = words[from..].first_chunk::<GRANULE>() else { return };
                let lanes = f._mm512_maskz_expand_epi64(mask, load(*packed));
                let lanes = f._mm512_mask_add_epi64(lanes, mask, lanes, load([1; 8]));
                words.as_chunks_mut::<GRANULE>().0[granule] = pulp::cast(lanes);
                from += mask.count_ones() as usize;
            }
        }

        #[inline(always)]
        fn any(self, words: &[u64; GRANULE]) -> (u64, u8) {
            let (f, lanes) = (self.avx512f, load(*words));
            let halves = f._mm512_or_si512(lanes, f._mm512_alignr_epi64::<4>(lanes, lanes));
            let quarters = f._mm512_or_si512(halves, f._mm512_alignr_epi64::<2>(halves, halves));
            let quarters: [u64; 8] = pulp::cast(quarters);
            (quarters[0] | quarters[1], f._mm512_test_epi64_mask(lanes, lanes))
        }

        #[inline(always)]
        fn compress(self, words: &[u64; GRANULE], out: &mut [u64; GRANULE]) -> usize {
            let (f, lanes) = (self.avx512f, load(*words));
            let mask = f._mm512_test_epi64_mask(lanes, lanes);
            let less = f._mm512_sub_epi64(lanes, load([1; 8]));
            *out = pulp::cast(f._mm512_maskz_compress_epi64(mask, less));
            mask.count_ones() as usize
        }

        #[inline(always)]
        fn sum(self, words: &mut [u64], before: u64, step: u64) {
            let f = self.avx512f;
            let mut before = load([before; 8]);
            let step = load([step; 8]);
            for words in words.as_chunks_mut::<GRANULE>().0 {
                let sums = self.sums(f._mm512_add_epi64(load(*words), step));
                *words = pulp::cast(f._mm512_add_epi64(sums, before));
                // Not the last of what was stored: so only one addition waits for the granule before.
                before = f._mm512_add_epi64(before, self.last(sums));
            }
        }

        #[inline(always)]
        fn xor(self, words: &mut [u64], before: u64, shift: u8) {
            let f = self.avx512f;
            let mut before = load([before; 8]);
            let shift = load([u64::from(shift); 8]);
            for words in words.as_chunks_mut::<GRANULE>().0 {
                let all = self.xors(f._mm512_sllv_epi64(load(*words), shift));
                *words = pulp::cast(f._mm512_xor_si512(all, before));
                before = f._mm512_xor_si512(before, self.last(all));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
use {pulp::x86::V3, x86::Wide};

/// Code that runs on whichever vectors there are.
pub(super) trait OnVectors {
    type Output;

    fn on<V: Vectors>(self, vectors: V) -> Self::Output;
}

/// Runs it on the machine's widest vectors, up to the limit.
#[inline]
pub(super) fn dispatch<J: OnVectors>(limit: Level, job: J) -> J::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if limit >= Level::Avx512
            && let Some(wide) = Wide::try_new()
        {
            return job.on(wide);
        }
        if limit >= Level::Avx2
            && let Some(v3) = V3::try_new()
        {
            return job.on(v3);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = limit;
    job.on(Scalar)
}

#[cfg(test)]
mod tests {
    use super::super::granule::allowed_width;
    use super::*;
    use crate::codec::layout::GRANULES_MAX;
    use proptest::prelude::*;

    /// All steps on the same words, each of which fits the width.
    struct Steps<'a> {
        words: &'a [u64],
        width: u8,
        masks: &'a Masks,
    }

    impl OnVectors for Steps<'_> {
        type Output = [Vec<u64>; 4];

        fn on<V: Vectors>(self, vectors: V) -> Self::Output {
            let mut unpacked = vec![0; self.words.len()];
            let granules = self.words.as_chunks().0.iter().zip(unpacked.as_chunks_mut().0);
            for (words, unpacked) in granules {
                let mut window = [0xaa; WINDOW_BYTES];
                Scalar.pack(words, self.width, &mut window);
                vectors.unpack(&window, self.width, unpacked);
            }
            let (mut sums, mut xors) = (self.words.to_vec(), self.words.to_vec());
            vectors.sum(&mut sums, 3, u64::MAX);
            vectors.xor(&mut xors, 5, self.width.min(63));
            let count = self.masks.granules().len() * GRANULE;
            let mut spread = self.words[..count].to_vec();
            spread.rotate_left(self.masks.count());
            spread.extend([0xaa; GRANULE]);
            vectors.spread(self.masks, &mut spread);
            spread.truncate(count);
            [unpacked, sums, xors, spread]
        }
    }

    proptest! {
        #[test]
        fn every_vector_form_equals_the_scalar_one(
            granules in prop::collection::vec(any::<([u64; GRANULE], u8)>(), 1..GRANULES_MAX),
            bits in 0u32..=58,
        ) {
            let width = allowed_width(bits);
            let words: Vec<u64> = granules.iter().flat_map(|(words, _)| words.map(|w| w & mask(width))).collect();
            let (mut bytes, mut count) = ([0; GRANULES_MAX], 0);
            for ((_, mask), byte) in granules.iter().zip(&mut bytes) {
                *byte = *mask;
                count += mask.count_ones() as usize;
            }
            let masks = Masks::new(bytes, words.len(), count);
            let steps = || Steps { words: &words, width, masks: &masks };
            let expect = steps().on(Scalar);
            prop_assert_eq!(&expect[0], &words);
            for level in Level::ALL {
                prop_assert_eq!(&dispatch(level, steps()), &expect, "{:?}", level);
            }
        }
    }
}
