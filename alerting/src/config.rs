//! Every limit of rules: name, unit, default and reason.

/// Bytes of one rule file: generated files of tens of thousands of rules stay below.
pub const MAX_RULE_FILE_BYTES: u64 = 64 << 20;
