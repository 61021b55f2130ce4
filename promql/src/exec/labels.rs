//! Label sets of results: what functions and operators take away, and how errors show them.

use super::tile::{RowLabels, Tile};
use crate::query::QueryError;
use hearth_model::Labels;
use hearth_model::label::{METRIC_NAME, is_classic_label_name, write_quoted};
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, Hasher};

pub const TYPE: &str = "__type__";

/// Labels that say what the metric is, not what was measured: gone once a value is computed from it.
pub const NAMES: [&str; 3] = [METRIC_NAME, TYPE, "__unit__"];

pub fn names_the_metric(name: &str) -> bool {
    NAMES.contains(&name)
}

pub fn without_name(labels: &Labels) -> Labels {
    labels.filter(|name| !names_the_metric(name))
}

/// Stands for a label set: 128 bits of hash, which never agree by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity(u64, u64);

/// Stands between names and values: no text has this byte.
const BETWEEN: u8 = 0xff;

/// What a fold asks of a series whose labels it does not keep.
#[derive(Debug, Default)]
pub struct Seen {
    pub metric: String,
    pub kind: String,
    /// All labels but those that name the metric.
    rest: Vec<u8>,
}

impl Seen {
    pub fn clear(&mut self) {
        self.metric.clear();
        self.kind.clear();
        self.rest.clear();
    }

    pub fn add(&mut self, name: &str, value: &str) {
        match name {
            METRIC_NAME => self.metric.push_str(value),
            TYPE => self.kind.push_str(value),
            _ if names_the_metric(name) => {}
            _ => {
                for text in [name, value] {
                    self.rest.extend_from_slice(text.as_bytes());
                    self.rest.push(BETWEEN);
                }
            }
        }
    }

    /// What the series is once its name is gone; the same on every shard of this process.
    pub fn identity(&self) -> Identity {
        let half = |seed: u64| {
            let mut hasher = ahash::RandomState::with_seeds(seed, 1, 2, 3).build_hasher();
            hasher.write(&self.rest);
            hasher.finish()
        };
        Identity(half(0x9e37_79b9), half(0x85eb_ca6b))
    }
}

/// The labels of a result whose name is to go: at once, or at the end of the query.
pub fn result_labels(labels: Labels, drops_name: bool, delayed: bool) -> RowLabels {
    if drops_name && !delayed {
        RowLabels { labels: without_name(&labels), drop_name: false }
    } else {
        RowLabels { labels, drop_name: drops_name }
    }
}

impl RowLabels {
    /// Takes the name away, at once or at the end.
    pub fn dropping_name(&self, delayed: bool) -> RowLabels {
        if delayed {
            RowLabels { labels: self.labels.clone(), drop_name: true }
        } else {
            RowLabels { labels: without_name(&self.labels), drop_name: self.drop_name }
        }
    }
}

/// As Go prints a label set: every label within braces, the metric name too.
pub fn braced(labels: &Labels) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        // Writing to a string cannot fail.
        let _ = match is_classic_label_name(name) {
            true => out.write_str(name),
            false => write_quoted(&mut out, name),
        };
        out.push('=');
        let _ = write_quoted(&mut out, value);
    }
    out.push('}');
    out
}

pub fn same_labelset() -> QueryError {
    QueryError::Execution("vector cannot contain metrics with the same labelset".to_owned())
}

/// Makes a tile of columns that may come with labels seen before: they become one series where they have
/// no step in common.
pub struct Uniter {
    tile: Tile,
    rows: HashMap<Labels, usize, ahash::RandomState>,
}

/// Two columns with the same labels have a value at the same step; the row is the earlier one's.
pub struct Conflict(pub usize);

impl Uniter {
    pub fn new(tile: Tile) -> Uniter {
        Uniter { tile, rows: HashMap::default() }
    }

    /// Adds a column; gives the number of its series, and whether that is new.
    pub fn add(
        &mut self,
        labels: RowLabels,
        column: super::tile::Row<'_>,
    ) -> Result<Result<(usize, bool), Conflict>, QueryError> {
        if let Some(&row) = self.rows.get(&labels.labels) {
            return Ok(if self.tile.overlay(row, column) { Ok((row, false)) } else { Err(Conflict(row)) });
        }
        let row = self.tile.len();
        self.rows.insert(labels.labels.clone(), row);
        self.tile.push(labels, column)?;
        Ok(Ok((row, true)))
    }

    /// Adds a column, or fails as Prometheus does where it meets another at a step.
    pub fn add_or_fail(&mut self, labels: RowLabels, column: super::tile::Row<'_>) -> Result<(), QueryError> {
        self.add(labels, column)?.map(drop).map_err(|_| same_labelset())
    }

    pub fn finish(self) -> Tile {
        self.tile
    }
}

/// Gives every series new labels; series that become equal are united.
pub fn relabelled(
    tile: Tile,
    mut labels: impl FnMut(&RowLabels) -> Result<RowLabels, QueryError>,
) -> Result<Tile, QueryError> {
    let mut out = Uniter::new(Tile::new(tile.steps(), tile.limits()));
    for row in 0..tile.len() {
        out.add_or_fail(labels(tile.labels(row))?, tile.row(row))?;
    }
    Ok(out.finish())
}

/// Fails where two series have the same labels, even at different steps.
pub fn refuse_equal(tile: &Tile) -> Result<(), QueryError> {
    let mut seen = std::collections::HashSet::with_capacity_and_hasher(tile.len(), ahash::RandomState::new());
    let unique = tile.all_labels().iter().all(|row| seen.insert(&row.labels));
    if unique { Ok(()) } else { Err(same_labelset()) }
}
