//! Calls of functions, aggregations and their groupings, and what stands between two operands.

use super::*;
use crate::functions;
use crate::syntax::token::Keyword;

impl<'q> Parser<'q> {
    /// A word that a bracket follows is a function, else the name of a metric.
    pub(super) fn call_or_selector(&mut self, token: Token) -> Result<Node> {
        use Keyword::{End, MaxOf, MinOf, Range, Start, Step};
        let name = self.take()?;
        let callable = match token {
            Token::Identifier => true,
            Token::Keyword(keyword) => matches!(keyword, Start | End | Step | Range | MinOf | MaxOf),
            _ => false,
        };
        if callable && self.token()? == Token::LeftParen {
            return self.call(name);
        }
        Ok(Node::leaf(Expr::Vector(self.named_selector(name)?)))
    }

    fn call(&mut self, name: Item<'q>) -> Result<Node> {
        let (args, depth) = self.arguments()?;
        let Some(func) = functions::find(name.text) else {
            let message = format!("unknown function with name {}", quote(name.text));
            return Err(self.fault(name.position(), message));
        };
        if func.experimental && !self.options.experimental_functions {
            let message = format!("function {} is not enabled", quote(name.text));
            return Err(self.fault(name.position(), message));
        }
        let position = PositionRange::new(name.start, self.last_closing);
        let depth = self.depth_over(depth, position)?;
        Ok(Node { expr: Expr::Call(Call { func, args, position }), depth })
    }

