//! What an operator may change while the store runs. Written by the handle, read by every shard.

use crate::config::Keeping;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The choices in effect. Each is read by itself, so that none has to wait for another.
#[derive(Debug)]
pub struct Settings {
    retention_ms: AtomicI64,
    retention_bytes: AtomicU64,
    /// Bits of a float.
    retention_percent: AtomicU64,
    out_of_order_ms: AtomicI64,
    max_exemplars: AtomicU64,
}

pub fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Settings {
    pub fn new(keeping: Keeping) -> Settings {
        let settings = Settings {
            retention_ms: AtomicI64::default(),
            retention_bytes: AtomicU64::default(),
            retention_percent: AtomicU64::default(),
            out_of_order_ms: AtomicI64::default(),
            max_exemplars: AtomicU64::default(),
        };
        settings.change(keeping);
        settings
    }

    pub fn change(&self, keeping: Keeping) {
        self.retention_ms.store(millis(keeping.retention), Relaxed);
        self.retention_bytes.store(keeping.retention_bytes, Relaxed);
        self.retention_percent.store(keeping.retention_percent.to_bits(), Relaxed);
        self.out_of_order_ms.store(millis(keeping.out_of_order_window), Relaxed);
        self.max_exemplars.store(keeping.max_exemplars as u64, Relaxed);
    }

    /// Samples older than this, against the clock, are dropped.
    pub fn retention_ms(&self) -> i64 {
        self.retention_ms.load(Relaxed)
    }

    /// Bytes that blocks and logs of all shards may take; 0: as many as there is room for.
    pub fn retention_bytes(&self) -> u64 {
        self.retention_bytes.load(Relaxed)
    }

    /// The same as a part of the disk, in percent; 0: not bounded so.
    pub fn retention_percent(&self) -> f64 {
        f64::from_bits(self.retention_percent.load(Relaxed))
    }

    /// Exemplars of all shards together.
    pub fn max_exemplars(&self) -> usize {
        self.max_exemplars.load(Relaxed) as usize
    }

    /// How much older than the newest sample one may be and still be taken out of order.
    pub fn out_of_order_ms(&self) -> i64 {
        self.out_of_order_ms.load(Relaxed)
    }
}
