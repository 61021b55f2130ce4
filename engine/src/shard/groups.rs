//! The groups of a projection, numbered without touching a string more than once: each source's symbols are
//! translated into the query's own as they are met.

use super::sources::{Place, Sources};
use crate::index::symbols::{Symbol, Symbols};
use ahash::{AHashMap, AHashSet};
use hearth_model::Labels;
use hearth_model::store::Projection;

/// See the module's head.
pub enum Groups {
    /// Group number -> series.
    All {
        places: Vec<Place>,
        pairs: Vec<Symbol>,
    },
    Projected(Box<Projected>),
}

/// Groups by some of the labels.
pub struct Projected {
    /// Of each source: the symbols of the projection's names. A name that no series has cannot be in a label
    /// set.
    names: Vec<AHashSet<Symbol>>,
    keep: bool,
    symbols: Symbols,
    /// Of each source: its symbols in ours.
    translated: Vec<AHashMap<Symbol, Symbol>>,
    numbers: AHashMap<Box<[Symbol]>, u32>,
    keys: Vec<Box<[Symbol]>>,
    pairs: Vec<Symbol>,
    key: Vec<Symbol>,
}

impl Groups {
    pub fn new(sources: &Sources, projection: Projection) -> Groups {
        let (names, keep) = match projection {
            Projection::All => return Groups::All { places: Vec::new(), pairs: Vec::new() },
            Projection::Only(names) => (names, true),
            Projection::Without(names) => (names, false),
        };
        let of = |source| names.iter().filter_map(|n| sources.find(source, n)).collect();
        Groups::Projected(Box::new(Projected {
            names: (0..sources.count()).map(of).collect(),
            keep,
            symbols: Symbols::default(),
            translated: vec![AHashMap::new(); usize::from(sources.count())],
            numbers: AHashMap::new(),
            keys: Vec::new(),
            pairs: Vec::new(),
            key: Vec::new(),
        }))
    }

    /// The series' group, and the bytes that a new one cost; nothing where damage hides the labels.
    pub fn number(&mut self, sources: &Sources, place: Place) -> Option<(u32, usize)> {
        match self {
            Groups::All { places, pairs } => {
                if !sources.pairs(place, pairs) {
                    return None;
                }
                places.push(place);
                Some((places.len() as u32 - 1, std::mem::size_of::<Place>()))
            }
            Groups::Projected(groups) => groups.number(sources, place),
        }
    }

    /// Name and value symbols of the series that was numbered last, as its source has them.
    pub fn last_pairs(&self) -> &[Symbol] {
        match self {
            Groups::All { pairs, .. } => pairs,
            Groups::Projected(groups) => &groups.pairs,
        }
    }

    pub fn labels(&self, sources: &Sources, group: u32) -> Labels {
        match self {
            Groups::All { places, .. } => {
                places.get(group as usize).map_or_else(Labels::empty, |place| sources.labels(*place))
            }
            Groups::Projected(groups) => {
                let key = groups.keys.get(group as usize).map_or(&[][..], |key| key);
                let text = |symbol| groups.symbols.text(symbol);
                Labels::from_sorted(key.chunks_exact(2).map(|p| (text(p[0]), text(p[1]))))
            }
        }
    }
}

impl Projected {
    fn number(&mut self, sources: &Sources, place: Place) -> Option<(u32, usize)> {
        let source = usize::from(place.0);
        if !sources.pairs(place, &mut self.pairs) {
            return None;
        }
        self.key.clear();
        let mut cost = 0;
        for pair in self.pairs.chunks_exact(2) {
            if self.names[source].contains(&pair[0]) != self.keep {
                continue;
            }
            for symbol in pair {
                let ours = *self.translated[source].entry(*symbol).or_insert_with(|| {
                    cost += SYMBOL_BYTES;
                    sources.text(place.0, *symbol, |text| {
                        cost += text.len();
                        self.symbols.intern(text)
                    })
                });
                self.key.push(ours);
            }
        }
        if let Some(number) = self.numbers.get(self.key.as_slice()) {
            return Some((*number, cost));
        }
        let number = self.keys.len() as u32;
        let boxed: Box<[Symbol]> = self.key.as_slice().into();
        self.numbers.insert(boxed.clone(), number);
        self.keys.push(boxed);
        Some((number, cost + 2 * std::mem::size_of_val(self.key.as_slice()) + 64))
    }
}

/// What a translated symbol costs beside its text.
const SYMBOL_BYTES: usize = 24;
