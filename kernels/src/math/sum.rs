//! Compensated sums of columns: many series folded into one column of totals, each step a lane of its
//! own, so that the order of additions within a step is the order of the series (Neumaier's variant of
//! Kahan's summation, *Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen*, 1974).

use crate::arch::ARCH;
use pulp::{Simd, WithSimd};

/// `(total, compensation)` after adding `value`: the specification of [`add_column`].
#[inline(always)]
pub fn add(total: f64, compensation: f64, value: f64) -> (f64, f64) {
    let sum = total + value;
    let lost = if sum.is_infinite() {
        0.0
    } else if total.abs() >= value.abs() {
        (total - sum) + value
    } else {
        (value - sum) + total
    };
    if sum.is_infinite() { (sum, 0.0) } else { (sum, compensation + lost) }
}

/// Adds `values[i]` to `(totals[i], compensations[i])` for every step. The slices are equally long.
pub fn add_column(totals: &mut [f64], compensations: &mut [f64], values: &[f64]) {
    assert!(totals.len() == values.len() && compensations.len() == values.len());
    ARCH.dispatch(AddColumn { totals, compensations, values });
}

struct AddColumn<'a> {
    totals: &'a mut [f64],
    compensations: &'a mut [f64],
    values: &'a [f64],
}

impl WithSimd for AddColumn<'_> {
    type Output = ();

    // Always inlined, as are its callees: a body behind a call would not be compiled for the wide
    // instruction set.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (totals, totals_rest) = S::as_mut_simd_f64s(self.totals);
        let (comps, comps_rest) = S::as_mut_simd_f64s(self.compensations);
        let (values, values_rest) = S::as_simd_f64s(self.values);
        let infinity = simd.splat_f64s(f64::INFINITY);
        let zero = simd.splat_f64s(0.0);
        for ((total, comp), &value) in totals.iter_mut().zip(comps).zip(values) {
            let sum = simd.add_f64s(*total, value);
            let larger = simd.greater_than_or_equal_f64s(simd.abs_f64s(*total), simd.abs_f64s(value));
            let if_total = simd.add_f64s(simd.sub_f64s(*total, sum), value);
            let if_value = simd.add_f64s(simd.sub_f64s(value, sum), *total);
            let lost = simd.select_f64s(larger, if_total, if_value);
            let infinite = simd.equal_f64s(simd.abs_f64s(sum), infinity);
            *comp = simd.select_f64s(infinite, zero, simd.add_f64s(*comp, lost));
            *total = sum;
        }
        for ((total, comp), &value) in totals_rest.iter_mut().zip(comps_rest).zip(values_rest) {
            (*total, *comp) = add(*total, *comp, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            -1e3..1e3f64,
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(f64::NAN),
            Just(-0.0),
            Just(1e308),
            Just(1e-308)
        ]
    }

    proptest! {
        #[test]
        fn the_vector_form_equals_the_scalar_one(rows in prop::collection::vec(prop::collection::vec(value(), 21), 1..8)) {
            let (mut totals, mut comps) = ([0.0; 21], [0.0; 21]);
            let mut expect = [(0.0, 0.0); 21];
            for row in &rows {
                add_column(&mut totals, &mut comps, row);
                for (e, &v) in expect.iter_mut().zip(row) {
                    *e = add(e.0, e.1, v);
                }
            }
            for (i, e) in expect.iter().enumerate() {
                // Which NaN comes out is the instruction's choice; every other value is exact.
                let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                prop_assert!(same(totals[i], e.0) && same(comps[i], e.1), "step {}: {:?} {:?}", i, (totals[i], comps[i]), e);
            }
        }
    }

    #[test]
    fn small_addends_are_not_lost() {
        let (mut total, mut comp) = (0.0, 0.0);
        for v in [1.0, 1e100, 1.0, -1e100] {
            (total, comp) = add(total, comp, v);
        }
        assert_eq!(total + comp, 2.0);
    }
}
