//! Every limit of the query language: name, unit, default and reason.

/// Longest query text in bytes. Generated queries with thousands of alternatives in a regex stay well
/// below; beyond it, parsing itself would be a way to occupy a core.
pub const MAX_QUERY_BYTES: usize = 1 << 20;

/// Deepest tree, in nodes from the root to a leaf. Every later pass and the drop of the tree recurse,
/// so this bounds their stack; hand-written and generated queries stay below 100.
pub const MAX_QUERY_DEPTH: usize = 500;

/// Deepest nesting of brackets, calls, signs and right-hand operands, for each of which the parser itself
/// recurses: a bracketed right-hand operand counts twice. Keeps the parser's stack below a mebibyte even
/// without optimisation.
pub const MAX_QUERY_NESTING: usize = 250;
