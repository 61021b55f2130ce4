//! A shard's newest data, in memory: the series table, the index over it, and each series' chunks.
//!
//! Invariants:
//! 1. a series' number (`id`) is its position; that of a series which ended is given again, but not while a
//!    reader may know it;
//! 2. a series is known by the 128-bit hash of its key under the data directory's secret seed: two keys
//!    with one hash are not expected in the life of the universe, so the key itself is not kept;
//! 3. samples of a series ascend strictly in time, floats and histograms together.

mod collect;
mod delete;
mod labels;
mod late;
pub mod read;
pub mod rows;
pub mod series;
pub mod status;
mod streams;

use crate::config;
use crate::index::Index;
use crate::index::symbols::Symbol;
use ahash::AHashMap;
use hashbrown::HashTable;
use hearth_kernels::codec::gorilla::GorillaState;
use hearth_model::batch::Refusal;
use hearth_model::{Histogram, Sample, TimeRange};
use labels::LabelSets;
use late::{Order, Value};
use roaring::RoaringBitmap;
use series::{ClosedChunk, Series};
use std::sync::Arc;
use streams::Streams;

/// What became of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Taken,
    /// It was there already, bit for bit.
    Repeated,
    Refused(Refusal),
}

/// Counters since the start, and the state they led to.
#[derive(Debug, Clone, Default)]
pub struct HeadFigures {
    pub samples: u64,
    pub histograms: u64,
    pub repeated: u64,
    /// Taken out of order.
    pub late: u64,
    pub created: u64,
    pub removed: u64,
    pub refused: [u64; Refusal::ALL.len()],
    pub chunks_created: u64,
    pub chunks_dropped: u64,
    pub min_ms: Option<i64>,
    pub max_ms: Option<i64>,
}

/// See the module's head.
pub struct Head {
    table: HashTable<u32>,
    /// Hashes of keys in another label order: the series, and the hash it is known by.
    aliases: AHashMap<u128, (u32, u128)>,
    series: Vec<Series>,
    streams: Streams,
    /// Series that writes and readers find.
    living: RoaringBitmap,
    free_rows: Vec<u32>,
    index: Index,
    labels: LabelSets,
    /// Name and value symbols of a series that is being made.
    pairs: Vec<Symbol>,
    histograms: AHashMap<u32, Vec<(i64, Arc<Histogram>)>>,
    late: AHashMap<u32, Vec<Sample>>,
    window_ms: i64,
    latest_ms: i64,
    /// The newest time deleted from each series, until the log cannot know it any more: till then the series
    /// keeps its name in the log.
    deleted: AHashMap<u32, i64>,
    next_reference: u32,
    /// Names in the log that a series has beside its own: it ended, left the head and came back, and samples
    /// under both names may be in the log.
    other_references: Vec<(u32, u32)>,
    /// Older samples are refused: they are in a block, or on their way there.
    from_ms: i64,
    chunk_bytes: usize,
    histogram_bytes: usize,
    pub figures: HeadFigures,
}

fn table_hash(hash: u128) -> u64 {
    hash as u64
}

impl Default for Head {
    fn default() -> Self {
        Head {
            table: HashTable::new(),
            aliases: AHashMap::new(),
            series: Vec::new(),
            streams: Streams::default(),
            living: RoaringBitmap::new(),
            free_rows: Vec::new(),
            index: Index::default(),
            labels: LabelSets::default(),
            pairs: Vec::new(),
            histograms: AHashMap::new(),
            late: AHashMap::new(),
            window_ms: 0,
            latest_ms: i64::MAX,
            deleted: AHashMap::new(),
            next_reference: 1,
            other_references: Vec::new(),
            from_ms: i64::MIN,
            chunk_bytes: 0,
            histogram_bytes: 0,
            figures: HeadFigures::default(),
        }
    }
}

impl Head {
    pub fn series_count(&self) -> u32 {
        self.living.len() as u32
    }

    /// Ids are below this.
    pub fn rows(&self) -> u32 {
        self.series.len() as u32
    }

