//! What a reader looks at: the blocks of its range and the head, as they are when it begins.
//!
//! A series may be in several of them; it is known by its key's hash. Each sample is in one of them only:
//! the head is read from where the blocks end. What a damaged block does not give is missing (logged and
//! counted by the block), the rest is there.

use super::ShardState;
use super::blocks::BlockList;
use super::readers::Reader;
use crate::block::file::Damage;
use crate::block::rows::known_hash;
use crate::block::{Block, Buffers};
use crate::index;
use crate::index::symbols::Symbol;
use ahash::AHashMap;
use hearth_model::{Labels, Matcher, TimeRange};
use roaring::RoaringBitmap;
use std::rc::Rc;

/// A series as one source has it: the source's number and the series' number there.
pub type Place = (u16, u32);

/// See the module's head. Sources are numbered in order of time, the head last.
pub struct Sources {
    state: Rc<ShardState>,
    blocks: Vec<Rc<Block>>,
    /// The head's own range, where the reader needs the head.
    head: Option<TimeRange>,
    pub range: TimeRange,
    /// Keeps the head's data where it is.
    _reader: Reader,
}

impl Sources {
    pub fn new(state: &Rc<ShardState>, range: TimeRange) -> Sources {
        let reader = state.readers.enter();
        let list: BlockList = state.blocks.list();
        let blocks = list.iter().filter(|b| b.range().overlaps(range)).cloned().collect();
        let from_ms = state.head_from_ms.get();
        let head = state.head.borrow();
        let known = match (head.figures.min_ms, head.figures.max_ms) {
            (Some(min), Some(max)) => TimeRange::new(min.max(from_ms), max),
            _ => TimeRange::new(0, -1),
        };
        let wanted = !known.is_empty() && known.overlaps(range);
        // Samples that come while the reader is at work belong to it too.
        let head_range = TimeRange::new(range.min_ms.max(from_ms), range.max_ms);
        Sources { state: state.clone(), blocks, head: wanted.then_some(head_range), range, _reader: reader }
    }

    pub fn count(&self) -> u16 {
        self.blocks.len() as u16 + u16::from(self.head.is_some())
    }

    /// The source's block; none for the head.
    pub fn block(&self, source: u16) -> Option<&Block> {
        self.blocks.get(usize::from(source)).map(|b| &**b)
    }

    /// What part of the range the source is read for.
    pub fn head_range(&self) -> TimeRange {
        self.head.unwrap_or(TimeRange::new(0, -1))
    }

    pub fn select(&self, source: u16, matchers: &[Matcher]) -> RoaringBitmap {
        match self.block(source) {
            Some(block) => index::select(block, matchers).unwrap_or_default(),
            None => self.state.head.borrow().select(matchers),
        }
    }

    /// Asks for what reading the series will touch in memory.
    pub fn prefetch(&self, (source, series): Place, near: bool) {
        if self.block(source).is_none() {
            self.state.head.borrow().prefetch(series, near);
        }
    }

    pub fn all(&self, source: u16) -> RoaringBitmap {
        match self.block(source) {
            Some(block) => index::Lookup::all(block),
            None => index::Lookup::all(&*self.state.head.borrow()),
        }
    }

    /// The series that have samples still, where deletions left some without; none where all count.
    pub fn remaining(&self, source: u16) -> Option<RoaringBitmap> {
        let emptied = match self.block(source) {
            Some(block) => block.tombstones().emptied(block.range()),
            None => self.state.head.borrow().emptied(),
        };
        (!emptied.is_empty()).then(|| self.all(source) - emptied)
    }

    /// The hash of the series' key, as far as all kinds of sources know it.
    fn hash(&self, (source, series): Place) -> Result<u128, Damage> {
        match self.block(source) {
            Some(block) => block.hash(series),
            None => Ok(known_hash(self.state.head.borrow().hash(series))),
        }
    }

