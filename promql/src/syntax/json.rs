//! The tree as JSON, as `parse_query` answers. Keys ascend, as Go sorts them.

use super::ast::*;
use super::printer::format_float;
use hearth_model::Matcher;
use std::fmt::Write;

/// The tree as one JSON value.
pub fn to_json(expr: &Expr) -> String {
    let mut out = String::new();
    write_expr(&mut out, expr);
    out
}

/// Text in quotes, escaped as JSON and safe within HTML, as Go writes it.
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                push_display(out, format_args!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn push_display(out: &mut String, what: impl std::fmt::Display) {
    // Writing to a String does not fail.
    let _ = write!(out, "{what}");
}

/// An object under construction.
struct Object<'o> {
    out: &'o mut String,
    separator: char,
}

impl<'o> Object<'o> {
    fn open(out: &'o mut String) -> Self {
        Object { out, separator: '{' }
    }

    fn key(&mut self, key: &str) -> &mut String {
        self.out.push(self.separator);
        self.separator = ',';
        write_text(self.out, key);
        self.out.push(':');
        self.out
    }

    fn text(&mut self, key: &str, value: &str) {
        write_text(self.key(key), value);
    }

    /// A number, a truth value or null.
    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        push_display(self.key(key), value);
    }

    fn expr(&mut self, key: &str, value: &Expr) {
        write_expr(self.key(key), value);
    }

    fn list<T>(&mut self, key: &str, items: &[T], write: impl Fn(&mut String, &T)) {
        let out = self.key(key);
        out.push('[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            write(out, item);
        }
        out.push(']');
    }

    fn labels(&mut self, key: &str, labels: &[String]) {
        self.list(key, labels, |out, label| write_text(out, label));
    }

    fn close(self) {
        self.out.push('}');
    }
}

fn write_expr(out: &mut String, expr: &Expr) {
    match expr {
        Expr::Number(e) => {
            let mut object = Object::open(out);
            object.text("type", "numberLiteral");
            object.text("val", &format_float(e.value));
            object.close();
        }
        Expr::String(e) => {
            let mut object = Object::open(out);
            object.text("type", "stringLiteral");
            object.text("val", &e.value);
            object.close();
        }
        Expr::Vector(e) => write_selector(out, e, None),
        Expr::Matrix(e) => write_selector(out, &e.selector, Some(&e.range)),
        Expr::Subquery(e) => write_subquery(out, e),
        Expr::Call(e) => write_call(out, e),
        Expr::Aggregate(e) => write_aggregate(out, e),
        Expr::Binary(e) => write_binary(out, e),
        Expr::Unary(e) => {
            let mut object = Object::open(out);
            object.expr("expr", &e.expr);
            object.text("op", if e.op == UnaryOp::Minus { "-" } else { "+" });
            object.text("type", "unaryExpr");
            object.close();
        }
        Expr::Paren(e) => {
            let mut object = Object::open(out);
            object.expr("expr", &e.expr);
            object.text("type", "parenExpr");
            object.close();
        }
    }
}

/// Expressions show as zero: their value is not known before a query runs.
fn known_ms(duration: &Duration) -> i64 {
    match duration {
        Duration::Ms(ms) => *ms,
        Duration::Expr(_) => 0,
    }
}

fn write_selector(out: &mut String, selector: &VectorSelector, range: Option<&Duration>) {
    let mut object = Object::open(out);
    object.plain("anchored", selector.extended == Some(Extended::Anchored));
    object.list("matchers", &selector.matchers, write_matcher);
    object.text("name", selector.name.as_deref().unwrap_or_default());
    object.plain("offset", known_ms(&selector.offset));
    if let Some(range) = range {
        object.plain("range", known_ms(range));
    }
    object.plain("smoothed", selector.extended == Some(Extended::Smoothed));
    write_start_or_end(&mut object, selector.at);
    write_timestamp(&mut object, selector.at);
    object.text("type", if range.is_some() { "matrixSelector" } else { "vectorSelector" });
    object.close();
}

fn write_matcher(out: &mut String, matcher: &Matcher) {
    let mut object = Object::open(out);
    object.text("name", &matcher.name);
    object.text("type", matcher.op.text());
    object.text("value", &matcher.value);
    object.close();
}

fn write_start_or_end(object: &mut Object<'_>, at: Option<At>) {
    match at {
        Some(At::Start) => object.text("startOrEnd", "start"),
        Some(At::End) => object.text("startOrEnd", "end"),
        Some(At::TimestampMs(_)) | None => object.plain("startOrEnd", "null"),
    }
}

fn write_timestamp(object: &mut Object<'_>, at: Option<At>) {
    match at {
        Some(At::TimestampMs(ms)) => object.plain("timestamp", ms),
        _ => object.plain("timestamp", "null"),
    }
}

fn write_subquery(out: &mut String, subquery: &Subquery) {
    let mut object = Object::open(out);
    object.expr("expr", &subquery.expr);
    object.plain("offset", known_ms(&subquery.offset));
    object.plain("range", known_ms(&subquery.range));
    write_start_or_end(&mut object, subquery.at);
    object.plain("step", subquery.step.as_ref().map_or(0, known_ms));
    write_timestamp(&mut object, subquery.at);
    object.text("type", "subquery");
    object.close();
}

fn write_call(out: &mut String, call: &Call) {
    let mut object = Object::open(out);
    object.list("args", &call.args, write_expr);
    let mut func = Object::open(object.key("func"));
    func.list("argTypes", call.func.args, |out, arg| write_text(out, arg.name()));
    func.text("name", call.func.name);
    func.text("returnType", call.func.returns.name());
    func.plain("variadic", call.func.variadic);
    func.close();
    object.text("type", "call");
    object.close();
}

fn write_aggregate(out: &mut String, aggregate: &Aggregate) {
    let mut object = Object::open(out);
    object.expr("expr", &aggregate.expr);
    object.labels("grouping", &aggregate.grouping);
    object.text("op", aggregate.op.name());
    match &aggregate.param {
        Some(param) => object.expr("param", param),
        None => object.plain("param", "null"),
    }
    object.text("type", "aggregation");
    object.plain("without", aggregate.without);
    object.close();
}

fn write_binary(out: &mut String, binary: &Binary) {
    let mut object = Object::open(out);
    object.plain("bool", binary.bool_modifier);
    object.expr("lhs", &binary.lhs);
    match &binary.matching {
        Some(matching) => write_matching(object.key("matching"), matching),
        None => object.plain("matching", "null"),
    }
    object.text("op", binary.op.text());
    object.expr("rhs", &binary.rhs);
    object.text("type", "binaryExpr");
    object.close();
}

fn write_matching(out: &mut String, matching: &VectorMatching) {
    let mut object = Object::open(out);
    object.text("card", matching.card.name());
    let mut fill = Object::open(object.key("fillValues"));
    for (side, value) in [("lhs", matching.fill.left), ("rhs", matching.fill.right)] {
        match value {
            Some(value) if value.is_finite() => fill.plain(side, value),
            // JSON has no such numbers; Go would fail here.
            Some(value) => fill.text(side, &format_float(value)),
            None => fill.plain(side, "null"),
        }
    }
    fill.close();
    object.labels("include", &matching.include);
    object.labels("labels", &matching.labels);
    object.plain("on", matching.on);
    object.close();
}
