//! hearth-promql
