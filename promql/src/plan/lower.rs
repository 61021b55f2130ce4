//! Tree to plan: every selector becomes a [`Fragment`] with its windows computed, every operator a
//! [`Node`]; parts that are the same at every step are marked; durations and `@` are resolved.

mod info;

use super::grid::{Steps, Windows};
use super::passes::fold_constants::{binary, negate};
use super::{
    AggregateNode, BinaryNode, Fragment, InstantValue, Node, RangeNode, RangeSource, Read, SubqueryNode,
};
use crate::exec::window::extended::allowed;
use crate::exec::window::{Param, RangeCall};
use crate::functions::{Eval, HistogramKind, RangeKind, SortKind, SpecialKind};
use crate::query::QueryError;
use crate::syntax::PositionRange;
use crate::syntax::ast;
use crate::syntax::ast::{Aggregate, At, Binary, Call, Expr, Subquery, UnaryOp, ValueType, VectorSelector};
use hearth_model::label::METRIC_NAME;
use hearth_model::{Labels, LabelsBuilder, MatchOp, Matcher};

/// What lowering has to know of the request.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// `@ start()` and `@ end()`.
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
    pub lookback_ms: i64,
    pub default_subquery_step_ms: i64,
    /// Counters are told by the label for their type.
    pub counter_by_type: bool,
    /// Most steps a subquery may have.
    pub max_steps: u64,
}

impl Surroundings {
    fn at_ms(&self, at: At) -> i64 {
        match at {
            At::TimestampMs(ms) => ms,
            At::Start => self.start_ms,
            At::End => self.end_ms,
        }
    }
}

/// Lowers the tree, evaluated at `steps`; its selectors are added to `fragments`.
pub fn lower(
    expr: &Expr,
    steps: Steps,
    around: Surroundings,
    fragments: &mut Vec<Fragment>,
) -> Result<Node, QueryError> {
    Lowering { steps, around, above: Above::Unknown, fragments }.node(expr)
}

/// The result does not depend on when it is evaluated: every selector is pinned by `@`.
fn is_invariant(expr: &Expr, around: &Surroundings) -> bool {
    let invariant = |expr: &Expr| is_invariant(expr, around);
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Vector(e) => e.at.is_some(),
        Expr::Matrix(e) => e.selector.at.is_some(),
        Expr::Subquery(e) => e.at.is_some(),
        Expr::Call(e) if e.func.eval == Eval::Info => info::is_pinned(e, around),
        Expr::Call(e) => !reads_the_clock(e) && e.args.iter().all(invariant),
        Expr::Aggregate(e) => e.param.as_deref().is_none_or(invariant) && invariant(&e.expr),
        Expr::Binary(e) => invariant(&e.lhs) && invariant(&e.rhs),
        Expr::Unary(e) => invariant(&e.expr),
        Expr::Paren(e) => invariant(&e.expr),
    }
}

/// Functions whose result depends on the evaluation time even where their arguments do not.
fn reads_the_clock(call: &Call) -> bool {
    matches!(
        call.func.eval,
        Eval::Time(_)
            | Eval::Special(SpecialKind::Time | SpecialKind::Timestamp)
            | Eval::RangeFn(RangeKind::PredictLinear)
    )
}

/// What the functions above a selector look at, in native histograms.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Above {
    Unknown,
    /// `histogram_count`, `histogram_sum` or `histogram_avg`.
    CountsOnly,
    /// Something looks into the buckets, or at samples that a subquery chooses.
    Buckets,
}

struct Lowering<'a> {
    steps: Steps,
    around: Surroundings,
    above: Above,
    fragments: &'a mut Vec<Fragment>,
}