    pub fn is_living(&self, id: u32) -> bool {
        self.series[id as usize].living
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The series whose key has this hash. `guess` is tried first: senders repeat their order.
    #[inline]
    pub fn find(&self, hash: u128, guess: Option<u32>) -> Option<u32> {
        if let Some(id) = guess
            && self.is(id, hash)
        {
            return Some(id);
        }
        let found = self.table.find(table_hash(hash), |&id| self.series[id as usize].hash == hash);
        found.copied().or_else(|| {
            let (id, known) = self.aliases.get(&hash)?;
            self.is(*id, *known).then_some(*id)
        })
    }

    /// Whether the row is that of the living series with this hash.
    #[inline]
    pub fn is(&self, id: u32, hash: u128) -> bool {
        self.series.get(id as usize).is_some_and(|s| s.hash == hash && s.living)
    }

    /// Asks for the row of a series, without waiting for it.
    #[inline]
    pub fn prefetch_row(&self, id: u32) {
        if let Some(series) = self.series.get(id as usize) {
            series.prefetch();
        }
    }

    /// Asks for the memory that an append to the series touches, without waiting for it.
    #[inline]
    pub fn prefetch_append(&self, id: u32) {
        if let Some(series) = self.series.get(id as usize) {
            self.streams.prefetch(series.stream());
        }
    }

    /// The series that followed this one in the batch before.
    #[inline]
    pub fn successor(&self, id: u32) -> Option<u32> {
        self.series.get(id as usize).map(|s| s.successor)
    }

    #[inline]
    pub fn set_successor(&mut self, id: u32, next: u32) {
        let successor = &mut self.series[id as usize].successor;
        if *successor != next {
            *successor = next;
        }
    }

    pub fn hash(&self, id: u32) -> u128 {
        self.series[id as usize].hash
    }

    pub fn reference(&self, id: u32) -> u32 {
        self.series[id as usize].reference
    }

    pub fn set_other_references(&mut self, others: Vec<(u32, u32)>) {
        self.other_references = others;
    }

    /// Other names in the log, each with its series.
    pub fn other_references(&self) -> &[(u32, u32)] {
        &self.other_references
    }

    /// Remembers that another order of labels means this series.
    pub fn alias(&mut self, hash: u128, id: u32) {
        if self.aliases.len() >= config::ALIASES {
            self.aliases.clear();
        }
        self.aliases.insert(hash, (id, self.series[id as usize].hash));
    }

    /// Whether a series with so much label text can still be added.
    pub fn has_room(&self, label_bytes: usize) -> bool {
        self.series.len() < u32::MAX as usize
            // No label without a name.
            && self.labels.has_room(label_bytes)
            && self.next_reference < u32::MAX
            && self.index.symbols.has_room(label_bytes)
    }

    /// Adds a series that [`Head::find`] does not know. `reference` is its name in the log; `None` gives
    /// it the next one.
    pub fn create<'a>(
        &mut self,
        hash: u128,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        reference: Option<u32>,
    ) -> u32 {
        let reference = reference.unwrap_or(self.next_reference);
        self.pairs.clear();
        self.index.intern(labels, &mut self.pairs);
        self.add(hash, reference)
    }

    /// The same from symbols of the head's own: name and value in turns, in the order of a label set.
    fn create_interned(&mut self, hash: u128, pairs: &[Symbol], reference: u32) -> u32 {
        self.pairs.clear();
        self.pairs.extend_from_slice(pairs);
        self.add(hash, reference)
    }

    /// The symbol of a string that a series to come has.
    pub fn intern(&mut self, text: &str) -> Symbol {
        self.index.symbols.intern(text)
    }

    /// Adds a series with the labels in `pairs`.
    fn add(&mut self, hash: u128, reference: u32) -> u32 {
        let id = self.free_rows.pop().unwrap_or(self.rows());
        self.reserve_reference(reference);
        self.index.file(id, &self.pairs);
        let symbols = &mut self.index.symbols;
        self.pairs.chunks_exact(2).for_each(|pair| symbols.hold(pair[1]));
        let labels = self.labels.push(&self.pairs, |name| symbols.hold(name));
        let row = Series::new(hash, reference, labels);
        if id == self.rows() {
            self.series.push(row);
        } else {
            self.series[id as usize] = row;
        }
        self.living.insert(id);
        self.figures.created += 1;
        let series = &self.series;
        self.table.insert_unique(table_hash(hash), id, |&id| table_hash(series[id as usize].hash));
        id
    }

    /// The reference that the next new series gets.
    pub fn next_reference(&self) -> u32 {
        self.next_reference
    }

    /// Gives a series without floats a chunk that comes out of a checkpoint, behind those it got before.
    fn push_closed(&mut self, id: u32, chunk: ClosedChunk) {
        self.cover(chunk.min_ms);
        self.cover(chunk.max_ms);
        self.chunk_bytes += chunk.size_bytes();
        self.figures.chunks_created += 1;
        self.series[id as usize].push_closed(chunk);
    }

    /// The same for its open chunk.
    fn set_open(&mut self, id: u32, min_ms: i64, state: GorillaState, bytes: &[u8]) {
        self.cover(min_ms);
        self.cover(state.last_time());
        self.figures.chunks_created += 1;
        self.chunk_bytes += self.series[id as usize].set_open(&mut self.streams, min_ms, state, bytes);
    }

    /// No series made from here on is called `reference` or less in the log.
    pub fn reserve_reference(&mut self, reference: u32) {
        self.next_reference = self.next_reference.max(reference.saturating_add(1));
    }

    fn cover(&mut self, time: i64) {
        let figures = &mut self.figures;
        figures.min_ms = Some(figures.min_ms.map_or(time, |m| m.min(time)));
        figures.max_ms = Some(figures.max_ms.map_or(time, |m| m.max(time)));
    }

