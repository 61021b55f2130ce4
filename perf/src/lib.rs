//! Whole-system runs: real processes, real protocols, figures side by side.
#![forbid(unsafe_code)]
