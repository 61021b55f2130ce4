//! Range functions: all windows of one series at once, into one column of steps.
//!
//! 1. [`Bounds`] says which samples each window sees. They depend on the times alone, so series that
//!    share their times share the bounds, and with them the extrapolation factors of `rate`.
//! 2. A kernel walks the windows over slices. Series without histograms (nearly all) take the kernels of
//!    [`counter`], [`over_time`] and [`regression`]; the others go window by window through [`mixed`].
//!
//! Nothing in here reads labels, allocates per sample or waits.

pub mod counter;
pub mod extended;
pub mod mixed;
pub mod over_time;
pub mod part;
pub mod regression;
pub mod start;

use super::notes::Notes;
use super::tile::StepColumn;
use crate::functions::RangeKind;
use crate::plan::InstantValue;
use crate::plan::grid::{Steps, Windows};
use crate::query::QueryError;
use crate::syntax::PositionRange;
use crate::syntax::ast::Extended;
use counter::Extrapolation;
use hearth_kernels::math::scan;
use hearth_model::{Columns, Histogram, STALE_NAN_BITS, is_stale};
use std::ops::Range;
use std::sync::Arc;

/// A scalar argument: one value for all steps, or one for each.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    Constant(f64),
    PerStep(Arc<[f64]>),
}

impl Param {
    #[inline]
    pub fn at(&self, step: usize) -> f64 {
        match self {
            Param::Constant(value) => *value,
            Param::PerStep(values) => values[step],
        }
    }
}

/// A range function with everything it needs but the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeCall {
    pub kind: RangeKind,
    pub params: Vec<Param>,
    pub windows: Windows,
    /// What is looked at: the windows, and with `anchored` or `smoothed` the lookback around them.
    pub seen: Windows,
    pub extended: Option<Extended>,
    /// Whether this is a counter is told by the label for its type, not by its name.
    pub counter_by_type: bool,
    /// When each window's result is evaluated; differs from the window's end by the offset.
    pub steps: Steps,
    /// Of the range vector and of the parameters, for notes.
    pub position: PositionRange,
    pub param_positions: Vec<PositionRange>,
}

impl RangeCall {
    /// Makes sense of counters only.
    pub fn wants_counter(&self) -> bool {
        matches!(self.kind, RangeKind::Rate | RangeKind::Increase)
    }
}

/// One series' samples without stale markers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Samples<'a> {
    pub times: &'a [i64],
    pub values: &'a [f64],
    pub histograms: &'a [(i64, Arc<Histogram>)],
    /// Start timestamps, see [`Columns::starts`].
    pub starts: &'a [i64],
    pub histogram_starts: &'a [i64],
}

impl<'a> Samples<'a> {
    pub fn of(columns: &'a Columns) -> Samples<'a> {
        Samples {
            times: &columns.times,
            values: &columns.values,
            histograms: &columns.histograms,
            starts: &columns.starts,
            histogram_starts: &columns.histogram_starts,
        }
    }

    /// Those of one window.
    pub fn within(&self, floats: Range<usize>, histograms: Range<usize>) -> Samples<'a> {
        Samples {
            times: &self.times[floats.clone()],
            values: &self.values[floats.clone()],
            histograms: &self.histograms[histograms.clone()],
            starts: self.starts.get(floats).unwrap_or(&[]),
            histogram_starts: self.histogram_starts.get(histograms).unwrap_or(&[]),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.times.is_empty() && self.histograms.is_empty()
    }
}

/// Which samples each window sees: those from `lo` up to, not including, `hi`.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    pub lo: Vec<u32>,
    pub hi: Vec<u32>,
    looks: u64,
    some: Run,
}

/// Steps that lie side by side.
#[derive(Debug, Clone, Default)]
pub struct Run {
    start: usize,
    end: usize,
    broken: bool,
}

impl Run {
    /// Takes a step behind those it has.
    fn push(&mut self, step: usize) {
        if self.start == self.end {
            (self.start, self.end) = (step, step);
        }
        self.broken |= step != self.end;
        self.end = step + 1;
    }

    /// The steps, where there is no gap between them.
    fn steps(&self) -> Option<Range<usize>> {
        (!self.broken).then_some(self.start..self.end)
    }
}

