//! What an expression reads twice is read once: equal fragments become one.

use crate::plan::{Fragment, Node, RangeSource};

/// With how often each fragment's result is used.
pub fn share(mut node: Node, fragments: Vec<Fragment>) -> (Node, Vec<Fragment>, Vec<usize>) {
    let mut kept: Vec<Fragment> = Vec::with_capacity(fragments.len());
    let mut new_number = Vec::with_capacity(fragments.len());
    for fragment in fragments {
        let known = kept.iter().position(|k| k.is_twin_of(&fragment));
        new_number.push(known.unwrap_or(kept.len()));
        match known {
            Some(number) => kept[number].twins.push(fragment.positions()),
            None => kept.push(fragment),
        }
    }
    let mut uses = vec![0; kept.len()];
    visit(&mut node, &mut |fragment| {
        *fragment = new_number[*fragment];
        uses[*fragment] += 1;
    });
    (node, kept, uses)
}

/// Shows every fragment number within the node, once for each use.
fn visit(node: &mut Node, see: &mut dyn FnMut(&mut usize)) {
    match node {
        Node::Fragment(fragment) => see(fragment),
        Node::Samples(RangeSource::Fragment(fragment)) => see(fragment),
        Node::Info(info) => see(&mut info.fragment),
        Node::Range(range) => {
            if let RangeSource::Fragment(fragment) = &mut range.source {
                see(fragment);
            }
        }
        _ => {}
    }
    node.for_each_child(&mut |child| visit(child, see));
}
