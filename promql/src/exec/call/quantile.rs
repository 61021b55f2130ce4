//! `histogram_quantile` and its relatives, over classic buckets (one series a bucket) and native
//! histograms.

use crate::exec::histogram::quantile as native;
use crate::exec::labels::Uniter;
use crate::exec::notes::{Lifted, Note, Notes};
use crate::exec::number::{general, open_metrics};
use crate::exec::tile::{Cell, RowLabels, StepColumn, Tile};
use crate::exec::window::Param;
use crate::functions::HistogramKind;
use crate::plan::grid::Steps;
use crate::query::QueryError;
use crate::syntax::PositionRange;
use hearth_model::label::METRIC_NAME;
use hearth_model::number::parse_float;
use hearth_model::{Histogram, Labels, LabelsBuilder};
use std::collections::HashMap;

const BUCKET_LABEL: &str = "le";
/// Differences this small, relative to the sum of two counts, come from arithmetic, not from the data.
const PRECISION: f64 = 1e-12;

/// The call, its parameters evaluated.
#[derive(Debug, Clone, Copy)]
pub struct HistogramCall<'a> {
    pub kind: HistogramKind,
    pub steps: &'a Steps,
    pub params: &'a [Param],
    pub label: &'a str,
    /// Of each parameter, then of the vector.
    pub positions: &'a [PositionRange],
}

impl HistogramCall<'_> {
    fn vector_position(&self) -> PositionRange {
        self.positions[self.positions.len() - 1]
    }
}

pub fn evaluate(
    call: &HistogramCall<'_>,
    tile: &Tile,
    delayed: bool,
    notes: &mut Notes,
) -> Result<Tile, QueryError> {
    match call.kind {
        HistogramKind::Quantile | HistogramKind::Quantiles | HistogramKind::Fraction => {
            over_buckets(call, tile, delayed, notes)
        }
        kind => native_only(kind, tile, delayed),
    }
}

/// Functions that only native histograms have; floats drop out.
fn native_only(kind: HistogramKind, tile: &Tile, delayed: bool) -> Result<Tile, QueryError> {
    let of = |h: &Histogram| match kind {
        HistogramKind::Avg => h.sum / h.count,
        HistogramKind::Count => h.count,
        HistogramKind::Sum => h.sum,
        HistogramKind::Stdvar => native::variance(h),
        _ => native::variance(h).sqrt(),
    };
    let mut out = Uniter::new(Tile::new(tile.steps(), tile.limits()));
    let mut column = StepColumn::default();
    for row in 0..tile.len() {
        column.reset(tile.steps());
        for (step, cell) in tile.row(row).histograms.iter().enumerate() {
            if let Some(histogram) = cell {
                column.set(step, of(histogram));
            }
        }
        if column.any() {
            out.add_or_fail(tile.labels(row).dropping_name(delayed), column.view())?;
        }
    }
    Ok(out.finish())
}

/// The series that make up one histogram: those that agree on all labels but `le`.
struct Family {
    labels: RowLabels,
    metric: String,
    classic: Vec<(f64, usize)>,
    native: Vec<usize>,
}

