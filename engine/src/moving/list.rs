//! The blocks of a data directory of either kind, and the series of one of them, without their samples where that
//! will do.

use super::MovingError;
use super::read::{Files, Nature, nature};
use crate::block::file::SECTION_NAMES;
use crate::block::{Block, Buffers};
use crate::disk::mapped::Mapped;
use crate::disk::names;
use crate::handle;
use crate::prometheus::FormatError;
use crate::prometheus::block::labels;
use crate::prometheus::directory::{BlockEntry, Directory, INDEX};
use crate::prometheus::index::{Index, SeriesEntry};
use hearth_model::{Labels, Matcher, TimeRange};
use std::path::Path;
use std::sync::Arc;

/// A block, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    pub name: String,
    pub min_ms: i64,
    /// The first time that is not the block's any more.
    pub end_ms: i64,
    pub samples: u64,
    pub chunks: u64,
    pub series: u64,
    pub size_bytes: u64,
}

/// See [`blocks`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub blocks: Vec<BlockRow>,
    pub unreadable: Vec<String>,
}

/// All blocks of a directory, ascending in time.
pub fn blocks(path: &Path) -> Result<Listed, MovingError> {
    let mut listed = Listed::default();
    match nature(path)? {
        Nature::Prometheus => {
            let directory = Directory::read(path)?;
            listed.unreadable = directory.unreadable.iter().map(|(_, error)| error.to_string()).collect();
            for entry in &directory.blocks {
                listed.blocks.push(BlockRow {
                    name: entry.ulid.to_string(),
                    min_ms: entry.meta.min_time,
                    end_ms: entry.meta.max_time,
                    samples: entry.meta.stats.num_samples,
                    chunks: entry.meta.stats.num_chunks,
                    series: entry.meta.stats.num_series,
                    size_bytes: size(&entry.path)?,
                });
            }
        }
        Nature::Hearth => {
            each_block(path, &mut listed.unreadable, |name, block| {
                let directory = block.directory();
                listed.blocks.push(BlockRow {
                    name,
                    min_ms: directory.min_ms,
                    end_ms: directory.max_ms.saturating_add(1),
                    samples: directory.samples + directory.histograms,
                    chunks: directory.chunks,
                    series: directory.series,
                    size_bytes: block.len_bytes(),
                });
            })?;
            listed.blocks.sort_by_key(|row| (row.min_ms, row.name.clone()));
        }
    }
    Ok(listed)
}

/// Bytes of all files in a directory and those in it.
fn size(path: &Path) -> Result<u64, MovingError> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(path).map_err(MovingError::io(path))? {
        let entry = entry.map_err(MovingError::io(path))?;
        let metadata = entry.metadata().map_err(MovingError::io(path))?;
        bytes += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Opens every block of ours; its name says shard and number.
fn each_block(
    path: &Path,
    unreadable: &mut Vec<String>,
    mut sink: impl FnMut(String, Block),
) -> Result<(), MovingError> {
    let identity = handle::stored_identity(path)?.ok_or_else(|| MovingError::NoData(path.to_owned()))?;
    for shard in 0..identity.shards {
        let home = names::shard_directory(path, shard).join(names::BLOCKS);
        let files = crate::prometheus::directory::names(&home)?;
        for number in files.iter().filter_map(|name| names::number(name, names::BLOCK)) {
            let file = names::block(&home, number);
            let mapped = Mapped::open(&file).map_err(MovingError::io(&file))?;
            match Block::open(mapped, shard as u32, number, identity.seed) {
                Ok(block) => sink(format!("shard-{shard:04}/{number:010}"), block),
                Err(error) => unreadable.push(format!("{}: {error:?}", file.display())),
            }
        }
    }
    Ok(())
}

/// A series of a block, and from when to when it has samples.
pub struct Extent<'a> {
    pub labels: &'a Labels,
    pub min_ms: i64,
    pub max_ms: i64,
}

