//! `info()`: gives series the data labels of the info series that have the same identifying labels, at
//! each step those of the info series that was seen last.
//!
//! 1. Series that are info series themselves stay as they are, and their identifying labels count for
//!    nothing.
//! 2. Info series are grouped by name and identifying labels; at each step the newest of a group stands for
//!    it. Two that were seen at the same time are an error.
//! 3. A series' labels follow from the info series that stand for its groups, so that one series may become
//!    several, each with a part of the steps.

use crate::exec::labels::{Uniter, braced};
use crate::exec::limits::Held;
use crate::exec::tile::{Bits, Cell, RowLabels, StepColumn, Tile};
use crate::plan::InfoNode;
use crate::query::QueryError;
use hearth_model::label::METRIC_NAME;
use hearth_model::{Labels, LabelsBuilder};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What an info metric says something of is told by these labels, as Prometheus has it: there is no way
/// yet to ask an info metric for its own.
pub const IDENTIFYING_LABELS: [&str; 2] = ["instance", "job"];

type Identity<'a> = [&'a str; 2];

fn identity(labels: &Labels) -> Identity<'_> {
    IDENTIFYING_LABELS.map(|name| labels.value(name))
}

/// Info series with the same name and identifying labels.
struct Group {
    /// The info series that stands for the group at each step.
    newest: Vec<Option<u32>>,
}

pub fn evaluate(node: &InfoNode, base: &Tile, info: &Tile) -> Result<Tile, QueryError> {
    let is_info: Vec<bool> = (0..base.len())
        .map(|row| {
            let name = base.labels(row).labels.value(METRIC_NAME);
            node.names.iter().all(|matcher| matcher.matches(name))
        })
        .collect();
    let wanted = relevant(base, &is_info, info);
    let groups = grouped(base, info, &wanted)?;
    let mut out = Uniter::new(Tile::new(base.steps(), base.limits()));
    let none = Vec::new();
    for (row, is_info) in is_info.into_iter().enumerate() {
        if is_info {
            out.add_or_fail(base.labels(row).clone(), base.row(row))?;
            continue;
        }
        let groups = groups.get(&identity(&base.labels(row).labels)).unwrap_or(&none);
        enrich(node, base, row, groups, info, &mut out)?;
    }
    Ok(out.finish())
}

/// The info series that share each identifying label with some series, as far as any series has it.
fn relevant(base: &Tile, is_info: &[bool], info: &Tile) -> Vec<usize> {
    let mut values: [HashSet<&str, ahash::RandomState>; 2] = Default::default();
    for (row, _) in is_info.iter().enumerate().filter(|(_, is_info)| !**is_info) {
        for (values, value) in values.iter_mut().zip(identity(&base.labels(row).labels)) {
            if !value.is_empty() {
                values.insert(value);
            }
        }
    }
    if values.iter().all(HashSet::is_empty) {
        return Vec::new();
    }
    let counts = |row: &usize| {
        let known = values.iter().zip(identity(&info.labels(*row).labels));
        known.into_iter().all(|(values, value)| values.is_empty() || values.contains(value))
    };
    (0..info.len()).filter(counts).collect()
}

/// By identity, one group for each info metric.
fn grouped<'a>(
    base: &Tile,
    info: &'a Tile,
    rows: &[usize],
) -> Result<HashMap<Identity<'a>, Vec<Group>, ahash::RandomState>, QueryError> {
    let asked = any_at(base);
    let mut members: HashMap<Identity<'a>, BTreeMap<&'a str, Vec<usize>>, ahash::RandomState> =
        HashMap::default();
    for &row in rows {
        let labels = &info.labels(row).labels;
        let of_identity = members.entry(identity(labels)).or_default();
        of_identity.entry(labels.value(METRIC_NAME)).or_default().push(row);
    }
    let mut groups: HashMap<Identity<'a>, Vec<Group>, ahash::RandomState> = HashMap::default();
    for (identity, by_name) in members {
        let of_identity: Result<Vec<Group>, QueryError> =
            by_name.into_values().map(|rows| newest(info, &rows, &asked)).collect();
        groups.insert(identity, of_identity?);
    }
    Ok(groups)
}

/// The steps at which there is any series.
fn any_at(tile: &Tile) -> Bits {
    let mut any = Bits::new(tile.steps());
    for row in 0..tile.len() {
        let row = tile.row(row);
        (0..tile.steps()).filter(|&step| row.has(step)).for_each(|step| any.set(step));
    }
    any
}