fn families(call: &HistogramCall<'_>, tile: &Tile, notes: &mut Notes) -> Vec<Family> {
    let mut numbers: HashMap<Labels, usize, ahash::RandomState> = HashMap::default();
    let mut all: Vec<Family> = Vec::new();
    let mut find = |labels: Labels, drop_name: bool| -> usize {
        *numbers.entry(labels).or_insert_with_key(|labels| {
            let metric = labels.value(METRIC_NAME).to_owned();
            let labels = RowLabels { labels: labels.clone(), drop_name };
            all.push(Family { labels, metric, classic: Vec::new(), native: Vec::new() });
            all.len() - 1
        })
    };
    let mut members = Vec::new();
    for row in 0..tile.len() {
        let RowLabels { labels, drop_name } = tile.labels(row);
        if !tile.row(row).histograms.is_empty() {
            members.push((find(labels.clone(), *drop_name), None, row));
        }
        if !tile.row(row).present.iter().any(|&w| w != 0) {
            continue;
        }
        let bound = labels.value(BUCKET_LABEL);
        match parse_float(bound.as_bytes()) {
            Ok(upper) => {
                let family = find(labels.filter(|name| name != BUCKET_LABEL), *drop_name);
                members.push((family, Some(upper), row));
            }
            Err(_) => {
                let metric = labels.value(METRIC_NAME).to_owned();
                let note = Note::BadBucketLabel { metric, value: bound.to_owned() };
                notes.add(call.vector_position(), note);
            }
        }
    }
    for (family, bound, row) in members {
        match bound {
            Some(upper) => all[family].classic.push((upper, row)),
            None => all[family].native.push(row),
        }
    }
    for family in &mut all {
        family.classic.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    all
}

fn over_buckets(
    call: &HistogramCall<'_>,
    tile: &Tile,
    delayed: bool,
    notes: &mut Notes,
) -> Result<Tile, QueryError> {
    let quantiles = matches!(call.kind, HistogramKind::Quantile | HistogramKind::Quantiles);
    if quantiles {
        note_invalid(call, tile.steps(), notes);
    }
    let families = families(call, tile, notes);
    // A fraction takes two parameters at once, quantiles are one result each.
    let results = if quantiles { call.params.len() } else { 1 };
    let mut out = Uniter::new(Tile::new(tile.steps(), tile.limits()));
    let mut column = StepColumn::default();
    let mut buckets: Vec<Bucket> = Vec::new();
    for family in &families {
        for result in 0..results {
            column.reset(tile.steps());
            for step in 0..tile.steps() {
                if let Some(value) = family_at(call, family, tile, result, step, &mut buckets, notes) {
                    column.set(step, value);
                }
            }
            if column.any() {
                let mut labels = family.labels.dropping_name(delayed);
                if call.kind == HistogramKind::Quantiles && tile.steps() > 0 {
                    let mut builder = LabelsBuilder::from(&labels.labels);
                    builder.set(call.label, &open_metrics(call.params[result].at(0)));
                    labels.labels = builder.build();
                }
                out.add_or_fail(labels, column.view())?;
            }
        }
        tile.limits().check()?;
    }
    Ok(out.finish())
}

fn note_invalid(call: &HistogramCall<'_>, steps: usize, notes: &mut Notes) {
    for (param, position) in call.params.iter().zip(call.positions) {
        for q in (0..steps).map(|step| param.at(step)).filter(|q| !(0.0..=1.0).contains(q)) {
            notes.add(*position, Note::InvalidQuantile(general(q)));
        }
    }
}

fn family_at(
    call: &HistogramCall<'_>,
    family: &Family,
    tile: &Tile,
    result: usize,
    step: usize,
    buckets: &mut Vec<Bucket>,
    notes: &mut Notes,
) -> Option<f64> {
    buckets.clear();
    for &(upper, row) in &family.classic {
        if let Cell::Float(count) = tile.row(row).cell(step) {
            buckets.push(Bucket { upper, count });
        }
    }
    let native = family.native.iter().find_map(|&row| tile.row(row).histogram(step));
    let metric = || family.metric.clone();
    if let Some(histogram) = native {
        if !buckets.is_empty() {
            notes.add(call.vector_position(), Note::MixedClassicNative { metric: metric() });
            return None;
        }
        return Some(of_native(call, histogram, result, step, metric, notes));
    }
    if buckets.is_empty() {
        return None;
    }
    if call.kind == HistogramKind::Fraction {
        return Some(bucket_fraction(call.params[0].at(step), call.params[1].at(step), buckets));
    }
    let (value, forced) = bucket_quantile(call.params[result].at(step), buckets);
    if let Some(Forced { least, greatest, most }) = forced {
        let time_ms = call.steps.time_ms(step);
        let lifted = Lifted {
            least_bound: least,
            greatest_bound: greatest,
            most,
            times: 1,
            first_ms: time_ms,
            last_ms: time_ms,
        };
        notes.add_lifted(call.vector_position(), metric(), lifted);
    }
    Some(value)
}

fn of_native(
    call: &HistogramCall<'_>,
    histogram: &Histogram,
    result: usize,
    step: usize,
    metric: impl Fn() -> String,
    notes: &mut Notes,
) -> f64 {
    if call.kind == HistogramKind::Fraction {
        if histogram.sum.is_nan() {
            notes.add(call.vector_position(), Note::FractionNans { metric: metric() });
        }
        return native::fraction(call.params[0].at(step), call.params[1].at(step), histogram);
    }
    let (value, remark) = native::quantile(call.params[result].at(step), histogram);
    match remark {
        native::Remark::Nothing => {}
        native::Remark::NanResult => {
            notes.add(call.vector_position(), Note::QuantileNanResult { metric: metric() });
        }
        native::Remark::NanSkew => {
            notes.add(call.vector_position(), Note::QuantileNanSkew { metric: metric() });
        }
    }
    value
}

/// One bucket of a classic histogram: how many observations were at most `upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    pub upper: f64,
    pub count: f64,
}

