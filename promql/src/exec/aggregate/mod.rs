//! Aggregations. Those that fold ([`FoldOp`]) keep one small state for each group and step, are computed
//! beside the data, and merge between shards; the others ([`ranked`]) need the values themselves and run
//! over the merged tile.

mod best;
pub mod ranked;

use super::histogram::HistogramTotal;
use super::limits::{Held, Limits};
use super::notes::{Note, Notes};
use super::sum::{Mean, Neumaier, Variance};
use super::tile::{Row, RowLabels, StepColumn, Tile, words_for};
use crate::query::QueryError;
use crate::syntax::PositionRange;
use crate::syntax::ast::AggregateOp;
use hearth_kernels::math::sum::add_column;
use std::ops::Range;
use std::sync::Arc;

/// Aggregations with a state of fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
}

impl FoldOp {
    pub fn of(op: AggregateOp) -> Option<FoldOp> {
        Some(match op {
            AggregateOp::Sum => FoldOp::Sum,
            AggregateOp::Avg => FoldOp::Avg,
            AggregateOp::Min => FoldOp::Min,
            AggregateOp::Max => FoldOp::Max,
            AggregateOp::Count => FoldOp::Count,
            AggregateOp::Group => FoldOp::Group,
            AggregateOp::Stddev => FoldOp::Stddev,
            AggregateOp::Stdvar => FoldOp::Stdvar,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            FoldOp::Sum => "sum",
            FoldOp::Avg => "avg",
            FoldOp::Min => "min",
            FoldOp::Max => "max",
            FoldOp::Count => "count",
            FoldOp::Group => "group",
            FoldOp::Stddev => "stddev",
            FoldOp::Stdvar => "stdvar",
        }
    }
}

/// The float states, groups by steps, row by row.
#[derive(Debug)]
enum States {
    Sum {
        totals: Vec<f64>,
        compensations: Vec<f64>,
    },
    Mean(Vec<Mean>),
    Variance(Vec<Variance>),
    /// The extreme so far, or the count.
    Value(Vec<f64>),
}

impl States {
    fn new(op: FoldOp) -> States {
        match op {
            FoldOp::Sum => States::Sum { totals: Vec::new(), compensations: Vec::new() },
            FoldOp::Avg => States::Mean(Vec::new()),
            FoldOp::Stddev | FoldOp::Stdvar => States::Variance(Vec::new()),
            FoldOp::Min | FoldOp::Max | FoldOp::Count | FoldOp::Group => States::Value(Vec::new()),
        }
    }

    fn resize(&mut self, cells: usize) {
        match self {
            States::Sum { totals, compensations } => {
                // -0 is the neutral element of addition: 0 would turn a lone -0 into 0.
                totals.resize(cells, -0.0);
                compensations.resize(cells, 0.0);
            }
            States::Mean(means) => means.resize(cells, Mean::default()),
            States::Variance(variances) => variances.resize(cells, Variance::default()),
            States::Value(values) => values.resize(cells, 0.0),
        }
    }

    /// Merges a whole group where what was never seen changes nothing; false where that is not so.
    fn merge_whole(&mut self, op: FoldOp, at: Range<usize>, other: &States, from: Range<usize>) -> bool {
        match (self, other) {
            (States::Sum { totals, compensations }, States::Sum { totals: t, compensations: c }) => {
                let (totals, compensations) = (&mut totals[at.clone()], &mut compensations[at]);
                add_column(totals, compensations, &t[from.clone()]);
                for ((compensation, theirs), total) in compensations.iter_mut().zip(&c[from]).zip(totals) {
                    *compensation += if total.is_infinite() { 0.0 } else { *theirs };
                }
                true
            }
            (States::Value(counts), States::Value(theirs)) if op == FoldOp::Count => {
                counts[at].iter_mut().zip(&theirs[from]).for_each(|(count, theirs)| *count += theirs);
                true
            }
            _ => false,
        }
    }

