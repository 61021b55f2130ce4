//! `anchored` and `smoothed` range vectors: windows that see beyond their edges, so that nothing has to be
//! extrapolated. *Anchored* takes the newest sample at or before the start as the value there; *smoothed*
//! interpolates at both edges between the samples around them.

mod histogram;

use super::{RangeCall, Samples, Scratch, histogram_samples, mixed};
use crate::exec::histogram::divided;
use crate::exec::notes::Notes;
use crate::exec::tile::StepColumn;
use crate::exec::window::over_time::differ;
use crate::functions::RangeKind;
use crate::syntax::ast::Extended;
use std::sync::Arc;

/// The functions that such a range vector may be given to, as error texts list them.
pub fn allowed(extended: Extended) -> (&'static str, &'static [RangeKind]) {
    use RangeKind::*;
    match extended {
        Extended::Anchored => {
            ("changes, delta, increase, rate, resets", &[Changes, Delta, Increase, Rate, Resets])
        }
        Extended::Smoothed => ("delta, increase, rate", &[Delta, Increase, Rate]),
    }
}

/// What one window sees; not empty, no stale markers.
struct View<'a> {
    times: &'a [i64],
    values: &'a [f64],
    start_ms: i64,
    end_ms: i64,
    smoothed: bool,
}

/// Evaluates every window; returns the looks at histograms.
pub fn evaluate(
    scratch: &Scratch,
    call: &RangeCall,
    extended: Extended,
    samples: Samples<'_>,
    metric: &str,
    out: &mut StepColumn,
    notes: &mut Notes,
) -> u64 {
    let mut looks = 0;
    for step in 0..call.windows.count {
        let seen = scratch.bounds.window(step);
        if !samples.histograms.is_empty() {
            let window = scratch.histogram_bounds.window(step);
            looks +=
                samples.histograms[window.clone()].iter().map(|(_, h)| histogram_samples(h)).sum::<u64>();
            if !window.is_empty() {
                with_histograms(
                    call,
                    step,
                    &mixed::View { samples: samples.within(seen, window), metric },
                    out,
                    notes,
                );
                continue;
            }
        }
        if seen.is_empty() {
            continue;
        }
        let view = View {
            times: &samples.times[seen.clone()],
            values: &samples.values[seen],
            start_ms: call.windows.start_ms(step),
            end_ms: call.windows.end_ms(step),
            smoothed: extended == Extended::Smoothed,
        };
        if let Some(value) = view.evaluate(call) {
            out.set(step, value);
        }
    }
    looks
}

/// One window that sees histograms, perhaps beside floats.
fn with_histograms(
    call: &RangeCall,
    step: usize,
    seen: &mixed::View<'_>,
    out: &mut StepColumn,
    notes: &mut Notes,
) {
    let (start_ms, end_ms) = (call.windows.start_ms(step), call.windows.end_ms(step));
    if matches!(call.kind, RangeKind::Changes | RangeKind::Resets) {
        if let Some(view) = seen.anchored(start_ms) {
            view.evaluate(call, step, out, notes);
        }
        return;
    }
    if !seen.samples.times.is_empty() {
        return seen.mixed(call, notes);
    }
    let view = histogram::View {
        all: seen.samples.histograms,
        start_ms,
        end_ms,
        smoothed: call.extended == Some(Extended::Smoothed),
        metric: seen.metric,
        position: call.position,
    };
    let found = match call.kind {
        RangeKind::Last => view.at_end(notes),
        RangeKind::Delta => view.change(false, notes).map(Arc::new),
        RangeKind::Rate => {
            let seconds = call.windows.length_ms as f64 / 1000.0;
            view.change(true, notes).map(|change| Arc::new(divided(&change, seconds)))
        }
        _ => view.change(true, notes).map(Arc::new),
    };
    if let Some(found) = found {
        out.set_histogram(step, found);
    }
}

/// On the line through samples `i` and `i + 1`. A counter that fell started over from zero.
fn between(times: &[i64], values: &[f64], i: usize, at_ms: i64, is_counter: bool) -> f64 {
    let (mut from, to) = (values[i], values[i + 1]);
    if is_counter && to < from {
        from = 0.0;
    }
    from + (to - from) * (at_ms - times[i]) as f64 / (times[i + 1] - times[i]) as f64
}

impl View<'_> {
    fn evaluate(&self, call: &RangeCall) -> Option<f64> {
        match call.kind {
            RangeKind::Last => self.at_end(),
            RangeKind::Changes => self.count(differ),
            RangeKind::Resets => self.count(|before, now| now < before),
            RangeKind::Delta => self.change(false),
            RangeKind::Rate => self.change(true).map(|c| c / (call.windows.length_ms as f64 / 1000.0)),
            _ => self.change(true),
        }
    }

    /// The newest sample at or before the start, else the first; nothing where no sample lies within.
    fn first(&self, last: usize) -> Option<usize> {
        if self.times[last] <= self.start_ms {
            return None;
        }
        let after = self.times[..self.times.len() - 1].partition_point(|&t| t <= self.start_ms);
        Some(after.saturating_sub(1))
    }

    fn change(&self, is_counter: bool) -> Option<f64> {
        let (times, values) = (self.times, self.values);
        let newest = times.len() - 1;
        let last = if self.smoothed { times[..newest].partition_point(|&t| t < self.end_ms) } else { newest };
        let first = self.first(last)?;
        // Between two samples that lie on either side of the whole window there is nothing to know.
        if self.smoothed && times[first] > self.end_ms {
            return None;
        }
        let left = if self.smoothed && times[first] < self.start_ms {
            between(times, values, first, self.start_ms, is_counter)
        } else {
            values[first]
        };
        let right = if self.smoothed && last > 0 && times[last] > self.end_ms {
            between(times, values, last - 1, self.end_ms, is_counter)
        } else {
            values[last]
        };
        let mut change = right - left;
        if is_counter {
            let from = if times[first] <= self.start_ms { first + 1 } else { first };
            let to = if times[last] >= self.end_ms { last } else { last + 1 };
            let mut before = left;
            for &value in values.get(from..to).unwrap_or(&[]).iter().chain([&right]) {
                if value < before {
                    change += before;
                }
                before = value;
            }
        }
        Some(change)
    }

    fn count(&self, hit: impl Fn(f64, f64) -> bool) -> Option<f64> {
        let first = self.first(self.times.len() - 1)?;
        Some(self.values[first..].windows(2).filter(|w| hit(w[0], w[1])).count() as f64)
    }

    /// The value at the end of the window itself, as a smoothed instant selector sees it.
    fn at_end(&self) -> Option<f64> {
        let after = self.times.partition_point(|&t| t <= self.end_ms);
        let newest = after.checked_sub(1)?;
        if self.times[newest] == self.end_ms || after == self.times.len() {
            return Some(self.values[newest]);
        }
        Some(between(self.times, self.values, newest, self.end_ms, false))
    }
}
