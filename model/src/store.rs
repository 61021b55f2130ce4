//! The contract between a store and its users.
//!
//! * [`Append`]: batches in, outcomes out, acknowledged as durably as asked.
//! * [`Scatter`]: an opaque job runs on every shard, beside the data, and its results come back in shard
//!   order. The store never learns what the job is; the job never learns what a file is.
//! * [`ShardView`] and [`SeriesCursor`]: what a job sees of its shard.
//! * [`Catalogue`]: names, values and series, without samples.
//! * [`Admin`]: figures and upkeep.
//!
//! Three rules hold everywhere:
//! 1. *Cancellation*: a job awaits only view and cursor methods, and each of them fails with
//!    [`StoreError::Stopped`] once the query's context says so. Dropping a scatter's future stops it.
//! 2. *Memory*: who allocates for a query charges its [`QueryContext`] first.
//! 3. *Yielding*: view and cursor methods give way to ingestion about every millisecond; between two of
//!    them a job does no more than about a millisecond of work (a long merge calls
//!    [`ShardView::pause`]).

use crate::batch::{Exemplar, WriteBatch, WriteOutcome};
use crate::context::{QueryContext, Stop};
use crate::histogram::Histogram;
use crate::label::Labels;
use crate::matcher::Matcher;
use crate::metadata::MetricMetadata;
use crate::missing::Missing;
use crate::range::TimeRange;
use crate::watermark::Watermarks;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// How durable a write is before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ack {
    /// In memory: lost with the process.
    Memory,
    /// Handed to the kernel: survives the process, not the machine.
    Written,
    /// On stable storage: survives the machine.
    Synced,
}

impl std::str::FromStr for Ack {
    type Err = String;
    fn from_str(text: &str) -> Result<Ack, String> {
        match text {
            "synced" => Ok(Ack::Synced),
            "written" => Ok(Ack::Written),
            "memory" => Ok(Ack::Memory),
            other => Err(format!("{other:?} is not one of synced, written, memory")),
        }
    }
}

