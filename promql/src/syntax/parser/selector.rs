//! Selectors: a name, matchers in braces, or both.

use super::*;
use hearth_model::label::METRIC_NAME;
use hearth_model::{MatchOp, Matcher};

impl<'q> Parser<'q> {
    /// The name has been taken.
    pub(super) fn named_selector(&mut self, name: Item<'q>) -> Result<VectorSelector> {
        let mut position = name.position();
        let mut matchers = Vec::new();
        if self.token()? == Token::LeftBrace {
            let braces;
            (matchers, braces) = self.matchers()?;
            position = position.to(braces);
        }
        matchers.push(Matcher::equal(METRIC_NAME, name.text));
        Ok(VectorSelector::plain(Some(name.text.to_string()), matchers, position))
    }

    pub(super) fn nameless_selector(&mut self) -> Result<VectorSelector> {
        let (matchers, position) = self.matchers()?;
        Ok(VectorSelector::plain(None, matchers, position))
    }

    fn matchers(&mut self) -> Result<(Vec<Matcher>, PositionRange)> {
        let open = self.take()?.position();
        let mut matchers = Vec::new();
        if let Some(close) = self.take_if(Token::RightBrace)? {
            return Ok((matchers, open.to(close.position())));
        }
        loop {
            matchers.push(self.matcher()?);
            let comma = self.take_if(Token::Comma)?.is_some();
            if let Some(close) = self.take_if(Token::RightBrace)? {
                return Ok((matchers, open.to(close.position())));
            }
            if !comma {
                return Err(self.unexpected(MATCHER_NEXT));
            }
        }
    }

    fn matcher(&mut self) -> Result<Matcher> {
        let quoted = match self.token()? {
            Token::Identifier => false,
            Token::String => true,
            _ => return Err(self.unexpected(MATCHER)),
        };
        let label = self.take()?;
        let name = if quoted { self.unquoted(&label)? } else { label.text.to_string() };
        let op = match self.token()? {
            Token::Assign => MatchOp::Equal,
            Token::Operator(BinaryOp::Neq) => MatchOp::NotEqual,
            Token::EqualRegex => MatchOp::Regex,
            Token::NotEqualRegex => MatchOp::NotRegex,
            // A quoted text alone is the metric's name.
            _ if quoted => return Ok(Matcher::equal(METRIC_NAME, name)),
            _ => return Err(self.unexpected(MATCHER_OPERATOR)),
        };
        self.take()?;
        let value = self.expect(Token::String, MATCHER_VALUE)?;
        let text = self.unquoted(&value)?;
        Matcher::new(op, name, text).map_err(|e| {
            let position = label.position().to(value.position());
            self.fault(position, e.to_string())
        })
    }
}
