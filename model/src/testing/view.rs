//! One shard as a job sees it, and the cursor over its series.

use super::{Series, SharedShard, YieldOnce, lock};
use crate::context::{QueryContext, Reservation};
use crate::label::Labels;
use crate::matcher::Matcher;
use crate::range::TimeRange;
use crate::sample::Sample;
use crate::store::{Columns, Projection, Select, SeriesCursor, ShardView, StoreError};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A cursor gives way once in this many series: often enough that small tests meet it.
const SERIES_BETWEEN_YIELDS: usize = 4;

/// A job's view of one shard of a [`super::MemStore`].
#[derive(Debug, Clone)]
pub struct MemView {
    shard: SharedShard,
    context: QueryContext,
}

impl MemView {
    pub(super) fn new(shard: SharedShard, context: QueryContext) -> MemView {
        MemView { shard, context }
    }

    /// Hands every series that any of the sets matches and that has a sample in the range to `visit`,
    /// until that says to stop.
    fn visit(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        mut visit: impl FnMut(&Labels) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.context.check()?;
        for series in &lock(&self.shard).series {
            let wanted = sets.is_empty() || sets.iter().any(|set| matches(set, &series.labels));
            if wanted && series.has_sample_in(range) && !visit(&series.labels)? {
                break;
            }
        }
        Ok(())
    }

    /// Distinct texts of the visited series, charged while they are collected.
    fn distinct(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        mut texts: impl FnMut(&Labels, &mut dyn FnMut(&str)),
    ) -> Result<Vec<String>, StoreError> {
        let mut found = BTreeSet::new();
        let mut held = self.context.reserve(0)?;
        self.visit(sets, range, |labels| {
            let mut bytes = 0;
            texts(labels, &mut |text| {
                if !found.contains(text) {
                    bytes += std::mem::size_of::<String>() + text.len();
                    found.insert(text.to_owned());
                }
            });
            held.grow(bytes)?;
            Ok(true)
        })?;
        Ok(found.into_iter().collect())
    }
}

pub(super) fn matches(set: &[Matcher], labels: &Labels) -> bool {
    set.iter().all(|m| m.matches(labels.value(&m.name)))
}

impl Series {
    fn floats_in(&self, range: TimeRange) -> &[Sample] {
        let from = self.samples.partition_point(|s| s.timestamp_ms < range.min_ms);
        let to = self.samples.partition_point(|s| s.timestamp_ms <= range.max_ms);
        self.samples.get(from..to).unwrap_or(&[])
    }

    fn histograms_in(&self, range: TimeRange) -> &[(i64, Arc<crate::histogram::Histogram>)] {
        let from = self.histograms.partition_point(|(time, _)| *time < range.min_ms);
        let to = self.histograms.partition_point(|(time, _)| *time <= range.max_ms);
        self.histograms.get(from..to).unwrap_or(&[])
    }

    fn has_sample_in(&self, range: TimeRange) -> bool {
        !self.floats_in(range).is_empty() || !self.histograms_in(range).is_empty()
    }
}

impl ShardView for MemView {
    type Cursor = MemCursor;

    fn context(&self) -> &QueryContext {
        &self.context
    }

    async fn select(&self, select: Select) -> Result<MemCursor, StoreError> {
        self.context.check()?;
        YieldOnce::default().await;
        let found: Vec<usize> = {
            let shard = lock(&self.shard);
            let all = shard.series.iter().enumerate();
            all.filter(|(_, s)| matches(&select.matchers, &s.labels)).map(|(number, _)| number).collect()
        };
        let held = self.context.reserve(std::mem::size_of_val(&found[..]))?;
        Ok(MemCursor {
            view: self.clone(),
            select,
            found,
            position: 0,
            groups: HashMap::new(),
            group_labels: Vec::new(),
            times_id: 0,
            last_times: Vec::new(),
            held,
            columns_bytes: 0,
        })
    }

