//! The life of data on a real data directory: deleted, taken along in a snapshot, opened again.

use futures_executor::block_on;
use hearth_engine::{Handle, IoChoice, Keeping, Limits, Options, open};
use hearth_model::batch::{Exemplar, Refusal};
use hearth_model::store::{
    Admin, Catalogue, Columns, MatcherSets, Projection, Select, SeriesCursor, ShardView,
};
use hearth_model::{Ack, Append, Labels, Matcher, QueryContext, Sample, Scatter, TimeRange, WriteBatch};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Blocks of a hundred seconds; the clock stands behind all samples.
fn options(path: &Path, io: IoChoice) -> Options {
    Options {
        shards: Some(2),
        io,
        block_range: Duration::from_secs(100),
        keeping: Keeping { out_of_order_window: Duration::from_secs(1000), ..Keeping::default() },
        clock: || 2_000_000,
        ..Options::new(path)
    }
}

fn each_backend(test: impl Fn(&Path, Options)) {
    for io in [IoChoice::Auto, IoChoice::Threads] {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("data");
        test(&path, options(&path, io));
    }
}

fn labels(i: usize) -> Labels {
    Labels::from_pairs([("__name__", format!("metric_{}", i % 2)), ("instance", format!("host-{i}"))])
}

fn write(handle: &Handle, series: std::ops::Range<usize>, seconds: std::ops::Range<i64>) {
    let mut batch = WriteBatch::default();
    let of = |s: i64| Sample { timestamp_ms: s * 1000, value: s as f64 };
    let samples: Vec<Sample> = seconds.map(of).collect();
    series.for_each(|i| batch.push(&labels(i), &samples));
    let outcome = block_on(handle.append(batch, Ack::Synced)).expect("appends").outcome;
    assert_eq!(outcome.refused, []);
}

type Found = BTreeMap<String, Vec<i64>>;

/// Seconds of each series.
fn read(handle: &Handle) -> Found {
    let parts = block_on(handle.scatter(QueryContext::unlimited(), |view| async move {
        let select = Select { matchers: Arc::new([]), range: TimeRange::ALL, projection: Projection::All };
        let mut cursor = view.select(select).await?;
        let (mut columns, mut out) = (Columns::default(), Found::new());
        while cursor.next(&mut columns).await? {
            assert!(columns.times.iter().zip(&columns.values).all(|(t, v)| *t as f64 == v * 1000.0));
            let seconds = columns.times.iter().map(|t| t / 1000).collect();
            out.insert(cursor.group_labels(columns.group).to_string(), seconds);
        }
        Ok(out)
    }));
    parts.expect("reads").into_iter().flatten().collect()
}

fn sets(name: &str, value: &str) -> MatcherSets {
    vec![Arc::from(vec![Matcher::equal(name, value)])]
}

fn delete(handle: &Handle, name: &str, value: &str, range: (i64, i64)) {
    let range = TimeRange::new(range.0 * 1000, range.1 * 1000);
    block_on(handle.delete_series(sets(name, value), range)).expect("deletes");
}

fn forget(expect: &mut Found, with: &str, range: (i64, i64)) {
    for (_, seconds) in expect.iter_mut().filter(|(labels, _)| labels.contains(with)) {
        seconds.retain(|s| *s < range.0 || *s > range.1);
    }
    expect.retain(|_, seconds| !seconds.is_empty());
}

fn block_bytes(handle: &Handle) -> u64 {
    block_on(handle.figures()).expect("figures").block_bytes
}

