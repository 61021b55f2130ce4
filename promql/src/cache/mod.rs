//! Results of range queries, kept for the next time: a dashboard that asks again for the same hour and a
//! minute more gets the hour from here and the minute computed.
//!
//! * [`key`] says whether an expression's value at a step depends on nothing but the samples around that
//!   step (or at fixed times), how far it sees, and under which name it is kept.
//! * [`block`] is a result over consecutive steps, cut and joined.
//! * This file keeps blocks as *extents*, in order of use, within a memory account.
//!
//! What comes from here is what a fresh run would give, to the last bit: an extent carries the mark taken
//! before its samples were read, and whatever was written, deleted or dropped since then cuts off the steps
//! that could see it.

pub mod block;
pub mod key;

use crate::plan::grid::Steps;
use block::Block;
use hearth_model::QueryContext;
use hearth_model::context::{Budget, Reservation};
use hearth_model::watermark::{Changes, Mark, Watermarks};
use key::{Key, Reach};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Extents that one expression may have, far from each other: who looks at today and at last year, in turn.
const MAX_EXTENTS: usize = 4;
/// Steps of one extent, twice the points of one answer: a window that moves with time must not make its
/// extent grow for ever.
const MAX_EXTENT_STEPS: usize = 22_000;
/// One extent may take this part of the whole; a result larger than that would drive everything else out.
const LARGEST_PART: usize = 4;
/// Expressions known to have remarks; beyond it all are forgotten, and learnt again.
const MAX_NOTED: usize = 1_000;
/// Steps of one run of an expression with remarks: what a moving window cuts off at its start, at most,
/// and computes anew.
const NOTED_RUN_STEPS: i64 = 64;
/// What an extent takes beside its block and its key.
const EXTENT_BYTES: usize = 256;
/// Queries go before: from this part of their common account on (out of [`FULL_PARTS`]), what is kept for
/// later is given back.
const TIGHT_PARTS: usize = 3;
const FULL_PARTS: usize = 4;

/// A kept result.
#[derive(Debug)]
pub struct Extent {
    pub block: Block,
    mark: Mark,
    _held: Reservation,
}

#[derive(Debug)]
struct Stored {
    extent: Arc<Extent>,
    last_use: u64,
}

#[derive(Debug, Default)]
struct Shelf {
    extents: HashMap<Arc<Key>, Vec<Stored>, ahash::RandomState>,
    /// Which key's extent was used when; the oldest goes first.
    uses: BTreeMap<u64, Arc<Key>>,
    last_use: u64,
    /// Expressions whose runs had remarks.
    noted: HashSet<Key, ahash::RandomState>,
}

/// What the cache did and holds, for `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Answered without reading a sample.
    pub hits: u64,
    /// Some of the steps computed, the rest from here.
    pub partial: u64,
    pub misses: u64,
    /// Queries whose result cannot be kept.
    pub uncacheable: u64,
    pub evictions: u64,
    pub extents: u64,
    pub bytes: u64,
    pub limit_bytes: u64,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    partial: AtomicU64,
    misses: AtomicU64,
    uncacheable: AtomicU64,
    evictions: AtomicU64,
}

/// See the module's head.
#[derive(Debug)]
pub struct Cache {
    shelf: Mutex<Shelf>,
    memory: Arc<Budget>,
    /// Of all queries together, where the cache's memory is part of theirs.
    pool: Option<Arc<Budget>>,
    counts: Counts,
}

/// A kept result, as far as it serves.
#[derive(Debug)]
pub struct Kept {
    pub extent: Arc<Extent>,
    /// Steps of it that still hold.
    pub valid: Range<usize>,
    /// Those among them that answer the request.
    pub used: Range<usize>,
}

/// What of a request is there already.
#[derive(Debug)]
pub struct Found {
    pub kept: Option<Kept>,
    /// What has to be computed before it and behind it; both may be empty.
    pub before: Steps,
    pub behind: Steps,
    /// Earlier runs had remarks: short runs are worth their cost, since they are used whole.
    pub noted: bool,
    /// Taken before anything is read.
    pub mark: Mark,
}

impl Cache {
    /// A cache of at most `limit_bytes`, which count for `pool` too.
    pub fn new(limit_bytes: usize, pool: Option<Arc<Budget>>) -> Cache {
        let memory = Budget::new("query cache", limit_bytes, pool.clone());
        Cache { shelf: Mutex::default(), memory, pool, counts: Counts::default() }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Every change below is complete at each step, so a panic elsewhere leaves nothing half done.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn figures(&self) -> CacheFigures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheFigures {
            hits: count(&self.counts.hits),
            partial: count(&self.counts.partial),
            misses: count(&self.counts.misses),
            uncacheable: count(&self.counts.uncacheable),
            evictions: count(&self.counts.evictions),
            extents: self.shelf().uses.len() as u64,
            bytes: self.memory.used_bytes() as u64,
            limit_bytes: self.memory.limit_bytes() as u64,
        }
    }

