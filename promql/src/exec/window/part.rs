//! A range function over one long series, some steps at a time: between two parts others get their turn,
//! and whoever asked can give up. The parts see the samples that their windows can reach, and nothing of a
//! part is kept for the next.
//!
//! Nearly every series is done at once; only those are parted that would take about a millisecond.

use super::{Param, RangeCall};
use crate::functions::RangeKind;
use crate::plan::grid::{Steps, Windows};
use hearth_model::Columns;

/// Work between two chances to give way, in nanoseconds.
const PART_NS: u64 = 1_000_000;
/// What a sample takes with the kernels that go over a series once, whatever its windows; what looking at a
/// sample in a window takes with those that do arithmetic and with those that sort; and what a native
/// histogram takes. Measured, and rounded up.
const ONCE_NS: u64 = 10;
const ARITHMETIC_NS: u64 = 4;
const SORTING_NS: u64 = 40;
const HISTOGRAM_NS: u64 = 500;

impl RangeCall {
    /// How many steps to evaluate at once over these samples; all of them, unless that takes long.
    pub fn steps_at_once(&self, columns: &Columns) -> usize {
        use RangeKind::*;
        let count = self.seen.count;
        // How many windows see a sample.
        let windows = match self.seen.step_ms {
            0 => count as u64,
            step_ms => ((self.seen.length_ms / step_ms).max(1) as u64).min(count as u64),
        };
        let sample_ns = match self.kind {
            Quantile | Mad => SORTING_NS.saturating_mul(windows),
            Sum
            | Avg
            | Stddev
            | Stdvar
            | Deriv
            | PredictLinear
            | DoubleExponentialSmoothing
            | Changes
            | Resets
            | TsOfMax
            | TsOfMin => ARITHMETIC_NS.saturating_mul(windows),
            _ => ONCE_NS,
        };
        let (floats, histograms) = (columns.times.len() as u64, columns.histograms.len() as u64);
        let all_ns = floats
            .saturating_mul(sample_ns)
            .saturating_add(histograms.saturating_mul(HISTOGRAM_NS.saturating_mul(windows)));
        let parts = all_ns.div_ceil(PART_NS).max(1);
        count.div_ceil(usize::try_from(parts).unwrap_or(usize::MAX)).max(1)
    }

    /// The call for `count` of its steps.
    pub fn part(&self, from: usize, count: usize) -> RangeCall {
        let param = |param: &Param| match param {
            Param::Constant(value) => Param::Constant(*value),
            Param::PerStep(values) => Param::PerStep(values[from..from + count].into()),
        };
        let windows = |windows: &Windows| Windows { first_end_ms: windows.end_ms(from), count, ..*windows };
        RangeCall {
            params: self.params.iter().map(param).collect(),
            windows: windows(&self.windows),
            seen: windows(&self.seen),
            steps: Steps { start_ms: self.steps.time_ms(from), count, ..self.steps },
            ..self.clone()
        }
    }
}

/// The samples that the windows can reach.
pub fn reached(windows: &Windows, all: &Columns, out: &mut Columns) {
    out.clear();
    out.group = all.group;
    let range = windows.covers();
    let from = all.times.partition_point(|&t| t < range.min_ms);
    let to = all.times.partition_point(|&t| t <= range.max_ms).max(from);
    out.times.extend_from_slice(&all.times[from..to]);
    out.values.extend_from_slice(&all.values[from..to]);
    out.starts.extend_from_slice(all.starts.get(from..to).unwrap_or(&[]));
    let from = all.histograms.partition_point(|(t, _)| *t < range.min_ms);
    let to = all.histograms.partition_point(|(t, _)| *t <= range.max_ms).max(from);
    out.histograms.extend_from_slice(&all.histograms[from..to]);
    out.histogram_starts.extend_from_slice(all.histogram_starts.get(from..to).unwrap_or(&[]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::notes::Notes;
    use crate::exec::tile::StepColumn;
    use crate::exec::window::Scratch;
    use crate::syntax::PositionRange;

    fn call(kind: RangeKind, params: Vec<Param>, count: usize, length_ms: i64) -> RangeCall {
        let windows = Windows { first_end_ms: 50_000, step_ms: 700, count, length_ms };
        RangeCall {
            kind,
            params,
            windows,
            seen: windows,
            extended: None,
            counter_by_type: false,
            steps: Steps { start_ms: 50_000, step_ms: 700, count },
            position: PositionRange::default(),
            param_positions: vec![PositionRange::default()],
        }
    }

    fn samples(count: i64) -> Columns {
        let times: Vec<i64> = (0..count).map(|i| i * 100).collect();
        let values = times.iter().map(|t| (t * 7_919 % 1_009) as f64).collect();
        Columns { times, values, ..Columns::default() }
    }

    #[test]
    fn parts_together_are_the_whole() {
        let per_step: Vec<f64> = (0..40).map(|i| f64::from(i) / 40.0).collect();
        for (kind, params) in [
            (RangeKind::Rate, Vec::new()),
            (RangeKind::Sum, Vec::new()),
            (RangeKind::Max, Vec::new()),
            (RangeKind::PredictLinear, vec![Param::Constant(60.0)]),
            (RangeKind::Quantile, vec![Param::PerStep(per_step.into())]),
        ] {
            let (call, all) = (call(kind, params, 40, 20_000), samples(1_000));
            let (mut scratch, mut notes) = (Scratch::default(), Notes::default());
            let (mut whole, mut part, mut some) = Default::default();
            scratch.evaluate(&call, &all, "m", &mut whole, &mut notes).expect("evaluates");
            let mut together = StepColumn::default();
            together.reset(40);
            for from in (0..40).step_by(7) {
                let call = call.part(from, 7.min(40 - from));
                reached(&call.seen, &all, &mut some);
                scratch.evaluate(&call, &some, "m", &mut part, &mut notes).expect("evaluates");
                together.put(from, &part);
            }
            assert_eq!(together.values, whole.values, "{kind:?}");
            assert_eq!(together.present, whole.present, "{kind:?}");
        }
    }

    #[test]
    fn only_long_series_are_parted() {
        let check = |kind, count, length_ms, points, expect| {
            let call = call(kind, Vec::new(), count, length_ms);
            assert_eq!(call.steps_at_once(&samples(points)), expect, "{kind:?}");
        };
        check(RangeKind::Rate, 300, 300_000, 2_000, 300);
        check(RangeKind::Changes, 300, 300_000, 2_000, 100);
        check(RangeKind::Max, 11_000, 3_600_000, 20_000, 11_000);
        check(RangeKind::Sum, 11_000, 3_600_000, 50_000, 11);
        check(RangeKind::Quantile, 100, 70_000_000, 1_000_000, 1);
        check(RangeKind::Last, 1, 1_000, 10, 1);
    }
}
