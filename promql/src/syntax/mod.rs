//! Text to tree and back: lexer, parser, type checker, printers. Knows nothing of time series.
//!
//! Flow: [`parse`] = `parser` over `lexer`, then `check`. Back: [`Expr`]'s `Display` (one line),
//! [`format()`] (many lines), [`json`] (what `parse_query` answers).

pub mod ast;
mod check;
pub mod duration;
mod error;
pub mod json;
mod lexer;
mod number;
mod parser;
pub mod position;
mod pretty;
mod printer;
mod quote;
mod token;

pub use ast::Expr;
pub use duration::{DurationError, QueryTimes, resolve_durations};
pub use error::ParseError;
pub use position::PositionRange;
pub use pretty::format;
pub use printer::format_float;

use ast::VectorSelector;
use hearth_model::Matcher;

/// What of the language is enabled, by the feature flags that enable it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseOptions {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// Arithmetic in durations; on by default.
    pub duration_expr: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub fill_modifiers: bool,
}

impl ParseOptions {
    /// Everything there is.
    pub const ALL: ParseOptions = ParseOptions {
        experimental_functions: true,
        duration_expr: true,
        extended_range_selectors: true,
        fill_modifiers: true,
    };
}

impl Default for ParseOptions {
    fn default() -> Self {
        ParseOptions {
            experimental_functions: false,
            duration_expr: true,
            extended_range_selectors: false,
            fill_modifiers: false,
        }
    }
}

/// A query as a well-typed tree; see [`crate::config`] for the limits on it.
pub fn parse(query: &str, options: &ParseOptions) -> Result<Expr, ParseError> {
    let mut expr = parser::Parser::new(query, options)?.expression()?;
    check::check(query, &mut expr)?;
    Ok(expr)
}

/// The matchers of a selector as in `match[]`. It may match every series; a caller that must not allow
/// that asks [`Matcher::matches_empty`] of each.
pub fn parse_metric_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let options = ParseOptions::default();
    let selector = parser::Parser::new(text, &options)?.metric_selector()?;
    Ok(selector.matchers)
}

/// Every selector of the tree, those inside of ranges too, in the order of the text.
pub fn selectors_of(expr: &Expr) -> Vec<&VectorSelector> {
    fn collect<'e>(expr: &'e Expr, into: &mut Vec<&'e VectorSelector>) {
        match expr {
            Expr::Vector(selector) => into.push(selector),
            Expr::Matrix(matrix) => into.push(&matrix.selector),
            _ => expr.children().for_each(|child| collect(child, into)),
        }
    }
    let mut selectors = Vec::new();
    collect(expr, &mut selectors);
    selectors
}