    pub fn count_uncacheable(&self) {
        self.counts.uncacheable.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks up what is there for `steps`. `text` is the expression as it was written: remarks name
    /// positions in it, so that a result with remarks serves only the very same text.
    pub fn find(
        &self,
        key: &Key,
        reach: &Reach,
        text: &str,
        steps: Steps,
        watermarks: &Watermarks,
        count: bool,
    ) -> Found {
        let mark = watermarks.mark();
        let mut best: Option<(Kept, u64)> = None;
        let mut shelf = self.shelf();
        for stored in shelf.extents.get(key).into_iter().flatten() {
            let block = &stored.extent.block;
            if !block.serves(text) {
                continue;
            }
            let valid = block.whole(reach.valid(&block.steps, watermarks.since(stored.extent.mark)));
            let used = block.whole(common(&block.steps, &valid, &steps));
            if used.len() > best.as_ref().map_or(0, |(kept, _)| kept.used.len()) {
                best = Some((Kept { extent: stored.extent.clone(), valid, used }, stored.last_use));
            }
        }
        let noted = shelf.noted.contains(key);
        let found = match best {
            None => Found { kept: None, before: steps, behind: Steps { count: 0, ..steps }, noted, mark },
            Some((kept, last_use)) => {
                shelf.touch(key, last_use);
                let (before, behind) = gaps(&kept.extent.block.steps, &kept.used, &steps);
                Found { kept: Some(kept), before, behind, noted, mark }
            }
        };
        drop(shelf);
        if count {
            let counter = match (&found.kept, found.before.count + found.behind.count) {
                (None, _) => &self.counts.misses,
                (Some(_), 0) => &self.counts.hits,
                (Some(_), _) => &self.counts.partial,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Keeps a result instead of what it overlaps or continues. A result that is too large is not kept:
    /// that is no failure of the query.
    pub fn keep(&self, key: Key, block: Block, mark: Mark) {
        let bytes = block.size_bytes() + key.size_bytes() + EXTENT_BYTES;
        self.remark(&key, &block);
        let mut shelf = self.shelf();
        if bytes > self.memory.limit_bytes() / LARGEST_PART || block.steps.count == 0 {
            return;
        }
        shelf.remove_near(&key, &block.steps);
        let held = loop {
            match QueryContext::new(self.memory.clone()).reserve(bytes) {
                Ok(held) => break held,
                Err(_) if shelf.evict() => drop(self.counts.evictions.fetch_add(1, Ordering::Relaxed)),
                // Queries hold the rest of the common account.
                Err(_) => return,
            }
        };
        shelf.insert(Arc::new(key), Arc::new(Extent { block, mark, _held: held }));
    }

    /// Remembers that the expression's runs have remarks, where this one had.
    pub fn remark(&self, key: &Key, block: &Block) {
        if block.has_notes() {
            self.shelf().note(key);
        }
    }

    /// Makes room while the queries' common account is nearly full.
    pub fn give_way(&self) {
        let Some(pool) = &self.pool else { return };
        let tight = pool.limit_bytes() / FULL_PARTS * TIGHT_PARTS;
        while pool.used_bytes() > tight {
            if !self.shelf().evict() {
                return;
            }
            self.counts.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.shelf() = Shelf::default();
    }
}

impl Shelf {
    fn touch(&mut self, key: &Key, last_use: u64) {
        let Some(stored) = self.extents.get_mut(key) else { return };
        let Some(stored) = stored.iter_mut().find(|s| s.last_use == last_use) else { return };
        self.last_use += 1;
        stored.last_use = self.last_use;
        if let Some(key) = self.uses.remove(&last_use) {
            self.uses.insert(self.last_use, key);
        }
    }

    fn insert(&mut self, key: Arc<Key>, extent: Arc<Extent>) {
        self.last_use += 1;
        self.uses.insert(self.last_use, key.clone());
        let of_key = self.extents.entry(key).or_default();
        of_key.push(Stored { extent, last_use: self.last_use });
        if of_key.len() > MAX_EXTENTS {
            // Pushed in the order of use but for what was touched since: near enough for who jumps about.
            let oldest = of_key.remove(0);
            self.uses.remove(&oldest.last_use);
        }
    }

    fn note(&mut self, key: &Key) {
        if self.noted.len() >= MAX_NOTED {
            self.noted.clear();
        }
        self.noted.insert(key.clone());
    }

    /// Removes the extents that overlap the steps or touch them.
    fn remove_near(&mut self, key: &Key, steps: &Steps) {
        let Some(of_key) = self.extents.get_mut(key) else { return };
        let uses = &mut self.uses;
        of_key.retain(|stored| {
            let theirs = &stored.extent.block.steps;
            let apart =
                theirs.start_ms > steps.time_ms(steps.count) || steps.start_ms > theirs.time_ms(theirs.count);
            if !apart {
                uses.remove(&stored.last_use);
            }
            apart
        });
        if of_key.is_empty() {
            self.extents.remove(key);
        }
    }

    /// Forgets what was not used for the longest time; `false` where there is nothing.
    fn evict(&mut self) -> bool {
        let Some((last_use, key)) = self.uses.pop_first() else { return false };
        if let Some(of_key) = self.extents.get_mut(&key) {
            of_key.retain(|stored| stored.last_use != last_use);
            if of_key.is_empty() {
                self.extents.remove(&key);
            }
        }
        true
    }
}

/// The number of a time in the steps, counted from the first; the time lies on their grid.
fn number(steps: &Steps, time_ms: i64) -> i64 {
    (time_ms - steps.start_ms) / steps.step_ms
}

/// Which of the valid steps were asked for.
fn common(kept: &Steps, valid: &Range<usize>, asked: &Steps) -> Range<usize> {
    let first = number(kept, asked.start_ms);
    let start = first.max(valid.start as i64);
    let end = (first + asked.count as i64).min(valid.end as i64).max(start);
    start as usize..end as usize
}

/// Steps in runs that begin at round places of the grid, so that the runs of a later request are the same.
pub fn runs(steps: Steps, noted: bool) -> impl Iterator<Item = Steps> {
    let mut rest = steps;
    std::iter::from_fn(move || {
        if rest.count == 0 {
            return None;
        }
        let place = rest.start_ms.div_euclid(rest.step_ms).rem_euclid(NOTED_RUN_STEPS);
        let count = if noted { ((NOTED_RUN_STEPS - place) as usize).min(rest.count) } else { rest.count };
        let run = Steps { count, ..rest };
        rest = Steps { start_ms: rest.time_ms(count), count: rest.count - count, ..rest };
        Some(run)
    })
}

/// The asked steps before the used ones, and those behind them.
fn gaps(kept: &Steps, used: &Range<usize>, asked: &Steps) -> (Steps, Steps) {
    let first = number(kept, asked.start_ms);
    let before = usize::try_from(used.start as i64 - first).unwrap_or(0);
    let behind = usize::try_from(first + asked.count as i64 - used.end as i64).unwrap_or(0);
    let start_ms = asked.time_ms(asked.count - behind);
    (Steps { count: before, ..*asked }, Steps { start_ms, count: behind, ..*asked })
}

impl Reach {
    /// The steps whose samples are none of those that changed.
    pub fn valid(&self, steps: &Steps, changes: Changes) -> Range<usize> {
        if let Some((min_ms, max_ms)) = self.fixed
            && (changes.from_ms <= max_ms || changes.dropped_ms >= min_ms)
        {
            return 0..0;
        }
        let Some((min_ms, max_ms)) = self.moving else { return 0..steps.count };
        let untouched = |step: &usize| {
            let time_ms = steps.time_ms(*step);
            time_ms.saturating_add(max_ms) < changes.from_ms
        };
        let undropped = |step: &usize| steps.time_ms(*step).saturating_add(min_ms) > changes.dropped_ms;
        let first = (0..steps.count).find(undropped).unwrap_or(steps.count);
        let end = (first..steps.count).rfind(untouched).map_or(first, |last| last + 1);
        first..end
    }

    /// The steps that may be kept when nothing newer than `until_ms` may be.
    pub fn settled(&self, steps: &Steps, until_ms: i64) -> Range<usize> {
        let ahead_ms = self.moving.map_or(0, |(_, max_ms)| max_ms.max(0));
        let end = (0..steps.count).rfind(|&s| steps.time_ms(s).saturating_add(ahead_ms) <= until_ms);
        0..end.map_or(0, |last| last + 1)
    }
}

/// The part of a joined result that is worth keeping: around what was asked for, at most so many steps.
pub fn worth_keeping(joined: &Steps, settled: Range<usize>, asked: &Steps) -> Range<usize> {
    if settled.len() <= MAX_EXTENT_STEPS {
        return settled;
    }
    let first = usize::try_from(number(joined, asked.start_ms)).unwrap_or(0);
    let start = (first + asked.count).saturating_sub(MAX_EXTENT_STEPS).max(settled.start).min(first);
    start..(start + MAX_EXTENT_STEPS).min(settled.end).max(start)
}
