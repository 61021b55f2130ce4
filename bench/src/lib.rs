//! Data that several micro-benchmarks share; the benchmarks themselves are in `benches/`, one file per
//! room. It measures nothing by itself.
#![forbid(unsafe_code)]
