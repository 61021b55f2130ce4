//! The binary `hearth`.
fn main() {}
