//! The hot loops: codecs and column arithmetic over slices. They know of bytes and numbers, not of
//! series, files or queries.
//!
//! Invariant: a scalar function is the specification of every vectorised one; each variant equals it bit
//! for bit, and a property test says so.

pub mod arch;
pub mod codec;
pub mod math;
