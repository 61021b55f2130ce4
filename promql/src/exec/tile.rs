//! The executor's batch: S series by T steps, one column of steps for each series.
//!
//! Whether a series has a value at a step is kept in a bitmap beside the values, because NaN is a value.
//! Invariant: where a float is present no histogram is, and the other way round.

use super::limits::{Held, Limits};
use crate::query::QueryError;
use hearth_model::{Histogram, Labels};
use std::ops::Range;
use std::sync::Arc;

/// A fixed number of bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
}

pub(crate) fn words_for(bits: usize) -> usize {
    bits.div_ceil(64)
}

impl Bits {
    pub fn new(bits: usize) -> Bits {
        Bits { words: vec![0; words_for(bits)] }
    }

    /// All zero again, for `bits` bits.
    pub fn reset(&mut self, bits: usize) {
        self.words.clear();
        self.words.resize(words_for(bits), 0);
    }

    #[inline]
    pub fn get(&self, i: usize) -> bool {
        self.words[i / 64] >> (i % 64) & 1 == 1
    }

    #[inline]
    pub fn set(&mut self, i: usize) {
        self.words[i / 64] |= 1 << (i % 64);
    }

    #[inline]
    pub fn unset(&mut self, i: usize) {
        self.words[i / 64] &= !(1 << (i % 64));
    }

    pub fn any(&self) -> bool {
        self.words.iter().any(|&w| w != 0)
    }

    pub fn ones(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }

    pub fn words(&self) -> &[u64] {
        &self.words
    }

    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }
}

/// A histogram at some of the steps.
pub type HistogramCells = Vec<Option<Arc<Histogram>>>;

/// One series' results, step by step: what a kernel fills and an aggregation folds. Used again and again.
#[derive(Debug, Clone, Default)]
pub struct StepColumn {
    pub values: Vec<f64>,
    pub present: Bits,
    /// Empty where no step has a histogram, else one cell a step.
    pub histograms: HistogramCells,
}

impl StepColumn {
    pub fn reset(&mut self, steps: usize) {
        self.values.clear();
        self.values.resize(steps, 0.0);
        self.present.reset(steps);
        self.histograms.clear();
    }

    #[inline]
    pub fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.set(step);
    }

    /// These steps have values, and no others: those that are written to what this returns.
    pub fn fill(&mut self, steps: Range<usize>) -> &mut [f64] {
        for (i, word) in self.present.words_mut().iter_mut().enumerate() {
            let within = |step: usize| step.saturating_sub(i * 64).min(64) as u32;
            let below = |step| u64::MAX.checked_shr(64 - within(step)).unwrap_or(0);
            *word = below(steps.end) & !below(steps.start);
        }
        &mut self.values[steps]
    }

    pub fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.values.len(), None);
        }
        self.present.unset(step);
        self.histograms[step] = Some(histogram);
    }

    /// Writes another column's steps from `from` on.
    pub fn put(&mut self, from: usize, part: &StepColumn) {
        for (i, &value) in part.values.iter().enumerate() {
            if part.present.get(i) {
                self.set(from + i, value);
            } else if let Some(Some(histogram)) = part.histograms.get(i) {
                self.set_histogram(from + i, histogram.clone());
            }
        }
    }

    pub fn any(&self) -> bool {
        self.present.any() || !self.histograms.is_empty()
    }

    pub fn copy_from(&mut self, row: Row<'_>) {
        self.values.clear();
        self.values.extend_from_slice(row.values);
        self.present.reset(row.values.len());
        self.present.words_mut().copy_from_slice(row.present);
        self.histograms.clear();
        if row.histograms.iter().any(Option::is_some) {
            self.histograms.extend_from_slice(row.histograms);
        }
    }

    pub fn view(&self) -> Row<'_> {
        Row { values: &self.values, present: self.present.words(), histograms: &self.histograms }
    }
}

/// What one series has at one step.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    Nothing,
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// A series' column, to be read.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    pub values: &'a [f64],
    pub present: &'a [u64],
    /// Empty, or one cell a step.
    pub histograms: &'a [Option<Arc<Histogram>>],
}

impl<'a> Row<'a> {
    #[inline]
    pub fn has_float(&self, step: usize) -> bool {
        self.present[step / 64] >> (step % 64) & 1 == 1
    }

    /// How many steps in a row have floats from this one on, looked at up to the end of a word: possibly more follow.
    #[inline]
    pub fn run(&self, step: usize) -> usize {
        let rest = self.present[step / 64] >> (step % 64);
        (rest.trailing_ones() as usize).min(self.values.len() - step)
    }

    #[inline]
    pub fn histogram(&self, step: usize) -> Option<&'a Arc<Histogram>> {
        self.histograms.get(step).and_then(Option::as_ref)
    }

    #[inline]
    pub fn cell(&self, step: usize) -> Cell<'a> {
        if self.has_float(step) {
            return Cell::Float(self.values[step]);
        }
        match self.histogram(step) {
            Some(histogram) => Cell::Histogram(histogram),
            None => Cell::Nothing,
        }
    }

    #[inline]
    pub fn has(&self, step: usize) -> bool {
        self.has_float(step) || self.histogram(step).is_some()
    }
}

/// The labels of a tile's series.
#[derive(Debug, Clone, PartialEq)]
pub struct RowLabels {
    pub labels: Labels,
    /// The metric name is to be removed from the result, though operators still see it (only with
    /// delayed name removal).
    pub drop_name: bool,
}

/// Room made before the first series comes, at most: it is not charged before it is used.
const MOST_ROOM_BYTES: usize = 64 << 20;

