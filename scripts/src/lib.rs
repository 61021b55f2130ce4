//! hearth-scripts
