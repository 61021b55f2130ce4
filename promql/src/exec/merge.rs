//! Brings the shards' partials together, in the order of the shards, so that the same data gives the same
//! result to the last bit.

use super::aggregate::Accumulator;
use super::labels::{Identity, Uniter, refuse_equal, same_labelset, without_name};
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
    Samples {
        series: Vec<SampleSeries>,
        held: Vec<Held>,
    },
    /// Two of its series have the same labels. An error where it is used, not before: of several errors in a
    /// query the one to tell is that of the part which is evaluated first.
    SameLabelset,
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
            let mut identities: Vec<Identity> = Vec::new();
            for partial in partials {
                let Partial::Fold { accumulator, labels, nameless } = partial else { continue };
                if let Some((of_shard, _held)) = nameless {
                    identities.extend(of_shard);
                }
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
            identities.sort_unstable();
            if identities.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(same_labelset());
            }
            let named = fragment.metric.as_deref().filter(|_| delayed || !fragment.drops_name);
            let metric = |_: usize| named.unwrap_or_default().to_owned();
            // In whatever order the shards saw the groups: what picks series above must not depend on it.
            Ok(Merged::Tile(total.finish(rows, fold.position, metric, notes)?.sort_by_labels()?))
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

/// One tile, its series sorted by labels: every series is copied once.
fn merge_tiles(
    fragment: &Fragment,
    partials: Vec<Partial>,
    delayed: bool,
    limits: &Arc<Limits>,
) -> Result<Tile, QueryError> {
    let only_tiles = partials.into_iter().filter_map(|partial| match partial {
        Partial::Tile(tile) => Some(tile),
        Partial::Fold { .. } | Partial::Samples { .. } => None,
    });
    let mut tiles: Vec<Tile> = only_tiles.collect();
    // Only series of different names can become equal by losing theirs.
    let loses_names = fragment.drops_name && fragment.metric.is_none() && !delayed;
    if tiles.len() == 1 && !loses_names {
        return tiles.remove(0).sort_by_labels();
    }
    let labels = |&(tile, row): &(usize, usize)| &tiles[tile].labels(row).labels;
    let rows_of = |tile: usize| (0..tiles[tile].len()).map(move |row| (tile, row));
    let mut order: Vec<(usize, usize)> = (0..tiles.len()).flat_map(rows_of).collect();
    order.sort_by(|a, b| labels(a).cmp(labels(b)));
    let mut out = Tile::with_room(fragment.read.windows().count, order.len(), limits);
    if !loses_names {
        for &(tile, row) in &order {
            out.push(tiles[tile].labels(row).clone(), tiles[tile].row(row))?;
        }
        return Ok(out);
    }
    let nameless = |tile: usize, row: usize| RowLabels {
        labels: without_name(&tiles[tile].labels(row).labels),
        drop_name: false,
    };
    if matches!(fragment.read, Read::Range(_)) {
        for &(tile, row) in &order {
            out.push(nameless(tile, row), tiles[tile].row(row))?;
        }
        refuse_equal(&out)?;
        return Ok(out);
    }
    let mut united = Uniter::new(out);
    for &(tile, row) in &order {
        united.add_or_fail(nameless(tile, row), tiles[tile].row(row))?;
    }
    Ok(united.finish())
}
