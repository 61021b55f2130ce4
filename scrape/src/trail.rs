//! A target's page as it was the last time, for as long as it stays the same but for its values and some lines: then a
//! scrape parses numbers and those lines, and nothing else, and the store gets a column under a roster.
//!
//! Invariants: while a trail is laid, the target's cache holds the strays of the last scrape alone (series that the page
//! had beside those of the trail), and what else counted for staleness is the trail's own: every series that ends but those
//! that were absent. No key is in both. A page that differs in more is read in full, from a cache that is filled from the
//! trail.

use crate::absorb::Nature;
use crate::cache::{Cache, Former, Known};
use crate::config::CACHE_SLACK_ENTRIES;
use crate::page_shape::PageShape;
use ahash::RandomState;
use hashbrown::HashTable;
use hearth_model::{Column, Roster};
use hearth_wire::exposition::{Beside, Differences, Entry, Histograms, Noted, Protocol, Readings, Stray};
use std::sync::Arc;

/// Scrapes that a trail must have served to be laid anew at once.
const WORTH_SCRAPES: u32 = 8;
/// Most scrapes that pages must resemble each other before a trail is laid.
const MAX_PATIENCE_SCRAPES: u32 = 64;
/// A page is followed while it differs in one line of so many at most, or in [`FEW_LINES`].
const DIFFERENT_PART: usize = 4;
const FEW_LINES: usize = 8;

/// How a target's pages are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Times that a page has itself are believed.
    pub honors_times: bool,
    /// Series that have some end when they vanish.
    pub tracks_times: bool,
    pub histograms: Histograms,
}

/// When a page came.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time of samples without one.
    pub at_ms: i64,
    /// No sample may be later.
    pub latest_ms: i64,
}

/// See the module's head.
pub struct Trail {
    laid: Option<Laid>,
    /// Scrapes in a row that had about the page of the one before.
    calm: u32,
    /// So many of them are waited for: more where the last trails were of little use.
    patience: u32,
}

/// In place of a number in the roster.
const NOT_THERE: u32 = u32::MAX;

struct Laid {
    shape: PageShape,
    roster: Arc<Roster>,
    /// For each series of the page its number in the roster, or [`NOT_THERE`]; empty where these are the same.
    places: Vec<u32>,
    /// Keys of native histograms, which no roster has, by their numbers on the page.
    histograms: Vec<(u32, Box<[u8]>)>,
    rules: Rules,
    /// What is known of families from a series of the page on.
    families: Vec<(u32, Nature)>,
    /// Series of the page that the last one had not, ascending.
    absent: Vec<u32>,
    index: Option<Index>,
    served: u32,
}

/// Finds series by their bytes on the page and by their keys; made when a page differs for the first time.
struct Index {
    hasher: RandomState,
    by_raw: HashTable<u32>,
    by_key: HashTable<u32>,
}

/// What a page that follows the trail comes to, strays left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Followed {
    pub scraped: u64,
    pub kept: u64,
    /// Series that are back.
    pub added: u64,
}

/// How a page differs from the trail.
#[derive(Debug, Default)]
pub struct Detour {
    pub followed: Followed,
    pub strays: Vec<(Stray, Nature)>,
    /// Of series of the page.
    pub exemplars: Vec<(u32, Noted)>,
    /// What else a page of protobuf has.
    pub beside: Beside,
    absent: Vec<u32>,
    /// Numbers in the roster of those that have vanished.
    vanished: Vec<u32>,
}

impl Detour {
    /// Whether there is more to the page than a column.
    fn is_one(&self) -> bool {
        !(self.strays.is_empty()
            && self.absent.is_empty()
            && self.exemplars.is_empty()
            && self.beside == Beside::default())
    }
}

/// How a page is to be read.
pub enum Way {
    /// All of it is in the column.
    Whole(Followed),
    /// The strays are to be read, too.
    Around(Detour),
    /// In full.
    Lost,
}

impl Default for Trail {
    fn default() -> Trail {
        Trail { laid: None, calm: 0, patience: 1 }
    }
}

