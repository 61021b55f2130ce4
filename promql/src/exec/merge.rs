//! Brings the shards' partials together, in the order of the shards, so that the same data gives the same
//! result to the last bit.

use super::aggregate::Accumulator;
use super::labels::{Uniter, refuse_equal};
use super::limits::{Held, Limits};
use super::notes::Notes;
use super::scan::{Partial, SampleSeries};
use super::tile::{RowLabels, Tile};
use crate::plan::{Fragment, Read};
use crate::query::QueryError;
use hearth_model::Labels;
use std::collections::HashMap;
use std::sync::Arc;

/// A fragment's result over all shards.
#[derive(Debug)]
pub enum Merged {
    Tile(Tile),
    Samples { series: Vec<SampleSeries>, held: Vec<Held> },
}

pub fn merge(
    fragment: &Fragment,
    partials: Vec<Partial>,
    delayed: bool,
    limits: &Arc<Limits>,
    notes: &mut Notes,
) -> Result<Merged, QueryError> {
    match (&fragment.read, &fragment.fold) {
        (Read::Samples { .. }, _) => Ok(merge_samples(partials)),
        (_, Some(fold)) => {
            let mut total = Accumulator::new(fold.op, fragment.read.windows().count, limits);
            let mut numbers: HashMap<Labels, usize, ahash::RandomState> = HashMap::default();
            let mut rows: Vec<RowLabels> = Vec::new();
            for partial in partials {
                let Partial::Fold { accumulator, labels } = partial else { continue };
                let groups: Vec<usize> = labels
                    .into_iter()
                    .map(|row| {
                        *numbers.entry(row.labels.clone()).or_insert_with(|| {
                            rows.push(row);
                            rows.len() - 1
                        })
                    })
                    .collect();
                total.merge(accumulator, &groups)?;
            }
            Ok(Merged::Tile(total.finish(rows, fold.position, notes)?))
        }
        (_, None) => Ok(Merged::Tile(merge_tiles(fragment, partials, delayed, limits)?)),
    }
}

fn merge_samples(partials: Vec<Partial>) -> Merged {
    let (mut all, mut all_held) = (Vec::new(), Vec::new());
    for partial in partials {
        if let Partial::Samples { series, held } = partial {
            all.extend(series);
            all_held.push(held);
        }
    }
    all.sort_by(|a: &SampleSeries, b| a.labels.labels.cmp(&b.labels.labels));
    Merged::Samples { series: all, held: all_held }
}

fn merge_tiles(
    fragment: &Fragment,
    partials: Vec<Partial>,
    delayed: bool,
    limits: &Arc<Limits>,
) -> Result<Tile, QueryError> {
    let mut all: Option<Tile> = None;
    for partial in partials {
        let Partial::Tile(tile) = partial else { continue };
        match &mut all {
            Some(all) => all.append(tile)?,
            None => all = Some(tile),
        }
    }
    let all = match all {
        Some(all) => all,
        None => Tile::new(fragment.read.windows().count, limits),
    };
    // Only series of different names can become equal by losing theirs.
    if !fragment.drops_name || fragment.metric.is_some() || delayed {
        return all.sort_by_labels();
    }
    if matches!(fragment.read, Read::Range(_)) {
        refuse_equal(&all)?;
        return all.sort_by_labels();
    }
    let mut out = Uniter::new(Tile::new(all.steps(), limits));
    for row in 0..all.len() {
        out.add_or_fail(all.labels(row).clone(), all.row(row))?;
    }
    out.finish().sort_by_labels()
}
