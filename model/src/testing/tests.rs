//! The contract, held against its plainest implementation.

use super::*;
use crate::context::{Budget, Stop};
use crate::matcher::{MatchOp, Matcher};
use crate::range::TimeRange;
use crate::sample::stale_nan;
use crate::store::{Ack, Admin, Append, Catalogue, Columns, Projection, Select, SeriesCursor, ShardView};
use std::fmt::Write;

/// `name{label="value"}`-less shorthand: `up a=1 b=2 | 1:10 2:20`.
fn batch(text: &str) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (labels, samples) = line.split_once('|').expect("labels | samples");
        let mut words = labels.split_whitespace();
        let name = words.next().expect("a name");
        let pairs = words.map(|w| w.split_once('=').expect("name=value"));
        let labels = Labels::from_pairs(pairs.chain([("__name__", name)]));
        let samples: Vec<Sample> = samples
            .split_whitespace()
            .map(|word| {
                let (time, value) = word.split_once(':').expect("time:value");
                let value = if value == "stale" { stale_nan() } else { value.parse().expect("a float") };
                Sample { timestamp_ms: time.parse().expect("a time"), value }
            })
            .collect();
        batch.push(&labels, &samples);
    }
    batch
}

fn store(shards: usize, text: &str) -> MemStore {
    let store = MemStore::new(shards);
    let outcome = store.write(&batch(text));
    assert_eq!(outcome.refused, []);
    store
}

fn wait<T>(future: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    run(&QueryContext::unlimited(), future)
}

fn name(name: &str) -> Arc<[Matcher]> {
    Arc::from([Matcher::equal("__name__", name)])
}

/// Every series that comes out of the cursors, one a line: `group times_id labels | samples`.
fn scan(store: &MemStore, context: QueryContext, select: &Select) -> Result<String, StoreError> {
    let select = select.clone();
    let parts = wait(store.scatter(context, move |view| {
        let (select, projection) = (select.clone(), select.projection.clone());
        async move {
            let mut cursor = view.select(select).await?;
            let (mut columns, mut text) = (Columns::default(), String::new());
            while cursor.next(&mut columns).await? {
                view.pause().await?;
                let labels = cursor.group_labels(columns.group);
                let mut all = Vec::new();
                cursor.visit_labels(|name, value| all.push((name.to_owned(), value.to_owned())));
                assert_eq!(projection.apply(&Labels::from_pairs(all)), labels);
                let _ = write!(text, "{} {} {labels} |", columns.group, columns.times_id);
                for (time, value) in columns.times.iter().zip(&columns.values) {
                    let _ = write!(text, " {time}:{value}");
                }
                for (time, histogram) in &columns.histograms {
                    let _ = write!(text, " {time}:h{}", histogram.count);
                }
                text.push('\n');
            }
            Ok(text)
        }
    }))?;
    Ok(parts.concat())
}

#[track_caller]
fn check_scan(store: &MemStore, range: (i64, i64), projection: Projection, expect: &str) {
    let select = Select { matchers: name("m"), range: TimeRange::new(range.0, range.1), projection };
    let lines: Vec<&str> = expect.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let got = scan(store, QueryContext::unlimited(), &select).expect("scan");
    assert_eq!(got.lines().collect::<Vec<_>>(), lines);
}

const THREE: &str = "
    m a=1 b=1 | 10:1 20:2 30:3
    m a=2 b=1 | 10:4 20:5 30:6
    m a=1 b=2 | 10:7 21:8 30:9
    n a=1     | 10:1";

#[test]
fn a_cursor_groups_numbers_and_cuts() {
    let store = store(1, THREE);
    check_scan(
        &store,
        (10, 20),
        Projection::All,
        r#"0 1 m{a="1", b="1"} | 10:1 20:2
           1 1 m{a="2", b="1"} | 10:4 20:5
           2 2 m{a="1", b="2"} | 10:7"#,
    );
    check_scan(
        &store,
        (20, 20),
        Projection::Only(vec!["a".into()]),
        r#"0 1 {a="1"} | 20:2
           1 1 {a="2"} | 20:5"#,
    );
    check_scan(
        &store,
        (30, 99),
        Projection::Without(vec!["__name__".into(), "a".into()]),
        r#"0 1 {b="1"} | 30:3
           0 1 {b="1"} | 30:6
           1 1 {b="2"} | 30:9"#,
    );
    check_scan(&store, (31, 99), Projection::All, "");
    check_scan(&store, (20, 10), Projection::All, "");
}

