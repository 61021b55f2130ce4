//! The tree of a query. A tree that [`super::parse`] gave is well typed and at most
//! [`crate::config::MAX_QUERY_DEPTH`] nodes deep, so passes may recurse over it.

pub use super::duration::{Duration, DurationExpr, DurationOp, QueryTimes, resolve_durations};
use super::position::PositionRange;
use crate::functions::Function;
use hearth_model::{MatchOp, Matcher};

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar,
    Vector,
    Matrix,
    String,
}

impl ValueType {
    /// As the HTTP API and `parse_query` call it.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
            ValueType::String => "string",
        }
    }

    /// As error texts and the documentation call it.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            ValueType::String => "string",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Number(NumberLiteral),
    String(StringLiteral),
    Vector(VectorSelector),
    Matrix(MatrixSelector),
    Subquery(Subquery),
    Call(Call),
    Aggregate(Aggregate),
    Binary(Binary),
    Unary(Unary),
    Paren(Paren),
}

#[derive(Debug, Clone, PartialEq)]
pub struct NumberLiteral {
    pub value: f64,
    /// Written as a duration (`1h30m`), and printed so again.
    pub is_duration: bool,
    pub position: PositionRange,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StringLiteral {
    pub value: String,
    pub position: PositionRange,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// The name written before the braces; it is also among the matchers, as `__name__="…"`.
    pub name: Option<String>,
    /// In the order written; the one made from `name` comes last.
    pub matchers: Vec<Matcher>,
    pub offset: Duration,
    pub at: Option<At>,
    pub extended: Option<Extended>,
    /// With the modifiers.
    pub position: PositionRange,
}

/// The `@` modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    TimestampMs(i64),
    Start,
    End,
}

/// How a selector looks beyond the borders of its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    Anchored,
    Smoothed,
}

impl Extended {
    pub fn name(self) -> &'static str {
        match self {
            Extended::Anchored => "anchored",
            Extended::Smoothed => "smoothed",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// Holds `offset` and `at`, which are written after the range.
    pub selector: VectorSelector,
    pub range: Duration,
    pub position: PositionRange,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    pub expr: Box<Expr>,
    pub range: Duration,
    /// `None` or zero: the default evaluation interval.
    pub step: Option<Duration>,
    pub offset: Duration,
    pub at: Option<At>,
    pub position: PositionRange,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub func: &'static Function,
    /// As many as `func` takes, each of the type it takes (for optional ones: as many as written).
    pub args: Vec<Expr>,
    pub position: PositionRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    CountValues,
    Topk,
    Bottomk,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    pub const ALL: [AggregateOp; 14] = [
        AggregateOp::Sum,
        AggregateOp::Avg,
        AggregateOp::Min,
        AggregateOp::Max,
        AggregateOp::Count,
        AggregateOp::Group,
        AggregateOp::Stddev,
        AggregateOp::Stdvar,
        AggregateOp::CountValues,
        AggregateOp::Topk,
        AggregateOp::Bottomk,
        AggregateOp::Quantile,
        AggregateOp::Limitk,
        AggregateOp::LimitRatio,
    ];

    pub fn name(self) -> &'static str {
        match self {
            AggregateOp::Sum => "sum",
            AggregateOp::Avg => "avg",
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Count => "count",
            AggregateOp::Group => "group",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::CountValues => "count_values",
            AggregateOp::Topk => "topk",
            AggregateOp::Bottomk => "bottomk",
            AggregateOp::Quantile => "quantile",
            AggregateOp::Limitk => "limitk",
            AggregateOp::LimitRatio => "limit_ratio",
        }
    }

    /// The type of the parameter before the vector, if the operator takes one.
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            AggregateOp::CountValues => Some(ValueType::String),
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Quantile
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => Some(ValueType::Scalar),
            _ => None,
        }
    }

    pub fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::Limitk | AggregateOp::LimitRatio)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub expr: Box<Expr>,
    /// There exactly when `op.param_type()` says so.
    pub param: Option<Box<Expr>>,
    /// Label names in the order written.
    pub grouping: Vec<String>,
    /// `without (grouping)` rather than `by (grouping)`.
    pub without: bool,
    pub position: PositionRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eql,
    Neq,
    Lss,
    Lte,
    Gtr,
    Gte,
    And,
    Or,
    Unless,
    /// `</`: cut a native histogram above a value.
    TrimUpper,
    /// `>/`: cut a native histogram below a value.
    TrimLower,
}

