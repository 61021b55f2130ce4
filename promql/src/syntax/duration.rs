//! Lengths of time in selectors: known at once, or a small expression over the query's start, end and
//! step that is computed when those are known.

use super::ast::Expr;
use super::position::PositionRange;
use std::fmt;

/// A length of time in a selector, an offset or a subquery.
#[derive(Debug, Clone, PartialEq)]
pub enum Duration {
    /// Milliseconds; negative only in an offset.
    Ms(i64),
    /// Not known before [`QueryTimes`] are; see [`resolve_durations`].
    Expr(Box<DurationExpr>),
}

/// Arithmetic over durations. Numbers are seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationExpr {
    Number {
        seconds: f64,
        is_duration: bool,
        position: PositionRange,
    },
    /// `step()`
    Step {
        position: PositionRange,
    },
    /// `range()`: the query's end minus its start.
    Range {
        position: PositionRange,
    },
    /// `-x`; and `+(x)` after `offset`, where the sign says that nothing more belongs to the duration.
    Sign {
        negative: bool,
        expr: Box<DurationExpr>,
        position: PositionRange,
    },
    /// Two sides; `min_of` and `max_of` are written as calls.
    Binary {
        op: DurationOp,
        lhs: Box<DurationExpr>,
        rhs: Box<DurationExpr>,
        position: PositionRange,
    },
    Paren {
        expr: Box<DurationExpr>,
        position: PositionRange,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    MinOf,
    MaxOf,
}

impl DurationOp {
    pub fn text(self) -> &'static str {
        match self {
            DurationOp::Add => "+",
            DurationOp::Sub => "-",
            DurationOp::Mul => "*",
            DurationOp::Div => "/",
            DurationOp::Mod => "%",
            DurationOp::Pow => "^",
            DurationOp::MinOf => "min_of",
            DurationOp::MaxOf => "max_of",
        }
    }
}

/// What a duration expression can ask of the query. An instant query has `start == end` and step 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryTimes {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}

/// A duration that the query's times make impossible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurationError {
    pub position: PositionRange,
    pub message: &'static str,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.position.start, self.position.end, self.message)
    }
}

impl std::error::Error for DurationError {}

impl Duration {
    pub const ZERO: Duration = Duration::Ms(0);

    /// The length in milliseconds.
    ///
    /// Panics when the tree's durations have not been resolved ([`resolve_durations`]).
    pub fn ms(&self) -> i64 {
        match self {
            Duration::Ms(ms) => *ms,
            Duration::Expr(expr) => panic!("duration at {:?} read before it was resolved", expr.position()),
        }
    }

    fn resolve(&mut self, times: QueryTimes, negative_allowed: bool) -> Result<(), DurationError> {
        let Duration::Expr(expr) = self else { return Ok(()) };
        let position = expr.position();
        let seconds = expr.seconds(times)?;
        if seconds <= 0.0 && !negative_allowed {
            return Err(DurationError { position, message: "duration must be greater than 0" });
        }
        let ms = seconds * 1000.0;
        if ms.is_nan() || ms.abs() >= -(i64::MIN as f64) {
            return Err(DurationError { position, message: "duration is out of range" });
        }
        *self = Duration::Ms(ms as i64);
        Ok(())
    }
}

impl From<DurationExpr> for Duration {
    /// A literal is known at once, and used to the millisecond. It is rounded to microseconds first, so
    /// that what is printed of a long one is read as the same again.
    fn from(expr: DurationExpr) -> Self {
        match expr.literal() {
            Some(seconds) => Duration::Ms(((seconds * 1e6).round() / 1e3) as i64),
            None => Duration::Expr(Box::new(expr)),
        }
    }
}

impl DurationExpr {
    pub fn position(&self) -> PositionRange {
        match self {
            DurationExpr::Number { position, .. }
            | DurationExpr::Step { position }
            | DurationExpr::Range { position }
            | DurationExpr::Sign { position, .. }
            | DurationExpr::Binary { position, .. }
            | DurationExpr::Paren { position, .. } => *position,
        }
    }

    /// The seconds of a literal, in brackets or not.
    pub fn literal(&self) -> Option<f64> {
        match self {
            DurationExpr::Number { seconds, .. } => Some(*seconds),
            DurationExpr::Paren { expr, .. } => expr.literal(),
            _ => None,
        }
    }

    /// A literal written with units.
    pub fn is_duration_literal(&self) -> bool {
        match self {
            DurationExpr::Number { is_duration, .. } => *is_duration,
            DurationExpr::Paren { expr, .. } => expr.is_duration_literal(),
            _ => false,
        }
    }

    fn seconds(&self, times: QueryTimes) -> Result<f64, DurationError> {
        Ok(match self {
            DurationExpr::Number { seconds, .. } => *seconds,
            DurationExpr::Step { .. } => times.step_ms as f64 / 1000.0,
            DurationExpr::Range { .. } => times.end_ms.saturating_sub(times.start_ms) as f64 / 1000.0,
            DurationExpr::Sign { negative: true, expr, .. } => -expr.seconds(times)?,
            DurationExpr::Sign { expr, .. } | DurationExpr::Paren { expr, .. } => expr.seconds(times)?,
            DurationExpr::Binary { op, lhs, rhs, position } => {
                let (lhs, rhs) = (lhs.seconds(times)?, rhs.seconds(times)?);
                let fault = |message| Err(DurationError { position: *position, message });
                match op {
                    DurationOp::Add => lhs + rhs,
                    DurationOp::Sub => lhs - rhs,
                    DurationOp::Mul => lhs * rhs,
                    DurationOp::Div if rhs == 0.0 => return fault("division by zero"),
                    DurationOp::Mod if rhs == 0.0 => return fault("modulo by zero"),
                    DurationOp::Div => lhs / rhs,
                    DurationOp::Mod => lhs % rhs,
                    DurationOp::Pow => lhs.powf(rhs),
                    DurationOp::MinOf => lhs.min(rhs),
                    DurationOp::MaxOf => lhs.max(rhs),
                }
            }
        })
    }
}

/// Computes every duration expression of the tree, so that [`Duration::ms`] answers. Must run before a
/// plan is made.
pub fn resolve_durations(expr: &mut Expr, times: QueryTimes) -> Result<(), DurationError> {
    match expr {
        Expr::Number(_) | Expr::String(_) => Ok(()),
        Expr::Vector(e) => e.offset.resolve(times, true),
        Expr::Matrix(e) => {
            e.range.resolve(times, false)?;
            e.selector.offset.resolve(times, true)
        }
        Expr::Subquery(e) => {
            e.offset.resolve(times, true)?;
            if let Some(step) = &mut e.step {
                step.resolve(times, false)?;
            }
            e.range.resolve(times, false)?;
            resolve_durations(&mut e.expr, times)
        }
        Expr::Call(e) => {
            for arg in &mut e.args {
                resolve_durations(arg, times)?;
            }
            Ok(())
        }
        Expr::Aggregate(e) => {
            if let Some(param) = &mut e.param {
                resolve_durations(param, times)?;
            }
            resolve_durations(&mut e.expr, times)
        }
        Expr::Binary(e) => {
            resolve_durations(&mut e.lhs, times)?;
            resolve_durations(&mut e.rhs, times)
        }
        Expr::Unary(e) => resolve_durations(&mut e.expr, times),
        Expr::Paren(e) => resolve_durations(&mut e.expr, times),
    }
}
