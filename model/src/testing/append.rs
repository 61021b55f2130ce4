//! The way in: routing, order, repeats and refusals.

use super::{MemStore, Series, Shard, SharedShard, lock};
use crate::batch::{BatchSeries, Refusal, Refused, WriteBatch, WriteOutcome};
use crate::histogram::Histogram;
use crate::key;
use crate::label::Labels;
use crate::sample::Sample;
use crate::store::{Ack, Append, BoxFuture, StoreError, Written};
use crate::watermark::Watermarks;
use std::collections::HashMap;
use std::sync::Arc;

impl Append for MemStore {
    /// Memory is all there is, so every `ack` is kept as well as it can be.
    fn append(&self, mut batch: WriteBatch, _ack: Ack) -> BoxFuture<'_, Result<Written, StoreError>> {
        Box::pin(async move {
            if let Some(error) = lock(&self.failure).clone() {
                return Err(error);
            }
            batch.spell_out();
            let outcome = self.write(&batch);
            Ok(Written { outcome, batch: Some(batch) })
        })
    }
}

/// What became of one sample.
type Taken = Result<Fate, Refusal>;

enum Fate {
    Stored,
    Repeated,
}

pub(super) fn write(shards: &[SharedShard], watermarks: &Watermarks, batch: &WriteBatch) -> WriteOutcome {
    let mut outcome = WriteOutcome::default();
    for (index, entry) in batch.series.iter().enumerate() {
        write_series(shards, batch, index as u32, entry, &mut outcome);
        let floats = batch.samples_of(entry).iter().map(|s| s.timestamp_ms);
        let oldest_ms = floats.chain(batch.histograms_of(entry).iter().map(|(time, _)| *time)).min();
        if let Some(oldest_ms) = oldest_ms {
            // Which shard took it does not matter to who asks: every shard's notes are looked at.
            watermarks.changed(0, oldest_ms);
        }
    }
    outcome.refused.sort_by_key(|r| (r.series, r.sample));
    outcome
}

fn write_series(
    shards: &[SharedShard],
    batch: &WriteBatch,
    index: u32,
    entry: &BatchSeries,
    outcome: &mut WriteOutcome,
) {
    let (samples, histograms) = (batch.samples_of(entry), batch.histograms_of(entry));
    let Ok(decoded) = key::decode_key(batch.key(entry)) else {
        // Nobody owns a series without a key; the first shard counts for all of them.
        let count = (samples.len() + histograms.len()) as u32;
        let shard = &mut lock(&shards[0]);
        for sample in 0..count {
            refuse(shard, outcome, Refused { series: index, sample, reason: Refusal::InvalidLabels });
        }
        return;
    };
    let canonical = key::key_of(&decoded.labels());
    let shard = &mut *lock(&shards[(stable_hash(&canonical) % shards.len() as u64) as usize]);
    let known = shard.by_key.get(&canonical).copied();
    let mut fresh = Series::new(decoded.labels());
    // Floats and histograms of one series are taken in the order of their times.
    let (mut f, mut h) = (0, 0);
    while f < samples.len() || h < histograms.len() {
        let float_first = match (samples.get(f), histograms.get(h)) {
            (Some(sample), Some((time, _))) => sample.timestamp_ms <= *time,
            (float, _) => float.is_some(),
        };
        let series = match known {
            Some(number) => &mut shard.series[number],
            None => &mut fresh,
        };
        let (sample, taken) = if float_first {
            f += 1;
            (f - 1, series.push_float(samples[f - 1]))
        } else {
            h += 1;
            (samples.len() + h - 1, series.push_histogram(&histograms[h - 1]))
        };
        match taken {
            Err(reason) => {
                refuse(shard, outcome, Refused { series: index, sample: sample as u32, reason });
            }
            Ok(fate) => count_taken(shard, outcome, float_first, fate),
        }
    }
    if known.is_none() && fresh.newest_ms().is_some() {
        shard.by_key.insert(canonical, shard.series.len());
        shard.series.push(fresh);
        outcome.new_series += 1;
    }
}

