//! Makes a differing query smaller while it still differs: a part of it instead of the whole, a part's
//! own part in its place, no modifiers, one instant instead of a range.
//!
//! The first smaller variant that still differs is taken, and so on from there, until none does or after
//! [`MAX_TRIES`] questions.

use crate::servers::{Question, Servers};
use hearth_promql::syntax::ast::{Expr, ValueType};
use hearth_promql::syntax::{ParseOptions, parse};

/// Questions asked for one query.
const MAX_TRIES: usize = 300;

/// The smallest question found, with what differs there.
pub fn smallest(
    servers: &Servers,
    question: &Question,
    findings: Vec<String>,
) -> Result<(Question, Vec<String>), String> {
    let mut best = (question.clone(), findings);
    let mut tries = 0;
    'smaller: loop {
        for variant in variants(&best.0) {
            tries += 1;
            if tries > MAX_TRIES {
                return Ok(best);
            }
            let found = servers.compare(&variant)?.findings;
            if !found.is_empty() {
                best = (variant, found);
                continue 'smaller;
            }
        }
        return Ok(best);
    }
}

/// Smaller questions, the smallest first.
fn variants(question: &Question) -> Vec<Question> {
    let mut smaller: Vec<String> = match parse(&question.query, &ParseOptions::ALL) {
        Ok(expr) => smaller_queries(&expr),
        // Both servers were asked something that we cannot parse: there is nothing to take apart.
        Err(_) => Vec::new(),
    };
    smaller.retain(|query| query.len() < question.query.len());
    smaller.sort_by_key(String::len);
    smaller.dedup();
    let mut variants: Vec<Question> =
        smaller.into_iter().map(|query| Question { query, ..question.clone() }).collect();
    if let Some((end_ms, step_ms)) = question.range {
        let at = |start_ms| Question { query: question.query.clone(), start_ms, range: None };
        variants.extend((question.start_ms..=end_ms).step_by(step_ms as usize).take(60).map(at));
    }
    variants
}

fn smaller_queries(expr: &Expr) -> Vec<String> {
    let mut texts = Vec::new();
    every_part(expr, &mut |part| {
        if matches!(part.value_type(), ValueType::Scalar | ValueType::Vector) {
            texts.push(part.to_string());
        }
    });
    for position in 0..count(expr) {
        for replacement in replacements(expr, position) {
            texts.push(replacement.to_string());
        }
    }
    texts
}

fn every_part(expr: &Expr, see: &mut impl FnMut(&Expr)) {
    expr.children().for_each(|child| {
        see(child);
        every_part(child, see);
    });
}

fn count(expr: &Expr) -> usize {
    1 + expr.children().map(count).sum::<usize>()
}

/// The tree with its node at `position` replaced by each smaller thing of the same type.
fn replacements(expr: &Expr, position: usize) -> Vec<Expr> {
    let mut node = expr.clone();
    let mut rest = position;
    let Some(target) = node_at(&mut node, &mut rest) else { return Vec::new() };
    let kind = target.value_type();
    let mut smaller = Vec::new();
    every_part(target, &mut |part| {
        if part.value_type() == kind {
            smaller.push(part.clone());
        }
    });
    smaller.extend(plainer(target));
    let put = |part: Expr| {
        let mut whole = expr.clone();
        let mut rest = position;
        if let Some(target) = node_at(&mut whole, &mut rest) {
            *target = part;
        }
        whole
    };
    smaller.into_iter().map(put).collect()
}

/// The node itself with less written at it.
fn plainer(expr: &Expr) -> Vec<Expr> {
    let mut plainer = Vec::new();
    match expr {
        Expr::Vector(selector) => {
            let mut without = selector.clone();
            (without.at, without.offset) = (None, hearth_promql::syntax::ast::Duration::ZERO);
            plainer.push(Expr::Vector(without));
            for index in 0..selector.matchers.len().saturating_sub(1) {
                let mut fewer = selector.clone();
                fewer.matchers.remove(index);
                plainer.push(Expr::Vector(fewer));
            }
        }
        Expr::Matrix(matrix) => {
            for selector in self::plainer(&Expr::Vector(matrix.selector.clone())) {
                if let Expr::Vector(selector) = selector {
                    plainer.push(Expr::Matrix(hearth_promql::syntax::ast::MatrixSelector {
                        selector,
                        ..matrix.clone()
                    }));
                }
            }
        }
        Expr::Aggregate(aggregate) if !aggregate.grouping.is_empty() => {
            let mut bare = aggregate.clone();
            bare.grouping.clear();
            plainer.push(Expr::Aggregate(bare));
        }
        _ => {}
    }
    plainer
}

/// The node at that place in the order of a walk from the root.
fn node_at<'e>(expr: &'e mut Expr, rest: &mut usize) -> Option<&'e mut Expr> {
    if *rest == 0 {
        return Some(expr);
    }
    *rest -= 1;
    expr.children_mut().find_map(|child| node_at(child, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_shorter_and_parse() {
        let query =
            r#"sum by (job) (rate(a{b="c"}[5m] offset 1m)) + on (job) group_left abs(-d)"#.to_string();
        let found = variants(&Question { query, start_ms: 0, range: None });
        let queries: Vec<&str> = found.iter().map(|question| question.query.as_str()).collect();
        assert!(queries.contains(&"d") && queries.contains(&"rate(a{b=\"c\"}[5m] offset 1m)"), "{queries:?}");
        for query in queries {
            parse(query, &ParseOptions::ALL).unwrap_or_else(|error| panic!("{query}: {error}"));
        }
    }
}
