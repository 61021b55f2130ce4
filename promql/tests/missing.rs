//! An answer from times of which the store has not everything says so: just where a window of the query looks there,
//! and from the cache, too.

use hearth_model::missing::{Missing, Why};
use hearth_model::testing::MemStore;
use hearth_model::{Labels, QueryContext, Sample, TimeRange, WriteBatch};
use hearth_promql::cache::Cache;
use hearth_promql::{
    Answer, Engine, EngineOptions, InstantRequest, Query, QueryAdmin, RangeRequest, RequestOptions,
};

const MINUTE_MS: i64 = 60_000;

fn store() -> MemStore {
    let store = MemStore::new(2);
    let mut batch = WriteBatch::default();
    let samples: Vec<Sample> =
        (0..300).map(|n| Sample { timestamp_ms: n * MINUTE_MS, value: n as f64 }).collect();
    batch.push(&Labels::from_pairs([("__name__", "m")]), &samples);
    assert!(store.write(&batch).refused.is_empty());
    store
}

/// Minutes, both ends included.
fn missing(from: i64, to: i64, why: Why) -> Missing {
    Missing { range: TimeRange::new(from * MINUTE_MS, to * MINUTE_MS), why }
}

fn options(keep_until_ms: Option<i64>) -> RequestOptions {
    RequestOptions { keep_until_ms, ..RequestOptions::new(QueryContext::unlimited()) }
}

fn range(engine: &Engine<MemStore>, text: &str, minutes: (i64, i64), step_minutes: i64) -> Answer {
    let request = RangeRequest {
        text: text.to_owned(),
        start_ms: minutes.0 * MINUTE_MS,
        end_ms: minutes.1 * MINUTE_MS,
        step_ms: step_minutes * MINUTE_MS,
        options: options(Some(i64::MAX)),
    };
    futures_executor::block_on(engine.range(request)).expect("answers")
}

fn instant(engine: &Engine<MemStore>, text: &str, minute: i64) -> Answer {
    let request =
        InstantRequest { text: text.to_owned(), time_ms: minute * MINUTE_MS, options: options(None) };
    futures_executor::block_on(engine.instant(request)).expect("answers")
}

const AWAITED: &str = "samples from 1970-01-01T00:10:00Z to 1970-01-01T00:20:00Z are still being taken over, some may be missing here";

#[test]
fn who_looks_into_what_is_missing_is_told() {
    let store = store();
    let engine = Engine::new(store.clone(), EngineOptions::default());
    // Two blocks, the second of which begins a minute after the first.
    store.set_missing(vec![missing(15, 20, Why::Awaited), missing(10, 14, Why::Awaited)]);
    assert_eq!(instant(&engine, "sum(rate(m[15m]))", 25).warnings, [AWAITED]);
    store.set_missing(vec![missing(10, 20, Why::Awaited)]);
    for (text, minute, told) in [
        ("m", 9, false),
        ("m", 10, true),
        ("m", 24, true),
        ("m", 25, false),
        ("sum(m) + sum(m offset 30m)", 50, true),
        ("sum(m) + sum(m offset 30m)", 70, false),
        ("m @ 900", 200, true),
        ("m @ 9000", 15, false),
        ("rate(m[1h])", 79, true),
        ("max_over_time(sum(m)[1h:10m])", 79, true),
        ("max_over_time(sum(m)[1h:10m])", 90, false),
        ("1 + 1", 15, false),
        ("vector(time())", 15, false),
    ] {
        let expect: &[&str] = if told { &[AWAITED] } else { &[] };
        assert_eq!(instant(&engine, text, minute).warnings, expect, "{text} at {minute}");
    }
    // Steps of an hour with windows of five minutes pass it by.
    assert_eq!(range(&engine, "m", (0, 240), 60).warnings, [""; 0]);
    assert_eq!(range(&engine, "m", (0, 240), 22).warnings, [AWAITED]);

    let unreadable = "samples from 1970-01-01T00:00:00Z to 1970-01-01T00:09:00Z could not be taken over, some may be missing here: see the log";
    store.set_missing(vec![missing(10, 20, Why::Awaited), missing(0, 9, Why::Unreadable)]);
    assert_eq!(range(&engine, "m", (0, 240), 1).warnings, [unreadable, AWAITED]);
    let damaged = "samples from 1970-01-01T00:00:00Z to 1970-01-01T00:09:00Z are in damaged blocks, some may be missing here: see the log";
    store.set_missing(vec![missing(0, 9, Why::Damaged)]);
    assert_eq!(range(&engine, "m", (0, 240), 1).warnings, [damaged]);
}

#[test]
fn many_stretches_are_counted() {
    let store = store();
    let engine = Engine::new(store.clone(), EngineOptions::default());
    store.set_missing((0..30).map(|n| missing(n * 90, n * 90 + 1, Why::Awaited)).collect());
    let warnings = range(&engine, "m", (0, 3_000), 1).warnings;
    assert_eq!(warnings.len(), 11);
    assert_eq!(warnings[10], "20 more warning annotations omitted");
}

#[test]
fn what_comes_from_the_cache_says_it_too() {
    let store = store();
    let engine = Engine::new(store.clone(), EngineOptions::default()).with_cache(Cache::new(1 << 20, None));
    store.set_missing(vec![missing(10, 20, Why::Awaited)]);
    let first = range(&engine, "m", (0, 120), 1);
    let second = range(&engine, "m", (0, 120), 1);
    assert_eq!((&first.warnings[..], &second.warnings[..]), (&[AWAITED.to_owned()][..], &first.warnings[..]));
    assert_eq!(engine.cache().expect("has one").hits, 1);
    assert_eq!(range(&engine, "m", (60, 120), 1).warnings, [""; 0]);
    store.set_missing(Vec::new());
    assert_eq!(range(&engine, "m", (0, 120), 1).warnings, [""; 0]);
}
