//! What the load commands of a file have put together, and the store made of it.

use crate::script::{Load, LoadedSeries};
use crate::sequence::Cell;
use hearth_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use hearth_model::label::METRIC_NAME;
use hearth_model::testing::MemStore;
use hearth_model::{CounterReset, Histogram, Labels, LabelsBuilder, Sample, WriteBatch};
use hearth_promql::exec::histogram::reset;
use std::collections::BTreeMap;

/// Samples by series and time.
#[derive(Default)]
pub struct Loaded {
    series: Vec<(Labels, BTreeMap<i64, Cell>)>,
    /// By series: a sample's time and its start timestamp.
    starts: Vec<(Labels, Vec<(i64, i64)>)>,
}

impl Loaded {
    fn samples(&mut self, labels: &Labels) -> &mut BTreeMap<i64, Cell> {
        let at = self.series.iter().position(|(known, _)| known == labels).unwrap_or_else(|| {
            self.series.push((labels.clone(), BTreeMap::new()));
            self.series.len() - 1
        });
        &mut self.series[at].1
    }

    pub fn add(&mut self, load: &Load) -> Result<(), String> {
        for series in &load.series {
            if series.starts {
                let at = |i: usize| i as i64 * load.interval_ms;
                let start = |(i, cell): (usize, &Cell)| match cell {
                    Cell::Float(offset_ms) => Some((at(i), at(i) + *offset_ms as i64)),
                    _ => None,
                };
                let starts = series.cells.iter().enumerate().filter_map(start).collect();
                self.starts.push((series.labels.clone(), starts));
                continue;
            }
            let into = self.samples(&series.labels);
            for (i, cell) in series.cells.iter().enumerate().filter(|(_, c)| **c != Cell::Nothing) {
                into.insert(i as i64 * load.interval_ms, cell.clone());
            }
        }
        if load.with_nhcb {
            for (labels, samples) in custom_bucket_histograms(&load.series, load.interval_ms) {
                self.samples(&labels).extend(samples);
            }
        }
        Ok(())
    }

    pub fn fill(&self, shards: usize) -> MemStore {
        let store = MemStore::new(shards);
        let mut batch = WriteBatch::default();
        for (labels, samples) in &self.series {
            let mut floats = Vec::new();
            let first = batch.histograms.len() as u32;
            let mut before: Option<&Histogram> = None;
            for (&timestamp_ms, cell) in samples {
                match cell {
                    Cell::Float(value) => floats.push(Sample { timestamp_ms, value: *value }),
                    Cell::Histogram(histogram, _) => {
                        let mut stored = histogram.clone();
                        stored.reset = hint(histogram, before);
                        batch.histograms.push((timestamp_ms, stored));
                    }
                    Cell::Nothing => {}
                }
                before = if let Cell::Histogram(histogram, _) = cell { Some(histogram) } else { None };
            }
            batch.push(labels, &floats);
            let last = batch.series.last_mut().expect("just pushed");
            last.histograms = first..batch.histograms.len() as u32;
        }
        let outcome = store.write(&batch);
        assert!(outcome.refused.is_empty(), "refused: {:?}", outcome.refused);
        for (labels, starts) in &self.starts {
            store.set_starts(labels, starts);
        }
        store
    }
}

/// What a store knows of a counter's reset: that there is none, where the sample goes on from the one
/// before it.
fn hint(histogram: &Histogram, before: Option<&Histogram>) -> CounterReset {
    let stale = histogram.is_stale() || before.is_none_or(Histogram::is_stale);
    match (histogram.reset, before) {
        (CounterReset::Unknown, Some(before)) if !stale && !reset::detect(histogram, before) => {
            CounterReset::NotReset
        }
        (hint, _) => hint,
    }
}

#[derive(Default)]
struct Parts {
    /// Cumulative counts by upper bound.
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: Option<f64>,
}

/// Native histograms with custom buckets, of the classic ones among the series.
fn custom_bucket_histograms(
    series: &[LoadedSeries],
    interval_ms: i64,
) -> BTreeMap<Labels, BTreeMap<i64, Cell>> {
    let mut parts: BTreeMap<Labels, BTreeMap<i64, Parts>> = BTreeMap::new();
    for LoadedSeries { labels, cells, .. } in series {
        let name = labels.metric_name();
        let Some((base, kind)) = name.rsplit_once('_') else { continue };
        let bound = labels.value("le").parse::<f64>().ok();
        if !matches!(kind, "bucket" | "sum" | "count") || (kind == "bucket" && bound.is_none()) {
            continue;
        }
        let mut builder = LabelsBuilder::from(labels);
        builder.set(METRIC_NAME, base).remove("le");
        let of_series = parts.entry(builder.build()).or_default();
        for (i, cell) in cells.iter().enumerate() {
            let Cell::Float(value) = cell else { continue };
            let part = of_series.entry(i as i64 * interval_ms).or_default();
            match (kind, bound) {
                ("bucket", Some(bound)) => part.buckets.push((bound, *value)),
                ("sum", _) => part.sum = *value,
                _ => part.count = Some(*value),
            }
        }
    }
    let with_buckets = |parts: &BTreeMap<i64, Parts>| parts.values().any(|p| !p.buckets.is_empty());
    parts
        .into_iter()
        .filter(|(_, parts)| with_buckets(parts))
        .map(|(labels, parts)| {
            let cells =
                parts.into_iter().map(|(time, part)| (time, Cell::Histogram(part.histogram(), false)));
            (labels, cells.collect())
        })
        .collect()
}

impl Parts {
    fn histogram(mut self) -> Histogram {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|a, b| a.0 == b.0);
        let last = self.buckets.last().map_or(0.0, |b| b.1);
        let count = self.count.unwrap_or(last).max(last);
        if self.buckets.last().is_none_or(|b| b.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut below = 0.0;
        let counts: Vec<f64> =
            self.buckets.iter().map(|(_, c)| (*c - std::mem::replace(&mut below, *c)).max(0.0)).collect();
        let bounds = self.buckets.iter().map(|b| b.0).filter(|b| b.is_finite()).collect();
        Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            positive_counts: counts,
            custom_values: bounds,
            ..Histogram::stale()
        }
    }
}
