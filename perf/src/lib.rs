//! hearth-perf
