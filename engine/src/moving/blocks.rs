//! A block a shard, of series that come in order of their labels.

use super::{AtOnce, MovingError};
use crate::block::file::Directory;
use crate::block::writer::{BlockWriter, SortedSymbols};
use crate::disk::blocking::BlockingDisk;
use crate::disk::names;
use crate::handle::Handle;
use crate::index::symbols::Symbol;
use crate::prometheus::chunks::Samples;
use ahash::AHashMap;
use futures_executor::block_on;
use hearth_kernels::codec::Effort;
use hearth_model::{Labels, key};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A block of one shard that is being written.
struct Open {
    number: u64,
    unfinished: PathBuf,
    ranks: AHashMap<String, Symbol>,
    writer: BlockWriter<BlockingDisk>,
}

/// The blocks of all shards of a store. Dropped without [`Blocks::finish`] they are nothing but unfinished files, which
/// the next start removes.
pub struct Blocks<'a> {
    store: &'a Handle,
    open: Vec<Option<Open>>,
    pairs: Vec<Symbol>,
}

impl<'a> Blocks<'a> {
    /// `path` is the store's; `texts` are by shard, all names and values of the series to come.
    pub fn begin(
        store: &'a Handle,
        path: &Path,
        cut_ms: i64,
        texts: Vec<BTreeSet<String>>,
    ) -> Result<Blocks<'a>, MovingError> {
        let mut open = Vec::new();
        for (shard, texts) in texts.into_iter().enumerate() {
            open.push(if texts.is_empty() { None } else { Some(begin(store, path, shard, cut_ms, texts)?) });
        }
        Ok(Blocks { store, open, pairs: Vec::new() })
    }

    /// Appends a series, whole, to the block of its shard.
    pub fn push(&mut self, labels: &Labels, samples: &Samples) -> Result<(), MovingError> {
        let router = self.store.router();
        let hash = router.hash(&key::key_of(labels));
        let Some(one) = self.open[router.shard(hash)].as_mut() else { return Ok(()) };
        self.pairs.clear();
        let texts = labels.iter().flat_map(|(name, value)| [name, value]);
        self.pairs.extend(texts.filter_map(|text| one.ranks.get(text)));
        one.writer.push_floats(&samples.times, &samples.values);
        one.writer.push_histograms(&samples.histograms);
        block_on(one.writer.end_series(hash, &self.pairs)).map_err(MovingError::io(&one.unfinished))
    }

    /// Shows the blocks to the store's readers; returns how many there are.
    pub fn finish(self) -> Result<u64, MovingError> {
        let mut blocks = 0;
        for (shard, one) in self.open.into_iter().enumerate() {
            let Some(one) = one else { continue };
            block_on(one.writer.finish(&AtOnce)).map_err(MovingError::io(&one.unfinished))?;
            self.store.adopt_block(shard, one.number, one.unfinished)?;
            blocks += 1;
        }
        Ok(blocks)
    }
}

fn begin(
    store: &Handle,
    path: &Path,
    shard: usize,
    cut_ms: i64,
    texts: BTreeSet<String>,
) -> Result<Open, MovingError> {
    let (mut symbols, mut ranks) = (SortedSymbols::default(), AHashMap::new());
    for text in texts {
        if !symbols.has_room(text.len()) {
            return Err(MovingError::Refused("the block's label text would outgrow its offsets".into()));
        }
        ranks.insert(text.clone(), symbols.push(&text));
    }
    let number = store.take_block_number(shard)?;
    let blocks = names::shard_directory(path, shard).join(names::BLOCKS);
    let unfinished = names::block(&blocks, number).with_extension(names::UNFINISHED);
    let directory =
        Directory { shard: shard as u32, number, seed: store.seed(), cut_ms, ..Directory::default() };
    let writer = BlockWriter::create(&BlockingDisk, &unfinished, directory, symbols, Effort::Small)
        .map_err(MovingError::io(&unfinished))?;
    Ok(Open { number, unfinished, ranks, writer })
}
