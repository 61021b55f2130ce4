//! A block of Prometheus' for writing: chunks of at most 120 samples, index, `meta.json`, under a name that
//! Prometheus removes at its start until the block is whole.

use super::chunks::{self, Encoding, FILE_BYTES, Samples};
use super::directory::{CHUNKS, INDEX, META, TOMBSTONES};
use super::index::ChunkMeta;
use super::index_writer::IndexWriter;
use super::meta::{Compaction, Meta, Stats};
use super::tombstones::{self, Tombstones};
use super::ulid::Ulid;
use super::{FileError, histogram, xor};
use ahash::AHashMap;
use hearth_model::Labels;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// As Prometheus: more samples are no smaller, and slower to read.
pub const CHUNK_SAMPLES: usize = 120;

/// Files of chunks that are being written.
struct ChunkWriter {
    directory: PathBuf,
    /// Place of the open file, and its length.
    place: usize,
    at: u64,
    out: BufWriter<File>,
    frame: Vec<u8>,
}

impl ChunkWriter {
    fn create(directory: &Path) -> io::Result<ChunkWriter> {
        std::fs::create_dir(directory)?;
        let out = ChunkWriter::file(directory, 0)?;
        let at = chunks::HEADER_BYTES;
        Ok(ChunkWriter { directory: directory.to_owned(), place: 0, at, out, frame: Vec::new() })
    }

    fn file(directory: &Path, place: usize) -> io::Result<BufWriter<File>> {
        let file = File::create_new(directory.join(chunks::file_name(place)))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(&chunks::header())?;
        Ok(out)
    }

    fn close(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }

    /// Where the chunk lies now.
    fn push(&mut self, encoding: Encoding, data: &[u8]) -> io::Result<u64> {
        self.frame.clear();
        chunks::push(&mut self.frame, encoding, data);
        if self.at + self.frame.len() as u64 > FILE_BYTES {
            self.close()?;
            self.place += 1;
            self.out = ChunkWriter::file(&self.directory, self.place)?;
            self.at = chunks::HEADER_BYTES;
        }
        let reference = (self.place as u64) << 32 | self.at;
        self.out.write_all(&self.frame)?;
        self.at += self.frame.len() as u64;
        Ok(reference)
    }
}

/// A block that is being written.
pub struct BlockWriter {
    parent: PathBuf,
    unfinished: PathBuf,
    chunks: ChunkWriter,
    meta: Meta,
    of_series: Vec<ChunkMeta>,
    /// What the index will say: its symbols are known at the end only.
    series: Vec<(Labels, Box<[ChunkMeta]>)>,
}

impl BlockWriter {
    /// A block in `parent` for samples from `min_ms` to before `end_ms`.
    pub fn create(parent: &Path, ulid: Ulid, (min_ms, end_ms): (i64, i64)) -> Result<BlockWriter, FileError> {
        let unfinished = parent.join(format!("{ulid}.tmp-for-creation"));
        let make = || {
            std::fs::create_dir_all(&unfinished)?;
            ChunkWriter::create(&unfinished.join(CHUNKS))
        };
        let chunks = make().map_err(FileError::io(&unfinished))?;
        let compaction = Compaction { level: 1, sources: vec![ulid.to_string()], ..Compaction::default() };
        let (min_time, max_time) = (min_ms, end_ms);
        let meta =
            Meta { ulid: ulid.to_string(), min_time, max_time, compaction, version: 1, ..Meta::default() };
        let (parent, of_series, series) = (parent.to_owned(), Vec::new(), Vec::new());
        Ok(BlockWriter { parent, unfinished, chunks, meta, of_series, series })
    }

    /// The next series, in the order of labels. One without samples is left out.
    pub fn series(&mut self, labels: &Labels, samples: &Samples) -> Result<(), FileError> {
        let written = self.push(labels, samples);
        written.map_err(FileError::io(&self.unfinished))
    }

    fn push(&mut self, labels: &Labels, samples: &Samples) -> io::Result<()> {
        self.of_series.clear();
        let (mut floats, mut histograms) = (0, 0);
        while floats < samples.times.len() || histograms < samples.histograms.len() {
            let next_histogram = samples.histograms.get(histograms).map_or(i64::MAX, |(time, _)| *time);
            let rest = &samples.times[floats..];
            if rest
                .first()
                .is_some_and(|time| *time < next_histogram || histograms == samples.histograms.len())
            {
                // Floats up to the next histogram.
                let count = rest.partition_point(|time| *time < next_histogram).clamp(1, CHUNK_SAMPLES);
                let times = &rest[..count];
                let data = xor::encode(times, &samples.values[floats..floats + count]);
                self.chunk(Encoding::Xor, &data, (times[0], times[count - 1]))?;
                self.meta.stats.num_float_samples += count as u64;
                floats += count;
                continue;
            }
            let next_float = rest.first().copied().unwrap_or(i64::MAX);
            let rest = &samples.histograms[histograms..];
            let before = rest.partition_point(|(time, _)| *time < next_float).clamp(1, CHUNK_SAMPLES);
            let (count, whole) = histogram::run(&rest[..before], CHUNK_SAMPLES);
            let data = histogram::encode(&rest[..count], whole);
            let encoding = if whole { Encoding::Histogram } else { Encoding::FloatHistogram };
            self.chunk(encoding, &data, (rest[0].0, rest[count - 1].0))?;
            self.meta.stats.num_histogram_samples += count as u64;
            histograms += count;
        }
        if self.of_series.is_empty() {
            return Ok(());
        }
        self.meta.stats.num_series += 1;
        self.meta.stats.num_chunks += self.of_series.len() as u64;
        self.series.push((labels.clone(), self.of_series.as_slice().into()));
        Ok(())
    }

