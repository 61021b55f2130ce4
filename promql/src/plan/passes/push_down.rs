//! Moves work to the shards: functions of single values, and folding aggregations directly above what a
//! shard computes by itself.

use crate::exec::aggregate::FoldOp;
use crate::exec::labels::{NAMES, names_the_metric};
use crate::plan::lower::constant;
use crate::plan::{AggregateNode, Fold, Fragment, Node, Read, RowOp};
use hearth_model::Projection;
use hearth_model::label::METRIC_NAME;

/// Leaves first. In place, with small frames: the tree may be deep.
pub fn push_down(node: &mut Node, fragments: &mut [Fragment], delayed: bool) {
    node.for_each_child(&mut |child| push_down(child, fragments, delayed));
    rewrite(node, fragments, delayed);
}

fn rewrite(node: &mut Node, fragments: &mut [Fragment], delayed: bool) {
    match node {
        Node::Negate(inner) => {
            if let Node::Fragment(i) = **inner
                && takes_row_ops(&fragments[i])
            {
                fragments[i].then.push(RowOp::Negate);
                fragments[i].drops_name = true;
                *node = Node::Fragment(i);
            }
        }
        Node::Math { kind, vector, params, drop_name } => {
            let constants: Option<Vec<_>> = params.iter().map(constant).collect();
            if let (Node::Fragment(i), Some(params)) = (&**vector, constants)
                && takes_row_ops(&fragments[*i])
            {
                let i = *i;
                fragments[i].then.push(RowOp::Math { kind: *kind, params });
                fragments[i].drops_name |= *drop_name;
                *node = Node::Fragment(i);
            }
        }
        Node::Aggregate(aggregate) => {
            if let Some((i, fold)) = fold_of(aggregate, fragments, delayed) {
                fragments[i].fold = Some(fold);
                *node = Node::Fragment(i);
            }
        }
        _ => {}
    }
}

/// Without a pinned name, dropping it may make series equal, which has to be noticed over all shards.
fn takes_row_ops(fragment: &Fragment) -> bool {
    fragment.fold.is_none() && !matches!(fragment.read, Read::Samples { .. }) && fragment.metric.is_some()
}

fn fold_of(aggregate: &AggregateNode, fragments: &[Fragment], delayed: bool) -> Option<(usize, Fold)> {
    let Node::Fragment(i) = aggregate.input else { return None };
    let (op, fragment) = (FoldOp::of(aggregate.op)?, &fragments[i]);
    if fragment.fold.is_some() || matches!(fragment.read, Read::Samples { .. }) {
        return None;
    }
    let by_name = !aggregate.without && aggregate.grouping.iter().any(|name| names_the_metric(name));
    let loses_names = fragment.drops_name && fragment.metric.is_none();
    // Series of an instant selector that become equal are united where they can be.
    let looks_at_each = loses_names && (delayed || !matches!(fragment.read, Read::Range(_)));
    if looks_at_each || (fragment.drops_name && by_name) {
        return None;
    }
    let mut names = aggregate.grouping.clone();
    let projection = if aggregate.without {
        let dropped = if fragment.drops_name { &NAMES[..] } else { &[METRIC_NAME] };
        names.extend(dropped.iter().map(|&name| name.to_owned()));
        Projection::Without(names)
    } else {
        Projection::Only(names)
    };
    Some((i, Fold { op, projection, loses_names, position: aggregate.input_position }))
}
