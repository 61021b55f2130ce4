//! Samples on their way into a store, many series at a time: collected, brought together by series, appended. Exemplars
//! and what is said of metrics go along: the newest of them are kept until the end, as many as a store keeps.

use super::MovingError;
use crate::config::METADATA_BYTES;
use crate::handle::Handle;
use crate::metadata::MetadataTable;
use crate::prometheus::head::{Said, Sink};
use futures_executor::block_on;
use hearth_model::batch::{Exemplar, Refusal, WriteOutcome};
use hearth_model::metadata::{MetricKind, MetricMetadata};
use hearth_model::{Ack, Append, Histogram, Labels, Sample, StoreError, WriteBatch, key};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples that are collected before they are appended: enough for a batch to cost little, some megabytes.
const BATCH_SAMPLES: usize = 1 << 17;
/// How often it is said how far it is.
const TELL: Duration = Duration::from_secs(5);

/// What became of the samples.
#[derive(Debug, Default, Clone)]
pub struct Taken {
    pub samples: u64,
    pub histograms: u64,
    /// There already, bit for bit.
    pub repeated: u64,
    /// By reason, as [`Refusal::ALL`].
    pub refused: [u64; Refusal::ALL.len()],
    pub exemplars: u64,
    /// Exemplars that others took the place of, or that no room is kept for.
    pub exemplars_crowded_out: u64,
    /// Metrics of which type, help or unit is known.
    pub metrics: u64,
}

impl Taken {
    fn add(&mut self, outcome: &WriteOutcome) {
        self.samples += outcome.samples;
        self.histograms += outcome.histograms;
        self.repeated += outcome.repeated;
        for (count, reason) in self.refused.iter_mut().zip(Refusal::ALL) {
            *count += outcome.refused_for(reason) as u64;
        }
    }

    /// What was not taken, for people.
    pub fn refusals(&self) -> String {
        let told = self.refused.iter().zip(Refusal::ALL).filter(|(count, _)| **count > 0);
        told.map(|(count, reason)| format!("{count} {}", reason.text())).collect::<Vec<_>>().join(", ")
    }
}

/// The metric that a series is a part of: what is known of it is known under this name. Prometheus' log says it of
/// each series.
fn family(series: &str, kind: MetricKind) -> &str {
    let ends: &[&str] = match kind {
        MetricKind::Histogram => &["_bucket", "_count", "_sum"],
        MetricKind::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricKind::Summary => &["_count", "_sum"],
        _ => &[],
    };
    ends.iter().find_map(|end| series.strip_suffix(end)).unwrap_or(series)
}

/// See the module's head.
pub struct Intake {
    store: Handle,
    keys: Vec<Vec<u8>>,
    samples: Vec<(u32, Sample)>,
    histograms: Vec<(u32, i64, Histogram)>,
    exemplars: VecDeque<(u32, Exemplar)>,
    max_exemplars: usize,
    metadata: MetadataTable,
    pub taken: Taken,
    told: Instant,
}

impl Intake {
    /// With so many exemplars at most.
    pub fn new(store: Handle, max_exemplars: usize) -> Intake {
        Intake {
            store,
            keys: Vec::new(),
            samples: Vec::with_capacity(BATCH_SAMPLES),
            histograms: Vec::new(),
            exemplars: VecDeque::new(),
            max_exemplars,
            metadata: MetadataTable::new(METADATA_BYTES),
            taken: Taken::default(),
            told: Instant::now(),
        }
    }

    fn append_where_full(&mut self) -> Result<(), MovingError> {
        // A histogram is as large as many samples.
        if self.samples.len() + 16 * self.histograms.len() < BATCH_SAMPLES {
            return Ok(());
        }
        self.append()
    }