#[test]
fn what_is_deleted_stays_away() {
    each_backend(|_, options| {
        let handle = open(&options).expect("opens");
        write(&handle, 0..10, 0..400);
        assert_eq!(block_on(handle.tend()), Ok(true));
        write(&handle, 0..10, 400..1500);
        assert_eq!(block_on(handle.tend()), Ok(true));
        let mut expect = read(&handle);
        assert_eq!((expect.len(), expect.values().map(Vec::len).sum::<usize>()), (10, 15_000));
        let mark = handle.watermarks().expect("has them").mark();
        for (name, value, range) in [
            ("instance", "host-3", (50, 450)),
            ("__name__", "metric_0", (140, 1420)),
            ("instance", "host-4", (0, 2000)),
            ("instance", "nobody", (0, 2000)),
            ("instance", "host-5", (1450, 1460)),
            ("instance", "host-5", (1455, 1600)),
        ] {
            delete(&handle, name, value, range);
            forget(&mut expect, &format!(r#""{value}""#), range);
            if name == "__name__" {
                forget(&mut expect, "metric_0", range);
            }
            assert_eq!(read(&handle), expect, "{value} {range:?}");
        }
        assert_eq!(handle.watermarks().expect("has them").since(mark).from_ms, 0);
        assert_eq!((expect.len(), expect[&labels(5).to_string()].last()), (9, Some(&1449)));
        let all = |sets| {
            let series = Catalogue::series(&handle, QueryContext::unlimited(), sets, TimeRange::ALL, 0);
            block_on(series).expect("series").0
        };
        assert_eq!((all(vec![]).len(), all(sets("instance", "host-4")).len()), (9, 0));
        let values =
            handle.label_values(QueryContext::unlimited(), "instance".into(), vec![], TimeRange::ALL, 0);
        assert_eq!(block_on(values).expect("values").0.len(), 9);
        // Again after a start, out of the files.
        handle.close();
        drop(handle);
        let handle = open(&options).expect("opens");
        assert_eq!(read(&handle), expect);
        // What is written afterwards is there, at times that were deleted too.
        write(&handle, 5..6, 1452..1470);
        expect.entry(labels(5).to_string()).or_default().extend(1452..1470);
        assert_eq!(read(&handle), expect);
        let before = block_bytes(&handle);
        block_on(handle.clean_tombstones()).expect("cleans");
        assert!(block_bytes(&handle) < before, "{} of {before} bytes", block_bytes(&handle));
        assert_eq!(read(&handle), expect);
        write(&handle, 0..10, 1500..2000);
        expect = read(&handle);
        assert_eq!(block_on(handle.tend()), Ok(true));
        assert_eq!(read(&handle), expect);
        handle.close();
        drop(handle);
        let handle = open(&options).expect("opens");
        assert_eq!(read(&handle), expect);
        handle.close();
    });
}

fn files(path: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for shard in ["shard-0000", "shard-0001"] {
        for entry in std::fs::read_dir(path.join(shard).join("blocks")).expect("lists") {
            let file = entry.expect("lists").path();
            if file.extension().is_some_and(|e| e == extension) {
                found.push(file);
            }
        }
    }
    found
}

/// A label that was deleted is not in any file once tombstones are cleaned, however short its series was.
#[test]
fn cleaning_leaves_no_trace() {
    each_backend(|path, options| {
        let handle = open(&options).expect("opens");
        write(&handle, 0..10, 0..1200);
        assert_eq!(block_on(handle.tend()), Ok(true));
        let secret = |path: &Path| std::fs::read(path).expect("reads").windows(6).any(|w| w == b"host-7");
        assert!(files(path, "block").iter().any(|f| secret(f)) && files(path, "tombstones").is_empty());
        delete(&handle, "instance", "host-7", (0, 5000));
        assert!(!files(path, "tombstones").is_empty());
        block_on(handle.clean_tombstones()).expect("cleans");
        assert!(files(path, "tombstones").is_empty() && !files(path, "block").iter().any(|f| secret(f)));
        // All that is left: an empty block knows still up to when the log counts no more.
        block_on(handle.delete_series(vec![Arc::new([])], TimeRange::ALL)).expect("deletes");
        block_on(handle.clean_tombstones()).expect("cleans");
        assert_eq!((read(&handle), files(path, "block").is_empty()), (Found::new(), false));
        handle.close();
        drop(handle);
        let handle = open(&options).expect("opens");
        assert_eq!(read(&handle), Found::new());
        write(&handle, 0..10, 1200..1300);
        assert_eq!(read(&handle).len(), 10);
        handle.close();
    });
}

/// A server that starts with what was deleted unreadable shows less, never more.
#[test]
fn damaged_tombstones_bring_nothing_back() {
    each_backend(|path, options| {
        let handle = open(&options).expect("opens");
        write(&handle, 0..10, 0..1200);
        assert_eq!(block_on(handle.tend()), Ok(true));
        delete(&handle, "instance", "host-7", (0, 5000));
        let mut expect = read(&handle);
        handle.close();
        drop(handle);
        let stones = files(path, "tombstones");
        let mut bytes = std::fs::read(&stones[0]).expect("reads");
        bytes[50] ^= 1;
        std::fs::write(&stones[0], bytes).expect("writes");
        let handle = open(&options).expect("opens");
        assert_eq!(block_on(handle.figures()).expect("figures").blocks_set_aside, 1);
        let found = read(&handle);
        assert!(found != expect);
        expect.retain(|labels, _| found.contains_key(labels));
        for (labels, seconds) in &found {
            assert!(seconds.iter().all(|s| expect[labels].contains(s)), "{labels}");
        }
        handle.close();
    });
}

#[test]
fn a_snapshot_is_a_data_directory() {
    each_backend(|path, options| {
        let handle = open(&options).expect("opens");
        write(&handle, 0..10, 0..1250);
        assert_eq!(block_on(handle.tend()), Ok(true));
        write(&handle, 0..12, 1250..1300);
        delete(&handle, "instance", "host-7", (100, 1260));
        let all = read(&handle);
        block_on(handle.snapshot("whole".into(), true)).expect("makes it");
        block_on(handle.snapshot("blocks".into(), false)).expect("makes it");
        for bad in ["whole", "", "..", "a/b"] {
            block_on(handle.snapshot(bad.into(), true)).expect_err("is there, or no name");
        }
        // What happens later is no concern of theirs.
        delete(&handle, "instance", "host-3", (0, 5000));
        block_on(handle.clean_tombstones()).expect("cleans");
        assert_eq!(read(&handle).len(), 11);
        handle.close();
        drop(handle);
        let at = |name: &str| Options { path: path.join("snapshots").join(name), ..options.clone() };
        let handle = open(&at("whole")).expect("opens");
        assert_eq!(read(&handle), all);
        write(&handle, 0..12, 1300..1500);
        assert_eq!(block_on(handle.tend()), Ok(true));
        handle.close();
        drop(handle);
        let handle = open(&at("blocks")).expect("opens");
        let found = read(&handle);
        assert!(found.values().flatten().max() < Some(&1250) && found.len() == 10);
        handle.close();
        let entries = std::fs::read_dir(path.join("snapshots")).expect("lists").count();
        assert_eq!(entries, 2, "nothing unfinished stays");
    });
}

/// What is kept, and how late samples may come, changes without a start.
#[test]
fn settings_change_while_the_store_runs() {
    each_backend(|_, options| {
        let handle = open(&options).expect("opens");
        write(&handle, 0..4, 0..1950);
        assert_eq!(block_on(handle.tend()), Ok(true));
        let late = || {
            let mut batch = WriteBatch::default();
            batch.push(&labels(9), &[Sample { timestamp_ms: 1_949_000, value: 1_949.0 }]);
            batch.push(&labels(9), &[Sample { timestamp_ms: 1_930_000, value: 1_930.0 }]);
            block_on(handle.append(batch, Ack::Synced)).expect("appends").outcome
        };
        let none = Keeping { out_of_order_window: Duration::ZERO, ..options.keeping };
        handle.keep(none);
        assert_eq!(late().refused_for(Refusal::OutOfOrder), 1);
        handle.keep(options.keeping);
        assert_eq!((late().refused, late().repeated), (vec![], 2));
        let first = |handle: &Handle| read(handle)[&labels(0).to_string()][0];
        assert_eq!(first(&handle), 0);
        // The clock says 2,000 s.
        handle.keep(Keeping { retention: Duration::from_secs(1200), ..options.keeping });
        assert_eq!(block_on(handle.tend()), Ok(true));
        assert!(block_on(handle.figures()).expect("figures").blocks_expired > 0);
        assert!((1..=800).contains(&first(&handle)), "{}", first(&handle));
        // A part of the disk that no block fits into.
        handle.keep(Keeping { retention_percent: 1e-12, ..options.keeping });
        assert_eq!(block_on(handle.tend()), Ok(true));
        let figures = block_on(handle.figures()).expect("figures");
        assert!(figures.blocks == 0 && figures.blocks_crowded_out > 0 && figures.retention_percent == 1e-12);
        assert!(first(&handle) > 800);
        handle.close();
    });
}

/// Limits hold over all shards together, to the series, and after a start too.
#[test]
fn limits_by_name_hold_over_all_shards() {
    each_backend(|_, options| {
        let limits = Limits { series: 30, series_per_metric: 20, label_value_bytes: 8, ..Limits::default() };
        let options = Options { limits, ..options };
        let handle = open(&options).expect("opens");
        let send = |handle: &Handle, names: &[&str], series: std::ops::Range<usize>, second: i64| {
            let mut batch = WriteBatch::default();
            for i in series {
                for name in names {
                    let labels = Labels::from_pairs([("__name__", (*name).to_owned()), ("i", i.to_string())]);
                    batch.push(&labels, &[Sample { timestamp_ms: second * 1000, value: 1.0 }]);
                }
            }
            block_on(handle.append(batch, Ack::Synced)).expect("appends").outcome
        };
        let outcome = send(&handle, &["a"], 0..50, 1);
        assert_eq!((outcome.new_series, outcome.refused_for(Refusal::MetricSeriesLimit)), (20, 30));
        let outcome = send(&handle, &["b"], 0..20, 1);
        assert_eq!((outcome.new_series, outcome.refused_for(Refusal::SeriesLimit)), (10, 10));
        let outcome = send(&handle, &["too_long_a_name"], 0..1, 1);
        assert_eq!(outcome.refused_for(Refusal::LabelValueLimit), 1);
        // Those that are there go on.
        assert_eq!(send(&handle, &["a"], 0..50, 2).samples, 20);
        let status = block_on(handle.head_status(1)).expect("status");
        assert_eq!((status.series, status.new_series), (30, 30));
        assert_eq!(status.new_by_metric_name, [("a".to_owned(), 20)]);
        handle.close();
        drop(handle);
        let handle = open(&options).expect("opens");
        assert_eq!(send(&handle, &["a", "b"], 0..50, 3).samples, 30);
        let status = block_on(handle.head_status(1)).expect("status");
        assert_eq!((status.series, status.new_series), (30, 0), "after a start only those since count");
        handle.close();
        drop(handle);
        // Series that end make room for others; in one shard, so that its newest sample moves all of them on.
        let options = Options { shards: Some(1), path: options.path.with_extension("one"), ..options };
        let handle = open(&options).expect("opens");
        assert_eq!(send(&handle, &["a"], 0..50, 1).new_series, 20);
        assert_eq!(send(&handle, &["b"], 0..1, 1990).new_series, 1);
        assert_eq!(block_on(handle.tend()), Ok(true));
        let outcome = send(&handle, &["a"], 100..150, 1991);
        assert_eq!((outcome.new_series, outcome.refused_for(Refusal::MetricSeriesLimit)), (20, 30));
        handle.close();
    });
}

fn exemplar(second: i64, trace: &str) -> Exemplar {
    let labels = Labels::from_pairs([("trace_id", trace)]);
    Exemplar { timestamp_ms: second * 1000, value: second as f64, labels }
}

/// Series with the seconds of their exemplars.
fn exemplars(handle: &Handle, sets: MatcherSets, range: TimeRange) -> Vec<(String, Vec<i64>)> {
    let found = handle.exemplars(QueryContext::unlimited(), sets, range);
    let seconds = |all: Vec<Exemplar>| all.iter().map(|e| e.timestamp_ms / 1000).collect();
    block_on(found)
        .expect("exemplars")
        .into_iter()
        .map(|f| (f.labels.to_string(), seconds(f.exemplars)))
        .collect()
}

/// Exemplars come back after a start, out of the log and out of a checkpoint, and go with what is deleted.
#[test]
fn exemplars_are_kept() {
    each_backend(|_, options| {
        let keeping = Keeping { max_exemplars: 1000, ..options.keeping };
        let options = Options { keeping, checkpoint_bytes: 2_000, ..options };
        let handle = open(&options).expect("opens");
        let send = |handle: &Handle, series: usize, seconds: std::ops::Range<i64>| {
            let mut batch = WriteBatch::default();
            for second in seconds {
                batch.push(&labels(series), &[Sample { timestamp_ms: second * 1000, value: second as f64 }]);
                batch.push_exemplar(exemplar(second, "abc"));
            }
            block_on(handle.append(batch, Ack::Synced)).expect("appends").outcome
        };
        for series in 0..6 {
            assert_eq!(send(&handle, series, 1900..1910).exemplars, 10);
        }
        // A repetition is fine, what is older is not.
        let outcome = send(&handle, 1, 1909..1910);
        assert_eq!((outcome.exemplars, outcome.exemplars_out_of_order), (1, 0));
        let outcome = send(&handle, 1, 1905..1906);
        assert_eq!((outcome.exemplars, outcome.exemplars_out_of_order), (0, 1));
        let mut alone = WriteBatch::default();
        alone.push(&labels(99), &[]);
        alone.push_exemplar(exemplar(1900, "abc"));
        let outcome = block_on(handle.append(alone, Ack::Synced)).expect("appends").outcome;
        assert_eq!((outcome.exemplars, outcome.new_series), (0, 0), "an exemplar alone makes no series");
        let all = |handle: &Handle| exemplars(handle, vec![Arc::new([])], TimeRange::ALL);
        let before = all(&handle);
        assert_eq!((before.len(), before[0].1.len()), (6, 10));
        let narrow = TimeRange::new(1_903_000, 1_904_999);
        let found = exemplars(&handle, sets("instance", "host-3"), narrow);
        assert_eq!(found, [(labels(3).to_string(), vec![1903, 1904])]);
        handle.close();
        drop(handle);
        let handle = open(&options).expect("opens");
        assert_eq!(all(&handle), before);
        // With a checkpoint, and more in the log behind it.
        assert_eq!(block_on(handle.tend()), Ok(true));
        send(&handle, 2, 1910..1912);
        delete(&handle, "instance", "host-4", (0, 1904));
        let after = all(&handle);
        assert_eq!((after[1].1.len(), after[2].1.len()), (12, 5), "{after:?}");
        handle.close();
        drop(handle);
        let handle = open(&options).expect("opens");
        assert_eq!(all(&handle), after);
        assert_eq!(block_on(handle.figures()).expect("figures").exemplars, 57);
        handle.keep(Keeping { max_exemplars: 0, ..keeping });
        send(&handle, 2, 1912..1913);
        let left = block_on(handle.figures()).expect("figures").exemplars;
        assert!(left < 57, "the shard that was written to keeps none: {left}");
        handle.close();
    });
}
