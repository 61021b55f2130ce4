//! Text to tokens, one at a time and only when asked: which of two faults in a query is reported first
//! depends on how far the lexer has read, and people's tools match on those reports.
//!
//! Three states: outside of braces and brackets, between braces (no keywords there), and after `[`
//! (durations and their arithmetic). All errors end the input.

use super::ast::BinaryOp;
use super::number;
use super::position::PositionRange;
use super::quote::{code_point, quote, quote_char};
use super::token::{Item, Keyword, Token};

/// A fault the lexer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LexError {
    pub position: PositionRange,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    Braces,
    /// After `[` or an operator after it; a number or a space ends it.
    Duration,
}

#[derive(Debug, Clone)]
pub struct Lexer<'q> {
    query: &'q str,
    at: usize,
    start: usize,
    state: State,
    paren_depth: i64,
    bracket_open: bool,
    got_colon: bool,
    got_duration: bool,
    /// A fault to report instead of the token that was just read.
    overrun: Option<String>,
}

type Step = Result<Option<Token>, String>;

impl<'q> Lexer<'q> {
    pub fn new(query: &'q str) -> Self {
        Lexer {
            query,
            at: 0,
            start: 0,
            state: State::Outside,
            paren_depth: 0,
            bracket_open: false,
            got_colon: false,
            got_duration: false,
            overrun: None,
        }
    }

