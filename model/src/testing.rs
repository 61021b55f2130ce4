//! An in-memory store for the tests of other crates: the storage contract in its plainest form.
//!
//! What a real store promises, this one keeps exactly: series live in one shard, chosen by their key;
//! samples ascend; a repeated sample is recognised bit for bit; cursors group, number and cut as
//! [`crate::store`] says; memory is charged; jobs are made to wait now and then, so that an executor
//! that cannot be suspended shows it here. What costs effort without being part of the contract is left
//! out: nothing is compressed, nothing is indexed, exemplars are not kept.
//!
//! It must never be wired into a server.

mod admin;
mod append;
mod view;

pub use view::{MemCursor, MemView};

use crate::batch::{Refusal, WriteBatch, WriteOutcome};
use crate::context::QueryContext;
use crate::histogram::Histogram;
use crate::label::Labels;
use crate::matcher::Matcher;
use crate::missing::Missing;
use crate::range::TimeRange;
use crate::sample::Sample;
use crate::store::{Scatter, StoreError};
use crate::watermark::Watermarks;
use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// One series: its floats and histograms, each ascending in time, never both at one time.
#[derive(Debug)]
struct Series {
    labels: Labels,
    samples: Vec<Sample>,
    histograms: Vec<(i64, Arc<Histogram>)>,
    /// Start timestamps by the time of their sample.
    starts: HashMap<i64, i64>,
}

/// One shard's series in order of creation, found by canonical key.
#[derive(Debug, Default)]
struct Shard {
    by_key: HashMap<Vec<u8>, usize>,
    series: Vec<Series>,
    samples_appended: u64,
    histograms_appended: u64,
    samples_repeated: u64,
    refused: [u64; Refusal::ALL.len()],
}

type SharedShard = Arc<Mutex<Shard>>;

/// A panicking test must not hide its message behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An in-memory store; clones are handles to the same data.
#[derive(Debug, Clone)]
pub struct MemStore {
    shards: Arc<[SharedShard]>,
    failure: Arc<Mutex<Option<StoreError>>>,
    watermarks: Arc<Watermarks>,
    missing: Arc<Mutex<Vec<Missing>>>,
}

impl MemStore {
    /// An empty store of `shards` shards, at least one.
    pub fn new(shards: usize) -> MemStore {
        assert!(shards > 0, "a store has at least one shard");
        let watermarks = Arc::new(Watermarks::new(shards));
        let shards = (0..shards).map(|_| SharedShard::default()).collect();
        MemStore { shards, failure: Arc::default(), watermarks, missing: Arc::default() }
    }

    /// Writes without a future: how a test fills its store.
    pub fn write(&self, batch: &WriteBatch) -> WriteOutcome {
        append::write(&self.shards, &self.watermarks, batch)
    }

    /// Takes every sample within the range away from the series that match.
    pub fn delete(&self, matchers: &[Matcher], range: TimeRange) {
        for (number, shard) in self.shards.iter().enumerate() {
            let mut shard = lock(shard);
            for series in shard.series.iter_mut().filter(|s| view::matches(matchers, &s.labels)) {
                series.samples.retain(|s| !range.contains(s.timestamp_ms));
                series.histograms.retain(|(time, _)| !range.contains(*time));
            }
            self.watermarks.changed(number, range.min_ms);
        }
    }

    /// Takes every sample before the time away, as retention does.
    pub fn drop_before(&self, time_ms: i64) {
        for (number, shard) in self.shards.iter().enumerate() {
            for series in &mut lock(shard).series {
                series.samples.retain(|s| s.timestamp_ms >= time_ms);
                series.histograms.retain(|(time, _)| *time >= time_ms);
            }
            self.watermarks.dropped(number, time_ms.saturating_sub(1));
        }
    }

    /// Says when the counts of a stored series' samples began: pairs of a sample's time and its start. A
    /// batch cannot carry them yet, so this is how readers of them are tested.
    pub fn set_starts(&self, labels: &Labels, starts: &[(i64, i64)]) {
        for shard in self.shards.iter() {
            let shard = &mut *lock(shard);
            if let Some(series) = shard.series.iter_mut().find(|s| s.labels == *labels) {
                series.starts.extend(starts.iter().copied());
            }
        }
    }

    /// Says that this is missing.
    pub fn set_missing(&self, missing: Vec<Missing>) {
        *lock(&self.missing) = missing;
    }

    /// From now on every append fails with this error (or works again, on `None`).
    pub fn fail_appends(&self, error: Option<StoreError>) {
        *lock(&self.failure) = error;
    }
}

/// Suspends once, and wakes itself at once.
#[derive(Default)]
struct YieldOnce {
    yielded: bool,
}

impl Future for YieldOnce {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Polls until ready, or until the query is told to stop. A job awaits nothing but this store, whose
/// futures are ready again at the next poll, so that nothing has to wake it.
fn run<T>(
    context: &QueryContext,
    future: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        context.check()?;
        if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
            return result;
        }
    }
}

impl Scatter for MemStore {
    type View = MemView;

    /// Runs the jobs one after the other on the thread that polls, and gives way between them, so that
    /// dropping the future stops what has not begun.
    async fn scatter<T, J, F>(&self, context: QueryContext, job: J) -> Result<Vec<T>, StoreError>
    where
        J: Fn(Self::View) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + 'static,
        T: Send + 'static,
    {
        let mut results = Vec::with_capacity(self.shards.len());
        for shard in self.shards.iter() {
            results.push(run(&context, job(MemView::new(shard.clone(), context.clone())))?);
            YieldOnce::default().await;
        }
        Ok(results)
    }

    fn watermarks(&self) -> Option<&Watermarks> {
        Some(&self.watermarks)
    }

    fn missing(&self) -> Vec<Missing> {
        lock(&self.missing).clone()
    }
}

#[cfg(test)]
mod tests;
