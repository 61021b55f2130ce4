//! What one target exposed last time, so that a series seen before costs no parsing, no relabelling and no
//! allocation: its raw bytes in the exposition lead to the ready key.
//!
//! Invariants:
//! 1. An *entry* is one spelling of a series in the exposition; a *series* is one key after relabelling.
//!    Several entries may lead to one series; an entry without a series was dropped by relabelling.
//! 2. `current` and `previous` hold each series once that counts for staleness in this and in the last
//!    finished scrape.
//! 3. Entries follow each other mostly in the order of the last scrape: each remembers its successor, and
//!    hashing happens only where that guess fails.

use ahash::RandomState;
use hashbrown::HashTable;
use std::collections::HashSet;

const NONE: u32 = u32::MAX;

/// Of a page's series so many come as they came the last time, for each that does not, in a page that is near.
const CALM_PART: usize = 4;

/// What is known of an entry when it is moved.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub raw: &'a [u8],
    /// None where it was dropped.
    pub key: Option<&'a [u8]>,
    /// Its series counts for staleness.
    pub ends: bool,
}

/// The same, kept.
pub struct Former {
    raw: Box<[u8]>,
    key: Option<Box<[u8]>>,
    ends: bool,
}

impl Former {
    pub fn known(&self) -> Known<'_> {
        Known { raw: &self.raw, key: self.key.as_deref(), ends: self.ends }
    }
}

struct Entry {
    raw: Box<[u8]>,
    /// [`NONE`] when relabelling dropped it.
    series: u32,
    seen: u64,
    next: u32,
    /// When its counter began, as told last; 0 where it was not.
    created_ms: i64,
}

struct Series {
    key: Box<[u8]>,
    /// The scrape in which it was last counted for staleness.
    tracked: u64,
    entries: u32,
}

/// Slots that keep their numbers, and are used again.
struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            self.slots[id as usize] = Some(value);
            return id;
        }
        self.slots.push(Some(value));
        (self.slots.len() - 1) as u32
    }

    fn get(&self, id: u32) -> &T {
        self.slots[id as usize].as_ref().expect("the slot of a live id is filled")
    }

    fn get_mut(&mut self, id: u32) -> &mut T {
        self.slots[id as usize].as_mut().expect("the slot of a live id is filled")
    }

    fn try_get(&self, id: u32) -> Option<&T> {
        self.slots.get(id as usize)?.as_ref()
    }

    fn remove(&mut self, id: u32) {
        self.slots[id as usize] = None;
        self.free.push(id);
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new() }
    }
}

/// An entry found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    pub entry: u32,
    /// It occurred in this scrape already.
    pub again: bool,
}

/// The cache of one scrape loop.
pub struct Cache {
    hasher: RandomState,
    entries: Slots<Entry>,
    by_raw: HashTable<u32>,
    series: Slots<Series>,
    by_key: HashTable<u32>,
    scrape: u64,
    last: u32,
    seen: usize,
    /// Entries of this scrape that were not the expected ones, new ones included.
    strays: usize,
    current: Vec<u32>,
    previous: Vec<u32>,
    good_size: usize,
    /// Some series of `previous` may have no entry.
    orphans: bool,
}

impl Cache {
    pub fn new(hasher: RandomState) -> Cache {
        Cache {
            hasher,
            entries: Slots::default(),
            by_raw: HashTable::new(),
            series: Slots::default(),
            by_key: HashTable::new(),
            scrape: 1,
            last: NONE,
            seen: 0,
            strays: 0,
            current: Vec::new(),
            previous: Vec::new(),
            good_size: 0,
            orphans: false,
        }
    }

    /// The bytes that most likely come next; empty where there is no guess.
    pub fn expected(&self) -> &[u8] {
        let guess = if self.last == NONE { 0 } else { self.entries.get(self.last).next };
        self.entries.try_get(guess).map_or(&[], |entry| &entry.raw)
    }

