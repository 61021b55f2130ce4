//! Native histograms in `anchored` and `smoothed` windows: what [`super`] does with floats, bucket by
//! bucket. Interpolation and corrections are arithmetic of whole histograms, so that layouts are brought
//! together on the way.

use crate::exec::histogram::layout::Sparse;
use crate::exec::histogram::{Remarks, reset};
use crate::exec::notes::{Note, Notes};
use crate::syntax::PositionRange;
use hearth_model::{CounterReset, Histogram};
use std::sync::Arc;

/// What one window sees; not empty, no stale markers.
pub struct View<'a> {
    pub all: &'a [(i64, Arc<Histogram>)],
    pub start_ms: i64,
    pub end_ms: i64,
    pub smoothed: bool,
    pub metric: &'a str,
    pub position: PositionRange,
}

fn is_gauge(histogram: &Histogram) -> bool {
    histogram.reset == CounterReset::Gauge
}

impl View<'_> {
    fn histogram(&self, i: usize) -> &Histogram {
        &self.all[i].1
    }

    fn incompatible(&self, notes: &mut Notes) {
        notes.add(self.position, Note::MixedExponentialCustom { metric: self.metric.to_owned() });
    }

    /// `into + factor * other`; nothing, with a note, where exponential and custom buckets meet.
    fn add(&self, mut into: Sparse, other: &Histogram, factor: f64, notes: &mut Notes) -> Option<Sparse> {
        let Ok(remarks) = into.add(Sparse::of(other), factor) else {
            self.incompatible(notes);
            return None;
        };
        // Resets are looked at one by one, so that it does not matter here which of them contradict.
        let bounds = Remarks { reset_collision: false, ..remarks };
        bounds.note(if factor < 0.0 { "subtraction" } else { "addition" }, self.position, notes);
        Some(into)
    }

    /// On the line through samples `i` and `i + 1`. A counter that was reset started over from nothing.
    fn between(&self, i: usize, at_ms: i64, is_counter: bool, notes: &mut Notes) -> Option<Histogram> {
        let ((from_ms, from), (to_ms, to)) = (&self.all[i], &self.all[i + 1]);
        if at_ms == *from_ms || at_ms == *to_ms {
            return Some(Histogram::clone(if at_ms == *from_ms { from } else { to }));
        }
        let fraction = (at_ms - from_ms) as f64 / (to_ms - from_ms) as f64;
        if is_counter && reset::detect(to, from) {
            let mut grown = Sparse::of(to);
            grown.map(|count| count * fraction);
            return Some(grown.into_histogram());
        }
        let mut change = self.add(Sparse::of(to), from, -1.0, notes)?;
        change.map(|count| count * fraction);
        self.add(change, from, 1.0, notes).map(Sparse::into_histogram)
    }

    /// From edge to edge.
    pub fn change(&self, is_counter: bool, notes: &mut Notes) -> Option<Histogram> {
        let newest = self.all.len() - 1;
        let before = |edge: &dyn Fn(i64) -> bool| self.all[..newest].partition_point(|(t, _)| edge(*t));
        let last = if self.smoothed { before(&|t| t < self.end_ms) } else { newest };
        let first = before(&|t| t <= self.start_ms).saturating_sub(1);
        if self.all[last].0 <= self.start_ms || (self.smoothed && self.all[first].0 > self.end_ms) {
            return None;
        }
        let metric = || self.metric.to_owned();
        for (_, histogram) in &self.all[first..=last] {
            if histogram.is_custom() != self.histogram(first).is_custom() {
                self.incompatible(notes);
                return None;
            }
            if is_counter && is_gauge(histogram) {
                notes.add(self.position, Note::NativeNotCounter { metric: metric() });
            }
        }
        let left = match self.all[first].0 < self.start_ms {
            true if self.smoothed => self.between(first, self.start_ms, is_counter, notes)?,
            _ => Histogram::clone(self.histogram(first)),
        };
        let right = match self.all[last].0 > self.end_ms {
            true if self.smoothed && last > 0 => self.between(last - 1, self.end_ms, is_counter, notes)?,
            _ => Histogram::clone(self.histogram(last)),
        };
        let gauges = is_gauge(&left) && is_gauge(&right);
        if !is_counter && !gauges {
            notes.add(self.position, Note::NativeNotGauge { metric: metric() });
        }
        let mut change = self.add(Sparse::of(&right), &left, -1.0, notes)?;
        if is_counter && let Some(lost) = self.lost_at_resets(first, last, &left, &right, notes)? {
            change = self.add(change, &lost.into_histogram(), 1.0, notes)?;
        }
        change.reset = CounterReset::Gauge;
        Some(change.into_histogram())
    }

    /// What the counter had reached before each reset between the edges. The samples at the edges are not
    /// looked at themselves: what `left` and `right` took over from them, a reset hint too, would count
    /// twice.
    fn lost_at_resets(
        &self,
        first: usize,
        last: usize,
        left: &Histogram,
        right: &Histogram,
        notes: &mut Notes,
    ) -> Option<Option<Sparse>> {
        let (mut before, mut next) = (left, first + 1);
        let interpolated = self.smoothed && self.all[first].0 < self.start_ms;
        if interpolated && reset::detect(self.histogram(first + 1), self.histogram(first)) {
            // This one is in `left` already.
            before = self.histogram(first + 1);
            next += 1;
        }
        if next > last {
            return Some(None);
        }
        let mut lost: Option<Sparse> = None;
        for now in self.all[next..last].iter().map(|(_, h)| &**h).chain([right]) {
            if reset::detect(now, before) {
                lost = Some(match lost {
                    None => Sparse::of(before),
                    Some(lost) => self.add(lost, before, 1.0, notes)?,
                });
            }
            before = now;
        }
        Some(lost)
    }

    /// The histogram at the end of the window itself, as a smoothed instant selector sees it.
    pub fn at_end(&self, notes: &mut Notes) -> Option<Arc<Histogram>> {
        let after = self.all.partition_point(|(t, _)| *t <= self.end_ms);
        let newest = after.checked_sub(1)?;
        let (time_ms, histogram) = &self.all[newest];
        if *time_ms == self.end_ms {
            return Some(histogram.clone());
        }
        let Some((_, next)) = self.all.get(after) else {
            // The hint is about the sample before it, and says nothing of this one carried on.
            return Some(Arc::new(Histogram { reset: CounterReset::Unknown, ..Histogram::clone(histogram) }));
        };
        if histogram.is_custom() != next.is_custom() {
            self.incompatible(notes);
            return None;
        }
        let is_counter = !(is_gauge(histogram) && is_gauge(next));
        self.between(newest, self.end_ms, is_counter, notes).map(Arc::new)
    }
}
