//! What a shard does now and then, between requests: memory of data past its retention is given back.

use super::ShardState;

/// Least time between two rounds.
const UPKEEP_INTERVAL_MS: i64 = 60_000;

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
    }
}
