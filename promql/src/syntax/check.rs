//! The types of a tree, and what only the whole tree shows to be wrong. After it every node keeps the
//! promises that `ast` makes. The first fault in Prometheus' order is the one reported.

use super::ast::*;
use super::error::ParseError;
use super::position::PositionRange;
use super::quote::quote;
use hearth_model::label::METRIC_NAME;

type Checked<T> = Result<T, ParseError>;

/// Also completes the matching of binary operators, which depends on the types of their sides.
pub fn check(query: &str, expr: &mut Expr) -> Checked<()> {
    Checker { query }.expr(expr).map(drop)
}

struct Checker<'q> {
    query: &'q str,
}

impl Checker<'_> {
    fn fault<T>(&self, position: PositionRange, message: impl Into<String>) -> Checked<T> {
        Err(ParseError::new(self.query, position, message))
    }

    fn expr(&self, expr: &mut Expr) -> Checked<ValueType> {
        match expr {
            Expr::Number(_) => Ok(ValueType::Scalar),
            Expr::String(_) => Ok(ValueType::String),
            Expr::Vector(e) => {
                self.selector(e)?;
                Ok(ValueType::Vector)
            }
            Expr::Matrix(e) => {
                self.selector(&e.selector)?;
                Ok(ValueType::Matrix)
            }
            Expr::Subquery(e) => self.subquery(e),
            Expr::Call(e) => self.call(e),
            Expr::Aggregate(e) => self.aggregate(e),
            Expr::Binary(e) => self.binary(e),
            Expr::Unary(e) => self.unary(e),
            Expr::Paren(e) => self.expr(&mut e.expr),
        }
    }

    fn expect(&self, expr: &mut Expr, wanted: ValueType, place: &str) -> Checked<()> {
        let found = self.expr(expr)?;
        if found == wanted { Ok(()) } else { self.mistyped(expr.position(), wanted, place, found) }
    }

    fn mistyped<T>(
        &self,
        position: PositionRange,
        wanted: ValueType,
        place: &str,
        found: ValueType,
    ) -> Checked<T> {
        let (wanted, found) = (wanted.documented(), found.documented());
        self.fault(position, format!("expected type {wanted} in {place}, got {found}"))
    }

    fn selector(&self, selector: &VectorSelector) -> Checked<()> {
        if let Some(name) = &selector.name {
            let (_, braced) = selector.matchers.split_last().unwrap_or_else(|| unreachable!());
            if let Some(twice) = braced.iter().find(|m| m.name == METRIC_NAME) {
                let message =
                    format!("metric name must not be set twice: {} or {}", quote(name), quote(&twice.value));
                return self.fault(selector.position, message);
            }
        } else if selector.matchers.iter().all(|m| m.matches_empty()) {
            let message = "vector selector must contain at least one non-empty matcher";
            return self.fault(selector.position, message);
        }
        Ok(())
    }

    fn subquery(&self, subquery: &mut Subquery) -> Checked<ValueType> {
        match self.expr(&mut subquery.expr)? {
            ValueType::Vector => Ok(ValueType::Matrix),
            other => {
                let name = other.name();
                let message = format!("subquery is only allowed on instant vector, got {name} instead");
                self.fault(subquery.position, message)
            }
        }
    }

    fn unary(&self, unary: &mut Unary) -> Checked<ValueType> {
        let operand = self.expr(&mut unary.expr)?;
        if matches!(operand, ValueType::Scalar | ValueType::Vector) {
            return Ok(operand);
        }
        let message = format!(
            "unary expression only allowed on expressions of type scalar or instant vector, got {}",
            quote(operand.documented())
        );
        self.fault(unary.position, message)
    }

    fn aggregate(&self, aggregate: &mut Aggregate) -> Checked<ValueType> {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
        if let (Some(wanted), Some(param)) = (aggregate.op.param_type(), &mut aggregate.param) {
            self.expect(param, wanted, "aggregation parameter")?;
        }
        Ok(ValueType::Vector)
    }

    fn call(&self, call: &mut Call) -> Checked<ValueType> {
        self.argument_count(call)?;
        let func = call.func;
        let info_selector = func.name == "info" && call.args.len() > 1;
        if info_selector {
            self.info_selector(call)?;
        }
        for (index, arg) in call.args.iter_mut().enumerate() {
            // What only picks labels may match every series.
            if info_selector && index == 1 {
                continue;
            }
            let found = self.expr(arg)?;
            let wanted = func.arg_type(index).unwrap_or(found);
            if found != wanted {
                let place = format!("call to function {}", quote(func.name));
                return self.mistyped(arg.position(), wanted, &place, found);
            }
        }
        Ok(func.returns)
    }

    fn argument_count(&self, call: &Call) -> Checked<()> {
        let (func, given) = (call.func, call.args.len());
        let name = quote(func.name);
        let wrong_count = |bound: &str, count: usize| {
            let message = format!("expected {bound}{count} argument(s) in call to {name}, got {given}");
            self.fault(call.position, message)
        };
        match (func.min_args(), func.max_args()) {
            (min, Some(max)) if min == max && given != min => wrong_count("", min),
            (min, _) if given < min => wrong_count("at least ", min),
            (_, Some(max)) if given > max => wrong_count("at most ", max),
            _ => Ok(()),
        }
    }

    /// The second argument of `info` selects labels by matchers alone.
    fn info_selector(&self, call: &Call) -> Checked<()> {
        let Some(arg) = call.args.get(1) else { return Ok(()) };
        let found = arg.value_type();
        if found != ValueType::Vector {
            return self.mistyped(call.position, ValueType::Vector, "call to function \"info\"", found);
        }
        match arg {
            Expr::Vector(VectorSelector { name: None, .. }) => Ok(()),
            Expr::Vector(_) => {
                self.fault(arg.position(), "expected label selectors only, got vector selector instead")
            }
            _ => self.fault(arg.position(), "expected label selectors only"),
        }
    }

    fn binary(&self, binary: &mut Binary) -> Checked<ValueType> {
        let lhs = self.expr(&mut binary.lhs)?;
        let rhs = self.expr(&mut binary.rhs)?;
        self.sides(binary, lhs, rhs)
    }

    fn sides(&self, binary: &mut Binary, lhs: ValueType, rhs: ValueType) -> Checked<ValueType> {
        let op = binary.op;
        let operator = self.operator_position(binary);
        if binary.bool_modifier && !op.is_comparison() {
            return self.fault(operator, "bool modifier can only be used on comparison operators");
        }
        let scalars = lhs == ValueType::Scalar && rhs == ValueType::Scalar;
        if op.is_comparison() && !binary.bool_modifier && scalars {
            return self.fault(operator, "comparisons between scalars must use BOOL modifier");
        }
        let Some(matching) = &mut binary.matching else {
            unreachable!("the parser gives every operator one")
        };
        if op.is_set() && matching.card == Cardinality::OneToOne {
            matching.card = Cardinality::ManyToMany;
        }
        if let Some(label) = matching.labels.iter().find(|l| matching.on && matching.include.contains(l)) {
            let message = format!("label {} must not occur in ON and GROUP clause at once", quote(label));
            return self.fault(operator, message);
        }
        for (side, found) in [(&binary.lhs, lhs), (&binary.rhs, rhs)] {
            if !matches!(found, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.fault(side.position(), message);
            }
        }
        let vectors = lhs == ValueType::Vector && rhs == ValueType::Vector;
        self.matching(op, matching, vectors, binary.position)?;
        if !vectors {
            binary.matching = None;
        }
        if !vectors && op.is_set() {
            let message =
                format!("set operator {} not allowed in binary scalar expression", quote(op.text()));
            return self.fault(binary.position, message);
        }
        Ok(if scalars { ValueType::Scalar } else { ValueType::Vector })
    }

    fn matching(
        &self,
        op: BinaryOp,
        matching: &VectorMatching,
        vectors: bool,
        position: PositionRange,
    ) -> Checked<()> {
        let fills = matching.fill != Fill::default();
        if !vectors {
            if !matching.labels.is_empty() {
                return self.fault(position, "vector matching only allowed between instant vectors");
            }
            if fills {
                let message = "filling in missing series only allowed between instant vectors";
                return self.fault(position, message);
            }
        } else if op.is_set() {
            if matching.card != Cardinality::ManyToMany {
                let message = format!("no grouping allowed for {} operation", quote(op.text()));
                return self.fault(position, message);
            }
            if fills {
                return self.fault(position, "filling in missing series not allowed for set operators");
            }
        }
        Ok(())
    }

    /// Where the operator and its modifiers stand, without the spaces around them.
    fn operator_position(&self, binary: &Binary) -> PositionRange {
        let (start, end) = (binary.lhs.position().end as usize, binary.rhs.position().start as usize);
        let between = self.query.get(start..end).unwrap_or("");
        let lead = between.len() - between.trim_start().len();
        let length = between.trim().len();
        PositionRange::new(start + lead, start + lead + length)
    }
}