fn newest(info: &Tile, rows: &[usize], asked: &Bits) -> Result<Group, QueryError> {
    let mut newest = vec![None; info.steps()];
    for (step, newest) in newest.iter_mut().enumerate().filter(|(step, _)| asked.get(*step)) {
        let mut found: Option<(usize, f64)> = None;
        for &row in rows {
            let time = match info.row(row).cell(step) {
                Cell::Nothing => continue,
                Cell::Float(time) => time,
                Cell::Histogram(_) => {
                    return Err(QueryError::Execution("info sample should be float".to_owned()));
                }
            };
            match found {
                Some((_, other)) if other > time => {}
                Some((other, same)) if same == time => return Err(duplicate(info, other, row, time)),
                _ => found = Some((row, time)),
            }
        }
        *newest = found.map(|(row, _)| row as u32);
    }
    Ok(Group { newest })
}

fn duplicate(info: &Tile, existing: usize, new: usize, seconds: f64) -> QueryError {
    let text = |row: usize| braced(&info.labels(row).labels);
    let time_ms = (seconds * 1000.0).round() as i64;
    QueryError::Execution(format!(
        "found duplicate series for info metric: existing {} @ {time_ms}, new {} @ {time_ms}",
        text(existing),
        text(new)
    ))
}

/// Adds one series' columns: one for each set of info series that stand for its groups at some step.
fn enrich(
    node: &InfoNode,
    base: &Tile,
    row: usize,
    groups: &[Group],
    info: &Tile,
    out: &mut Uniter,
) -> Result<(), QueryError> {
    let (labels, cells) = (base.labels(row), base.row(row));
    let mut parts: Vec<(Option<RowLabels>, StepColumn)> = Vec::new();
    let mut numbers: HashMap<Vec<u32>, usize, ahash::RandomState> = HashMap::default();
    let mut held = Held::nothing(base.limits());
    let mut current: Option<(Vec<u32>, usize)> = None;
    let mut standing: Vec<u32> = Vec::with_capacity(groups.len());
    for step in (0..base.steps()).filter(|&step| cells.has(step)) {
        standing.clear();
        standing.extend(groups.iter().filter_map(|group| group.newest[step]));
        // From step to step there is rarely a change.
        let part = match &current {
            Some((same, part)) if *same == standing => *part,
            _ => {
                let part = *numbers.entry(standing.clone()).or_insert(parts.len());
                if part == parts.len() {
                    held.grow(base.steps() * size_of::<f64>(), base.steps() as u64)?;
                    let mut column = StepColumn::default();
                    column.reset(base.steps());
                    parts.push((enriched(node, labels, &standing, info)?, column));
                }
                current = Some((standing.clone(), part));
                part
            }
        };
        let (kept, column) = &mut parts[part];
        match cells.cell(step) {
            _ if kept.is_none() => {}
            Cell::Float(value) => column.set(step, value),
            Cell::Histogram(histogram) => column.set_histogram(step, histogram.clone()),
            Cell::Nothing => {}
        }
    }
    for (labels, column) in parts {
        if let Some(labels) = labels {
            out.add_or_fail(labels, column.view())?;
        }
    }
    Ok(())
}

/// The labels with those of the info series; nothing where the series is to be left out, because data
/// labels are asked for and no info series has them.
fn enriched(
    node: &InfoNode,
    base: &RowLabels,
    standing: &[u32],
    info: &Tile,
) -> Result<Option<RowLabels>, QueryError> {
    if standing.is_empty() {
        return Ok(node.data.iter().all(|matcher| matcher.matches_empty()).then(|| base.clone()));
    }
    let mut added = LabelsBuilder::default();
    for &row in standing {
        for (name, value) in info.labels(row as usize).labels.iter() {
            let asked = node.data.is_empty() || node.data.iter().any(|matcher| matcher.name == name);
            if name == METRIC_NAME || !asked {
                continue;
            }
            let known = added.get(name);
            if !known.is_empty() && known != value {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if base.labels.get(name).is_none() {
                added.set(name, value);
            }
        }
    }
    let mut labels = LabelsBuilder::from(&base.labels);
    for (name, value) in added.iter() {
        labels.set(name, value);
    }
    Ok(Some(RowLabels { labels: labels.build(), drop_name: base.drop_name }))
}