/// What keeps a store from doing its work. Refused samples are not errors: see
/// [`crate::batch::Refused`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The query was told to stop.
    Stopped(Stop),
    /// A query asked for more memory than it may hold.
    MemoryLimit { account: &'static str, limit_bytes: usize },
    /// The store takes no writes now (disk full, failed sync); the sender should try again later.
    ReadOnly(String),
    /// Too much is queued; the sender should try again later.
    Overloaded,
    /// The store is going down or its shard is gone.
    Closed,
    /// Reading or writing the medium failed.
    Io(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Stopped(Stop::Cancelled) => f.write_str("query was canceled"),
            StoreError::Stopped(Stop::TimedOut) => f.write_str("query timed out"),
            StoreError::Stopped(Stop::Shutdown) => f.write_str("server is shutting down"),
            StoreError::MemoryLimit { account, limit_bytes } => {
                write!(f, "memory limit of {limit_bytes} bytes for {account} reached")
            }
            StoreError::ReadOnly(why) => write!(f, "storage is read-only: {why}"),
            StoreError::Overloaded => f.write_str("storage is overloaded"),
            StoreError::Closed => f.write_str("storage is closed"),
            StoreError::Io(what) => write!(f, "storage I/O failed: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A boxed future that may move between threads: one allocation a request, which makes the request-sized
/// traits usable as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What came of an append; the batch comes back (where nobody else holds it) so that its memory can be
/// used again.
#[derive(Debug)]
pub struct Written {
    pub outcome: WriteOutcome,
    pub batch: Option<WriteBatch>,
}

/// The way in. An error means that nothing is acknowledged: a sender may repeat the whole batch, what
/// was stored already is then recognised bit for bit.
pub trait Append: Send + Sync {
    fn append(&self, batch: WriteBatch, ack: Ack) -> BoxFuture<'_, Result<Written, StoreError>>;
}

/// Which of a series' labels a reader wants: series that agree on them fall into one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Projection {
    /// Every label: each series is a group of its own.
    #[default]
    All,
    /// Only these names.
    Only(Vec<String>),
    /// All but these names.
    Without(Vec<String>),
}

impl Projection {
    /// The labels that stay of a set.
    pub fn apply(&self, labels: &Labels) -> Labels {
        match self {
            Projection::All => labels.clone(),
            Projection::Only(names) => labels.filter(|n| names.iter().any(|k| k == n)),
            Projection::Without(names) => labels.filter(|n| !names.iter().any(|k| k == n)),
        }
    }
}

/// What a cursor is asked for.
#[derive(Debug, Clone)]
pub struct Select {
    pub matchers: Arc<[Matcher]>,
    /// Only samples within this range come out.
    pub range: TimeRange,
    pub projection: Projection,
}

/// One series' samples, as columns. The caller owns the buffers and passes them in again and again.
#[derive(Debug, Default)]
pub struct Columns {
    /// Dense number of the series' group under the projection, from 0 in order of first sight.
    pub group: u32,
    /// Equal to the number of the series before when (and only when) `times` is the same, so that what
    /// was computed from the times alone can be used again. 0: never equal.
    pub times_id: u64,
    /// Ascending, one for each value; stale markers included.
    pub times: Vec<i64>,
    pub values: Vec<f64>,
    /// Native histograms, ascending in time, never at a time that `times` has too.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
    /// When what each of `values` counts began, milliseconds; 0 where that is not known. Empty where no
    /// start is known at all, as with every store that does not keep them: readers then pay nothing.
    pub starts: Vec<i64>,
    /// The same of `histograms`.
    pub histogram_starts: Vec<i64>,
}

impl Columns {
    pub fn clear(&mut self) {
        self.group = 0;
        self.times_id = 0;
        self.times.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts.clear();
        self.histogram_starts.clear();
    }
}

/// Runs jobs beside the data.
pub trait Scatter: Clone + Send + Sync + 'static {
    /// Lives and dies on its shard; need not be `Send`.
    type View: ShardView;

    /// Runs `job` once on every shard and returns the results in shard order. Fails as soon as one
    /// fails; dropping the future tells all of them to stop.
    fn scatter<T, J, F>(
        &self,
        context: QueryContext,
        job: J,
    ) -> impl Future<Output = Result<Vec<T>, StoreError>> + Send
    where
        J: Fn(Self::View) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + 'static,
        T: Send + 'static;

    /// How far back the data changed; who keeps results needs it. A store without it is asked anew every
    /// time. A shard notes a write after jobs can see it and before it is acknowledged, a deletion
    /// likewise, and what it drops for its age when that is gone.
    fn watermarks(&self) -> Option<&Watermarks> {
        None
    }

    /// What is not there for readers, and should be. What is on its way is taken off after it can be seen, and what
    /// is damaged is put on before the job ends that met it: who asks before it reads, and again when it has read,
    /// knows of all that it may have missed.
    fn missing(&self) -> Vec<Missing> {
        Vec::new()
    }
}

/// One shard as a job sees it. The futures are not `Send`: they never leave the shard's thread.
pub trait ShardView: Clone + 'static {
    type Cursor: SeriesCursor;

    fn context(&self) -> &QueryContext;

    /// The series that match, in ascending order of the store's own numbering.
    fn select(&self, select: Select) -> impl Future<Output = Result<Self::Cursor, StoreError>>;

    /// Labels of the series that match any of the sets and may have samples in the range, unsorted, at
    /// most `limit`.
    fn series(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Labels>, StoreError>>;

    /// Distinct label names of the series that match any of the sets (all series where there is none).
    fn label_names(
        &self,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>>;

    /// Distinct values of one label, likewise.
    fn label_values(
        &self,
        name: &str,
        sets: &[Arc<[Matcher]>],
        range: TimeRange,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>>;

    /// Exemplars within the range of the series that match any of the sets, in no order of series; none where
    /// the store keeps none.
    fn exemplars(
        &self,
        _sets: &[Arc<[Matcher]>],
        _range: TimeRange,
    ) -> impl Future<Output = Result<Vec<SeriesExemplars>, StoreError>> {
        async { Ok(Vec::new()) }
    }

    /// What is known of one metric, or of all; nothing where the store keeps none.
    fn metadata(
        &self,
        _metric: Option<&str>,
    ) -> impl Future<Output = Result<Vec<MetricMetadata>, StoreError>> {
        async { Ok(Vec::new()) }
    }

    /// Gives way to ingestion where the job has worked for about a millisecond; fails when stopped.
    fn pause(&self) -> impl Future<Output = Result<(), StoreError>>;
}

/// Walks the series of a selection, each once.
pub trait SeriesCursor: 'static {
    /// How many series the index found; some of them may have no sample in the range and are skipped.
    fn series_count(&self) -> usize;

    /// Fills `out` with the next series that has samples in the range; `false` at the end.
    fn next(&mut self, out: &mut Columns) -> impl Future<Output = Result<bool, StoreError>>;

    /// The labels that group number stands for (all labels of the series, under [`Projection::All`]).
    fn group_labels(&self, group: u32) -> Labels;

    /// Shows each label of the series that came last, whatever the projection, in the order of their names.
    fn visit_labels(&self, each: impl FnMut(&str, &str));
}

/// Matcher sets: a series counts when it matches all of one set. No set at all means every series.
pub type MatcherSets = Vec<Arc<[Matcher]>>;

/// A series' exemplars, ascending in time.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesExemplars {
    pub labels: Labels,
    pub exemplars: Vec<Exemplar>,
}

/// The newest sample of a series, a stale marker included.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    pub labels: Labels,
    pub timestamp_ms: i64,
    pub value: LatestValue,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LatestValue {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Latest {
    fn of(labels: Labels, columns: &Columns) -> Option<Latest> {
        let float = columns.times.last().copied().zip(columns.values.last().copied());
        let (timestamp_ms, value) = match (float, columns.histograms.last()) {
            (Some((time, _)), Some((later, histogram))) if time < *later => {
                (*later, LatestValue::Histogram(histogram.clone()))
            }
            (None, Some((time, histogram))) => (*time, LatestValue::Histogram(histogram.clone())),
            (Some((time, value)), _) => (time, LatestValue::Float(value)),
            (None, None) => return None,
        };
        Some(Latest { labels, timestamp_ms, value })
    }

    fn size_bytes(&self) -> usize {
        let histogram = match &self.value {
            LatestValue::Float(_) => 0,
            LatestValue::Histogram(histogram) => histogram.size_bytes(),
        };
        std::mem::size_of::<Latest>() + self.labels.size_bytes() + histogram
    }
}

/// The newest samples of what a shard has of these sets, in no order.
async fn latest_of<V: ShardView>(
    view: V,
    sets: MatcherSets,
    range: TimeRange,
) -> Result<Vec<Latest>, StoreError> {
    let (mut found, mut columns) = (Vec::new(), Columns::default());
    let mut held = view.context().reserve(0)?;
    for matchers in sets {
        let mut cursor = view.select(Select { matchers, range, projection: Projection::All }).await?;
        while cursor.next(&mut columns).await? {
            let latest = Latest::of(cursor.group_labels(columns.group), &columns);
            if let Some(latest) = latest {
                held.grow(latest.size_bytes())?;
                found.push(latest);
            }
        }
    }
    Ok(found)
}

/// Names, values and series for the metadata endpoints: sorted, without duplicates, over all shards.
/// `limit` 0 means none; the flag tells whether the limit cut something off.
pub trait Catalogue: Send + Sync {
    fn series(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Labels>, bool), StoreError>>;

    fn label_names(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<String>, bool), StoreError>>;

    fn label_values(
        &self,
        context: QueryContext,
        name: String,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<String>, bool), StoreError>>;

    /// The newest sample within the range of each series that matches any of the sets, sorted by labels.
    fn latest(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
    ) -> BoxFuture<'_, Result<Vec<Latest>, StoreError>>;

    /// Exemplars within the range of the series that match any of the sets, sorted by labels.
    fn exemplars(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
    ) -> BoxFuture<'_, Result<Vec<SeriesExemplars>, StoreError>>;

    /// What was said last of one metric, or of each, sorted by name.
    fn metadata(
        &self,
        context: QueryContext,
        metric: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<MetricMetadata>, StoreError>>;

    /// As [`Scatter::missing`].
    fn missing(&self) -> Vec<Missing>;
}

impl<S: Scatter> Catalogue for S {
    fn series(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<Labels>, bool), StoreError>> {
        let per_shard = shard_limit(limit);
        Box::pin(async move {
            let found = self
                .scatter(context, move |view| {
                    let sets = sets.clone();
                    async move { view.series(&sets, range, per_shard).await }
                })
                .await?;
            Ok(merge_sorted(found, limit))
        })
    }

    fn label_names(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<String>, bool), StoreError>> {
        Box::pin(async move {
            let found = self
                .scatter(context, move |view| {
                    let sets = sets.clone();
                    async move { view.label_names(&sets, range).await }
                })
                .await?;
            Ok(merge_sorted(found, limit))
        })
    }

    fn label_values(
        &self,
        context: QueryContext,
        name: String,
        sets: MatcherSets,
        range: TimeRange,
        limit: usize,
    ) -> BoxFuture<'_, Result<(Vec<String>, bool), StoreError>> {
        Box::pin(async move {
            let found = self
                .scatter(context, move |view| {
                    let (sets, name) = (sets.clone(), name.clone());
                    async move { view.label_values(&name, &sets, range).await }
                })
                .await?;
            Ok(merge_sorted(found, limit))
        })
    }

    fn latest(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
    ) -> BoxFuture<'_, Result<Vec<Latest>, StoreError>> {
        Box::pin(async move {
            let found = self
                .scatter(context, move |view| {
                    let sets = sets.clone();
                    async move { latest_of(view, sets, range).await }
                })
                .await?;
            let mut all: Vec<Latest> = found.into_iter().flatten().collect();
            all.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
            // Several sets may match a series.
            all.dedup_by(|a, b| a.labels == b.labels);
            Ok(all)
        })
    }

    fn exemplars(
        &self,
        context: QueryContext,
        sets: MatcherSets,
        range: TimeRange,
    ) -> BoxFuture<'_, Result<Vec<SeriesExemplars>, StoreError>> {
        Box::pin(async move {
            let found = self
                .scatter(context, move |view| {
                    let sets = sets.clone();
                    async move { view.exemplars(&sets, range).await }
                })
                .await?;
            let mut all: Vec<SeriesExemplars> = found.into_iter().flatten().collect();
            all.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
            Ok(all)
        })
    }

    fn metadata(
        &self,
        context: QueryContext,
        metric: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<MetricMetadata>, StoreError>> {
        Box::pin(async move {
            let found = self
                .scatter(context, move |view| {
                    let metric = metric.clone();
                    async move { view.metadata(metric.as_deref()).await }
                })
                .await?;
            let mut all: Vec<MetricMetadata> = found.into_iter().flatten().collect();
            all.sort_unstable();
            Ok(all)
        })
    }

    fn missing(&self) -> Vec<Missing> {
        Scatter::missing(self)
    }
}

/// One more than asked, so that the merge can tell that something was cut off.
fn shard_limit(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit.saturating_add(1) }
}

