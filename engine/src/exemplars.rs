//! Exemplars of a shard: the newest, up to a number that an operator sets. A ring over all series; beside it,
//! for each series, which of them are its own.
//!
//! Invariants: every exemplar in the ring is among those of its series, in order of time; a series without
//! any is not kept.

use ahash::AHashMap;
use hearth_model::batch::Exemplar;
use hearth_model::{Labels, TimeRange};
use std::collections::VecDeque;

/// What became of an exemplar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Taken,
    Repeated,
    /// The series has a newer one, or another at the same time.
    OutOfOrder,
    /// None are kept.
    Disabled,
}

#[derive(Debug)]
struct OfSeries {
    labels: Labels,
    numbers: VecDeque<u64>,
}

#[derive(Debug)]
struct Kept {
    series: u128,
    /// None where it was deleted.
    exemplar: Option<Exemplar>,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Exemplars {
    ring: VecDeque<Kept>,
    /// Number of the ring's first.
    first: u64,
    series: AHashMap<u128, OfSeries>,
    capacity: usize,
    pub appended: u64,
    pub out_of_order: u64,
}

impl Exemplars {
    /// Keeps at most so many from now on.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.ring.len() > capacity {
            self.pop();
        }
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    pub fn count(&self) -> usize {
        self.series.values().map(|of| of.numbers.len()).sum()
    }

    /// Time of the oldest exemplar in the ring.
    pub fn oldest_ms(&self) -> Option<i64> {
        self.ring.iter().find_map(|kept| Some(kept.exemplar.as_ref()?.timestamp_ms))
    }

