//! Which series have which labels: symbols (interned strings) and postings (series by label pair).
//!
//! Series are numbered densely from 0 in order of creation, so postings are dense and mostly runs.

pub mod postings;
pub mod symbols;

use ahash::AHashMap;
use hearth_model::Matcher;
use hearth_model::label::METRIC_NAME;
use hearth_model::matcher::regex::Shape;
use postings::Postings;
use roaring::RoaringBitmap;
use symbols::{Symbol, Symbols};

/// One label's values, in order of first sight, each with its series.
#[derive(Debug, Default)]
pub struct LabelValues {
    pub values: Vec<(Symbol, Postings)>,
    by_symbol: AHashMap<Symbol, u32>,
}

impl LabelValues {
    /// The series that have the value.
    pub fn postings(&self, value: Symbol) -> Option<&Postings> {
        self.by_symbol.get(&value).map(|at| &self.values[*at as usize].1)
    }

    fn remove(&mut self, value: Symbol, id: u32) {
        let Some(at) = self.by_symbol.get(&value).copied() else { return };
        let postings = &mut self.values[at as usize].1;
        postings.remove(id);
        if postings.is_empty() {
            self.by_symbol.remove(&value);
            self.values.swap_remove(at as usize);
            if let Some((moved, _)) = self.values.get(at as usize) {
                self.by_symbol.insert(*moved, at);
            }
        }
    }
}

/// The inverted index of a shard's head.
#[derive(Debug, Default)]
pub struct Index {
    pub symbols: Symbols,
    labels: AHashMap<Symbol, u32>,
    tables: Vec<LabelValues>,
    free_tables: Vec<u32>,
    last: Last,
}

/// The series that came last: the next one of the same target has most of its labels at the same places, and is
/// spared looking them up.
#[derive(Debug, Default)]
struct Last {
    /// Name and value of each label.
    pairs: Vec<Symbol>,
    /// Of the pair at the same place: the label's table, and the value's place there.
    places: Vec<(u32, u32)>,
}

impl Index {
    /// Interns labels; name and value of each are appended to `pairs`.
    pub fn intern<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        pairs: &mut Vec<Symbol>,
    ) {
        for (at, text) in labels.into_iter().flat_map(|(name, value)| [name, value]).enumerate() {
            let guess = self.last.pairs.get(at).copied().filter(|guess| {
                // A symbol that is free again has no text.
                !text.is_empty() && self.symbols.text(*guess) == text
            });
            pairs.push(guess.unwrap_or_else(|| self.symbols.intern(text)));
        }
    }

    /// Files a series under each of its labels.
    pub fn file(&mut self, id: u32, pairs: &[Symbol]) {
        for (at, pair) in pairs.chunks_exact(2).enumerate() {
            let known = self.last.pairs.get(2 * at..2 * at + 2) == Some(pair);
            let place = match self.last.places.get(at) {
                Some(place) if known => *place,
                _ => self.place(pair[0], pair[1]),
            };
            self.tables[place.0 as usize].values[place.1 as usize].1.push(id);
            match self.last.places.get_mut(at) {
                Some(last) => *last = place,
                None => self.last.places.push(place),
            }
        }
        self.last.places.truncate(pairs.len() / 2);
        self.last.pairs.clear();
        self.last.pairs.extend_from_slice(pairs);
    }

    /// Where the series of a label pair are listed.
    fn place(&mut self, name: Symbol, value: Symbol) -> (u32, u32) {
        let table = *self.labels.entry(name).or_insert_with(|| {
            self.free_tables.pop().unwrap_or_else(|| {
                self.tables.push(LabelValues::default());
                self.tables.len() as u32 - 1
            })
        });
        let label = &mut self.tables[table as usize];
        let next = label.values.len() as u32;
        let at = *label.by_symbol.entry(value).or_insert(next);
        if at == next {
            label.values.push((value, Postings::default()));
        }
        (table, at)
    }

    /// Takes a series out of all its labels.
    pub fn remove(&mut self, id: u32, pairs: impl Iterator<Item = [Symbol; 2]>) {
        // Values change places.
        self.last.pairs.clear();
        self.last.places.clear();
        for pair in pairs {
            let Some(table) = self.labels.get(&pair[0]).copied() else { continue };
            let label = &mut self.tables[table as usize];
            label.remove(pair[1], id);
            if label.values.is_empty() {
                *label = LabelValues::default();
                self.labels.remove(&pair[0]);
                self.free_tables.push(table);
            }
        }
    }

    /// Label names, unsorted.
    pub fn names(&self) -> impl Iterator<Item = (&str, &LabelValues)> {
        let table = |table: &u32| &self.tables[*table as usize];
        self.labels.iter().map(move |(name, values)| (self.symbols.text(*name), table(values)))
    }

    pub fn label(&self, name: &str) -> Option<&LabelValues> {
        let table = *self.labels.get(&self.symbols.find(name)?)?;
        self.tables.get(table as usize)
    }

    /// Ids of the series that have the label with a value that matches (or, `wanted` false, does not).
    pub fn union(&self, matcher: &Matcher, wanted: bool) -> RoaringBitmap {
        let mut out = RoaringBitmap::new();
        let Some(label) = self.label(&matcher.name) else { return out };
        if let Some(values) = exact_values(matcher, wanted) {
            for value in values {
                if let Some(postings) = self.symbols.find(value).and_then(|s| label.postings(s)) {
                    postings.union_into(&mut out);
                }
            }
            return out;
        }
        for (value, postings) in &label.values {
            if matcher.matches(self.symbols.text(*value)) == wanted {
                postings.union_into(&mut out);
            }
        }
        out
    }
}

