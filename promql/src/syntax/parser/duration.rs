//! Durations in brackets and after `offset`. After `offset`, a literal, a call or a signed bracket ends
//! the duration: `x offset 2 ^ 2` is `(x offset 2) ^ 2`; only an unsigned bracket carries on.

use super::*;
use crate::syntax::token::Keyword;

/// The longest duration that Go can count in nanoseconds.
const MAX_SECONDS: f64 = 9_223_372_036_854_775_808.0 / 1e9;

struct Part {
    expr: Box<DurationExpr>,
    depth: usize,
}

impl Part {
    fn new(expr: DurationExpr, depth: usize) -> Part {
        Part { expr: Box::new(expr), depth }
    }
}

impl<'q> Parser<'q> {
    /// A range or a step.
    pub(super) fn positive_duration(&mut self) -> Result<Duration> {
        let part = self.duration_sum(0)?;
        if part.expr.literal().is_some_and(|seconds| seconds <= 0.0) {
            return Err(self.fault(part.expr.position(), "duration must be greater than 0"));
        }
        Ok((*part.expr).into())
    }

    pub(super) fn offset_duration(&mut self) -> Result<Duration> {
        let part = match self.token()? {
            Token::Operator(BinaryOp::Add | BinaryOp::Sub) => {
                let sign = self.take()?;
                if let Token::Operator(BinaryOp::Add | BinaryOp::Sub) = self.token()? {
                    let operand = self.duration_unary()?;
                    let part = self.signed_duration(sign, operand)?;
                    self.duration_tails(part, 0)?
                } else {
                    let operand = self.duration_operand()?;
                    self.signed_offset(sign, operand)?
                }
            }
            Token::LeftParen => self.duration_sum(0)?,
            _ => self.duration_operand()?,
        };
        Ok((*part.expr).into())
    }

    fn duration_sum(&mut self, min_precedence: u8) -> Result<Part> {
        self.enter()?;
        let part = self.duration_unary()?;
        let part = self.duration_tails(part, min_precedence)?;
        self.leave();
        Ok(part)
    }

    fn duration_tails(&mut self, mut part: Part, min_precedence: u8) -> Result<Part> {
        while let Some((op, precedence)) = duration_op(self.token()?) {
            if precedence < min_precedence {
                break;
            }
            part = self.duration_tail(part, op, precedence)?;
        }
        Ok(part)
    }

    fn duration_tail(&mut self, lhs: Part, op: DurationOp, precedence: u8) -> Result<Part> {
        let sign = self.take()?;
        let right_assoc = u8::from(op != DurationOp::Pow);
        let rhs = self.duration_sum(precedence + right_assoc)?;
        self.require_duration_expr(lhs.expr.position())?;
        let zero = rhs.expr.literal() == Some(0.0);
        match op {
            DurationOp::Div if zero => return Err(self.fault(sign.position(), "division by zero")),
            DurationOp::Mod if zero => return Err(self.fault(sign.position(), "modulo by zero")),
            _ => {}
        }
        let position = lhs.expr.position().to(rhs.expr.position());
        self.duration_binary(op, lhs, rhs, position)
    }

    fn duration_binary(&self, op: DurationOp, lhs: Part, rhs: Part, position: PositionRange) -> Result<Part> {
        let depth = self.depth_over(lhs.depth.max(rhs.depth), position)?;
        let (lhs, rhs) = (lhs.expr, rhs.expr);
        Ok(Part::new(DurationExpr::Binary { op, lhs, rhs, position }, depth))
    }

    fn duration_unary(&mut self) -> Result<Part> {
        if !matches!(self.token()?, Token::Operator(BinaryOp::Add | BinaryOp::Sub)) {
            return self.duration_operand();
        }
        let sign = self.take()?;
        let operand = self.duration_sum(BinaryOp::Pow.precedence())?;
        self.signed_duration(sign, operand)
    }

    /// A sign is folded into a literal, and a plus vanishes.
    fn signed_duration(&mut self, sign: Item<'q>, mut operand: Part) -> Result<Part> {
        let negative = sign.token == Token::Operator(BinaryOp::Sub);
        let position = sign.position().to(operand.expr.position());
        if let Some(seconds) = operand.expr.literal() {
            let seconds = if negative { -seconds } else { seconds };
            let is_duration = operand.expr.is_duration_literal();
            return Ok(Part::new(DurationExpr::Number { seconds, is_duration, position }, 1));
        }
        if negative {
            let depth = self.depth_over(operand.depth, position)?;
            operand = Part::new(DurationExpr::Sign { negative, expr: operand.expr, position }, depth);
        }
        Ok(operand)
    }

