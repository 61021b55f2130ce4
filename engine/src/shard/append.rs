//! A write, on its shard: find or make each series, judge each sample, put what is taken into the head
//! and into the open commit.

use super::ShardState;
use super::request::{AppendRequest, Appended, Elsewhere, Pick};
use crate::config;
use crate::exemplars::{self, Exemplars};
use crate::head::{Fate, Head};
use crate::wal::commit::Commit;
use hearth_model::batch::{BatchSeries, Refusal, Refused};
use hearth_model::metadata::MetricMetadata;
use hearth_model::{Ack, StoreError, WriteBatch, key};
use std::borrow::Cow;
use std::sync::Arc;

/// In place of the id of a series that is not here.
const NOT_HERE: u32 = u32::MAX;

/// Where a key led.
enum Found {
    Series(u32),
    Elsewhere(Vec<u8>),
    Refused(Refusal),
}

/// One batch's way through a shard.
struct Appender<'a> {
    state: &'a ShardState,
    head: &'a mut Head,
    exemplars: &'a mut Exemplars,
    commit: &'a mut Commit,
    batch: &'a WriteBatch,
    latest_ms: i64,
    /// Of the samples that were taken.
    oldest_ms: i64,
    logged: bool,
    done: Appended,
}

impl ShardState {
    pub(super) fn append(&self, request: AppendRequest) {
        if let Some(error) = self.refuses_writes() {
            request.reply.tell(Err(error));
            return;
        }
        let AppendRequest { batch, picks, latest_ms, ack, reply } = request;
        let (done, logged, oldest_ms) = self.queue.with_open(|commit| {
            let mut head = self.head.borrow_mut();
            head.set_window(self.store.settings.out_of_order_ms(), latest_ms);
            let mut exemplars = self.exemplars.borrow_mut();
            if exemplars.capacity() != self.store.max_exemplars() {
                exemplars.set_capacity(self.store.max_exemplars());
            }
            let mut appender = Appender {
                state: self,
                exemplars: &mut exemplars,
                head: &mut head,
                commit,
                batch: &batch,
                latest_ms,
                oldest_ms: i64::MAX,
                logged: false,
                done: Appended::default(),
            };
            appender.run(&picks, &mut self.ids.borrow_mut());
            appender.metadata();
            (appender.done, appender.logged, appender.oldest_ms)
        });
        if oldest_ms < i64::MAX {
            self.store.watermarks.changed(self.number, oldest_ms);
        }
        drop(batch);
        // Nothing of this batch is in the store: there is nothing to wait for.
        let ack = if logged || done.outcome.repeated > 0 { ack } else { Ack::Memory };
        let tell = move |result: Result<(), StoreError>| reply.tell(result.map(|()| done));
        self.queue.submit(ack, Box::new(tell));
    }
}

/// With texts that are not too long.
pub(super) fn bounded(metadata: &MetricMetadata) -> Cow<'_, MetricMetadata> {
    let cut = |text: &Arc<str>| match text.len() {
        ..=config::METADATA_TEXT_BYTES => text.clone(),
        _ => text[..text.floor_char_boundary(config::METADATA_TEXT_BYTES)].into(),
    };
    if metadata.unit.len().max(metadata.help.len()) <= config::METADATA_TEXT_BYTES {
        return Cow::Borrowed(metadata);
    }
    Cow::Owned(MetricMetadata { unit: cut(&metadata.unit), help: cut(&metadata.help), ..metadata.clone() })
}

/// So many series ahead their memory is asked for.
const AHEAD: usize = 8;

