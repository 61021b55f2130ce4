//! Samples to bytes and back.
//!
//! `values`, `times` and `histograms` are the sealed chunks of blocks: up to [`CHUNK_SAMPLES_MAX`] samples,
//! each chunk choosing for itself how to be small. `gorilla` is the head's open chunk. The rest are their
//! parts: `layout` has every byte of a sealed chunk, `granule` and `widths` pack words, `coded` packs them
//! closer, `sparse` leaves zeros out, `special` keeps what arithmetic cannot express, `predict` turns
//! residuals into words on the machine's `vectors`, `decimal` turns floats into integers, `search` finds the
//! cheapest way.
//!
//! Eight neighbours share a granule, rather than eight samples from distant parts of the chunk (lanes,
//! which need no prefix sums): counted with the same search on the recorded values in `corpus/`, granules
//! need 3.69 bits a value at 128 samples and 3.39 at 1,024, lanes 3.83 and 3.47; on a Poisson counter 5.34
//! and 5.05 against 6.08 and 5.10. Neighbours move and rest together, and lanes need a start each.

pub mod bits;
mod coded;
mod column;
mod cursor;
mod decimal;
pub mod gorilla;
mod granule;
pub mod histograms;
mod layout;
mod predict;
mod search;
mod sparse;
mod special;
pub mod times;
pub mod values;
mod vectors;
mod widths;

pub use layout::CHUNK_SAMPLES_MAX;
pub use search::Effort;

/// Why bytes are not a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// The bytes end before the samples do.
    Truncated,
    /// A value window that no encoder writes.
    BadWindow,
    /// A kind of chunk that this version does not know.
    UnknownKind(u8),
    /// More of something than a chunk may have.
    BadCount,
    /// A number of more than 64 bits, or beyond its bounds.
    BadNumber,
    /// A width that no granule has, or a code without a width.
    BadWidth,
    /// A position behind the last sample.
    BadPosition,
}

impl std::fmt::Display for CodecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CodecError::Truncated => "chunk ends before its samples do",
            CodecError::BadWindow => "chunk has an impossible value window",
            CodecError::UnknownKind(kind) => return write!(f, "chunk is of the unknown kind {kind:#04x}"),
            CodecError::BadCount => "chunk has an impossible number of its parts",
            CodecError::BadNumber => "chunk has a number out of bounds",
            CodecError::BadWidth => "chunk has an impossible width",
            CodecError::BadPosition => "chunk has a position behind its last sample",
        })
    }
}

impl std::error::Error for CodecError {}