impl Lowering<'_> {
    fn node(&mut self, expr: &Expr) -> Result<Node, QueryError> {
        if self.steps.count > 1 && is_invariant(expr, &self.around) {
            let once = Steps::once(self.steps.start_ms);
            let outer = std::mem::replace(&mut self.steps, once);
            let inner = self.plain(expr);
            self.steps = outer;
            return Ok(match inner? {
                constant @ (Node::Number(_) | Node::Text(_)) => constant,
                inner => Node::Invariant(Box::new(inner)),
            });
        }
        self.plain(expr)
    }

    /// Lowers what stands below something that looks at histograms so. Nothing below brings back buckets
    /// or what a subquery left out.
    fn below<T>(&mut self, above: Above, lower: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.above;
        if outer != Above::Buckets {
            self.above = above;
        }
        let lowered = lower(self);
        self.above = outer;
        lowered
    }

    fn boxed(&mut self, expr: &Expr) -> Result<Box<Node>, QueryError> {
        Ok(Box::new(self.node(expr)?))
    }

    fn plain(&mut self, expr: &Expr) -> Result<Node, QueryError> {
        match expr {
            Expr::Number(e) => Ok(Node::Number(e.value)),
            Expr::String(e) => Ok(Node::Text(e.value.clone())),
            Expr::Paren(e) => self.plain(&e.expr),
            Expr::Unary(e) => {
                let inner = self.node(&e.expr)?;
                Ok(if e.op == UnaryOp::Minus { negate(inner) } else { inner })
            }
            Expr::Vector(e) => self.instant(e, InstantValue::Sample),
            Expr::Matrix(_) | Expr::Subquery(_) => Ok(Node::Samples(self.range_source(expr)?)),
            Expr::Call(e) => self.call(e),
            Expr::Aggregate(e) => self.aggregate(e),
            Expr::Binary(e) => self.binary(e),
        }
    }

    fn at_ms(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| self.around.at_ms(at))
    }

    fn windows(&self, selector: &VectorSelector, length_ms: i64) -> Windows {
        Windows::of(&self.steps, length_ms, selector.offset.ms(), self.at_ms(selector.at))
    }

    fn add(&mut self, selector: &VectorSelector, read: Read, drops_name: bool) -> Result<usize, QueryError> {
        if selector.extended.is_some() && !matches!(&read, Read::Range(call) if call.extended.is_some()) {
            let text = "anchored and smoothed range vectors can only be given to functions";
            return Err(QueryError::Execution(text.to_owned()));
        }
        self.fragments.push(Fragment {
            matchers: selector.matchers.clone().into(),
            metric: selector.metric_name().map(str::to_owned),
            read,
            then: Vec::new(),
            fold: None,
            marks_resets: self.above == Above::CountsOnly,
            drops_name,
            twins: Vec::new(),
        });
        Ok(self.fragments.len() - 1)
    }

    /// The windows with the lookback before them, and after them where values are interpolated.
    fn seen(&self, windows: Windows, extended: Option<ast::Extended>) -> Windows {
        let lookback_ms = self.around.lookback_ms;
        let (before, after) = match extended {
            None => (0, 0),
            Some(ast::Extended::Anchored) => (lookback_ms, 0),
            Some(ast::Extended::Smoothed) => (lookback_ms, lookback_ms),
        };
        Windows {
            first_end_ms: windows.first_end_ms.saturating_add(after),
            length_ms: windows.length_ms.saturating_add(before).saturating_add(after),
            ..windows
        }
    }

    /// A smoothed instant selector: the value at the time itself, between the samples around it.
    fn smoothed(&mut self, selector: &VectorSelector) -> Result<Node, QueryError> {
        let windows = self.windows(selector, 0);
        let call = RangeCall {
            kind: RangeKind::Last,
            params: Vec::new(),
            windows,
            seen: self.seen(windows, selector.extended),
            extended: selector.extended,
            counter_by_type: false,
            steps: self.steps,
            position: selector.position,
            param_positions: Vec::new(),
        };
        Ok(Node::Fragment(self.add(selector, Read::Range(call), false)?))
    }

    fn instant(&mut self, selector: &VectorSelector, value: InstantValue) -> Result<Node, QueryError> {
        let is_sample = value == InstantValue::Sample;
        if selector.extended == Some(ast::Extended::Smoothed) && is_sample {
            return self.smoothed(selector);
        }
        let windows = self.windows(selector, self.around.lookback_ms);
        let read = Read::Instant { windows, value };
        Ok(Node::Fragment(self.add(selector, read, !is_sample)?))
    }

    /// The samples of a range vector, to be looked at in the finish.
    fn range_source(&mut self, expr: &Expr) -> Result<RangeSource, QueryError> {
        match expr.unwrap_paren() {
            Expr::Matrix(matrix) => {
                let windows = self.windows(&matrix.selector, matrix.range.ms());
                let fragment = self.add(&matrix.selector, Read::Samples { windows }, false)?;
                Ok(RangeSource::Fragment(fragment))
            }
            Expr::Subquery(subquery) => Ok(RangeSource::Subquery(Box::new(self.subquery(subquery)?))),
            other => unreachable!("the checker lets only range vectors through, not {other:?}"),
        }
    }

    fn subquery(&mut self, subquery: &Subquery) -> Result<SubqueryNode, QueryError> {
        let at_ms = self.at_ms(subquery.at);
        let windows = Windows::of(&self.steps, subquery.range.ms(), subquery.offset.ms(), at_ms);
        let step_ms = match subquery.step.as_ref().map_or(0, |step| step.ms()) {
            0 => self.around.default_subquery_step_ms,
            step_ms => step_ms,
        };
        // The first multiple of the step after the first window's (open) start.
        let open_ms = windows.start_ms(0);
        let mut start_ms = step_ms.saturating_mul(open_ms / step_ms);
        if start_ms <= open_ms {
            start_ms = start_ms.saturating_add(step_ms);
        }
        let end_ms = windows.end_ms(windows.count.saturating_sub(1));
        let steps = Steps::range(start_ms, end_ms, step_ms);
        if steps.count as u64 > self.around.max_steps {
            let text = "query processing would load too many samples into memory in query execution";
            return Err(QueryError::Execution(text.to_owned()));
        }
        let outer = std::mem::replace(&mut self.steps, steps);
        let inner = self.below(Above::Buckets, |lowering| lowering.node(&subquery.expr));
        self.steps = outer;
        Ok(SubqueryNode { inner: inner?, steps, windows })
    }

    fn call(&mut self, call: &Call) -> Result<Node, QueryError> {
        match call.func.eval {
            Eval::RangeFn(kind) => self.range_function(kind, call),
            Eval::Elementwise(kind) => Ok(Node::Math {
                kind,
                vector: self.boxed(&call.args[0])?,
                params: self.nodes(&call.args[1..])?,
                drop_name: true,
            }),
            Eval::Time(kind) => {
                let vector = call.args.first().map(|arg| self.boxed(arg)).transpose()?;
                Ok(Node::DatePart { kind, vector })
            }
            Eval::Label(kind) => {
                Ok(Node::Label { kind, vector: self.boxed(&call.args[0])?, texts: texts(&call.args[1..]) })
            }
            Eval::Sort(kind) => Ok(Node::Sort {
                kind,
                vector: self.boxed(&call.args[0])?,
                labels: texts(&call.args[1..]),
                position: call.position,
            }),
            Eval::Histogram(kind) => self.histogram(kind, call),
            Eval::Info => self.info(call),
            Eval::Special(kind) => self.special(kind, call),
        }
    }

    fn nodes(&mut self, exprs: &[Expr]) -> Result<Vec<Node>, QueryError> {
        exprs.iter().map(|e| self.node(e)).collect()
    }

    fn range_function(&mut self, kind: RangeKind, call: &Call) -> Result<Node, QueryError> {
        let is_matrix = |e: &&Expr| e.value_type() == ValueType::Matrix;
        let range = call.args.iter().find(is_matrix).map(Expr::unwrap_paren);
        let Some(range) = range else { unreachable!("a range function has a range vector") };
        let others: Vec<&Expr> = call.args.iter().filter(|e| !is_matrix(e)).collect();
        let param_positions = others.iter().map(|e| self.argument_position(e, call)).collect();
        let params = others.into_iter().map(|e| self.node(e)).collect::<Result<Vec<_>, _>>()?;
        // Prometheus puts the samples of a subquery in its place, and they stand nowhere in the text.
        let position =
            if matches!(range, Expr::Matrix(_)) { range.position() } else { PositionRange::default() };
        let steps = self.steps;
        // Whether anything is absent does not depend on labels: no need to look for equal ones.
        let keeps_name = matches!(kind, RangeKind::First | RangeKind::Last)
            || call.func.eval == Eval::Special(SpecialKind::AbsentOverTime);
        if let Expr::Matrix(matrix) = range
            && let Some(params) = params.iter().map(constant).collect::<Option<Vec<Param>>>()
        {
            let windows = self.windows(&matrix.selector, matrix.range.ms());
            let extended = matrix.selector.extended;
            check_extended(extended, kind, call)?;
            let seen = self.seen(windows, extended);
            let call = RangeCall {
                kind,
                params,
                windows,
                seen,
                extended,
                counter_by_type: self.around.counter_by_type,
                steps,
                position,
                param_positions,
            };
            let fragment = self.add(&matrix.selector, Read::Range(call), !keeps_name)?;
            return Ok(Node::Fragment(fragment));
        }
        let source = self.range_source(range)?;
        let windows = match &source {
            RangeSource::Fragment(fragment) => *self.fragments[*fragment].read.windows(),
            RangeSource::Subquery(subquery) => subquery.windows,
        };
        let (params_later, seen, extended) = (Vec::new(), windows, None);
        let call = RangeCall {
            kind,
            params: params_later,
            windows,
            seen,
            extended,
            counter_by_type: self.around.counter_by_type,
            steps,
            position,
            param_positions,
        };
        Ok(Node::Range(Box::new(RangeNode { call, params, source, keeps_name })))
    }

    /// Where a note on an argument stands: within its brackets, except where it is evaluated but once and
    /// the call is not. Prometheus wraps such an argument, brackets and all, and sees only the wrapping.
    fn argument_position(&self, argument: &Expr, call: &Call) -> PositionRange {
        let invariant = |e: &Expr| is_invariant(e, &self.around);
        let whole = !reads_the_clock(call) && call.args.iter().all(invariant);
        if invariant(argument) && !whole { argument.position() } else { argument.unwrap_paren().position() }
    }

    fn histogram(&mut self, kind: HistogramKind, call: &Call) -> Result<Node, QueryError> {
        let args = &call.args;
        let (vector, params) = match kind {
            HistogramKind::Quantile => (&args[1], &args[..1]),
            HistogramKind::Fraction => (&args[2], &args[..2]),
            HistogramKind::Quantiles => (&args[0], &args[2..]),
            _ => (&args[0], &args[1..]),
        };
        let positions = params.iter().chain([vector]).map(|e| self.argument_position(e, call)).collect();
        let label = match kind {
            HistogramKind::Quantiles => texts(&args[1..2]).remove(0),
            _ => String::new(),
        };
        let above = match kind {
            HistogramKind::Count | HistogramKind::Sum | HistogramKind::Avg => Above::CountsOnly,
            HistogramKind::Quantile | HistogramKind::Quantiles | HistogramKind::Fraction => Above::Buckets,
            HistogramKind::Stddev | HistogramKind::Stdvar => self.above,
        };
        let (vector, params) = self.below(above, |lowering| {
            Ok::<_, QueryError>((lowering.boxed(vector)?, lowering.nodes(params)?))
        })?;
        Ok(Node::Histogram { kind, vector, params, label, positions })
    }

    fn special(&mut self, kind: SpecialKind, call: &Call) -> Result<Node, QueryError> {
        let seconds = |ms: i64| Node::Number(ms as f64 / 1000.0);
        Ok(match kind {
            SpecialKind::Pi => Node::Number(std::f64::consts::PI),
            SpecialKind::Start => seconds(self.around.start_ms),
            SpecialKind::End => seconds(self.around.end_ms),
            SpecialKind::Step => seconds(self.around.step_ms),
            SpecialKind::Range => seconds(self.around.end_ms - self.around.start_ms),
            SpecialKind::Time => Node::Time,
            SpecialKind::MaxOf | SpecialKind::MinOf => Node::Extreme {
                max: kind == SpecialKind::MaxOf,
                left: self.boxed(&call.args[0])?,
                right: self.boxed(&call.args[1])?,
            },
            SpecialKind::Scalar => Node::ToScalar(self.boxed(&call.args[0])?),
            SpecialKind::Vector => Node::ToVector(self.boxed(&call.args[0])?),
            SpecialKind::Timestamp => match call.args[0].unwrap_paren() {
                Expr::Vector(selector) => self.instant(selector, InstantValue::Time)?,
                other => Node::Timestamp(self.boxed(other)?),
            },
            SpecialKind::StartTimestamp => match call.args[0].unwrap_paren() {
                Expr::Vector(selector) => self.instant(selector, InstantValue::Start)?,
                other => Node::NoStarts(self.boxed(other)?),
            },
            SpecialKind::Absent => {
                let vector = self.node(&call.args[0])?;
                match call.args[0].unwrap_paren() {
                    Expr::Vector(selector) => absent(vector, known_labels(&selector.matchers), call),
                    _ => absent(vector, Labels::empty(), call),
                }
            }
            SpecialKind::AbsentOverTime => {
                let vector = self.range_function(RangeKind::Present, call)?;
                match call.args[0].unwrap_paren() {
                    Expr::Matrix(matrix) => absent(vector, known_labels(&matrix.selector.matchers), call),
                    _ => absent(vector, Labels::empty(), call),
                }
            }
        })
    }

    fn aggregate(&mut self, e: &Aggregate) -> Result<Node, QueryError> {
        let input = self.node(&e.expr)?;
        let param = e.param.as_deref().map(|p| self.node(p)).transpose()?;
        Ok(Node::Aggregate(Box::new(AggregateNode {
            op: e.op,
            input,
            param,
            grouping: e.grouping.clone(),
            without: e.without,
            position: e.position,
            input_position: e.expr.position(),
            param_position: e.param.as_deref().map_or(e.position, |param| param.unwrap_paren().position()),
        })))
    }

    fn binary(&mut self, e: &Binary) -> Result<Node, QueryError> {
        let above = match e.op {
            ast::BinaryOp::TrimUpper | ast::BinaryOp::TrimLower => Above::Buckets,
            _ => self.above,
        };
        let (left, right) = self
            .below(above, |lowering| Ok::<_, QueryError>((lowering.node(&e.lhs)?, lowering.node(&e.rhs)?)))?;
        Ok(binary(BinaryNode {
            op: e.op,
            left,
            right,
            return_bool: e.bool_modifier,
            matching: e.matching.clone(),
            position: e.position,
        }))
    }
}

