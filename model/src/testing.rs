//! An in-memory store for the tests of other crates.