    fn append(&mut self) -> Result<(), MovingError> {
        let mut batch = WriteBatch::default();
        // Stable: the samples of a series stay in the order in which they came.
        self.samples.sort_by_key(|(series, _)| *series);
        let mut run = Vec::new();
        for group in self.samples.chunk_by(|a, b| a.0 == b.0) {
            run.clear();
            run.extend(group.iter().map(|(_, sample)| *sample));
            batch.push_keyed(&self.keys[group[0].0 as usize], &run);
        }
        self.samples.clear();
        self.histograms.sort_by_key(|(series, _, _)| *series);
        let mut rest = std::mem::take(&mut self.histograms).into_iter().peekable();
        while let Some((series, time, first)) = rest.next() {
            let mut run = vec![(time, first)];
            while let Some((_, time, next)) = rest.next_if(|(next, _, _)| *next == series) {
                run.push((time, next));
            }
            batch.push_histograms(&self.keys[series as usize], run);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let written = block_on(self.store.append(batch, Ack::Memory)).map_err(|error| match error {
            StoreError::ReadOnly(why) => MovingError::Refused(format!(
                "the samples of the log do not fit into memory ({why}): raise the limit, or let Prometheus cut a block first"
            )),
            error => MovingError::Store(error),
        })?;
        self.taken.add(&written.outcome);
        Ok(())
    }

    /// Appends what is left.
    pub fn finish(mut self) -> Result<Taken, MovingError> {
        self.append()?;
        let keys = &self.keys;
        let exemplars = std::mem::take(&mut self.exemplars);
        self.taken.exemplars = exemplars.len() as u64;
        let exemplars =
            exemplars.into_iter().map(|(series, exemplar)| (keys[series as usize].clone(), exemplar));
        let mut said = Vec::new();
        self.metadata.each(0, |one| {
            said.push(one.clone());
            true
        });
        self.taken.metrics = said.len() as u64;
        self.store.restore(exemplars, said)?;
        Ok(self.taken)
    }
}

impl Sink for Intake {
    type Error = MovingError;

    fn series(&mut self, series: u32, labels: &Labels) -> Result<(), MovingError> {
        debug_assert_eq!(series as usize, self.keys.len());
        self.keys.push(key::key_of(labels));
        Ok(())
    }

    fn sample(&mut self, series: u32, time: i64, value: f64) -> Result<(), MovingError> {
        self.samples.push((series, Sample { timestamp_ms: time, value }));
        self.append_where_full()
    }

    fn histogram(&mut self, series: u32, time: i64, histogram: Histogram) -> Result<(), MovingError> {
        self.histograms.push((series, time, histogram));
        self.append_where_full()
    }

    fn exemplar(&mut self, series: u32, exemplar: Exemplar) {
        self.exemplars.push_back((series, exemplar));
        if self.exemplars.len() > self.max_exemplars {
            self.exemplars.pop_front();
            self.taken.exemplars_crowded_out += 1;
        }
    }

    fn metadata(&mut self, series: u32, said: Said<'_>) {
        let Ok(key) = key::decode_key(&self.keys[series as usize]) else { return };
        let name = key.pairs.iter().find(|(name, _)| *name == "__name__").map_or("", |(_, value)| *value);
        let name = family(name, said.kind);
        let known = self.metadata.get(name);
        if known.is_some_and(|k| (k.kind, &*k.unit, &*k.help) == (said.kind, said.unit, said.help)) {
            return;
        }
        let (unit, help) = (said.unit.into(), said.help.into());
        self.metadata.say(&MetricMetadata { name: name.into(), kind: said.kind, unit, help });
    }

    fn progress(&mut self, done: u64, all: u64) -> Result<(), MovingError> {
        if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            let percent = done * 100 / all.max(1);
            tracing::info!(
                percent,
                series = self.keys.len(),
                samples = self.taken.samples,
                "reading Prometheus' log"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_metric_goes_by_its_name() {
        for (series, kind, name) in [
            ("a_bucket", MetricKind::Histogram, "a"),
            ("a_sum", MetricKind::Histogram, "a"),
            ("a", MetricKind::Histogram, "a"),
            ("a_gcount", MetricKind::GaugeHistogram, "a"),
            ("a_bucket", MetricKind::Summary, "a_bucket"),
            ("a_count", MetricKind::Summary, "a"),
            ("a_count", MetricKind::Gauge, "a_count"),
            ("a_total", MetricKind::Counter, "a_total"),
        ] {
            assert_eq!(family(series, kind), name, "{series} {kind}");
        }
    }
}
