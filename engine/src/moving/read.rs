//! Series and samples of a data directory of either kind, in the order of labels, without a server and without
//! a change to any file.
//!
//! Each shard, each block of Prometheus' and its head is a stream of series in order; the streams are brought
//! together, and a series that is in several of them comes once, its samples in order of time.

use super::sealed::SealedDisk;
use super::{AtOnce, EVERY_EXEMPLAR, MovingError};
use crate::chunk::order;
use crate::config::{self, Options};
use crate::disk::{faults, names};
use crate::handle::{self, Identity};
use crate::head::Head;
use crate::head::read::Scratch;
use crate::prometheus::block::{Block, SampleReader, forget_resets, labels};
use crate::prometheus::chunks::Samples;
use crate::prometheus::directory::{self, Directory};
use crate::prometheus::head::{HeadError, HeadReader, Sink};
use crate::prometheus::index::{Index, SeriesEntry, Walk};
use crate::shard::cursor::{Cursor, Part};
use crate::shard::view::{Place, View};
use crate::shard::{self, ShardState};
use crate::wal::commit::CommitOptions;
use crate::wal::replay::ReplayError;
use futures_executor::block_on;
use hearth_model::batch::Exemplar;
use hearth_model::metadata::MetricMetadata;
use hearth_model::store::{Columns, Projection, Select, SeriesCursor};
use hearth_model::{Histogram, Labels, Matcher, QueryContext, TimeRange, key};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// A data directory, opened for reading.
pub struct Files {
    pub path: PathBuf,
    kind: Kind,
    /// What could not be read so far.
    pub damages: Vec<String>,
}

enum Kind {
    Hearth { shards: Vec<Rc<ShardState>>, identity: Identity },
    Prometheus { directory: Box<Directory>, blocks: Vec<Block>, head: Box<HeadData> },
}

/// The samples of Prometheus' head, compressed in memory.
struct HeadData {
    head: Head,
    /// In the order of labels.
    ids: Vec<u32>,
}

/// Which of both kinds a directory is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Hearth,
    Prometheus,
}

/// What a directory holds.
pub fn nature(path: &Path) -> Result<Nature, MovingError> {
    if path.join(names::IDENTITY).exists() || path.join(names::IDENTITY_COPY).exists() {
        return Ok(Nature::Hearth);
    }
    if directory::holds_data(path)? {
        Ok(Nature::Prometheus)
    } else {
        Err(MovingError::NoData(path.to_owned()))
    }
}

impl Files {
    /// Opens all that is in a directory.
    pub fn open(path: &Path) -> Result<Files, MovingError> {
        match nature(path)? {
            Nature::Hearth => Files::open_hearth(path),
            Nature::Prometheus => Files::open_prometheus(path),
        }
    }

    fn open_hearth(path: &Path) -> Result<Files, MovingError> {
        let identity = handle::stored_identity(path)?.ok_or_else(|| MovingError::NoData(path.to_owned()))?;
        let mut options = Options::new(path);
        // Nothing that is there is too old to be read.
        options.keeping.retention = std::time::Duration::MAX;
        options.keeping.max_exemplars = EVERY_EXEMPLAR;
        let store = handle::shared(&options, identity);
        let (mut shards, mut damages) = (Vec::new(), Vec::new());
        for number in 0..identity.shards {
            let commit = CommitOptions {
                directory: names::shard_directory(path, number).join(names::WAL),
                shard: number as u32,
                seed: identity.seed,
                segment_size_bytes: options.segment_size_bytes,
                group_commit_delay: options.group_commit_delay,
                flush_interval: options.flush_interval,
                commit_buffer_bytes: config::COMMIT_BUFFER_BYTES,
            };
            let (state, _) = shard::open(number, store.clone(), SealedDisk, commit).map_err(replay_error)?;
            let replayed = &state.recovery.replayed;
            let found = [
                (replayed.damages, "damaged places in the log"),
                (replayed.torn_bytes, "torn bytes at the end of the log"),
                (state.recovery.bad_chunks, "chunks of a checkpoint that cannot be read"),
                (state.blocks.set_aside_count(), "blocks that cannot be read"),
            ];
            for (count, what) in found.into_iter().filter(|(count, _)| *count > 0) {
                damages.push(format!("shard {number}: {count} {what}"));
            }
            shards.push(state);
        }
        Ok(Files { path: path.to_owned(), kind: Kind::Hearth { shards, identity }, damages })
    }

