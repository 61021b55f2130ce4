//! What a store tells about times that may have been read before: how far back its data changed. Whoever
//! keeps results decides by it which of them still hold. It knows nothing of queries.
//!
//! The order is what makes it exact. A shard *notes* a write after it can be read and before it is
//! acknowledged. A reader takes a *mark* before it reads, and later asks what changed *since* that mark:
//! every write that the reading did not see is in the answer, and every write acknowledged before the
//! question too. Samples in the order of time only ever move the near end, so that what lies further back
//! stays valid without anybody being asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most notes that a shard keeps apart; beyond it the two oldest become one, which only makes answers more
/// cautious for marks that old.
const MAX_NOTES: usize = 1_024;

/// A moment in the life of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

/// What changed since a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// Samples at this time and later may have come or gone; `i64::MAX` where none did.
    pub from_ms: i64,
    /// Samples up to this time may have gone, because they grew too old; `i64::MIN` where none did.
    pub dropped_ms: i64,
}

impl Changes {
    pub const NONE: Changes = Changes { from_ms: i64::MAX, dropped_ms: i64::MIN };
}

/// One shard's notes. Writers of different shards must not share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct ShardNotes(Mutex<Notes>);

#[derive(Debug, Default)]
struct Notes {
    /// Marks taken before the note, and the oldest time changed then or later: both ascend, so that the
    /// first entry after a mark answers for all that follow.
    changed: VecDeque<(u64, i64)>,
    dropped: Option<(u64, i64)>,
}

impl ShardNotes {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Every change below is complete at each step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The notes of all shards of a store.
#[derive(Debug)]
pub struct Watermarks {
    marks: AtomicU64,
    shards: Box<[ShardNotes]>,
}

impl Watermarks {
    pub fn new(shards: usize) -> Watermarks {
        Watermarks { marks: AtomicU64::new(0), shards: (0..shards).map(|_| ShardNotes::default()).collect() }
    }

    /// Samples of this shard at `from_ms` and later were written or deleted, and reads see it.
    pub fn changed(&self, shard: usize, from_ms: i64) {
        let mut notes = self.shards[shard].notes();
        let marks = self.marks.load(Ordering::SeqCst);
        while notes.changed.back().is_some_and(|&(_, from)| from >= from_ms) {
            notes.changed.pop_back();
        }
        if notes.changed.back().is_some_and(|&(before, _)| before == marks) {
            return;
        }
        if notes.changed.len() == MAX_NOTES
            && let Some((_, oldest_ms)) = notes.changed.pop_front()
            && let Some(next) = notes.changed.front_mut()
        {
            next.1 = oldest_ms;
        }
        notes.changed.push_back((marks, from_ms));
    }

    /// Samples of this shard up to `until_ms` were dropped for their age, and reads see none of them.
    pub fn dropped(&self, shard: usize, until_ms: i64) {
        let mut notes = self.shards[shard].notes();
        let before_ms = notes.dropped.map_or(i64::MIN, |(_, until_ms)| until_ms);
        notes.dropped = Some((self.marks.load(Ordering::SeqCst), before_ms.max(until_ms)));
    }

    /// To be taken before reading.
    pub fn mark(&self) -> Mark {
        Mark(self.marks.fetch_add(1, Ordering::SeqCst))
    }

    /// What the readings that followed the mark may not have seen.
    pub fn since(&self, mark: Mark) -> Changes {
        let mut all = Changes::NONE;
        for shard in &self.shards {
            let notes = shard.notes();
            let first = notes.changed.partition_point(|&(marks, _)| marks <= mark.0);
            if let Some(&(_, from_ms)) = notes.changed.get(first) {
                all.from_ms = all.from_ms.min(from_ms);
            }
            if let Some((marks, until_ms)) = notes.dropped
                && marks > mark.0
            {
                all.dropped_ms = all.dropped_ms.max(until_ms);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(watermarks: &Watermarks, mark: Mark, from_ms: i64, dropped_ms: i64) {
        assert_eq!(watermarks.since(mark), Changes { from_ms, dropped_ms });
    }

    #[test]
    fn a_mark_sees_the_oldest_change_after_it() {
        let store = Watermarks::new(2);
        store.changed(0, 5);
        let first = store.mark();
        check(&store, first, i64::MAX, i64::MIN);
        store.changed(0, 100);
        store.changed(1, 90);
        check(&store, first, 90, i64::MIN);
        let second = store.mark();
        store.changed(0, 110);
        check(&store, second, 110, i64::MIN);
        store.changed(1, 20);
        check(&store, second, 20, i64::MIN);
        check(&store, first, 20, i64::MIN);
        let third = store.mark();
        store.changed(0, 120);
        store.dropped(1, 7);
        check(&store, third, 120, 7);
        check(&store, store.mark(), i64::MAX, i64::MIN);
    }

    #[test]
    fn many_marks_cost_exactness_of_the_oldest_only() {
        let store = Watermarks::new(1);
        let marks: Vec<(Mark, i64)> = (0..5_000)
            .map(|time| {
                let mark = store.mark();
                store.changed(0, time);
                (mark, time)
            })
            .collect();
        for &(mark, time) in marks.iter().rev().take(MAX_NOTES - 1) {
            check(&store, mark, time, i64::MIN);
        }
        check(&store, marks[0].0, 0, i64::MIN);
        assert_eq!(store.shards[0].notes().changed.len(), MAX_NOTES);
    }

    /// Against a plain list of everything that happened.
    #[test]
    fn agrees_with_a_list_of_all_changes() {
        let mut random = fastrand::Rng::with_seed(7);
        let store = Watermarks::new(3);
        let (mut all, mut marks): (Vec<i64>, Vec<(Mark, usize)>) = (Vec::new(), Vec::new());
        for _ in 0..2_000 {
            match random.u32(0..4) {
                0 => marks.push((store.mark(), all.len())),
                _ => {
                    let time = random.i64(0..1_000);
                    store.changed(random.usize(0..3), time);
                    all.push(time);
                }
            }
            if let Some(&(mark, at)) = marks.get(random.usize(0..marks.len() + 1)) {
                let oldest = all[at..].iter().copied().min().unwrap_or(i64::MAX);
                check(&store, mark, oldest, i64::MIN);
            }
        }
    }
}