/// Only functions that know what lies beyond the window's edges may be given such a range vector.
fn check_extended(extended: Option<ast::Extended>, kind: RangeKind, call: &Call) -> Result<(), QueryError> {
    let Some(extended) = extended else { return Ok(()) };
    let (names, kinds) = allowed(extended);
    if kinds.contains(&kind) {
        return Ok(());
    }
    let modifier = match extended {
        ast::Extended::Anchored => "anchored",
        ast::Extended::Smoothed => "smoothed",
    };
    Err(QueryError::Execution(format!(
        "{modifier} modifier can only be used with: {names} - not with {}",
        call.func.name
    )))
}

/// A scalar that is known before anything is read.
pub fn constant(node: &Node) -> Option<Param> {
    match node {
        Node::Number(value) => Some(Param::Constant(*value)),
        _ => None,
    }
}

/// Arguments that the checker found to be string literals.
fn texts(args: &[Expr]) -> Vec<String> {
    args.iter()
        .map(|arg| match arg.unwrap_paren() {
            Expr::String(text) => text.value.clone(),
            other => unreachable!("the checker lets only strings through, not {other:?}"),
        })
        .collect()
}

/// Whether there is anything at all is one bit a step: the shards need not send more.
fn absent(vector: Node, labels: Labels, call: &Call) -> Node {
    let position = call.args[0].position();
    let any = AggregateNode {
        op: ast::AggregateOp::Group,
        input: vector,
        param: None,
        grouping: Vec::new(),
        without: false,
        position: call.position,
        input_position: position,
        param_position: position,
    };
    Node::Absent { vector: Box::new(Node::Aggregate(Box::new(any))), labels }
}