    fn open_prometheus(path: &Path) -> Result<Files, MovingError> {
        let directory = Box::new(Directory::read(path)?);
        let mut damages: Vec<String> =
            directory.unreadable.iter().map(|(_, error)| error.to_string()).collect();
        let mut blocks = Vec::new();
        for entry in &directory.blocks {
            match Block::open(entry) {
                Ok(block) => blocks.push(block),
                Err(error) => damages.push(error.to_string()),
            }
        }
        let mut sink = HeadData { head: Head::default(), ids: Vec::new() };
        sink.head.set_window(i64::MAX, i64::MAX);
        let (found, mut head) = HeadReader::new(&directory, sink).run().map_err(|error| match error {
            HeadError::File(error) => MovingError::File(error),
            HeadError::Sink(never) => match never {},
        })?;
        head.sort();
        damages.extend(found.damages);
        Ok(Files {
            path: path.to_owned(),
            kind: Kind::Prometheus { directory, blocks, head: Box::new(head) },
            damages,
        })
    }

    pub fn nature(&self) -> Nature {
        match self.kind {
            Kind::Hearth { .. } => Nature::Hearth,
            Kind::Prometheus { .. } => Nature::Prometheus,
        }
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        match &self.kind {
            Kind::Hearth { identity, .. } => Some(*identity),
            Kind::Prometheus { .. } => None,
        }
    }

    /// Up to when all samples that were ever taken are in blocks, in every shard.
    pub(super) fn cut_ms(&self) -> i64 {
        match &self.kind {
            Kind::Hearth { shards, .. } => shards.iter().map(|s| s.blocks.cut_ms()).min().unwrap_or(i64::MIN),
            Kind::Prometheus { .. } => i64::MIN,
        }
    }

    /// From the oldest to the newest sample, as far as that is known; empty where there is none.
    pub fn range(&self) -> TimeRange {
        let mut range: Option<TimeRange> = None;
        let mut add = |one: TimeRange| range = Some(range.map_or(one, |all| all.union(one)));
        let mut add_head = |head: &Head| {
            if let (Some(min), Some(max)) = (head.figures.min_ms, head.figures.max_ms) {
                add(TimeRange::new(min, max));
            }
        };
        match &self.kind {
            Kind::Hearth { shards, .. } => {
                shards.iter().for_each(|state| add_head(&state.head.borrow()));
                let blocks = shards.iter().flat_map(|s| s.blocks.list().to_vec());
                // One that everything was deleted from has no time of its own.
                blocks.filter(|b| b.series_count() > 0).for_each(|block| add(block.range()));
            }
            Kind::Prometheus { directory, head, .. } => {
                add_head(&head.head);
                for block in &directory.blocks {
                    add(TimeRange::new(block.meta.min_time, block.meta.max_time.saturating_sub(1)));
                }
            }
        }
        range.unwrap_or(TimeRange::new(0, -1))
    }

    /// Gives each series that matches all of one of the sets and has samples in the range to `sink`, in the order of
    /// labels. Without a set all series match.
    pub fn series<E: From<MovingError>>(
        &mut self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        sink: impl FnMut(&Labels, &Samples) -> Result<(), E>,
    ) -> Result<(), E> {
        self.part(Part::All, sets, range, sink)
    }