impl Trail {
    /// Reads a page that is about as the last one was into a column. Where it is not, the column is empty, and the cache
    /// holds again what it would without a trail.
    pub fn follow(
        &mut self,
        cache: &mut Cache,
        protocol: Protocol,
        body: &[u8],
        moment: Moment,
        column: &mut Column,
    ) -> Way {
        column.clear();
        let Some(laid) = self.laid.as_mut() else { return Way::Lost };
        if let Some(detour) = laid.read(protocol, body, moment, column) {
            column.roster = Some(Arc::clone(&laid.roster));
            let differs = detour.is_one() || !cache.is_empty();
            return match differs || !laid.absent.is_empty() {
                true => Way::Around(detour),
                false => Way::Whole(detour.followed),
            };
        }
        column.clear();
        self.lose(cache, &[]);
        Way::Lost
    }

    /// The page is not to be followed after all; `new` entries came into the cache meanwhile.
    pub fn lose(&mut self, cache: &mut Cache, new: &[u32]) {
        if let Some(laid) = &self.laid {
            self.patience = match laid.served < WORTH_SCRAPES {
                true => (2 * self.patience).min(MAX_PATIENCE_SCRAPES),
                false => 1,
            };
        }
        self.give_back(cache, new);
    }

    /// Gives the cache back what it held.
    pub fn leave(&mut self, cache: &mut Cache) {
        self.give_back(cache, &[]);
    }

    fn give_back(&mut self, cache: &mut Cache, new: &[u32]) {
        let Some(laid) = self.laid.take() else { return };
        self.calm = 0;
        let strays: Vec<Former> = cache.take_former(new);
        let mut absent = laid.absent.iter().peekable();
        let entries = laid.shape.series().enumerate().filter_map(|(number, raw)| {
            let key = laid.key_of(number as u32);
            let known = Known { raw, key, ends: laid.ends(number) };
            absent.next_if_eq(&&(number as u32)).is_none().then_some(known)
        });
        cache.restore(entries.chain(strays.iter().map(Former::known)), CACHE_SLACK_ENTRIES);
    }

    /// Whether a series of the trail has this key.
    pub fn knows(&mut self, key: &[u8]) -> bool {
        self.laid.as_mut().is_some_and(|laid| laid.knows(key))
    }

    /// The number in the roster of the series with that number on the page, where it is there.
    pub fn place(&self, number: u32) -> Option<u32> {
        self.laid.as_ref()?.place(number)
    }

    /// The key of the native histogram with that number on the page, where it was kept.
    pub fn histogram_key(&self, number: u32) -> Option<&[u8]> {
        self.laid.as_ref()?.histogram_key(number)
    }

    /// Keys of the series that were there the last time and are not in this page.
    pub fn vanished<'a>(&'a self, detour: &'a Detour) -> impl Iterator<Item = &'a [u8]> {
        let roster = self.laid.as_ref().map(|laid| &laid.roster);
        roster
            .into_iter()
            .flat_map(|roster| detour.vanished.iter().map(|number| roster.key(*number as usize)))
    }

    /// The page was read in this way; the next one is compared with it.
    pub fn accept(&mut self, detour: Detour) {
        if let Some(laid) = &mut self.laid {
            laid.absent = detour.absent;
        }
    }

    /// A page was not about as the one before, or is not to be followed.
    pub fn stray(&mut self) {
        self.calm = 0;
    }

    /// A page was about as the one before, and the cache has taken it in and finished: lays a trail, if it is time to.
    pub fn settle(&mut self, cache: &mut Cache, protocol: Protocol, rules: Rules, body: &[u8]) {
        self.calm += 1;
        if self.calm < self.patience || self.laid.is_some() {
            return;
        }
        self.laid = Laid::of(cache, protocol, rules, body);
        match self.laid {
            Some(_) => cache.clear(),
            // Pages like this one have no shape.
            None => self.patience = MAX_PATIENCE_SCRAPES,
        }
        self.calm = 0;
    }
}

#[cfg(test)]
impl Trail {
    /// One that is never laid.
    pub fn never() -> Trail {
        Trail { patience: u32::MAX, ..Trail::default() }
    }

    pub fn is_laid(&self) -> bool {
        self.laid.is_some()
    }
}