    fn chunk(&mut self, encoding: Encoding, data: &[u8], (min_ms, max_ms): (i64, i64)) -> io::Result<()> {
        let reference = self.chunks.push(encoding, data)?;
        self.of_series.push(ChunkMeta { min_ms, max_ms, reference });
        Ok(())
    }

    /// Syncs everything and gives the block its name. A block without samples is not kept.
    pub fn finish(mut self) -> Result<Option<Meta>, FileError> {
        let stats: &mut Stats = &mut self.meta.stats;
        stats.num_samples = stats.num_float_samples + stats.num_histogram_samples;
        let (unfinished, parent) = (self.unfinished, self.parent);
        if stats.num_samples == 0 {
            drop(self.chunks);
            std::fs::remove_dir_all(&unfinished).map_err(FileError::io(&unfinished))?;
            return Ok(None);
        }
        let mut close = || {
            self.chunks.close()?;
            write_index(&unfinished.join(INDEX), &self.series)?;
            let whole = |name: &str, bytes: &[u8]| {
                let mut file = File::create_new(unfinished.join(name))?;
                file.write_all(bytes)?;
                file.sync_all()
            };
            whole(META, &self.meta.print())?;
            whole(TOMBSTONES, &tombstones::print(&Tombstones::new()))?;
            File::open(unfinished.join(CHUNKS))?.sync_all()?;
            File::open(&unfinished)?.sync_all()?;
            std::fs::rename(&unfinished, parent.join(&self.meta.ulid))?;
            File::open(&parent)?.sync_all()
        };
        close().map_err(FileError::io(&unfinished))?;
        Ok(Some(self.meta))
    }

    /// Removes what was written; what cannot be removed, Prometheus removes.
    pub fn abandon(self) {
        let BlockWriter { unfinished, chunks, .. } = self;
        drop(chunks);
        if let Err(error) = std::fs::remove_dir_all(&unfinished) {
            tracing::debug!(directory = %unfinished.display(), %error, "unfinished block stays");
        }
    }
}

fn write_index(path: &Path, series: &[(Labels, Box<[ChunkMeta]>)]) -> io::Result<u64> {
    let mut texts = BTreeSet::new();
    for (labels, _) in series {
        texts.extend(labels.iter().flat_map(|(name, value)| [name, value]));
    }
    let ranks: AHashMap<&str, u32> = texts.iter().zip(0..).map(|(text, rank)| (*text, rank)).collect();
    let mut index = IndexWriter::create(path, texts.iter().map(|text| (*text).to_owned()).collect())?;
    let mut pairs = Vec::new();
    for (labels, chunks) in series {
        pairs.clear();
        let symbols = labels.iter().flat_map(|(name, value)| [name, value]);
        pairs.extend(symbols.filter_map(|text| ranks.get(text)));
        index.series(&pairs, chunks)?;
    }
    index.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::block::{Block, labels};
    use crate::prometheus::directory::Directory;
    use crate::prometheus::index::SeriesEntry;
    use hearth_model::{Histogram, TimeRange};
    use std::sync::Arc;

    fn samples(series: u32) -> Samples {
        let mut samples = Samples::default();
        for at in 0..300i64 {
            let time = at * 1000 + i64::from(series);
            if series == 1 && at % 100 < 20 {
                let histogram = Histogram { integer: true, count: at as f64, sum: 0.5, ..Histogram::stale() };
                samples.histograms.push((time, Arc::new(histogram)));
            } else {
                samples.times.push(time);
                samples.values.push(at as f64 / 3.0);
            }
        }
        samples
    }

    fn named(name: &str) -> Labels {
        Labels::from_pairs([("__name__", name)])
    }

    #[test]
    fn a_block_reads_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let ulid = Ulid::new(1_700_000_000_000, 77);
        let mut writer = BlockWriter::create(folder.path(), ulid, (0, 7_200_000)).expect("creates");
        for series in 0..3 {
            writer.series(&named(["a", "b", "c"][series as usize]), &samples(series)).expect("writes");
        }
        writer.series(&named("d"), &Samples::default()).expect("writes");
        let meta = writer.finish().expect("finishes").expect("has samples");
        assert_eq!(
            (meta.stats.num_samples, meta.stats.num_series, meta.stats.num_histogram_samples),
            (900, 3, 60)
        );
        let directory = Directory::read(folder.path()).expect("reads");
        assert_eq!((directory.blocks.len(), directory.head_from_ms()), (1, 7_200_000));
        let mut block = Block::open(&directory.blocks[0]).expect("opens");
        let (index, mut reader) = block.parts();
        let mut walk = index.walk();
        let mut series = SeriesEntry::default();
        for number in 0..3 {
            assert!(walk.next(&mut series).expect("reads"));
            let name = ["a", "b", "c"][number as usize];
            assert_eq!(labels(index, &series.pairs).expect("labels").metric_name(), name);
            let mut read = Samples::default();
            reader.read(&series, TimeRange::ALL, &mut read, |error| panic!("{error}"));
            let expect = samples(number);
            assert_eq!((&read.times, &read.values), (&expect.times, &expect.values));
            assert_eq!(read.histograms.len(), expect.histograms.len());
            assert!(series.chunks.len() >= 3 && series.chunks.len() < 10);
            read.clear();
            reader.read(&series, TimeRange::new(10_000, 19_999), &mut read, |error| panic!("{error}"));
            assert_eq!(read.len(), 10);
        }
        assert!(!walk.next(&mut series).expect("reads"));
    }

    #[test]
    fn a_block_without_samples_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let writer = BlockWriter::create(folder.path(), Ulid(5), (0, 1)).expect("creates");
        assert_eq!(writer.finish().expect("finishes"), None);
        assert_eq!(std::fs::read_dir(folder.path()).expect("reads").count(), 0);
    }
}
