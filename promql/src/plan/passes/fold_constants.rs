//! Arithmetic over numbers is done once, before anything is read.

use crate::exec::binary::scalar;
use crate::plan::{BinaryNode, Node};

pub fn negate(inner: Node) -> Node {
    match inner {
        Node::Number(value) => Node::Number(-value),
        other => Node::Negate(Box::new(other)),
    }
}

pub fn binary(node: BinaryNode) -> Node {
    match (&node.left, &node.right) {
        (Node::Number(left), Node::Number(right)) => Node::Number(scalar::of_scalars(node.op, *left, *right)),
        _ => Node::Binary(Box::new(node)),
    }
}
