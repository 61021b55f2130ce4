//! A block of Prometheus' becomes blocks of the shards.
//!
//! 1. All series are walked for their shard, and for the stretches of time that they have samples in: a
//!    stretch is as long as blocks of ours grow, so that a long block is not kept for its youngest sample.
//! 2. For each stretch and shard the strings that occur are brought together.
//! 3. The series are walked again, in the order in which both kinds of block have them; samples within the
//!    stretch, without those deleted, are encoded anew.
//! 4. The files are synced and handed to their shards, which show them to readers.
//!
//! What cannot be read is told and left out; the original stays, so it is not lost with that. A repetition
//! after a crash makes the same samples again: they count once, and compaction brings them together.

use super::{AtOnce, MovingError};
use crate::block::file::Directory;
use crate::block::writer::{BlockWriter, SortedSymbols};
use crate::compact::choose::GROWTH;
use crate::disk::blocking::BlockingDisk;
use crate::disk::names;
use crate::handle::Handle;
use crate::index::symbols::Symbol;
use crate::prometheus::FileError;
use crate::prometheus::block::{Block, SampleReader, labels};
use crate::prometheus::chunks::Samples;
use crate::prometheus::directory::BlockEntry;
use crate::prometheus::index::{Index, SeriesEntry};
use crate::router::Router;
use futures_executor::block_on;
use hearth_kernels::codec::Effort;
use hearth_model::{TimeRange, key};
use roaring::RoaringBitmap;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A chunk across more stretches than this is damage: it would be months long.
const MAX_STRETCHES: i64 = 64;
/// Damages that are kept as text; more are counted.
const LISTED_DAMAGES: usize = 20;
/// Series between two looks at whether to stop.
const CHECK_SERIES: usize = 1024;

/// What a conversion did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Converted {
    pub series: u64,
    pub samples: u64,
    pub blocks: u64,
    pub damages: Vec<String>,
    pub more_damages: u64,
}

impl Converted {
    fn damage(&mut self, what: String) {
        if self.damages.len() < LISTED_DAMAGES { self.damages.push(what) } else { self.more_damages += 1 }
    }

