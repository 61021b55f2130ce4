//! Sums and means of many histograms, each count compensated.

use super::layout::{Sparse, merge};
use super::{Incompatible, Remarks};
use crate::exec::notes::Notes;
use crate::exec::sum::Neumaier;
use crate::syntax::PositionRange;
use hearth_model::{CounterReset, Histogram};

/// Running total of histograms: the counts, and beside them what rounding lost.
#[derive(Debug, Clone)]
pub struct Compensated {
    total: Sparse,
    lost: Sparse,
}

impl Compensated {
    pub fn new(first: Sparse) -> Compensated {
        let mut lost = first.clone();
        lost.map(|_| 0.0);
        lost.positive.clear();
        lost.negative.clear();
        Compensated { total: first, lost }
    }

    pub fn add(&mut self, mut other: Sparse) -> Result<Remarks, Incompatible> {
        // Layouts first: an empty partner brings all three to the same one.
        let mut empty = self.total.clone();
        empty.map(|_| 0.0);
        let mut blank = other.clone();
        blank.map(|_| 0.0);
        let remarks = self.total.add(blank.clone(), 1.0)?;
        self.lost.add(blank, 1.0)?;
        let reset = self.total.reset;
        other.add(empty, 1.0)?;
        for (total, lost, value) in [
            (&mut self.total.count, &mut self.lost.count, other.count),
            (&mut self.total.sum, &mut self.lost.sum, other.sum),
            (&mut self.total.zero_count, &mut self.lost.zero_count, other.zero_count),
        ] {
            add_one(total, lost, value);
        }
        add_side(&mut self.total.positive, &mut self.lost.positive, &other.positive);
        add_side(&mut self.total.negative, &mut self.lost.negative, &other.negative);
        self.total.reset = reset;
        Ok(remarks)
    }

    fn scale(&mut self, factor: f64) {
        self.total.map(|value| value * factor);
        self.lost.map(|value| value * factor);
    }

    pub fn total(&self) -> Sparse {
        let mut total = self.total.clone();
        let with = |sum: f64, lost: f64| Neumaier { sum, compensation: lost }.total();
        total.count = with(total.count, self.lost.count);
        total.sum = with(total.sum, self.lost.sum);
        total.zero_count = with(total.zero_count, self.lost.zero_count);
        merge(&mut total.positive, &self.lost.positive, 1.0);
        merge(&mut total.negative, &self.lost.negative, 1.0);
        total
    }
}

fn add_one(total: &mut f64, lost: &mut f64, value: f64) {
    let mut cell = Neumaier { sum: *total, compensation: *lost };
    cell.add(value);
    (*total, *lost) = (cell.sum, cell.compensation);
}

fn add_side(total: &mut Vec<(i32, f64)>, lost: &mut Vec<(i32, f64)>, other: &[(i32, f64)]) {
    let zeros = |list: &[(i32, f64)]| list.iter().map(|(i, _)| (*i, 0.0)).collect::<Vec<_>>();
    merge(total, &zeros(other), 1.0);
    merge(lost, &zeros(total), 1.0);
    let mut others = other.iter().peekable();
    for ((index, total), (_, lost)) in total.iter_mut().zip(lost.iter_mut()) {
        if let Some((_, value)) = others.next_if(|(i, _)| i == index) {
            add_one(total, lost, *value);
        }
    }
}

/// The histograms of one group at one step.
#[derive(Debug, Clone)]
pub struct HistogramTotal {
    total: Compensated,
    count: f64,
    /// A mean is asked for; once a sum would overflow, `total` is the mean so far.
    mean: bool,
    running: bool,
    /// Collisions of resets are looked for in all that was taken in: the total itself may have forgotten.
    any_reset: bool,
    any_not_reset: bool,
    bounds_reconciled: bool,
    incompatible: bool,
}

impl HistogramTotal {
    pub fn new(first: &Histogram, mean: bool) -> HistogramTotal {
        HistogramTotal {
            total: Compensated::new(Sparse::of(first)),
            count: 1.0,
            mean,
            running: false,
            any_reset: first.reset == CounterReset::Reset,
            any_not_reset: first.reset == CounterReset::NotReset,
            bounds_reconciled: false,
            incompatible: false,
        }
    }

    pub fn add(&mut self, histogram: &Histogram) {
        self.any_reset |= histogram.reset == CounterReset::Reset;
        self.any_not_reset |= histogram.reset == CounterReset::NotReset;
        self.absorb(Sparse::of(histogram), 1.0);
    }

    /// Takes in the sum of `count` histograms.
    fn absorb(&mut self, mut other: Sparse, count: f64) {
        let before = self.count;
        self.count += count;
        let overflows = |a: f64, b: f64| (a + b).is_infinite();
        let total = &self.total.total;
        if self.mean
            && (overflows(total.count, other.count) || overflows(total.sum, other.sum))
            && !self.running
        {
            self.running = true;
            self.total.scale(1.0 / before);
        }
        if self.running {
            self.total.scale(before / self.count);
            other.map(|value| value / self.count);
        }
        match self.total.add(other) {
            Ok(remarks) => self.bounds_reconciled |= remarks.bounds_reconciled,
            Err(Incompatible) => self.incompatible = true,
        }
    }

    pub fn merge(&mut self, other: HistogramTotal) {
        self.incompatible |= other.incompatible;
        self.any_reset |= other.any_reset;
        self.any_not_reset |= other.any_not_reset;
        self.bounds_reconciled |= other.bounds_reconciled;
        let mut total = other.total.total();
        if other.running {
            total.map(|value| value * other.count);
        }
        self.absorb(total, other.count);
    }

    /// Nothing where exponential and custom buckets met.
    pub fn sum(&self) -> Option<Histogram> {
        (!self.incompatible).then(|| self.total.total().into_histogram())
    }

    pub fn mean(&self) -> Option<Histogram> {
        let mut total = (!self.incompatible).then(|| self.total.total())?;
        if !self.running {
            total.map(|value| value / self.count);
        }
        Some(total.into_histogram())
    }

    /// Exponential and custom buckets met.
    pub fn is_incompatible(&self) -> bool {
        self.incompatible
    }

    pub fn note(&self, position: PositionRange, notes: &mut Notes) {
        let remarks = Remarks {
            reset_collision: self.any_reset && self.any_not_reset,
            bounds_reconciled: self.bounds_reconciled,
        };
        remarks.note("aggregation", position, notes);
    }
}