fn merge_sorted<T: Ord>(parts: Vec<Vec<T>>, limit: usize) -> (Vec<T>, bool) {
    let mut all: Vec<T> = parts.into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    let cut = limit > 0 && all.len() > limit;
    if cut {
        all.truncate(limit);
    }
    (all, cut)
}

/// A name and a count, for the cardinality tables.
pub type Counted = (String, u64);

/// The newest data in memory, and what its labels cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeadStatus {
    pub series: u64,
    pub chunks: u64,
    pub label_pairs: u64,
    /// `i64::MAX` / `i64::MIN` while there is no sample.
    pub min_ms: i64,
    pub max_ms: i64,
    pub series_by_metric_name: Vec<Counted>,
    pub values_by_label_name: Vec<Counted>,
    pub memory_by_label_name: Vec<Counted>,
    pub series_by_label_pair: Vec<Counted>,
    /// Series that came into being within the last hour.
    pub new_series: u64,
    pub new_by_metric_name: Vec<Counted>,
    pub new_by_label_name: Vec<Counted>,
    pub new_by_label_pair: Vec<Counted>,
}

/// Counters and gauges of a store since its start, for `/metrics`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoreFigures {
    pub shards: u64,
    pub series: u64,
    pub series_created: u64,
    pub series_removed: u64,
    pub chunks: u64,
    pub chunks_created: u64,
    pub samples_appended: u64,
    pub histograms_appended: u64,
    pub samples_repeated: u64,
    /// Samples taken out of order, of those appended.
    pub samples_late: u64,
    /// Indexed as [`crate::batch::Refusal::ALL`].
    pub refused: [u64; crate::batch::Refusal::ALL.len()],
    pub min_ms: Option<i64>,
    pub max_ms: Option<i64>,
    pub head_bytes: u64,
    pub wal_bytes: u64,
    pub wal_segment: u64,
    pub wal_commits: u64,
    pub wal_syncs: u64,
    pub wal_sync_seconds: f64,
    pub wal_failures: u64,
    pub wal_corruptions: u64,
    pub replay_seconds: f64,
    /// The store was closed before it was opened, or is new.
    pub clean_start: bool,
    pub read_only: bool,
    pub blocks: u64,
    pub block_bytes: u64,
    /// Blocks that could not be read and were set aside.
    pub blocks_set_aside: u64,
    /// Damaged places found in blocks that serve.
    pub block_damages: u64,
    /// Blocks written out of memory, and made of other blocks.
    pub blocks_flushed: u64,
    pub blocks_compacted: u64,
    pub block_failures: u64,
    /// Blocks deleted because their time was over, and because they took too much room.
    pub blocks_expired: u64,
    pub blocks_crowded_out: u64,
    pub exemplars_appended: u64,
    pub exemplars_out_of_order: u64,
    /// Exemplars kept, the series that they are of, the time of the oldest, and how many there may be.
    pub exemplars: u64,
    pub exemplar_series: u64,
    pub exemplar_oldest_ms: Option<i64>,
    pub max_exemplars: u64,
    /// What is in effect: how long samples are kept, how many bytes (0: no bound) and what part of the disk in
    /// percent (0: no bound) they may take, how late they may come.
    pub retention_ms: i64,
    pub retention_bytes: u64,
    pub retention_percent: f64,
    pub out_of_order_ms: i64,
    /// Blocks that another server left: still to be converted, converted, and those of both that were damaged.
    pub takeover_blocks_pending: u64,
    pub takeover_blocks_converted: u64,
    pub takeover_blocks_damaged: u64,
}

/// What an operator asks a store.
pub trait Admin: Send + Sync {
    fn figures(&self) -> BoxFuture<'_, Result<StoreFigures, StoreError>>;

    /// The `limit` largest entries of each table.
    fn head_status(&self, limit: usize) -> BoxFuture<'_, Result<HeadStatus, StoreError>>;

    /// Takes the samples within the range away from all series that match any of the sets, for good: once
    /// this succeeds no reader to come sees them, whatever happens to the machine. Samples written later are
    /// not concerned. After an error some of them may be gone.
    fn delete_series(&self, sets: MatcherSets, range: TimeRange) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Frees the room that deleted samples take.
    fn clean_tombstones(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Puts the stored data (with or without what is in memory only) under a name beside it, from where it can
    /// be taken away.
    fn snapshot(&self, name: String, with_head: bool) -> BoxFuture<'_, Result<(), StoreError>>;
}
