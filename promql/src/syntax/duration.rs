//! Lengths of time in selectors: known at once, or a small expression over the query's start, end and
//! step that is computed when those are known.

use super::position::PositionRange;

/// A length of time in a selector, an offset or a subquery.
#[derive(Debug, Clone, PartialEq)]
pub enum Duration {
    /// Milliseconds; negative only in an offset.
    Ms(i64),
    /// Not known before [`QueryTimes`] are.
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
    /// One side: `-x`, `+x`.
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

/// What a duration expression can ask of the query. An instant query has `start == end` and step 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryTimes {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
}

impl Duration {
    pub const ZERO: Duration = Duration::Ms(0);

    /// The length in milliseconds.
    ///
    /// Panics when the tree's durations have not been resolved (`Expr::resolve_durations`).
    pub fn ms(&self) -> i64 {
        match self {
            Duration::Ms(ms) => *ms,
            Duration::Expr(expr) => panic!("duration at {:?} read before it was resolved", expr.position()),
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
}