    /// The entry whose bytes [`Cache::expected`] gave: they came indeed.
    pub fn find_expected(&mut self) -> Option<Hit> {
        let guess = if self.last == NONE { 0 } else { self.entries.get(self.last).next };
        self.entries.try_get(guess)?;
        Some(self.visit(guess))
    }

    /// The entry of these bytes, which counts as seen from now on.
    pub fn find(&mut self, raw: &[u8]) -> Option<Hit> {
        let guess = if self.last == NONE { 0 } else { self.entries.get(self.last).next };
        let entry = match self.entries.try_get(guess) {
            Some(entry) if *entry.raw == *raw => guess,
            _ => {
                let slots = &self.entries;
                let hash = self.hasher.hash_one(raw);
                *self.by_raw.find(hash, |id| *slots.get(*id).raw == *raw)?
            }
        };
        Some(self.visit(entry))
    }

    fn visit(&mut self, id: u32) -> Hit {
        if self.last == NONE {
            self.strays += usize::from(id != 0);
        } else if self.entries.get(self.last).next != id {
            self.entries.get_mut(self.last).next = id;
            self.strays += 1;
        }
        self.last = id;
        let scrape = self.scrape;
        let entry = self.entries.get_mut(id);
        let again = entry.seen == scrape;
        entry.seen = scrape;
        self.seen += usize::from(!again);
        Hit { entry: id, again }
    }

    /// Whether this scrape has mostly what the last one had, in the same order.
    pub fn is_near(&self) -> bool {
        CALM_PART * self.strays <= self.seen
    }

    /// Of a scrape that is finished: whether each series of it has one spelling.
    pub fn is_plain(&self) -> bool {
        let kept = self.entries.slots.iter().flatten().filter(|entry| entry.series != NONE);
        kept.count() == self.series.len()
    }

    /// Of a scrape that is finished: how many series of it count for staleness.
    pub fn ending(&self) -> usize {
        self.previous.len()
    }

    /// Empties the cache; the entries that there were before this scrape. `new` are those that this scrape has added.
    pub fn take_former(&mut self, new: &[u32]) -> Vec<Former> {
        let new: HashSet<u32> = new.iter().copied().collect();
        let taken = std::mem::replace(self, Cache::new(self.hasher.clone()));
        let ending: HashSet<u32> = taken.previous.iter().copied().collect();
        let mut former = Vec::new();
        for (id, entry) in taken.entries.slots.iter().enumerate() {
            let Some(entry) = entry.as_ref().filter(|_| !new.contains(&(id as u32))) else { continue };
            let key = (entry.series != NONE).then(|| taken.series.get(entry.series).key.clone());
            former.push(Former { raw: entry.raw.clone(), key, ends: ending.contains(&entry.series) });
        }
        former
    }

    /// The entry that came last.
    pub fn last(&self) -> Option<u32> {
        (self.last != NONE).then_some(self.last)
    }

    /// The key of these bytes; the inner `None` where relabelling dropped them.
    pub fn look_up(&self, raw: &[u8]) -> Option<Option<&[u8]>> {
        let slots = &self.entries;
        let found = self.by_raw.find(self.hasher.hash_one(raw), |id| *slots.get(*id).raw == *raw)?;
        Some(self.key(*found))
    }

