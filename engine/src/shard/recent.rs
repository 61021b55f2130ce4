//! The series that came into being within the last hour: who makes cardinality grow shows in them.

use crate::census::Census;
use crate::config::{RECENT_MS, RECENT_SERIES};
use std::collections::VecDeque;

/// A series, by its number in the head and a part of its hash: the number may be another's by now.
#[derive(Debug, Clone, Copy)]
pub struct New {
    made_ms: i64,
    pub id: u32,
    pub hash: u64,
}

/// New series in the order in which they came.
#[derive(Debug, Default)]
pub struct Recent {
    all: VecDeque<New>,
}

impl Recent {
    pub fn push(&mut self, now_ms: i64, id: u32, hash: u128, census: &Census) {
        if self.all.len() >= RECENT_SERIES {
            self.all.pop_front();
            census.grew_old(1);
        }
        self.all.push_back(New { made_ms: now_ms, id, hash: hash as u64 });
    }

    /// Forgets those that are older than an hour.
    pub fn prune(&mut self, now_ms: i64, census: &Census) {
        let from_ms = now_ms.saturating_sub(RECENT_MS);
        let mut old = 0;
        while self.all.front().is_some_and(|new| new.made_ms < from_ms) {
            self.all.pop_front();
            old += 1;
        }
        if old > 0 {
            census.grew_old(old);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = New> {
        self.all.iter().copied()
    }
}
