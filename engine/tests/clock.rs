//! A clock that is wrong for a while: nothing is deleted for it, nothing that it let in keeps out what comes when it is
//! right again, and what lies in the future is not taken.

use futures_executor::block_on;
use hearth_engine::{Handle, IoChoice, Keeping, Options, open};
use hearth_model::batch::Refusal;
use hearth_model::store::{Columns, Projection, Select, SeriesCursor, ShardView};
use hearth_model::{Ack, Append, Labels, QueryContext, Sample, Scatter, TimeRange, WriteBatch, WriteOutcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

const MINUTE_MS: i64 = 60_000;
const START_MS: i64 = 1_700_000_000_000;

/// The one clock of this file's one test.
static CLOCK_MS: AtomicI64 = AtomicI64::new(START_MS);

fn clock() -> i64 {
    CLOCK_MS.load(Ordering::Relaxed)
}

fn write(handle: &Handle, time_ms: i64) -> WriteOutcome {
    let mut batch = WriteBatch::default();
    for series in 0..4 {
        let labels = Labels::from_pairs([("__name__", format!("m{series}"))]);
        batch.push(&labels, &[Sample { timestamp_ms: time_ms, value: time_ms as f64 }]);
    }
    block_on(handle.append(batch, Ack::Synced)).expect("appends").outcome
}

/// Samples within the range.
fn count(handle: &Handle, range: TimeRange) -> usize {
    let parts = block_on(handle.scatter(QueryContext::unlimited(), move |view| async move {
        let select = Select { matchers: Arc::new([]), range, projection: Projection::All };
        let mut cursor = view.select(select).await?;
        let (mut columns, mut count) = (Columns::default(), 0);
        while cursor.next(&mut columns).await? {
            count += columns.times.len();
        }
        Ok(count)
    }));
    parts.expect("reads").into_iter().sum()
}

/// The clock is `ahead_ms` ahead for some scrapes, and right again.
fn leap(handle: &Handle, ahead_ms: i64) {
    let now = clock();
    CLOCK_MS.store(now + ahead_ms, Ordering::Relaxed);
    for scrape in 0..3 {
        let outcome = write(handle, now + ahead_ms + scrape * 15_000);
        assert_eq!(outcome.refused, [], "the clock is all that there is to go by");
    }
    assert_eq!(block_on(handle.tend()), Ok(true));
    CLOCK_MS.store(now, Ordering::Relaxed);
    for _ in 0..4 {
        CLOCK_MS.fetch_add(15_000, Ordering::Relaxed);
        assert_eq!(write(handle, clock()).refused, [], "{ahead_ms} ms ahead keeps out what is right");
    }
}

#[test]
fn a_wrong_clock_takes_nothing_and_keeps_nothing_out() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let options = Options {
        shards: Some(2),
        io: IoChoice::Threads,
        // Longer than the test: what a block was cut for stays cut.
        block_range: Duration::from_secs(400 * 24 * 3600 * 365),
        keeping: Keeping { retention: Duration::from_secs(15 * 24 * 3600), ..Keeping::default() },
        clock,
        ..Options::new(directory.path().join("data"))
    };
    let handle = open(&options).expect("opens");
    for minute in -600..0 {
        assert_eq!(write(&handle, START_MS + minute * MINUTE_MS).refused, []);
    }
    let past = TimeRange::new(i64::MIN, START_MS - 1);
    assert_eq!(count(&handle, past), 2400);
    // The future is refused, what lies just ahead is not.
    let outcome = write(&handle, START_MS + 11 * MINUTE_MS);
    assert_eq!(outcome.refused_for(Refusal::OutOfBounds), 4);
    assert_eq!(write(&handle, START_MS + 2 * MINUTE_MS).refused, []);
    for ahead_ms in [20 * MINUTE_MS, 60 * MINUTE_MS, 10 * 365 * 24 * 60 * MINUTE_MS] {
        leap(&handle, ahead_ms);
        assert_eq!(count(&handle, past), 2400, "{ahead_ms} ms ahead made data too old");
    }
    // An hour back: what is sent is older than what is there, and taken within the window; the future is refused.
    CLOCK_MS.fetch_sub(20 * MINUTE_MS, Ordering::Relaxed);
    assert_eq!(write(&handle, clock() + 1).refused, []);
    assert_eq!(write(&handle, clock() + 15 * MINUTE_MS).refused_for(Refusal::OutOfBounds), 4);
    let all = count(&handle, TimeRange::ALL);
    handle.close();
    drop(handle);
    let handle = open(&options).expect("opens");
    assert_eq!(count(&handle, TimeRange::ALL), all);
    handle.close();
}
