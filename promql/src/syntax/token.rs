//! The words of the language and how error texts name them.

use super::ast::{AggregateOp, BinaryOp};
use super::position::PositionRange;
use super::quote::{quote, quote_cut};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    End,
    Identifier,
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`, `=~`, `!~`: only between braces; `!=` is a [`BinaryOp`] everywhere.
    Assign,
    EqualRegex,
    NotEqualRegex,
    At,
    Operator(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
}

/// Words that are neither operators nor aggregators. Nearly all may also name labels, most also metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    Offset,
    Anchored,
    Smoothed,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

impl Keyword {
    /// May stand where an operand is expected, as the name of a metric.
    fn is_metric_name(self) -> bool {
        use Keyword::*;
        !matches!(self, On | Ignoring | GroupLeft | GroupRight | Bool)
    }

    /// Written as `"start"` in error texts; the others as `<by>`.
    fn is_plain(self) -> bool {
        use Keyword::*;
        matches!(self, Start | End | Step | Range | MinOf | MaxOf)
    }
}

impl Token {
    /// The token of a word; keywords are recognised in any case.
    pub fn of_word(word: &str) -> Token {
        // The longest keyword is `count_values`; a longer word needs no lower-casing.
        let mut buffer = [0u8; 12];
        let keyword = match buffer.get_mut(..word.len()) {
            Some(lower) => {
                lower.copy_from_slice(word.as_bytes());
                lower.make_ascii_lowercase();
                Token::of_lower(std::str::from_utf8(lower).unwrap_or_default())
            }
            None => None,
        };
        keyword.unwrap_or(if word.contains(':') { Token::MetricIdentifier } else { Token::Identifier })
    }

    fn of_lower(word: &str) -> Option<Token> {
        use Keyword::*;
        Some(match word {
            "and" => Token::Operator(BinaryOp::And),
            "or" => Token::Operator(BinaryOp::Or),
            "unless" => Token::Operator(BinaryOp::Unless),
            "atan2" => Token::Operator(BinaryOp::Atan2),
            "inf" | "nan" => Token::Number,
            "offset" => Token::Keyword(Offset),
            "anchored" => Token::Keyword(Anchored),
            "smoothed" => Token::Keyword(Smoothed),
            "by" => Token::Keyword(By),
            "without" => Token::Keyword(Without),
            "on" => Token::Keyword(On),
            "ignoring" => Token::Keyword(Ignoring),
            "group_left" => Token::Keyword(GroupLeft),
            "group_right" => Token::Keyword(GroupRight),
            "fill" => Token::Keyword(Fill),
            "fill_left" => Token::Keyword(FillLeft),
            "fill_right" => Token::Keyword(FillRight),
            "bool" => Token::Keyword(Bool),
            "start" => Token::Keyword(Start),
            "end" => Token::Keyword(End),
            "step" => Token::Keyword(Step),
            "range" => Token::Keyword(Range),
            "min_of" => Token::Keyword(MinOf),
            "max_of" => Token::Keyword(MaxOf),
            _ => Token::Aggregate(AggregateOp::ALL.into_iter().find(|op| op.name() == word)?),
        })
    }

    /// May name a metric outside of braces.
    pub fn is_metric_name(self) -> bool {
        match self {
            Token::Identifier | Token::MetricIdentifier | Token::Aggregate(_) => true,
            Token::Operator(op) => op.is_set(),
            Token::Keyword(keyword) => keyword.is_metric_name(),
            _ => false,
        }
    }

    /// May name a label in `by (…)`, `on (…)` and the like.
    pub fn is_label_name(self) -> bool {
        match self {
            Token::Identifier | Token::MetricIdentifier | Token::Aggregate(_) => true,
            Token::Keyword(keyword) => keyword != Keyword::Without,
            Token::Operator(op) => op.is_set() || op == BinaryOp::Atan2,
            _ => false,
        }
    }

    /// Ends of these are where an aggregation or a call may end.
    pub fn is_closing(self) -> bool {
        use Token::*;
        matches!(self, RightBrace | RightParen | RightBracket | Duration | Number)
    }
}

/// A token where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'q> {
    pub token: Token,
    pub text: &'q str,
    pub start: usize,
}

impl<'q> Item<'q> {
    pub fn position(&self) -> PositionRange {
        PositionRange::new(self.start, self.start + self.text.len())
    }

    /// As `unexpected …` names it.
    pub fn describe(&self) -> String {
        match self.token {
            Token::End => "end of input".into(),
            Token::Identifier => format!("identifier {}", quote(self.text)),
            Token::MetricIdentifier => format!("metric identifier {}", quote(self.text)),
            Token::Number => format!("number {}", quote_cut(self.text)),
            Token::Duration => format!("duration {}", quote_cut(self.text)),
            Token::String => format!("string {}", quote_cut(self.text)),
            // Prometheus has no name for this one and shows the number its parser generator gave it.
            Token::At => format!("\"<Item 57402>\" <op:{}>", self.text),
            Token::Operator(_) | Token::EqualRegex | Token::NotEqualRegex => format!("<op:{}>", self.text),
            Token::Aggregate(_) => format!("<aggr:{}>", self.text),
            Token::Keyword(keyword) if !keyword.is_plain() => format!("<{}>", self.text),
            _ => quote_cut(self.text),
        }
    }
}