    fn bytes_per_cell(&self) -> usize {
        match self {
            States::Sum { .. } => 16,
            States::Mean(_) => size_of::<Mean>(),
            States::Variance(_) => size_of::<Variance>(),
            States::Value(_) => 8,
        }
    }
}

/// The states of all groups of one aggregation, on one shard or of all shards.
#[derive(Debug)]
pub struct Accumulator {
    op: FoldOp,
    steps: usize,
    groups: usize,
    states: States,
    /// Groups by steps: a float was seen.
    floats: Vec<u64>,
    /// Groups by steps, empty until a histogram is seen.
    histograms: Vec<Option<Box<HistogramTotal>>>,
    histogram_ignored: bool,
    held: Held,
}

impl Accumulator {
    pub fn new(op: FoldOp, steps: usize, limits: &Arc<Limits>) -> Accumulator {
        Accumulator {
            op,
            steps,
            groups: 0,
            states: States::new(op),
            floats: Vec::new(),
            histograms: Vec::new(),
            histogram_ignored: false,
            held: Held::nothing(limits),
        }
    }

    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Memory that was charged for it.
    pub fn size_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Makes room for groups up to, not including, `groups`.
    pub fn reach(&mut self, groups: usize) -> Result<(), QueryError> {
        if groups <= self.groups {
            return Ok(());
        }
        let added = (groups - self.groups) * self.steps;
        self.held.grow(added * (self.states.bytes_per_cell() + 1), added as u64)?;
        self.groups = groups;
        self.states.resize(groups * self.steps);
        self.floats.resize(groups * words_for(self.steps), 0);
        if !self.histograms.is_empty() {
            self.histograms.resize_with(groups * self.steps, || None);
        }
        Ok(())
    }

    /// Folds one series into a group that [`Accumulator::reach`] made room for.
    pub fn add(&mut self, group: usize, row: Row<'_>) -> Result<(), QueryError> {
        let words = words_for(self.steps);
        let seen = &mut self.floats[group * words..(group + 1) * words];
        let first = group * self.steps;
        let cells = first..first + self.steps;
        match &mut self.states {
            States::Sum { totals, compensations } => {
                sum_row(&mut totals[cells.clone()], &mut compensations[cells], row);
            }
            States::Mean(means) => each_float(row, |step, value| means[first + step].add(value)),
            States::Variance(variances) => {
                each_float(row, |step, value| variances[first + step].add(value));
            }
            States::Value(values) => add_value(self.op, &mut values[cells], seen, row),
        }
        for (seen, present) in seen.iter_mut().zip(row.present) {
            *seen |= present;
        }
        if row.histograms.is_empty() { Ok(()) } else { self.add_histograms(group, row) }
    }

    fn add_histograms(&mut self, group: usize, row: Row<'_>) -> Result<(), QueryError> {
        let first = group * self.steps;
        for (step, histogram) in row.histograms.iter().enumerate() {
            let Some(histogram) = histogram else { continue };
            match self.op {
                FoldOp::Count | FoldOp::Group => {
                    let States::Value(values) = &mut self.states else { unreachable!("counts are values") };
                    values[first + step] += 1.0;
                    let words = words_for(self.steps);
                    self.floats[group * words + step / 64] |= 1 << (step % 64);
                }
                FoldOp::Sum | FoldOp::Avg => {
                    if self.histograms.is_empty() {
                        self.histograms.resize_with(self.groups * self.steps, || None);
                    }
                    match &mut self.histograms[first + step] {
                        Some(total) => total.add(histogram),
                        empty => {
                            self.held.grow(histogram.size_bytes(), 1)?;
                            *empty = Some(Box::new(HistogramTotal::new(histogram, self.op == FoldOp::Avg)));
                        }
                    }
                }
                FoldOp::Min | FoldOp::Max | FoldOp::Stddev | FoldOp::Stdvar => self.histogram_ignored = true,
            }
        }
        Ok(())
    }

