//! `rate`, `increase`, `delta`, `irate`, `idelta`: differences between samples of a window,
//! extrapolated to its edges as Prometheus does it.

use super::{Bounds, RangeCall, Samples};
use crate::exec::tile::StepColumn;
use crate::functions::RangeKind;

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
        let mut reach = *self;
        if increase > 0.0 && first >= 0.0 {
            let to_zero = self.sampled * (first / increase);
            if to_zero < reach.to_start {
                reach.to_start = to_zero;
            }
        }
        reach.factor(divisor)
    }
}

/// The reach of every window, and the factor that follows from it where no counter starts within.
#[derive(Debug, Default)]
pub struct Extrapolation {
    reaches: Vec<Reach>,
    factors: Vec<f64>,
    divisor: f64,
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
        self.reaches.clear();
        self.factors.clear();
        for step in 0..call.windows.count {
            let window = bounds.window(step);
            let mut reach = Reach::default();
            if window.len() > 1 {
                let (start, end) = (call.windows.start_ms(step), call.windows.end_ms(step));
                reach = Reach::of(window.len(), times[window.start], times[window.end - 1], start, end);
            }
            self.factors.push(reach.factor(self.divisor));
            self.reaches.push(reach);
        }
    }
}

/// Counters: what was lost at resets is added back.
pub fn rate(values: &[f64], bounds: &Bounds, extrapolation: &Extrapolation, out: &mut StepColumn) {
    let fell = |i: &usize| values[*i] < values[*i - 1];
    let falls: Vec<usize> = (1..values.len()).filter(fell).collect();
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if window.len() < 2 {
            continue;
        }
        let first = values[window.start];
        let mut increase = values[window.end - 1] - first;
        if !falls.is_empty() {
            let from = falls.partition_point(|&i| i <= window.start);
            for &i in falls[from..].iter().take_while(|&&i| i < window.end) {
                increase += values[i - 1];
            }
        }
        let reach = &extrapolation.reaches[step];
        // Only a first sample that is small against the increase can lie near the counter's start.
        let near_zero = increase > 0.0 && first >= 0.0 && reach.sampled * (first / increase) < reach.to_start;
        let factor = if near_zero {
            reach.factor_of_counter(first, increase, extrapolation.divisor)
        } else {
            extrapolation.factors[step]
        };
        out.set(step, increase * factor);
    }
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
