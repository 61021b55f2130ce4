//! Whether a result may be kept, under which name, and which samples each of its steps can see. It reads
//! the tree, whose durations are resolved, and nothing else.
//!
//! A result is kept where its value at a step is a function of that step and the samples around it, so that
//! a run over any range that has the step gives the same bits. What keeps that from being so:
//!
//! * `@ start()`, `@ end()`, `start()`, `end()`, `range()`: the step's value depends on the range asked for.
//! * `info()`: it takes labels from the newest of all info series within the range.
//! * Errors that look at the whole range: two series that lose their names and become equal are refused
//!   even when they never have a value at the same step.
//! * Choices by order (`topk` among equal values, `limitk`) where the order of series depends on which of
//!   them the range has: behind an operator that numbers its series as it meets them.
//! * Remarks about the extremes of a parameter over all steps.

use crate::functions::{Eval, RangeKind, SpecialKind};
use crate::plan::grid::Steps;
use crate::syntax::ast::{
    Aggregate, AggregateOp, At, Call, Expr, Extended, Subquery, UnaryOp, VectorSelector,
};
use crate::syntax::ast::{BinaryOp, ValueType};
use hearth_model::label::METRIC_NAME;

/// What a result is kept under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The tree in its printed form, labels of groupings sorted.
    expr: String,
    step_ms: i64,
    /// Where the grid of steps lies: any step modulo the step.
    phase_ms: i64,
    lookback_ms: i64,
}

impl Key {
    /// The key of an expression over steps, and how far its steps see; `None` where no result of it is
    /// kept.
    pub fn of(expr: &Expr, steps: &Steps, lookback_ms: i64) -> Option<(Key, Reach)> {
        if steps.step_ms <= 0 || !is_local(expr) {
            return None;
        }
        let mut reach = Reach::default();
        reach.add(expr, Sight::AT_STEP, lookback_ms);
        if reach == Reach::default() {
            // Without a selector there is nothing to read: computing is cheaper than keeping.
            return None;
        }
        let mut normal = expr.clone();
        sort_labels(&mut normal);
        let phase_ms = steps.start_ms.rem_euclid(steps.step_ms);
        Some((Key { expr: normal.to_string(), step_ms: steps.step_ms, phase_ms, lookback_ms }, reach))
    }

    /// The normalised expression.
    pub fn expr(&self) -> &str {
        &self.expr
    }

    pub fn size_bytes(&self) -> usize {
        self.expr.len() + size_of::<Key>()
    }
}

/// Groupings name a set.
fn sort_labels(expr: &mut Expr) {
    match expr {
        Expr::Aggregate(e) => e.grouping.sort_unstable(),
        Expr::Binary(e) => {
            if let Some(matching) = &mut e.matching {
                matching.labels.sort_unstable();
            }
        }
        _ => {}
    }
    expr.children_mut().for_each(sort_labels);
}

/// The samples that the steps of an expression can see, both ends inclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Relative to each step.
    pub moving: Option<(i64, i64)>,
    /// The same for all steps.
    pub fixed: Option<(i64, i64)>,
}

/// When an expression is evaluated: within these times, relative to the step or absolute.
#[derive(Debug, Clone, Copy)]
struct Sight {
    min_ms: i64,
    max_ms: i64,
    fixed: bool,
}

impl Sight {
    const AT_STEP: Sight = Sight { min_ms: 0, max_ms: 0, fixed: false };

    /// Through `@`, an offset and a window.
    fn through(self, at: Option<At>, offset_ms: i64, window_ms: i64) -> Sight {
        let base = match at {
            Some(At::TimestampMs(ms)) => Sight { min_ms: ms, max_ms: ms, fixed: true },
            _ => self,
        };
        Sight {
            min_ms: base.min_ms.saturating_sub(offset_ms).saturating_sub(window_ms),
            max_ms: base.max_ms.saturating_sub(offset_ms),
            fixed: base.fixed,
        }
    }
}

