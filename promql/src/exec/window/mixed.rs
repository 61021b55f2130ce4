//! Windows of series that have native histograms, alone or beside floats: one window at a time.

use super::{RangeCall, Samples, Scratch, histogram_samples};
use crate::exec::histogram::{self, HistogramTotal, Remarks, layout::Sparse, reset};
use crate::exec::notes::{Note, Notes};
use crate::exec::tile::StepColumn;
use crate::exec::window::counter::{Extrapolation, Reach};
use crate::exec::window::over_time::differ;
use crate::exec::window::start::Span;
use crate::functions::RangeKind;
use crate::query::QueryError;
use hearth_model::{CounterReset, Histogram};
use std::sync::Arc;

/// What a window of such a series sees.
pub struct View<'a> {
    pub samples: Samples<'a>,
    pub metric: &'a str,
}

/// Evaluates every window; returns the looks at histograms.
pub fn evaluate(
    scratch: &mut Scratch,
    call: &RangeCall,
    samples: Samples<'_>,
    metric: &str,
    out: &mut StepColumn,
    notes: &mut Notes,
) -> Result<u64, QueryError> {
    let floats_only = matches!(
        call.kind,
        RangeKind::Min
            | RangeKind::Max
            | RangeKind::Stddev
            | RangeKind::Stdvar
            | RangeKind::Quantile
            | RangeKind::Mad
            | RangeKind::Deriv
            | RangeKind::PredictLinear
            | RangeKind::DoubleExponentialSmoothing
            | RangeKind::TsOfMax
            | RangeKind::TsOfMin
    );
    if floats_only {
        scratch.floats(call, samples, out)?;
    }
    let mut looks = 0;
    for step in 0..call.windows.count {
        let (floats, window) = (scratch.bounds.window(step), scratch.histogram_bounds.window(step));
        let view = View { samples: samples.within(floats, window), metric };
        looks += view.samples.histograms.iter().map(|(_, h)| histogram_samples(h)).sum::<u64>();
        if !floats_only {
            view.evaluate(call, step, out, notes);
        } else if !view.samples.histograms.is_empty() && out.present.get(step) {
            notes.add(call.position, Note::HistogramIgnoredInMixedRange { metric: metric.to_owned() });
        }
    }
    Ok(looks)
}

