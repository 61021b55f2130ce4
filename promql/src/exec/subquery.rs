//! Subqueries: the inner expression's tile, read as if each of its rows were a series of samples.

use super::tile::Tile;
use crate::plan::grid::Steps;
use hearth_model::Columns;

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
            out.histograms.push((steps.time_ms(step), histogram.clone()));
        }
    }
    out.times_id = if out.times.len() == steps.count { WITHOUT_GAPS } else { 0 };
}
