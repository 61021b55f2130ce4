//! What goes into a store: series keys with their samples, and what became of each sample.
//!
//! A batch is flat: three columns (samples, histograms, exemplars) and one arena of key bytes, so that a
//! decoder fills it without an allocation per series or per sample, and a caller that keeps the batch
//! between requests allocates nothing at all.

use crate::histogram::Histogram;
use crate::key;
use crate::label::Labels;
use crate::metadata::MetricMetadata;
use crate::roster::Column;
use crate::sample::Sample;
use std::ops::Range;

/// Index ranges of one series within a [`WriteBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSeries {
    /// Raw label bytes within the arena: a canonical key (see [`crate::key`]), or the same labels in
    /// another order, which the store then brings into order.
    pub key: Range<u32>,
    pub samples: Range<u32>,
    pub histograms: Range<u32>,
    pub exemplars: Range<u32>,
}

/// A sample that points at the trace behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    pub timestamp_ms: i64,
    pub value: f64,
    pub labels: Labels,
}

/// Samples of many series on their way into a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WriteBatch {
    pub keys: Vec<u8>,
    pub series: Vec<BatchSeries>,
    /// Series with a sample each that the sender names by a roster. They are counted behind those of `series`: where
    /// series have numbers, the first of these has the number `series.len()`.
    pub column: Column,
    pub samples: Vec<Sample>,
    pub histograms: Vec<(i64, Histogram)>,
    pub exemplars: Vec<Exemplar>,
    /// What is said of metrics, of these series or of others.
    pub metadata: Vec<MetricMetadata>,
}

impl WriteBatch {
    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.series.clear();
        self.column.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.column.is_empty() && self.metadata.is_empty()
    }

    /// Makes ordinary series of the column's, with the same numbers (absent ones without a sample): for a store that
    /// does not know rosters.
    pub fn spell_out(&mut self) {
        let column = std::mem::take(&mut self.column);
        let Some(roster) = &column.roster else { return };
        let mut present = column.present().peekable();
        let mut exemplars = column.exemplars.iter().peekable();
        for (number, key) in roster.keys().enumerate() {
            match present.next_if(|(at, _)| *at == number) {
                Some((_, sample)) => self.push_keyed(key, &[sample]),
                None => self.push_keyed(key, &[]),
            }
            while let Some((_, exemplar)) = exemplars.next_if(|(at, _)| *at as usize == number) {
                self.push_exemplar(exemplar.clone());
            }
        }
    }

    pub fn key(&self, series: &BatchSeries) -> &[u8] {
        &self.keys[series.key.start as usize..series.key.end as usize]
    }

    pub fn samples_of(&self, series: &BatchSeries) -> &[Sample] {
        &self.samples[series.samples.start as usize..series.samples.end as usize]
    }

    pub fn histograms_of(&self, series: &BatchSeries) -> &[(i64, Histogram)] {
        &self.histograms[series.histograms.start as usize..series.histograms.end as usize]
    }

    pub fn exemplars_of(&self, series: &BatchSeries) -> &[Exemplar] {
        &self.exemplars[series.exemplars.start as usize..series.exemplars.end as usize]
    }

    /// Appends one series with float samples, its labels as they are.
    pub fn push(&mut self, labels: &Labels, samples: &[Sample]) {
        let start = self.keys.len();
        key::push_key(&mut self.keys, labels);
        self.push_tail(start, samples);
    }

    /// Appends one series by its key, as a caller that keeps keys does (a scrape loop's cache).
    pub fn push_keyed(&mut self, key: &[u8], samples: &[Sample]) {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        self.push_tail(start, samples);
    }

    /// The same with native histograms.
    pub fn push_histograms(&mut self, key: &[u8], histograms: impl IntoIterator<Item = (i64, Histogram)>) {
        self.push_keyed(key, &[]);
        self.histograms.extend(histograms);
        if let Some(series) = self.series.last_mut() {
            series.histograms.end = self.histograms.len() as u32;
        }
    }

    /// Gives the series that was appended last one more exemplar; a batch without series takes none.
    pub fn push_exemplar(&mut self, exemplar: Exemplar) {
        if let Some(series) = self.series.last_mut() {
            self.exemplars.push(exemplar);
            series.exemplars.end = self.exemplars.len() as u32;
        }
    }

    fn push_tail(&mut self, key_start: usize, samples: &[Sample]) {
        let first = self.samples.len() as u32;
        self.samples.extend_from_slice(samples);
        let (histograms, exemplars) = (self.histograms.len() as u32, self.exemplars.len() as u32);
        self.series.push(BatchSeries {
            key: key_start as u32..self.keys.len() as u32,
            samples: first..self.samples.len() as u32,
            histograms: histograms..histograms,
            exemplars: exemplars..exemplars,
        });
    }
}

/// Why a store did not take a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Older than the series' newest sample, and outside the out-of-order window.
    OutOfOrder,
    /// The same time as a stored sample, another value.
    DuplicateTimestamp,
    /// Before what the store still keeps open.
    TooOld,
    /// Too far in the future.
    OutOfBounds,
    /// The series' labels are not valid.
    InvalidLabels,
    /// The histogram's shape is not valid.
    InvalidHistogram,
    /// A limit on series would be broken by this new series: of all, of those with its metric name, with its
    /// job, or new within an hour.
    SeriesLimit,
    MetricSeriesLimit,
    JobSeriesLimit,
    NewSeriesLimit,
    /// The new series has more labels, or a longer label name or value, than is allowed.
    LabelCountLimit,
    LabelNameLimit,
    LabelValueLimit,
}

