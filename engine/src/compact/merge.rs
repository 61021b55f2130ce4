//! One block out of several, series by series, in the order of their label sets.
//!
//! 1. The sources' strings are brought together; each source's symbol numbers then ascend in the new ones.
//! 2. The sources' series are walked side by side; those with one label set become one series, its samples
//!    in order of time, encoded anew in chunks as long as they may be.
//!
//! Series of which everything was deleted, and strings that only they have, are left behind.
//!
//! A damaged page anywhere ends it: what was readable stays in the sources, where it is served.

use crate::block::file::Damage;
use crate::block::writer::{BlockWriter, SortedSymbols};
use crate::block::{Block, Buffers};
use crate::chunk::columns::FloatColumns;
use crate::chunk::histogram::Timed;
use crate::disk::Disk;
use crate::index::symbols::Symbol;
use crate::pace::Pace;
use hearth_model::TimeRange;
use roaring::RoaringBitmap;
use std::io;
use std::rc::Rc;

/// What keeps blocks from becoming one.
#[derive(Debug)]
pub enum MergeError {
    Damaged,
    Io(io::Error),
}

impl From<Damage> for MergeError {
    fn from(_: Damage) -> Self {
        MergeError::Damaged
    }
}

impl From<io::Error> for MergeError {
    fn from(error: io::Error) -> Self {
        MergeError::Io(error)
    }
}

/// The strings of several blocks, and what each block's symbols are called among them.
pub struct Strings {
    pub symbols: SortedSymbols,
    translated: Vec<Vec<Symbol>>,
}

/// A symbol that no series has any more.
const UNUSED: Symbol = Symbol::MAX;

/// The symbols of a block that series with samples have; none where nothing was deleted from it.
async fn used(block: &Block, pace: &impl Pace) -> Result<Option<RoaringBitmap>, MergeError> {
    if block.tombstones().is_empty() {
        return Ok(None);
    }
    let (mut used, mut pairs, mut buffers) = (RoaringBitmap::new(), Vec::new(), Buffers::default());
    for series in 0..block.series_count() {
        if block.overlaps(series, TimeRange::ALL, &mut buffers)? {
            block.pairs(series, &mut pairs)?;
            used.extend(&pairs);
        }
        pace.pause().await;
    }
    Ok(Some(used))
}

/// Step 1 of the module's head.
pub async fn strings(sources: &[Rc<Block>], pace: &impl Pace) -> Result<Strings, MergeError> {
    let mut out = Strings { symbols: SortedSymbols::default(), translated: vec![Vec::new(); sources.len()] };
    let mut wanted = Vec::new();
    for block in sources {
        wanted.push(used(block, pace).await?);
    }
    loop {
        for ((block, done), wanted) in sources.iter().zip(&mut out.translated).zip(&wanted) {
            let Some(wanted) = wanted else { continue };
            while done.len() < block.symbol_count() as usize && !wanted.contains(done.len() as u32) {
                done.push(UNUSED);
            }
        }
        let mut least: Option<&str> = None;
        for (block, done) in sources.iter().zip(&out.translated) {
            if done.len() < block.symbol_count() as usize {
                let text = block.text(done.len() as u32)?;
                least = Some(least.map_or(text, |least| least.min(text)));
            }
        }
        let Some(text) = least else { return Ok(out) };
        if !out.symbols.has_room(text.len()) {
            return Err(io::Error::other("the block's label text would outgrow its offsets").into());
        }
        let symbol = out.symbols.push(text);
        for (block, done) in sources.iter().zip(&mut out.translated) {
            if done.len() < block.symbol_count() as usize && block.text(done.len() as u32)? == text {
                done.push(symbol);
            }
        }
        pace.pause().await;
    }
}

/// A source on its way: the series at hand and its label set in the new symbols.
struct Walk<'a> {
    block: &'a Block,
    translated: &'a [Symbol],
    series: u32,
    pairs: Vec<Symbol>,
    buffers: Buffers,
}

impl Walk<'_> {
    /// Goes to a series, or the next one that is not deleted as a whole; past the last one there are no
    /// pairs.
    fn go(&mut self, series: u32) -> Result<(), Damage> {
        self.series = series;
        self.pairs.clear();
        if !self.block.tombstones().is_empty() {
            while !self.ended() && !self.block.overlaps(self.series, TimeRange::ALL, &mut self.buffers)? {
                self.series += 1;
            }
        }
        let series = self.series;
        if series < self.block.series_count() {
            self.block.pairs(series, &mut self.pairs)?;
            for symbol in &mut self.pairs {
                *symbol = *self.translated.get(*symbol as usize).ok_or(Damage)?;
            }
        }
        Ok(())
    }

    fn ended(&self) -> bool {
        self.series >= self.block.series_count()
    }
}

/// Step 2 of the module's head.
pub async fn series<D: Disk>(
    sources: &[Rc<Block>],
    translated: &[Vec<Symbol>],
    writer: &mut BlockWriter<D>,
    pace: &impl Pace,
) -> Result<(), MergeError> {
    let damages = || sources.iter().map(|b| b.damages()).sum::<u64>();
    let before = damages();
    let mut walks = Vec::new();
    for (block, translated) in sources.iter().zip(translated) {
        let mut walk = Walk { block, translated, series: 0, pairs: Vec::new(), buffers: Buffers::default() };
        walk.go(0)?;
        walks.push(walk);
    }
    let (mut buffers, mut pairs) = (Buffers::default(), Vec::new());
    let (mut floats, mut histograms) = (FloatColumns::default(), Vec::<Timed>::new());
    loop {
        let Some(least) = walks.iter().filter(|w| !w.ended()).min_by(|a, b| a.pairs.cmp(&b.pairs)) else {
            return Ok(());
        };
        pairs.clone_from(&least.pairs);
        let hash = least.block.hash(least.series)?;
        for walk in walks.iter_mut().filter(|w| !w.ended() && w.pairs == pairs) {
            walk.block.read(walk.series, TimeRange::ALL, &mut buffers, &mut floats, &mut histograms)?;
            walk.go(walk.series + 1)?;
        }
        // A chunk that could not be read is no error to a reader; here it would be lost for good.
        if damages() != before {
            return Err(MergeError::Damaged);
        }
        floats.end();
        floats.put_in_order(&mut histograms);
        writer.push_floats(&floats.times, &floats.values);
        writer.push_histograms(&histograms);
        writer.end_series(hash, &pairs).await?;
        floats.begin();
        histograms.clear();
        pace.pause().await;
    }
}

impl Strings {
    /// The strings for the writer, and the translations for [`series`].
    pub fn split(self) -> (SortedSymbols, Vec<Vec<Symbol>>) {
        (self.symbols, self.translated)
    }
}
