//! Writing a block, once, from front to back.
//!
//! 1. Series come in the order of their label sets, each with its chunks; chunk bytes go to the medium as
//!    they come, the rest is kept until the end.
//! 2. [`BlockWriter::finish`] writes the index, the page checksums and the directory, and syncs.
//! 3. The caller gives the file its name. Until then it is an unfinished file that the next start removes.

use super::file::{Directory, MAGIC, PageSums, SECTIONS, Section};
use super::labels;
use super::postings;
use super::rows::{self, ChunkRef, TimesRow};
use crate::chunk::histogram::Timed;
use crate::chunk::{MAX_CHUNK_SAMPLES, float, histogram};
use crate::disk::{Disk, Log};
use crate::index::postings::Postings;
use crate::index::symbols::Symbol;
use crate::pace::Pace;
use ahash::AHashMap;
use hearth_kernels::codec::Effort;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Chunk bytes that wait for one write.
const WRITE_BYTES: usize = 1 << 20;
/// Histograms are large and not compressed: fewer of them to a chunk.
const HISTOGRAM_CHUNK_SAMPLES: usize = 128;
/// A step of the end's work: small enough to give way after it.
const PIECE_BYTES: usize = 256 << 10;

/// Distinct strings of a block, sorted: a string's number is its rank.
#[derive(Debug, Default)]
pub struct SortedSymbols {
    text: Vec<u8>,
    ends: Vec<u8>,
    count: u32,
}

impl SortedSymbols {
    /// The string after all before.
    pub fn push(&mut self, text: &str) -> Symbol {
        self.text.extend_from_slice(text.as_bytes());
        self.ends.extend_from_slice(&(self.text.len() as u32).to_le_bytes());
        self.count += 1;
        self.count - 1
    }

    /// Whether `bytes` more fit: ends are 32 bits wide.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.text.len() + bytes <= u32::MAX as usize
    }
}

/// What a chunk list says of one chunk: its kind, and for the last kind which of the shared times are its.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its times, then its values.
    Float,
    /// One histogram after the other.
    Histogram,
    /// Runs of histograms that share their layout.
    HistogramRuns,
    /// Values; the times were written with another chunk.
    FloatAt(u32),
}

/// Times that later chunks may share: where they lie, and their row once one does.
struct KnownTimes {
    start: u64,
    length: usize,
    row: Option<u32>,
}

/// Sequences of times remembered while a block is written: beyond, the memory (some megabytes) starts over. Series that
/// were measured together share theirs; in order of labels they lie a metric apart, with all other targets between them.
const KNOWN_TIMES: usize = 1 << 16;

/// A block that is being written.
pub struct BlockWriter<D: Disk> {
    disk: D,
    path: PathBuf,
    log: D::Log,
    sums: PageSums,
    written: u64,
    effort: Effort,
    out: Vec<u8>,
    directory: Directory,
    symbols: SortedSymbols,
    series: Vec<u8>,
    label_sets: Vec<u8>,
    label_groups: Vec<u8>,
    chunk_lists: Vec<u8>,
    pairs: Vec<Symbol>,
    chunks_length: u64,
    /// Chunks of the series at hand.
    open: Vec<ChunkRef>,
    /// Length of `open`'s chunks.
    open_length: u64,
    /// By two hashes, whose keys nobody knows: what agrees in 128 bits is the same.
    known: AHashMap<[u64; 2], KnownTimes>,
    hashers: [ahash::RandomState; 2],
    shared_times: Vec<u8>,
    postings: BTreeMap<(Symbol, Symbol), Postings>,
}