    /// Counts what became of samples.
    pub fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Taken => self.figures.samples += 1,
            Fate::Repeated => self.figures.repeated += 1,
            Fate::Refused(reason) => {
                let at = Refusal::ALL.iter().position(|r| *r == reason).unwrap_or(0);
                self.figures.refused[at] += 1;
            }
        }
    }

    #[inline]
    pub fn append(&mut self, id: u32, time: i64, value: f64) -> Fate {
        if time < self.from_ms {
            return Fate::Refused(Refusal::TooOld);
        }
        let series = &mut self.series[id as usize];
        if series.has_histograms() || series.last_time().is_some_and(|last| time <= last) {
            match self.judge(id, time, Value::Float(value)) {
                Ok(Order::Newest) => {}
                Ok(Order::Late) => {
                    self.push_late(id, Sample { timestamp_ms: time, value });
                    self.cover(time);
                    return Fate::Taken;
                }
                Err(fate) => return fate,
            }
        }
        let series = &mut self.series[id as usize];
        let (grown, opened) = series.push(&mut self.streams, time, value);
        self.chunk_bytes = self.chunk_bytes.wrapping_add_signed(grown);
        self.figures.chunks_created += u64::from(opened);
        if self.figures.max_ms.is_none_or(|max| time > max)
            || self.figures.min_ms.is_none_or(|min| time < min)
        {
            self.cover(time);
        }
        Fate::Taken
    }

    pub fn append_histogram(&mut self, id: u32, time: i64, histogram: &Histogram) -> Fate {
        if time < self.from_ms {
            return Fate::Refused(Refusal::TooOld);
        }
        let order = match self.judge(id, time, Value::Histogram(histogram)) {
            Ok(order) => order,
            Err(fate) => return fate,
        };
        self.series[id as usize].set_has_histograms(true);
        self.histogram_bytes += histogram.size_bytes() + 32;
        let histogram = Arc::new(histogram.clone());
        match order {
            Order::Newest => self.histograms.entry(id).or_default().push((time, histogram)),
            Order::Late => self.push_late_histogram(id, time, histogram),
        }
        self.cover(time);
        Fate::Taken
    }

    /// Refuses samples before `from_ms` from now on.
    pub fn refuse_before(&mut self, from_ms: i64) {
        self.from_ms = self.from_ms.max(from_ms);
    }

    /// Whether samples so old are refused.
    pub fn refuses(&self, time: i64) -> bool {
        time < self.from_ms
    }

    /// Drops a series' chunks and histograms that end before `cutoff_ms`.
    pub fn truncate(&mut self, id: u32, cutoff_ms: i64) {
        let series = &mut self.series[id as usize];
        let (bytes, chunks) = series.drop_before(&mut self.streams, cutoff_ms);
        self.chunk_bytes -= bytes;
        self.figures.chunks_dropped += chunks as u64;
        if series.has_histograms()
            && let Some(histograms) = self.histograms.get_mut(&id)
        {
            let cut = histograms.partition_point(|(t, _)| *t < cutoff_ms);
            self.histogram_bytes -= histograms.drain(..cut).map(|(_, h)| h.size_bytes() + 32).sum::<usize>();
            if histograms.is_empty() {
                self.histograms.remove(&id);
                series.set_has_histograms(false);
            }
        }
        if self.series[id as usize].has_late() {
            self.truncate_late(id, cutoff_ms);
        }
    }

    /// All series were truncated.
    pub fn truncated(&mut self, cutoff_ms: i64) {
        self.deleted.retain(|_, newest_ms| *newest_ms >= cutoff_ms);
        if let Some(min) = &mut self.figures.min_ms {
            *min = (*min).max(cutoff_ms);
        }
    }

    /// Looks where the samples from `from_ms` on begin: after a gap, not there.
    pub fn find_oldest(&mut self, from_ms: i64) {
        let range = TimeRange::new(from_ms, i64::MAX);
        let floats = self.series.iter().filter_map(|s| s.bounds()).filter(|(_, max)| *max >= from_ms);
        let floats = floats.map(|(min, _)| min.max(from_ms)).min();
        let ids = self.histograms.keys().copied();
        let histograms = ids.filter_map(|id| self.histograms(id, range).first().map(|(t, _)| *t)).min();
        let late =
            self.late.keys().filter_map(|id| self.late(*id, range).first().map(|s| s.timestamp_ms)).min();
        self.figures.min_ms = floats.into_iter().chain(histograms).chain(late).min();
        if self.figures.min_ms.is_none() {
            self.figures.max_ms = None;
        }
    }

    /// Drops what ends before `cutoff_ms`, of all series.
    pub fn drop_before(&mut self, cutoff_ms: i64) {
        for id in 0..self.rows() {
            self.truncate(id, cutoff_ms);
        }
        self.truncated(cutoff_ms);
    }

    /// Memory that the head holds.
    pub fn size_bytes(&self) -> usize {
        self.chunk_bytes
            + self.streams.spare_bytes()
            + self.histogram_bytes
            + self.series.capacity() * std::mem::size_of::<Series>()
            + self.labels.size_bytes()
            + self.table.capacity() * 5
            + self.index.symbols.size_bytes()
    }
}