    /// The same of a part of the data. Prometheus' files are not parted.
    pub(super) fn part<E: From<MovingError>>(
        &mut self,
        part: Part,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        mut sink: impl FnMut(&Labels, &Samples) -> Result<(), E>,
    ) -> Result<(), E> {
        let faults_before = faults::count();
        let mut streams: Vec<Stream<'_>> = Vec::new();
        match &mut self.kind {
            Kind::Hearth { shards, .. } => {
                for state in shards {
                    let cursor = block_on(cursor(state, range, part)).map_err(MovingError::Store)?;
                    streams.push(Stream::Shard { cursor: Box::new(cursor), columns: Columns::default() });
                }
            }
            Kind::Prometheus { blocks, head, .. } => {
                for block in blocks {
                    let (index, reader) = block.parts();
                    let series = SeriesEntry::default();
                    streams.push(Stream::Block { index, walk: index.walk(), reader, series });
                }
                streams.push(Stream::Head { head, at: 0 });
            }
        }
        let wanted = |labels: &Labels| {
            let all = |set: &Arc<[Matcher]>| set.iter().all(|m| m.matches(labels.value(&m.name)));
            sets.is_empty() || sets.iter().any(all)
        };
        let merged = merge(streams, wanted, range, &mut self.damages, &mut sink);
        self.note_damaged_blocks();
        if faults::count() != faults_before {
            let error = std::io::Error::other("a page of a block went bad while it was read");
            return Err(MovingError::Io { path: self.path.clone(), error }.into());
        }
        merged
    }

    /// The exemplars of ours, in order of time, each with the key of its series; and what is known of metrics.
    pub(super) fn beside(&self) -> (Vec<(Vec<u8>, Exemplar)>, Vec<MetricMetadata>) {
        let (mut exemplars, mut metadata) = (Vec::new(), Vec::new());
        let Kind::Hearth { shards, .. } = &self.kind else { return (exemplars, metadata) };
        for state in shards {
            state.exemplars.borrow().each(0, |labels, exemplar| {
                exemplars.push((key::key_of(labels), exemplar.clone()));
                true
            });
            state.metadata.borrow().each(0, |said| {
                metadata.push(said.clone());
                true
            });
        }
        // Which came first in which shard, nobody knows.
        exemplars.sort_by_key(|(_, exemplar)| exemplar.timestamp_ms);
        (exemplars, metadata)
    }

    /// A block of ours leaves out what it cannot read, and counts it.
    fn note_damaged_blocks(&mut self) {
        let Kind::Hearth { shards, .. } = &self.kind else { return };
        for state in shards {
            for block in state.blocks.list().iter().filter(|block| block.damages() > 0) {
                let path = names::block(&state.blocks.directory(), block.number());
                let text = format!("{}: is damaged", path.display());
                if !self.damages.contains(&text) {
                    self.damages.push(text);
                }
            }
        }
    }
}

fn replay_error(error: ReplayError) -> MovingError {
    match error {
        ReplayError::Io { path, error } => MovingError::Io { path: path.into(), error },
        ReplayError::LaterVersion { path, version } => {
            MovingError::Open(handle::OpenError::LaterVersion { path, version })
        }
    }
}

async fn cursor(
    state: &Rc<ShardState>,
    range: TimeRange,
    part: Part,
) -> Result<Cursor<AtOnce>, hearth_model::StoreError> {
    let view = View::new(Place { state: state.clone(), pace: AtOnce }, QueryContext::unlimited());
    let select = Select { matchers: Arc::from([]), range, projection: Projection::All };
    Cursor::sorted(view, select, part).await
}

