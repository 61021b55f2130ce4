//! How far the taking over of another server's data is; whoever shows figures reads it.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// See the module's head.
#[derive(Debug, Default)]
pub struct Progress {
    pub blocks_pending: AtomicU64,
    pub blocks_converted: AtomicU64,
    /// Blocks of which some or all could not be read.
    pub blocks_damaged: AtomicU64,
    pub samples_converted: AtomicU64,
    /// The store goes down: no more work is begun.
    pub stop: AtomicBool,
}