    /// The next token; at the end of the input [`Token::End`], any number of times.
    pub fn next_item(&mut self) -> Result<Item<'q>, LexError> {
        loop {
            self.start = self.at;
            let step = match self.state {
                State::Outside => self.step_outside(),
                State::Braces => self.step_braces(),
                State::Duration => self.step_duration(),
            };
            let fault = match step {
                Ok(None) => continue,
                Ok(Some(token)) => match self.overrun.take() {
                    None => {
                        let text = &self.query[self.start..self.at];
                        return Ok(Item { token, text, start: self.start });
                    }
                    Some(message) => {
                        self.start = self.at;
                        message
                    }
                },
                Err(message) => message,
            };
            return Err(LexError {
                position: PositionRange::new(self.start, self.query.len()),
                message: fault,
            });
        }
    }

    fn peek(&self) -> Option<char> {
        self.query[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        if there {
            self.at += c.len_utf8();
        }
        there
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        let rest = &self.query[self.at..];
        self.at += rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    }

    fn skip_spaces(&mut self) -> Step {
        self.skip_while(is_space);
        Ok(None)
    }

    fn skip_comment(&mut self) -> Step {
        self.skip_while(|c| c != '\n' && c != '\r');
        Ok(None)
    }

    fn step_outside(&mut self) -> Step {
        use Token::*;
        let Some(c) = self.next() else {
            return match (self.paren_depth != 0, self.bracket_open) {
                (true, _) => Err("unclosed left parenthesis".into()),
                (_, true) => Err("unclosed left bracket".into()),
                _ => Ok(Some(End)),
            };
        };
        Ok(Some(match c {
            '#' => return self.skip_comment(),
            c if is_space(c) => return self.skip_spaces(),
            ',' => Comma,
            '=' => match self.peek() {
                Some('=') => {
                    self.at += 1;
                    Operator(BinaryOp::Eql)
                }
                Some('~') => return Err("unexpected character after '=': '~'".into()),
                _ => Assign,
            },
            '!' => match self.next() {
                Some('=') => Operator(BinaryOp::Neq),
                other => return Err(format!("unexpected character after '!': {}", quote_char(other))),
            },
            '<' | '>' => self.order_operator(c),
            '(' => self.open_paren(),
            ')' => self.close_paren(),
            '{' => {
                self.state = State::Braces;
                LeftBrace
            }
            '[' if self.bracket_open => return Err("unexpected left bracket '['".into()),
            '[' => {
                self.bracket_open = true;
                self.got_colon = false;
                self.state = State::Duration;
                LeftBracket
            }
            ']' if !self.bracket_open => return Err("unexpected right bracket ']'".into()),
            ']' => {
                self.bracket_open = false;
                RightBracket
            }
            '@' => At,
            '"' | '\'' => return self.quoted_string(c),
            '`' => return self.raw_string(),
            '0'..='9' => return self.number_or_duration(),
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => return self.number_or_duration(),
            ':' if self.bracket_open => return self.colon_in_bracket(),
            c if (is_alpha(c) || c == ':') && !self.bracket_open => {
                self.skip_while(|c| is_alphanumeric(c) || c == ':');
                self.word()
            }
            c if is_alpha(c) => {
                let fault = || format!("unexpected character: {}, expected ':'", quote_char(Some(c)));
                self.duration_keyword(c).ok_or_else(fault)?
            }
            c => match arithmetic(c) {
                Some(op) => Operator(op),
                None => return Err(format!("unexpected character: {}", quote_char(Some(c)))),
            },
        }))
    }

    /// A fill stands before the value in its brackets; without them it may name a metric.
    fn word(&self) -> Token {
        let token = Token::of_word(&self.query[self.start..self.at]);
        let is_fill = matches!(token, Token::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight));
        let filled = || self.query[self.at..].trim_start_matches(is_space).starts_with('(');
        if is_fill && !filled() { Token::Identifier } else { token }
    }

    fn order_operator(&mut self, c: char) -> Token {
        let less = c == '<';
        Token::Operator(if self.accept('=') {
            if less { BinaryOp::Lte } else { BinaryOp::Gte }
        } else if self.accept('/') {
            if less { BinaryOp::TrimUpper } else { BinaryOp::TrimLower }
        } else if less {
            BinaryOp::Lss
        } else {
            BinaryOp::Gtr
        })
    }

    fn open_paren(&mut self) -> Token {
        self.paren_depth += 1;
        Token::LeftParen
    }

    fn close_paren(&mut self) -> Token {
        self.paren_depth -= 1;
        if self.paren_depth < 0 {
            self.overrun = Some("unexpected right parenthesis ')'".into());
        }
        Token::RightParen
    }

    fn colon_in_bracket(&mut self) -> Step {
        if self.got_colon {
            return Err("unexpected colon ':'".into());
        }
        self.got_colon = true;
        Ok(Some(Token::Colon))
    }

    /// `step`, `range`, `min_of`, `max_of` in brackets; the first letter has been read.
    fn duration_keyword(&mut self, first: char) -> Option<Token> {
        if !matches!(first.to_ascii_lowercase(), 's' | 'r' | 'm') {
            return None;
        }
        let end = self.at;
        self.skip_while(is_alpha);
        match Token::of_word(&self.query[self.start..self.at]) {
            token @ Token::Keyword(Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf) => {
                Some(token)
            }
            _ => {
                self.at = end;
                None
            }
        }
    }

    fn step_duration(&mut self) -> Step {
        let Some(c) = self.next() else {
            return Err("unexpected end of input in duration expression".into());
        };
        Ok(Some(match c {
            c if is_space(c) => return self.skip_spaces(),
            ']' => {
                self.bracket_open = false;
                self.got_colon = false;
                self.state = State::Outside;
                Token::RightBracket
            }
            ':' => {
                if !self.got_duration {
                    self.overrun = Some("unexpected colon before duration in duration expression".into());
                } else if self.got_colon {
                    self.overrun = Some("unexpected repeated colon in duration expression".into());
                }
                self.got_colon = true;
                Token::Colon
            }
            '(' => self.open_paren(),
            ')' => self.close_paren(),
            ',' => Token::Comma,
            '0'..='9' => return self.number_in_bracket(),
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => return self.number_in_bracket(),
            c => match arithmetic(c) {
                Some(op) => Token::Operator(op),
                None => self.duration_keyword(c).ok_or_else(|| {
                    format!("unexpected character in duration expression: {}", quote_char(Some(c)))
                })?,
            },
        }))
    }

    fn number_in_bracket(&mut self) -> Step {
        self.got_duration = true;
        self.state = State::Outside;
        self.number_or_duration()
    }

    /// The first character has been read.
    fn number_or_duration(&mut self) -> Step {
        let rest = &self.query[self.start..];
        let (length, token) = match number::scan_number(rest) {
            Ok(length) => (length, Token::Number),
            Err(read) => match number::scan_duration(rest, read) {
                Ok(length) => (length, Token::Duration),
                Err(read) => {
                    return Err(format!("bad number or duration syntax: {}", quote(&rest[..read])));
                }
            },
        };
        self.at = self.start + length;
        Ok(Some(token))
    }

    fn step_braces(&mut self) -> Step {
        use Token::*;
        let Some(c) = self.next() else {
            return Err("unexpected end of input inside braces".into());
        };
        Ok(Some(match c {
            '#' => return self.skip_comment(),
            c if is_space(c) => return self.skip_spaces(),
            c if is_alpha(c) => {
                self.skip_while(is_alphanumeric);
                Identifier
            }
            ',' => Comma,
            '"' | '\'' => return self.quoted_string(c),
            '`' => return self.raw_string(),
            '=' if self.accept('~') => EqualRegex,
            '=' => Assign,
            '!' => match self.next() {
                Some('~') => NotEqualRegex,
                Some('=') => Operator(BinaryOp::Neq),
                other => {
                    let shown = quote_char(other);
                    return Err(format!("unexpected character after '!' inside braces: {shown}"));
                }
            },
            '{' => return Err("unexpected left brace '{'".into()),
            '}' => {
                self.state = State::Outside;
                RightBrace
            }
            c => return Err(format!("unexpected character inside braces: {}", quote_char(Some(c)))),
        }))
    }

    fn raw_string(&mut self) -> Step {
        loop {
            match self.next() {
                None => return Err("unterminated raw string".into()),
                Some('`') => return Ok(Some(Token::String)),
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                Some(_) => {}
            }
        }
    }

    fn quoted_string(&mut self, mark: char) -> Step {
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated quoted string".into()),
                Some(c) if c == mark => return Ok(Some(Token::String)),
                Some('\\') => self.escape(mark)?,
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                Some(_) => {}
            }
        }
    }

    /// The backslash has been read.
    fn escape(&mut self, mark: char) -> Result<(), String> {
        let unfinished = || "escape sequence not terminated".to_string();
        let kind = self.peek().ok_or_else(unfinished)?;
        let (digits, radix, limit) = match kind {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => (0, 0, 0),
            c if c == mark => (0, 0, 0),
            '0'..='7' => (3, 8, 255),
            'x' => (2, 16, 255),
            'u' => (4, 16, char::MAX as u32),
            'U' => (8, 16, char::MAX as u32),
            c => return Err(format!("unknown escape sequence {}", code_point(c))),
        };
        if radix != 8 {
            self.at += kind.len_utf8();
        }
        let mut code = 0u64;
        for _ in 0..digits {
            let c = self.next().ok_or_else(unfinished)?;
            let digit = c
                .to_digit(radix)
                .ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
            code = code * u64::from(radix) + u64::from(digit);
        }
        if code > u64::from(limit) || (0xD800..0xE000).contains(&code) {
            return Err("escape sequence is an invalid Unicode code point".into());
        }
        Ok(())
    }
}

fn arithmetic(c: char) -> Option<BinaryOp> {
    Some(match c {
        '+' => BinaryOp::Add,
        '-' => BinaryOp::Sub,
        '*' => BinaryOp::Mul,
        '/' => BinaryOp::Div,
        '%' => BinaryOp::Mod,
        '^' => BinaryOp::Pow,
        _ => return None,
    })
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}