/// Series of one source, in the order of labels.
enum Stream<'a> {
    Shard { cursor: Box<Cursor<AtOnce>>, columns: Columns },
    Block { index: &'a Index, walk: Walk<'a>, reader: SampleReader<'a>, series: SeriesEntry },
    Head { head: &'a HeadData, at: usize },
}

impl Stream<'_> {
    /// Goes to the next series.
    fn next(&mut self) -> Result<Option<Labels>, MovingError> {
        match self {
            Stream::Shard { cursor, columns } => {
                let more = block_on(cursor.next(columns))?;
                Ok(more.then(|| cursor.group_labels(columns.group)))
            }
            Stream::Block { index, walk, series, .. } => {
                if !walk.next(series)? {
                    return Ok(None);
                }
                let found = labels(index, &series.pairs);
                found.map(Some).map_err(|error| MovingError::Refused(format!("index: {error}")))
            }
            Stream::Head { head, at } => {
                let next = head.ids.get(*at).map(|id| head.head.labels_of(*id));
                *at += 1;
                Ok(next)
            }
        }
    }

    /// Appends the samples of the series at hand.
    fn samples(&mut self, range: TimeRange, out: &mut Samples, damages: &mut Vec<String>) {
        match self {
            Stream::Shard { columns, .. } => {
                out.times.extend_from_slice(&columns.times);
                out.values.extend_from_slice(&columns.values);
                out.histograms.extend_from_slice(&columns.histograms);
            }
            Stream::Block { reader, series, .. } => {
                reader.read(series, range, out, |error| damages.push(error.to_string()));
            }
            Stream::Head { head, at } => {
                let Some(id) = at.checked_sub(1).and_then(|at| head.ids.get(at)) else { return };
                let mut scratch = Scratch::default();
                head.head.read_floats(*id, range, &mut scratch);
                out.times.append(&mut scratch.floats.times);
                out.values.append(&mut scratch.floats.values);
                out.histograms.extend_from_slice(head.head.histograms(*id, range));
            }
        }
    }
}

fn merge<E: From<MovingError>>(
    mut streams: Vec<Stream<'_>>,
    wanted: impl Fn(&Labels) -> bool,
    range: TimeRange,
    damages: &mut Vec<String>,
    sink: &mut impl FnMut(&Labels, &Samples) -> Result<(), E>,
) -> Result<(), E> {
    // A stream that breaks ends: what it gave before is good.
    let next = |stream: &mut Stream<'_>, damages: &mut Vec<String>| match stream.next() {
        Ok(labels) => labels,
        Err(error) => {
            damages.push(error.to_string());
            None
        }
    };
    let mut heads: Vec<Option<Labels>> = streams.iter_mut().map(|s| next(s, damages)).collect();
    let (mut samples, mut one) = (Samples::default(), Samples::default());
    while let Some(least) = heads.iter().flatten().min().cloned() {
        samples.clear();
        let mut sources = 0;
        for (stream, head) in streams.iter_mut().zip(&mut heads) {
            if head.as_ref() != Some(&least) {
                continue;
            }
            if wanted(&least) {
                one.clear();
                stream.samples(range, &mut one, damages);
                sources += usize::from(!one.is_empty());
                samples.times.append(&mut one.times);
                samples.values.append(&mut one.values);
                samples.histograms.append(&mut one.histograms);
            }
            *head = next(stream, damages);
        }
        if sources > 1 {
            if !samples.histograms.is_sorted_by_key(|(time, _)| *time) {
                forget_resets(&mut samples, true);
            }
            order::put_in_order(&mut samples.times, &mut samples.values, &mut samples.histograms);
        }
        if !samples.is_empty() {
            sink(&least, &samples)?;
        }
    }
    Ok(())
}

impl HeadData {
    fn sort(&mut self) {
        let head = &self.head;
        self.ids.sort_by_cached_key(|id| head.labels_of(*id));
    }
}

impl Sink for HeadData {
    type Error = Infallible;

    fn series(&mut self, series: u32, labels: &Labels) -> Result<(), Infallible> {
        self.ids.push(self.head.create(u128::from(series), labels, None));
        Ok(())
    }

    fn sample(&mut self, series: u32, time: i64, value: f64) -> Result<(), Infallible> {
        let fate = self.head.append(self.ids[series as usize], time, value);
        self.head.count(fate);
        Ok(())
    }

    fn histogram(&mut self, series: u32, time: i64, histogram: Histogram) -> Result<(), Infallible> {
        let fate = self.head.append_histogram(self.ids[series as usize], time, &histogram);
        self.head.count(fate);
        Ok(())
    }

    fn progress(&mut self, _: u64, _: u64) -> Result<(), Infallible> {
        Ok(())
    }
}
