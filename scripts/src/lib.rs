//! The house checks: scanners that hold the repository to its own rules.
//!
//! Each room finds one kind of breach and returns it as a list of sentences, one a finding, that name the
//! place and the rule. A scanner sees a [`tree::Tree`] and nothing else, so that each is tested on a few
//! lines of bad text; `tests/house.rs` runs them all on the repository itself. A scanner never mends
//! what it finds.
#![forbid(unsafe_code)]

pub mod edges;
pub mod fences;
pub mod lengths;
pub mod names;
pub mod paths;
pub mod places;
pub mod reach;
pub mod tokens;
pub mod tree;