impl Index {
    fn of(shape: &PageShape, roster: &Roster) -> Index {
        let hasher = RandomState::new();
        let (mut by_raw, mut by_key) = (HashTable::new(), HashTable::new());
        let hashes: Vec<u64> = shape.series().map(|raw| hasher.hash_one(raw)).collect();
        by_raw.reserve(hashes.len(), |number: &u32| hashes[*number as usize]);
        for (number, hash) in hashes.iter().enumerate() {
            by_raw.insert_unique(*hash, number as u32, |number| hashes[*number as usize]);
        }
        let hashes: Vec<u64> = roster.keys().map(|key| hasher.hash_one(key)).collect();
        by_key.reserve(hashes.len(), |number: &u32| hashes[*number as usize]);
        for (number, hash) in hashes.iter().enumerate() {
            by_key.insert_unique(*hash, number as u32, |number| hashes[*number as usize]);
        }
        Index { hasher, by_raw, by_key }
    }
}

impl Laid {
    fn of(cache: &Cache, protocol: Protocol, rules: Rules, body: &[u8]) -> Option<Laid> {
        let (mut keys, mut places, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
        let mut families = Families::default();
        let shape = PageShape::of(protocol, rules.histograms, body, |entry| {
            let (series, is_float) = match entry {
                Entry::Sample(line) => (line.series, true),
                Entry::Histogram(line) => (line.series, false),
                _ => {
                    families.hear(entry, places.len() as u32);
                    return true;
                }
            };
            let Some(key) = cache.look_up(series) else { return false };
            let number = places.len() as u32;
            match key {
                Some(key) if is_float => {
                    places.push(keys.len() as u32);
                    keys.push(key);
                    return true;
                }
                Some(key) => histograms.push((number, Box::from(key))),
                None => {}
            }
            places.push(NOT_THERE);
            true
        })?;
        let bytes: usize = keys.iter().map(|key| key.len()).sum();
        // A series may come twice, with two times.
        let comes_once = shape.len() == cache.len();
        // Times that are not believed are those of native histograms and exemplars, too.
        let timely = rules.honors_times
            || protocol != Protocol::Protobuf
            || (0..shape.len()).all(|number| !shape.has_time(number));
        if keys.is_empty() || bytes > Roster::MOST_BYTES || !comes_once || !timely {
            return None;
        }
        if keys.len() == places.len() {
            places = Vec::new();
        }
        let (roster, families) = (Arc::new(Roster::new(keys)), families.known);
        let (index, served, absent) = (None, 0, Vec::new());
        let laid = Laid { shape, roster, places, histograms, rules, families, absent, index, served };
        let kept = (0..laid.shape.len()).filter(|number| laid.key_of(*number as u32).is_some());
        let ending = kept.filter(|number| laid.ends(*number)).count();
        (ending == cache.ending()).then_some(laid)
    }

    /// Whether a sample of the page says that its series ends when it vanishes.
    fn ends(&self, number: usize) -> bool {
        !(self.rules.honors_times && !self.rules.tracks_times && self.shape.has_time(number))
    }

    fn knows(&mut self, key: &[u8]) -> bool {
        let index = self.index.get_or_insert_with(|| Index::of(&self.shape, &self.roster));
        let same = |number: &u32| self.roster.key(*number as usize) == key;
        index.by_key.find(index.hasher.hash_one(key), same).is_some()
    }

    fn read(
        &mut self,
        protocol: Protocol,
        body: &[u8],
        moment: Moment,
        column: &mut Column,
    ) -> Option<Detour> {
        if protocol != self.shape.protocol() {
            return None;
        }
        let (shape, roster, index) = (&self.shape, &self.roster, &mut self.index);
        let find = |raw: &[u8]| {
            let index = index.get_or_insert_with(|| Index::of(shape, roster));
            let same = |number: &u32| shape.series_at(*number as usize) == raw;
            index.by_raw.find(index.hasher.hash_one(raw), same).map(|number| *number as usize)
        };
        let most = (shape.len() / DIFFERENT_PART).max(FEW_LINES);
        let mut into = Readings { values: &mut column.values, times: &mut column.times, at_ms: moment.at_ms };
        let (Differences { absent, strays, exemplars }, mut beside) =
            shape.read(body, most, find, &mut into)?;
        if absent.len() == shape.len() {
            return None;
        }
        self.served = self.served.saturating_add(1);
        let scraped = (shape.len() - absent.len()) as u64;
        let strays = strays.into_iter().map(|stray| self.with_nature(stray)).collect();
        if !self.rules.honors_times {
            column.times.clear();
        }
        beside.histograms.retain(|(number, ..)| self.histogram_key(*number).is_some());
        let mut detour = Detour { strays, exemplars, beside, absent, ..Detour::default() };
        self.number(&mut detour, column);
        // Which are counted, and stored without.
        let mut times = column.times.iter().chain(detour.beside.histograms.iter().map(|(_, time, _)| time));
        if times.any(|time| *time > moment.latest_ms) {
            return None;
        }
        detour.followed.scraped = scraped;
        detour.followed.kept = (self.roster.len() - column.absent.len() + self.histograms.len()) as u64;
        Some(detour)
    }

    /// Of the native histogram with that number on the page; none where it was dropped.
    fn histogram_key(&self, number: u32) -> Option<&[u8]> {
        let at = self.histograms.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.histograms[at].1)
    }