/// S series by T steps.
#[derive(Debug)]
pub struct Tile {
    steps: usize,
    rows: Vec<RowLabels>,
    values: Vec<f64>,
    present: Vec<u64>,
    /// Empty where no series has a histogram, else one (perhaps empty) list a series.
    histograms: Vec<HistogramCells>,
    held: Held,
}

impl Tile {
    pub fn new(steps: usize, limits: &Arc<Limits>) -> Tile {
        Tile {
            steps,
            rows: Vec::new(),
            values: Vec::new(),
            present: Vec::new(),
            histograms: Vec::new(),
            held: Held::nothing(limits),
        }
    }

    /// A tile that will not move in memory while it takes about so many series.
    pub fn with_room(steps: usize, series: usize, limits: &Arc<Limits>) -> Tile {
        let mut tile = Tile::new(steps, limits);
        let series = series.min(MOST_ROOM_BYTES / (steps * 8).max(1));
        tile.rows.reserve(series);
        tile.values.reserve(series * steps);
        tile.present.reserve(series * words_for(steps));
        tile
    }

    pub fn steps(&self) -> usize {
        self.steps
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn labels(&self, row: usize) -> &RowLabels {
        &self.rows[row]
    }

    pub fn labels_mut(&mut self, row: usize) -> &mut RowLabels {
        &mut self.rows[row]
    }

    pub fn all_labels(&self) -> &[RowLabels] {
        &self.rows
    }

    /// Memory that was charged for it.
    pub fn size_bytes(&self) -> usize {
        self.held.bytes()
    }

    pub fn limits(&self) -> &Arc<Limits> {
        self.held.limits()
    }

    pub fn row(&self, row: usize) -> Row<'_> {
        let words = words_for(self.steps);
        Row {
            values: &self.values[row * self.steps..(row + 1) * self.steps],
            present: &self.present[row * words..(row + 1) * words],
            histograms: self.histograms.get(row).map_or(&[], Vec::as_slice),
        }
    }

    pub fn values_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.steps..(row + 1) * self.steps]
    }

    /// Appends a series, charging what it takes.
    pub fn push(&mut self, labels: RowLabels, column: Row<'_>) -> Result<(), QueryError> {
        debug_assert_eq!(column.values.len(), self.steps);
        let words = words_for(self.steps);
        let bytes =
            self.steps * 8 + words * 8 + std::mem::size_of::<RowLabels>() + labels.labels.size_bytes();
        let histogram_bytes: usize = column.histograms.iter().flatten().map(|h| h.size_bytes()).sum();
        let samples = column.present.iter().map(|w| w.count_ones() as usize).sum::<usize>()
            + column.histograms.iter().flatten().count();
        self.held.grow(bytes + histogram_bytes, samples as u64)?;
        self.rows.push(labels);
        self.values.extend_from_slice(column.values);
        self.present.extend_from_slice(column.present);
        let any_histogram = !column.histograms.is_empty();
        if any_histogram || !self.histograms.is_empty() {
            self.histograms.resize(self.rows.len() - 1, Vec::new());
            self.histograms.push(column.histograms.to_vec());
        }
        Ok(())
    }

    /// Adds a column's values to a series; `false`, and nothing done, where both have one at a step.
    pub fn overlay(&mut self, row: usize, column: Row<'_>) -> bool {
        let clash = (0..self.steps).any(|step| column.has(step) && self.row(row).has(step));
        if clash {
            return false;
        }
        for step in 0..self.steps {
            if column.has_float(step) {
                self.values[row * self.steps + step] = column.values[step];
            }
        }
        let words = words_for(self.steps);
        for (ours, theirs) in self.present[row * words..].iter_mut().zip(column.present) {
            *ours |= theirs;
        }
        if !column.histograms.is_empty() {
            self.histograms.resize(self.rows.len(), Vec::new());
            let cells = &mut self.histograms[row];
            cells.resize(self.steps, None);
            for (ours, theirs) in cells.iter_mut().zip(column.histograms) {
                if theirs.is_some() {
                    ours.clone_from(theirs);
                }
            }
        }
        true
    }

    /// A copy for one of several readers.
    pub fn share(&self) -> Result<Tile, QueryError> {
        let order: Vec<usize> = (0..self.rows.len()).collect();
        self.pick(&order)
    }

    /// The series in the given order; a series may be left out.
    pub fn pick(&self, order: &[usize]) -> Result<Tile, QueryError> {
        let mut out = Tile::with_room(self.steps, order.len(), self.limits());
        for &row in order {
            out.push(self.rows[row].clone(), self.row(row))?;
        }
        Ok(out)
    }

    pub fn sort_by_labels(self) -> Result<Tile, QueryError> {
        if self.rows.is_sorted_by(|a, b| a.labels <= b.labels) {
            return Ok(self);
        }
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by(|&a, &b| self.rows[a].labels.cmp(&self.rows[b].labels));
        self.pick(&order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_steps_are_present_and_no_others() {
        for (count, steps) in
            [(1, 0..1), (64, 0..64), (65, 1..65), (200, 63..129), (200, 0..0), (130, 128..129)]
        {
            let mut column = StepColumn::default();
            column.reset(count);
            assert_eq!(column.fill(steps.clone()).len(), steps.len());
            let present: Vec<usize> = (0..count).filter(|step| column.present.get(*step)).collect();
            assert_eq!(present, steps.clone().collect::<Vec<_>>(), "{steps:?} of {count}");
            assert_eq!(column.present.ones(), steps.len());
        }
    }
}