impl Appender<'_> {
    /// First all series are found, then their samples appended: so memory that each will touch can be asked for
    /// some series ahead.
    fn run(&mut self, picks: &[Pick], ids: &mut Vec<u32>) {
        ids.clear();
        let mut before: Option<u32> = None;
        for pick in picks {
            let guess = before.and_then(|id| self.head.successor(id));
            let found = match self.head.find(pick.hash, guess) {
                Some(id) => Found::Series(id),
                None => self.first_sight(pick.hash, &self.batch.series[pick.series as usize]),
            };
            match found {
                Found::Series(id) => {
                    if let Some(before) = before {
                        self.head.set_successor(before, id);
                    }
                    before = Some(id);
                    ids.push(id);
                }
                Found::Elsewhere(key) => {
                    self.done.elsewhere.push(Elsewhere { series: pick.series, key });
                    ids.push(NOT_HERE);
                }
                Found::Refused(reason) => {
                    self.refuse_series(pick.series, &self.batch.series[pick.series as usize], reason);
                    ids.push(NOT_HERE);
                }
            }
        }
        for (at, (pick, id)) in picks.iter().zip(ids.iter()).enumerate() {
            if let Some(ahead) = ids.get(at + AHEAD)
                && *ahead != NOT_HERE
            {
                self.head.prefetch_append(*ahead);
            }
            if *id != NOT_HERE {
                self.series(pick.series, &self.batch.series[pick.series as usize], *id);
            }
        }
    }

    /// Takes what the batch says of metrics that are this shard's.
    fn metadata(&mut self) {
        let state = self.state;
        let ours = |name: &str| {
            let router = &state.store.router;
            router.shard(router.hash(name.as_bytes())) == state.number
        };
        for metadata in self.batch.metadata.iter().filter(|m| ours(&m.name)) {
            let metadata = bounded(metadata);
            if state.metadata.borrow_mut().say(&metadata) {
                self.commit.push_metadata(&metadata);
                self.logged = true;
            }
        }
    }

    #[cold]
    fn first_sight(&mut self, hash: u128, series: &BatchSeries) -> Found {
        let raw = self.batch.key(series);
        if series.samples.is_empty() && series.histograms.is_empty() {
            // An exemplar alone makes no series; there is no sample to refuse either.
            return Found::Refused(Refusal::InvalidLabels);
        }
        let Ok(decoded) = key::decode_key(raw) else { return Found::Refused(Refusal::InvalidLabels) };
        let mut canonical_hash = hash;
        let mut canonical_key = None;
        if !decoded.canonical {
            let key = key::key_of(&decoded.labels());
            let router = &self.state.store.router;
            canonical_hash = router.hash(&key);
            if router.shard(canonical_hash) != self.state.number {
                return Found::Elsewhere(key);
            }
            canonical_key = Some(key);
            if let Some(id) = self.head.find(canonical_hash, None) {
                self.head.alias(hash, id);
                return Found::Series(id);
            }
        }
        if !self.head.has_room(raw.len()) {
            return Found::Refused(Refusal::SeriesLimit);
        }
        let store = &self.state.store;
        let mut recent = self.state.recent.borrow_mut();
        let now_ms = (store.clock)();
        recent.prune(now_ms, &store.census);
        if let Err(reason) = store.census.admit(&decoded.pairs) {
            return Found::Refused(reason);
        }
        let id = self.head.create(canonical_hash, decoded.pairs.iter().copied(), None);
        recent.push(now_ms, id, canonical_hash, &store.census);
        self.commit.push_series(self.head.reference(id), canonical_key.as_deref().unwrap_or(raw));
        if canonical_key.is_some() {
            self.head.alias(hash, id);
        }
        self.logged = true;
        self.done.outcome.new_series += 1;
        Found::Series(id)
    }

    fn refuse_series(&mut self, at: u32, series: &BatchSeries, reason: Refusal) {
        let count = series.samples.len() + series.histograms.len();
        for sample in 0..count as u32 {
            self.head.count(Fate::Refused(reason));
            self.done.outcome.refused.push(Refused { series: at, sample, reason });
        }
    }

    #[inline]
    fn series(&mut self, at: u32, series: &BatchSeries, id: u32) {
        let reference = self.head.reference(id);
        for (sample, one) in self.batch.samples_of(series).iter().enumerate() {
            let fate = if one.timestamp_ms > self.latest_ms {
                Fate::Refused(Refusal::OutOfBounds)
            } else {
                self.head.append(id, one.timestamp_ms, one.value)
            };
            if fate == Fate::Taken {
                self.commit.push_sample(reference, one.timestamp_ms, one.value);
                self.oldest_ms = self.oldest_ms.min(one.timestamp_ms);
                self.logged = true;
            }
            self.count(at, sample as u32, fate, false);
        }
        let floats = series.samples.len() as u32;
        for (sample, (time, histogram)) in self.batch.histograms_of(series).iter().enumerate() {
            let fate = if *time > self.latest_ms {
                Fate::Refused(Refusal::OutOfBounds)
            } else if !histogram.is_stale() && histogram.validate().is_err() {
                Fate::Refused(Refusal::InvalidHistogram)
            } else {
                self.head.append_histogram(id, *time, histogram)
            };
            if fate == Fate::Taken {
                self.commit.push_histogram(reference, *time, histogram);
                self.oldest_ms = self.oldest_ms.min(*time);
                self.logged = true;
            }
            self.count(at, floats + sample as u32, fate, true);
        }
        if !series.exemplars.is_empty() && self.exemplars.capacity() > 0 {
            self.take_exemplars(series, id);
        }
    }

    #[cold]
    fn take_exemplars(&mut self, series: &BatchSeries, id: u32) {
        let labels = self.head.labels_of(id);
        let key = key::key_of(&labels);
        for exemplar in self.batch.exemplars_of(series) {
            match self.exemplars.push(self.head.hash(id), || labels.clone(), exemplar) {
                exemplars::Fate::Taken => {
                    self.commit.push_exemplar(&key, exemplar);
                    self.logged = true;
                    self.done.outcome.exemplars += 1;
                }
                exemplars::Fate::Repeated => self.done.outcome.exemplars += 1,
                exemplars::Fate::OutOfOrder => self.done.outcome.exemplars_out_of_order += 1,
                exemplars::Fate::Disabled => {}
            }
        }
    }

    #[inline]
    fn count(&mut self, series: u32, sample: u32, fate: Fate, histogram: bool) {
        let outcome = &mut self.done.outcome;
        match fate {
            Fate::Refused(reason) => outcome.refused.push(Refused { series, sample, reason }),
            Fate::Repeated => outcome.repeated += 1,
            Fate::Taken => {}
        }
        if !matches!(fate, Fate::Refused(_)) {
            if histogram { outcome.histograms += 1 } else { outcome.samples += 1 }
        }
        if histogram && fate == Fate::Taken {
            self.head.figures.histograms += 1;
        } else {
            self.head.count(fate);
        }
    }
}
