//! What makes a plan cheaper without changing its result. Each pass is a function from plan parts to
//! plan parts.

pub mod fold_constants;
pub mod push_down;
pub mod share;
