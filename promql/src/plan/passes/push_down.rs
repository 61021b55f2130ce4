//! Moves work to the shards: functions of single values, and folding aggregations directly above what a
//! shard computes by itself.

use crate::exec::aggregate::FoldOp;
use crate::plan::lower::constant;
use crate::plan::{AggregateNode, Fold, Fragment, Node, RangeSource, Read, RowOp};
use hearth_model::Projection;
use hearth_model::label::METRIC_NAME;

pub fn push_down(node: Node, fragments: &mut [Fragment]) -> Node {
    match children_first(node, fragments) {
        Node::Negate(inner) => match *inner {
            Node::Fragment(i) if takes_row_ops(&fragments[i]) => {
                fragments[i].then.push(RowOp::Negate);
                fragments[i].drops_name = true;
                Node::Fragment(i)
            }
            other => Node::Negate(Box::new(other)),
        },
        Node::Math { kind, vector, params, drop_name } => {
            let constants: Option<Vec<_>> = params.iter().map(constant).collect();
            match (*vector, constants) {
                (Node::Fragment(i), Some(params)) if takes_row_ops(&fragments[i]) => {
                    fragments[i].then.push(RowOp::Math { kind, params });
                    fragments[i].drops_name |= drop_name;
                    Node::Fragment(i)
                }
                (vector, _) => Node::Math { kind, vector: Box::new(vector), params, drop_name },
            }
        }
        Node::Aggregate(aggregate) => match fold_of(&aggregate, fragments) {
            Some((i, fold)) => {
                fragments[i].fold = Some(fold);
                Node::Fragment(i)
            }
            None => Node::Aggregate(aggregate),
        },
        other => other,
    }
}

/// Without a pinned name, dropping it may make series equal, which has to be noticed over all shards.
fn takes_row_ops(fragment: &Fragment) -> bool {
    fragment.fold.is_none() && !matches!(fragment.read, Read::Samples { .. }) && fragment.metric.is_some()
}

fn fold_of(aggregate: &AggregateNode, fragments: &[Fragment]) -> Option<(usize, Fold)> {
    let Node::Fragment(i) = aggregate.input else { return None };
    let (op, fragment) = (FoldOp::of(aggregate.op)?, &fragments[i]);
    if fragment.fold.is_some() || matches!(fragment.read, Read::Samples { .. }) {
        return None;
    }
    // A dropped name needs a look at whole label sets unless it is pinned; grouping by it even then.
    let by_name = !aggregate.without && aggregate.grouping.iter().any(|name| name == METRIC_NAME);
    if fragment.drops_name && (fragment.metric.is_none() || by_name) {
        return None;
    }
    let mut names = aggregate.grouping.clone();
    let projection = if aggregate.without {
        names.push(METRIC_NAME.to_owned());
        Projection::Without(names)
    } else {
        Projection::Only(names)
    };
    Some((i, Fold { op, projection, position: aggregate.input_position }))
}

fn children_first(node: Node, fragments: &mut [Fragment]) -> Node {
    let mut push = |inner: Box<Node>| Box::new(push_down(*inner, fragments));
    match node {
        Node::Invariant(inner) => Node::Invariant(push(inner)),
        Node::Negate(inner) => Node::Negate(push(inner)),
        Node::Timestamp(inner) => Node::Timestamp(push(inner)),
        Node::ToScalar(inner) => Node::ToScalar(push(inner)),
        Node::ToVector(inner) => Node::ToVector(push(inner)),
        Node::DatePart { kind, vector } => Node::DatePart { kind, vector: vector.map(push) },
        Node::Extreme { max, left, right } => Node::Extreme { max, left: push(left), right: push(right) },
        Node::Label { kind, vector, texts } => Node::Label { kind, vector: push(vector), texts },
        Node::Sort { kind, vector, labels, position } => {
            Node::Sort { kind, vector: push(vector), labels, position }
        }
        Node::Math { kind, vector, params, drop_name } => {
            let vector = push(vector);
            Node::Math { kind, vector, params: all(params, fragments), drop_name }
        }
        Node::Histogram { kind, vector, params, label, positions } => {
            let vector = push(vector);
            Node::Histogram { kind, vector, params: all(params, fragments), label, positions }
        }
        Node::Absent { vector, labels } => Node::Absent { vector: push(vector), labels },
        Node::Samples(source) => Node::Samples(push_source(source, fragments)),
        Node::Range(mut range) => {
            range.params = all(std::mem::take(&mut range.params), fragments);
            range.source = push_source(range.source, fragments);
            Node::Range(range)
        }
        Node::Aggregate(mut aggregate) => {
            aggregate.input = push_down(aggregate.input, fragments);
            aggregate.param = aggregate.param.map(|param| push_down(param, fragments));
            Node::Aggregate(aggregate)
        }
        Node::Binary(mut binary) => {
            binary.left = push_down(binary.left, fragments);
            binary.right = push_down(binary.right, fragments);
            Node::Binary(binary)
        }
        leaf @ (Node::Number(_) | Node::Text(_) | Node::Fragment(_) | Node::Time) => leaf,
    }
}

fn all(nodes: Vec<Node>, fragments: &mut [Fragment]) -> Vec<Node> {
    nodes.into_iter().map(|node| push_down(node, fragments)).collect()
}

fn push_source(source: RangeSource, fragments: &mut [Fragment]) -> RangeSource {
    match source {
        RangeSource::Subquery(mut subquery) => {
            subquery.inner = push_down(subquery.inner, fragments);
            RangeSource::Subquery(subquery)
        }
        samples @ RangeSource::Fragment(_) => samples,
    }
}
