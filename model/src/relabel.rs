//! Relabelling: a pure function from labels and rules to labels, or to "dropped".
