//! Aggregations that need the values themselves: `topk`, `bottomk`, `quantile`, `count_values`, `limitk`, `limit_ratio`.
//! They run in the finish, over the merged tile, step by step.

use super::super::labels::Uniter;
use super::super::notes::{Note, Notes};
use super::super::number::{decimal, general};
use super::super::tile::{Cell, RowLabels, StepColumn, Tile};
use super::super::window::Param;
use super::super::window::over_time::{quantile_of_sorted, sort_values};
use super::best::Best;
use crate::plan::AggregateNode;
use crate::query::QueryError;
use crate::syntax::ast::AggregateOp;
use hearth_model::label::METRIC_NAME;
use hearth_model::{Labels, LabelsBuilder, Projection};
use std::collections::HashMap;

/// Series by group, groups in order of their first series.
pub struct Groups {
    pub labels: Vec<RowLabels>,
    pub rows: Vec<Vec<usize>>,
}

/// The labels that an aggregation leaves of a series.
pub fn projection(node: &AggregateNode) -> Projection {
    let mut names = node.grouping.clone();
    if node.without {
        names.push(METRIC_NAME.to_owned());
        Projection::Without(names)
    } else {
        Projection::Only(names)
    }
}

impl Groups {
    pub fn of(tile: &Tile, node: &AggregateNode) -> Groups {
        Groups::under(&projection(node), tile)
    }

    fn under(projection: &Projection, tile: &Tile) -> Groups {
        let mut numbers: HashMap<Labels, usize, ahash::RandomState> = HashMap::default();
        let mut groups = Groups { labels: Vec::new(), rows: Vec::new() };
        for (row, labels) in tile.all_labels().iter().enumerate() {
            let group = *numbers.entry(projection.apply(&labels.labels)).or_insert_with_key(|key| {
                groups.labels.push(RowLabels { labels: key.clone(), drop_name: labels.drop_name });
                groups.rows.push(Vec::new());
                groups.rows.len() - 1
            });
            groups.rows[group].push(row);
        }
        groups
    }
}

impl Groups {
    /// Each group's series in the order of their labels: how a sum is rounded must not depend on which
    /// series a range happens to meet first.
    pub fn sort_rows(&mut self, tile: &Tile) {
        let labels = |row: &usize| &tile.labels(*row).labels;
        for rows in &mut self.rows {
            if !rows.is_sorted_by(|a, b| labels(a) <= labels(b)) {
                rows.sort_by(|a, b| labels(a).cmp(labels(b)));
            }
        }
    }
}

/// A parameter as a count of series; below one means none.
fn count(value: f64) -> Result<usize, QueryError> {
    if value.is_nan() {
        return Err(QueryError::Execution("Parameter value is NaN".to_owned()));
    }
    // 2^63 is the first float that does not fit.
    if value >= 9_223_372_036_854_775_808.0 {
        return Err(QueryError::Execution(format!("Scalar value {} overflows int64", general(value))));
    }
    if value < -9_223_372_036_854_775_808.0 {
        return Err(QueryError::Execution(format!("Scalar value {} underflows int64", general(value))));
    }
    Ok(value.max(0.0) as usize)
}

pub fn evaluate(
    node: &AggregateNode,
    tile: &Tile,
    param: &Param,
    instant: bool,
    notes: &mut Notes,
) -> Result<Tile, QueryError> {
    let groups = Groups::of(tile, node);
    match node.op {
        AggregateOp::Topk | AggregateOp::Bottomk => rank(node, tile, &groups, param, instant, notes),
        AggregateOp::Limitk => limit(tile, &groups, param),
        AggregateOp::LimitRatio => limit_ratio(node, tile, param, notes),
        AggregateOp::Quantile => quantile(node, tile, &groups, param, notes),
        other => Err(QueryError::Execution(format!("aggregation {:?} is not supported yet", other.name()))),
    }
}

fn note_ignored(node: &AggregateNode, notes: &mut Notes) {
    // Of the aggregations that keep series the whole is shown, of the others what they take in.
    let position = match node.op {
        AggregateOp::Topk | AggregateOp::Bottomk => node.position,
        _ => node.input_position,
    };
    notes.add(position, Note::HistogramIgnoredInAggregation { operation: node.op.name() });
}

