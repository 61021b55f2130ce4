//! Operators of two numbers.

use crate::exec::tile::StepColumn;
use crate::syntax::ast::BinaryOp;

/// Not for comparisons, set operators and what only histograms have.
#[inline]
pub fn arithmetic(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        other => unreachable!("{} has no arithmetic", other.text()),
    }
}

/// The same for columns of equal length; only the steps that are present need a result.
pub fn arithmetic_columns(op: BinaryOp, left: &[f64], right: &[f64], out: &mut StepColumn) {
    let all = |out: &mut StepColumn, of: fn(f64, f64) -> f64| {
        out.values.iter_mut().zip(left.iter().zip(right)).for_each(|(out, (&l, &r))| *out = of(l, r));
    };
    match op {
        BinaryOp::Add => all(out, |l, r| l + r),
        BinaryOp::Sub => all(out, |l, r| l - r),
        BinaryOp::Mul => all(out, |l, r| l * r),
        BinaryOp::Div => all(out, |l, r| l / r),
        dear => {
            for step in 0..out.values.len() {
                if out.present.get(step) {
                    out.values[step] = arithmetic(dear, left[step], right[step]);
                }
            }
        }
    }
}

#[inline]
pub fn compare(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Eql => left == right,
        BinaryOp::Neq => left != right,
        BinaryOp::Lss => left < right,
        BinaryOp::Lte => left <= right,
        BinaryOp::Gtr => left > right,
        BinaryOp::Gte => left >= right,
        other => unreachable!("{} compares nothing", other.text()),
    }
}

/// Between scalars, comparisons always say 0 or 1.
pub fn of_scalars(op: BinaryOp, left: f64, right: f64) -> f64 {
    if op.is_comparison() {
        f64::from(u8::from(compare(op, left, right)))
    } else {
        arithmetic(op, left, right)
    }
}
