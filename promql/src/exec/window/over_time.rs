//! `*_over_time`, `changes` and `resets`: a window's values boiled down to one.

use super::{Bounds, RangeCall, Samples};
use crate::exec::sum::{Mean, Neumaier, Variance};
use crate::exec::tile::StepColumn;
use crate::functions::RangeKind;
use hearth_kernels::math::scan;
use std::ops::Range;

/// Calls `f` for every window that has samples.
#[inline]
pub fn each(bounds: &Bounds, out: &mut StepColumn, mut f: impl FnMut(Range<usize>) -> f64) {
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if !window.is_empty() {
            let value = f(window);
            out.set(step, value);
        }
    }
}

/// Functions of the values alone. The slice is not empty.
pub fn simple(kind: RangeKind) -> Option<fn(&[f64]) -> f64> {
    Some(match kind {
        RangeKind::Sum => sum,
        RangeKind::Avg => mean,
        RangeKind::Count => |values| values.len() as f64,
        RangeKind::Present => |_| 1.0,
        RangeKind::First => |values| values[0],
        RangeKind::Last => |values| values[values.len() - 1],
        RangeKind::Stdvar => variance,
        RangeKind::Stddev => |values| variance(values).sqrt(),
        RangeKind::Changes => |values| values.windows(2).filter(|w| differ(w[0], w[1])).count() as f64,
        RangeKind::Resets => |values| values.windows(2).filter(|w| w[1] < w[0]).count() as f64,
        _ => return None,
    })
}

/// NaN after NaN is no change.
pub fn differ(a: f64, b: f64) -> bool {
    a != b && !(a.is_nan() && b.is_nan())
}

pub fn sum(values: &[f64]) -> f64 {
    let mut sum = Neumaier::default();
    for &value in values {
        sum.add(value);
    }
    sum.total()
}

pub fn mean(values: &[f64]) -> f64 {
    let mut mean = Mean::default();
    for &value in values {
        mean.add(value);
    }
    mean.value()
}

pub fn variance(values: &[f64]) -> f64 {
    let mut variance = Variance::default();
    for &value in values {
        variance.add(value);
    }
    variance.value()
}

/// The extreme of every window, each sample looked at twice: what came since the window passed `middle` is folded as it
/// comes; what is before it has the extremes from each sample on in `front`. Of equal values the first stays; NaN counts
/// only where there is nothing else, and then the last.
pub fn extreme(
    values: &[f64],
    bounds: &Bounds,
    front: &mut Vec<f64>,
    better: impl Fn(f64, f64) -> bool,
    out: &mut StepColumn,
) {
    let of = |first: f64, second: f64| if first.is_nan() || better(second, first) { second } else { first };
    let (mut base, mut middle, mut taken, mut back) = (0, 0, 0, f64::NAN);
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        let Some((&last, _)) = values.get(window.clone()).and_then(<[f64]>::split_last) else { continue };
        if window.start >= middle {
            (base, middle, taken) = (window.start, window.end, window.end);
            front.clear();
            front.resize(window.len(), last);
            let mut from_here = last;
            for (place, &value) in front.iter_mut().zip(&values[window.clone()]).rev() {
                from_here = of(value, from_here);
                *place = from_here;
            }
        }
        for (at, &value) in (taken..).zip(values.get(taken..window.end).unwrap_or_default()) {
            back = if at == middle { value } else { of(back, value) };
        }
        taken = taken.max(window.end);
        let before = front[window.start - base];
        out.set(step, if taken > middle { of(before, back) } else { before });
    }
}

/// When the extreme was reached, in seconds; of equal ones the last.
pub fn time_of_extreme(
    samples: Samples<'_>,
    bounds: &Bounds,
    better: impl Fn(f64, f64) -> bool,
    out: &mut StepColumn,
) {
    each(bounds, out, |window| {
        let mut at = window.start;
        for i in window {
            if better(samples.values[i], samples.values[at]) || samples.values[at].is_nan() {
                at = i;
            }
        }
        samples.times[at] as f64 / 1000.0
    });
}

/// NaN sorts below everything.
pub fn sort_values(values: &mut [f64]) {
    values.sort_unstable_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a, b) => b.cmp(&a),
    });
}

/// The φ-quantile of values that [`sort_values`] ordered, interpolated between neighbours.
pub fn quantile_of_sorted(q: f64, sorted: &[f64]) -> f64 {
    interpolated(q, sorted.len(), |place| sorted[place])
}

