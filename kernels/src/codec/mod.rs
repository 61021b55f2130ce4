//! Samples to bytes and back. `bits` moves bits, `gorilla` is the chunk codec.

pub mod bits;
pub mod gorilla;

/// Why bytes are not a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// The bytes end before the samples do.
    Truncated,
    /// A value window that no encoder writes.
    BadWindow,
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CodecError::Truncated => "chunk ends before its samples do",
            CodecError::BadWindow => "chunk has an impossible value window",
        })
    }
}

impl std::error::Error for CodecError {}
