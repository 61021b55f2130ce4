//! Arithmetic of native histograms, as Prometheus computes it: layouts are brought together before counts
//! are.

pub mod layout;
pub mod quantile;
pub mod reset;
pub mod text;
pub mod total;
pub mod trim;

use super::notes::{Note, Notes};
use crate::syntax::PositionRange;
use hearth_model::{CounterReset, Histogram};
use layout::Sparse;
pub use total::{Compensated, HistogramTotal};

/// One has exponential buckets and the other custom ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incompatible;

/// What bringing two histograms together gave reason to remark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remarks {
    /// One says it was reset and the other that it was not.
    pub reset_collision: bool,
    /// Custom bounds differ; only common ones are left.
    pub bounds_reconciled: bool,
}

impl Remarks {
    pub fn merge(&mut self, other: Remarks) {
        self.reset_collision |= other.reset_collision;
        self.bounds_reconciled |= other.bounds_reconciled;
    }

    pub fn note(self, operation: &'static str, position: PositionRange, notes: &mut Notes) {
        if self.reset_collision {
            notes.add(position, Note::CounterResetCollision { operation });
        }
        if self.bounds_reconciled {
            notes.add(position, Note::MismatchedCustomBuckets { operation });
        }
    }
}

#[derive(Debug, Clone)]
pub struct Combined {
    pub histogram: Histogram,
    remarks: Remarks,
}

impl Combined {
    pub fn note(&self, operation: &'static str, position: PositionRange, notes: &mut Notes) {
        self.remarks.note(operation, position, notes);
    }

    /// Without what there is to say of resets, where the caller has looked at them himself.
    pub fn note_bounds(&self, operation: &'static str, position: PositionRange, notes: &mut Notes) {
        let remarks = Remarks { reset_collision: false, ..self.remarks };
        remarks.note(operation, position, notes);
    }
}

/// Sum or difference. A difference is a gauge.
pub fn combined(left: &Histogram, right: &Histogram, subtract: bool) -> Result<Combined, Incompatible> {
    let mut total = Sparse::of(left);
    let remarks = total.add(Sparse::of(right), if subtract { -1.0 } else { 1.0 })?;
    if subtract {
        total.reset = CounterReset::Gauge;
    }
    Ok(Combined { histogram: total.into_histogram(), remarks })
}

/// Multiplied. A negative factor makes a gauge.
pub fn scaled(histogram: &Histogram, factor: f64) -> Histogram {
    let mut out = Sparse::of(histogram);
    out.map(|count| count * factor);
    if factor < 0.0 {
        out.reset = CounterReset::Gauge;
    }
    out.into_histogram()
}

/// Divided. Nothing is left in buckets where the divisor is zero.
pub fn divided(histogram: &Histogram, divisor: f64) -> Histogram {
    let mut out = Sparse::of(histogram);
    out.map(|count| count / divisor);
    if divisor == 0.0 {
        out.positive.clear();
        out.negative.clear();
    }
    if divisor < 0.0 {
        out.reset = CounterReset::Gauge;
    }
    out.into_histogram()
}

/// The same layout and the same counts, to the bit.
pub fn equal(left: &Histogram, right: &Histogram) -> bool {
    let same = |a: f64, b: f64| a == b || a.to_bits() == b.to_bits();
    let (l, r) = (Sparse::of(left), Sparse::of(right));
    let sides = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.0 == y.0 && same(x.1, y.1))
    };
    l.schema == r.schema
        && same(l.zero_threshold, r.zero_threshold)
        && same(l.zero_count, r.zero_count)
        && same(l.count, r.count)
        && same(l.sum, r.sum)
        && l.custom_values == r.custom_values
        && sides(&l.positive, &r.positive)
        && sides(&l.negative, &r.negative)
}
