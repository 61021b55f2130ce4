//! Subqueries: the inner expression's tile, read as if each of its rows were a series of samples.

use super::tile::Tile;
use crate::plan::grid::Steps;
use hearth_model::{Columns, CounterReset, Histogram};
use std::sync::Arc;

/// Samples lie between two steps, so what a histogram says of the sample before it says nothing of the
/// step before it.
fn without_hint(histogram: &Arc<Histogram>) -> Arc<Histogram> {
    match histogram.reset {
        CounterReset::Unknown | CounterReset::Gauge => histogram.clone(),
        CounterReset::Reset | CounterReset::NotReset => {
            Arc::new(Histogram { reset: CounterReset::Unknown, ..Histogram::clone(histogram) })
        }
    }
}

/// One row as samples. Rows without gaps have the same times, and say so.
pub fn columns(tile: &Tile, row: usize, steps: &Steps, out: &mut Columns) {
    const WITHOUT_GAPS: u64 = 1;
    out.clear();
    let row = tile.row(row);
    for step in 0..steps.count {
        if row.has_float(step) {
            out.times.push(steps.time_ms(step));
            out.values.push(row.values[step]);
        } else if let Some(histogram) = row.histogram(step) {
            out.histograms.push((steps.time_ms(step), without_hint(histogram)));
        }
    }
    out.times_id = if out.times.len() == steps.count { WITHOUT_GAPS } else { 0 };
}
