//! A target's page as it was the last time, for as long as it stays the same but for its values: then a scrape parses
//! numbers and nothing else, and the store gets a column of them under a roster.
//!
//! Invariants: while a trail is laid, the target's cache is empty, and the trail tells all that it would hold: every
//! series of the page counts for staleness. A page that differs in anything is read in full, from a cache that is
//! filled from the trail.

use crate::cache::Cache;
use crate::config::CACHE_SLACK_ENTRIES;
use hearth_model::{Column, Roster};
use hearth_wire::config::Limits;
use hearth_wire::exposition::{Format, Shape};
use std::sync::Arc;

/// Scrapes that a trail must have served to be laid anew at once.
const WORTH_SCRAPES: u32 = 8;
/// Most scrapes that a page must stay the same before a trail is laid.
const MAX_PATIENCE_SCRAPES: u32 = 64;

/// See the module's head.
pub struct Trail {
    laid: Option<Laid>,
    /// Scrapes in a row that had the page of the one before.
    calm: u32,
    /// So many of them are waited for: more where the last trails were of little use.
    patience: u32,
}

struct Laid {
    format: Format,
    shape: Shape,
    roster: Arc<Roster>,
    /// For each series of the page whether relabelling kept it; empty where it kept all.
    kept: Vec<bool>,
    served: u32,
}

/// What a page that follows the trail comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    pub scraped: u64,
    pub kept: u64,
}

impl Default for Trail {
    fn default() -> Trail {
        Trail { laid: None, calm: 0, patience: 1 }
    }
}

impl Trail {
    /// Reads a page that is as the last one was into a column. Where it is not, the column is empty, and the cache
    /// holds again what it would without a trail.
    pub fn follow(
        &mut self,
        cache: &mut Cache,
        format: Format,
        body: &[u8],
        column: &mut Column,
    ) -> Option<Followed> {
        column.clear();
        let laid = self.laid.as_mut()?;
        if laid.read(format, body, &mut column.values) {
            column.roster = Some(Arc::clone(&laid.roster));
            let (scraped, kept) = (laid.shape.len() as u64, laid.roster.len() as u64);
            return Some(Followed { scraped, kept });
        }
        column.clear();
        self.patience = match laid.served < WORTH_SCRAPES {
            true => (2 * self.patience).min(MAX_PATIENCE_SCRAPES),
            false => 1,
        };
        self.leave(cache);
        None
    }

    /// Gives the cache back what it held.
    pub fn leave(&mut self, cache: &mut Cache) {
        let Some(laid) = self.laid.take() else { return };
        self.calm = 0;
        let (mut keys, mut kept) = (laid.roster.keys(), laid.kept.iter());
        let entries = laid.shape.series().map(|raw| {
            let key = if kept.next() == Some(&false) { None } else { keys.next() };
            (raw, key)
        });
        cache.restore(entries, CACHE_SLACK_ENTRIES);
    }

    /// A page was not as the one before, or is not to be followed.
    pub fn stray(&mut self) {
        self.calm = 0;
    }

    /// A page was as the one before, and the cache has taken it in and finished: lays a trail, if it is time to.
    pub fn settle(&mut self, cache: &mut Cache, format: Format, body: &[u8]) {
        self.calm += 1;
        if self.calm < self.patience || self.laid.is_some() {
            return;
        }
        self.laid = Laid::of(cache, format, body);
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

impl Laid {
    fn of(cache: &Cache, format: Format, body: &[u8]) -> Option<Laid> {
        let (mut keys, mut kept) = (Vec::new(), Vec::new());
        let shape = Shape::of(format, body, &Limits::default(), |raw| {
            let Some(key) = cache.look_up(raw) else { return false };
            kept.push(key.is_some());
            keys.extend(key);
            true
        })?;
        let bytes: usize = keys.iter().map(|key| key.len()).sum();
        if keys.is_empty() || bytes > Roster::MOST_BYTES {
            return None;
        }
        let kept = if keys.len() == kept.len() { Vec::new() } else { kept };
        Some(Laid { format, shape, roster: Arc::new(Roster::new(keys)), kept, served: 0 })
    }

    fn read(&mut self, format: Format, body: &[u8], values: &mut Vec<f64>) -> bool {
        if format != self.format || !self.shape.read(body, values) {
            return false;
        }
        if !self.kept.is_empty() {
            let mut kept = self.kept.iter();
            values.retain(|_| kept.next() == Some(&true));
        }
        self.served = self.served.saturating_add(1);
        true
    }
}
