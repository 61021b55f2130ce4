//! `and`, `or`, `unless`: which series of the left side stay, by the labels of the right side, step by
//! step.

use super::matching::Signatures;
use crate::exec::labels::Uniter;
use crate::exec::tile::{StepColumn, Tile, words_for};
use crate::query::QueryError;
use crate::syntax::ast::{BinaryOp, VectorMatching};

/// For each signature, at which steps any series with it has a value.
struct Presence {
    words: usize,
    bits: Vec<u64>,
}

impl Presence {
    fn of(tile: &Tile, signatures: &[usize], count: usize) -> Presence {
        let words = words_for(tile.steps());
        let mut bits = vec![0; words * count];
        for (row, &signature) in signatures.iter().enumerate() {
            let cells = &mut bits[signature * words..(signature + 1) * words];
            let row = tile.row(row);
            for (ours, theirs) in cells.iter_mut().zip(row.present) {
                *ours |= theirs;
            }
            for (step, _) in row.histograms.iter().enumerate().filter(|(_, h)| h.is_some()) {
                cells[step / 64] |= 1 << (step % 64);
            }
        }
        Presence { words, bits }
    }

    fn has(&self, signature: usize, step: usize) -> bool {
        self.bits[signature * self.words + step / 64] >> (step % 64) & 1 == 1
    }
}

pub fn combine(
    op: BinaryOp,
    left: &Tile,
    right: &Tile,
    matching: &VectorMatching,
) -> Result<Tile, QueryError> {
    let mut signatures = Signatures::new(matching);
    let left_signatures = signatures.of(left);
    let right_signatures = signatures.of(right);
    let mut out = Uniter::new(Tile::new(left.steps(), left.limits()));
    let mut column = StepColumn::default();
    if op == BinaryOp::Or {
        let taken = Presence::of(left, &left_signatures, signatures.count());
        for row in 0..left.len() {
            out.add_or_fail(left.labels(row).clone(), left.row(row))?;
        }
        for (row, &signature) in right_signatures.iter().enumerate() {
            masked(right, row, &mut column, |step| !taken.has(signature, step));
            if column.any() {
                out.add_or_fail(right.labels(row).clone(), column.view())?;
            }
        }
        return Ok(out.finish());
    }
    let there = Presence::of(right, &right_signatures, signatures.count());
    for (row, &signature) in left_signatures.iter().enumerate() {
        masked(left, row, &mut column, |step| there.has(signature, step) == (op == BinaryOp::And));
        if column.any() {
            out.add_or_fail(left.labels(row).clone(), column.view())?;
        }
    }
    Ok(out.finish())
}

/// The row's values at the steps that `keep` lets through.
fn masked(tile: &Tile, row: usize, out: &mut StepColumn, keep: impl Fn(usize) -> bool) {
    out.reset(tile.steps());
    let row = tile.row(row);
    for step in (0..tile.steps()).filter(|&step| keep(step)) {
        if row.has_float(step) {
            out.set(step, row.values[step]);
        } else if let Some(histogram) = row.histogram(step) {
            out.set_histogram(step, histogram.clone());
        }
    }
}