fn refuse(shard: &mut Shard, outcome: &mut WriteOutcome, refused: Refused) {
    if let Some(slot) = Refusal::ALL.iter().position(|&r| r == refused.reason) {
        shard.refused[slot] += 1;
    }
    outcome.refused.push(refused);
}

fn count_taken(shard: &mut Shard, outcome: &mut WriteOutcome, float: bool, fate: Fate) {
    let (told, kept) = if float {
        (&mut outcome.samples, &mut shard.samples_appended)
    } else {
        (&mut outcome.histograms, &mut shard.histograms_appended)
    };
    *told += 1;
    match fate {
        Fate::Stored => *kept += 1,
        Fate::Repeated => {
            outcome.repeated += 1;
            shard.samples_repeated += 1;
        }
    }
}

/// FNV-1a: the same shard in every run, so that a failing test fails again.
fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

impl Series {
    fn new(labels: Labels) -> Series {
        Series { labels, samples: Vec::new(), histograms: Vec::new(), starts: HashMap::new() }
    }

    fn newest_ms(&self) -> Option<i64> {
        let float = self.samples.last().map(|s| s.timestamp_ms);
        float.max(self.histograms.last().map(|(time, _)| *time))
    }

    fn float_at(&self, time: i64) -> Option<f64> {
        let at = self.samples.binary_search_by_key(&time, |s| s.timestamp_ms).ok()?;
        Some(self.samples[at].value)
    }

    fn histogram_at(&self, time: i64) -> Option<&Histogram> {
        let at = self.histograms.binary_search_by_key(&time, |(t, _)| *t).ok()?;
        Some(&self.histograms[at].1)
    }

    fn push_float(&mut self, sample: Sample) -> Taken {
        let time = sample.timestamp_ms;
        if self.newest_ms().is_none_or(|newest| newest < time) {
            self.samples.push(sample);
            return Ok(Fate::Stored);
        }
        match self.float_at(time) {
            Some(stored) if stored.to_bits() == sample.value.to_bits() => Ok(Fate::Repeated),
            Some(_) => Err(Refusal::DuplicateTimestamp),
            None if self.histogram_at(time).is_some() => Err(Refusal::DuplicateTimestamp),
            None => Err(Refusal::OutOfOrder),
        }
    }

    fn push_histogram(&mut self, (time, histogram): &(i64, Histogram)) -> Taken {
        if histogram.validate().is_err() {
            return Err(Refusal::InvalidHistogram);
        }
        if self.newest_ms().is_none_or(|newest| newest < *time) {
            self.histograms.push((*time, Arc::new(histogram.clone())));
            return Ok(Fate::Stored);
        }
        match self.histogram_at(*time) {
            Some(stored) if same_bits(stored, histogram) => Ok(Fate::Repeated),
            Some(_) => Err(Refusal::DuplicateTimestamp),
            None if self.float_at(*time).is_some() => Err(Refusal::DuplicateTimestamp),
            None => Err(Refusal::OutOfOrder),
        }
    }
}

/// Equal bit for bit, which `==` on floats is not: a stale marker repeats itself.
fn same_bits(a: &Histogram, b: &Histogram) -> bool {
    fn bits(columns: [&[f64]; 3], scalars: [f64; 4]) -> impl Iterator<Item = u64> {
        columns.map(<[f64]>::to_vec).concat().into_iter().chain(scalars).map(f64::to_bits)
    }
    let shape = |h: &Histogram| (h.schema, h.integer, h.reset);
    let floats = |h: &Histogram| {
        let columns = [&h.positive_counts[..], &h.negative_counts, &h.custom_values];
        bits(columns, [h.zero_threshold, h.zero_count, h.count, h.sum]).collect::<Vec<u64>>()
    };
    shape(a) == shape(b)
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive_counts.len() == b.positive_counts.len()
        && floats(a) == floats(b)
}