/// What a selection needs of an index, in memory or in a block.
pub trait Lookup {
    /// What keeps an index from being read.
    type Error;

    /// Every series.
    fn all(&self) -> RoaringBitmap;

    /// Ids of the series that have the matcher's label with a value that matches (or, `wanted` false, does
    /// not).
    fn union(&self, matcher: &Matcher, wanted: bool) -> Result<RoaringBitmap, Self::Error>;
}

/// Ids of the series that match all of `matchers`.
pub fn select<L: Lookup>(index: &L, matchers: &[Matcher]) -> Result<RoaringBitmap, L::Error> {
    // What a matcher that also matches "" demands is easier said as what it forbids.
    let (mut demands, forbids): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|m| !m.matches_empty());
    // The metric name is cheap to find and narrows most.
    demands.sort_by_key(|m| (m.regex().is_some(), m.name != METRIC_NAME));
    let mut found: Option<RoaringBitmap> = None;
    for matcher in demands {
        let ids = index.union(matcher, true)?;
        let narrowed = match found {
            Some(before) => before & ids,
            None => ids,
        };
        if narrowed.is_empty() {
            return Ok(narrowed);
        }
        found = Some(narrowed);
    }
    let mut found = found.unwrap_or_else(|| index.all());
    for matcher in forbids {
        if !matches!(matcher.regex().map(|r| r.shape()), Some(Shape::Any)) || !matcher.matches("x") {
            found -= index.union(matcher, false)?;
        }
    }
    Ok(found)
}