    /// Takes these entries as those of the last scrape; the cache is empty.
    pub fn restore<'a>(&mut self, entries: impl Iterator<Item = Known<'a>>, slack: usize) {
        for Known { raw, key, ends } in entries {
            let entry = self.insert(raw, key);
            if key.is_some() && ends {
                self.track(entry);
            }
        }
        self.finish(true, slack);
    }

    /// Adds an entry that [`Cache::find`] did not find, with its key, or without where it was dropped.
    pub fn insert(&mut self, raw: &[u8], key: Option<&[u8]>) -> u32 {
        let series = key.map_or(NONE, |key| self.intern(key));
        let id = self.entries.insert(Entry { raw: raw.into(), series, seen: 0, next: NONE, created_ms: 0 });
        let (slots, hasher) = (&self.entries, &self.hasher);
        self.by_raw.insert_unique(hasher.hash_one(raw), id, |id| hasher.hash_one(&*slots.get(*id).raw));
        self.visit(id);
        id
    }

    fn intern(&mut self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        let slots = &self.series;
        let id = match self.by_key.find(hash, |id| *slots.get(*id).key == *key) {
            Some(id) => *id,
            None => {
                let id = self.series.insert(Series { key: key.into(), tracked: 0, entries: 0 });
                let (slots, hasher) = (&self.series, &self.hasher);
                self.by_key.insert_unique(hash, id, |id| hasher.hash_one(&*slots.get(*id).key));
                id
            }
        };
        self.series.get_mut(id).entries += 1;
        id
    }

    /// The key of an entry; none where it was dropped.
    pub fn key(&self, entry: u32) -> Option<&[u8]> {
        let series = self.entries.get(entry).series;
        (series != NONE).then(|| &*self.series.get(series).key)
    }

    /// Notes when the entry's counter began; whether that is news.
    pub fn begins(&mut self, entry: u32, created_ms: i64) -> bool {
        std::mem::replace(&mut self.entries.get_mut(entry).created_ms, created_ms) != created_ms
    }

    /// Counts the entry's series for staleness.
    pub fn track(&mut self, entry: u32) {
        let id = self.entries.get(entry).series;
        let series = self.series.get_mut(id);
        if series.tracked != self.scrape {
            series.tracked = self.scrape;
            self.current.push(id);
        }
    }

    /// Keys of the series that the last scrape had and this one has not.
    pub fn vanished(&self) -> impl Iterator<Item = &[u8]> {
        let gone = self.previous.iter().map(|id| self.series.get(*id)).filter(|s| s.tracked != self.scrape);
        gone.map(|series| &*series.key)
    }

    /// Forgets what this scrape has counted so far: it failed, and every series of the last one has vanished.
    pub fn fail(&mut self) {
        self.current.clear();
        self.scrape += 1;
    }

    /// Ends the scrape. After a good one, what it did not have is removed; a cache that grows although
    /// scrapes fail is brought back too, and the answer is then true.
    pub fn finish(&mut self, good: bool, slack: usize) -> bool {
        let forced = !good && self.entries.len() > 2 * self.good_size + slack;
        std::mem::swap(&mut self.current, &mut self.previous);
        self.drop_orphans();
        self.current.clear();
        if good {
            self.good_size = self.seen;
        }
        if (good || forced) && self.seen < self.entries.len() {
            self.evict();
        }
        self.scrape += 1;
        self.seen = 0;
        self.strays = 0;
        self.last = NONE;
        forced
    }

    /// Removes the series of the last scrape that [`Cache::forget_entries`] left without an entry and that
    /// got none since. `current` still lists the last scrape's.
    fn drop_orphans(&mut self) {
        if !std::mem::take(&mut self.orphans) {
            return;
        }
        for id in std::mem::take(&mut self.current) {
            let series = self.series.get(id);
            if series.entries == 0 && series.tracked != self.scrape {
                self.remove_series(id);
            }
        }
    }

    fn evict(&mut self) {
        for id in 0..self.entries.slots.len() as u32 {
            let Some(entry) = self.entries.try_get(id).filter(|e| e.seen != self.scrape) else { continue };
            let series = entry.series;
            let hash = self.hasher.hash_one(&*entry.raw);
            if let Ok(found) = self.by_raw.find_entry(hash, |other| *other == id) {
                found.remove();
            }
            self.entries.remove(id);
            if series != NONE {
                self.release(series);
            }
        }
    }

    fn release(&mut self, id: u32) {
        let series = self.series.get_mut(id);
        series.entries -= 1;
        // A series that still counts for the next scrape's staleness keeps its key until then.
        if series.entries > 0 || series.tracked == self.scrape {
            return;
        }
        self.remove_series(id);
    }

    fn remove_series(&mut self, id: u32) {
        let hash = self.hasher.hash_one(&*self.series.get(id).key);
        if let Ok(found) = self.by_key.find_entry(hash, |other| *other == id) {
            found.remove();
        }
        self.series.remove(id);
    }

    /// Drops every entry but keeps what counts for staleness: the rules that made the keys have changed.
    pub fn forget_entries(&mut self) {
        let mut kept = Cache::new(self.hasher.clone());
        for id in &self.previous {
            let id = kept.intern(&self.series.get(*id).key);
            kept.series.get_mut(id).entries = 0;
            kept.previous.push(id);
        }
        kept.orphans = true;
        *self = kept;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Cache::new(self.hasher.clone());
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each scrape is a text of spellings; `a=k` has the key `k`, `-a` is dropped, `!` ends it as failed.
    /// Out comes what vanished, scrape by scrape.
    #[track_caller]
    fn check(scrapes: &[&str], expect: &[&str]) -> Cache {
        let mut cache = Cache::new(RandomState::with_seed(1));
        for (text, expect) in scrapes.iter().zip(expect) {
            let mut good = true;
            for word in text.split_whitespace() {
                if word == "!" {
                    cache.fail();
                    good = false;
                    continue;
                }
                let entry = match cache.find(word.as_bytes()) {
                    Some(hit) => hit.entry,
                    None => {
                        cache.insert(word.as_bytes(), word.split_once('=').map(|(_, key)| key.as_bytes()))
                    }
                };
                if cache.key(entry).is_some() {
                    cache.track(entry);
                }
            }
            let mut gone: Vec<_> =
                cache.vanished().map(|k| String::from_utf8_lossy(k).into_owned()).collect();
            gone.sort();
            assert_eq!(gone.join(" "), *expect, "{text}");
            cache.finish(good, 0);
        }
        cache
    }

    #[test]
    fn what_vanishes_is_told_once() {
        check(&["a=1 b=2 c=3", "a=1 c=3", "c=3 a=1", ""], &["", "2", "", "1 3"]);
        check(&["a=1 -d", "-d b=1", "c=2"], &["", "", "1"]);
        check(&["a=1 b=2", "a=1 !", "a=1", "a=1 b=2"], &["", "1 2", "", ""]);
    }

    #[test]
    fn a_good_scrape_evicts_what_it_did_not_have() {
        assert_eq!(check(&["a=1 b=2 c=2", "b=2", "b=2"], &["", "1", ""]).len(), 1);
        let cache = check(&["a=1", "b=2 a=1", "c=3 b=2 a=1"], &["", "", ""]);
        assert_eq!((cache.len(), cache.series.len()), (3, 3));
    }

    #[test]
    fn a_cache_that_grows_while_scrapes_fail_is_flushed() {
        let mut cache = Cache::new(RandomState::with_seed(1));
        let mut flushed = 0;
        for i in 0..100 {
            cache.insert(format!("x{i}").as_bytes(), Some(b"k"));
            cache.fail();
            flushed += usize::from(cache.finish(false, 10));
        }
        assert!(flushed > 0 && cache.len() <= 12, "{flushed} {}", cache.len());
    }

    #[test]
    fn repeats_are_seen_and_new_rules_keep_staleness() {
        let mut cache = Cache::new(RandomState::with_seed(1));
        let a = cache.insert(b"a", Some(b"1"));
        cache.track(a);
        assert_eq!(cache.find(b"a"), Some(Hit { entry: a, again: true }));
        cache.finish(true, 0);
        assert_eq!(cache.find(b"a"), Some(Hit { entry: a, again: false }));
        cache.forget_entries();
        assert_eq!(cache.find(b"a"), None);
        assert_eq!(cache.vanished().collect::<Vec<_>>(), [b"1"]);
        cache.finish(true, 0);
        assert_eq!(cache.series.len(), 0);
    }
}