    /// The number in the roster of the series with that number on the page.
    fn place(&self, number: u32) -> Option<u32> {
        match self.places.get(number as usize) {
            Some(place) => (*place != NOT_THERE).then_some(*place),
            None => Some(number),
        }
    }

    /// Of the series with that number on the page, where it was kept.
    fn key_of(&self, number: u32) -> Option<&[u8]> {
        match self.place(number) {
            Some(place) => Some(self.roster.key(place as usize)),
            None => self.histogram_key(number),
        }
    }

    fn with_nature(&self, stray: Stray) -> (Stray, Nature) {
        let known = |family: u32| {
            let behind = self.families.partition_point(|(from, _)| *from <= family);
            self.families.get(behind.checked_sub(1)?).map(|(_, nature)| nature.clone())
        };
        let nature = stray.family_of.and_then(known).unwrap_or_default();
        (stray, nature)
    }

    /// Goes over from numbers on the page to those in the roster, and tells who has vanished and who is back.
    fn number(&self, detour: &mut Detour, column: &mut Column) {
        let (mut now, mut then) = (detour.absent.iter().peekable(), self.absent.iter().peekable());
        while let Some(number) = [now.peek(), then.peek()].into_iter().flatten().min().map(|number| **number)
        {
            let (is_absent, was) = (now.next_if_eq(&&number).is_some(), then.next_if_eq(&&number).is_some());
            let place = self.place(number);
            if is_absent {
                column.absent.extend(place);
            }
            match (is_absent, was) {
                (true, false) if self.ends(number as usize) => detour.vanished.extend(place),
                (false, true) => detour.followed.added += u64::from(place.is_some()),
                _ => {}
            }
        }
        if !self.places.is_empty() {
            let mut places = self.places.iter();
            column.values.retain(|_| places.next() != Some(&NOT_THERE));
            let mut places = self.places.iter();
            column.times.retain(|_| places.next() != Some(&NOT_THERE));
        }
    }
}

/// Follows metadata along a page, as [`crate::absorb`] does.
#[derive(Default)]
struct Families {
    name: String,
    nature: Nature,
    known: Vec<(u32, Nature)>,
}

impl Families {
    /// An entry that stands before sample `next`.
    fn hear(&mut self, entry: &Entry<'_>, next: u32) {
        let (Entry::Type { family, .. } | Entry::Unit { family, .. }) = entry else { return };
        if self.name != **family {
            (*family).clone_into(&mut self.name);
            self.nature.unit = Box::default();
        }
        match entry {
            Entry::Type { metric_type, .. } => self.nature.kind = *metric_type,
            Entry::Unit { unit, .. } => self.nature.unit = Box::from(*unit),
            _ => {}
        }
        if self.known.last().is_some_and(|(from, _)| *from == next) {
            self.known.pop();
        }
        if self.known.last().is_none_or(|(_, nature)| *nature != self.nature) {
            self.known.push((next, self.nature.clone()));
        }
    }
}