impl Reach {
    fn include(&mut self, sight: Sight) {
        let slot = if sight.fixed { &mut self.fixed } else { &mut self.moving };
        let (min_ms, max_ms) = slot.unwrap_or((sight.min_ms, sight.max_ms));
        *slot = Some((min_ms.min(sight.min_ms), max_ms.max(sight.max_ms)));
    }

    fn selector(&mut self, selector: &VectorSelector, sight: Sight, window_ms: i64, lookback_ms: i64) {
        let mut seen = sight.through(selector.at, selector.offset.ms(), window_ms);
        if selector.extended.is_some() {
            seen.min_ms = seen.min_ms.saturating_sub(lookback_ms);
        }
        if selector.extended == Some(Extended::Smoothed) {
            seen.max_ms = seen.max_ms.saturating_add(lookback_ms);
        }
        self.include(seen);
    }

    fn add(&mut self, expr: &Expr, sight: Sight, lookback_ms: i64) {
        match expr {
            Expr::Vector(e) => self.selector(e, sight, lookback_ms, lookback_ms),
            Expr::Matrix(e) => self.selector(&e.selector, sight, e.range.ms(), lookback_ms),
            Expr::Subquery(e) => {
                let inner = sight.through(e.at, e.offset.ms(), e.range.ms());
                self.add(&e.expr, inner, lookback_ms);
            }
            _ => expr.children().for_each(|child| self.add(child, sight, lookback_ms)),
        }
    }
}

/// Nothing in the tree depends on more than the step; see the module's head.
fn is_local(expr: &Expr) -> bool {
    let here = match expr {
        Expr::Vector(e) => is_placed(e.at),
        Expr::Matrix(e) => is_placed(e.selector.at),
        Expr::Subquery(e) => is_placed(e.at),
        Expr::Call(e) => is_local_call(e),
        Expr::Aggregate(e) => is_local_aggregate(e),
        Expr::Unary(e) => {
            e.op == UnaryOp::Plus || e.expr.value_type() == ValueType::Scalar || has_one_name(&e.expr)
        }
        Expr::Number(_) | Expr::String(_) | Expr::Binary(_) | Expr::Paren(_) => true,
    };
    here && expr.children().all(is_local)
}

fn is_placed(at: Option<At>) -> bool {
    !matches!(at, Some(At::Start | At::End))
}

fn is_local_call(call: &Call) -> bool {
    match call.func.eval {
        Eval::Special(SpecialKind::Start | SpecialKind::End | SpecialKind::Range) | Eval::Info => false,
        Eval::Histogram(_) => call.args.iter().all(has_one_name),
        Eval::RangeFn(RangeKind::First | RangeKind::Last) => true,
        Eval::RangeFn(_) => call.args.iter().all(|arg| match arg.unwrap_paren() {
            Expr::Matrix(e) => e.selector.metric_name().is_some(),
            Expr::Subquery(Subquery { expr, .. }) => has_one_name(expr),
            _ => true,
        }),
        _ => true,
    }
}

fn is_local_aggregate(e: &Aggregate) -> bool {
    let literal = |param: &Option<Box<Expr>>| {
        param.as_deref().is_none_or(|param| matches!(param.unwrap_paren(), Expr::Number(_)))
    };
    match e.op {
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => has_own_order(&e.expr),
        AggregateOp::Quantile | AggregateOp::LimitRatio => literal(&e.param),
        _ => true,
    }
}

/// No two series of the result can become equal by losing their names.
fn has_one_name(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Vector(e) => e.metric_name().is_some(),
        Expr::Matrix(e) => e.selector.metric_name().is_some(),
        Expr::Subquery(e) => has_one_name(&e.expr),
        Expr::Unary(e) => e.op == UnaryOp::Minus || has_one_name(&e.expr),
        Expr::Paren(e) => has_one_name(&e.expr),
        Expr::Aggregate(e) => match e.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                has_one_name(&e.expr)
            }
            _ => e.without || !e.grouping.iter().any(|label| label == METRIC_NAME),
        },
        Expr::Binary(e) => match e.op {
            BinaryOp::Or => false,
            // `group_left (__name__)` brings a name back.
            _ => {
                e.matching.as_ref().is_none_or(|m| m.include.is_empty())
                    && has_one_name(&e.lhs)
                    && has_one_name(&e.rhs)
            }
        },
        Expr::Call(e) => match e.func.eval {
            Eval::Label(_) | Eval::Info => false,
            _ => e.args.iter().all(has_one_name),
        },
    }
}

