//! Series that a sender writes again and again, always the same ones in the same order: their keys are said once, and
//! then each write is a column of values.
//!
//! Invariants: a roster never changes; what a store keeps beside it is a hint, which may be missing or out of date at
//! any time (a series may have ended since), so the keys alone decide.

use crate::batch::Exemplar;
use crate::sample::Sample;
use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// See the module's head.
#[derive(Default)]
pub struct Roster {
    keys: Vec<u8>,
    /// Where each key ends within `keys`.
    ends: Vec<u32>,
    place: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Roster {
    /// Bytes of all keys together, at most.
    pub const MOST_BYTES: usize = u32::MAX as usize;

    /// Of these keys (see [`crate::key`]).
    ///
    /// # Panics
    /// Where they have more than [`Roster::MOST_BYTES`].
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Roster {
        let mut roster = Roster::default();
        for key in keys {
            roster.keys.extend_from_slice(key);
            assert!(roster.keys.len() <= Roster::MOST_BYTES, "a roster's keys are too long");
            roster.ends.push(roster.keys.len() as u32);
        }
        roster.keys.shrink_to_fit();
        roster.ends.shrink_to_fit();
        roster
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn key(&self, number: usize) -> &[u8] {
        let start = if number == 0 { 0 } else { self.ends[number - 1] as usize };
        &self.keys[start..self.ends[number] as usize]
    }

    pub fn keys(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|number| self.key(number))
    }

    /// What the store that asked first keeps beside the roster; `None` where that was one of another kind.
    pub fn place<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.place.get_or_init(|| Box::new(make())).downcast_ref()
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roster({} series)", self.len())
    }
}

impl PartialEq for Roster {
    fn eq(&self, other: &Roster) -> bool {
        self.ends == other.ends && self.keys == other.keys
    }
}

/// One float for each series of a roster but those that are absent, all of one time or each of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    pub roster: Option<Arc<Roster>>,
    pub timestamp_ms: i64,
    /// The time of each, as many as there are values; empty where all are of `timestamp_ms`.
    pub times: Vec<i64>,
    /// As many as the roster has series; none where there is no roster.
    pub values: Vec<f64>,
    /// Numbers of the series that have no sample this time, ascending: their values say nothing.
    pub absent: Vec<u32>,
    /// Exemplars, each with the number of its series, ascending; none of those that are absent.
    pub exemplars: Vec<(u32, Exemplar)>,
}

impl Column {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.roster = None;
        self.times.clear();
        self.values.clear();
        self.absent.clear();
        self.exemplars.clear();
    }

    /// The sample of that series, where it is not absent.
    #[inline]
    pub fn sample(&self, number: usize) -> Option<Sample> {
        let timestamp_ms = self.times.get(number).map_or(self.timestamp_ms, |time| *time);
        self.values.get(number).map(|value| Sample { timestamp_ms, value: *value })
    }

    /// Numbers of the series that have a sample, ascending, with it.
    pub fn present(&self) -> impl Iterator<Item = (usize, Sample)> {
        let mut absent = self.absent.iter().map(|number| *number as usize).peekable();
        let samples = (0..self.len()).filter_map(|number| Some((number, self.sample(number)?)));
        samples.filter(move |(number, _)| absent.next_if_eq(number).is_none())
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Series that it has room for, absent ones included.
    pub fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roster_gives_its_keys_back_and_keeps_what_one_store_puts_beside_it() {
        let roster = Roster::new([&b"a"[..], b"", b"bcd"]);
        assert_eq!(roster.keys().collect::<Vec<_>>(), [&b"a"[..], b"", b"bcd"]);
        assert_eq!((roster.len(), roster.key(2)), (3, &b"bcd"[..]));
        assert_ne!(roster, Roster::new([&b"ab"[..], b"cd", b""]));
        assert_eq!(roster.place(|| 7u32), Some(&7));
        assert_eq!(roster.place(|| 8u32), Some(&7));
        assert_eq!(roster.place(|| "of another store"), None);
    }

    #[test]
    fn absent_series_have_no_sample() {
        let (timestamp_ms, values) = (9, vec![1.0, 2.0, 3.0, 4.0]);
        let mut column = Column { timestamp_ms, values, absent: vec![0, 2], ..Column::default() };
        let present = |column: &Column| {
            let samples = column.present().map(|(number, s)| (number, s.timestamp_ms, s.value));
            samples.collect::<Vec<_>>()
        };
        assert_eq!(present(&column), [(1, 9, 2.0), (3, 9, 4.0)]);
        column.times = vec![5, 6, 7, 8];
        assert_eq!(present(&column), [(1, 6, 2.0), (3, 8, 4.0)]);
        column.absent = vec![3];
        assert_eq!(column.present().count(), 3);
        column.clear();
        assert!(column.is_empty() && column.absent.is_empty() && column.times.is_empty());
    }
}
