//! What a shard does now and then, between requests: data past its retention is given back, in memory and
//! in the log; and where memory is short, the oldest data goes first.

use super::ShardState;
use crate::head::Head;
use crate::wal::commit::SeriesSource;
use crate::wal::record;
use hearth_model::key;
use std::rc::Rc;

/// Least time between two rounds.
const UPKEEP_INTERVAL_MS: i64 = 60_000;
/// However short memory is, this much of the newest data stays: refusing writes is better than to lose it.
const KEPT_MS: i64 = 2 * 3600 * 1000;
/// One round of giving back drops this part of the time that is in memory.
const DROPPED_PART: i64 = 8;
/// A checkpoint is written in frames of about this size.
const CHECKPOINT_FRAME_BYTES: usize = 1 << 20;

impl ShardState {
    pub(super) fn upkeep(&self) {
        let now = (self.store.clock)();
        if now - self.last_upkeep_ms.get() < UPKEEP_INTERVAL_MS {
            return;
        }
        self.last_upkeep_ms.set(now);
        let retention = i64::try_from(self.store.retention.as_millis()).unwrap_or(i64::MAX);
        let cutoff = now.saturating_sub(retention);
        let mut head = self.head.borrow_mut();
        if head.figures.min_ms.is_some_and(|min| min < cutoff) {
            head.drop_before(cutoff);
        }
        self.queue.expire_before(cutoff);
    }

    /// Bytes that this shard's head may hold.
    pub(super) fn memory_share_bytes(&self) -> u64 {
        self.store.head_limit_bytes / self.store.router.shards() as u64
    }

    /// Drops the oldest data until the head fits its share; `false` when that does not help.
    pub(super) fn make_room(&self) -> bool {
        let mut head = self.head.borrow_mut();
        while head.size_bytes() as u64 > self.memory_share_bytes() {
            let Some(cutoff) = oldest_part(&head) else { return false };
            tracing::warn!(
                shard = self.number,
                limit_bytes = self.memory_share_bytes(),
                before_ms = cutoff,
                "memory limit reached, the oldest data in memory is dropped before its retention ends"
            );
            head.drop_before(cutoff);
        }
        true
    }
}

/// Up to where the oldest part of the head reaches.
fn oldest_part(head: &Head) -> Option<i64> {
    let (min, max) = (head.figures.min_ms?, head.figures.max_ms?);
    let cutoff = min + (max - min) / DROPPED_PART + 1;
    (cutoff < max - KEPT_MS).then_some(cutoff)
}

impl SeriesSource for Rc<ShardState> {
    fn records(&self, from: u32, out: &mut Vec<u8>) -> Option<u32> {
        let head = self.head.borrow();
        let (start, mut raw) = (out.len(), Vec::new());
        for id in from..head.series_count() {
            if out.len() - start >= CHECKPOINT_FRAME_BYTES {
                return Some(id);
            }
            raw.clear();
            key::push_key(&mut raw, &head.labels_of(id));
            record::push_series(out, head.reference(id), &raw);
        }
        None
    }
}