fn rank(
    node: &AggregateNode,
    tile: &Tile,
    groups: &Groups,
    param: &Param,
    instant: bool,
    notes: &mut Notes,
) -> Result<Tile, QueryError> {
    let descending = node.op == AggregateOp::Topk;
    let mut kept: Vec<StepColumn> = vec![StepColumn::default(); tile.len()];
    let mut order: Vec<usize> = Vec::new();
    let mut best = Best::default();
    for step in 0..tile.steps() {
        let most = count(param.at(step))?.min(tile.len());
        for rows in groups.rows.iter().filter(|_| most > 0) {
            best.clear(descending);
            for &row in rows {
                match tile.row(row).cell(step) {
                    Cell::Float(value) => best.offer(value, row, most),
                    Cell::Histogram(_) => note_ignored(node, notes),
                    Cell::Nothing => {}
                }
            }
            for &(value, row) in best.ranked() {
                if kept[row].values.is_empty() {
                    kept[row].reset(tile.steps());
                }
                kept[row].set(step, value);
                if instant {
                    order.push(row);
                }
            }
        }
    }
    if !instant {
        order = (0..tile.len()).filter(|&row| !kept[row].values.is_empty()).collect();
    }
    let mut out = Tile::new(tile.steps(), tile.limits());
    for row in order {
        out.push(tile.labels(row).clone(), kept[row].view())?;
    }
    Ok(out)
}

/// The first series of each group, whatever their values.
fn limit(tile: &Tile, groups: &Groups, param: &Param) -> Result<Tile, QueryError> {
    let mut out = Tile::new(tile.steps(), tile.limits());
    let mut column = StepColumn::default();
    for rows in &groups.rows {
        let mut taken = vec![0; tile.steps()];
        for &row in rows {
            column.reset(tile.steps());
            for (step, taken) in taken.iter_mut().enumerate() {
                if *taken >= count(param.at(step))? {
                    continue;
                }
                match tile.row(row).cell(step) {
                    Cell::Nothing => continue,
                    Cell::Float(value) => column.set(step, value),
                    Cell::Histogram(histogram) => column.set_histogram(step, histogram.clone()),
                }
                *taken += 1;
            }
            if column.any() {
                out.push(tile.labels(row).clone(), column.view())?;
            }
        }
    }
    Ok(out)
}

