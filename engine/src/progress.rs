//! How far the taking over of another server's data is; whoever shows figures reads it.

use hearth_model::Missing;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};

/// See the module's head.
#[derive(Debug, Default)]
pub struct Progress {
    pub blocks_pending: AtomicU64,
    pub blocks_converted: AtomicU64,
    /// Blocks of which some or all could not be read.
    pub blocks_damaged: AtomicU64,
    pub samples_converted: AtomicU64,
    /// What readers do not see yet, or never will.
    missing: Mutex<Vec<Missing>>,
    /// The store goes down: no more work is begun.
    pub stop: AtomicBool,
}

impl Progress {
    pub fn missing(&self) -> Vec<Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_missing(&self, missing: Vec<Missing>) {
        *self.missing.lock().unwrap_or_else(PoisonError::into_inner) = missing;
    }
}
