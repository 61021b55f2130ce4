//! Functions over instant vectors: value by value, by date, over labels, over histograms.

pub mod date;
pub mod info;
pub mod label;
pub mod math;
pub mod order;
pub mod quantile;