/// The order of the result's series follows from their labels alone, whichever of them a range has.
fn has_own_order(expr: &Expr) -> bool {
    match expr {
        Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => true,
        Expr::Subquery(e) => has_own_order(&e.expr),
        Expr::Unary(e) => has_own_order(&e.expr),
        Expr::Paren(e) => has_own_order(&e.expr),
        Expr::Aggregate(_) => false,
        Expr::Binary(e) => e.matching.is_none() && has_own_order(&e.lhs) && has_own_order(&e.rhs),
        Expr::Call(e) => match e.func.eval {
            Eval::RangeFn(_) | Eval::Elementwise(_) | Eval::Time(_) | Eval::Sort(_) => {
                e.args.iter().all(has_own_order)
            }
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{ParseOptions, QueryTimes, parse, resolve_durations};

    fn key(text: &str) -> Option<(Key, Reach)> {
        let mut expr = parse(text, &ParseOptions::ALL).expect("parses");
        let times = QueryTimes { start_ms: 100_000, end_ms: 200_000, step_ms: 15_000 };
        resolve_durations(&mut expr, times).expect("durations");
        Key::of(&expr, &Steps::range(100_000, 200_000, 15_000), 300_000)
    }

    #[track_caller]
    fn check(text: &str, moving: Option<(i64, i64)>, fixed: Option<(i64, i64)>) {
        assert_eq!(key(text).map(|(_, reach)| reach), Some(Reach { moving, fixed }), "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str) {
        assert_eq!(key(text), None, "{text}");
    }

    #[test]
    fn every_selector_counts_for_the_reach() {
        check("m", Some((-300_000, 0)), None);
        check("rate(m[1m] offset 1m)", Some((-120_000, -60_000)), None);
        check("sum(m offset -2m) / sum_over_time(m[1m:])", Some((-360_000, 120_000)), None);
        check("m @ 50 + m", Some((-300_000, 0)), Some((-250_000, 50_000)));
        check("max_over_time(m[10m:1m] @ 60 offset 1m)", None, Some((-900_000, 0)));
        check("max_over_time((m @ 10)[10m:1m])", None, Some((-290_000, 10_000)));
        check("rate(m[1m] smoothed)", Some((-360_000, 300_000)), None);
        check("rate(m[step()])", Some((-15_000, 0)), None);
    }

    #[test]
    fn what_depends_on_the_range_is_not_kept() {
        for text in [
            "m @ start()",
            "max_over_time(m[5m:1m] @ end())",
            "m + start()",
            "info(m)",
            "rate({a=\"b\"}[1m])",
            "-{a=\"b\"}",
            "rate((a or b)[1m:])",
            "limitk(2, sum by (a) (m))",
            "topk(2, a + b)",
            "quantile(scalar(m), m)",
            "time()",
            "1 + 2",
        ] {
            check_refused(text);
        }
        for text in
            ["topk(2, rate(m[1m]))", "sum(a + b)", "{a=\"b\"}", "sum({a=\"b\"}) by (__name__)", "a or b"]
        {
            assert!(key(text).is_some(), "{text}");
        }
    }

    #[test]
    fn the_key_is_the_same_however_it_is_written() {
        let same = [
            ("sum by (b, a) (rate(m{y=\"2\",x=\"1\"}[60s]))", "sum( rate(m{x='1',y='2'}[1m]) )by(a,b)"),
            ("a*on(y,x)b", "a * on (x, y) b"),
        ];
        for (a, b) in same {
            assert!(key(a).is_some(), "{a}");
            assert_eq!(key(a), key(b), "{a}");
        }
        assert_ne!(key("rate(m[range()])"), key("rate(m[1m])"));
    }
}
