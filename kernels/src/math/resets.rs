//! Increases over windows of values that fall often, where a list of the falls would be as long as the values.
//! Each step is a lane of its own and adds in the order of the values, so that a result is the same to the last
//! bit as one that is computed window by window.

use crate::arch::ARCH;
use pulp::{Simd, WithSimd};

/// Windows that are equally long, and each so far behind the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regular {
    /// Of the values, where the first window begins.
    pub first: usize,
    /// Values.
    pub length: usize,
    /// Values from one window's begin to the next; at least 1.
    pub stride: usize,
    /// Windows.
    pub count: usize,
}

/// Added to any sum it leaves it as it is, -0.0 too.
const NOTHING: f64 = -0.0;

/// What was lost on the way to each value: the value before, where that is larger.
pub fn losses(values: &[f64], out: &mut Vec<f64>) {
    out.clear();
    out.resize(values.len(), NOTHING);
    let Some((_, later)) = values.split_first() else { return };
    ARCH.dispatch(Losses { before: &values[..later.len()], later, out: &mut out[1..] });
}

struct Losses<'a> {
    before: &'a [f64],
    later: &'a [f64],
    out: &'a mut [f64],
}

impl WithSimd for Losses<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (before, before_rest) = S::as_simd_f64s(self.before);
        let (later, later_rest) = S::as_simd_f64s(self.later);
        let (out, out_rest) = S::as_mut_simd_f64s(self.out);
        let nothing = simd.splat_f64s(NOTHING);
        for ((out, &before), &later) in out.iter_mut().zip(before).zip(later) {
            *out = simd.select_f64s(simd.less_than_f64s(later, before), before, nothing);
        }
        for ((out, &before), &later) in out_rest.iter_mut().zip(before_rest).zip(later_rest) {
            *out = if later < before { before } else { NOTHING };
        }
    }
}

/// Adds to each window's sum what was lost within it, which is at all its values but the first. `planes` is a
/// buffer.
///
/// # Panics
///
/// Where a window reaches behind the values, or there is not one sum a window.
pub fn add_losses(windows: Regular, losses: &[f64], planes: &mut Vec<f64>, sums: &mut [f64]) {
    let Regular { first, length, stride, count } = windows;
    assert!(sums.len() == count);
    let Some(last) = count.checked_sub(1) else { return };
    assert!(first + last * stride + length <= losses.len());
    // Plane r has every stride-th value from the r-th on: the j-th values of all windows stand side by side.
    let plane = losses.len().div_ceil(stride);
    let planes = if stride == 1 {
        losses
    } else {
        planes.clear();
        planes.resize(plane * stride, NOTHING);
        for r in 0..stride {
            let column = losses[r.min(losses.len())..].iter().step_by(stride);
            planes[r * plane..][..plane].iter_mut().zip(column).for_each(|(to, from)| *to = *from);
        }
        &planes[..]
    };
    for at in first + 1..first + length {
        let from = at % stride * plane + at / stride;
        ARCH.dispatch(Add { sums, values: &planes[from..from + count] });
    }
}

struct Add<'a> {
    sums: &'a mut [f64],
    values: &'a [f64],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (sums, sums_rest) = S::as_mut_simd_f64s(self.sums);
        let (values, values_rest) = S::as_simd_f64s(self.values);
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum = simd.add_f64s(*sum, value);
        }
        for (sum, &value) in sums_rest.iter_mut().zip(values_rest) {
            *sum += value;
        }
    }
}

/// How far windows reach, a lane a window: seconds, of times alone.
#[derive(Debug, Clone, Copy)]
pub struct Reaches<'a> {
    /// From the first to the last sample.
    pub sampled: &'a [f64],
    /// How far the slope is carried on before the first and after the last sample.
    pub to_start: &'a [f64],
    pub to_end: &'a [f64],
}

/// What an increase is multiplied with that is carried on to the edges of its window, but not to below zero.
/// `reach`: sampled, to the start, to the end.
#[inline(always)]
pub fn factor(first: f64, increase: f64, reach: [f64; 3], divisor: f64) -> f64 {
    let [sampled, to_start, to_end] = reach;
    let to_zero = sampled * (first / increase);
    let starts = increase > 0.0 && first >= 0.0 && to_zero < to_start;
    let to_start = if starts { to_zero } else { to_start };
    (sampled + to_start + to_end) / sampled / divisor
}