impl<'a> View<'a> {
    /// From the newest sample at or before the start, of whichever kind; nothing where no sample lies
    /// after the start.
    pub fn anchored(&self, start_ms: i64) -> Option<View<'a>> {
        let floats_before = self.samples.times.partition_point(|&t| t <= start_ms);
        let histograms_before = self.samples.histograms.partition_point(|(t, _)| *t <= start_ms);
        if floats_before == self.samples.times.len() && histograms_before == self.samples.histograms.len() {
            return None;
        }
        let float = floats_before.checked_sub(1).map(|i| self.samples.times[i]);
        let histogram = histograms_before.checked_sub(1).map(|i| self.samples.histograms[i].0);
        let anchor = float.max(histogram);
        let skip = |before: usize, newest: Option<i64>| before - usize::from(before > 0 && newest == anchor);
        let floats = skip(floats_before, float)..self.samples.times.len();
        let histograms = skip(histograms_before, histogram)..self.samples.histograms.len();
        Some(View { samples: self.samples.within(floats, histograms), metric: self.metric })
    }

    pub fn evaluate(&self, call: &RangeCall, step: usize, out: &mut StepColumn, notes: &mut Notes) {
        let newest_float = self.samples.times.last();
        match call.kind {
            RangeKind::Count => {
                self.set(out, step, (self.samples.times.len() + self.samples.histograms.len()) as f64)
            }
            RangeKind::Present => self.set(out, step, 1.0),
            RangeKind::Changes => self.set(out, step, self.count(|now, before| now.1.changed(&before.1))),
            RangeKind::Resets => self.set(out, step, self.count(was_reset)),
            RangeKind::First => match (self.samples.times.first(), self.samples.histograms.first()) {
                (float, Some((time, h))) if float.is_none_or(|f| time < f) => {
                    out.set_histogram(step, h.clone());
                }
                (Some(_), _) => out.set(step, self.samples.values[0]),
                (None, _) => {}
            },
            RangeKind::Last => match (newest_float, self.samples.histograms.last()) {
                (float, Some((time, h))) if float.is_none_or(|f| time > f) => {
                    out.set_histogram(step, h.clone());
                }
                (Some(_), _) => out.set(step, self.samples.values[self.samples.values.len() - 1]),
                (None, _) => {}
            },
            RangeKind::TsOfFirst | RangeKind::TsOfLast => {
                let both = [
                    self.samples.times.first(),
                    newest_float,
                    self.samples.histograms.first().map(|(t, _)| t),
                    self.samples.histograms.last().map(|(t, _)| t),
                ];
                let times = both.into_iter().flatten().copied();
                let time = if call.kind == RangeKind::TsOfFirst { times.min() } else { times.max() };
                if let Some(time) = time {
                    out.set(step, time as f64 / 1000.0);
                }
            }
            RangeKind::Sum | RangeKind::Avg => self.total(call, step, out, notes),
            RangeKind::Rate | RangeKind::Increase | RangeKind::Delta => {
                self.extrapolated(call, step, out, notes);
            }
            RangeKind::Irate | RangeKind::Idelta => self.instant(call, step, out, notes),
            _ => {}
        }
    }

    fn set(&self, out: &mut StepColumn, step: usize, value: f64) {
        if !self.samples.is_empty() {
            out.set(step, value);
        }
    }

    /// Floats and histograms in the order of time.
    fn in_order(&self) -> impl Iterator<Item = Stamped<'_>> {
        let samples = &self.samples;
        let (mut f, mut h) = (0, 0);
        std::iter::from_fn(move || {
            let float_first = match (samples.times.get(f), samples.histograms.get(h)) {
                (Some(time), Some((other, _))) => time < other,
                (float, _) => float.is_some(),
            };
            if float_first {
                f += 1;
                return Some((samples.float_span(f - 1), Sample::Float(samples.values[f - 1])));
            }
            h += 1;
            let (_, histogram) = samples.histograms.get(h - 1)?;
            Some((samples.histogram_span(h - 1), Sample::Histogram(histogram)))
        })
    }

    fn count(&self, hit: impl Fn(&Stamped<'_>, &Stamped<'_>) -> bool) -> f64 {
        self.in_order().zip(self.in_order().skip(1)).filter(|(before, now)| hit(now, before)).count() as f64
    }

    pub fn mixed(&self, call: &RangeCall, notes: &mut Notes) {
        notes.add(call.position, Note::MixedFloatsHistograms { metric: self.metric.to_owned() });
    }

    fn total(&self, call: &RangeCall, step: usize, out: &mut StepColumn, notes: &mut Notes) {
        let Some(((_, first), rest)) = self.samples.histograms.split_first() else {
            let kernel = super::over_time::simple(call.kind);
            if let Some(kernel) = kernel.filter(|_| !self.samples.values.is_empty()) {
                out.set(step, kernel(self.samples.values));
            }
            return;
        };
        if !self.samples.times.is_empty() {
            return self.mixed(call, notes);
        }
        let mut total = HistogramTotal::new(first, call.kind == RangeKind::Avg);
        rest.iter().for_each(|(_, h)| total.add(h));
        let result = if call.kind == RangeKind::Avg { total.mean() } else { total.sum() };
        match result {
            Some(histogram) => {
                total.note(call.position, notes);
                out.set_histogram(step, Arc::new(histogram));
            }
            None => self.incompatible(call, notes),
        }
    }

    fn incompatible(&self, call: &RangeCall, notes: &mut Notes) {
        notes.add(call.position, Note::MixedExponentialCustom { metric: self.metric.to_owned() });
    }

    fn extrapolated(&self, call: &RangeCall, step: usize, out: &mut StepColumn, notes: &mut Notes) {
        let samples = &self.samples;
        if !samples.times.is_empty() && !samples.histograms.is_empty() {
            self.mixed(call, notes);
        } else if !samples.times.is_empty() {
            self.extrapolated_floats(call, step, out, notes);
        } else if !samples.histograms.is_empty() {
            self.extrapolated_histograms(call, step, out, notes);
        }
    }

    /// How far a counter's samples reach when it is known to have started within the window, from nothing.
    fn since_start(
        &self,
        call: &RangeCall,
        step: usize,
        first: Span,
        last: Span,
        count: usize,
    ) -> Option<Reach> {
        if call.kind == RangeKind::Delta {
            return None;
        }
        let start_ms = first.within(call.windows.start_ms(step))?;
        let end_ms = call.windows.end_ms(step);
        Some(Reach::since(start_ms, count, first.time_ms, last.time_ms, end_ms))
    }

    fn extrapolated_floats(&self, call: &RangeCall, step: usize, out: &mut StepColumn, notes: &mut Notes) {
        let (values, times) = (self.samples.values, self.samples.times);
        let last = times.len() - 1;
        let is_counter = call.kind != RangeKind::Delta;
        let divisor = Extrapolation::divisor(call);
        let mut change = values[last] - values[0];
        for i in (1..=last).filter(|_| is_counter) {
            let (before, now) = (self.samples.float_span(i - 1), self.samples.float_span(i));
            self.note_overlap(call, before, now, notes);
            if values[i] < values[i - 1] || now.is_reset_after(before) {
                change += values[i - 1];
            }
        }
        let (first, newest) = (self.samples.float_span(0), self.samples.float_span(last));
        if let Some(reach) = self.since_start(call, step, first, newest, last + 1) {
            out.set(step, (change + values[0]) * reach.factor(divisor));
        } else if last > 0 {
            let (start, end) = (call.windows.start_ms(step), call.windows.end_ms(step));
            let reach = Reach::of(last + 1, times[0], times[last], start, end);
            let factor = match is_counter {
                true => reach.factor_of_counter(values[0], change, divisor),
                false => reach.factor(divisor),
            };
            out.set(step, change * factor);
        }
    }

    fn extrapolated_histograms(
        &self,
        call: &RangeCall,
        step: usize,
        out: &mut StepColumn,
        notes: &mut Notes,
    ) {
        let all = self.samples.histograms;
        let last = all.len() - 1;
        let is_counter = call.kind != RangeKind::Delta;
        let divisor = Extrapolation::divisor(call);
        let change = match last {
            0 => None,
            _ => match self.increase(call, is_counter, notes) {
                None => return,
                change => change,
            },
        };
        let (first, newest) = (self.samples.histogram_span(0), self.samples.histogram_span(last));
        let since_start = self.since_start(call, step, first, newest, last + 1);
        let (change, factor) = match (change, since_start) {
            (None, None) => return,
            (None, Some(reach)) => (Histogram::clone(&all[0].1), reach.factor(divisor)),
            (Some(change), Some(reach)) => {
                let mut total = Sparse::of(&change);
                match total.add(Sparse::of(&all[0].1), 1.0) {
                    Err(_) => return self.incompatible(call, notes),
                    Ok(remarks) => without_resets(remarks).note("addition", call.position, notes),
                }
                (total.into_histogram(), reach.factor(divisor))
            }
            (Some(change), None) => {
                let (start, end) = (call.windows.start_ms(step), call.windows.end_ms(step));
                let reach = Reach::of(last + 1, all[0].0, all[last].0, start, end);
                let factor = match is_counter {
                    true => reach.factor_of_counter(all[0].1.count, change.count, divisor),
                    false => reach.factor(divisor),
                };
                (change, factor)
            }
        };
        out.set_histogram(step, Arc::new(histogram::scaled(&change, factor)));
    }

    fn note_overlap(&self, call: &RangeCall, before: Span, now: Span, notes: &mut Notes) {
        if now.overlaps(before) {
            notes.add(call.position, Note::StartTimeOverlap { metric: self.metric.to_owned() });
        }
    }

    /// Last minus first; what was lost at resets is added back for counters.
    fn increase(&self, call: &RangeCall, is_counter: bool, notes: &mut Notes) -> Option<Histogram> {
        let all = self.samples.histograms;
        let (first, last) = (&*all[0].1, &*all[all.len() - 1].1);
        let is_gauge = |h: &Histogram| h.reset == CounterReset::Gauge;
        let metric = || self.metric.to_owned();
        let mut said = Notes::default();
        if is_counter && (is_gauge(first) || is_gauge(last)) {
            said.add(call.position, Note::NativeNotCounter { metric: metric() });
        }
        // A first sample before a reset does not count: its layout must not matter either.
        let second = &*all[1].1;
        let span = |i: usize| self.samples.histogram_span(i);
        let skipped = is_counter && (span(1).is_reset_after(span(0)) || reset::detect(second, first));
        let blank = skipped.then(|| Histogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            sum: 0.0,
            ..Histogram::stale()
        });
        let before = blank.as_ref().unwrap_or(first);
        if last.is_custom() != before.is_custom() {
            notes.merge(said);
            self.incompatible(call, notes);
            return None;
        }
        let mut schema = last.schema.min(before.schema);
        for (_, h) in all[1..all.len() - 1].iter().filter(|_| is_counter) {
            if is_gauge(h) {
                said.add(call.position, Note::NativeNotCounter { metric: metric() });
            }
            // Where nothing comes out, this alone is said.
            if h.is_custom() != before.is_custom() {
                self.incompatible(call, notes);
                return None;
            }
            schema = schema.min(h.schema);
        }
        let mut total = Sparse::of(last);
        total.coarsen(schema);
        let remarks = total.add(Sparse::of(before), -1.0).ok()?;
        without_resets(remarks).note("subtraction", call.position, &mut said);
        if is_counter {
            let mut before = before;
            for (i, (_, now)) in all.iter().enumerate().skip(1) {
                self.note_overlap(call, span(i - 1), span(i), &mut said);
                if span(i).is_reset_after(span(i - 1)) || reset::detect(now, before) {
                    let remarks = total.add(Sparse::of(before), 1.0).ok()?;
                    without_resets(remarks).note("addition", call.position, &mut said);
                }
                before = now;
            }
        } else if !(is_gauge(first) && is_gauge(last)) {
            said.add(call.position, Note::NativeNotGauge { metric: metric() });
        }
        total.reset = CounterReset::Gauge;
        notes.merge(said);
        Some(total.into_histogram())
    }

    /// From the last two samples.
    fn instant(&self, call: &RangeCall, step: usize, out: &mut StepColumn, notes: &mut Notes) {
        let is_rate = call.kind == RangeKind::Irate;
        let (mut newest, mut before): (Option<Stamped<'_>>, Option<Stamped<'_>>) = (None, None);
        for sample in self.in_order() {
            before = newest.replace(sample);
        }
        let (Some((from, before)), Some((to, newest))) = (before, newest) else { return };
        let seconds = if is_rate { (to.time_ms - from.time_ms) as f64 / 1000.0 } else { 1.0 };
        let started = is_rate && to.is_reset_after(from);
        match (before, newest) {
            (Sample::Float(before), Sample::Float(now)) => {
                let change = if started || (is_rate && now < before) { now } else { now - before };
                out.set(step, change / seconds);
            }
            (Sample::Histogram(before), Sample::Histogram(now)) => {
                let gauge = |h: &Histogram| h.reset == CounterReset::Gauge;
                let metric = self.metric.to_owned();
                let gauges = gauge(now) && gauge(before);
                if is_rate && (gauge(now) || gauge(before)) {
                    notes.add(call.position, Note::NativeNotCounter { metric });
                } else if !is_rate && !gauges {
                    notes.add(call.position, Note::NativeNotGauge { metric });
                }
                let change = if started || (is_rate && reset::detect(now, before)) {
                    let mut change = Histogram::clone(now);
                    change.reset = CounterReset::Gauge;
                    change
                } else {
                    match histogram::combined(now, before, true) {
                        Ok(combined) => {
                            combined.note_bounds("subtraction", call.position, notes);
                            combined.histogram
                        }
                        Err(_) => return self.incompatible(call, notes),
                    }
                };
                out.set_histogram(step, Arc::new(histogram::divided(&change, seconds)));
            }
            _ => self.mixed(call, notes),
        }
    }
}

type Stamped<'a> = (Span, Sample<'a>);

enum Sample<'a> {
    Float(f64),
    Histogram(&'a Histogram),
}

impl Sample<'_> {
    fn changed(&self, before: &Sample<'_>) -> bool {
        match (before, self) {
            (Sample::Float(a), Sample::Float(b)) => differ(*a, *b),
            (Sample::Histogram(a), Sample::Histogram(b)) => !histogram::equal(a, b),
            _ => true,
        }
    }
}

fn was_reset(now: &Stamped<'_>, before: &Stamped<'_>) -> bool {
    let fell = match (&before.1, &now.1) {
        (Sample::Float(a), Sample::Float(b)) => b < a,
        (Sample::Histogram(a), Sample::Histogram(b)) => reset::detect(b, a),
        _ => return true,
    };
    fell || now.0.is_reset_after(before.0)
}

/// Resets are dealt with one by one, so that it does not matter which of them contradict.
fn without_resets(remarks: Remarks) -> Remarks {
    Remarks { reset_collision: false, ..remarks }
}