    /// Folds a partial of another shard in; `groups[i]` is the number here of its group `i`.
    pub fn merge(&mut self, other: Accumulator, groups: &[usize]) -> Result<(), QueryError> {
        let (steps, words) = (self.steps, words_for(self.steps));
        self.histogram_ignored |= other.histogram_ignored;
        for (from, &to) in groups.iter().enumerate() {
            self.reach(to + 1)?;
            let (ours, theirs) = (to * steps..(to + 1) * steps, from * steps..(from + 1) * steps);
            if self.states.merge_whole(self.op, ours, &other.states, theirs) {
                let seen = self.floats[to * words..(to + 1) * words].iter_mut();
                seen.zip(&other.floats[from * words..]).for_each(|(seen, theirs)| *seen |= theirs);
                continue;
            }
            let has = |step: usize| other.floats[from * words + step / 64] >> (step % 64) & 1 == 1;
            for step in (0..steps).filter(|&s| has(s)) {
                let seen = &mut self.floats[to * words + step / 64];
                let first = *seen >> (step % 64) & 1 == 0;
                *seen |= 1 << (step % 64);
                merge_cell(
                    self.op,
                    &mut self.states,
                    to * steps + step,
                    &other.states,
                    from * steps + step,
                    first,
                );
            }
        }
        let mut theirs = other.histograms;
        if !theirs.is_empty() {
            if self.histograms.is_empty() {
                self.histograms.resize_with(self.groups * steps, || None);
            }
            for (from, &to) in groups.iter().enumerate() {
                for step in 0..steps {
                    let Some(total) = theirs[from * steps + step].take() else { continue };
                    match &mut self.histograms[to * steps + step] {
                        Some(sum) => sum.merge(*total),
                        empty => *empty = Some(total),
                    }
                }
            }
        }
        Ok(())
    }

    /// The result: one series for each group, in the order of `labels`.
    pub fn finish(
        self,
        labels: Vec<RowLabels>,
        position: PositionRange,
        metric: impl Fn(usize) -> String,
        notes: &mut Notes,
    ) -> Result<Tile, QueryError> {
        if self.histogram_ignored {
            notes.add(position, Note::HistogramIgnoredInAggregation { operation: self.op.name() });
        }
        let mut tile = Tile::new(self.steps, self.held.limits());
        let mut column = StepColumn::default();
        for (group, labels) in labels.into_iter().enumerate() {
            if self.group_column(group, &mut column, position, notes) {
                notes.add(position, Note::MixedExponentialCustom { metric: metric(group) });
            }
            if column.any() {
                tile.push(labels, column.view())?;
            }
        }
        Ok(tile)
    }

