//! Tokens to tree: precedence climbing over operators, recursion only into brackets and calls, both of
//! bounded depth. The first fault ends the parse.
//!
//! Where Prometheus' generated parser would fall back to an enclosing rule to word its complaint, we
//! keep a stack of [`Context`]s: a fault is worded by the innermost rule that is still open.

mod call;
mod duration;
mod modifier;
mod selector;

use super::ParseOptions;
use super::ast::*;
use super::error::ParseError;
use super::lexer::Lexer;
use super::number;
use super::position::PositionRange;
use super::quote::{quote, unquote};
use super::token::{Item, Token};
use crate::config::{MAX_QUERY_BYTES, MAX_QUERY_DEPTH, MAX_QUERY_NESTING};
use hearth_model::duration::parse_duration_ms;

type Result<T> = std::result::Result<T, ParseError>;

/// How an open rule words a fault inside of it: where it is, and what was expected there.
#[derive(Debug, Clone, Copy)]
struct Context {
    place: &'static str,
    expected: &'static str,
}

const TOP: Context = Context { place: "", expected: "" };
const AGGREGATION: Context = Context { place: "aggregation", expected: "" };
const GROUPING_OPEN: Context = Context { place: "grouping opts", expected: "\"(\"" };
const GROUPING_LABEL: Context = Context { place: "grouping opts", expected: "label" };
const GROUPING_NEXT: Context = Context { place: "grouping opts", expected: "\",\" or \")\"" };
const MATCHER: Context = Context { place: "label matching", expected: "identifier or \"}\"" };
const MATCHER_OPERATOR: Context = Context { place: "label matching", expected: "label matching operator" };
const MATCHER_VALUE: Context = Context { place: "label matching", expected: "string" };
const MATCHER_NEXT: Context = Context { place: "label matching", expected: "\",\" or \"}\"" };
const OFFSET: Context = Context { place: "offset", expected: "number, duration, step(), or range()" };
const AT: Context = Context { place: "@", expected: "timestamp" };
const RANGE: Context =
    Context { place: "subquery or range selector", expected: "number, duration, step(), or range()" };
const RANGE_END: Context = Context { place: "subquery or range", expected: "\":\" or \"]\"" };
const STEP: Context =
    Context { place: "subquery selector", expected: "number, duration, step(), range(), or \"]\"" };
const STEP_END: Context = Context { place: "subquery selector", expected: "\"]\"" };

/// A tree and its depth. Boxed at once: the parser's stack frames stay small.
struct Node {
    expr: Box<Expr>,
    depth: usize,
}

impl Node {
    fn leaf(expr: Expr) -> Node {
        Node::new(expr, 1)
    }

    fn new(expr: Expr, depth: usize) -> Node {
        Node { expr: Box::new(expr), depth }
    }
}

pub struct Parser<'q> {
    query: &'q str,
    options: &'q ParseOptions,
    lexer: Lexer<'q>,
    peeked: Option<Item<'q>>,
    /// Where the last bracket, number or duration that was taken ends.
    last_closing: usize,
    contexts: Vec<Context>,
    nesting: usize,
}

impl<'q> Parser<'q> {
    pub fn new(query: &'q str, options: &'q ParseOptions) -> Result<Self> {
        if query.len() > MAX_QUERY_BYTES {
            let message =
                format!("query of {} bytes is longer than the limit of {MAX_QUERY_BYTES}", query.len());
            return Err(ParseError::new(query, PositionRange::default(), message));
        }
        Ok(Parser {
            query,
            options,
            lexer: Lexer::new(query),
            peeked: None,
            last_closing: 0,
            contexts: vec![TOP],
            nesting: 0,
        })
    }

    /// The whole input as one expression; not type-checked.
    pub fn expression(mut self) -> Result<Expr> {
        if self.token()? == Token::End {
            return Err(self.fault(PositionRange::default(), "no expression found in input"));
        }
        let node = self.binary(0)?;
        self.expect(Token::End, TOP)?;
        Ok(*node.expr)
    }

