//! `*_over_time`, `changes` and `resets`: a window's values boiled down to one.

use super::{Bounds, RangeCall, Samples};
use crate::exec::sum::{Mean, Neumaier, Variance};
use crate::exec::tile::StepColumn;
use crate::functions::RangeKind;
use std::collections::VecDeque;
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

/// The extreme of every window, each sample looked at once or twice: the queue holds the candidates,
/// best first. NaN counts only where there is nothing else.
pub fn extreme(
    values: &[f64],
    bounds: &Bounds,
    queue: &mut VecDeque<u32>,
    better: impl Fn(f64, f64) -> bool,
    out: &mut StepColumn,
) {
    queue.clear();
    let mut taken = 0;
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        taken = taken.max(window.start);
        while taken < window.end {
            let value = values[taken];
            if !value.is_nan() {
                // Of equal values the first stays in front.
                while queue.back().is_some_and(|&i| better(value, values[i as usize])) {
                    queue.pop_back();
                }
                queue.push_back(taken as u32);
            }
            taken += 1;
        }
        while queue.front().is_some_and(|&i| (i as usize) < window.start) {
            queue.pop_front();
        }
        if !window.is_empty() {
            out.set(step, queue.front().map_or(values[window.end - 1], |&i| values[i as usize]));
        }
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
    if sorted.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let last = (sorted.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    sorted[lower as usize] * (1.0 - weight) + sorted[upper as usize] * weight
}

pub fn quantile(
    call: &RangeCall,
    values: &[f64],
    bounds: &Bounds,
    sorted: &mut Vec<f64>,
    out: &mut StepColumn,
) {
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if !window.is_empty() {
            sorted.clear();
            sorted.extend_from_slice(&values[window]);
            sort_values(sorted);
            out.set(step, quantile_of_sorted(call.params[0].at(step), sorted));
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