    /// Whether exponential and custom buckets met at some step.
    fn group_column(
        &self,
        group: usize,
        out: &mut StepColumn,
        position: PositionRange,
        notes: &mut Notes,
    ) -> bool {
        let mut incompatible = false;
        let (first, words) = (group * self.steps, words_for(self.steps));
        out.reset(self.steps);
        out.present.words_mut().copy_from_slice(&self.floats[group * words..(group + 1) * words]);
        for step in 0..self.steps {
            let i = first + step;
            out.values[step] = match &self.states {
                States::Sum { totals, compensations } => {
                    Neumaier { sum: totals[i], compensation: compensations[i] }.total()
                }
                States::Mean(means) => means[i].value(),
                States::Variance(v) if self.op == FoldOp::Stddev => v[i].value().sqrt(),
                States::Variance(v) => v[i].value(),
                States::Value(_) if self.op == FoldOp::Group => 1.0,
                States::Value(values) => values[i],
            };
            let Some(Some(total)) = self.histograms.get(i) else { continue };
            if out.present.get(step) {
                out.present.unset(step);
                notes.add(position, Note::MixedFloatsHistogramsAggregation);
                continue;
            }
            let result = if self.op == FoldOp::Avg { total.mean() } else { total.sum() };
            total.note(position, notes);
            incompatible |= total.is_incompatible();
            if let Some(histogram) = result {
                out.set_histogram(step, Arc::new(histogram));
            }
        }
        incompatible
    }
}

#[inline]
fn each_float(row: Row<'_>, mut f: impl FnMut(usize, f64)) {
    for (word, &bits) in row.present.iter().enumerate() {
        let mut bits = bits;
        while bits != 0 {
            let step = word * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            f(step, row.values[step]);
        }
    }
}

/// Runs of steps shorter than this are added one by one.
const SHORT_RUN: usize = 8;

fn sum_row(totals: &mut [f64], compensations: &mut [f64], row: Row<'_>) {
    each_run(row.present, totals.len(), |run| {
        if run.len() >= SHORT_RUN {
            add_column(&mut totals[run.clone()], &mut compensations[run.clone()], &row.values[run]);
            return;
        }
        for step in run {
            let mut cell = Neumaier { sum: totals[step], compensation: compensations[step] };
            cell.add(row.values[step]);
            (totals[step], compensations[step]) = (cell.sum, cell.compensation);
        }
    });
}

/// Calls `f` for every run of bits that are set, as long as it is.
fn each_run(words: &[u64], bits: usize, mut f: impl FnMut(Range<usize>)) {
    let mut at = 0;
    while at < bits {
        // The next bit that is set, and the next after it that is not.
        let Some(start) = find_bit(words, at, bits, 0) else { return };
        let end = find_bit(words, start, bits, u64::MAX).unwrap_or(bits);
        f(start..end);
        at = end;
    }
}

/// The first place from `at` on where the bit differs from those of `not`.
fn find_bit(words: &[u64], at: usize, bits: usize, not: u64) -> Option<usize> {
    let first = (words[at / 64] ^ not) & (u64::MAX << (at % 64));
    let rest = words[at / 64 + 1..].iter().map(|word| word ^ not);
    let (word, found) = std::iter::once(first).chain(rest).enumerate().find(|(_, found)| *found != 0)?;
    Some((at / 64 + word) * 64 + found.trailing_zeros() as usize).filter(|place| *place < bits)
}

fn add_value(op: FoldOp, values: &mut [f64], seen: &[u64], row: Row<'_>) {
    match op {
        FoldOp::Count => each_float(row, |step, _| values[step] += 1.0),
        FoldOp::Group => {}
        _ => each_float(row, |step, value| {
            let first = seen[step / 64] >> (step % 64) & 1 == 0;
            values[step] = extreme(op, first, values[step], value);
        }),
    }
}

/// NaN gives way to everything.
fn extreme(op: FoldOp, first: bool, old: f64, new: f64) -> f64 {
    let better = if op == FoldOp::Min { new < old } else { new > old };
    if first || better || old.is_nan() { new } else { old }
}

fn merge_cell(op: FoldOp, ours: &mut States, to: usize, theirs: &States, from: usize, first: bool) {
    match (ours, theirs) {
        (States::Mean(ours), States::Mean(theirs)) => ours[to].merge(theirs[from]),
        (States::Variance(ours), States::Variance(theirs)) => ours[to].merge(theirs[from]),
        (States::Value(ours), States::Value(theirs)) => match op {
            FoldOp::Group => {}
            _ => ours[to] = extreme(op, first, ours[to], theirs[from]),
        },
        _ => unreachable!("partials of one aggregation have the same states, and sums are merged whole"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_of_bits_is_found_whole() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            let bits = random.usize(1..300);
            let mut words = vec![0u64; bits.div_ceil(64)];
            let (mut set, mut expect) = (random.bool(), Vec::<Range<usize>>::new());
            for bit in 0..bits {
                set ^= random.usize(0..1 + seed as usize / 3) == 0;
                if set {
                    words[bit / 64] |= 1 << (bit % 64);
                    match expect.last_mut().filter(|run| run.end == bit) {
                        Some(run) => run.end += 1,
                        None => expect.push(bit..bit + 1),
                    }
                }
            }
            let mut runs = Vec::new();
            each_run(&words, bits, |run| runs.push(run));
            assert_eq!(runs, expect, "seed {seed}");
        }
    }
}
