//! Looks over a column for what is rare in it: one pass, many values at a time.

use crate::arch::ARCH;
use pulp::{Simd, WithSimd};

/// Whether some value has exactly these bits.
pub fn contains_bits(values: &[f64], bits: u64) -> bool {
    ARCH.dispatch(ContainsBits { values: bytemuck::must_cast_slice(values), bits })
}

/// Vectors looked at before it is decided whether to go on.
const RUN: usize = 16;

struct ContainsBits<'a> {
    values: &'a [u64],
    bits: u64,
}

impl WithSimd for ContainsBits<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let (vectors, rest) = S::as_simd_u64s(self.values);
        let wanted = simd.splat_u64s(self.bits);
        for run in vectors.chunks(RUN) {
            let mut found = simd.equal_u64s(run[0], wanted);
            for &vector in &run[1..] {
                found = simd.or_m64s(found, simd.equal_u64s(vector, wanted));
            }
            if simd.first_true_m64s(found) < S::U64_LANES {
                return true;
            }
        }
        rest.contains(&self.bits)
    }
}

/// How many values are below the bound.
pub fn count_below(values: &[f64], bound: f64) -> usize {
    ARCH.dispatch(CountBelow { values, bound })
}

struct CountBelow<'a> {
    values: &'a [f64],
    bound: f64,
}

impl WithSimd for CountBelow<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let (vectors, rest) = S::as_simd_f64s(self.values);
        let (bound, one, zero) = (simd.splat_f64s(self.bound), simd.splat_u64s(1), simd.splat_u64s(0));
        let mut below = zero;
        for &vector in vectors {
            let is_below = simd.less_than_f64s(vector, bound);
            below = simd.add_u64s(below, simd.select_u64s(is_below, one, zero));
        }
        let lanes: &[u64] = bytemuck::cast_slice(std::slice::from_ref(&below));
        lanes.iter().sum::<u64>() as usize + rest.iter().filter(|value| **value < self.bound).count()
    }
}

/// How many values are below the one before.
pub fn count_falls(values: &[f64]) -> usize {
    let Some((_, later)) = values.split_first() else { return 0 };
    ARCH.dispatch(CountFalls { before: &values[..later.len()], later })
}

struct CountFalls<'a> {
    before: &'a [f64],
    later: &'a [f64],
}

impl WithSimd for CountFalls<'_> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let (before, before_rest) = S::as_simd_f64s(self.before);
        let (later, later_rest) = S::as_simd_f64s(self.later);
        let (one, zero) = (simd.splat_u64s(1), simd.splat_u64s(0));
        let mut falls = zero;
        for (&before, &later) in before.iter().zip(later) {
            falls = simd.add_u64s(falls, simd.select_u64s(simd.less_than_f64s(later, before), one, zero));
        }
        let lanes: &[u64] = bytemuck::cast_slice(std::slice::from_ref(&falls));
        let rest = before_rest.iter().zip(later_rest).filter(|(before, later)| later < before).count();
        lanes.iter().sum::<u64>() as usize + rest
    }
}

/// Appends every place whose value is below the one before, in ascending order.
pub fn falls(values: &[f64], out: &mut Vec<u32>) {
    ARCH.dispatch(Falls { values, out });
}

struct Falls<'a> {
    values: &'a [f64],
    out: &'a mut Vec<u32>,
}

impl WithSimd for Falls<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Some((_, later)) = self.values.split_first() else { return };
        let before = &self.values[..later.len()];
        let (later_vectors, later_rest) = S::as_simd_f64s(later);
        let (before_vectors, before_rest) = S::as_simd_f64s(before);
        for (i, (&after, &value)) in later_vectors.iter().zip(before_vectors).enumerate() {
            if simd.first_true_m64s(simd.less_than_f64s(after, value)) < S::F64_LANES {
                let from = i * S::F64_LANES;
                let lanes = from..from + S::F64_LANES;
                each_fall(&before[lanes.clone()], &later[lanes], from, self.out);
            }
        }
        let from = later.len() - later_rest.len();
        each_fall(before_rest, later_rest, from, self.out);
    }
}

/// Where there are some falls there are often many, and no telling where: no branch for each.
#[inline(always)]
fn each_fall(before: &[f64], later: &[f64], from: usize, out: &mut Vec<u32>) {
    let mut count = out.len();
    out.resize(count + later.len().min(before.len()), 0);
    for (i, (before, after)) in before.iter().zip(later).enumerate() {
        out[count] = (from + i + 1) as u32;
        count += usize::from(after < before);
    }
    out.truncate(count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![6 => (0..5u8).prop_map(f64::from), 1 => Just(f64::NAN), 1 => Just(-0.0), 1 => any::<f64>()]
    }

    proptest! {
        #[test]
        fn what_is_found_is_there(values in prop::collection::vec(value(), 0..300), rising in any::<bool>()) {
            let mut values = values;
            if rising {
                values.sort_by(f64::total_cmp);
            }
            let expect: Vec<u32> =
                (1..values.len()).filter(|i| values[*i] < values[*i - 1]).map(|i| i as u32).collect();
            let mut got = Vec::new();
            falls(&values, &mut got);
            prop_assert_eq!(count_falls(&values), expect.len());
            prop_assert_eq!(got, expect);
            let bound = values.first().copied().unwrap_or(0.0);
            prop_assert_eq!(count_below(&values, bound), values.iter().filter(|v| **v < bound).count());
            for wanted in [(-0.0f64).to_bits(), f64::NAN.to_bits(), 0, 17] {
                let expect = values.iter().any(|v| v.to_bits() == wanted);
                prop_assert_eq!(contains_bits(&values, wanted), expect);
            }
        }
    }
}