    /// The whole input as one selector without modifiers.
    pub fn metric_selector(mut self) -> Result<VectorSelector> {
        let selector = match self.token()? {
            token if token.is_metric_name() => {
                let name = self.take()?;
                self.named_selector(name)?
            }
            Token::LeftBrace => self.nameless_selector()?,
            _ => return Err(self.unexpected(TOP)),
        };
        self.expect(Token::End, TOP)?;
        Ok(selector)
    }

    fn peek(&mut self) -> Result<Item<'q>> {
        if let Some(item) = self.peeked {
            return Ok(item);
        }
        let read = self.lexer.next_item();
        let item = read.map_err(|e| ParseError::new(self.query, e.position, e.message))?;
        self.peeked = Some(item);
        Ok(item)
    }

    fn token(&mut self) -> Result<Token> {
        self.peek().map(|item| item.token)
    }

    fn take(&mut self) -> Result<Item<'q>> {
        let item = self.peek()?;
        self.peeked = None;
        if item.token.is_closing() {
            self.last_closing = item.start + item.text.len();
        }
        Ok(item)
    }

    fn take_if(&mut self, token: Token) -> Result<Option<Item<'q>>> {
        if self.token()? == token { self.take().map(Some) } else { Ok(None) }
    }

    fn expect(&mut self, token: Token, context: Context) -> Result<Item<'q>> {
        if self.token()? == token { self.take() } else { Err(self.unexpected(context)) }
    }

    /// The next token has no place here; worded by `context`.
    fn unexpected(&mut self, context: Context) -> ParseError {
        let item = match self.peek() {
            Ok(item) => item,
            Err(fault) => return fault,
        };
        let mut message = format!("unexpected {}", item.describe());
        if !context.place.is_empty() {
            message.push_str(&format!(" in {}", context.place));
        }
        if !context.expected.is_empty() {
            message.push_str(&format!(", expected {}", context.expected));
        }
        self.fault(item.position(), message)
    }

    /// The next token has no place here; worded by the innermost open rule.
    fn unexpected_here(&mut self) -> ParseError {
        let context = self.contexts.last().copied().unwrap_or(TOP);
        self.unexpected(context)
    }

    fn expect_here(&mut self, token: Token) -> Result<Item<'q>> {
        if self.token()? == token { self.take() } else { Err(self.unexpected_here()) }
    }

    fn fault(&self, position: PositionRange, message: impl Into<String>) -> ParseError {
        ParseError::new(self.query, position, message)
    }

    fn in_context<T>(&mut self, context: Context, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.contexts.push(context);
        let parsed = parse(self);
        self.contexts.pop();
        parsed
    }

    /// Guards each recursion; whoever enters leaves, but for faults, which end the parse.
    fn enter(&mut self) -> Result<()> {
        if self.nesting == MAX_QUERY_NESTING {
            let position = self.peek()?.position();
            let message = format!("expression is nested more than {MAX_QUERY_NESTING} levels deep");
            return Err(self.fault(position, message));
        }
        self.nesting += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.nesting -= 1;
    }

    /// The depth of a node over children of the given depth.
    fn depth_over(&self, children: usize, position: PositionRange) -> Result<usize> {
        if children >= MAX_QUERY_DEPTH {
            let message = format!("expression is chained more than {MAX_QUERY_DEPTH} levels deep");
            return Err(self.fault(position, message));
        }
        Ok(children + 1)
    }

    /// Operands and the operators between them that bind at least as tightly as `min_precedence`.
    fn binary(&mut self, min_precedence: u8) -> Result<Node> {
        self.enter()?;
        let mut node = self.unary()?;
        while let Token::Operator(op) = self.token()? {
            if op.precedence() < min_precedence {
                break;
            }
            node = self.binary_tail(node, op)?;
        }
        self.leave();
        Ok(node)
    }

    fn binary_tail(&mut self, lhs: Node, op: BinaryOp) -> Result<Node> {
        self.take()?;
        let (bool_modifier, matching) = self.binary_modifiers()?;
        // Only the power associates to the right.
        let right_assoc = u8::from(op != BinaryOp::Pow);
        let rhs = self.binary(op.precedence() + right_assoc)?;
        let position = lhs.expr.position().to(rhs.expr.position());
        if !self.options.fill_modifiers && matching.fill != Fill::default() {
            return Err(self.fault(position, "binop fill modifiers are experimental and not enabled"));
        }
        let depth = self.depth_over(lhs.depth.max(rhs.depth), position)?;
        let (lhs, rhs) = (lhs.expr, rhs.expr);
        let binary = Binary { op, lhs, rhs, bool_modifier, matching: Some(matching), position };
        Ok(Node::new(Expr::Binary(binary), depth))
    }

    /// A sign binds less tightly than the power, and is folded into a number.
    fn unary(&mut self) -> Result<Node> {
        match self.token()? {
            Token::Operator(BinaryOp::Add) => self.signed(UnaryOp::Plus),
            Token::Operator(BinaryOp::Sub) => self.signed(UnaryOp::Minus),
            _ => {
                let operand = self.operand()?;
                self.modified(operand)
            }
        }
    }

    fn signed(&mut self, op: UnaryOp) -> Result<Node> {
        let sign = self.take()?.position();
        let mut node = self.binary(BinaryOp::Pow.precedence())?;
        let position = sign.to(node.expr.position());
        if let Expr::Number(number) = &mut *node.expr {
            if op == UnaryOp::Minus {
                number.value = -number.value;
            }
            number.position = position;
            return Ok(node);
        }
        let depth = self.depth_over(node.depth, position)?;
        Ok(Node::new(Expr::Unary(Unary { op, expr: node.expr, position }), depth))
    }

    fn operand(&mut self) -> Result<Node> {
        match self.token()? {
            Token::LeftParen => self.paren(),
            Token::Aggregate(op) => self.aggregate_or_selector(op),
            token if token.is_metric_name() => self.call_or_selector(token),
            _ => self.leaf(),
        }
    }

    /// An operand that begins with no name and holds no other.
    fn leaf(&mut self) -> Result<Node> {
        let expr = match self.token()? {
            Token::Number | Token::Duration => Expr::Number(self.number_literal()?),
            Token::String => {
                let item = self.take()?;
                let value = self.unquoted(&item)?;
                Expr::String(StringLiteral { value, position: item.position() })
            }
            Token::LeftBrace => Expr::Vector(self.nameless_selector()?),
            _ => return Err(self.unexpected_here()),
        };
        Ok(Node::leaf(expr))
    }

    fn paren(&mut self) -> Result<Node> {
        let open = self.take()?.position();
        let inner = self.binary(0)?;
        let close = self.expect_here(Token::RightParen)?.position();
        let position = open.to(close);
        let depth = self.depth_over(inner.depth, position)?;
        Ok(Node::new(Expr::Paren(Paren { expr: inner.expr, position }), depth))
    }

    fn number_literal(&mut self) -> Result<NumberLiteral> {
        let item = self.take()?;
        let position = item.position();
        let is_duration = item.token == Token::Duration;
        let value = if is_duration {
            parse_duration_ms(item.text).map(|ms| ms as f64 / 1000.0).map_err(|e| e.to_string())
        } else {
            number::parse_number(item.text)
        };
        let value = value.map_err(|message| self.fault(position, message))?;
        Ok(NumberLiteral { value, is_duration, position })
    }

    fn unquoted(&self, item: &Item<'q>) -> Result<String> {
        unquote(item.text).ok_or_else(|| {
            let message = format!("error unquoting string {}: invalid syntax", quote(item.text));
            self.fault(item.position(), message)
        })
    }
}
