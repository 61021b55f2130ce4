//! A block of Prometheus' as a whole: its series in order, with the samples that were not deleted.

use super::chunks::{ChunkFiles, Samples};
use super::directory::{BlockEntry, CHUNKS, INDEX, TOMBSTONES};
use super::index::{Index, SeriesEntry};
use super::tombstones::{self, Tombstones};
use super::{FileError, FormatError, read_file};
use crate::chunk::order;
use hearth_model::label::MAX_PART_BYTES;
use hearth_model::{CounterReset, Labels, TimeRange};
use std::path::Path;
use std::sync::Arc;

/// An open block.
#[derive(Debug)]
pub struct Block {
    index: Index,
    chunks: ChunkFiles,
    deleted: Tombstones,
}

/// Reads a block's tombstones; most blocks have an empty file, some have none.
pub fn read_tombstones(block: &Path) -> Result<Tombstones, FileError> {
    let path = block.join(TOMBSTONES);
    match read_file(&path) {
        Ok(bytes) => tombstones::parse(&bytes).map_err(FileError::format(&path, 0)),
        Err(FileError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Tombstones::new())
        }
        Err(error) => Err(error),
    }
}

impl Block {
    pub fn open(entry: &BlockEntry) -> Result<Block, FileError> {
        Ok(Block {
            index: Index::open(&entry.path.join(INDEX))?,
            chunks: ChunkFiles::open(&entry.path.join(CHUNKS))?,
            deleted: read_tombstones(&entry.path)?,
        })
    }

    /// Bytes of index and chunks.
    pub fn len_bytes(&self) -> u64 {
        self.index.len_bytes() + self.chunks.len_bytes()
    }

    /// Splits into what is walked and what samples are read from.
    pub fn parts(&mut self) -> (&Index, SampleReader<'_>) {
        (&self.index, SampleReader { chunks: &mut self.chunks, deleted: &self.deleted })
    }
}

/// The labels of a series; an error where they are none.
pub fn labels(index: &Index, pairs: &[u32]) -> Result<Labels, FormatError> {
    const DAMAGED: FormatError = FormatError::Damaged("labels of a series are not in order or not there");
    let mut texts = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        let (name, value) = (index.symbol(pair[0]).ok_or(DAMAGED)?, index.symbol(pair[1]).ok_or(DAMAGED)?);
        if texts.last().is_some_and(|(before, _)| *before >= name) || name.is_empty() {
            return Err(DAMAGED);
        }
        if name.len() > MAX_PART_BYTES || value.len() > MAX_PART_BYTES {
            return Err(FormatError::Damaged("a label is too long"));
        }
        texts.push((name, value));
    }
    Ok(Labels::from_sorted(texts.into_iter().filter(|(_, value)| !value.is_empty())))
}

/// Reads the samples of a block's series.
pub struct SampleReader<'a> {
    chunks: &'a mut ChunkFiles,
    deleted: &'a Tombstones,
}

impl SampleReader<'_> {
    /// Appends a series' samples within the range, in order, without those that were deleted. A chunk that
    /// cannot be read is told to `damaged` and left out.
    pub fn read(
        &mut self,
        series: &SeriesEntry,
        range: TimeRange,
        out: &mut Samples,
        mut damaged: impl FnMut(FileError),
    ) {
        let (mut newest, mut ordered) = (i64::MIN, true);
        for chunk in &series.chunks {
            if !TimeRange::new(chunk.min_ms, chunk.max_ms).overlaps(range) {
                continue;
            }
            ordered &= chunk.min_ms > newest || newest == i64::MIN;
            newest = newest.max(chunk.max_ms);
            if let Err(error) = self.chunks.decode(chunk.reference, out) {
                damaged(error);
            }
        }
        match self.deleted.get(&series.reference) {
            None => out.retain(|time| range.contains(time)),
            Some(gone) => out.retain(|time| range.contains(time) && !tombstones::covers(gone, time)),
        }
        forget_resets(out, !ordered || self.deleted.contains_key(&series.reference));
        order::put_in_order(&mut out.times, &mut out.values, &mut out.histograms);
    }
}

/// What a chunk says of resets holds against the sample before it in the chunk only, and others may come between
/// them: that nothing was reset is found out from the counts again. Where `all`, that something was, too.
pub fn forget_resets(samples: &mut Samples, all: bool) {
    for (_, histogram) in &mut samples.histograms {
        let forgotten = match histogram.reset {
            CounterReset::NotReset => true,
            CounterReset::Reset => all,
            CounterReset::Unknown | CounterReset::Gauge => false,
        };
        if forgotten {
            Arc::make_mut(histogram).reset = CounterReset::Unknown;
        }
    }
}