impl Refusal {
    pub const ALL: [Refusal; 13] = [
        Refusal::OutOfOrder,
        Refusal::DuplicateTimestamp,
        Refusal::TooOld,
        Refusal::OutOfBounds,
        Refusal::InvalidLabels,
        Refusal::InvalidHistogram,
        Refusal::SeriesLimit,
        Refusal::MetricSeriesLimit,
        Refusal::JobSeriesLimit,
        Refusal::NewSeriesLimit,
        Refusal::LabelCountLimit,
        Refusal::LabelNameLimit,
        Refusal::LabelValueLimit,
    ];

    /// What the sender is told.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::OutOfOrder => "out of order sample",
            Refusal::DuplicateTimestamp => "duplicate sample for timestamp",
            Refusal::TooOld => "too old sample",
            Refusal::OutOfBounds => "out of bounds",
            Refusal::InvalidLabels => "invalid labels",
            Refusal::InvalidHistogram => "invalid histogram",
            Refusal::SeriesLimit => "series limit reached (storage.max-series)",
            Refusal::MetricSeriesLimit => {
                "limit of series with one metric name reached (storage.max-series-per-metric)"
            }
            Refusal::JobSeriesLimit => "limit of series with one job reached (storage.max-series-per-job)",
            Refusal::NewSeriesLimit => {
                "limit of new series within an hour reached (storage.max-new-series-per-hour)"
            }
            Refusal::LabelCountLimit => "too many labels (storage.max-labels-per-series)",
            Refusal::LabelNameLimit => "label name too long (storage.max-label-name-length)",
            Refusal::LabelValueLimit => "label value too long (storage.max-label-value-length)",
        }
    }
}

/// One sample (or histogram) that was not taken; `sample` counts the series' floats first, then its
/// histograms. A whole series that was refused has one entry for each of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub series: u32,
    pub sample: u32,
    pub reason: Refusal,
}

/// What became of a batch: every sample not listed as refused was taken (or was there already, bit for
/// bit).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOutcome {
    pub samples: u64,
    pub histograms: u64,
    /// Exemplars taken. Others are never refused one by one: they decorate, and no sender repeats them.
    pub exemplars: u64,
    /// Exemplars not taken because the series has a newer one, or another at the same time.
    pub exemplars_out_of_order: u64,
    /// Of the samples taken, those that were stored already with the same bits.
    pub repeated: u64,
    pub new_series: u64,
    pub refused: Vec<Refused>,
}

impl WriteOutcome {
    pub fn merge(&mut self, other: WriteOutcome) {
        self.samples += other.samples;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
        self.exemplars_out_of_order += other.exemplars_out_of_order;
        self.repeated += other.repeated;
        self.new_series += other.new_series;
        self.refused.extend(other.refused);
    }

    pub fn refused_for(&self, reason: Refusal) -> usize {
        self.refused.iter().filter(|r| r.reason == reason).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::Roster;
    use std::sync::Arc;

    #[test]
    fn a_column_is_spelled_out_behind_the_other_series() {
        let mut batch = WriteBatch::default();
        batch.push_keyed(b"a", &[Sample { timestamp_ms: 1, value: 2.0 }]);
        let roster = Some(Arc::new(Roster::new([&b"b"[..], b"c"])));
        let exemplar = Exemplar { timestamp_ms: 6, value: 7.0, labels: Labels::empty() };
        let exemplars = vec![(1, exemplar.clone()), (1, exemplar.clone())];
        let values = vec![4.0, 5.0];
        batch.column = Column { roster, timestamp_ms: 3, values, exemplars, ..Column::default() };
        assert!(!batch.is_empty());
        batch.spell_out();
        let found: Vec<_> = batch.series.iter().map(|s| (batch.key(s), batch.samples_of(s)[0])).collect();
        let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
        assert_eq!(found, [(&b"a"[..], sample(1, 2.0)), (b"b", sample(3, 4.0)), (b"c", sample(3, 5.0))]);
        let exemplars: Vec<_> = batch.series.iter().map(|series| batch.exemplars_of(series).len()).collect();
        assert_eq!((exemplars, &batch.exemplars[1]), (vec![0, 0, 2], &exemplar));
        assert!(batch.column.is_empty() && batch.column.roster.is_none());
    }

    #[test]
    fn each_series_has_its_own_part_of_every_column() {
        let exemplar = |at| Exemplar { timestamp_ms: at, value: 1.0, labels: Labels::empty() };
        let mut batch = WriteBatch::default();
        batch.push_exemplar(exemplar(0));
        batch.push_keyed(b"a", &[Sample { timestamp_ms: 1, value: 2.0 }]);
        batch.push_exemplar(exemplar(1));
        batch.push_histograms(b"b", [(3, Histogram::stale())]);
        batch.push_exemplar(exemplar(2));
        batch.push_exemplar(exemplar(3));
        let lengths = |s: &BatchSeries| {
            let (samples, histograms) = (batch.samples_of(s), batch.histograms_of(s));
            let exemplars: Vec<i64> = batch.exemplars_of(s).iter().map(|e| e.timestamp_ms).collect();
            (samples.len(), histograms.len(), exemplars)
        };
        let found: Vec<_> = batch.series.iter().map(lengths).collect();
        assert_eq!(found, [(1, 0, vec![1]), (0, 1, vec![2, 3])]);
    }
}
