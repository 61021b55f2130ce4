//! The executor: runs a plan's fragments beside the data and its finish over what comes back.
//!
//! 1. [`scan`] runs on every shard: one series at a time, all steps of it at once ([`window`]), folded into
//!    groups ([`aggregate`]) or kept as a [`tile`].
//! 2. [`merge`] brings the partials together, in the order of the shards.
//! 3. [`finish`] evaluates what is left of the tree over whole tiles.
//!
//! Architecture invariant: the only await is in `scan`; everything else is plain computation over
//! memory that was charged to the query before it was taken.

pub mod aggregate;
pub mod binary;
pub mod call;
pub mod finish;
pub mod histogram;
pub mod labels;
pub mod limits;
pub mod merge;
pub mod meter;
pub mod notes;
pub mod number;
pub mod scan;
pub mod subquery;
pub mod sum;
pub mod tile;
pub mod window;