impl Bounds {
    /// Both edges only ever move forward, so this is linear in samples plus windows.
    pub fn fill(&mut self, windows: &Windows, len: usize, time: impl Fn(usize) -> i64) {
        self.lo.clear();
        self.hi.clear();
        let (mut lo, mut hi) = (0, 0);
        (self.some, self.looks) = (Run::default(), 0);
        for step in 0..windows.count {
            let (start, end) = (windows.start_ms(step), windows.end_ms(step));
            while hi < len && time(hi) <= end {
                hi += 1;
            }
            while lo < hi && time(lo) <= start {
                lo += 1;
            }
            if lo < hi {
                self.some.push(step);
            }
            self.looks += (hi - lo) as u64;
            self.lo.push(lo as u32);
            self.hi.push(hi as u32);
        }
    }

    #[inline]
    pub fn window(&self, step: usize) -> std::ops::Range<usize> {
        self.lo[step] as usize..self.hi[step] as usize
    }

    /// How often a window looks at a sample, over all windows.
    pub fn looks(&self) -> u64 {
        self.looks
    }
}

/// Buffers that a scan carries from series to series, and what it knows of the times it saw last.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The `times_id` that `bounds` (and `extrapolation`) belong to; 0 for none.
    times_id: u64,
    pub bounds: Bounds,
    pub histogram_bounds: Bounds,
    pub extrapolation: Extrapolation,
    live: Columns,
    pub sorted: Vec<f64>,
    falls: counter::Falls,
    pub sorted_window: over_time::SortedWindow,
    pub front: Vec<f64>,
}

impl Scratch {
    /// Evaluates `call` on one series. `out` is reset first. Returns how many looks at samples it took.
    pub fn evaluate(
        &mut self,
        call: &RangeCall,
        columns: &Columns,
        metric: &str,
        out: &mut StepColumn,
        notes: &mut Notes,
    ) -> Result<u64, QueryError> {
        out.reset(call.windows.count);
        let live = self.without_stale(columns);
        let columns = live.as_ref().unwrap_or(columns);
        let samples = Samples::of(columns);
        if columns.times_id == 0 || columns.times_id != self.times_id {
            self.bounds.fill(&call.seen, samples.times.len(), |i| samples.times[i]);
            if Extrapolation::needed_by(call.kind) {
                self.extrapolation.fill(call, samples.times, &self.bounds);
            }
            self.times_id = columns.times_id;
        }
        let mut looks = self.bounds.looks();
        if let Some(extended) = call.extended {
            self.histogram_bounds.fill(&call.seen, samples.histograms.len(), |i| samples.histograms[i].0);
            looks += extended::evaluate(self, call, extended, samples, metric, out, notes);
        } else if samples.histograms.is_empty() && !samples.has_starts() {
            self.floats(call, samples, out)?;
        } else {
            self.histogram_bounds.fill(&call.windows, samples.histograms.len(), |i| samples.histograms[i].0);
            looks += mixed::evaluate(self, call, samples, metric, out, notes)?;
        }
        if let Some(live) = live {
            self.live = live;
        }
        Ok(looks)
    }

    /// The columns without stale markers, where there are any.
    fn without_stale(&mut self, columns: &Columns) -> Option<Columns> {
        let stale_histogram = columns.histograms.iter().any(|(_, h)| h.is_stale());
        if !stale_histogram && !scan::contains_bits(&columns.values, STALE_NAN_BITS) {
            return None;
        }
        let mut live = std::mem::take(&mut self.live);
        live.clear();
        for (i, (&time, &value)) in columns.times.iter().zip(&columns.values).enumerate() {
            if !is_stale(value) {
                live.times.push(time);
                live.values.push(value);
                live.starts.extend(columns.starts.get(i));
            }
        }
        for (i, histogram) in columns.histograms.iter().enumerate().filter(|(_, (_, h))| !h.is_stale()) {
            live.histograms.push(histogram.clone());
            live.histogram_starts.extend(columns.histogram_starts.get(i));
        }
        Some(live)
    }

