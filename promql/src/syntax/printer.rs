//! The tree as one line of text, as Prometheus prints it. What is printed parses to the same tree, but
//! for lengths below a millisecond.

use super::ast::*;
use super::token::Token;
use hearth_model::MatchOp;
use hearth_model::duration::duration_text;
use hearth_model::label::{METRIC_NAME, is_classic_label_name, write_quoted};
use std::fmt::{self, Display, Formatter, Write};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(e) => e.fmt(f),
            Expr::String(e) => write_quoted(f, &e.value),
            Expr::Vector(e) => e.fmt(f),
            Expr::Matrix(e) => e.fmt(f),
            Expr::Subquery(e) => e.fmt(f),
            Expr::Call(e) => e.fmt(f),
            Expr::Aggregate(e) => e.fmt(f),
            Expr::Binary(e) => e.fmt(f),
            Expr::Unary(e) => write!(f, "{}{}", e.op, e.expr),
            Expr::Paren(e) => write!(f, "({})", e.expr),
        }
    }
}

/// A number in decimal without exponent, in as few digits as tell it from every other.
pub fn format_float(value: f64) -> String {
    if value.is_infinite() {
        return (if value > 0.0 { "+Inf" } else { "-Inf" }).to_string();
    }
    format!("{value}")
}

/// A number as Go's `%v` prints it: with an exponent where the decimal would be long.
fn format_compact(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || !value.is_finite() || (1e-4..1e21).contains(&magnitude) {
        return format_float(value);
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => scientific,
    }
}

fn format_seconds(seconds: f64, is_duration: bool) -> String {
    if is_duration { duration_text((seconds * 1000.0).round() as i64) } else { format_float(seconds) }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&format_seconds(self.value, self.is_duration))
    }
}

impl Display for UnaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char(if *self == UnaryOp::Minus { '-' } else { '+' })
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_bare(f)?;
        write_at(f, self.at)?;
        write_extended(f, self.extended)?;
        write_offset(f, &self.offset)
    }
}

impl VectorSelector {
    /// The name and the matchers, sorted.
    fn write_bare(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = Vec::with_capacity(self.matchers.len());
        for matcher in &self.matchers {
            let is_name = matcher.name == METRIC_NAME
                && matcher.op == MatchOp::Equal
                && self.name.as_deref() == Some(matcher.value.as_str());
            if !is_name {
                texts.push(matcher.to_string());
            }
        }
        f.write_str(self.name.as_deref().unwrap_or_default())?;
        if texts.is_empty() {
            // Only the second argument of `info` may be without name and matchers.
            return if self.name.is_none() { f.write_str("{}") } else { Ok(()) };
        }
        texts.sort_unstable();
        write!(f, "{{{}}}", texts.join(","))
    }
}

fn write_at(f: &mut impl Write, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        Some(At::TimestampMs(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
    }
}

fn write_extended(f: &mut impl Write, extended: Option<Extended>) -> fmt::Result {
    extended.map_or(Ok(()), |extended| write!(f, " {}", extended.name()))
}

fn write_offset(f: &mut impl Write, offset: &Duration) -> fmt::Result {
    match offset {
        Duration::Ms(0) => Ok(()),
        Duration::Expr(expr) if ends_early(expr) => write!(f, " offset ({expr})"),
        _ => write!(f, " offset {offset}"),
    }
}

/// Whether the parser would end the offset after the first operand of what is printed. It reads on only
/// after a bracket and after two signs.
fn ends_early(expr: &DurationExpr) -> bool {
    let mut operand = expr;
    while let DurationExpr::Sign { expr, .. } = operand {
        operand = expr;
    }
    match operand {
        DurationExpr::Binary { op: DurationOp::MinOf | DurationOp::MaxOf, .. } => false,
        DurationExpr::Binary { .. } => {
            let text = expr.to_string();
            !matches!(text.as_bytes(), [b'(', ..] | [b'+' | b'-', b'+' | b'-', ..])
        }
        _ => false,
    }
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Duration::Ms(ms) => f.write_str(&duration_text(*ms)),
            Duration::Expr(expr) => expr.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DurationExpr::Number { seconds, is_duration, .. } => {
                f.write_str(&format_seconds(*seconds, *is_duration))
            }
            DurationExpr::Step { .. } => f.write_str("step()"),
            DurationExpr::Range { .. } => f.write_str("range()"),
            DurationExpr::Sign { negative, expr, .. } => {
                write!(f, "{}{expr}", if *negative { '-' } else { '+' })
            }
            DurationExpr::Paren { expr, .. } => write!(f, "({expr})"),
            DurationExpr::Binary { op, lhs, rhs, .. } => match op {
                DurationOp::MinOf => write!(f, "min_of({lhs}, {rhs})"),
                DurationOp::MaxOf => write!(f, "max_of({lhs}, {rhs})"),
                _ => write!(f, "{lhs} {} {rhs}", op.text()),
            },
        }
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.selector.write_bare(f)?;
        write!(f, "[{}]", self.range)?;
        write_extended(f, self.selector.extended)?;
        write_at(f, self.selector.at)?;
        write_offset(f, &self.selector.offset)
    }
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        self.write_suffix(f)
    }
}