impl BinaryOp {
    pub fn text(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Eql => "==",
            BinaryOp::Neq => "!=",
            BinaryOp::Lss => "<",
            BinaryOp::Lte => "<=",
            BinaryOp::Gtr => ">",
            BinaryOp::Gte => ">=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
        }
    }

    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Eql | Neq | Lss | Lte | Gtr | Gte)
    }

    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// Binds more tightly when higher.
    pub fn precedence(self) -> u8 {
        use BinaryOp::*;
        match self {
            Or => 1,
            And | Unless => 2,
            Eql | Neq | Lss | Lte | Gtr | Gte | TrimUpper | TrimLower => 3,
            Add | Sub => 4,
            Mul | Div | Mod | Atan2 => 5,
            Pow => 6,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub lhs: Box<Expr>,
    pub rhs: Box<Expr>,
    /// Comparisons answer 0 or 1 instead of filtering.
    pub bool_modifier: bool,
    /// There exactly when both sides are instant vectors.
    pub matching: Option<VectorMatching>,
    pub position: PositionRange,
}

/// How many elements of the one side may match one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cardinality {
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl Cardinality {
    /// As `parse_query` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct VectorMatching {
    pub card: Cardinality,
    /// Label names in the order written.
    pub labels: Vec<String>,
    /// `on (labels)` rather than `ignoring (labels)`; without either: `ignoring ()`.
    pub on: bool,
    /// The labels of `group_left(…)` or `group_right(…)`.
    pub include: Vec<String>,
    /// What stands in for a missing element of each side.
    pub fill: Fill,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Fill {
    pub left: Option<f64>,
    pub right: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Plus,
    Minus,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    pub op: UnaryOp,
    pub expr: Box<Expr>,
    pub position: PositionRange,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Paren {
    pub expr: Box<Expr>,
    pub position: PositionRange,
}

impl Expr {
    pub fn position(&self) -> PositionRange {
        match self {
            Expr::Number(e) => e.position,
            Expr::String(e) => e.position,
            Expr::Vector(e) => e.position,
            Expr::Matrix(e) => e.position,
            Expr::Subquery(e) => e.position,
            Expr::Call(e) => e.position,
            Expr::Aggregate(e) => e.position,
            Expr::Binary(e) => e.position,
            Expr::Unary(e) => e.position,
            Expr::Paren(e) => e.position,
        }
    }

    pub fn value_type(&self) -> ValueType {
        let mut expr = self;
        loop {
            return match expr {
                Expr::Number(_) => ValueType::Scalar,
                Expr::String(_) => ValueType::String,
                Expr::Vector(_) | Expr::Aggregate(_) => ValueType::Vector,
                Expr::Matrix(_) | Expr::Subquery(_) => ValueType::Matrix,
                Expr::Call(e) => e.func.returns,
                Expr::Binary(e) => e.value_type(),
                Expr::Unary(e) => {
                    expr = &e.expr;
                    continue;
                }
                Expr::Paren(e) => {
                    expr = &e.expr;
                    continue;
                }
            };
        }
    }

    /// The expression inside any number of brackets.
    pub fn unwrap_paren(&self) -> &Expr {
        let mut expr = self;
        while let Expr::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }

    /// The direct children, in the order of the text.
    pub fn children(&self) -> impl Iterator<Item = &Expr> {
        let (boxed, args): ([Option<&Expr>; 2], &[Expr]) = match self {
            Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => ([None, None], &[]),
            Expr::Subquery(e) => ([Some(&e.expr), None], &[]),
            Expr::Call(e) => ([None, None], &e.args),
            Expr::Aggregate(e) => ([e.param.as_deref(), Some(&e.expr)], &[]),
            Expr::Binary(e) => ([Some(&e.lhs), Some(&e.rhs)], &[]),
            Expr::Unary(e) => ([Some(&e.expr), None], &[]),
            Expr::Paren(e) => ([Some(&e.expr), None], &[]),
        };
        boxed.into_iter().flatten().chain(args)
    }

    /// The direct children, to be changed.
    pub fn children_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let (boxed, args): ([Option<&mut Expr>; 2], &mut [Expr]) = match self {
            Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => ([None, None], &mut []),
            Expr::Subquery(e) => ([Some(&mut e.expr), None], &mut []),
            Expr::Call(e) => ([None, None], &mut e.args),
            Expr::Aggregate(e) => ([e.param.as_deref_mut(), Some(&mut e.expr)], &mut []),
            Expr::Binary(e) => ([Some(&mut e.lhs), Some(&mut e.rhs)], &mut []),
            Expr::Unary(e) => ([Some(&mut e.expr), None], &mut []),
            Expr::Paren(e) => ([Some(&mut e.expr), None], &mut []),
        };
        boxed.into_iter().flatten().chain(args)
    }
}

impl Binary {
    /// A vector as soon as one side is one.
    pub fn value_type(&self) -> ValueType {
        // The right side of a chain is short and the left side long: ask the right one first.
        if self.rhs.value_type() == ValueType::Scalar && self.lhs.value_type() == ValueType::Scalar {
            ValueType::Scalar
        } else {
            ValueType::Vector
        }
    }
}

impl VectorSelector {
    /// A selector without modifiers, as tests and `match[]` parameters need it.
    pub fn plain(name: Option<String>, matchers: Vec<Matcher>, position: PositionRange) -> Self {
        VectorSelector { name, matchers, offset: Duration::ZERO, at: None, extended: None, position }
    }

    /// The metric name all selected series have, where the matchers pin it.
    pub fn metric_name(&self) -> Option<&str> {
        let named = |m: &&Matcher| m.op == MatchOp::Equal && m.name == hearth_model::label::METRIC_NAME;
        self.matchers.iter().find(named).map(|m| m.value.as_str())
    }
}
