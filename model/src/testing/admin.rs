//! Figures and cardinality tables, counted afresh whenever somebody asks.

use super::{MemStore, Series, lock};
use crate::label::METRIC_NAME;
use crate::range::TimeRange;
use crate::store::{Admin, BoxFuture, Counted, HeadStatus, MatcherSets, StoreError, StoreFigures};
use std::collections::{BTreeMap, BTreeSet};

impl Admin for MemStore {
    fn figures(&self) -> BoxFuture<'_, Result<StoreFigures, StoreError>> {
        Box::pin(async move { Ok(self.count_figures()) })
    }

    fn head_status(&self, limit: usize) -> BoxFuture<'_, Result<HeadStatus, StoreError>> {
        Box::pin(async move { Ok(self.count_status(limit)) })
    }

    fn delete_series(&self, sets: MatcherSets, range: TimeRange) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            sets.iter().for_each(|matchers| self.delete(matchers, range));
            Ok(())
        })
    }

    /// What is deleted takes no room here.
    fn clean_tombstones(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    /// There is no place to put anything.
    fn snapshot(&self, name: String, _: bool) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { Err(StoreError::Io(format!("{name}: data is in memory only"))) })
    }
}

impl Series {
    fn reach_ms(&self) -> Option<(i64, i64)> {
        let floats = self.samples.iter().map(|s| s.timestamp_ms);
        let times = || floats.clone().chain(self.histograms.iter().map(|(time, _)| *time));
        Some((times().min()?, times().max()?))
    }
}

impl MemStore {
    fn count_figures(&self) -> StoreFigures {
        let mut sum = StoreFigures { shards: self.shards.len() as u64, ..StoreFigures::default() };
        for shard in self.shards.iter() {
            let shard = lock(shard);
            sum.series += shard.series.len() as u64;
            sum.series_created += shard.series.len() as u64;
            sum.samples_appended += shard.samples_appended;
            sum.histograms_appended += shard.histograms_appended;
            sum.samples_repeated += shard.samples_repeated;
            for (total, part) in sum.refused.iter_mut().zip(shard.refused) {
                *total += part;
            }
            for series in &shard.series {
                if let Some((min, max)) = series.reach_ms() {
                    sum.min_ms = Some(sum.min_ms.map_or(min, |m| m.min(min)));
                    sum.max_ms = Some(sum.max_ms.map_or(max, |m| m.max(max)));
                }
            }
        }
        sum
    }

    fn count_status(&self, limit: usize) -> HeadStatus {
        let mut status = HeadStatus { min_ms: i64::MAX, max_ms: i64::MIN, ..HeadStatus::default() };
        let mut by_metric: BTreeMap<String, u64> = BTreeMap::new();
        let mut by_pair: BTreeMap<String, u64> = BTreeMap::new();
        let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for shard in self.shards.iter() {
            for series in &lock(shard).series {
                status.series += 1;
                if let Some((min, max)) = series.reach_ms() {
                    status.min_ms = status.min_ms.min(min);
                    status.max_ms = status.max_ms.max(max);
                }
                for (name, value) in &series.labels {
                    if name == METRIC_NAME {
                        *by_metric.entry(value.to_owned()).or_default() += 1;
                    }
                    *by_pair.entry(format!("{name}={value}")).or_default() += 1;
                    values.entry(name.to_owned()).or_default().insert(value.to_owned());
                }
            }
        }
        let distinct = values.iter().map(|(name, set)| (name.clone(), set.len() as u64));
        let bytes = values.iter().map(|(name, set)| (name.clone(), set.iter().map(|v| v.len() as u64).sum()));
        status.label_pairs = by_pair.len() as u64;
        status.values_by_label_name = largest(distinct, limit);
        status.memory_by_label_name = largest(bytes, limit);
        status.series_by_metric_name = largest(by_metric, limit);
        status.series_by_label_pair = largest(by_pair, limit);
        status
    }
}

/// The `limit` largest, ties by name.
fn largest(counts: impl IntoIterator<Item = Counted>, limit: usize) -> Vec<Counted> {
    let mut all: Vec<Counted> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all
}
