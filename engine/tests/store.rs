//! The storage contract on a real data directory, on both backends.

use futures_executor::block_on;
use hearth_engine::{Handle, IoChoice, Keeping, Limits, Options, open};
use hearth_model::batch::Refusal;
use hearth_model::context::{Budget, Stop};
use hearth_model::store::{Admin, Catalogue, Columns, Projection, Select, SeriesCursor, ShardView};
use hearth_model::{
    Ack, Append, Labels, Matcher, QueryContext, Sample, Scatter, StoreError, TimeRange, WriteBatch,
};
use std::path::Path;
use std::sync::Arc;

const BACKENDS: [IoChoice; 2] = [IoChoice::Auto, IoChoice::Threads];

fn open_at(path: &Path, io: IoChoice) -> Handle {
    let window = std::time::Duration::from_secs(5);
    let options = Options {
        shards: Some(2),
        io,
        keeping: Keeping { out_of_order_window: window, ..Keeping::default() },
        clock: || 1_000_000,
        ..Options::new(path)
    };
    open(&options).expect("opens")
}

fn each_backend(test: impl Fn(&Path, &dyn Fn() -> Handle)) {
    for io in BACKENDS {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("data");
        test(&path, &|| open_at(&path, io));
    }
}

fn labels(i: usize) -> Labels {
    let (instance, job) = (format!("host-{i}"), format!("job-{}", i % 3));
    Labels::from_pairs([("__name__", "metric"), ("instance", instance.as_str()), ("job", job.as_str())])
}

fn batch(series: usize, times: std::ops::Range<i64>) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for i in 0..series {
        let samples: Vec<Sample> =
            times.clone().map(|t| Sample { timestamp_ms: t * 1000, value: t as f64 + i as f64 }).collect();
        batch.push(&labels(i), &samples);
    }
    batch
}