    pub fn is_whole(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Where blocks go.
pub struct Target<'a> {
    pub store: &'a Handle,
    pub path: &'a Path,
    pub block_range_ms: i64,
    /// What is older than this is past its retention: it is left out.
    pub oldest_ms: i64,
    /// Whether to go on.
    pub goes_on: &'a dyn Fn() -> bool,
}

/// What the first walk found.
struct Plan {
    /// Of each series, in the order of the index; none where its labels cannot be used.
    hashes: Vec<Option<u128>>,
    /// Numbers of the stretches, ascending.
    stretches: BTreeSet<i64>,
}

/// A block of a shard that is being written.
struct Open {
    shard: usize,
    number: u64,
    unfinished: PathBuf,
    used: RoaringBitmap,
    writer: BlockWriter<BlockingDisk>,
    before: Vec<Symbol>,
}

/// Converts one block. See the module's head.
pub fn convert(entry: &BlockEntry, target: &Target<'_>) -> Result<Converted, MovingError> {
    let mut done = Converted::default();
    let mut block = Block::open(entry)?;
    let stretch_ms = target.block_range_ms.saturating_mul(GROWTH[GROWTH.len() - 1]).max(1);
    let (index, mut reader) = block.parts();
    let plan = plan(index, target, stretch_ms, &mut done)?;
    done.series = plan.hashes.iter().flatten().count() as u64;
    for stretch in plan.stretches.iter().rev() {
        let start_ms = stretch.saturating_mul(stretch_ms);
        let range = TimeRange::new(start_ms, start_ms.saturating_add(stretch_ms - 1));
        if range.max_ms < target.oldest_ms {
            continue;
        }
        let mut open = begin(index, &plan, range, target)?;
        let written = write(index, &mut reader, &plan, range, target, &mut open, &mut done);
        if let Err(error) = written {
            open.into_iter().for_each(|one| one.writer.abandon());
            return Err(error);
        }
        for one in open {
            finish(one, target, &mut done)?;
        }
    }
    Ok(done)
}

/// Walks the series of an index up to its end, or up to where it is damaged.
fn walk(
    index: &Index,
    target: &Target<'_>,
    mut each: impl FnMut(usize, &SeriesEntry) -> Result<(), MovingError>,
) -> Result<Option<FileError>, MovingError> {
    let (mut walk, mut series) = (index.walk(), SeriesEntry::default());
    for at in 0.. {
        if at % CHECK_SERIES == 0 && !(target.goes_on)() {
            return Err(MovingError::Stopped);
        }
        match walk.next(&mut series) {
            Ok(true) => each(at, &series)?,
            Ok(false) => break,
            Err(error) => return Ok(Some(error)),
        }
    }
    Ok(None)
}

fn plan(
    index: &Index,
    target: &Target<'_>,
    stretch_ms: i64,
    done: &mut Converted,
) -> Result<Plan, MovingError> {
    let router = target.store.router();
    let mut plan = Plan { hashes: Vec::new(), stretches: BTreeSet::new() };
    let mut bytes = Vec::new();
    let damage = walk(index, target, |_, series| {
        let hash = match labels(index, &series.pairs) {
            Ok(labels) => {
                bytes.clear();
                key::push_key(&mut bytes, &labels);
                Some(router.hash(&bytes))
            }
            Err(error) => {
                done.damage(format!("series {}: {error}", series.reference));
                None
            }
        };
        plan.hashes.push(hash);
        for chunk in &series.chunks {
            let (first, last) = (chunk.min_ms.div_euclid(stretch_ms), chunk.max_ms.div_euclid(stretch_ms));
            if last < first || last - first > MAX_STRETCHES {
                done.damage(format!("series {}: a chunk's times do not fit", series.reference));
                continue;
            }
            plan.stretches.extend(first..=last);
        }
        Ok(())
    })?;
    if let Some(error) = damage {
        done.damage(error.to_string());
    }
    Ok(plan)
}

fn overlaps(series: &SeriesEntry, range: TimeRange) -> bool {
    series.chunks.iter().any(|chunk| TimeRange::new(chunk.min_ms, chunk.max_ms).overlaps(range))
}

/// The pairs that count: an empty value means that the label is not there.
fn pairs<'a>(index: &'a Index, series: &'a SeriesEntry) -> impl Iterator<Item = [Symbol; 2]> + 'a {
    let all = series.pairs.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    all.filter(|pair| index.symbol(pair[1]).is_some_and(|value| !value.is_empty()))
}

/// Step 2 of the module's head.
fn begin(
    index: &Index,
    plan: &Plan,
    range: TimeRange,
    target: &Target<'_>,
) -> Result<Vec<Open>, MovingError> {
    let router: &Router = target.store.router();
    let mut used = vec![RoaringBitmap::new(); router.shards()];
    walk(index, target, |at, series| {
        if let Some(hash) = plan.hashes.get(at).copied().flatten()
            && overlaps(series, range)
        {
            let strings = &mut used[router.shard(hash)];
            strings.extend(pairs(index, series).flatten());
        }
        Ok(())
    })?;
    let mut open = Vec::new();
    for (shard, used) in used.into_iter().enumerate().filter(|(_, used)| !used.is_empty()) {
        let mut symbols = SortedSymbols::default();
        for symbol in &used {
            let text = index.symbol(symbol).unwrap_or_default();
            if !symbols.has_room(text.len()) {
                return Err(MovingError::Refused("the block's label text would outgrow its offsets".into()));
            }
            symbols.push(text);
        }
        let number = target.store.take_block_number(shard)?;
        let blocks = names::shard_directory(target.path, shard).join(names::BLOCKS);
        let unfinished = names::block(&blocks, number).with_extension(names::UNFINISHED);
        let directory = Directory {
            shard: shard as u32,
            number,
            seed: target.store.seed(),
            // It says nothing of what else was ever taken.
            cut_ms: i64::MIN,
            ..Directory::default()
        };
        let writer = BlockWriter::create(&BlockingDisk, &unfinished, directory, symbols, Effort::Small)
            .map_err(MovingError::io(&unfinished))?;
        open.push(Open { shard, number, unfinished, used, writer, before: Vec::new() });
    }
    Ok(open)
}

/// Step 3 of the module's head.
fn write(
    index: &Index,
    reader: &mut SampleReader<'_>,
    plan: &Plan,
    range: TimeRange,
    target: &Target<'_>,
    open: &mut [Open],
    done: &mut Converted,
) -> Result<(), MovingError> {
    let router = target.store.router();
    let (mut samples, mut ranks) = (Samples::default(), Vec::new());
    walk(index, target, |at, series| {
        let Some(hash) = plan.hashes.get(at).copied().flatten().filter(|_| overlaps(series, range)) else {
            return Ok(());
        };
        let shard = router.shard(hash);
        let Some(one) = open.iter_mut().find(|one| one.shard == shard) else { return Ok(()) };
        samples.clear();
        reader.read(series, range, &mut samples, |error| done.damage(error.to_string()));
        ranks.clear();
        ranks.extend(pairs(index, series).flatten().map(|symbol| one.used.rank(symbol) as u32 - 1));
        if samples.is_empty() {
            return Ok(());
        }
        if !one.before.is_empty() && ranks <= one.before {
            done.damage(format!("series {} is not in the order of labels", series.reference));
            return Ok(());
        }
        one.before.clone_from(&ranks);
        done.samples += samples.len() as u64;
        one.writer.push_floats(&samples.times, &samples.values);
        one.writer.push_histograms(&samples.histograms);
        block_on(one.writer.end_series(hash, &ranks)).map_err(MovingError::io(&one.unfinished))
    })?;
    Ok(())
}

/// Step 4 of the module's head.
fn finish(one: Open, target: &Target<'_>, done: &mut Converted) -> Result<(), MovingError> {
    let directory = block_on(one.writer.finish(&AtOnce)).map_err(MovingError::io(&one.unfinished))?;
    if directory.series == 0 {
        // All of it was deleted, or could not be read.
        return std::fs::remove_file(&one.unfinished).map_err(MovingError::io(&one.unfinished));
    }
    target.store.adopt_block(one.shard, one.number, one.unfinished)?;
    done.blocks += 1;
    Ok(())
}