impl Subquery {
    /// The range, the step and the modifiers.
    pub(super) fn write_suffix(&self, f: &mut impl Write) -> fmt::Result {
        write!(f, "[{}:", self.range)?;
        if let Some(step) = self.step.as_ref().filter(|&step| *step != Duration::ZERO) {
            write!(f, "{step}")?;
        }
        f.write_char(']')?;
        write_at(f, self.at)?;
        write_offset(f, &self.offset)
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.func.name)?;
        for (i, arg) in self.args.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            arg.fmt(f)?;
        }
        f.write_char(')')
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        f.write_char('(')?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

impl Aggregate {
    /// Up to the opening bracket.
    pub(super) fn write_head(&self, f: &mut impl Write) -> fmt::Result {
        f.write_str(self.op.name())?;
        if self.without || !self.grouping.is_empty() {
            f.write_str(if self.without { " without (" } else { " by (" })?;
            write_labels(f, &self.grouping)?;
            f.write_str(") ")?;
        }
        Ok(())
    }
}

fn write_labels(f: &mut impl Write, labels: &[String]) -> fmt::Result {
    for (i, label) in labels.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        // `without`, `inf` and `nan` are no label names unless quoted.
        if is_classic_label_name(label) && Token::of_word(label).is_label_name() {
            f.write_str(label)?;
        } else {
            write_quoted(f, label)?;
        }
    }
    Ok(())
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.raises_infinity() {
            f.write_str("Inf ")?;
        } else {
            write!(f, "{} ", self.lhs)?;
        }
        self.write_operator(f)?;
        write!(f, " {}", self.rhs)
    }
}

impl Binary {
    /// `Inf ^ 2`: with the sign that infinity is printed with, it would be read as `+(Inf ^ 2)`.
    pub(super) fn raises_infinity(&self) -> bool {
        let infinite = matches!(&*self.lhs, Expr::Number(number) if number.value == f64::INFINITY);
        self.op == BinaryOp::Pow && infinite
    }

    /// The operator and its modifiers.
    pub(super) fn write_operator(&self, f: &mut impl Write) -> fmt::Result {
        f.write_str(self.op.text())?;
        if self.bool_modifier {
            f.write_str(" bool")?;
        }
        self.matching.as_ref().map_or(Ok(()), |matching| write!(f, "{matching}"))
    }
}

impl Display for VectorMatching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.card {
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            f.write_str(if self.on { " on (" } else { " ignoring (" })?;
            write_labels(f, &self.labels)?;
            f.write_char(')')?;
        }
        if let Some(group) = group {
            write!(f, " {group} (")?;
            write_labels(f, &self.include)?;
            f.write_char(')')?;
        }
        match (self.fill.left, self.fill.right) {
            (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
                write!(f, " fill ({})", format_compact(left))
            }
            (left, right) => {
                for (name, value) in [("fill_left", left), ("fill_right", right)] {
                    if let Some(value) = value {
                        write!(f, " {name} ({})", format_compact(value))?;
                    }
                }
                Ok(())
            }
        }
    }
}
