//! A roster's series as a store sees them: which shard has which, under which hash, and in which row that shard found
//! each the last time.
//!
//! Invariants: hashes follow from the keys and the data directory alone; a row is a hint, which a shard checks
//! against the hash before it believes it. Only the shard itself writes its hints.

use crate::router::Router;
use hearth_model::Roster;
use std::sync::atomic::{AtomicU32, Ordering};

/// In place of a row that is not known.
const UNKNOWN: u32 = u32::MAX;

/// The series of one shard, in the roster's order.
#[derive(Debug, Default)]
pub struct Members {
    hashes: Vec<u128>,
    /// Their numbers in the roster.
    numbers: Vec<u32>,
    rows: Vec<AtomicU32>,
}

/// All series of a roster.
#[derive(Debug)]
pub struct Placed {
    router: Router,
    shards: Vec<Members>,
}

impl Placed {
    /// What belongs to the roster under this router; `None` where it is kept for another one.
    pub fn of<'a>(roster: &'a Roster, router: &Router) -> Option<&'a Placed> {
        roster.place(|| Placed::new(roster, router)).filter(|placed| placed.router == *router)
    }

    fn new(roster: &Roster, router: &Router) -> Placed {
        let mut shards: Vec<Members> = (0..router.shards()).map(|_| Members::default()).collect();
        for (number, key) in roster.keys().enumerate() {
            let hash = router.hash(key);
            let members = &mut shards[router.shard(hash)];
            members.hashes.push(hash);
            members.numbers.push(number as u32);
        }
        for members in &mut shards {
            members.hashes.shrink_to_fit();
            members.numbers.shrink_to_fit();
            members.rows = members.hashes.iter().map(|_| AtomicU32::new(UNKNOWN)).collect();
        }
        Placed { router: router.clone(), shards }
    }

    pub fn shard(&self, number: usize) -> &Members {
        &self.shards[number]
    }
}

impl Members {
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Hash, number in the roster, and row where that is known.
    #[inline]
    pub fn get(&self, at: usize) -> (u128, u32, Option<u32>) {
        (self.hashes[at], self.numbers[at], self.row(at))
    }

    #[inline]
    pub fn row(&self, at: usize) -> Option<u32> {
        let row = self.rows.get(at)?.load(Ordering::Relaxed);
        (row != UNKNOWN).then_some(row)
    }

    pub fn found(&self, at: usize, row: u32) {
        self.rows[at].store(row, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_with_its_shard_and_a_foreign_store_gets_none() {
        let keys: Vec<String> = (0..100).map(|i| format!("key {i}")).collect();
        let roster = Roster::new(keys.iter().map(|key| key.as_bytes()));
        let router = Router::new(1, 4);
        let placed = Placed::of(&roster, &router).expect("the first to ask");
        let mut seen = Vec::new();
        for shard in 0..4 {
            let members = placed.shard(shard);
            for at in 0..members.len() {
                let (hash, number, row) = members.get(at);
                assert_eq!((hash, row), (router.hash(roster.key(number as usize)), None));
                assert_eq!(router.shard(hash), shard);
                members.found(at, number + 1);
                assert_eq!(members.row(at), Some(number + 1));
                seen.push(number);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert!(Placed::of(&roster, &router.clone()).is_some());
        assert!(Placed::of(&roster, &Router::new(2, 4)).is_none());
    }
}
