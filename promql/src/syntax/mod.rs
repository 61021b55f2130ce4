//! Text to tree and back: lexer, parser, type checker, printers. Knows nothing of time series.

pub mod ast;
pub mod duration;
pub mod position;

pub use ast::Expr;
pub use position::PositionRange;