    /// After `offset`, a plus before a bracket stays: it says that the duration ends with the bracket.
    fn signed_offset(&mut self, sign: Item<'q>, operand: Part) -> Result<Part> {
        let plus = sign.token == Token::Operator(BinaryOp::Add);
        if !plus || !matches!(*operand.expr, DurationExpr::Paren { .. }) || operand.expr.literal().is_some() {
            return self.signed_duration(sign, operand);
        }
        let position = sign.position().to(operand.expr.position());
        let depth = self.depth_over(operand.depth, position)?;
        Ok(Part::new(DurationExpr::Sign { negative: false, expr: operand.expr, position }, depth))
    }

    fn duration_operand(&mut self) -> Result<Part> {
        match self.token()? {
            Token::Number | Token::Duration => {
                let NumberLiteral { value, is_duration, position } = self.number_literal()?;
                if value.is_nan() || value.abs() > MAX_SECONDS {
                    return Err(self.fault(position, "duration out of range"));
                }
                let expr = DurationExpr::Number { seconds: value, is_duration, position };
                Ok(Part::new(expr, 1))
            }
            Token::Keyword(keyword @ (Keyword::Step | Keyword::Range)) => {
                let position = self.take()?.position();
                self.expect_here(Token::LeftParen)?;
                let position = position.to(self.expect_here(Token::RightParen)?.position());
                self.require_duration_expr(position)?;
                let expr = match keyword {
                    Keyword::Step => DurationExpr::Step { position },
                    _ => DurationExpr::Range { position },
                };
                Ok(Part::new(expr, 1))
            }
            Token::Keyword(Keyword::MinOf) => self.duration_choice(DurationOp::MinOf),
            Token::Keyword(Keyword::MaxOf) => self.duration_choice(DurationOp::MaxOf),
            Token::LeftParen => self.duration_paren(),
            _ => Err(self.unexpected_here()),
        }
    }

    /// `min_of(a, b)`
    fn duration_choice(&mut self, op: DurationOp) -> Result<Part> {
        let open = self.take()?.position();
        self.expect_here(Token::LeftParen)?;
        let lhs = self.duration_sum(0)?;
        self.expect_here(Token::Comma)?;
        let rhs = self.duration_sum(0)?;
        let position = open.to(self.expect_here(Token::RightParen)?.position());
        self.require_duration_expr(position)?;
        self.duration_binary(op, lhs, rhs, position)
    }

    /// Brackets stay only where they mean something: once, and around more than a positive literal.
    fn duration_paren(&mut self) -> Result<Part> {
        let open = self.take()?.position();
        let inner = self.duration_sum(0)?;
        let position = open.to(self.expect_here(Token::RightParen)?.position());
        self.require_duration_expr(inner.expr.position())?;
        match *inner.expr {
            DurationExpr::Paren { .. } => return Ok(inner),
            DurationExpr::Number { seconds, .. } if !seconds.is_sign_negative() => return Ok(inner),
            _ => {}
        }
        let depth = self.depth_over(inner.depth, position)?;
        Ok(Part::new(DurationExpr::Paren { expr: inner.expr, position }, depth))
    }

    fn require_duration_expr(&self, position: PositionRange) -> Result<()> {
        if self.options.duration_expr {
            return Ok(());
        }
        Err(self.fault(position, "experimental duration expression is not enabled"))
    }
}

fn duration_op(token: Token) -> Option<(DurationOp, u8)> {
    let Token::Operator(op) = token else { return None };
    let duration_op = match op {
        BinaryOp::Add => DurationOp::Add,
        BinaryOp::Sub => DurationOp::Sub,
        BinaryOp::Mul => DurationOp::Mul,
        BinaryOp::Div => DurationOp::Div,
        BinaryOp::Mod => DurationOp::Mod,
        BinaryOp::Pow => DurationOp::Pow,
        _ => return None,
    };
    Some((duration_op, op.precedence()))
}