/// Series with their samples, sorted by labels.
fn read(
    handle: &Handle,
    matchers: Vec<Matcher>,
    range: TimeRange,
    projection: Projection,
) -> Vec<(String, Vec<(i64, f64)>)> {
    let matchers: Arc<[Matcher]> = matchers.into();
    let parts = block_on(handle.scatter(QueryContext::unlimited(), move |view| {
        let projection = projection.clone();
        let select = Select { matchers: matchers.clone(), range, projection: projection.clone() };
        async move {
            let mut cursor = view.select(select).await?;
            let (mut columns, mut out) = (Columns::default(), Vec::new());
            while cursor.next(&mut columns).await? {
                let samples: Vec<(i64, f64)> =
                    columns.times.iter().copied().zip(columns.values.iter().copied()).collect();
                let group = cursor.group_labels(columns.group);
                let mut all = Vec::new();
                cursor.visit_labels(|name, value| all.push((name.to_owned(), value.to_owned())));
                assert_eq!(projection.apply(&Labels::from_pairs(all)), group);
                out.push((group.to_string(), samples));
            }
            Ok(out)
        }
    }))
    .expect("reads");
    let mut all: Vec<_> = parts.into_iter().flatten().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn write(handle: &Handle, batch: WriteBatch) -> hearth_model::WriteOutcome {
    block_on(handle.append(batch, Ack::Synced)).expect("appends").outcome
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    each_backend(|_, open| {
        let handle = open();
        let outcome = write(&handle, batch(100, 0..50));
        assert_eq!((outcome.samples, outcome.new_series, outcome.refused.len()), (5000, 100, 0));
        let before =
            read(&handle, vec![Matcher::equal("__name__", "metric")], TimeRange::ALL, Projection::All);
        assert_eq!(before.len(), 100);
        handle.close();
        assert!(matches!(block_on(handle.append(batch(1, 60..61), Ack::Memory)), Err(StoreError::Closed)));
        drop(handle);
        let handle = open();
        assert_eq!(
            read(&handle, vec![Matcher::equal("__name__", "metric")], TimeRange::ALL, Projection::All),
            before
        );
        let outcome = write(&handle, batch(100, 49..52));
        assert_eq!((outcome.samples, outcome.repeated, outcome.new_series), (300, 100, 0));
        let figures = block_on(handle.figures()).expect("figures");
        assert_eq!((figures.series, figures.wal_corruptions, figures.min_ms), (100, 0, Some(0)));
        handle.close();
    });
}

#[test]
fn two_servers_never_share_a_directory() {
    each_backend(|path, open_one| {
        let first = open_one();
        let error = match open(&Options::new(path)) {
            Ok(_) => panic!("opened twice"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains("another server"), "{error}");
        first.close();
    });
}

#[test]
fn ranges_matchers_and_groups_select() {
    each_backend(|_, open| {
        let handle = open();
        write(&handle, batch(30, 0..200));
        let one = vec![Matcher::equal("instance", "host-7")];
        let found = read(&handle, one, TimeRange::new(5_500, 8_000), Projection::All);
        assert_eq!(found, vec![(labels(7).to_string(), vec![(6_000, 13.0), (7_000, 14.0), (8_000, 15.0)])]);
        let by_job = read(
            &handle,
            vec![],
            TimeRange::new(0, 0),
            Projection::Only(vec!["job".into(), "absent".into()]),
        );
        assert_eq!(by_job.len(), 30);
        assert_eq!(by_job[0].0, r#"{job="job-0"}"#);
        let without = read(
            &handle,
            vec![],
            TimeRange::new(0, 0),
            Projection::Without(vec!["instance".into(), "__name__".into()]),
        );
        assert_eq!(
            without.iter().map(|(l, _)| l.as_str()).collect::<Vec<_>>(),
            by_job.iter().map(|(l, _)| l.as_str()).collect::<Vec<_>>()
        );
        assert!(read(&handle, vec![], TimeRange::new(500_000, 600_000), Projection::All).is_empty());
        handle.close();
    });
}

#[test]
fn unordered_labels_mean_the_same_series() {
    each_backend(|_, open| {
        let handle = open();
        write(&handle, batch(20, 0..1));
        let mut unordered = WriteBatch::default();
        for i in 0..20 {
            let set = labels(i);
            let pairs: Vec<_> = set.iter().collect();
            let mut key = Vec::new();
            hearth_model::key::push_key(&mut key, pairs.into_iter().rev());
            unordered.push_keyed(&key, &[Sample { timestamp_ms: 5_000, value: 1.0 }]);
        }
        for round in 0..2 {
            let outcome = write(&handle, unordered.clone());
            assert_eq!((outcome.samples, outcome.new_series), (20, 0), "round {round}");
        }
        handle.close();
        drop(handle);
        assert_eq!(read(&open(), vec![], TimeRange::new(5_000, 5_000), Projection::All).len(), 20);
    });
}

#[test]
fn refusals_name_series_and_sample() {
    each_backend(|_, open| {
        let handle = open();
        write(&handle, batch(2, 10..12));
        let mut bad = WriteBatch::default();
        let sample = |timestamp_ms, value| Sample { timestamp_ms, value };
        bad.push(&labels(0), &[sample(11_000, 11.0), sample(11_000, 5.0), sample(1, 1.0)]);
        bad.push(&Labels::from_pairs([("job", "x")]), &[sample(1, 1.0)]);
        bad.push(&labels(1), &[sample(99_000_000_000, 1.0), sample(20_000, 1.0)]);
        let outcome = write(&handle, bad);
        assert_eq!((outcome.samples, outcome.repeated), (2, 1));
        let mut refused: Vec<_> = outcome.refused.iter().map(|r| (r.series, r.sample, r.reason)).collect();
        refused.sort_by_key(|r| (r.0, r.1));
        assert_eq!(
            refused,
            [
                (0, 1, Refusal::DuplicateTimestamp),
                (0, 2, Refusal::TooOld),
                (1, 0, Refusal::InvalidLabels),
                (2, 0, Refusal::OutOfBounds)
            ]
        );
        handle.close();
    });
}

#[test]
fn the_catalogue_lists_names_values_and_series() {
    each_backend(|_, open| {
        let handle = open();
        write(&handle, batch(9, 0..3));
        let context = QueryContext::unlimited;
        let all = TimeRange::ALL;
        let names = block_on(handle.label_names(context(), vec![], all, 0)).expect("names");
        assert_eq!(names, (vec!["__name__".into(), "instance".into(), "job".into()], false));
        let sets = || vec![vec![Matcher::equal("instance", "host-4")].into()];
        let values = |limit| {
            block_on(handle.label_values(context(), "job".into(), vec![], all, limit)).expect("values")
        };
        assert_eq!(values(0), (vec!["job-0".into(), "job-1".into(), "job-2".into()], false));
        assert_eq!(values(2), (vec!["job-0".into(), "job-1".into()], true));
        let narrowed =
            block_on(handle.label_values(context(), "job".into(), sets(), all, 0)).expect("values");
        assert_eq!(narrowed.0, ["job-1"]);
        let series = block_on(handle.series(context(), sets(), all, 0)).expect("series");
        assert_eq!(series, (vec![labels(4)], false));
        assert!(
            block_on(handle.series(context(), vec![], TimeRange::new(9_000, 9_999), 0))
                .expect("series")
                .0
                .is_empty()
        );
        let status = block_on(handle.head_status(10)).expect("status");
        assert_eq!(status.series_by_metric_name, [("metric".to_owned(), 9)]);
        handle.close();
    });
}

#[test]
fn queries_stop_when_told_and_stay_within_their_memory() {
    each_backend(|_, open| {
        let handle = open();
        write(&handle, batch(500, 0..2));
        let stopped = QueryContext::unlimited();
        stopped.cancel(Stop::TimedOut);
        let result = block_on(handle.scatter(stopped, |view| async move { view.pause().await }));
        assert_eq!(result, Err(StoreError::Stopped(Stop::TimedOut)));
        let small = QueryContext::new(Budget::new("query", 100, None));
        let result = block_on(Catalogue::series(&handle, small, vec![], TimeRange::ALL, 0));
        assert!(matches!(result, Err(StoreError::MemoryLimit { account: "query", .. })));
        handle.close();
    });
}

#[test]
fn limits_refuse_only_what_is_new() {
    each_backend(|path, _| {
        let options = Options {
            shards: Some(1),
            limits: Limits { series: 5, ..Limits::default() },
            clock: || 1_000_000,
            ..Options::new(path)
        };
        let handle = open(&options).expect("opens");
        let outcome = write(&handle, batch(8, 0..2));
        assert_eq!((outcome.new_series, outcome.refused_for(Refusal::SeriesLimit)), (5, 6));
        assert_eq!(write(&handle, batch(5, 2..3)).samples, 5);
        handle.close();
        drop(handle);
        let full = Options { head_limit_bytes: 1, ..options };
        let handle = open(&full).expect("opens");
        let refused = block_on(handle.append(batch(1, 5..6), Ack::Memory));
        assert!(matches!(refused, Err(StoreError::ReadOnly(_))), "{refused:?}");
        handle.close();
    });
}

/// Samples a second for a thousand seconds, with blocks of a hundred.
#[test]
fn blocks_and_memory_read_as_one() {
    each_backend(|path, _| {
        let second = std::time::Duration::from_secs;
        let options = Options {
            shards: Some(2),
            block_range: second(100),
            keeping: Keeping { out_of_order_window: second(10), ..Keeping::default() },
            clock: || 1_000_000,
            ..Options::new(path)
        };
        let open_again = || open(&options).expect("opens");
        let handle = open_again();
        write(&handle, batch(30, 0..1000));
        let all = |handle: &Handle| read(handle, vec![], TimeRange::ALL, Projection::All);
        let narrow = |handle: &Handle| {
            let one = vec![Matcher::equal("instance", "host-7")];
            read(handle, one, TimeRange::new(95_000, 105_000), Projection::Only(vec!["job".into()]))
        };
        let names = |handle: &Handle| {
            let (context, range) = (QueryContext::unlimited, TimeRange::new(0, 50_000));
            let sets = || vec![vec![Matcher::equal("job", "job-1")].into()];
            let names = block_on(handle.label_names(context(), vec![], range, 0)).expect("names");
            let values = block_on(handle.label_values(context(), "instance".into(), sets(), range, 0))
                .expect("values");
            let series = block_on(Catalogue::series(handle, context(), sets(), range, 4)).expect("series");
            (names, values, series.0.len(), series.1)
        };
        let before = (all(&handle), narrow(&handle), names(&handle));
        assert_eq!((before.0.len(), before.0[0].1.len(), before.1[0].1.len()), (30, 1000, 11));
        assert_eq!(block_on(handle.tend()), Ok(true));
        let figures = block_on(handle.figures()).expect("figures");
        assert!(figures.blocks_flushed >= 16 && figures.blocks > 0 && figures.min_ms >= Some(900_000));
        assert_eq!((all(&handle), narrow(&handle), names(&handle)), before);
        let outcome = write(&handle, batch(1, 5..6));
        assert_eq!(outcome.refused_for(Refusal::TooOld), 1);
        handle.close();
        drop(handle);
        let handle = open_again();
        assert_eq!((all(&handle), narrow(&handle), names(&handle)), before);
        handle.close();
    });
}

/// Whatever byte of the identity changes, the other copy of it serves, and mends it.
#[test]
fn a_damaged_identity_is_no_end() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("data");
    let handle = open_at(&path, IoChoice::Threads);
    write(&handle, batch(3, 0..5));
    handle.close();
    drop(handle);
    let files = ["hearth.identity", "hearth.identity-copy"].map(|name| path.join(name));
    let whole = std::fs::read(&files[0]).expect("reads");
    for (at, file) in (0..whole.len()).step_by(5).flat_map(|at| files.iter().map(move |file| (at, file))) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x81;
        std::fs::write(file, damaged).expect("writes");
        let handle = open_at(&path, IoChoice::Threads);
        assert_eq!(read(&handle, vec![], TimeRange::ALL, Projection::All).len(), 3);
        handle.close();
        drop(handle);
        assert!(files.iter().all(|f| std::fs::read(f).expect("reads") == whole));
    }
}

/// With little written, the one segment of the log was never full and never went: a start replayed all that
/// was ever written.
#[test]
fn the_log_goes_with_the_blocks() {
    each_backend(|path, _| {
        let second = std::time::Duration::from_secs;
        let options = Options {
            shards: Some(1),
            block_range: second(100),
            keeping: Keeping { out_of_order_window: second(10), ..Keeping::default() },
            clock: || 10_000_000,
            ..Options::new(path)
        };
        let handle = open(&options).expect("opens");
        let mut first = 0;
        for round in 0..20 {
            write(&handle, batch(10, round * 100..(round + 1) * 100));
            assert_eq!(block_on(handle.tend()), Ok(true));
            // The committer cuts the log back beside us, so some rounds of it may be there still.
            let bytes = block_on(handle.figures()).expect("figures").wal_bytes;
            if round == 0 {
                first = bytes;
            }
            assert!(bytes <= 10 * first, "round {round}: {bytes} bytes of log");
        }
        handle.close();
        drop(handle);
        let all = read(&open(&options).expect("opens"), vec![], TimeRange::ALL, Projection::All);
        assert!(all.len() == 10 && all.iter().all(|(_, samples)| samples.len() == 2_000));
    });
}

#[test]
fn a_start_knows_whether_the_directory_was_closed() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let lock = directory.path().join("hearth.lock");
    let start = || open_at(directory.path(), IoChoice::Threads);
    let clean = |handle: &Handle| block_on(handle.figures()).expect("figures").clean_start;
    let handle = start();
    assert!(clean(&handle), "it is new");
    // What a kill would leave.
    let open = std::fs::read(&lock).expect("a lock");
    assert!(!open.is_empty());
    handle.close();
    drop(handle);
    let handle = start();
    assert!(clean(&handle));
    handle.close();
    drop(handle);
    std::fs::write(&lock, open).expect("writes");
    let handle = start();
    assert!(!clean(&handle));
    handle.close();
    drop(handle);
    let handle = start();
    assert!(clean(&handle));
    handle.close();
}

