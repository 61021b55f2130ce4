//! `deriv`, `predict_linear`, `double_exponential_smoothing`: lines and trends through a window.

use super::{Bounds, RangeCall, Samples};
use crate::exec::sum::Neumaier;
use crate::exec::tile::StepColumn;
use crate::query::QueryError;

/// Least squares: slope per second and the value at `at_ms`. At least one sample.
pub fn line(times: &[i64], values: &[f64], at_ms: i64) -> (f64, f64) {
    let first = values[0];
    if values.iter().all(|&v| v == first) || values.len() == 1 {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut sum_x, mut sum_y) = (Neumaier::default(), Neumaier::default());
    let (mut sum_xy, mut sum_xx) = (Neumaier::default(), Neumaier::default());
    for (&time, &y) in times.iter().zip(values) {
        let x = (time - at_ms) as f64 / 1e3;
        sum_x.add(x);
        sum_y.add(y);
        sum_xy.add(x * y);
        sum_xx.add(x * x);
    }
    let n = values.len() as f64;
    let raw = |s: Neumaier| s.sum + s.compensation;
    let (sum_x, sum_y, sum_xy, sum_xx) = (raw(sum_x), raw(sum_y), raw(sum_xy), raw(sum_xx));
    let covariance = sum_xy - sum_x * sum_y / n;
    let variance = sum_xx - sum_x * sum_x / n;
    let slope = covariance / variance;
    (slope, sum_y / n - slope * sum_x / n)
}

pub fn deriv(samples: Samples<'_>, bounds: &Bounds, out: &mut StepColumn) {
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if window.len() > 1 {
            let times = &samples.times[window.clone()];
            out.set(step, line(times, &samples.values[window], times[0]).0);
        }
    }
}

pub fn predict(call: &RangeCall, samples: Samples<'_>, bounds: &Bounds, out: &mut StepColumn) {
    for step in 0..bounds.lo.len() {
        let window = bounds.window(step);
        if window.len() > 1 {
            let now = call.steps.time_ms(step);
            let (slope, here) = line(&samples.times[window.clone()], &samples.values[window], now);
            out.set(step, slope * call.params[0].at(step) + here);
        }
    }
}

pub fn smoothing(
    call: &RangeCall,
    values: &[f64],
    bounds: &Bounds,
    out: &mut StepColumn,
) -> Result<(), QueryError> {
    for step in 0..bounds.lo.len() {
        let (smooth, trend) = (call.params[0].at(step), call.params[1].at(step));
        for (name, letters, factor) in [("smoothing", "sf", smooth), ("trend", "tf", trend)] {
            if factor.is_nan() || factor <= 0.0 || factor >= 1.0 {
                let text = format!("invalid {name} factor. Expected: 0 < {letters} < 1, got: {factor:.6}");
                return Err(QueryError::Execution(text));
            }
        }
        let window = bounds.window(step);
        if window.len() > 1 {
            out.set(step, smooth_window(&values[window], smooth, trend));
        }
    }
    Ok(())
}

fn smooth_window(values: &[f64], smooth: f64, trend: f64) -> f64 {
    let (mut before, mut level) = (0.0, values[0]);
    let mut slope = values[1] - values[0];
    for (i, value) in values.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        let next = smooth * value + (1.0 - smooth) * (level + slope);
        (before, level) = (level, next);
    }
    level
}
