//! Whether an answer is what a test expects, with the tolerance of Prometheus' own tests.

use crate::script::{Eval, Expect, LoadedSeries, When};
use crate::sequence::Cell;
use hearth_model::{Histogram, Labels, Sample, is_stale};
use hearth_promql::exec::histogram::layout::Sparse;
use hearth_promql::{MatrixSeries, Point, Value, VectorElement};
use std::collections::BTreeMap;

const TOLERANCE: f64 = 1e-6;

fn same(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

fn same_histogram(expected: &Histogram, hinted: bool, got: &Histogram) -> bool {
    let (e, g) = (Sparse::of(expected), Sparse::of(got));
    let side = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.0 == y.0 && same(x.1, y.1))
    };
    let bounds = e.custom_values.len() == g.custom_values.len()
        && e.custom_values.iter().zip(&g.custom_values).all(|(a, b)| same(*a, *b));
    e.schema == g.schema
        && same(e.count, g.count)
        && same(e.sum, g.sum)
        && same(e.zero_threshold, g.zero_threshold)
        && same(e.zero_count, g.zero_count)
        && bounds
        && side(&e.positive, &g.positive)
        && side(&e.negative, &g.negative)
        && (!hinted || e.reset == g.reset)
}

fn same_cell(expected: &Cell, got: Option<&Point>) -> bool {
    match (expected, got) {
        (Cell::Nothing, None) => true,
        (Cell::Float(a), Some(Point::Float(b))) => same(*a, *b),
        (Cell::Histogram(a, hinted), Some(Point::Histogram(b))) => same_histogram(a, *hinted, b),
        _ => false,
    }
}

/// What a range query says at one time, in the form of an instant query's answer.
pub fn at_time(ranged: &Value, time_ms: i64, instant: &Value) -> Value {
    let Value::Matrix(series) = ranged else { return ranged.clone() };
    let at = |series: &MatrixSeries| {
        let float = series.floats.iter().find(|s| s.timestamp_ms == time_ms);
        let histogram = series.histograms.iter().find(|(time, _)| *time == time_ms);
        float.map(|s| Point::Float(s.value)).or(histogram.map(|(_, h)| Point::Histogram(h.clone())))
    };
    if let Value::Scalar(_) = instant {
        let value = match series.first().and_then(at) {
            Some(Point::Float(value)) => value,
            _ => f64::NAN,
        };
        return Value::Scalar(Sample { timestamp_ms: time_ms, value });
    }
    let elements = series.iter().filter_map(|s| {
        let point = at(s)?;
        Some(VectorElement { labels: s.labels.clone(), timestamp_ms: time_ms, point })
    });
    Value::Vector(elements.collect())
}

fn points(series: &MatrixSeries) -> BTreeMap<i64, Point> {
    let floats = series.floats.iter().map(|s| (s.timestamp_ms, Point::Float(s.value)));
    let histograms = series.histograms.iter().map(|(time, h)| (*time, Point::Histogram(h.clone())));
    floats.chain(histograms).collect()
}

fn matrix(
    expected: &[LoadedSeries],
    got: &[MatrixSeries],
    start_ms: i64,
    step_ms: i64,
) -> Result<(), String> {
    let mut wanted: BTreeMap<&Labels, &LoadedSeries> = expected.iter().map(|s| (&s.labels, s)).collect();
    for series in got {
        let Some(expected) = wanted.remove(&series.labels) else {
            return Err(format!("unexpected series {} {:?}", series.labels, series.floats));
        };
        let points = points(series);
        let last = points.keys().last().map_or(0, |last| (last - start_ms) / step_ms) + 1;
        for i in 0..(expected.cells.len() as i64).max(last) {
            let cell = expected.cells.get(i as usize).unwrap_or(&Cell::Nothing);
            let got = points.get(&(start_ms + i * step_ms));
            if !same_cell(cell, got) {
                return Err(format!("{} at step {i}: expected {cell:?}, got {got:?}", series.labels));
            }
        }
    }
    match wanted.values().find(|s| s.cells.iter().any(|c| *c != Cell::Nothing)) {
        Some(missing) => Err(format!("series {} is missing", missing.labels)),
        None => Ok(()),
    }
}

fn vector(eval: &Eval, got: &[VectorElement]) -> Result<(), String> {
    if got.len() != eval.series.len() {
        let labels: Vec<String> = got.iter().map(|e| format!("{} {:?}", e.labels, e.point)).collect();
        return Err(format!("expected {} elements, got {}: {labels:?}", eval.series.len(), got.len()));
    }
    for (i, element) in got.iter().enumerate() {
        let position = eval.series.iter().position(|s| s.labels == element.labels);
        let Some(position) = position else { return Err(format!("unexpected element {}", element.labels)) };
        if eval.is_ordered() && position != i {
            return Err(format!("{} stands at {i}, expected at {position}", element.labels));
        }
        let [cell] = &eval.series[position].cells[..] else {
            return Err(format!("{} has not one value", element.labels));
        };
        if !same_cell(cell, Some(&element.point)) {
            return Err(format!("{}: expected {cell:?}, got {:?}", element.labels, element.point));
        }
    }
    Ok(())
}

/// Whether the value is the expected one.
pub fn values(eval: &Eval, value: &Value) -> Result<(), String> {
    for expect in &eval.expects {
        match (expect, value) {
            (Expect::Text(expected), Value::String { text, .. }) if expected == text => return Ok(()),
            (Expect::Text(expected), got) => return Err(format!("expected {expected:?}, got {got:?}")),
            (Expect::Matrix { start_ms, step_ms }, Value::Matrix(got)) => {
                return matrix(&eval.series, got, *start_ms, *step_ms);
            }
            _ => {}
        }
    }
    match (value, eval.when) {
        (Value::Scalar(got), _) => match eval.scalar {
            Some(expected) if same(expected, got.value) => Ok(()),
            expected => Err(format!("expected {expected:?}, got {}", got.value)),
        },
        (Value::Vector(got), _) => vector(eval, got),
        (Value::Matrix(got), When::Range { start_ms, step_ms, .. }) => {
            matrix(&eval.series, got, start_ms, step_ms)
        }
        (got, _) => Err(format!("unexpected {got:?}")),
    }
}
