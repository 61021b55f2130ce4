//! Functions of one value. Histograms have none of these and drop out.

use crate::exec::tile::StepColumn;
use crate::exec::window::Param;
use crate::functions::MathKind;

/// Applies the function to every float of the column.
pub fn column(kind: MathKind, params: &[Param], column: &mut StepColumn) {
    column.histograms.clear();
    match simple(kind) {
        Some(f) => column.values.iter_mut().for_each(|value| *value = f(*value)),
        None => with_params(kind, params, column),
    }
}

/// Turns the sign, of histograms too.
pub fn negate(column: &mut StepColumn) {
    column.values.iter_mut().for_each(|value| *value = -*value);
    for cell in column.histograms.iter_mut().flatten() {
        *cell = std::sync::Arc::new(crate::exec::histogram::scaled(cell, -1.0));
    }
}

fn simple(kind: MathKind) -> Option<fn(f64) -> f64> {
    use MathKind::*;
    Some(match kind {
        Abs => f64::abs,
        Acos => f64::acos,
        Acosh => acosh,
        Asin => f64::asin,
        Asinh => asinh,
        Atan => f64::atan,
        Atanh => f64::atanh,
        Ceil => f64::ceil,
        Cos => f64::cos,
        Cosh => cosh,
        Deg => |v| v * 180.0 / std::f64::consts::PI,
        Exp => f64::exp,
        Floor => f64::floor,
        Ln => f64::ln,
        Log10 => f64::log10,
        Log2 => f64::log2,
        Rad => |v| v * std::f64::consts::PI / 180.0,
        // NaN and both zeros stay what they are.
        Sgn => |v| {
            if v > 0.0 {
                1.0
            } else if v < 0.0 {
                -1.0
            } else {
                v
            }
        },
        Sin => f64::sin,
        Sinh => sinh,
        Sqrt => f64::sqrt,
        Tan => f64::tan,
        Tanh => f64::tanh,
        Clamp | ClampMax | ClampMin | Round => return None,
    })
}

fn with_params(kind: MathKind, params: &[Param], column: &mut StepColumn) {
    let at = |i: usize, step: usize, default: f64| params.get(i).map_or(default, |p| p.at(step));
    for step in 0..column.values.len() {
        let value = column.values[step];
        column.values[step] = match kind {
            MathKind::ClampMin => max(at(0, step, f64::NAN), value),
            MathKind::ClampMax => min(at(0, step, f64::NAN), value),
            MathKind::Clamp => {
                let (low, high) = (at(0, step, f64::NAN), at(1, step, f64::NAN));
                if high < low {
                    column.present.unset(step);
                }
                max(low, min(high, value))
            }
            _ => {
                // The inverse is what is multiplied with, so that 0.1 rounds to tenths exactly.
                let inverse = 1.0 / at(0, step, 1.0);
                (value * inverse + 0.5).floor() / inverse
            }
        };
    }
}

/// As Go's math.Max: NaN wins over everything but +Inf.
pub fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

pub fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.min(b)
    }
}
/// Beyond this the square of a number is so large that adding one does not change it.
const LARGE: f64 = (1u64 << 28) as f64;

/// The standard library's overflows halfway to the largest number.
fn asinh(value: f64) -> f64 {
    if value.abs() > LARGE && value.is_finite() {
        return (value.abs().ln() + std::f64::consts::LN_2).copysign(value);
    }
    value.asinh()
}

/// From here on the other half of a hyperbola does not count.
const FAR: f64 = 21.0;

/// Half of the exponential, as Prometheus has it, which overflows a little before the sine itself does.
fn sinh(value: f64) -> f64 {
    if value.abs() > FAR { (value.abs().exp() * 0.5).copysign(value) } else { value.sinh() }
}

/// Likewise.
fn cosh(value: f64) -> f64 {
    if value.abs() > FAR { value.abs().exp() * 0.5 } else { value.cosh() }
}

/// The standard library's overflows halfway to the largest number.
fn acosh(value: f64) -> f64 {
    if value > LARGE && value.is_finite() { value.ln() + std::f64::consts::LN_2 } else { value.acosh() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_of_the_largest_numbers_are_finite() {
        assert!((asinh(f64::MAX) - 710.475_860_073_943_9).abs() < 1e-12);
        assert!((asinh(-f64::MAX) + 710.475_860_073_943_9).abs() < 1e-12);
        assert!((acosh(f64::MAX) - 710.475_860_073_943_9).abs() < 1e-12);
        assert!((asinh(LARGE * 2.0) - (LARGE * 2.0).asinh()).abs() < 1e-14);
        assert_eq!((sinh(-710.0), cosh(710.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(
            (sinh(22.0) / 22f64.sinh() - 1.0).abs() < 1e-15
                && (cosh(-22.0) / 22f64.cosh() - 1.0).abs() < 1e-15
        );
        assert_eq!((asinh(f64::INFINITY), asinh(-0.0).to_bits()), (f64::INFINITY, (-0.0f64).to_bits()));
    }
}
