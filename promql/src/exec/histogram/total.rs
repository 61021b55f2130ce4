//! Sums and means of many histograms, each count compensated.

use super::layout::{Sparse, merge};
use super::{Incompatible, Remarks};
use crate::exec::notes::{Note, Notes};
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
    remarks: Remarks,
    incompatible: bool,
}

impl HistogramTotal {
    pub fn new(first: &Histogram) -> HistogramTotal {
        HistogramTotal {
            total: Compensated::new(Sparse::of(first)),
            count: 1.0,
            remarks: Remarks::default(),
            incompatible: false,
        }
    }

    pub fn add(&mut self, histogram: &Histogram) {
        self.absorb(Sparse::of(histogram), 1.0);
    }

    fn absorb(&mut self, other: Sparse, count: f64) {
        self.count += count;
        match self.total.add(other) {
            Ok(remarks) => self.remarks.merge(remarks),
            Err(Incompatible) => self.incompatible = true,
        }
    }

    pub fn merge(&mut self, other: HistogramTotal) {
        self.incompatible |= other.incompatible;
        self.remarks.merge(other.remarks);
        self.absorb(other.total.total(), other.count);
    }

    /// Nothing where exponential and custom buckets met.
    pub fn sum(&self) -> Option<Histogram> {
        (!self.incompatible).then(|| self.total.total().into_histogram())
    }

    pub fn mean(&self) -> Option<Histogram> {
        let mut total = (!self.incompatible).then(|| self.total.total())?;
        total.map(|count| count / self.count);
        // A mean of counters is no counter any more.
        if self.count > 1.0 && total.reset != CounterReset::Unknown {
            total.reset = CounterReset::Gauge;
        }
        Some(total.into_histogram())
    }

    pub fn note(&self, position: PositionRange, notes: &mut Notes) {
        if self.incompatible {
            notes.add(position, Note::MixedExponentialCustomAggregation);
        }
        self.remarks.note("aggregation", position, notes);
    }
}
