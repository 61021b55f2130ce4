//! What follows an operand: ranges, subqueries, `offset`, `@`, `anchored` and `smoothed`.

use super::*;
use crate::syntax::token::Keyword;

const NOT_A_SELECTOR: &str =
    "must be preceded by an instant vector selector or range vector selector or a subquery";

/// The parts of a selector or subquery that modifiers set.
struct Modifiable<'e> {
    offset: &'e mut Duration,
    at: &'e mut Option<At>,
    /// To be extended over the modifier; twice for a range, whose selector holds its modifiers.
    position: &'e mut PositionRange,
}

fn modifiable(expr: &mut Expr) -> Option<Modifiable<'_>> {
    match expr {
        Expr::Vector(VectorSelector { offset, at, position, .. })
        | Expr::Subquery(Subquery { offset, at, position, .. }) => Some(Modifiable { offset, at, position }),
        Expr::Matrix(MatrixSelector { selector, position, .. }) => {
            Some(Modifiable { offset: &mut selector.offset, at: &mut selector.at, position })
        }
        _ => None,
    }
}

impl<'q> Parser<'q> {
    pub(super) fn modified(&mut self, mut node: Node) -> Result<Node> {
        loop {
            match self.token()? {
                Token::LeftBracket => node = self.range_or_subquery(node)?,
                Token::Keyword(Keyword::Offset) => {
                    self.take()?;
                    let offset = self.in_context(OFFSET, Self::offset_duration)?;
                    self.set_offset(&mut node.expr, offset)?;
                }
                Token::At => {
                    self.take()?;
                    self.in_context(AT, |parser| parser.at_modifier(&mut node.expr))?;
                }
                Token::Keyword(Keyword::Anchored) => {
                    self.take()?;
                    self.set_extended(&mut node.expr, Extended::Anchored)?;
                }
                Token::Keyword(Keyword::Smoothed) => {
                    self.take()?;
                    self.set_extended(&mut node.expr, Extended::Smoothed)?;
                }
                _ => return Ok(node),
            }
        }
    }

    fn range_or_subquery(&mut self, node: Node) -> Result<Node> {
        let open = self.take()?.position();
        let range = self.in_context(RANGE, Self::positive_duration)?;
        if self.take_if(Token::Colon)?.is_none() {
            let close = self.expect(Token::RightBracket, RANGE_END)?.position();
            return self.matrix(node, range, open.to(close));
        }
        let mut step = None;
        if self.token()? != Token::RightBracket {
            step = Some(self.in_context(STEP, Self::positive_duration)?);
        }
        let close = self.expect(Token::RightBracket, STEP_END)?.position();
        let position = node.expr.position().to(close);
        let depth = self.depth_over(node.depth, position)?;
        let subquery = Subquery { expr: node.expr, range, step, offset: Duration::ZERO, at: None, position };
        Ok(Node::new(Expr::Subquery(subquery), depth))
    }

    fn matrix(&mut self, node: Node, range: Duration, brackets: PositionRange) -> Result<Node> {
        let Expr::Vector(selector) = *node.expr else {
            return Err(self.fault(brackets, "ranges only allowed for vector selectors"));
        };
        if selector.offset != Duration::ZERO {
            return Err(self.fault(brackets, "no offset modifiers allowed before range"));
        }
        // Prometheus lets `@ start()` and `@ end()` pass here.
        if matches!(selector.at, Some(At::TimestampMs(_))) {
            return Err(self.fault(brackets, "no @ modifiers allowed before range"));
        }
        let position = selector.position.to(brackets);
        Ok(Node::leaf(Expr::Matrix(MatrixSelector { selector, range, position })))
    }

    fn set_offset(&mut self, expr: &mut Expr, offset: Duration) -> Result<()> {
        let whole = expr.position();
        let Some(target) = modifiable(expr) else {
            return Err(self.fault(whole, format!("offset modifier {NOT_A_SELECTOR}")));
        };
        if *target.offset != Duration::ZERO {
            return Err(self.fault(whole, "offset may not be set multiple times"));
        }
        *target.offset = offset;
        target.position.end = self.last_closing as u32;
        Ok(())
    }

    /// The `@` has been taken.
    fn at_modifier(&mut self, expr: &mut Expr) -> Result<()> {
        let at = match self.token()? {
            Token::Keyword(keyword @ (Keyword::Start | Keyword::End)) => {
                self.take()?;
                self.expect_here(Token::LeftParen)?;
                self.expect_here(Token::RightParen)?;
                if keyword == Keyword::Start { At::Start } else { At::End }
            }
            _ => {
                let seconds = self.signed_number()?;
                self.at_timestamp(seconds, expr.position())?
            }
        };
        let whole = expr.position();
        let Some(target) = modifiable(expr) else {
            return Err(self.fault(whole, format!("@ modifier {NOT_A_SELECTOR}")));
        };
        if target.at.is_some() {
            return Err(self.fault(whole, "@ <timestamp> may not be set multiple times"));
        }
        *target.at = Some(at);
        target.position.end = self.last_closing as u32;
        Ok(())
    }

    fn at_timestamp(&self, seconds: f64, position: PositionRange) -> Result<At> {
        // 2^63, the bound on both sides.
        let bound = -(i64::MIN as f64);
        if seconds.abs() < bound {
            // A cast saturates, where Go's wraps: such timestamps are far from every sample in both.
            return Ok(At::TimestampMs((seconds * 1000.0).round() as i64));
        }
        let shown = match seconds {
            s if s.is_nan() => "NaN".to_string(),
            s if s.is_infinite() => (if s > 0.0 { "+Inf" } else { "-Inf" }).to_string(),
            s => format!("{s:.6}"),
        };
        Err(self.fault(position, format!("timestamp out of bounds for @ modifier: {shown}")))
    }

    fn set_extended(&mut self, expr: &mut Expr, extended: Extended) -> Result<()> {
        let name = extended.name();
        let whole = expr.position();
        if !self.options.extended_range_selectors {
            return Err(self.fault(whole, format!("{name} modifier is experimental and not enabled")));
        }
        let selector = match expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &mut matrix.selector,
            Expr::Subquery(_) => {
                return Err(self.fault(whole, format!("{name} modifier is not supported for subqueries")));
            }
            _ => return Err(self.fault(whole, format!("{name} modifier not implemented"))),
        };
        if selector.extended.is_some_and(|set| set != extended) {
            let message = "anchored and smoothed modifiers cannot be used together";
            return Err(self.fault(whole, message));
        }
        selector.extended = Some(extended);
        Ok(())
    }
}