impl<D: Disk> BlockWriter<D> {
    /// `path` is that of the unfinished file; an old one is replaced. `directory` says whose the block is,
    /// when it was cut and what it replaces; the rest of it is filled in here. The `effort` is that of its chunks.
    pub fn create(
        disk: &D,
        path: &Path,
        directory: Directory,
        symbols: SortedSymbols,
        effort: Effort,
    ) -> io::Result<Self> {
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let log = disk.create_file(path)?;
        let mut out = MAGIC.to_vec();
        out.resize(16, 0);
        Ok(BlockWriter {
            disk: disk.clone(),
            path: path.to_owned(),
            log,
            sums: PageSums::default(),
            written: 0,
            effort,
            out,
            directory: Directory { min_ms: i64::MAX, max_ms: i64::MIN, ..directory },
            symbols,
            series: Vec::new(),
            label_sets: Vec::new(),
            label_groups: Vec::new(),
            chunk_lists: Vec::new(),
            pairs: Vec::new(),
            chunks_length: 0,
            open: Vec::new(),
            open_length: 0,
            known: AHashMap::new(),
            hashers: [ahash::RandomState::new(), ahash::RandomState::new()],
            shared_times: Vec::new(),
            postings: BTreeMap::new(),
        })
    }

    /// Samples of the series at hand: ascending, not in a chunk before.
    pub fn push_floats(&mut self, times: &[i64], values: &[f64]) {
        let parts = times.chunks(MAX_CHUNK_SAMPLES).zip(values.chunks(MAX_CHUNK_SAMPLES));
        for (times, values) in parts {
            let start = self.out.len();
            let kind = self.push_times(times);
            float::encode_values(values, self.effort, &mut self.out);
            self.directory.samples += times.len() as u64;
            self.push_chunk(kind, times[0], times[times.len() - 1], times.len(), start);
        }
    }

    /// Writes times, or finds where they were written before.
    fn push_times(&mut self, times: &[i64]) -> Kind {
        let hash = [&self.hashers[0], &self.hashers[1]].map(|hasher| hasher.hash_one(times));
        if let Some(known) = self.known.get_mut(&hash) {
            let row = *known.row.get_or_insert_with(|| {
                let row = rows::times_rows(&self.shared_times);
                TimesRow::push(times, known.start, known.length, &mut self.shared_times);
                row
            });
            return Kind::FloatAt(row);
        }
        if self.known.len() >= KNOWN_TIMES {
            self.known.clear();
        }
        let before = self.out.len();
        float::encode_times(times, &mut self.out);
        let (start, length) = (self.chunks_length + self.open_length, self.out.len() - before);
        self.known.insert(hash, KnownTimes { start, length, row: None });
        Kind::Float
    }

    pub fn push_histograms(&mut self, histograms: &[Timed]) {
        let mut rest = histograms;
        while !rest.is_empty() {
            let (part, later) = rest.split_at(histogram::chunk_length(rest, HISTOGRAM_CHUNK_SAMPLES));
            rest = later;
            let start = self.out.len();
            let kind = match histogram::encode_runs(part, self.effort, &mut self.out) {
                true => Kind::HistogramRuns,
                false => {
                    histogram::encode(part, &mut self.out);
                    Kind::Histogram
                }
            };
            self.directory.histograms += part.len() as u64;
            self.push_chunk(kind, part[0].0, part[part.len() - 1].0, part.len(), start);
        }
    }

    fn push_chunk(&mut self, kind: Kind, min_ms: i64, max_ms: i64, samples: usize, start: usize) {
        let (start, length) = (self.open_length, (self.out.len() - start) as u64);
        self.open.push(ChunkRef { kind, min_ms, max_ms, samples, start, end: start + length });
        self.open_length += length;
        self.directory.min_ms = self.directory.min_ms.min(min_ms);
        self.directory.max_ms = self.directory.max_ms.max(max_ms);
        self.directory.chunks += 1;
    }