    /// A series that has floats only.
    fn floats(
        &mut self,
        call: &RangeCall,
        samples: Samples<'_>,
        out: &mut StepColumn,
    ) -> Result<(), QueryError> {
        use RangeKind::*;
        let bounds = &self.bounds;
        match call.kind {
            Rate | Increase => {
                counter::rate(samples.values, bounds, &self.extrapolation, &mut self.falls, out)
            }
            Delta => counter::delta(samples.values, bounds, &self.extrapolation, out),
            Irate => counter::instant(samples, bounds, true, out),
            Idelta => counter::instant(samples, bounds, false, out),
            Max => over_time::extreme(samples.values, bounds, &mut self.front, |a, b| a > b, out),
            Min => over_time::extreme(samples.values, bounds, &mut self.front, |a, b| a < b, out),
            Quantile => over_time::quantile(call, samples.values, bounds, &mut self.sorted_window, out),
            Mad => over_time::mad(samples.values, bounds, &mut self.sorted, out),
            Deriv => regression::deriv(samples, bounds, out),
            PredictLinear => regression::predict(call, samples, bounds, out),
            DoubleExponentialSmoothing => {
                return regression::smoothing(call, samples.values, bounds, out);
            }
            TsOfFirst => over_time::each(bounds, out, |w| samples.times[w.start] as f64 / 1000.0),
            TsOfLast => over_time::each(bounds, out, |w| samples.times[w.end - 1] as f64 / 1000.0),
            TsOfMax => over_time::time_of_extreme(samples, bounds, |a, b| a >= b, out),
            TsOfMin => over_time::time_of_extreme(samples, bounds, |a, b| a <= b, out),
            kind => {
                if let Some(kernel) = over_time::simple(kind) {
                    over_time::each(bounds, out, |w| kernel(&samples.values[w]));
                }
            }
        }
        Ok(())
    }
}

/// The newest sample in each window, as an instant selector sees it: nothing where that is a stale
/// marker. Returns the samples found.
pub fn latest(
    scratch: &mut Scratch,
    windows: &Windows,
    columns: &Columns,
    value: InstantValue,
    out: &mut StepColumn,
) -> u64 {
    out.reset(windows.count);
    if columns.times_id == 0 || columns.times_id != scratch.times_id {
        scratch.bounds.fill(windows, columns.times.len(), |i| columns.times[i]);
        scratch.times_id = columns.times_id;
    }
    let histograms = &columns.histograms;
    if !histograms.is_empty() {
        scratch.histogram_bounds.fill(windows, histograms.len(), |i| histograms[i].0);
    }
    let mut found = 0;
    if histograms.is_empty() && value == InstantValue::Sample {
        let bounds = &scratch.bounds;
        if let Some(run) = bounds.some.steps()
            && !scan::contains_bits(&columns.values, STALE_NAN_BITS)
        {
            for (out, &hi) in out.fill(run.clone()).iter_mut().zip(&bounds.hi[run.clone()]) {
                *out = columns.values[hi as usize - 1];
            }
            return run.len() as u64;
        }
    }
    for step in 0..windows.count {
        let window = scratch.bounds.window(step);
        let float = (!window.is_empty()).then(|| window.end - 1);
        if !histograms.is_empty() {
            let window = scratch.histogram_bounds.window(step);
            let newest = (!window.is_empty()).then(|| &histograms[window.end - 1]);
            if let Some((time, histogram)) = newest
                && float.is_none_or(|i| columns.times[i] < *time)
            {
                if histogram.is_stale() {
                    continue;
                }
                found += histogram_samples(histogram);
                let start_ms = columns.histogram_starts.get(window.end - 1);
                match value {
                    InstantValue::Time => out.set(step, seconds(*time)),
                    InstantValue::Start => out.set(step, seconds(start_ms.copied().unwrap_or(0))),
                    InstantValue::Sample | InstantValue::InfoTime => {
                        out.set_histogram(step, histogram.clone());
                    }
                }
                continue;
            }
        }
        if let Some(i) = float
            && !is_stale(columns.values[i])
        {
            found += 1;
            let told = match value {
                InstantValue::Sample => columns.values[i],
                InstantValue::Time | InstantValue::InfoTime => seconds(columns.times[i]),
                InstantValue::Start => seconds(columns.starts.get(i).copied().unwrap_or(0)),
            };
            out.set(step, told);
        }
    }
    found
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// How many float samples a histogram counts for against the limit: its size in units of 16 bytes.
pub fn histogram_samples(histogram: &Histogram) -> u64 {
    (histogram.size_bytes() / 16).max(1) as u64
}