/// The labels that a missing series would have: those that the matchers pin, unless contradicted later.
fn known_labels(matchers: &[Matcher]) -> Labels {
    let mut labels = LabelsBuilder::default();
    let mut pinned: Vec<&str> = Vec::new();
    // As Prometheus sees them: its index has put last those that only take series away.
    let takes_away =
        |m: &&Matcher| matches!(m.op, MatchOp::NotEqual | MatchOp::NotRegex) && m.matches_empty();
    let (last, first): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().filter(|m| m.name != METRIC_NAME).partition(takes_away);
    for matcher in first.into_iter().chain(last) {
        if matcher.op == MatchOp::Equal && !pinned.contains(&matcher.name.as_str()) {
            labels.set(&matcher.name, &matcher.value);
            pinned.push(&matcher.name);
        } else {
            labels.remove(&matcher.name);
        }
    }
    labels.build()
}

/// Whether any sort of an instant query remains to be seen in its order.
pub fn orders_result(expr: &Expr) -> bool {
    match expr.unwrap_paren() {
        Expr::Call(call) => matches!(
            call.func.eval,
            Eval::Sort(
                SortKind::Ascending | SortKind::Descending | SortKind::ByLabel | SortKind::ByLabelDescending
            )
        ),
        Expr::Aggregate(aggregate) => {
            matches!(aggregate.op, ast::AggregateOp::Topk | ast::AggregateOp::Bottomk)
        }
        _ => false,
    }
}
