//! The tree over several lines, as `format_query` answers: whatever is longer than a line is split at
//! its outermost brackets or operator.

use super::ast::*;
use std::fmt::{self, Display, Write};

/// Longest text, in bytes, that stays on one line.
const MAX_LINE_BYTES: usize = 100;

/// The expression as people like to read it.
pub fn format(expr: &Expr) -> String {
    let mut out = String::new();
    write_pretty(&mut out, expr, 0);
    out
}

/// Counts what is written and stops once it is too long for a line, so that the test costs no more than
/// a line for each node.
struct Line {
    left_bytes: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.left_bytes = self.left_bytes.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn fits(expr: &Expr) -> bool {
    write!(Line { left_bytes: MAX_LINE_BYTES }, "{expr}").is_ok()
}

// Writing to a String does not fail: the results here and below say nothing.
fn append(out: &mut String, what: impl Display) {
    let _ = write!(out, "{what}");
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

fn write_pretty(out: &mut String, expr: &Expr, level: usize) {
    match expr {
        Expr::Unary(e) => {
            indent(out, level);
            append(out, e.op);
            let mut operand = String::new();
            write_pretty(&mut operand, &e.expr, level);
            out.push_str(operand.trim());
        }
        Expr::Subquery(e) => {
            // A subquery that fits is not indented; so does Prometheus.
            if fits(expr) {
                return append(out, expr);
            }
            write_pretty(out, &e.expr, level);
            let _ = e.write_suffix(out);
        }
        _ if fits(expr) => {
            indent(out, level);
            append(out, expr);
        }
        Expr::Aggregate(e) => {
            indent(out, level);
            let _ = e.write_head(out);
            let args = e.param.as_deref().into_iter().chain([&*e.expr]);
            write_bracketed(out, args, level);
        }
        Expr::Call(e) if !e.args.is_empty() => {
            indent(out, level);
            out.push_str(e.func.name);
            write_bracketed(out, e.args.iter(), level);
        }
        Expr::Paren(e) => {
            indent(out, level);
            write_bracketed(out, [&*e.expr], level);
        }
        Expr::Binary(e) => {
            if e.raises_infinity() {
                indent(out, level + 1);
                out.push_str("Inf");
            } else {
                write_pretty(out, &e.lhs, level + 1);
            }
            out.push('\n');
            indent(out, level);
            let _ = e.write_operator(out);
            out.push('\n');
            write_pretty(out, &e.rhs, level + 1);
        }
        Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) | Expr::Call(_) => {
            indent(out, level);
            append(out, expr);
        }
    }
}

/// A line for each bracket and each expression between them.
fn write_bracketed<'e>(out: &mut String, inside: impl IntoIterator<Item = &'e Expr>, level: usize) {
    out.push('(');
    let mut separator = "\n";
    for expr in inside {
        out.push_str(separator);
        write_pretty(out, expr, level + 1);
        separator = ",\n";
    }
    out.push('\n');
    indent(out, level);
    out.push(')');
}
