//! Columns under a roster, on a real data directory: they are stored as the series that they stand for, whatever became
//! of those meanwhile.

use futures_executor::block_on;
use hearth_engine::{Handle, IoChoice, Keeping, Options, open};
use hearth_model::batch::{Exemplar, Refusal, Refused};
use hearth_model::store::{Admin, Catalogue, Columns, Projection, Select, SeriesCursor, ShardView};
use hearth_model::{
    Ack, Append, Column, Labels, QueryContext, Roster, Sample, Scatter, TimeRange, WriteBatch, WriteOutcome,
    key,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn open_at(path: &Path) -> Handle {
    open(&options(path)).expect("opens")
}

fn options(path: &Path) -> Options {
    Options {
        shards: Some(2),
        io: IoChoice::Threads,
        block_range: Duration::from_secs(100),
        keeping: Keeping { out_of_order_window: Duration::from_secs(10), ..Keeping::default() },
        clock: || 2_000_000,
        ..Options::new(path)
    }
}

fn name(i: usize) -> Labels {
    Labels::from_pairs([("__name__", format!("metric_{i}")), ("job", "j".to_owned())])
}

fn roster(series: std::ops::Range<usize>) -> Arc<Roster> {
    let keys: Vec<Vec<u8>> = series.map(|i| key::key_of(&name(i))).collect();
    Arc::new(Roster::new(keys.iter().map(Vec::as_slice)))
}

fn column(roster: &Arc<Roster>, seconds: i64) -> WriteBatch {
    let values = (0..roster.len()).map(|i| (i as i64 * 10_000 + seconds) as f64).collect();
    let column =
        Column { roster: Some(roster.clone()), timestamp_ms: seconds * 1_000, values, ..Column::default() };
    WriteBatch { column, ..WriteBatch::default() }
}

fn write(handle: &Handle, batch: WriteBatch) -> WriteOutcome {
    block_on(handle.append(batch, Ack::Written)).expect("appends").outcome
}

/// Seconds and values by series.
fn read(handle: &Handle) -> BTreeMap<String, Vec<(i64, f64)>> {
    let parts = block_on(handle.scatter(QueryContext::unlimited(), |view| async move {
        let select = Select { matchers: Arc::new([]), range: TimeRange::ALL, projection: Projection::All };
        let mut cursor = view.select(select).await?;
        let (mut columns, mut out) = (Columns::default(), Vec::new());
        while cursor.next(&mut columns).await? {
            let samples = columns.times.iter().map(|t| t / 1_000).zip(columns.values.iter().copied());
            out.push((cursor.group_labels(columns.group).to_string(), samples.collect()));
        }
        Ok(out)
    }));
    parts.expect("reads").into_iter().flatten().collect()
}

fn expected(series: std::ops::Range<usize>, seconds: &[i64]) -> BTreeMap<String, Vec<(i64, f64)>> {
    let first = series.start;
    let samples = |i: usize| seconds.iter().map(|s| (*s, ((i - first) as i64 * 10_000 + s) as f64)).collect();
    series.map(|i| (name(i).to_string(), samples(i))).collect()
}

#[test]
fn a_column_is_stored_beside_other_series_and_again_after_a_restart() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let handle = open_at(directory.path());
    let roster = roster(0..100);
    let outcome = write(&handle, column(&roster, 1_900));
    assert_eq!((outcome.samples, outcome.new_series, outcome.refused.len()), (100, 100, 0));
    let mut both = column(&roster, 1_901);
    both.push(&name(100), &[Sample { timestamp_ms: 1_901_000, value: 1.0 }]);
    let outcome = write(&handle, both);
    assert_eq!((outcome.samples, outcome.new_series), (101, 1));
    let outcome = write(&handle, column(&roster, 1_901));
    assert_eq!((outcome.samples, outcome.repeated), (100, 100));
    handle.close();
    drop(handle);
    let handle = open_at(directory.path());
    let outcome = write(&handle, column(&roster, 1_902));
    assert_eq!((outcome.samples, outcome.new_series), (100, 0));
    let mut expect = expected(0..100, &[1_900, 1_901, 1_902]);
    expect.insert(name(100).to_string(), vec![(1_901, 1.0)]);
    assert_eq!(read(&handle), expect);
    handle.close();
    // A store of another seed, with the same roster.
    let other = tempfile::tempdir().expect("temporary directory");
    let handle = open_at(other.path());
    write(&handle, column(&roster, 1_903));
    assert_eq!(read(&handle), expected(0..100, &[1_903]));
    handle.close();
}

#[test]
fn absent_series_get_no_sample() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let handle = open_at(directory.path());
    let roster = roster(0..100);
    write(&handle, column(&roster, 1_900));
    let mut partly = column(&roster, 1_901);
    partly.column.absent = (0..100).filter(|number| number % 3 != 0).collect();
    let outcome = write(&handle, partly);
    assert_eq!((outcome.samples, outcome.new_series, outcome.refused.len()), (34, 0, 0));
    let mut expect = expected(0..100, &[1_900, 1_901]);
    for i in (0..100).filter(|i| i % 3 != 0) {
        expect.get_mut(&name(i).to_string()).expect("a series").pop();
    }
    assert_eq!(read(&handle), expect);
    handle.close();
}

