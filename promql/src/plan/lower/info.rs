//! `info(v, {…})`: the vector, and beside it one fragment that finds when each info series was last seen.
//!
//! Which info series count depends on the label values that the vector turns out to have, and the plan is
//! made before anything is read. So the fragment selects by name and data labels alone, narrowed by what
//! the vector's own selector already says of the identifying labels; the finish drops the rest.

use super::{Lowering, Surroundings, is_invariant};
use crate::exec::call::info::IDENTIFYING_LABELS;
use crate::functions::Eval;
use crate::plan::grid::Windows;
use crate::plan::{Fragment, InfoNode, InstantValue, Node, Read};
use crate::query::QueryError;
use crate::syntax::ast::{At, Call, Duration, Expr, ValueType, VectorSelector};
use hearth_model::label::METRIC_NAME;
use hearth_model::matcher::regex;
use hearth_model::{MatchOp, Matcher};

/// The info metric where none is named.
const TARGET_INFO: &str = "target_info";
/// What an info metric is called, where it is only said what it is not called.
const ANY_INFO: &str = ".+_info";

/// When a vector's samples are looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// So long before the evaluation.
    Before(i64),
    At(i64),
}

/// The vector is evaluated when `info` is.
const NOW: Moment = Moment::Before(0);

impl Moment {
    /// As seen from within a selector or subquery with these modifiers.
    fn within(self, at: Option<At>, offset: &Duration, around: &Surroundings) -> Moment {
        match (at.map(|at| around.at_ms(at)), self) {
            (Some(at_ms), _) | (None, Moment::At(at_ms)) => Moment::At(at_ms.saturating_sub(offset.ms())),
            (None, Moment::Before(before_ms)) => Moment::Before(before_ms.saturating_add(offset.ms())),
        }
    }
}

/// The one moment that all samples of the vector come from; none where parts of it differ, or come from no
/// selector at all.
fn common_moment(expr: &Expr, outer: Moment, around: &Surroundings) -> Option<Moment> {
    match expr {
        Expr::Number(_) | Expr::String(_) => None,
        Expr::Vector(e) => Some(outer.within(e.at, &e.offset, around)),
        Expr::Matrix(e) => Some(outer.within(e.selector.at, &e.selector.offset, around)),
        Expr::Subquery(e) => common_moment(&e.expr, outer.within(e.at, &e.offset, around), around),
        Expr::Aggregate(e) => common_moment(&e.expr, outer, around),
        Expr::Unary(e) => common_moment(&e.expr, outer, around),
        Expr::Paren(e) => common_moment(&e.expr, outer, around),
        Expr::Binary(e) => common_moment_of(&mut [&*e.lhs, &*e.rhs].into_iter(), outer, around),
        Expr::Call(e) if e.func.eval == Eval::Info => common_moment(&e.args[0], outer, around),
        Expr::Call(e) => common_moment_of(&mut e.args.iter(), outer, around),
    }
}

fn common_moment_of(
    exprs: &mut dyn Iterator<Item = &Expr>,
    outer: Moment,
    around: &Surroundings,
) -> Option<Moment> {
    let is_vector = |e: &&Expr| matches!(e.value_type(), ValueType::Vector | ValueType::Matrix);
    let mut moments = exprs.filter(is_vector).map(|e| common_moment(e, outer, around));
    let first = moments.next()??;
    moments.all(|moment| moment == Some(first)).then_some(first)
}

/// Pinned to one time whatever the step, the info series along with the vector.
pub(super) fn is_pinned(call: &Call, around: &Surroundings) -> bool {
    let moment = common_moment(&call.args[0], NOW, around);
    is_invariant(&call.args[0], around) && matches!(moment, Some(Moment::At(_)))
}

/// The selector that all series of the vector come from with their labels unchanged but for the name.
fn source(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::Vector(e) => Some(e),
        Expr::Matrix(e) => Some(&e.selector),
        Expr::Subquery(e) => source(&e.expr),
        Expr::Unary(e) => source(&e.expr),
        Expr::Paren(e) => source(&e.expr),
        Expr::Call(e) if matches!(e.func.eval, Eval::RangeFn(_) | Eval::Elementwise(_) | Eval::Sort(_)) => {
            let is_vector = |e: &&Expr| matches!(e.value_type(), ValueType::Vector | ValueType::Matrix);
            source(e.args.iter().find(is_vector)?)
        }
        Expr::Binary(e) => match (e.lhs.value_type(), e.rhs.value_type()) {
            (_, ValueType::Scalar) => source(&e.lhs),
            (ValueType::Scalar, _) => source(&e.rhs),
            _ => None,
        },
        Expr::Number(_) | Expr::String(_) | Expr::Call(_) | Expr::Aggregate(_) => None,
    }
}

/// What the matchers of a name say, with what Prometheus takes for granted.
fn name_matchers(written: Vec<Matcher>) -> Result<Vec<Matcher>, regex::Error> {
    if written.is_empty() {
        return Ok(vec![Matcher::equal(METRIC_NAME, TARGET_INFO)]);
    }
    let mut all = written;
    if !all.iter().any(|m| matches!(m.op, MatchOp::Equal | MatchOp::Regex)) {
        all.push(Matcher::new(MatchOp::Regex, METRIC_NAME, ANY_INFO)?);
    }
    Ok(all)
}

impl Lowering<'_> {
    pub(super) fn info(&mut self, call: &Call) -> Result<Node, QueryError> {
        let base = self.node(&call.args[0])?;
        let written = match call.args.get(1).map(Expr::unwrap_paren) {
            Some(Expr::Vector(selector)) => selector.matchers.clone(),
            Some(other) => unreachable!("the checker lets only label selectors through, not {other:?}"),
            None => Vec::new(),
        };
        let (names, data): (Vec<Matcher>, Vec<Matcher>) =
            written.into_iter().partition(|m| m.name == METRIC_NAME);
        let names = name_matchers(names).map_err(|e| QueryError::Execution(e.to_string()))?;
        let known = source(&call.args[0]).into_iter().flat_map(|selector| &selector.matchers);
        let known = known.filter(|m| IDENTIFYING_LABELS.contains(&m.name.as_str()) && !m.matches_empty());
        let matchers: Vec<Matcher> = names.iter().chain(&data).chain(known).cloned().collect();
        let (offset_ms, at_ms) = match common_moment(&call.args[0], NOW, &self.around) {
            Some(Moment::At(at_ms)) => (0, Some(at_ms)),
            Some(Moment::Before(before_ms)) => (before_ms, None),
            None => (0, None),
        };
        let windows = Windows::of(&self.steps, self.around.lookback_ms, offset_ms, at_ms);
        let pinned = names.iter().find(|m| m.op == MatchOp::Equal).map(|m| m.value.clone());
        self.fragments.push(Fragment {
            matchers: matchers.into(),
            metric: pinned,
            read: Read::Instant { windows, value: InstantValue::InfoTime },
            then: Vec::new(),
            fold: None,
            marks_resets: false,
            drops_name: false,
            twins: Vec::new(),
        });
        let fragment = self.fragments.len() - 1;
        Ok(Node::Info(Box::new(InfoNode { base, fragment, names, data })))
    }
}