    fn get(&self, number: u64) -> Option<&Exemplar> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.ring.get(at)?.exemplar.as_ref()
    }

    fn newest(&self, series: u128) -> Option<&Exemplar> {
        self.get(*self.series.get(&series)?.numbers.back()?)
    }

    /// Adds a series' exemplar. `labels` are asked for where the series has none yet.
    pub fn push(&mut self, series: u128, labels: impl FnOnce() -> Labels, exemplar: &Exemplar) -> Fate {
        if self.capacity == 0 {
            return Fate::Disabled;
        }
        if let Some(newest) = self.newest(series) {
            let same_value = newest.value.to_bits() == exemplar.value.to_bits();
            if newest.timestamp_ms == exemplar.timestamp_ms && same_value && newest.labels == exemplar.labels
            {
                return Fate::Repeated;
            }
            if exemplar.timestamp_ms <= newest.timestamp_ms {
                self.out_of_order += 1;
                return Fate::OutOfOrder;
            }
        }
        self.insert(series, labels, exemplar);
        Fate::Taken
    }

    /// Adds an exemplar that was taken once, at a start: what is read back may be out of order, where a part of a
    /// damaged checkpoint comes before the log that it stood for.
    pub fn restore(&mut self, series: u128, labels: impl FnOnce() -> Labels, exemplar: &Exemplar) {
        let is_there = self.series.get(&series).is_some_and(|of| {
            let number = of.numbers.get(self.place(of, exemplar.timestamp_ms));
            number
                .and_then(|number| self.get(*number))
                .is_some_and(|e| e.timestamp_ms == exemplar.timestamp_ms)
        });
        if self.capacity > 0 && !is_there {
            self.insert(series, labels, exemplar);
        }
    }

    /// Where among a series' exemplars one of that time belongs.
    fn place(&self, of: &OfSeries, time_ms: i64) -> usize {
        of.numbers.partition_point(|number| self.get(*number).is_some_and(|e| e.timestamp_ms < time_ms))
    }

    fn insert(&mut self, series: u128, labels: impl FnOnce() -> Labels, exemplar: &Exemplar) {
        while self.ring.len() >= self.capacity {
            self.pop();
        }
        let number = self.first + self.ring.len() as u64;
        let place = self.series.get(&series).map_or(0, |of| self.place(of, exemplar.timestamp_ms));
        let of = self.series.entry(series);
        let of = of.or_insert_with(|| OfSeries { labels: labels(), numbers: VecDeque::new() });
        of.numbers.insert(place, number);
        self.ring.push_back(Kept { series, exemplar: Some(exemplar.clone()) });
        self.appended += 1;
    }

    fn pop(&mut self) {
        let Some(kept) = self.ring.pop_front() else { return };
        let number = self.first;
        self.first += 1;
        if kept.exemplar.is_some() {
            self.forget(kept.series, number);
        }
    }

    fn forget(&mut self, series: u128, number: u64) {
        let Some(of) = self.series.get_mut(&series) else { return };
        of.numbers.retain(|other| *other != number);
        if of.numbers.is_empty() {
            self.series.remove(&series);
        }
    }

    /// Takes a series' exemplars within the range away.
    pub fn delete(&mut self, series: u128, range: TimeRange) {
        let Some(of) = self.series.get(&series) else { return };
        let inside = |number: &u64| self.get(*number).is_some_and(|e| range.contains(e.timestamp_ms));
        let numbers: Vec<u64> = of.numbers.iter().copied().filter(inside).collect();
        for number in numbers {
            if let Some(kept) = self.ring.get_mut((number - self.first) as usize) {
                kept.exemplar = None;
            }
            self.forget(series, number);
        }
    }

    /// The series that have any.
    pub fn series(&self) -> Vec<u128> {
        self.series.keys().copied().collect()
    }

    /// A series' labels, and its exemplars within the range, if it has any still.
    pub fn of(&self, series: u128) -> Option<(&Labels, impl Iterator<Item = &Exemplar>)> {
        let of = self.series.get(&series)?;
        Some((&of.labels, of.numbers.iter().filter_map(|number| self.get(*number))))
    }

    /// Calls `with` for exemplars in the order in which they came, from number `from` on, for as long as it
    /// says so; the number with which to go on, until there are no more.
    pub fn each(&self, from: u64, mut with: impl FnMut(&Labels, &Exemplar) -> bool) -> Option<u64> {
        let start = usize::try_from(from.saturating_sub(self.first)).ok()?;
        for (at, kept) in self.ring.iter().enumerate().skip(start) {
            let Some(exemplar) = &kept.exemplar else { continue };
            if let Some(of) = self.series.get(&kept.series)
                && !with(&of.labels, exemplar)
            {
                return Some(self.first + at as u64 + 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(time: i64, trace: &str) -> Exemplar {
        Exemplar { timestamp_ms: time, value: time as f64, labels: Labels::from_pairs([("trace", trace)]) }
    }

    fn push(all: &mut Exemplars, series: u128, time: i64, trace: &str) -> Fate {
        all.push(series, || Labels::from_pairs([("s", series.to_string())]), &exemplar(time, trace))
    }

    /// `series:times` of all that is kept.
    fn kept(all: &Exemplars) -> String {
        let mut series = all.series();
        series.sort_unstable();
        let of = |series: &u128| {
            let (labels, found) = all.of(*series).expect("has some");
            assert_eq!(labels.get("s"), Some(series.to_string().as_str()));
            let times: Vec<String> = found.map(|e| e.timestamp_ms.to_string()).collect();
            format!("{series}:{}", times.join(","))
        };
        series.iter().map(of).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_newest_are_kept_in_order() {
        let mut all = Exemplars::default();
        assert_eq!(push(&mut all, 1, 5, "a"), Fate::Disabled);
        all.set_capacity(4);
        for (series, time, trace, fate) in [
            (1, 5, "a", Fate::Taken),
            (2, 1, "b", Fate::Taken),
            (1, 5, "a", Fate::Repeated),
            (1, 5, "c", Fate::OutOfOrder),
            (1, 4, "d", Fate::OutOfOrder),
            (1, 6, "e", Fate::Taken),
            (3, 9, "f", Fate::Taken),
        ] {
            assert_eq!(push(&mut all, series, time, trace), fate, "{series} {time} {trace}");
        }
        assert_eq!(kept(&all), "1:5,6 2:1 3:9");
        assert_eq!(push(&mut all, 2, 2, "g"), Fate::Taken);
        assert_eq!((kept(&all).as_str(), all.oldest_ms()), ("1:6 2:1,2 3:9", Some(1)));
        all.delete(2, TimeRange::new(0, 1));
        all.delete(3, TimeRange::ALL);
        assert_eq!((kept(&all).as_str(), all.count(), all.series_count()), ("1:6 2:2", 2, 2));
        all.set_capacity(1);
        assert_eq!(kept(&all), "2:2");
        all.set_capacity(0);
        assert_eq!((kept(&all).as_str(), all.appended, all.out_of_order), ("", 5, 2));
    }

    #[test]
    fn a_ring_holds_what_a_list_would() {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut all, mut list) = (Exemplars::default(), Vec::<(u128, i64)>::new());
        all.set_capacity(50);
        for step in 0..5_000i64 {
            let series = u128::from(random.u32(0..9));
            if random.u32(0..20) == 0 {
                let range = TimeRange::new(step - random.i64(0..80), step - random.i64(0..80));
                all.delete(series, range);
                // A place that was deleted counts for the ring until its turn comes.
                list.iter_mut().filter(|(s, t)| *s == series && range.contains(*t)).for_each(|e| e.0 = 99);
            } else {
                assert_eq!(push(&mut all, series, step, "x"), Fate::Taken);
                list.push((series, step));
            }
            let from = list.len().saturating_sub(50);
            let mut expect = list[from..].iter().filter(|(s, _)| *s != 99).map(|(_, t)| *t);
            let mut at = Some(0);
            while let Some(next) = at {
                let mut left = 7;
                at = all.each(next, |_, exemplar| {
                    assert_eq!(Some(exemplar.timestamp_ms), expect.next());
                    left -= 1;
                    left > 0
                });
            }
            assert_eq!(expect.next(), None);
        }
    }
}