/// The φ-quantile of so many values, of which `at` knows the one at each place in their order.
fn interpolated(q: f64, count: usize, at: impl Fn(usize) -> f64) -> f64 {
    if count == 0 || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let last = (count - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    at(lower as usize) * (1.0 - weight) + at(upper as usize) * weight
}

/// Up to so many values, counting those below one is faster than searching among them.
const COUNTED: usize = 512;

/// The values of a window in order, carried from window to window: what two windows share is not sorted anew.
#[derive(Debug, Default)]
pub struct SortedWindow {
    window: Range<usize>,
    /// NaN sorts below everything, so counting them is enough.
    nans: usize,
    /// The others, ascending, -0 before 0.
    numbers: Vec<f64>,
}

impl SortedWindow {
    /// Another series begins.
    fn restart(&mut self) {
        self.window = 0..0;
        self.nans = 0;
        self.numbers.clear();
    }

    /// Moves on to a window that neither begins nor ends before the one at hand.
    fn advance(&mut self, values: &[f64], window: Range<usize>) {
        let kept = self.window.end.saturating_sub(window.start);
        let changed = (window.start - self.window.start).min(self.window.len()) + (window.len() - kept);
        if changed > kept {
            self.nans = 0;
            self.numbers.clear();
            for &value in &values[window.clone()] {
                if value.is_nan() { self.nans += 1 } else { self.numbers.push(value) }
            }
            self.numbers.sort_unstable_by(f64::total_cmp);
        } else {
            values[self.window.start..window.start].iter().for_each(|&value| self.remove(value));
            values[self.window.end..window.end].iter().for_each(|&value| self.insert(value));
        }
        self.window = window;
    }

    /// Where the value is, or would be.
    fn place(&self, value: f64) -> usize {
        let mut place = if self.numbers.len() <= COUNTED {
            scan::count_below(&self.numbers, value)
        } else {
            self.numbers.partition_point(|known| *known < value)
        };
        // Zeros of both signs are equal.
        while self.numbers.get(place).is_some_and(|known| known.total_cmp(&value).is_lt()) {
            place += 1;
        }
        place
    }

    fn insert(&mut self, value: f64) {
        if value.is_nan() {
            self.nans += 1;
        } else {
            self.numbers.insert(self.place(value), value);
        }
    }

    fn remove(&mut self, value: f64) {
        if value.is_nan() {
            self.nans -= 1;
        } else {
            self.numbers.remove(self.place(value));
        }
    }

    fn at(&self, place: usize) -> f64 {
        place.checked_sub(self.nans).map_or(f64::NAN, |place| self.numbers[place])
    }

    fn quantile(&self, q: f64) -> f64 {
        interpolated(q, self.nans + self.numbers.len(), |place| self.at(place))
    }
}

pub fn quantile(
    call: &RangeCall,
    values: &[f64],
    bounds: &Bounds,
    sorted: &mut SortedWindow,
    out: &mut StepColumn,
) {
    sorted.restart();
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if !window.is_empty() {
            sorted.advance(values, window);
            out.set(step, sorted.quantile(call.params[0].at(step)));
        }
    }
}

/// Median of the distances from the median.
pub fn mad(values: &[f64], bounds: &Bounds, sorted: &mut Vec<f64>, out: &mut StepColumn) {
    each(bounds, out, |window| {
        sorted.clear();
        sorted.extend_from_slice(&values[window]);
        if sorted.iter().any(|v| v.is_nan()) {
            return f64::NAN;
        }
        sort_values(sorted);
        let median = quantile_of_sorted(0.5, sorted);
        for value in sorted.iter_mut() {
            *value = (*value - median).abs();
        }
        sort_values(sorted);
        quantile_of_sorted(0.5, sorted)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(random: &mut fastrand::Rng) -> f64 {
        const ODD: [f64; 4] = [-0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        match random.u8(0..8) {
            0 => ODD[random.usize(0..ODD.len())],
            1 => f64::from_bits(random.u64(..)),
            _ => f64::from(random.u8(0..9)),
        }
    }

    #[test]
    fn extremes_of_moving_windows_are_those_of_each_window() {
        let mut front = Vec::new();
        for seed in 0..400 {
            let mut random = fastrand::Rng::with_seed(seed);
            let values: Vec<f64> = (0..random.usize(0..80)).map(|_| value(&mut random)).collect();
            let mut bounds = Bounds::default();
            let (mut lo, mut hi) = (0, 0);
            let longest = random.u32(1..30);
            for _ in 0..60 {
                lo = (lo + random.u32(0..longest)).min(values.len() as u32);
                hi = (hi + random.u32(0..longest)).clamp(lo, values.len() as u32);
                bounds.lo.push(lo);
                bounds.hi.push(hi);
            }
            let mut out = StepColumn::default();
            out.reset(60);
            extreme(&values, &bounds, &mut front, |a, b| a > b, &mut out);
            for step in 0..60 {
                let window = &values[bounds.window(step)];
                let greater = |best: Option<f64>, &value: &f64| match best {
                    Some(best) if value.is_nan() || best >= value => Some(best),
                    _ => Some(value),
                };
                let numbers = window.iter().filter(|value| !value.is_nan()).fold(None, greater);
                let expect = numbers.or(window.last().copied());
                let got = out.present.get(step).then(|| out.values[step]);
                assert_eq!(
                    got.map(f64::to_bits),
                    expect.map(f64::to_bits),
                    "seed {seed}, step {step}: {window:?}"
                );
            }
        }
    }

    #[test]
    fn a_window_carried_on_is_as_one_sorted_anew() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let values: Vec<f64> = (0..random.usize(1..80)).map(|_| value(&mut random)).collect();
            let (mut carried, mut window) = (SortedWindow::default(), 0..0);
            for _ in 0..40 {
                let start = (window.start + random.usize(0..6)).min(values.len() - 1);
                let end = window.end + random.usize(0..6);
                window = start..end.clamp(start + 1, values.len());
                carried.advance(&values, window.clone());
                let mut sorted = values[window.clone()].to_vec();
                sort_values(&mut sorted);
                let q = random.f64();
                let (got, expect) = (carried.quantile(q), quantile_of_sorted(q, &sorted));
                let same = got.to_bits() == expect.to_bits() || (got.is_nan() && expect.is_nan());
                assert!(same, "seed {seed}: {got} instead of {expect} in {window:?} of {values:?}");
            }
        }
    }
}
