//! A write, on its shard: find or make each series, judge each sample, put what is taken into the head
//! and into the open commit.

use super::ShardState;
use super::members::Placed;
use super::request::{AppendRequest, Appended, Elsewhere, Pick};
use crate::config;
use crate::exemplars::{self, Exemplars};
use crate::head::{Fate, Head};
use crate::wal::commit::Commit;
use hearth_model::batch::{BatchSeries, Exemplar, Refusal, Refused};
use hearth_model::metadata::MetricMetadata;
use hearth_model::{Ack, Sample, StoreError, WriteBatch, key};
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
            appender.column();
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
/// The same of the rows that tell where the series' samples are.
const ROWS_AHEAD: usize = 24;

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
                None => {
                    let series = &self.batch.series[pick.series as usize];
                    // An exemplar alone makes no series; there is no sample to refuse either.
                    match series.samples.is_empty() && series.histograms.is_empty() {
                        true => Found::Refused(Refusal::InvalidLabels),
                        false => self.first_sight(pick.hash, self.batch.key(series)),
                    }
                }
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
                    let series = &self.batch.series[pick.series as usize];
                    self.refuse_series(pick.series, series.samples.len() + series.histograms.len(), reason);
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

    /// Takes what the batch has by roster: where each series was the last time is known beforehand.
    fn column(&mut self) {
        let batch = self.batch;
        let column = &batch.column;
        let Some(roster) = &column.roster else { return };
        debug_assert_eq!(column.values.len(), roster.len(), "a column has a value for each series");
        let Some(placed) = Placed::of(roster, &self.state.store.router) else { return };
        let members = placed.shard(self.state.number);
        let first = batch.series.len() as u32;
        let mut absent = column.absent.iter().copied().peekable();
        let mut exemplars = match self.exemplars.capacity() {
            0 => &[][..],
            _ => &column.exemplars,
        };
        for at in 0..members.len() {
            if let Some(row) = members.row(at + ROWS_AHEAD) {
                self.head.prefetch_row(row);
            }
            if let Some(row) = members.row(at + AHEAD) {
                self.head.prefetch_append(row);
            }
            let (hash, number, row) = members.get(at);
            let Some(sample) = column.sample(number as usize) else { continue };
            while absent.next_if(|before| *before < number).is_some() {}
            if absent.peek() == Some(&number) {
                continue;
            }
            let id = match row.filter(|row| self.head.is(*row, hash)) {
                Some(row) => row,
                None => match self.find_member(hash, roster.key(number as usize)) {
                    Found::Series(id) => {
                        members.found(at, id);
                        id
                    }
                    Found::Elsewhere(key) => {
                        self.done.elsewhere.push(Elsewhere { series: first + number, key });
                        continue;
                    }
                    Found::Refused(reason) => {
                        self.refuse_series(first + number, 1, reason);
                        continue;
                    }
                },
            };
            self.float(first + number, 0, id, sample);
            // Those of other shards' series, and of series that are not here.
            while let Some(((of, _), rest)) = exemplars.split_first()
                && *of < number
            {
                exemplars = rest;
            }
            if exemplars.first().is_some_and(|(of, _)| *of == number) {
                let own = exemplars.iter().take_while(|(of, _)| *of == number);
                self.take_exemplars(id, own.map(|(_, exemplar)| exemplar));
            }
        }
    }

    #[cold]
    fn find_member(&mut self, hash: u128, key: &[u8]) -> Found {
        match self.head.find(hash, None) {
            Some(id) => Found::Series(id),
            None => self.first_sight(hash, key),
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
    fn first_sight(&mut self, hash: u128, raw: &[u8]) -> Found {
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

    fn refuse_series(&mut self, at: u32, count: usize, reason: Refusal) {
        for sample in 0..count as u32 {
            self.head.count(Fate::Refused(reason));
            self.done.outcome.refused.push(Refused { series: at, sample, reason });
        }
    }

    #[inline]
    fn series(&mut self, at: u32, series: &BatchSeries, id: u32) {
        for (sample, one) in self.batch.samples_of(series).iter().enumerate() {
            self.float(at, sample as u32, id, *one);
        }
        let reference = self.head.reference(id);
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
            self.take_exemplars(id, self.batch.exemplars_of(series).iter());
        }
    }

    #[inline]
    fn float(&mut self, at: u32, number: u32, id: u32, sample: Sample) {
        let fate = if sample.timestamp_ms > self.latest_ms {
            Fate::Refused(Refusal::OutOfBounds)
        } else {
            self.head.append(id, sample.timestamp_ms, sample.value)
        };
        if fate == Fate::Taken {
            self.commit.push_sample(self.head.reference(id), sample.timestamp_ms, sample.value);
            self.oldest_ms = self.oldest_ms.min(sample.timestamp_ms);
            self.logged = true;
        }
        self.count(at, number, fate, false);
    }

    #[cold]
    fn take_exemplars<'e>(&mut self, id: u32, all: impl Iterator<Item = &'e Exemplar>) {
        let labels = self.head.labels_of(id);
        let key = key::key_of(&labels);
        for exemplar in all {
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