    async fn series(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<Labels>, StoreError> {
        let mut found = Vec::new();
        let mut held = self.context.reserve(0)?;
        self.visit(sets, range, |labels| {
            if found.len() >= limit {
                return Ok(false);
            }
            held.grow(std::mem::size_of::<Labels>() + labels.size_bytes())?;
            found.push(labels.clone());
            Ok(true)
        })?;
        Ok(found)
    }

    async fn label_names(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        self.distinct(sets, range, |labels, take| labels.iter().for_each(|(name, _)| take(name)))
    }

    async fn label_values(
        &self,
        name: &str,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        self.distinct(sets, range, |labels, take| {
            if let Some(value) = labels.get(name) {
                take(value);
            }
        })
    }

    /// Always suspends once, so that an executor is tested for it.
    async fn pause(&self) -> Result<(), StoreError> {
        self.context.check()?;
        YieldOnce::default().await;
        self.context.check()
    }
}

/// Walks the series of one selection on one shard of a [`super::MemStore`].
#[derive(Debug)]
pub struct MemCursor {
    view: MemView,
    select: Select,
    /// Numbers of the series that match, ascending.
    found: Vec<usize>,
    position: usize,
    groups: HashMap<Labels, u32>,
    group_labels: Vec<Labels>,
    times_id: u64,
    /// Times of the series before, which the next series' times are compared with.
    last_times: Vec<i64>,
    held: Reservation,
    /// What of `held` stands for the caller's columns: the largest series so far.
    columns_bytes: usize,
}

impl MemCursor {
    /// Copies one series' samples; `false` where it has none in the range.
    fn copy(&mut self, number: usize, out: &mut Columns) -> Result<bool, StoreError> {
        let shard = self.view.shard.clone();
        let shard = lock(&shard);
        let series = &shard.series[number];
        let floats = series.floats_in(self.select.range);
        let histograms = series.histograms_in(self.select.range);
        if floats.is_empty() && histograms.is_empty() {
            return Ok(false);
        }
        let bytes = std::mem::size_of_val(floats)
            + histograms.iter().map(|(_, h)| 16 + h.size_bytes()).sum::<usize>();
        if bytes > self.columns_bytes {
            self.held.grow(bytes - self.columns_bytes)?;
            self.columns_bytes = bytes;
        }
        out.times.extend(floats.iter().map(|s| s.timestamp_ms));
        out.values.extend(floats.iter().map(|s| s.value));
        out.histograms.extend(histograms.iter().cloned());
        if !series.starts.is_empty() {
            let start = |time: i64| series.starts.get(&time).copied().unwrap_or(0);
            out.starts.extend(floats.iter().map(|s| start(s.timestamp_ms)));
            out.histogram_starts.extend(histograms.iter().map(|(time, _)| start(*time)));
        }
        out.group = self.group_of(&series.labels)?;
        if self.times_id == 0 || self.last_times != out.times {
            self.times_id += 1;
            self.last_times.clone_from(&out.times);
        }
        out.times_id = self.times_id;
        Ok(true)
    }

    fn group_of(&mut self, labels: &Labels) -> Result<u32, StoreError> {
        let projected = self.select.projection.apply(labels);
        if self.select.projection != Projection::All
            && let Some(&group) = self.groups.get(&projected)
        {
            return Ok(group);
        }
        self.held.grow(2 * std::mem::size_of::<Labels>() + projected.size_bytes())?;
        let group = self.group_labels.len() as u32;
        self.groups.insert(projected.clone(), group);
        self.group_labels.push(projected);
        Ok(group)
    }
}

impl SeriesCursor for MemCursor {
    fn series_count(&self) -> usize {
        self.found.len()
    }

    async fn next(&mut self, out: &mut Columns) -> Result<bool, StoreError> {
        out.clear();
        while let Some(&number) = self.found.get(self.position) {
            self.view.context.check()?;
            self.position += 1;
            if self.position.is_multiple_of(SERIES_BETWEEN_YIELDS) {
                YieldOnce::default().await;
            }
            if self.copy(number, out)? {
                return Ok(true);
            }
        }
        self.view.context.check()?;
        Ok(false)
    }

    fn group_labels(&self, group: u32) -> Labels {
        self.group_labels[group as usize].clone()
    }

    fn visit_labels(&self, mut each: impl FnMut(&str, &str)) {
        let Some(&number) = self.position.checked_sub(1).and_then(|last| self.found.get(last)) else {
            return;
        };
        lock(&self.view.shard).series[number].labels.iter().for_each(|(name, value)| each(name, value));
    }
}
