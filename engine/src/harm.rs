//! Blocks that did not give all that they hold: of which times, for whoever tells readers. Shards write it down, any
//! thread asks.

use hearth_model::TimeRange;
use hearth_model::missing::{Missing, Why};
use std::sync::{Mutex, PoisonError};

/// See the module's head.
#[derive(Debug)]
pub struct Harm {
    by_shard: Mutex<Vec<Vec<TimeRange>>>,
}

impl Harm {
    pub fn new(shards: usize) -> Harm {
        Harm { by_shard: Mutex::new(vec![Vec::new(); shards]) }
    }

    /// Says which blocks of a shard those are now, by their times.
    pub fn set(&self, shard: usize, ranges: Vec<TimeRange>) {
        self.by_shard.lock().unwrap_or_else(PoisonError::into_inner)[shard] = ranges;
    }

    pub fn missing(&self) -> Vec<Missing> {
        let all = self.by_shard.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().flatten().map(|range| Missing { range: *range, why: Why::Damaged }).collect()
    }
}
