//! Calls of functions, aggregations and their groupings, and what stands between two operands.

use super::*;
use crate::functions;
use crate::syntax::token::Keyword;

struct Arguments {
    exprs: Vec<Expr>,
    /// Of the deepest.
    depth: usize,
}

impl Arguments {
    fn push(&mut self, node: Node) {
        self.depth = self.depth.max(node.depth);
        self.exprs.push(*node.expr);
    }
}

/// `by (…)` or `without (…)`
#[derive(Default)]
struct Modifier {
    without: bool,
    grouping: Vec<String>,
}

impl<'q> Parser<'q> {
    /// A word that a bracket follows is a function, else the name of a metric. This function and the
    /// next two are on the path of the recursion: they leave their work to others, to keep their stack
    /// frames small.
    pub(super) fn call_or_selector(&mut self, token: Token) -> Result<Node> {
        let name = self.take()?;
        if !self.is_call(token)? {
            return self.named(name);
        }
        let args = self.arguments()?;
        self.call(name, args)
    }

    /// `sum (…)`, `sum by (…) (…)`, or a metric of that name.
    pub(super) fn aggregate_or_selector(&mut self, op: AggregateOp) -> Result<Node> {
        let name = self.take()?;
        if !self.is_aggregation()? {
            return self.named(name);
        }
        self.contexts.push(AGGREGATION);
        let modifier = self.aggregate_modifier()?;
        let args = self.arguments()?;
        self.aggregate(op, name, modifier, args)
    }

    /// What stands between the brackets.
    fn arguments(&mut self) -> Result<Arguments> {
        let mut args = Arguments { exprs: Vec::new(), depth: 0 };
        if !self.has_arguments()? {
            return Ok(args);
        }
        loop {
            let node = self.binary(0)?;
            args.push(node);
            if !self.has_more_arguments()? {
                return Ok(args);
            }
        }
    }

    fn named(&mut self, name: Item<'q>) -> Result<Node> {
        Ok(Node::leaf(Expr::Vector(self.named_selector(name)?)))
    }

    fn is_call(&mut self, token: Token) -> Result<bool> {
        use Keyword::{End, MaxOf, MinOf, Range, Start, Step};
        let callable = match token {
            Token::Identifier => true,
            Token::Keyword(keyword) => matches!(keyword, Start | End | Step | Range | MinOf | MaxOf),
            _ => false,
        };
        Ok(callable && self.token()? == Token::LeftParen)
    }

    fn is_aggregation(&mut self) -> Result<bool> {
        use Keyword::{By, Without};
        Ok(matches!(self.token()?, Token::LeftParen | Token::Keyword(By | Without)))
    }

    /// Takes the opening bracket, and the closing one where nothing stands between.
    fn has_arguments(&mut self) -> Result<bool> {
        self.expect_here(Token::LeftParen)?;
        Ok(self.take_if(Token::RightParen)?.is_none())
    }

    /// Takes a comma, or else the closing bracket.
    fn has_more_arguments(&mut self) -> Result<bool> {
        let Some(comma) = self.take_if(Token::Comma)? else {
            self.expect_here(Token::RightParen)?;
            return Ok(false);
        };
        if self.starts_operand()? {
            return Ok(true);
        }
        Err(self.fault(comma.position(), "trailing commas not allowed in function call args"))
    }

    fn starts_operand(&mut self) -> Result<bool> {
        use Token::*;
        Ok(match self.token()? {
            Number | Duration | String | LeftParen | LeftBrace => true,
            Operator(BinaryOp::Add | BinaryOp::Sub) => true,
            token => token.is_metric_name(),
        })
    }

    fn call(&self, name: Item<'q>, args: Arguments) -> Result<Node> {
        let Some(func) = functions::find(name.text) else {
            let message = format!("unknown function with name {}", quote(name.text));
            return Err(self.fault(name.position(), message));
        };
        if func.experimental && !self.options.experimental_functions {
            let message = format!("function {} is not enabled", quote(name.text));
            return Err(self.fault(name.position(), message));
        }
        let position = PositionRange::new(name.start, self.last_closing);
        let depth = self.depth_over(args.depth, position)?;
        Ok(Node::new(Expr::Call(Call { func, args: args.exprs, position }), depth))
    }

    fn aggregate_modifier(&mut self) -> Result<Option<Modifier>> {
        let without = match self.token()? {
            Token::Keyword(Keyword::By) => false,
            Token::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.take()?;
        Ok(Some(Modifier { without, grouping: self.grouping_labels()? }))
    }

    /// Where the modifier was not written before the arguments it may follow them.
    fn aggregate(
        &mut self,
        op: AggregateOp,
        name: Item<'q>,
        mut modifier: Option<Modifier>,
        args: Arguments,
    ) -> Result<Node> {
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
        }
        self.contexts.pop();
        let Modifier { without, grouping } = modifier.unwrap_or_default();
        let position = PositionRange::new(name.start, self.last_closing);
        let depth = self.depth_over(args.depth, position)?;
        let (param, expr) = self.aggregate_arguments(op, args.exprs, position)?;
        let aggregate = Aggregate { op, expr, param, grouping, without, position };
        Ok(Node::new(Expr::Aggregate(aggregate), depth))
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
