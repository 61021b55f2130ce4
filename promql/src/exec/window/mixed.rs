//! Windows of series that have native histograms, alone or beside floats: one window at a time.

use super::{RangeCall, Samples, Scratch, histogram_samples};
use crate::exec::histogram::{self, HistogramTotal, Remarks, layout::Sparse, reset};
use crate::exec::notes::{Note, Notes};
use crate::exec::tile::StepColumn;
use crate::exec::window::counter::{Extrapolation, Reach};
use crate::exec::window::over_time::differ;
use crate::functions::RangeKind;
use crate::query::QueryError;
use hearth_model::{CounterReset, Histogram};
use std::ops::Range;
use std::sync::Arc;

type Stamped = (i64, Arc<Histogram>);

/// What a window of such a series sees.
pub struct View<'a> {
    pub times: &'a [i64],
    pub values: &'a [f64],
    pub histograms: &'a [Stamped],
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
        let view = View::new(samples, floats, window, metric);
        looks += view.histograms.iter().map(|(_, h)| histogram_samples(h)).sum::<u64>();
        if !floats_only {
            view.evaluate(call, step, out, notes);
        } else if !view.histograms.is_empty() && out.present.get(step) {
            notes.add(call.position, Note::HistogramIgnoredInMixedRange { metric: metric.to_owned() });
        }
    }
    Ok(looks)
}