#[test]
fn blocks_go_by_age_and_by_size() {
    each_backend(|path, _| {
        let second = std::time::Duration::from_secs;
        let options = Options {
            shards: Some(1),
            block_range: second(100),
            keeping: Keeping { out_of_order_window: second(10), ..Keeping::default() },
            clock: || 1_000_000,
            ..Options::new(path)
        };
        // Opens, does what is due, and tells the first time there is and the figures.
        let tend = |options: &Options, data: Option<WriteBatch>| {
            let handle = open(options).expect("opens");
            data.map(|batch| write(&handle, batch));
            assert_eq!(block_on(handle.tend()), Ok(true));
            let all = read(&handle, vec![], TimeRange::ALL, Projection::All);
            let figures = block_on(handle.figures()).expect("figures");
            handle.close();
            (all[0].1[0].0, figures)
        };
        let (first, figures) = tend(&options, Some(batch(50, 0..1000)));
        assert_eq!((first, figures.blocks_expired), (0, 0));
        let aged =
            Options { keeping: Keeping { retention: second(650), ..options.keeping }, ..options.clone() };
        let (first, figures) = tend(&aged, None);
        assert_eq!((first, figures.blocks_expired), (300_000, 1));
        let bytes = figures.wal_bytes + figures.block_bytes;
        let narrow =
            Options { keeping: Keeping { retention_bytes: bytes - 1, ..options.keeping }, ..options.clone() };
        let (first, figures) = tend(&narrow, None);
        assert_eq!((first, figures.blocks_crowded_out), (600_000, 1));
    });
}