    /// Name and value symbols of the series, in label order; `false` where damage hides them or one of their
    /// texts. What was readable once stays so.
    pub fn pairs(&self, (source, series): Place, out: &mut Vec<Symbol>) -> bool {
        let Some(block) = self.block(source) else {
            out.clear();
            self.state.head.borrow().push_symbols(series, out);
            return true;
        };
        block.pairs(series, out).is_ok() && out.iter().all(|symbol| block.text(*symbol).is_ok())
    }

    /// Runs `with` on a symbol's text.
    pub fn text<T>(&self, source: u16, symbol: Symbol, with: impl FnOnce(&str) -> T) -> T {
        match self.block(source) {
            Some(block) => with(block.text(symbol).unwrap_or_default()),
            None => with(self.state.head.borrow().index().symbols.text(symbol)),
        }
    }

    /// Shows the texts of name and value symbols.
    pub fn visit_texts(&self, source: u16, pairs: &[Symbol], mut each: impl FnMut(&str, &str)) {
        let pairs = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        if let Some(block) = self.block(source) {
            let text = |symbol| block.text(symbol).unwrap_or_default();
            pairs.for_each(|(name, value)| each(text(name), text(value)));
        } else {
            let head = self.state.head.borrow();
            let text = |symbol| head.index().symbols.text(symbol);
            pairs.for_each(|(name, value)| each(text(name), text(value)));
        }
    }

    pub fn find(&self, source: u16, text: &str) -> Option<Symbol> {
        match self.block(source) {
            Some(block) => block.find(text).ok().flatten(),
            None => self.state.head.borrow().index().symbols.find(text),
        }
    }

    pub fn labels(&self, place: Place) -> Labels {
        let Some(block) = self.block(place.0) else { return self.state.head.borrow().labels_of(place.1) };
        let mut pairs = Vec::new();
        if !self.pairs(place, &mut pairs) {
            return Labels::empty();
        }
        let text = |symbol| block.text(symbol).unwrap_or_default();
        Labels::from_sorted(pairs.chunks_exact(2).map(|p| (text(p[0]), text(p[1]))))
    }

    /// Whether the series may have samples in the range.
    pub fn overlaps(&self, (source, series): Place, buffers: &mut Buffers) -> bool {
        match self.block(source) {
            Some(block) => block.overlaps(series, self.range, buffers).unwrap_or(false),
            None => self.state.head.borrow().overlaps(series, self.head_range()),
        }
    }

    pub fn state(&self) -> &ShardState {
        &self.state
    }
}

/// No further place.
const END: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    place: Place,
    next: u32,
}

/// The series of several sources, each once, with all its places in order of the sources.
#[derive(Debug, Default)]
pub struct Merged {
    links: Vec<Link>,
    /// First and last link of each series.
    ends: Vec<(u32, u32)>,
    by_hash: AHashMap<u128, u32>,
}

impl Merged {
    /// Adds a source's series; sources come in ascending order. A series that the damage of its block hides
    /// is left out.
    pub fn add(&mut self, sources: &Sources, place: Place) {
        let Ok(hash) = sources.hash(place) else { return };
        let link = self.links.len() as u32;
        self.links.push(Link { place, next: END });
        let new = self.ends.len() as u32;
        let at = *self.by_hash.entry(hash).or_insert(new);
        if at == new {
            self.ends.push((link, link));
        } else {
            let (_, last) = &mut self.ends[at as usize];
            self.links[*last as usize].next = link;
            *last = link;
        }
    }

    /// No more series come.
    pub fn finish(&mut self) {
        self.by_hash = AHashMap::new();
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A series' places.
    pub fn places(&self, at: usize) -> impl Iterator<Item = Place> {
        let mut next = self.ends.get(at).map_or(END, |(first, _)| *first);
        std::iter::from_fn(move || {
            let link = self.links.get(next as usize)?;
            next = link.next;
            Some(link.place)
        })
    }

    /// Memory held, about.
    pub const SERIES_BYTES: usize = 64;
}