    /// Ends the series at hand: it has this hash and label set, after all before. A series that got no
    /// samples is left out.
    pub async fn end_series(&mut self, hash: u128, pairs: &[Symbol]) -> io::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let id = self.directory.series as u32;
        if id.is_multiple_of(labels::GROUP) {
            let (labels, lists) = (self.label_sets.len(), self.chunk_lists.len());
            rows::push_group(labels, lists, self.chunks_length, &mut self.label_groups);
            self.pairs.clear();
        }
        labels::push(&mut self.label_sets, &self.pairs, pairs);
        self.pairs.clear();
        self.pairs.extend_from_slice(pairs);
        for pair in pairs.chunks_exact(2) {
            self.postings.entry((pair[0], pair[1])).or_default().push(id);
        }
        rows::push_series(hash, &mut self.series);
        rows::push_list(self.open.drain(..), &mut self.chunk_lists);
        self.chunks_length += std::mem::take(&mut self.open_length);
        self.directory.series += 1;
        let largest = self.chunk_lists.len().max(self.label_sets.len());
        if largest > (u32::MAX / 2) as usize {
            return Err(io::Error::other("the block's index would outgrow its offsets"));
        }
        if self.out.len() >= WRITE_BYTES { self.write().await } else { Ok(()) }
    }

    async fn write(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.sums.add(&out);
        self.written += out.len() as u64;
        let (result, buffer) = self.log.append(out, false).await;
        self.out = buffer;
        self.out.clear();
        result
    }

    async fn section(&mut self, section: Section, bytes: &[u8], pace: &impl Pace) -> io::Result<()> {
        let offset = self.written + self.out.len() as u64;
        self.directory.sections[section as usize] = (offset, bytes.len() as u64);
        for piece in bytes.chunks(PIECE_BYTES) {
            self.out.extend_from_slice(piece);
            if self.out.len() >= WRITE_BYTES {
                self.write().await?;
            }
            pace.pause().await;
        }
        Ok(())
    }

    /// Writes all that is left and syncs. The file has its whole content then, not yet its name.
    pub async fn finish(mut self, pace: &impl Pace) -> io::Result<Directory> {
        debug_assert!(self.directory.sections.len() == SECTIONS);
        if self.directory.series == 0 {
            // All was deleted. The block carries its cut on, and lies where retention finds it.
            let end_ms = self.directory.cut_ms.saturating_sub(1);
            (self.directory.min_ms, self.directory.max_ms) = (end_ms, end_ms);
        }
        self.directory.sections[Section::Chunks as usize] = (16, self.chunks_length);
        let symbols = std::mem::take(&mut self.symbols);
        self.section(Section::SymbolText, &symbols.text, pace).await?;
        self.section(Section::SymbolEnds, &symbols.ends, pace).await?;
        let series = std::mem::take(&mut self.series);
        self.section(Section::Series, &series, pace).await?;
        let sets = std::mem::take(&mut self.label_sets);
        self.section(Section::LabelSets, &sets, pace).await?;
        let groups = std::mem::take(&mut self.label_groups);
        self.section(Section::LabelGroups, &groups, pace).await?;
        let lists = std::mem::take(&mut self.chunk_lists);
        self.section(Section::ChunkLists, &lists, pace).await?;
        let shared = std::mem::take(&mut self.shared_times);
        self.section(Section::SharedTimes, &shared, pace).await?;
        self.finish_index(pace).await?;
        self.write().await?;
        let tail = std::mem::take(&mut self.sums).tail(self.written, &self.directory);
        self.log.append(tail, true).await.0?;
        Ok(self.directory)
    }

    async fn finish_index(&mut self, pace: &impl Pace) -> io::Result<()> {
        let (mut names, mut values, mut bytes) = (Vec::<u8>::new(), Vec::<u8>::new(), Vec::new());
        let mut last = None;
        for ((name, value), list) in std::mem::take(&mut self.postings) {
            if last != Some(name) {
                names.extend_from_slice(&name.to_le_bytes());
                names.extend_from_slice(&[0; 4]);
                last = Some(name);
            }
            values.extend_from_slice(&value.to_le_bytes());
            values.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            postings::push(&mut bytes, list)?;
            // Where the name's values end.
            let end = names.len() - 4;
            names[end..].copy_from_slice(&(values.len() as u32 / 8).to_le_bytes());
            pace.pause().await;
        }
        if bytes.len() > u32::MAX as usize {
            return Err(io::Error::other("the block's postings would outgrow their offsets"));
        }
        self.section(Section::Names, &names, pace).await?;
        self.section(Section::Values, &values, pace).await?;
        self.section(Section::Postings, &bytes, pace).await
    }

    /// Removes what was written, where that can be done; the next start removes it otherwise.
    pub fn abandon(self) {
        let BlockWriter { disk, path, log, .. } = self;
        drop(log);
        if let Err(error) = disk.remove(&path) {
            tracing::debug!(file = %path.display(), %error, "unfinished block stays until the next start");
        }
    }
}
