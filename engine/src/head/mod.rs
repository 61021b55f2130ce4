//! A shard's newest data, in memory: the series table, the index over it, and each series' chunks.
//!
//! Invariants:
//! 1. a series' number (`id`) is its position, given in order of creation, never reused;
//! 2. a series is known by the 128-bit hash of its key under the data directory's secret seed: two keys
//!    with one hash are not expected in the life of the universe, so the key itself is not kept;
//! 3. samples of a series ascend strictly in time, floats and histograms together.

pub mod read;
pub mod series;
pub mod status;

use crate::config;
use crate::index::Index;
use crate::index::symbols::Symbol;
use ahash::AHashMap;
use hashbrown::HashTable;
use hearth_model::batch::Refusal;
use hearth_model::{Histogram, Labels};
use series::Series;
use std::sync::Arc;

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
    pub refused: [u64; 7],
    pub chunks_created: u64,
    pub chunks_dropped: u64,
    pub min_ms: Option<i64>,
    pub max_ms: Option<i64>,
}

/// See the module's head.
pub struct Head {
    table: HashTable<u32>,
    /// Hashes of keys in another label order.
    aliases: AHashMap<u128, u32>,
    series: Vec<Series>,
    index: Index,
    /// Name and value symbols of all series, one after the other.
    pairs: Vec<Symbol>,
    histograms: AHashMap<u32, Vec<(i64, Arc<Histogram>)>>,
    next_reference: u32,
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
            index: Index::default(),
            pairs: Vec::new(),
            histograms: AHashMap::new(),
            next_reference: 1,
            chunk_bytes: 0,
            histogram_bytes: 0,
            figures: HeadFigures::default(),
        }
    }
}

impl Head {
    pub fn series_count(&self) -> u32 {
        self.series.len() as u32
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The series whose key has this hash. `guess` is tried first: senders repeat their order.
    #[inline]
    pub fn find(&self, hash: u128, guess: Option<u32>) -> Option<u32> {
        if let Some(id) = guess
            && self.series.get(id as usize).is_some_and(|s| s.hash == hash)
        {
            return Some(id);
        }
        let found = self.table.find(table_hash(hash), |&id| self.series[id as usize].hash == hash);
        found.or_else(|| self.aliases.get(&hash)).copied()
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

    pub fn reference(&self, id: u32) -> u32 {
        self.series[id as usize].reference
    }

    /// Remembers that another order of labels means this series.
    pub fn alias(&mut self, hash: u128, id: u32) {
        if self.aliases.len() >= config::ALIASES {
            self.aliases.clear();
        }
        self.aliases.insert(hash, id);
    }

    /// Whether a series with so much label text can still be added.
    pub fn has_room(&self, label_bytes: usize) -> bool {
        self.series.len() < u32::MAX as usize
            && self.pairs.len() < u32::MAX as usize - 2 * 1024
            && self.next_reference < u32::MAX
            && self.index.symbols.has_room(label_bytes)
    }

    /// Adds a series that [`Head::find`] does not know. `reference` is its name in the log; `None` gives
    /// it the next one.
    pub fn create(&mut self, hash: u128, labels: &Labels, reference: Option<u32>) -> u32 {
        let id = self.series_count();
        let reference = reference.unwrap_or(self.next_reference);
        self.next_reference = self.next_reference.max(reference.saturating_add(1));
        let start = self.pairs.len();
        self.index.insert(id, labels, &mut self.pairs);
        let pairs = start as u32..self.pairs.len() as u32;
        self.series.push(Series::new(hash, reference, pairs));
        let series = &self.series;
        self.table.insert_unique(table_hash(hash), id, |&id| table_hash(series[id as usize].hash));
        id
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
        let series = &mut self.series[id as usize];
        if series.has_histograms || series.last_time().is_some_and(|last| time <= last) {
            let fate = self.judge(id, time, Some(value), None);
            if fate != Fate::Taken {
                return fate;
            }
        }
        let series = &mut self.series[id as usize];
        let (grown, opened) = series.push(time, value);
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
        let fate = self.judge(id, time, None, Some(histogram));
        if fate != Fate::Taken {
            return fate;
        }
        self.series[id as usize].has_histograms = true;
        self.histogram_bytes += histogram.size_bytes() + 32;
        self.histograms.entry(id).or_default().push((time, Arc::new(histogram.clone())));
        self.cover(time);
        Fate::Taken
    }

    /// The slow path of an append: the time is not after the series' newest float, or the series has
    /// histograms too.
    #[cold]
    fn judge(&self, id: u32, time: i64, value: Option<f64>, histogram: Option<&Histogram>) -> Fate {
        let series = &self.series[id as usize];
        let histograms = self.histograms.get(&id).map_or(&[][..], |h| h);
        let newest = series.last_time().max(histograms.last().map(|(t, _)| *t));
        if newest.is_none_or(|newest| time > newest) {
            return Fate::Taken;
        }
        if let Ok(at) = histograms.binary_search_by_key(&time, |(t, _)| *t) {
            let same = histogram.is_some_and(|h| same_bits(h, &histograms[at].1));
            return if same { Fate::Repeated } else { Fate::Refused(Refusal::DuplicateTimestamp) };
        }
        match self.value_at(id, time) {
            Some(bits) if value.is_some_and(|v| v.to_bits() == bits) => Fate::Repeated,
            Some(_) => Fate::Refused(Refusal::DuplicateTimestamp),
            None => Fate::Refused(Refusal::OutOfOrder),
        }
    }

    /// Drops closed chunks and histograms that end before `cutoff_ms`.
    pub fn drop_before(&mut self, cutoff_ms: i64) {
        for (id, series) in self.series.iter_mut().enumerate() {
            let (bytes, chunks) = series.drop_before(cutoff_ms);
            self.chunk_bytes -= bytes;
            self.figures.chunks_dropped += chunks as u64;
            if series.has_histograms
                && let Some(histograms) = self.histograms.get_mut(&(id as u32))
            {
                let cut = histograms.partition_point(|(t, _)| *t < cutoff_ms);
                self.histogram_bytes -=
                    histograms.drain(..cut).map(|(_, h)| h.size_bytes() + 32).sum::<usize>();
            }
        }
        if let Some(min) = &mut self.figures.min_ms {
            *min = (*min).max(cutoff_ms);
        }
    }

    /// Memory that the head holds.
    pub fn size_bytes(&self) -> usize {
        self.chunk_bytes
            + self.histogram_bytes
            + self.series.capacity() * std::mem::size_of::<Series>()
            + self.pairs.capacity() * std::mem::size_of::<Symbol>()
            + self.table.capacity() * 5
            + self.index.symbols.size_bytes()
    }
}

/// Equal, NaN for NaN, bit for bit: what a repetition of a histogram is.
fn same_bits(a: &Histogram, b: &Histogram) -> bool {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let scalars = |h: &Histogram| bits(&[h.zero_threshold, h.zero_count, h.count, h.sum]);
    (a.schema, a.integer, a.reset) == (b.schema, b.integer, b.reset)
        && scalars(a) == scalars(b)
        && (&a.positive_spans, &a.negative_spans) == (&b.positive_spans, &b.negative_spans)
        && bits(&a.positive_counts) == bits(&b.positive_counts)
        && bits(&a.negative_counts) == bits(&b.negative_counts)
        && bits(&a.custom_values) == bits(&b.custom_values)
}
