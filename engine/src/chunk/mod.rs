//! Chunks as they lie in blocks: one series' samples, compressed. The only place that knows which codec
//! that is; memory and block choose the same words.

pub mod columns;
pub mod float;
pub mod histogram;
pub mod order;

/// Why a chunk in a block is not read: its checksum held, so a broken or later program wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadChunk;

/// Most samples of a chunk in a block: enough for the codec's header to vanish. More is damage.
pub const MAX_CHUNK_SAMPLES: usize = 1024;