/// What [`analyzed`] looked at.
#[derive(Debug, Default)]
pub struct Analyzed {
    pub name: String,
    pub length_ms: i64,
    /// Series that the block says it has.
    pub series: Option<u64>,
    /// Of Hearth's blocks that were looked at: bytes by section, and samples. Nothing of Prometheus'.
    pub sections: Vec<(&'static str, u64)>,
    pub samples_in_blocks: u64,
    pub damages: Vec<String>,
}

/// What a block has beside its sections.
const FRAME: &str = "checksums and directory";

impl Analyzed {
    fn add_sections(&mut self, block: &Block) {
        let directory = block.directory();
        self.samples_in_blocks += directory.samples + directory.histograms;
        let lengths = directory.sections.map(|(_, length)| length);
        let rest = block.len_bytes().saturating_sub(lengths.iter().sum());
        let found = SECTION_NAMES.into_iter().zip(lengths).chain([(FRAME, rest)]);
        if self.sections.is_empty() {
            self.sections = found.collect();
        } else {
            self.sections.iter_mut().zip(found).for_each(|(all, (_, length))| all.1 += length);
        }
    }
}

/// Gives the series of a block to `sink`, each with the length of what is looked at. Without a name it is the block
/// of Prometheus' that was made last, or all of Hearth's data.
pub fn analyzed(
    path: &Path,
    block: Option<&str>,
    sets: &[Arc<[Matcher]>],
    mut sink: impl FnMut(&Extent<'_>, i64),
) -> Result<Analyzed, MovingError> {
    let wanted = |labels: &Labels| {
        let all = |set: &Arc<[Matcher]>| set.iter().all(|m| m.matches(labels.value(&m.name)));
        sets.is_empty() || sets.iter().any(all)
    };
    match (nature(path)?, block) {
        (Nature::Prometheus, block) => {
            let directory = Directory::read(path)?;
            let entry = match block {
                None => directory.blocks.iter().max_by_key(|b| b.ulid),
                Some(name) => directory.blocks.iter().find(|b| b.ulid.to_string() == name),
            };
            let entry = entry.ok_or_else(|| unknown(block))?;
            of_prometheus(entry, sets.is_empty(), wanted, sink)
        }
        (Nature::Hearth, Some(name)) => {
            let (mut unreadable, mut found) = (Vec::new(), None);
            each_block(path, &mut unreadable, |called, block| {
                if called == name {
                    found = Some(block);
                }
            })?;
            of_hearth(name, &found.ok_or_else(|| unknown(block))?, wanted, sink)
        }
        (Nature::Hearth, None) => {
            let mut files = Files::open(path)?;
            let range = files.range();
            let length_ms = range.max_ms.saturating_sub(range.min_ms).saturating_add(1);
            files.series(sets, TimeRange::ALL, |labels, samples| {
                let first =
                    samples.times.first().into_iter().chain(samples.histograms.first().map(|h| &h.0)).min();
                let last =
                    samples.times.last().into_iter().chain(samples.histograms.last().map(|h| &h.0)).max();
                if let (Some(min_ms), Some(max_ms)) = (first, last) {
                    sink(&Extent { labels, min_ms: *min_ms, max_ms: *max_ms }, length_ms);
                }
                Ok::<(), MovingError>(())
            })?;
            let name = format!("all of {}", path.display());
            let damages = std::mem::take(&mut files.damages);
            let mut found = Analyzed { name, length_ms, damages, ..Analyzed::default() };
            // What is not readable was told with the samples.
            each_block(path, &mut Vec::new(), |_, block| found.add_sections(&block))?;
            Ok(found)
        }
    }
}

fn unknown(block: Option<&str>) -> MovingError {
    let name = block.unwrap_or_default();
    MovingError::Refused(if name.is_empty() {
        "no blocks found".into()
    } else {
        format!("invalid block ID {name}")
    })
}

fn of_prometheus(
    entry: &BlockEntry,
    all: bool,
    wanted: impl Fn(&Labels) -> bool,
    mut sink: impl FnMut(&Extent<'_>, i64),
) -> Result<Analyzed, MovingError> {
    let length_ms = entry.meta.max_time.saturating_sub(entry.meta.min_time);
    let index = Index::open(&entry.path.join(INDEX))?;
    let (mut walk, mut series) = (index.walk(), SeriesEntry::default());
    let mut found = Analyzed { name: entry.ulid.to_string(), length_ms, ..Analyzed::default() };
    found.series = all.then_some(entry.meta.stats.num_series);
    while walk.next(&mut series)? {
        let labels = labels(&index, &series.pairs).map_err(|error: FormatError| {
            MovingError::Refused(format!("{}: {error}", entry.path.join(INDEX).display()))
        })?;
        if let (Some(first), Some(last)) = (series.chunks.first(), series.chunks.last())
            && wanted(&labels)
        {
            sink(&Extent { labels: &labels, min_ms: first.min_ms, max_ms: last.max_ms }, length_ms);
        }
    }
    Ok(found)
}

fn of_hearth(
    name: &str,
    block: &Block,
    wanted: impl Fn(&Labels) -> bool,
    mut sink: impl FnMut(&Extent<'_>, i64),
) -> Result<Analyzed, MovingError> {
    let range = block.range();
    let length_ms = range.max_ms.saturating_sub(range.min_ms).saturating_add(1);
    let mut found = Analyzed { name: name.to_owned(), length_ms, ..Analyzed::default() };
    found.add_sections(block);
    let (mut pairs, mut buffers, mut lost) = (Vec::new(), Buffers::default(), 0u64);
    for series in 0..block.series_count() {
        let read = block.pairs(series, &mut pairs).and_then(|()| block.chunks(series, &mut buffers));
        let texts: Result<Vec<&str>, _> = pairs.iter().map(|symbol| block.text(*symbol)).collect();
        let (Ok(chunks), Ok(texts)) = (read, texts) else {
            lost += 1;
            continue;
        };
        let labels = Labels::from_sorted(texts.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        let (min_ms, max_ms) = (chunks.iter().map(|c| c.min_ms).min(), chunks.iter().map(|c| c.max_ms).max());
        if let (Some(min_ms), Some(max_ms)) = (min_ms, max_ms)
            && wanted(&labels)
        {
            sink(&Extent { labels: &labels, min_ms, max_ms }, length_ms);
        }
    }
    if lost > 0 {
        found.damages.push(format!("{name}: {lost} series are not readable"));
    }
    Ok(found)
}