/// Multiplies each increase with its [`factor`]. All slices are equally long.
pub fn extrapolate(firsts: &[f64], reaches: Reaches<'_>, divisor: f64, increases: &mut [f64]) {
    let Reaches { sampled, to_start, to_end } = reaches;
    let lengths = [firsts.len(), sampled.len(), to_start.len(), to_end.len()];
    assert!(lengths.iter().all(|length| *length == increases.len()));
    ARCH.dispatch(Extrapolate { firsts, reaches, divisor, increases });
}

struct Extrapolate<'a> {
    firsts: &'a [f64],
    reaches: Reaches<'a>,
    divisor: f64,
    increases: &'a mut [f64],
}

impl WithSimd for Extrapolate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (firsts, firsts_rest) = S::as_simd_f64s(self.firsts);
        let (sampled, sampled_rest) = S::as_simd_f64s(self.reaches.sampled);
        let (to_start, to_start_rest) = S::as_simd_f64s(self.reaches.to_start);
        let (to_end, to_end_rest) = S::as_simd_f64s(self.reaches.to_end);
        let (increases, increases_rest) = S::as_mut_simd_f64s(self.increases);
        let (zero, divisor) = (simd.splat_f64s(0.0), simd.splat_f64s(self.divisor));
        for (i, increase) in increases.iter_mut().enumerate() {
            let (first, sampled, to_start, to_end) = (firsts[i], sampled[i], to_start[i], to_end[i]);
            let to_zero = simd.mul_f64s(sampled, simd.div_f64s(first, *increase));
            let rises = simd.less_than_f64s(zero, *increase);
            let starts = simd.and_m64s(rises, simd.less_than_or_equal_f64s(zero, first));
            let starts = simd.and_m64s(starts, simd.less_than_f64s(to_zero, to_start));
            let to_start = simd.select_f64s(starts, to_zero, to_start);
            let all = simd.add_f64s(simd.add_f64s(sampled, to_start), to_end);
            let factor = simd.div_f64s(simd.div_f64s(all, sampled), divisor);
            *increase = simd.mul_f64s(*increase, factor);
        }
        for (i, increase) in increases_rest.iter_mut().enumerate() {
            let reach = [sampled_rest[i], to_start_rest[i], to_end_rest[i]];
            *increase *= factor(firsts_rest[i], *increase, reach, self.divisor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            6 => (-3..9i8).prop_map(f64::from),
            1 => Just(f64::NAN),
            1 => Just(-0.0),
            1 => any::<f64>()
        ]
    }

    /// NaNs are one: their sign is nobody's promise.
    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|v| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() }).collect()
    }

    proptest! {
        #[test]
        fn windows_lose_what_they_lose_one_by_one(
            values in prop::collection::vec(value(), 2..300),
            (first, length, stride) in (0..9usize, 1..30usize, 1..12usize),
        ) {
            let room = values.len().saturating_sub(first);
            let count = if room < length { 0 } else { (room - length) / stride + 1 };
            let windows = Regular { first, length, stride, count };
            let of = |k: usize| &values[first + k * stride..][..length];
            let mut sums: Vec<f64> = (0..count).map(|k| of(k)[length - 1] - of(k)[0]).collect();
            let expect: Vec<f64> = (0..count)
                .map(|k| {
                    let falls = of(k).windows(2).filter(|pair| pair[1] < pair[0]);
                    falls.fold(sums[k], |sum, pair| sum + pair[0])
                })
                .collect();
            let (mut lost, mut planes) = (Vec::new(), Vec::new());
            losses(&values, &mut lost);
            add_losses(windows, &lost, &mut planes, &mut sums);
            prop_assert_eq!(bits(&sums), bits(&expect));
        }

        #[test]
        fn extrapolation_is_that_of_one(
            lanes in prop::collection::vec((value(), value(), 0.1..9f64, 0.0..3f64, 0.0..3f64), 0..40),
            divisor in prop_oneof![Just(1.0), 1.0..900f64],
        ) {
            let column = |f: fn(&(f64, f64, f64, f64, f64)) -> f64| lanes.iter().map(f).collect::<Vec<f64>>();
            let (firsts, mut increases) = (column(|l| l.0), column(|l| l.1));
            let (sampled, to_start, to_end) = (column(|l| l.2), column(|l| l.3), column(|l| l.4));
            let expect: Vec<f64> =
                lanes.iter().map(|l| l.1 * factor(l.0, l.1, [l.2, l.3, l.4], divisor)).collect();
            let reaches = Reaches { sampled: &sampled, to_start: &to_start, to_end: &to_end };
            extrapolate(&firsts, reaches, divisor, &mut increases);
            prop_assert_eq!(bits(&increases), bits(&expect));
        }
    }
}
