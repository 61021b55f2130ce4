//! Samples on their way into a store, many series at a time: collected, brought together by series, appended.

use super::MovingError;
use crate::handle::Handle;
use crate::prometheus::head::Sink;
use futures_executor::block_on;
use hearth_model::batch::{Refusal, WriteOutcome};
use hearth_model::{Ack, Append, Histogram, Labels, Sample, StoreError, WriteBatch, key};
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

/// See the module's head.
pub struct Intake {
    store: Handle,
    keys: Vec<Vec<u8>>,
    samples: Vec<(u32, Sample)>,
    histograms: Vec<(u32, i64, Histogram)>,
    pub taken: Taken,
    told: Instant,
}

impl Intake {
    pub fn new(store: Handle) -> Intake {
        let (samples, histograms) = (Vec::with_capacity(BATCH_SAMPLES), Vec::new());
        Intake { store, keys: Vec::new(), samples, histograms, taken: Taken::default(), told: Instant::now() }
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
