//! Arithmetic over columns of steps.

pub mod sum;
