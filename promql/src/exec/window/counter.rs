//! `rate`, `increase`, `delta`, `irate`, `idelta`: differences between samples of a window,
//! extrapolated to its edges as Prometheus does it.

use super::{Bounds, RangeCall, Run, Samples};
use crate::exec::tile::StepColumn;
use crate::functions::RangeKind;
use hearth_kernels::math::resets::{self, Reaches, Regular};
use hearth_kernels::math::scan;
use std::ops::Range;

/// How far a window's samples reach towards its edges; from times alone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reach {
    /// From the first to the last sample, seconds.
    pub sampled: f64,
    /// How far the slope is carried on before the first and after the last sample, seconds.
    pub to_start: f64,
    pub to_end: f64,
}

impl Reach {
    /// `count` samples from `first_ms` to `last_ms` within the window `(start_ms, end_ms]`.
    ///
    /// Samples close to an edge (within 1.1 times their mean distance) are taken to continue up to it,
    /// others for half a distance.
    pub fn of(count: usize, first_ms: i64, last_ms: i64, start_ms: i64, end_ms: i64) -> Reach {
        let sampled = (last_ms - first_ms) as f64 / 1000.0;
        let between = sampled / (count - 1) as f64;
        let threshold = between * 1.1;
        let carry = |gap_ms: i64| {
            let gap = gap_ms as f64 / 1000.0;
            if gap >= threshold { between / 2.0 } else { gap }
        };
        Reach { sampled, to_start: carry(first_ms - start_ms), to_end: carry(end_ms - last_ms) }
    }

    /// The same for a counter that is known to have started from zero at `start_ms`, within the window: what
    /// lies before counts for nothing. One sample alone has no distance to another, and reaches no further.
    pub fn since(start_ms: i64, count: usize, first_ms: i64, last_ms: i64, end_ms: i64) -> Reach {
        let sampled = (last_ms - first_ms) as f64 / 1000.0;
        let between = if count > 1 { sampled / (count - 1) as f64 } else { 0.0 };
        let gap = (end_ms - last_ms) as f64 / 1000.0;
        let to_end = if gap >= between * 1.1 { between / 2.0 } else { gap };
        Reach { sampled: (last_ms - start_ms) as f64 / 1000.0, to_start: 0.0, to_end }
    }

    /// What the difference between last and first sample is multiplied with; `divisor` turns an increase
    /// into a rate.
    pub fn factor(&self, divisor: f64) -> f64 {
        (self.sampled + self.to_start + self.to_end) / self.sampled / divisor
    }

    /// A counter starts at zero, not below: where its slope would reach zero within the window, it is
    /// carried back only so far.
    pub fn factor_of_counter(&self, first: f64, increase: f64, divisor: f64) -> f64 {
        resets::factor(first, increase, [self.sampled, self.to_start, self.to_end], divisor)
    }
}

/// The reach of every window, and the factor that follows from it where no counter starts within.
#[derive(Debug, Default)]
pub struct Extrapolation {
    /// As in [`Reach`].
    sampled: Vec<f64>,
    to_start: Vec<f64>,
    to_end: Vec<f64>,
    factors: Vec<f64>,
    /// A counter can have started within a window only where its first value is below this many increases.
    near: Vec<f64>,
    divisor: f64,
    /// Windows with two samples or more.
    wide: Run,
    /// The most of these that are equally long and equally far from each other, and their steps.
    regular: Option<(Range<usize>, Regular)>,
}

impl Extrapolation {
    pub fn needed_by(kind: RangeKind) -> bool {
        matches!(kind, RangeKind::Rate | RangeKind::Increase | RangeKind::Delta)
    }

    /// What an increase is divided by: the length of the window for a rate.
    pub fn divisor(call: &RangeCall) -> f64 {
        match call.kind {
            RangeKind::Rate => call.windows.length_ms as f64 / 1000.0,
            _ => 1.0,
        }
    }

    pub fn fill(&mut self, call: &RangeCall, times: &[i64], bounds: &Bounds) {
        self.divisor = Self::divisor(call);
        for column in [&mut self.sampled, &mut self.to_start, &mut self.to_end] {
            column.clear();
        }
        self.factors.clear();
        self.near.clear();
        self.wide = Run::default();
        for step in 0..call.windows.count {
            let window = bounds.window(step);
            let mut reach = Reach::default();
            if window.len() > 1 {
                let (start, end) = (call.windows.start_ms(step), call.windows.end_ms(step));
                reach = Reach::of(window.len(), times[window.start], times[window.end - 1], start, end);
                self.wide.push(step);
            }
            self.factors.push(reach.factor(self.divisor));
            // The way to zero is as long as the samples reach where the first value equals the increase, and
            // longer where it is larger.
            self.near.push(if reach.to_start <= reach.sampled { 1.0 } else { f64::INFINITY });
            self.sampled.push(reach.sampled);
            self.to_start.push(reach.to_start);
            self.to_end.push(reach.to_end);
        }
        self.regular = self.wide.steps().and_then(|steps| most_regular(bounds, steps));
    }

    /// What the increase of a counter comes to.
    #[inline]
    fn of_counter(&self, step: usize, first: f64, increase: f64) -> f64 {
        if increase > 0.0 && first >= 0.0 && first < increase * self.near[step] {
            let reach = [self.sampled[step], self.to_start[step], self.to_end[step]];
            return increase * resets::factor(first, increase, reach, self.divisor);
        }
        increase * self.factors[step]
    }

