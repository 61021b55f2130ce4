//! Making larger blocks of smaller ones: which, and how. Who does it, and when, is the shard's affair.

pub mod choose;
pub mod merge;