#[test]
fn many_series_come_out_once_whatever_the_shards() {
    let text: String = (0..100).map(|i| format!("m i={i} | 1:{i}\n")).collect();
    let select = Select { matchers: name("m"), range: TimeRange::ALL, projection: Projection::All };
    let sorted = |shards| {
        let text = scan(&store(shards, &text), QueryContext::unlimited(), &select).expect("scan");
        let mut lines: Vec<String> =
            text.lines().map(|l| l.split_once(" m{").expect("labels").1.to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(1).len(), 100);
    assert_eq!(sorted(1), sorted(7));
}

#[track_caller]
fn check_write(store: &MemStore, text: &str, expect: (u64, u64), refused: &[(u32, Refusal)]) {
    let outcome = store.write(&batch(text));
    assert_eq!((outcome.samples, outcome.repeated), expect);
    let got: Vec<(u32, Refusal)> = outcome.refused.iter().map(|r| (r.sample, r.reason)).collect();
    assert_eq!(got, refused);
}

#[test]
fn appends_tell_what_became_of_each_sample() {
    let store = store(3, "m | 10:1 20:2");
    check_write(&store, "m | 10:1 20:2 30:stale", (3, 2), &[]);
    check_write(&store, "m | 30:stale", (1, 1), &[]);
    let (order, duplicate) = (Refusal::OutOfOrder, Refusal::DuplicateTimestamp);
    check_write(&store, "m | 15:1 20:3 30:0 40:5", (1, 0), &[(0, order), (1, duplicate), (2, duplicate)]);
    let mut bad = WriteBatch::default();
    bad.push(&Labels::from_pairs([("a", "1")]), &[Sample { timestamp_ms: 1, value: 1.0 }; 2]);
    let outcome = store.write(&bad);
    assert_eq!(outcome.refused_for(Refusal::InvalidLabels), 2);
    assert_eq!((outcome.samples, outcome.new_series), (0, 0));
    let figures = wait(store.figures()).expect("figures");
    assert_eq!((figures.series, figures.samples_appended, figures.samples_repeated), (1, 4, 3));
    assert_eq!(figures.refused, [1, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((figures.min_ms, figures.max_ms), (Some(10), Some(40)));
}

#[test]
fn histograms_are_checked_and_stand_between_floats() {
    let whole = |count: f64| Histogram { zero_count: count, count, sum: 1.0, ..Histogram::stale() };
    let with = |floats: &str, histograms: Vec<(i64, Histogram)>| {
        let mut batch = batch(floats);
        batch.series[0].histograms = 0..histograms.len() as u32;
        batch.histograms = histograms;
        batch
    };
    let store = MemStore::new(1);
    let broken = Histogram { schema: 99, ..whole(1.0) };
    let outcome = store.write(&with(
        "m | 10:1 30:3",
        vec![(20, whole(2.0)), (30, whole(3.0)), (40, broken), (50, Histogram::stale())],
    ));
    let got: Vec<_> = outcome.refused.iter().map(|r| (r.sample, r.reason)).collect();
    assert_eq!(got, [(3, Refusal::DuplicateTimestamp), (4, Refusal::InvalidHistogram)]);
    assert_eq!((outcome.samples, outcome.histograms, outcome.new_series), (2, 2, 1));
    check_scan(&store, (0, 99), Projection::All, "0 1 m | 10:1 30:3 20:h2 50:h0");
    let again = store.write(&with("m |", vec![(20, whole(2.0)), (50, Histogram::stale())]));
    assert_eq!((again.histograms, again.repeated), (2, 2));
    let other = store.write(&with("m |", vec![(20, whole(3.0))]));
    assert_eq!(other.refused_for(Refusal::DuplicateTimestamp), 1);
}

#[test]
fn stopped_and_oversized_queries_fail() {
    let store = store(2, THREE);
    let select = Select { matchers: name("m"), range: TimeRange::ALL, projection: Projection::All };
    let context = QueryContext::unlimited();
    context.cancel(Stop::TimedOut);
    assert_eq!(scan(&store, context, &select), Err(StoreError::Stopped(Stop::TimedOut)));
    let budget = Budget::new("query", 100, None);
    let small = QueryContext::new(budget.clone());
    let full = StoreError::MemoryLimit { account: "query", limit_bytes: 100 };
    assert_eq!(scan(&store, small, &select), Err(full));
    assert_eq!(budget.used_bytes(), 0);
    let forever = store.scatter(QueryContext::unlimited(), |view| async move {
        view.context().cancel(Stop::Shutdown);
        std::future::pending::<Result<(), StoreError>>().await
    });
    assert_eq!(wait(forever), Err(StoreError::Stopped(Stop::Shutdown)));
}

#[test]
fn the_catalogue_merges_sorts_and_limits() {
    let store = store(3, THREE);
    let all = || (QueryContext::unlimited(), vec![], TimeRange::ALL);
    let (context, sets, range) = all();
    let names = wait(Catalogue::label_names(&store, context, sets, range, 0)).expect("names");
    assert_eq!(names, (vec!["__name__".into(), "a".into(), "b".into()], false));
    let (context, sets, range) = all();
    let values = wait(Catalogue::label_values(&store, context, "a".into(), sets, range, 1)).expect("values");
    assert_eq!(values, (vec!["1".into()], true));
    let not_one = Matcher::new(MatchOp::NotEqual, "b", "1").expect("no regex");
    let sets = vec![Arc::from([not_one]) as Arc<[Matcher]>];
    let series = wait(Catalogue::series(&store, QueryContext::unlimited(), sets, TimeRange::new(0, 10), 0));
    let text: Vec<String> = series.expect("series").0.iter().map(Labels::to_string).collect();
    assert_eq!(text, [r#"m{a="1", b="2"}"#, r#"n{a="1"}"#]);
    let head = wait(store.head_status(1)).expect("head");
    assert_eq!((head.series, head.label_pairs, head.min_ms, head.max_ms), (4, 6, 10, 30));
    assert_eq!(head.series_by_metric_name, [("m".to_owned(), 3)]);
    assert_eq!(head.series_by_label_pair, [("__name__=m".to_owned(), 3)]);
}

#[test]
fn appends_fail_when_told_to() {
    let store = MemStore::new(1);
    let down = StoreError::ReadOnly("disk full".into());
    store.fail_appends(Some(down.clone()));
    assert_eq!(wait(store.append(batch("m | 1:1"), Ack::Synced)).map(|_| ()), Err(down));
    store.fail_appends(None);
    let written = wait(store.append(batch("m | 1:1"), Ack::Synced)).expect("written");
    assert_eq!((written.outcome.samples, written.batch.is_some()), (1, true));
}

#[test]
fn scatter_is_send() {
    fn needs_send<T: Send>(_: T) {}
    let store = MemStore::new(1);
    needs_send(store.scatter(QueryContext::unlimited(), |_| async { Ok(()) }));
}