    fn reaches(&self, steps: Range<usize>) -> Reaches<'_> {
        Reaches {
            sampled: &self.sampled[steps.clone()],
            to_start: &self.to_start[steps.clone()],
            to_end: &self.to_end[steps],
        }
    }
}

/// The longest run of windows of one length and one distance, among those steps.
fn most_regular(bounds: &Bounds, steps: Range<usize>) -> Option<(Range<usize>, Regular)> {
    let mut best: Option<(Range<usize>, Regular)> = None;
    let mut from = steps.start;
    while from + 1 < steps.end {
        let (length, stride) = (bounds.window(from).len(), bounds.lo[from + 1] - bounds.lo[from]);
        let follows = |step: &usize| {
            bounds.window(*step).len() == length && bounds.lo[*step] - bounds.lo[*step - 1] == stride
        };
        let count = 1 + (from + 1..steps.end).take_while(follows).count();
        // Beyond a window's length its values are no one else's, and nothing is gained.
        let worth = stride > 0 && stride as usize <= length;
        if worth && best.as_ref().is_none_or(|(_, windows)| windows.count < count) {
            let (first, stride) = (bounds.lo[from] as usize, stride as usize);
            best = Some((from..from + count, Regular { first, length, stride, count }));
        }
        from += count.max(2) - 1;
    }
    best
}

/// Buffers for series that fall.
#[derive(Debug, Default)]
pub struct Falls {
    /// Where.
    places: Vec<u32>,
    firsts: Vec<f64>,
    losses: Vec<f64>,
    planes: Vec<f64>,
}

/// Of so many values one falls where falling is no longer rare.
const OFTEN: usize = 8;

/// Counters: what was lost at resets is added back.
pub fn rate(
    values: &[f64],
    bounds: &Bounds,
    extrapolation: &Extrapolation,
    falls: &mut Falls,
    out: &mut StepColumn,
) {
    let count = scan::count_falls(values);
    if let Some(run) = extrapolation.wide.steps() {
        if count == 0 {
            let ends = bounds.lo[run.clone()].iter().zip(&bounds.hi[run.clone()]);
            for (step, (out, (&lo, &hi))) in run.clone().zip(out.fill(run).iter_mut().zip(ends)) {
                let first = values[lo as usize];
                *out = extrapolation.of_counter(step, first, values[hi as usize - 1] - first);
            }
            return;
        }
        if count * OFTEN > values.len() {
            return rate_of_many_falls(values, bounds, (extrapolation, run), falls, out);
        }
    }
    falls.places.clear();
    scan::falls(values, &mut falls.places);
    let mut falls = &falls.places[..];
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if window.len() < 2 {
            continue;
        }
        let first = values[window.start];
        let mut increase = values[window.end - 1] - first;
        // Windows only ever move on: what fell before this one is of no use to those behind it.
        let passed = falls.iter().take_while(|&&i| i as usize <= window.start).count();
        falls = &falls[passed..];
        for &i in falls.iter().take_while(|&&i| (i as usize) < window.end) {
            increase += values[i as usize - 1];
        }
        out.set(step, extrapolation.of_counter(step, first, increase));
    }
}

/// The same for values that go up and down: all steps at once.
fn rate_of_many_falls(
    values: &[f64],
    bounds: &Bounds,
    (extrapolation, run): (&Extrapolation, Range<usize>),
    falls: &mut Falls,
    out: &mut StepColumn,
) {
    let Falls { firsts, losses, planes, .. } = falls;
    resets::losses(values, losses);
    let sums = out.fill(run.clone());
    firsts.clear();
    for (sum, step) in sums.iter_mut().zip(run.clone()) {
        let window = bounds.window(step);
        firsts.push(values[window.start]);
        *sum = values[window.end - 1] - values[window.start];
    }
    let at_once = match &extrapolation.regular {
        Some((steps, windows)) => {
            let some = steps.start - run.start..steps.end - run.start;
            resets::add_losses(*windows, losses, planes, &mut sums[some]);
            steps.clone()
        }
        None => run.start..run.start,
    };
    for (sum, step) in sums.iter_mut().zip(run.clone()).filter(|(_, step)| !at_once.contains(step)) {
        let window = bounds.window(step);
        *sum = losses[window.start + 1..window.end].iter().fold(*sum, |sum, lost| sum + lost);
    }
    resets::extrapolate(firsts, extrapolation.reaches(run), extrapolation.divisor, sums);
}

/// Gauges.
pub fn delta(values: &[f64], bounds: &Bounds, extrapolation: &Extrapolation, out: &mut StepColumn) {
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if window.len() > 1 {
            let change = values[window.end - 1] - values[window.start];
            out.set(step, change * extrapolation.factors[step]);
        }
    }
}

/// From the last two samples only: per second with `is_rate`, where a fall is a reset to zero.
pub fn instant(samples: Samples<'_>, bounds: &Bounds, is_rate: bool, out: &mut StepColumn) {
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if window.len() < 2 {
            continue;
        }
        let last = window.end - 1;
        let (before, value) = (samples.values[last - 1], samples.values[last]);
        let interval_ms = samples.times[last] - samples.times[last - 1];
        if !is_rate {
            out.set(step, value - before);
        } else {
            let increase = if value < before { value } else { value - before };
            out.set(step, increase / (interval_ms as f64 / 1000.0));
        }
    }
}