#[test]
fn samples_of_a_column_may_have_times_of_their_own() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let handle = open_at(directory.path());
    let roster = roster(0..100);
    write(&handle, column(&roster, 1_900));
    let mut timed = column(&roster, 1_901);
    let second = |i: usize| 1_901 + i as i64 % 7;
    timed.column.times = (0..100).map(|i| second(i) * 1_000).collect();
    let outcome = write(&handle, timed.clone());
    assert_eq!((outcome.samples, outcome.refused.len()), (100, 0));
    assert_eq!(write(&handle, timed).repeated, 100);
    let mut expect = expected(0..100, &[1_900]);
    for i in 0..100 {
        let value = (i * 10_000 + 1_901) as f64;
        expect.get_mut(&name(i).to_string()).expect("a series").push((second(i), value));
    }
    assert_eq!(read(&handle), expect);
    handle.close();
    drop(handle);
    let handle = open_at(directory.path());
    assert_eq!(read(&handle), expect);
    handle.close();
}

#[test]
fn exemplars_of_a_column_are_those_of_its_series() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut options = options(directory.path());
    options.keeping.max_exemplars = 1_000;
    let handle = open(&options).expect("opens");
    let roster = roster(0..100);
    let mut batch = column(&roster, 1_900);
    batch.column.absent = vec![7];
    // One at every third series, two at the ninth.
    let seconds = |i: usize| if i == 9 { vec![1_898, 1_899] } else { vec![1_899] };
    let with = || (0..100).filter(|i| i % 3 == 0);
    let exemplar = |i: usize, second: i64| {
        let labels = Labels::from_pairs([("trace", i.to_string())]);
        (i as u32, Exemplar { timestamp_ms: second * 1_000, value: i as f64, labels })
    };
    batch.column.exemplars =
        with().flat_map(|i| seconds(i).into_iter().map(move |second| exemplar(i, second))).collect();
    let outcome = write(&handle, batch);
    assert_eq!((outcome.samples, outcome.exemplars, outcome.exemplars_out_of_order), (99, 35, 0));
    let check = |handle: &Handle| {
        let all = handle.exemplars(QueryContext::unlimited(), vec![Arc::new([])], TimeRange::ALL);
        let found: BTreeMap<String, Vec<(i64, f64)>> = block_on(all)
            .expect("reads")
            .into_iter()
            .map(|of| {
                let points = of.exemplars.iter().map(|e| (e.timestamp_ms / 1_000, e.value)).collect();
                (of.labels.to_string(), points)
            })
            .collect();
        let points = |i: usize| seconds(i).into_iter().map(|second| (second, i as f64)).collect();
        assert_eq!(found, with().map(|i| (name(i).to_string(), points(i))).collect());
    };
    check(&handle);
    handle.close();
    drop(handle);
    let handle = open(&options).expect("opens");
    check(&handle);
    handle.close();
    drop(handle);
    // Where none are kept, none are taken.
    options.keeping.max_exemplars = 0;
    let handle = open(&options).expect("opens");
    let mut batch = column(&roster, 1_901);
    batch.column.exemplars = vec![exemplar(3, 1_900)];
    assert_eq!(write(&handle, batch).exemplars, 0);
    handle.close();
}

#[test]
fn a_row_that_another_series_has_by_now_is_not_believed() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let handle = open_at(directory.path());
    let (old, new) = (roster(0..100), roster(100..200));
    write(&handle, column(&old, 100));
    write(&handle, column(&old, 101));
    write(&handle, column(&roster(900..920), 1_990));
    // The block is written and the series leave the head, so that the others get their rows.
    let left = |handle: &Handle| block_on(handle.figures()).expect("figures").series_removed;
    for _ in 0..3 {
        assert_eq!(block_on(handle.tend()), Ok(true));
    }
    assert_eq!(left(&handle), 100);
    let outcome = write(&handle, column(&new, 1_991));
    assert_eq!((outcome.samples, outcome.new_series), (100, 100));
    let outcome = write(&handle, column(&old, 1_992));
    assert_eq!((outcome.samples, outcome.new_series, outcome.refused.len()), (100, 100, 0));
    write(&handle, column(&new, 1_993));
    write(&handle, column(&old, 1_993));
    let mut expect = expected(0..100, &[100, 101, 1_992, 1_993]);
    expect.extend(expected(100..200, &[1_991, 1_993]));
    expect.extend(expected(900..920, &[1_990]));
    assert_eq!(read(&handle), expect);
    handle.close();
}

#[test]
fn what_is_refused_of_a_column_is_counted_behind_the_other_series() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let handle = open_at(directory.path());
    let good = key::key_of(&name(0));
    // The same labels the other way round are another key of that series.
    let mut turned = Vec::new();
    key::push_key(&mut turned, [("job", "j"), ("__name__", "metric_0")]);
    let turned_other: Vec<Vec<u8>> = (1..20)
        .map(|i| {
            let (mut key, name) = (Vec::new(), format!("metric_{i}"));
            key::push_key(&mut key, [("job", "j"), ("__name__", name.as_str())]);
            key
        })
        .collect();
    let keys = [&good[..], b"no key", &turned].into_iter().chain(turned_other.iter().map(Vec::as_slice));
    let roster = Arc::new(Roster::new(keys));
    let mut batch = column(&roster, 1_900);
    batch.push(&name(50), &[Sample { timestamp_ms: 1_900_000, value: 1.0 }]);
    let mut outcome = write(&handle, batch);
    outcome.refused.sort_by_key(|refused| refused.series);
    let refused = |series, reason| Refused { series, sample: 0, reason };
    assert_eq!(
        outcome.refused,
        [refused(2, Refusal::InvalidLabels), refused(3, Refusal::DuplicateTimestamp)]
    );
    assert_eq!(outcome.samples, 1 + 1 + 19);
    let stored = read(&handle);
    assert_eq!(stored.len(), 21);
    for i in 1..20 {
        let value = ((i + 2) * 10_000 + 1_900) as f64;
        assert_eq!(stored[&name(i as usize).to_string()], [(1_900, value)], "{i}");
    }
    handle.close();
}
