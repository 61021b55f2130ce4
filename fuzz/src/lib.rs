//! hearth-fuzz