/// A number in [0, 1) that depends on the labels alone, and the same that Prometheus gives them: XXH64 of
/// the labels in the form that it keeps them in, names and values behind their lengths (one byte, or 255
/// and three bytes).
fn place(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(labels.size_bytes() + 8);
    for part in labels.iter().flat_map(|(name, value)| [name, value]) {
        match u8::try_from(part.len()) {
            Ok(length) if length < u8::MAX => bytes.push(length),
            _ => {
                bytes.push(u8::MAX);
                bytes.extend_from_slice(&(part.len() as u32).to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(part.as_bytes());
    }
    xxhash_rust::xxh64::xxh64(&bytes, 0) as f64 / u64::MAX as f64
}

/// A stable share of all series: those whose place lies below the ratio, or, for a negative ratio, exactly
/// the others of its complement.
fn limit_ratio(
    node: &AggregateNode,
    tile: &Tile,
    param: &Param,
    notes: &mut Notes,
) -> Result<Tile, QueryError> {
    let mut ratios = Vec::with_capacity(tile.steps());
    for step in 0..tile.steps() {
        let ratio = param.at(step);
        if ratio.is_nan() {
            return Err(QueryError::Execution(format!("Ratio value {} is NaN", general(ratio))));
        }
        let used = ratio.clamp(-1.0, 1.0);
        if used != ratio {
            let note = Note::InvalidRatio { got: general(ratio), used: general(used) };
            notes.add(node.param_position, note);
        }
        ratios.push(used);
    }
    let mut out = Tile::new(tile.steps(), tile.limits());
    let mut column = StepColumn::default();
    for row in 0..tile.len() {
        let place = place(&tile.labels(row).labels);
        column.reset(tile.steps());
        for (step, &ratio) in ratios.iter().enumerate() {
            if (ratio >= 0.0 && place >= ratio) || (ratio < 0.0 && place < 1.0 + ratio) {
                continue;
            }
            match tile.row(row).cell(step) {
                Cell::Nothing => {}
                Cell::Float(value) => column.set(step, value),
                Cell::Histogram(histogram) => column.set_histogram(step, histogram.clone()),
            }
        }
        if column.any() {
            out.push(tile.labels(row).clone(), column.view())?;
        }
    }
    Ok(out)
}

/// Of all steps' quantiles only the extremes are remarked, whether there are series or not.
fn note_invalid_quantiles(node: &AggregateNode, steps: usize, param: &Param, notes: &mut Notes) {
    let all = || (0..steps).map(|step| param.at(step));
    // NaN is neither less nor more than anything, and hides the others.
    let any_nan = all().any(f64::is_nan);
    let (least, most) = all().fold((0.0, 1.0), |(least, most): (f64, f64), q| (least.min(q), most.max(q)));
    let invalid = match any_nan {
        true => [Some(f64::NAN), None],
        false => [(most > 1.0).then_some(most), (least < 0.0).then_some(least)],
    };
    for q in invalid.into_iter().flatten() {
        notes.add(node.param_position, Note::InvalidQuantile(general(q)));
    }
}

fn quantile(
    node: &AggregateNode,
    tile: &Tile,
    groups: &Groups,
    param: &Param,
    notes: &mut Notes,
) -> Result<Tile, QueryError> {
    let mut out = Tile::new(tile.steps(), tile.limits());
    let (mut column, mut values) = (StepColumn::default(), Vec::new());
    note_invalid_quantiles(node, tile.steps(), param, notes);
    for (group, rows) in groups.rows.iter().enumerate() {
        column.reset(tile.steps());
        for step in 0..tile.steps() {
            values.clear();
            for &row in rows {
                match tile.row(row).cell(step) {
                    Cell::Float(value) => values.push(value),
                    Cell::Histogram(_) => note_ignored(node, notes),
                    Cell::Nothing => {}
                }
            }
            if !values.is_empty() {
                sort_values(&mut values);
                column.set(step, quantile_of_sorted(param.at(step), &values));
            }
        }
        if column.any() {
            out.push(groups.labels[group].clone(), column.view())?;
        }
    }
    Ok(out)
}

/// How many series have each value; the value becomes a label.
pub fn count_values(node: &AggregateNode, tile: &Tile, label: &str) -> Result<Tile, QueryError> {
    if label.is_empty() {
        return Err(QueryError::Execution(format!("invalid label name {label:?}")));
    }
    // The label is written before groups are formed: what it said before is not seen by them.
    let projection = match projection(node) {
        Projection::Only(names) => Projection::Only(names.into_iter().filter(|name| name != label).collect()),
        Projection::Without(names) => {
            Projection::Without(names.into_iter().chain([label.to_owned()]).collect())
        }
        Projection::All => Projection::All,
    };
    let groups = Groups::under(&projection, tile);
    let mut counts: Vec<(RowLabels, StepColumn)> = Vec::new();
    for (group, rows) in groups.rows.iter().enumerate() {
        let mut by_value: HashMap<String, usize, ahash::RandomState> = HashMap::default();
        for (&row, step) in rows.iter().flat_map(|row| (0..tile.steps()).map(move |step| (row, step))) {
            let text = match tile.row(row).cell(step) {
                Cell::Nothing => continue,
                Cell::Float(value) => decimal(value),
                Cell::Histogram(histogram) => crate::exec::histogram::text::describe(histogram),
            };
            let at = *by_value.entry(text).or_insert_with_key(|text| {
                let mut labels = LabelsBuilder::from(&groups.labels[group].labels);
                labels.set(label, text);
                let mut column = StepColumn::default();
                column.reset(tile.steps());
                counts.push((RowLabels { labels: labels.build(), drop_name: false }, column));
                counts.len() - 1
            });
            let column = &mut counts[at].1;
            let before = if column.present.get(step) { column.values[step] } else { 0.0 };
            column.set(step, before + 1.0);
        }
    }
    let mut out = Uniter::new(Tile::new(tile.steps(), tile.limits()));
    for (labels, column) in counts {
        out.add_or_fail(labels, column.view())?;
    }
    Ok(out.finish())
}