/// The values for which `matches(value) == wanted`, where the matcher itself names them.
pub fn exact_values(matcher: &Matcher, wanted: bool) -> Option<Vec<&str>> {
    use hearth_model::MatchOp;
    let positive = matches!(matcher.op, MatchOp::Equal | MatchOp::Regex);
    if positive != wanted {
        return None;
    }
    match matcher.regex() {
        None => Some(vec![&matcher.value]),
        Some(regex) => match regex.shape() {
            Shape::Set(values) => Some(values.iter().map(String::as_str).collect()),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_model::MatchOp;
    use std::collections::{BTreeMap, BTreeSet};

    /// Series come and go at random, like ones often one after the other: each label pair lists its own.
    #[test]
    fn what_the_last_series_had_is_not_taken_for_what_it_is() {
        let mut random = fastrand::Rng::with_seed(3);
        let (mut index, mut there) = (Index::default(), BTreeMap::<u32, (Vec<Symbol>, Vec<String>)>::new());
        for _ in 0..4_000 {
            let id = random.u32(0..200);
            if let Some((pairs, _)) = there.remove(&id) {
                index.remove(id, pairs.chunks_exact(2).map(|pair| [pair[0], pair[1]]));
                pairs.iter().for_each(|symbol| index.symbols.release(*symbol));
                continue;
            }
            let mut texts = Vec::new();
            for i in 0..random.usize(1..5) {
                if random.u32(0..8) > 0 {
                    texts.extend([format!("name-{i}"), format!("value-{}", random.u32(0..3))]);
                }
            }
            let mut pairs = Vec::new();
            index.intern(texts.chunks_exact(2).map(|p| (p[0].as_str(), p[1].as_str())), &mut pairs);
            index.file(id, &pairs);
            pairs.iter().for_each(|symbol| index.symbols.hold(*symbol));
            assert!(pairs.iter().map(|s| index.symbols.text(*s)).eq(texts.iter()));
            there.insert(id, (pairs, texts));
            let mut expect = BTreeMap::<(&str, &str), BTreeSet<u32>>::new();
            for (id, (_, texts)) in &there {
                for pair in texts.chunks_exact(2) {
                    expect.entry((&pair[0], &pair[1])).or_default().insert(*id);
                }
            }
            let found: BTreeMap<_, BTreeSet<u32>> = index
                .names()
                .flat_map(|(name, label)| label.values.iter().map(move |(value, ids)| (name, value, ids)))
                .map(|(name, value, ids)| ((name, index.symbols.text(*value)), ids.ids().collect()))
                .collect();
            assert_eq!(found, expect);
        }
    }

    fn index() -> Index {
        let mut index = Index::default();
        let series: [&[(&str, &str)]; 5] = [
            &[("__name__", "up"), ("job", "a")],
            &[("__name__", "up"), ("job", "b")],
            &[("__name__", "up")],
            &[("__name__", "down"), ("job", "a"), ("zone", "x")],
            &[("__name__", "down"), ("job", "ab")],
        ];
        for (id, labels) in series.iter().enumerate() {
            let mut pairs = Vec::new();
            index.intern(labels.iter().copied(), &mut pairs);
            index.file(id as u32, &pairs);
        }
        index
    }

    struct Five(Index);

    impl Lookup for Five {
        type Error = std::convert::Infallible;

        fn all(&self) -> RoaringBitmap {
            (0..5).collect()
        }

        fn union(&self, matcher: &Matcher, wanted: bool) -> Result<RoaringBitmap, Self::Error> {
            Ok(self.0.union(matcher, wanted))
        }
    }

    #[track_caller]
    fn check(matchers: &[(&str, MatchOp, &str)], expect: &[u32]) {
        let matchers: Vec<Matcher> = matchers
            .iter()
            .map(|(name, op, value)| Matcher::new(*op, *name, *value).expect("valid matcher"))
            .collect();
        let Ok(found) = select(&Five(index()), &matchers);
        assert_eq!(found.iter().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn matchers_select_series() {
        use MatchOp::*;
        check(&[("__name__", Equal, "up")], &[0, 1, 2]);
        check(&[("__name__", Equal, "up"), ("job", Equal, "a")], &[0]);
        check(&[("job", Equal, "")], &[2]);
        check(&[("job", NotEqual, "")], &[0, 1, 3, 4]);
        check(&[("job", NotEqual, "a")], &[1, 2, 4]);
        check(&[("job", Regex, "a|b")], &[0, 1, 3]);
        check(&[("job", Regex, "a.*")], &[0, 3, 4]);
        check(&[("job", Regex, "(a|)")], &[0, 2, 3]);
        check(&[("job", NotRegex, "a|b")], &[2, 4]);
        check(&[("job", NotRegex, ".+")], &[2]);
        check(&[("job", Regex, ".*")], &[0, 1, 2, 3, 4]);
        check(&[("job", NotRegex, ".*")], &[]);
        check(&[("zone", Equal, "nowhere")], &[]);
        check(&[("nolabel", Equal, "x")], &[]);
        check(&[("nolabel", NotEqual, "x")], &[0, 1, 2, 3, 4]);
        check(&[], &[0, 1, 2, 3, 4]);
    }
}
