//! What an expression reads twice is read once: equal fragments become one.

use crate::plan::{Fragment, Node, RangeSource};

pub fn share(mut node: Node, fragments: Vec<Fragment>) -> (Node, Vec<Fragment>) {
    let mut kept: Vec<Fragment> = Vec::with_capacity(fragments.len());
    let mut new_number = Vec::with_capacity(fragments.len());
    for fragment in fragments {
        let known = kept.iter().position(|k| *k == fragment);
        new_number.push(known.unwrap_or(kept.len()));
        if known.is_none() {
            kept.push(fragment);
        }
    }
    visit(&mut node, &mut |fragment| *fragment = new_number[*fragment]);
    (node, kept)
}

/// Shows every fragment number within the node, once for each use.
pub fn visit(node: &mut Node, see: &mut dyn FnMut(&mut usize)) {
    match node {
        Node::Fragment(fragment) => see(fragment),
        Node::Number(_) | Node::Text(_) | Node::Time => {}
        Node::Invariant(inner)
        | Node::Negate(inner)
        | Node::Timestamp(inner)
        | Node::ToScalar(inner)
        | Node::ToVector(inner)
        | Node::Absent { vector: inner, .. }
        | Node::Label { vector: inner, .. }
        | Node::Sort { vector: inner, .. } => visit(inner, see),
        Node::DatePart { vector, .. } => {
            if let Some(inner) = vector {
                visit(inner, see);
            }
        }
        Node::Extreme { left, right, .. } => {
            visit(left, see);
            visit(right, see);
        }
        Node::Math { vector, params, .. } | Node::Histogram { vector, params, .. } => {
            visit(vector, see);
            params.iter_mut().for_each(|param| visit(param, see));
        }
        Node::Samples(source) => visit_source(source, see),
        Node::Range(range) => {
            range.params.iter_mut().for_each(|param| visit(param, see));
            visit_source(&mut range.source, see);
        }
        Node::Aggregate(aggregate) => {
            visit(&mut aggregate.input, see);
            if let Some(param) = &mut aggregate.param {
                visit(param, see);
            }
        }
        Node::Binary(binary) => {
            visit(&mut binary.left, see);
            visit(&mut binary.right, see);
        }
    }
}

fn visit_source(source: &mut RangeSource, see: &mut dyn FnMut(&mut usize)) {
    match source {
        RangeSource::Fragment(fragment) => see(fragment),
        RangeSource::Subquery(subquery) => visit(&mut subquery.inner, see),
    }
}