    /// What stands between the brackets, and how deep it is.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize)> {
        self.expect_here(Token::LeftParen)?;
        let (mut args, mut depth) = (Vec::new(), 0);
        if self.take_if(Token::RightParen)?.is_some() {
            return Ok((args, depth));
        }
        loop {
            let node = self.binary(0)?;
            depth = depth.max(node.depth);
            args.push(node.expr);
            let Some(comma) = self.take_if(Token::Comma)? else {
                self.expect_here(Token::RightParen)?;
                return Ok((args, depth));
            };
            if !self.starts_operand()? {
                let message = "trailing commas not allowed in function call args";
                return Err(self.fault(comma.position(), message));
            }
        }
    }

    fn starts_operand(&mut self) -> Result<bool> {
        use Token::*;
        Ok(match self.token()? {
            Number | Duration | String | LeftParen | LeftBrace => true,
            Operator(BinaryOp::Add | BinaryOp::Sub) => true,
            token => token.is_metric_name(),
        })
    }

    /// `sum (…)`, `sum by (…) (…)`, or a metric of that name.
    pub(super) fn aggregate_or_selector(&mut self, op: AggregateOp) -> Result<Node> {
        let name = self.take()?;
        let by_first = match self.token()? {
            Token::LeftParen => false,
            Token::Keyword(Keyword::By | Keyword::Without) => true,
            _ => return Ok(Node::leaf(Expr::Vector(self.named_selector(name)?))),
        };
        self.in_context(AGGREGATION, |parser| {
            let mut modifier = if by_first { parser.aggregate_modifier()? } else { None };
            let (args, depth) = parser.arguments()?;
            if !by_first {
                // The position of a fault in the arguments does not depend on what follows them.
                let closing = parser.last_closing;
                modifier = parser.aggregate_modifier()?;
                if modifier.is_none() {
                    parser.last_closing = closing;
                }
            }
            let (without, grouping) = modifier.unwrap_or_default();
            let position = PositionRange::new(name.start, parser.last_closing);
            let depth = parser.depth_over(depth, position)?;
            let (param, expr) = parser.aggregate_arguments(op, args, position)?;
            let aggregate = Aggregate { op, expr, param, grouping, without, position };
            Ok(Node { expr: Expr::Aggregate(aggregate), depth })
        })
    }

    fn aggregate_modifier(&mut self) -> Result<Option<(bool, Vec<String>)>> {
        let without = match self.token()? {
            Token::Keyword(Keyword::By) => false,
            Token::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.take()?;
        Ok(Some((without, self.grouping_labels()?)))
    }

    /// The parameter, if `op` takes one, and the vector.
    fn aggregate_arguments(
        &self,
        op: AggregateOp,
        args: Vec<Expr>,
        position: PositionRange,
    ) -> Result<(Option<Box<Expr>>, Box<Expr>)> {
        if args.is_empty() {
            return Err(self.fault(position, "no arguments for aggregate expression provided"));
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.name()
            );
            return Err(self.fault(position, message));
        }
        let (wanted, given) = (1 + usize::from(op.param_type().is_some()), args.len());
        let mut args = args.into_iter().map(Box::new);
        let param = if wanted == 2 { args.next() } else { None };
        match (args.next(), given == wanted) {
            (Some(expr), true) => Ok((param, expr)),
            _ => {
                let message = format!(
                    "wrong number of arguments for aggregate expression provided, \
                     expected {wanted}, got {given}"
                );
                Err(self.fault(position, message))
            }
        }
    }

    /// `(a, "b.c")`, as after `by`, `on` and `group_left`.
    fn grouping_labels(&mut self) -> Result<Vec<String>> {
        self.expect(Token::LeftParen, GROUPING_OPEN)?;
        let mut labels = Vec::new();
        if self.take_if(Token::RightParen)?.is_some() {
            return Ok(labels);
        }
        loop {
            labels.push(self.grouping_label()?);
            let comma = self.take_if(Token::Comma)?.is_some();
            if self.take_if(Token::RightParen)?.is_some() {
                return Ok(labels);
            }
            if !comma {
                return Err(self.unexpected(GROUPING_NEXT));
            }
        }
    }

    fn grouping_label(&mut self) -> Result<String> {
        let token = self.token()?;
        if token != Token::String && !token.is_label_name() {
            return Err(self.unexpected(GROUPING_LABEL));
        }
        let item = self.take()?;
        let label = if token == Token::String { self.unquoted(&item)? } else { item.text.to_string() };
        if label.is_empty() {
            let message = format!("invalid label name for grouping: {}", quote(&label));
            return Err(self.fault(item.position(), message));
        }
        Ok(label)
    }

    /// What may follow a binary operator: `bool`, then `on` or `ignoring`, then `group_left` or
    /// `group_right`, then the fills.
    pub(super) fn binary_modifiers(&mut self) -> Result<(bool, VectorMatching)> {
        let mut matching = VectorMatching {
            card: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill: Fill::default(),
        };
        let bool_modifier = self.take_if(Token::Keyword(Keyword::Bool))?.is_some();
        if let Token::Keyword(keyword @ (Keyword::On | Keyword::Ignoring)) = self.token()? {
            self.take()?;
            matching.on = keyword == Keyword::On;
            matching.labels = self.grouping_labels()?;
            let card = match self.token()? {
                Token::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
                Token::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
                _ => Cardinality::OneToOne,
            };
            if card != Cardinality::OneToOne {
                self.take()?;
                matching.card = card;
                if self.token()? == Token::LeftParen || !self.starts_operand()? {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        matching.fill = self.fill_modifiers()?;
        Ok((bool_modifier, matching))
    }

    fn fill_modifiers(&mut self) -> Result<Fill> {
        let mut fill = Fill::default();
        match self.token()? {
            Token::Keyword(Keyword::Fill) => {
                fill.left = Some(self.fill_value()?);
                fill.right = fill.left;
            }
            Token::Keyword(Keyword::FillLeft) => {
                fill.left = Some(self.fill_value()?);
                if self.token()? == Token::Keyword(Keyword::FillRight) {
                    fill.right = Some(self.fill_value()?);
                }
            }
            Token::Keyword(Keyword::FillRight) => {
                fill.right = Some(self.fill_value()?);
                if self.token()? == Token::Keyword(Keyword::FillLeft) {
                    fill.left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok(fill)
    }

    /// The keyword, and a number in brackets.
    fn fill_value(&mut self) -> Result<f64> {
        self.take()?;
        self.expect_here(Token::LeftParen)?;
        let value = self.signed_number()?;
        self.expect_here(Token::RightParen)?;
        Ok(value)
    }

    /// A number or duration with or without a sign.
    pub(super) fn signed_number(&mut self) -> Result<f64> {
        let negative = match self.token()? {
            Token::Operator(BinaryOp::Sub) => true,
            Token::Operator(BinaryOp::Add) => false,
            _ => return self.unsigned_number(),
        };
        self.take()?;
        let value = self.unsigned_number()?;
        Ok(if negative { -value } else { value })
    }

    fn unsigned_number(&mut self) -> Result<f64> {
        match self.token()? {
            Token::Number | Token::Duration => self.number_literal().map(|literal| literal.value),
            _ => Err(self.unexpected_here()),
        }
    }
}
