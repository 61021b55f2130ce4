//! What a shard does now and then, between requests: data past its retention is given back, in memory and
//! in the log; and where memory is short, the oldest data goes into a block early.

use super::ShardState;
use std::time::Instant;

/// Least time between two rounds.
const UPKEEP_INTERVAL_MS: i64 = 60_000;
/// From this part of its share of memory on a shard writes blocks early.
const PRESSED_PART: u64 = 8;

impl ShardState {
    pub(super) fn upkeep(&self) {
        if self.checkpoint_is_due() {
            self.keeper_work.wake();
        }
        let now = (self.store.clock)();
        if now - self.last_upkeep_ms.get() < UPKEEP_INTERVAL_MS {
            return;
        }
        self.last_upkeep_ms.set(now);
        self.recent.borrow_mut().prune(now, &self.store.census);
        let cutoff = self.retention_cutoff_ms(now);
        let mut head = self.head.borrow_mut();
        if head.figures.min_ms.is_some_and(|min| min < cutoff) {
            head.drop_before(cutoff);
            self.store.watermarks.dropped(self.number, cutoff);
        }
        self.queue.expire_before(cutoff);
    }

    /// Writes down of which times blocks did not give all that they hold: after each job, which may have met damage.
    pub fn note_harm(&self) {
        let damaged = self.blocks.damaged();
        if damaged.is_empty() && self.harmed.get() == 0 {
            return;
        }
        self.harmed.set(damaged.len());
        self.store.harm.set(self.number, damaged);
    }

    /// What is older than this has had its time, where the clock says `now_ms`.
    pub(super) fn retention_cutoff_ms(&self, now_ms: i64) -> i64 {
        let now_ms = self.leaps.believable_ms(now_ms, Instant::now());
        now_ms.saturating_sub(self.store.settings.retention_ms())
    }

    pub(super) fn checkpoint_is_due(&self) -> bool {
        self.queue.checkpoint_is_due(self.store.checkpoint_bytes)
    }

    /// Bytes that this shard's head may hold.
    pub(super) fn memory_share_bytes(&self) -> u64 {
        self.store.head_limit_bytes / self.store.router.shards() as u64
    }

    /// Whether the head fits its share of memory. Where it soon will not, the keeper is told.
    pub(super) fn fits_memory(&self, held_bytes: u64) -> bool {
        let share = self.memory_share_bytes();
        if held_bytes > share - share / PRESSED_PART && !self.pressed.replace(true) {
            tracing::warn!(
                shard = self.number,
                held_bytes,
                limit_bytes = share,
                "memory is short, the oldest data in memory goes into a block early"
            );
            self.keeper_work.wake();
        }
        held_bytes <= share
    }
}