impl<'a> View<'a> {
    pub fn new(
        samples: Samples<'a>,
        floats: Range<usize>,
        histograms: Range<usize>,
        metric: &'a str,
    ) -> View<'a> {
        View {
            times: &samples.times[floats.clone()],
            values: &samples.values[floats],
            histograms: &samples.histograms[histograms],
            metric,
        }
    }

    /// From the newest sample at or before the start, of whichever kind; nothing where no sample lies
    /// after the start.
    pub fn anchored(&self, start_ms: i64) -> Option<View<'a>> {
        let floats_before = self.times.partition_point(|&t| t <= start_ms);
        let histograms_before = self.histograms.partition_point(|(t, _)| *t <= start_ms);
        if floats_before == self.times.len() && histograms_before == self.histograms.len() {
            return None;
        }
        let float = floats_before.checked_sub(1).map(|i| self.times[i]);
        let histogram = histograms_before.checked_sub(1).map(|i| self.histograms[i].0);
        let anchor = float.max(histogram);
        let skip = |before: usize, newest: Option<i64>| before - usize::from(before > 0 && newest == anchor);
        let floats = skip(floats_before, float);
        Some(View {
            times: &self.times[floats..],
            values: &self.values[floats..],
            histograms: &self.histograms[skip(histograms_before, histogram)..],
            metric: self.metric,
        })
    }

    pub fn evaluate(&self, call: &RangeCall, step: usize, out: &mut StepColumn, notes: &mut Notes) {
        let newest_float = self.times.last();
        match call.kind {
            RangeKind::Count => self.set(out, step, (self.times.len() + self.histograms.len()) as f64),
            RangeKind::Present => self.set(out, step, 1.0),
            RangeKind::Changes => self.set(out, step, self.count(|a, b| a.changed(b))),
            RangeKind::Resets => self.set(out, step, self.count(|a, b| a.was_reset(b))),
            RangeKind::First => match (self.times.first(), self.histograms.first()) {
                (float, Some((time, h))) if float.is_none_or(|f| time < f) => {
                    out.set_histogram(step, h.clone());
                }
                (Some(_), _) => out.set(step, self.values[0]),
                (None, _) => {}
            },
            RangeKind::Last => match (newest_float, self.histograms.last()) {
                (float, Some((time, h))) if float.is_none_or(|f| time > f) => {
                    out.set_histogram(step, h.clone());
                }
                (Some(_), _) => out.set(step, self.values[self.values.len() - 1]),
                (None, _) => {}
            },
            RangeKind::TsOfFirst | RangeKind::TsOfLast => {
                let both = [
                    self.times.first(),
                    newest_float,
                    self.histograms.first().map(|(t, _)| t),
                    self.histograms.last().map(|(t, _)| t),
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

    fn is_empty(&self) -> bool {
        self.times.is_empty() && self.histograms.is_empty()
    }

    fn set(&self, out: &mut StepColumn, step: usize, value: f64) {
        if !self.is_empty() {
            out.set(step, value);
        }
    }

    /// Floats and histograms in the order of time.
    fn samples(&self) -> impl Iterator<Item = (i64, Sample<'_>)> {
        let (mut f, mut h) = (0, 0);
        std::iter::from_fn(move || {
            let float_first = match (self.times.get(f), self.histograms.get(h)) {
                (Some(time), Some((other, _))) => time < other,
                (float, _) => float.is_some(),
            };
            if float_first {
                f += 1;
                return Some((self.times[f - 1], Sample::Float(self.values[f - 1])));
            }
            h += 1;
            self.histograms.get(h - 1).map(|(time, histogram)| (*time, Sample::Histogram(histogram)))
        })
    }

    fn count(&self, hit: impl Fn(&Sample<'_>, &Sample<'_>) -> bool) -> f64 {
        let later = self.samples().skip(1);
        self.samples().zip(later).filter(|((_, before), (_, now))| hit(now, before)).count() as f64
    }

    pub fn mixed(&self, call: &RangeCall, notes: &mut Notes) {
        notes.add(call.position, Note::MixedFloatsHistograms { metric: self.metric.to_owned() });
    }

    fn total(&self, call: &RangeCall, step: usize, out: &mut StepColumn, notes: &mut Notes) {
        let Some(((_, first), rest)) = self.histograms.split_first() else {
            let kernel = super::over_time::simple(call.kind);
            if let Some(kernel) = kernel.filter(|_| !self.values.is_empty()) {
                out.set(step, kernel(self.values));
            }
            return;
        };
        if !self.times.is_empty() {
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
        let is_counter = call.kind != RangeKind::Delta;
        let (start, end) = (call.windows.start_ms(step), call.windows.end_ms(step));
        let divisor = Extrapolation::divisor(call);
        if !self.times.is_empty() && !self.histograms.is_empty() {
            return self.mixed(call, notes);
        }
        if self.times.len() > 1 {
            let last = self.times.len() - 1;
            let reach = Reach::of(last + 1, self.times[0], self.times[last], start, end);
            let mut change = self.values[last] - self.values[0];
            if is_counter {
                for pair in self.values.windows(2).filter(|pair| pair[1] < pair[0]) {
                    change += pair[0];
                }
                out.set(step, change * reach.factor_of_counter(self.values[0], change, divisor));
            } else {
                out.set(step, change * reach.factor(divisor));
            }
        } else if self.histograms.len() > 1 {
            let last = self.histograms.len() - 1;
            let Some(change) = self.increase(call, is_counter, notes) else { return };
            let reach = Reach::of(last + 1, self.histograms[0].0, self.histograms[last].0, start, end);
            let factor = if is_counter {
                reach.factor_of_counter(self.histograms[0].1.count, change.count, divisor)
            } else {
                reach.factor(divisor)
            };
            out.set_histogram(step, Arc::new(histogram::scaled(&change, factor)));
        }
    }

    /// Last minus first; what was lost at resets is added back for counters.
    fn increase(&self, call: &RangeCall, is_counter: bool, notes: &mut Notes) -> Option<Histogram> {
        let all = self.histograms;
        let (first, last) = (&*all[0].1, &*all[all.len() - 1].1);
        let is_gauge = |h: &Histogram| h.reset == CounterReset::Gauge;
        let metric = || self.metric.to_owned();
        let mut said = Notes::default();
        if is_counter && (is_gauge(first) || is_gauge(last)) {
            said.add(call.position, Note::NativeNotCounter { metric: metric() });
        }
        // A first sample before a reset does not count: its layout must not matter either.
        let second = &*all[1].1;
        let skipped = is_counter && reset::detect(second, first);
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
        let bounds = |remarks: Remarks| Remarks { reset_collision: false, ..remarks };
        bounds(total.add(Sparse::of(before), -1.0).ok()?).note("subtraction", call.position, &mut said);
        if is_counter {
            let mut before = before;
            for (_, now) in &all[1..] {
                if reset::detect(now, before) {
                    let remarks = total.add(Sparse::of(before), 1.0).ok()?;
                    bounds(remarks).note("addition", call.position, &mut said);
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
        let mut newest: Option<(i64, Sample<'_>)> = None;
        let mut before: Option<(i64, Sample<'_>)> = None;
        for sample in self.samples() {
            before = newest.replace(sample);
        }
        let (Some((from, before)), Some((to, newest))) = (before, newest) else { return };
        let seconds = if is_rate { (to - from) as f64 / 1000.0 } else { 1.0 };
        match (before, newest) {
            (Sample::Float(before), Sample::Float(now)) => {
                let change = if is_rate && now < before { now } else { now - before };
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
                let change = if is_rate && reset::detect(now, before) {
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

    fn was_reset(&self, before: &Sample<'_>) -> bool {
        match (before, self) {
            (Sample::Float(a), Sample::Float(b)) => b < a,
            (Sample::Histogram(a), Sample::Histogram(b)) => reset::detect(b, a),
            _ => true,
        }
    }
}