/// Buckets with the same bound become one.
fn coalesce(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|b, kept| {
        let same = b.upper == kept.upper;
        if same {
            kept.count += b.count;
        }
        same
    });
}

/// The bounds of the buckets whose counts had to be lifted, and by how much at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forced {
    pub least: f64,
    pub greatest: f64,
    pub most: f64,
}

/// Counts must not fall towards larger bounds. What rounding did is repaired silently; the rest is too, but
/// the answer says so.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Forced> {
    let mut before = buckets[0].count;
    let mut forced: Option<Forced> = None;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == before || !(count < before || is_rounding(before, count)) {
            before = count;
            continue;
        }
        bucket.count = before;
        if is_rounding(before, count) {
            continue;
        }
        let other = forced.unwrap_or(Forced { least: f64::INFINITY, greatest: f64::NEG_INFINITY, most: 0.0 });
        forced = Some(Forced {
            least: other.least.min(bucket.upper),
            greatest: other.greatest.max(bucket.upper),
            most: other.most.max(before - count),
        });
    }
    forced
}

/// So close together that arithmetic alone explains the difference.
fn is_rounding(a: f64, b: f64) -> bool {
    let (difference, sum) = ((a - b).abs(), a.abs() + b.abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < PRECISION * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < PRECISION
}

/// The quantile of sorted, cumulative buckets, linear within a bucket; and where counts fell.
pub fn bucket_quantile(q: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return (f64::NAN, None);
    }
    coalesce(buckets);
    let forced = make_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = q * observations;
    let at = buckets[..last].partition_point(|b| b.count < rank || b.count.is_nan());
    if at == last {
        return (buckets[last - 1].upper, forced);
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, forced);
    }
    let (mut lower, mut count) = (0.0, buckets[at].count);
    if at > 0 {
        lower = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (lower + (buckets[at].upper - lower) * (rank / count), forced)
}

/// The fraction of observations between two values.
pub fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return f64::NAN;
    }
    coalesce(buckets);
    let observations = buckets[buckets.len() - 1].count;
    if observations == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank) = (None, None);
    for (i, bucket) in buckets.iter().enumerate() {
        let from = match i {
            0 if bucket.upper > 0.0 => 0.0,
            0 => f64::NEG_INFINITY,
            _ => buckets[i - 1].upper,
        };
        for (edge, edge_rank) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if edge_rank.is_some() {
                continue;
            }
            if from >= edge {
                *edge_rank = Some(rank);
            } else if bucket.upper > edge {
                *edge_rank = Some(if from == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + (bucket.count - rank) * (edge - from) / (bucket.upper - from)
                });
            }
        }
        rank = bucket.count;
    }
    let cut = |edge_rank: Option<f64>| edge_rank.filter(|&r| r <= observations).unwrap_or(observations);
    (cut(upper_rank) - cut(lower_rank)) / observations
}
