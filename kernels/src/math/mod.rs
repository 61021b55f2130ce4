//! Arithmetic over columns of steps, and over columns of samples.

pub mod resets;
pub mod scan;
pub mod sum;
