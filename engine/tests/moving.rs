//! Moving house, there and back: what Prometheus left is in Hearth, what Hearth holds is in blocks of
//! Prometheus', another number of shards holds the same, and damage is named.

use futures_executor::block_on;
use hearth_engine::moving::backfill::{Source, backfill};
use hearth_engine::moving::export::{Plan, export};
use hearth_engine::moving::read::{Files, Nature, nature};
use hearth_engine::moving::reshard::reshard;
use hearth_engine::moving::takeover::{self, Originals};
use hearth_engine::moving::verify::verify;
use hearth_engine::prometheus::block_writer::BlockWriter;
use hearth_engine::prometheus::chunks::Samples;
use hearth_engine::prometheus::tombstones::{self, Tombstones};
use hearth_engine::prometheus::ulid::Ulid;
use hearth_engine::{IoChoice, Options, moving::MovingError};
use hearth_model::batch::Exemplar;
use hearth_model::missing::{Missing, Why};
use hearth_model::store::{Catalogue, MatcherSets, SeriesExemplars};
use hearth_model::{Histogram, Labels, QueryContext, Scatter, Span, TimeRange};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const HOUR_MS: i64 = 3_600_000;
/// A day that begins at a whole number of days.
const START_MS: i64 = 1_700_006_400_000;

fn clock() -> i64 {
    START_MS + 30 * HOUR_MS
}

fn options(path: &Path) -> Options {
    let mut options = Options::new(path);
    options.shards = Some(2);
    options.io = IoChoice::Threads;
    options.clock = clock;
    options.keeping.max_exemplars = 1000;
    options
}

fn labels(series: u32) -> Labels {
    let name = format!("metric_{}", series % 3);
    Labels::from_pairs([("__name__", name), ("series", format!("{series:03}")), ("unit", "é".to_owned())])
}

fn histogram(at: i64, whole: bool) -> Arc<Histogram> {
    let counts = vec![at as f64, (at * 2) as f64];
    Arc::new(Histogram {
        schema: 3,
        integer: whole,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: (at * 3 + 1) as f64,
        sum: at as f64 / 3.0,
        positive_spans: vec![Span { offset: -2, length: 2 }],
        positive_counts: counts,
        ..Histogram::stale()
    })
}

/// What a series has from one time to before another: floats with a gap and a marker, or histograms.
fn samples(series: u32, from_ms: i64, to_ms: i64) -> Samples {
    let mut samples = Samples::default();
    for time in (from_ms..to_ms).step_by(15_000) {
        let at = (time - START_MS) / 15_000;
        match series % 5 {
            3 => samples.histograms.push((time, histogram(at, series.is_multiple_of(2)))),
            2 if at % 100 > 90 => {}
            _ => {
                let value = if at % 77 == 0 {
                    hearth_model::sample::stale_nan()
                } else {
                    (at * i64::from(series)) as f64 / 7.0
                };
                samples.times.push(time);
                samples.values.push(value);
            }
        }
    }
    samples
}

const SERIES: u32 = 20;

fn block(path: &Path, number: u128, from_ms: i64, to_ms: i64) {
    let mut all: Vec<(Labels, u32)> = (0..SERIES).map(|series| (labels(series), series)).collect();
    all.sort();
    let mut writer = BlockWriter::create(path, Ulid(number), (from_ms, to_ms)).expect("creates");
    for (labels, series) in all {
        writer.series(&labels, &samples(series, from_ms, to_ms)).expect("writes");
    }
    writer.finish().expect("finishes").expect("has samples");
}

/// A record's fragment in the only page of a segment.
fn push_record(segment: &mut Vec<u8>, record: &[u8]) {
    segment.push(1);
    segment.extend_from_slice(&(record.len() as u16).to_be_bytes());
    segment.extend_from_slice(&crc32c::crc32c(record).to_be_bytes());
    segment.extend_from_slice(record);
}

/// A log with one series, its samples, and what was deleted of it.
fn log(path: &Path, times: &[i64], deleted: (i64, i64)) {
    let eight = |n: u64| n.to_be_bytes();
    let zigzag = |n: i64| {
        let (mut n, mut out) = ((n << 1 ^ n >> 63) as u64, Vec::new());
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out
    };
    let mut series = vec![1];
    series.extend(eight(5));
    series.extend(b"\x01\x08__name__\x03log");
    let mut samples = vec![2];
    samples.extend(eight(5));
    samples.extend(eight(times[0] as u64));
    for time in times {
        samples.push(0);
        samples.extend(zigzag(time - times[0]));
        samples.extend(eight((*time as f64).to_bits()));
    }
    // Two exemplars, the second of what was deleted, and what is said of the series' metric, twice.
    let mut exemplars = vec![4];
    exemplars.extend(eight(5));
    exemplars.extend(eight(times[0] as u64));
    for (time, trace) in [(times[1], b"\x01\x05trace\x01a"), (deleted.0, b"\x01\x05trace\x01b")] {
        exemplars.push(0);
        exemplars.extend(zigzag(time - times[0]));
        exemplars.extend(eight(1.5f64.to_bits()));
        exemplars.extend(trace);
    }
    let said = |help: &[u8]| [b"\x06\x05\x01\x02\x04UNIT\x01s\x04HELP\x01", help].concat();
    let mut tombstone = vec![3];
    tombstone.extend(eight(5));
    tombstone.extend(zigzag(deleted.0));
    tombstone.extend(zigzag(deleted.1));
    let mut segment = Vec::new();
    for record in [series, samples, exemplars, said(b"a"), said(b"b"), tombstone] {
        push_record(&mut segment, &record);
    }
    std::fs::create_dir_all(path.join("wal")).expect("makes");
    std::fs::write(path.join("wal/00000003"), segment).expect("writes");
}

/// Everything in a directory, a line for each sample.
fn dump(path: &Path) -> Vec<String> {
    let mut files = Files::open(path).expect("opens");
    let (mut lines, mut before) = (Vec::new(), None);
    files
        .series(&[], TimeRange::ALL, |labels, samples| {
            assert!(before.as_ref().is_none_or(|before| before < labels), "series are in order");
            before = Some(labels.clone());
            for (time, value) in samples.times.iter().zip(&samples.values) {
                lines.push(format!("{labels:?} {time} {:x}", value.to_bits()));
            }
            for (time, h) in &samples.histograms {
                let Histogram { schema, integer, count, zero_count, positive_counts, .. } = h.as_ref();
                lines.push(format!(
                    "{labels:?} {time} {schema} {integer} {count} {zero_count} {positive_counts:?} {}",
                    h.sum
                ));
            }
            Ok::<(), MovingError>(())
        })
        .expect("reads");
    assert!(files.damages.is_empty(), "{:?}", files.damages);
    lines
}

/// Exemplars and metadata of ours.
fn beside(path: &Path) -> (Vec<String>, Vec<String>) {
    let store = takeover::open(&options(path), Originals::Keep).expect("opens");
    let sets: MatcherSets = vec![Arc::new([])];
    let found =
        block_on(store.exemplars(QueryContext::unlimited(), sets, TimeRange::ALL)).expect("exemplars");
    let of = |found: &SeriesExemplars| {
        let of = |e: &Exemplar| format!("{} {} {} {}", found.labels, e.timestamp_ms, e.value, e.labels);
        found.exemplars.iter().map(of).collect::<Vec<_>>()
    };
    let mut exemplars: Vec<String> = found.iter().flat_map(of).collect();
    exemplars.sort();
    let said = block_on(store.metadata(QueryContext::unlimited(), None)).expect("metadata");
    let mut said: Vec<String> =
        said.iter().map(|m| format!("{} {} {} {}", m.name, m.kind, m.unit, m.help)).collect();
    said.sort();
    store.close();
    (exemplars, said)
}

/// A data directory of Prometheus: two blocks, the second with a deletion, and a log.
fn prometheus(path: &Path) {
    std::fs::create_dir_all(path).expect("makes");
    block(path, 1, START_MS, START_MS + 18 * HOUR_MS);
    block(path, 2, START_MS + 18 * HOUR_MS, START_MS + 26 * HOUR_MS);
    let stones = Tombstones::from_iter([(1000, vec![(0, i64::MAX)])]);
    std::fs::write(path.join(Ulid(2).to_string()).join("tombstones"), tombstones::print(&stones))
        .expect("writes");
    let at = |minutes: i64| START_MS + 26 * HOUR_MS + minutes * 60_000;
    // The first is in a block already, as far as the log's reader knows.
    log(path, &[at(-5), at(1), at(2), at(3), at(4)], (at(2), at(3)));
    std::fs::write(path.join("lock"), b"").expect("writes");
}

/// Starts on a directory until all is taken over; how many blocks were converted, and how many of them damaged.
fn serve(data: &Path, originals: Originals) -> (u64, u64) {
    let store = takeover::open(&options(data), originals).expect("opens");
    store.finish_takeover();
    store.close();
    let progress = store.progress();
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    assert_eq!(read(&progress.blocks_pending), 0);
    (read(&progress.blocks_converted), read(&progress.blocks_damaged))
}

#[test]
fn a_directory_of_prometheus_is_taken_over_and_goes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    prometheus(&data);
    assert_eq!(nature(&data).expect("knows"), Nature::Prometheus);
    let expect = dump(&data);
    assert_eq!(expect.iter().filter(|line| line.contains("log")).count(), 2, "the log's samples that count");
    assert!(verify(&data).expect("checks").damages.is_empty());

    serve(&data, Originals::Keep);
    assert_eq!(nature(&data).expect("knows"), Nature::Hearth);
    assert_eq!(dump(&data), expect);
    assert_eq!(dump(&data.join("prometheus")), expect, "the originals are as they were");
    let report = verify(&data).expect("checks");
    assert!(report.damages.is_empty() && report.samples > expect.len() as u64, "{report:?}");

    let exemplar = format!("log {} 1.5 {{trace=\"a\"}}", START_MS + 26 * HOUR_MS + 60_000);
    let expect_beside = (vec![exemplar], vec!["log counter s b".to_owned()]);
    assert_eq!(beside(&data), expect_beside);

    // Nothing is left to do for the next start, which finds all of it.
    assert_eq!(serve(&data, Originals::Keep), (0, 0));
    assert_eq!(dump(&data), expect);

    let out = folder.path().join("out");
    let plan = Plan { into: &out, sets: &[], range: TimeRange::ALL, block_ms: 2 * HOUR_MS, now_ms: clock() };
    let written = export(&mut Files::open(&data).expect("opens"), &plan, |_| {}).expect("exports");
    assert_eq!(written.len(), 14);
    assert!(written.iter().all(|meta| meta.min_time % (2 * HOUR_MS) == 0));
    assert_eq!(dump(&out), expect);
    assert!(verify(&out).expect("checks").damages.is_empty());

    let mut more = options(&data);
    for shards in [8, 1] {
        more.shards = Some(shards);
        let done = reshard(&more).expect("reshards");
        assert_eq!((done.to, done.block_samples + done.head_samples), (shards, expect.len() as u64));
        assert_eq!(dump(&data), expect, "{shards} shards");
        assert_eq!((done.exemplars, done.metrics, beside(&data)), (1, 1, expect_beside.clone()));
        assert!(reshard(&more).expect_err("nothing to do").to_string().contains("already"));
        std::fs::remove_dir_all(data.join("before-reshard")).expect("what was set aside");
    }
}

#[test]
fn a_takeover_goes_on_where_it_was_interrupted() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    prometheus(&data);
    let expect = dump(&data);
    // Stopped as soon as it serves: whatever is done by then counts, and is not done again.
    for _ in 0..3 {
        takeover::open(&options(&data), Originals::Remove).expect("opens").close();
    }
    serve(&data, Originals::Remove);
    // As if the last block had been converted, and the crash had come before that was noted.
    std::fs::remove_file(data.join("prometheus/hearth.converted")).expect("the list");
    block(&data.join("prometheus"), 1, START_MS, START_MS + 18 * HOUR_MS);
    serve(&data, Originals::Remove);
    assert_eq!(dump(&data), expect, "each sample is there once");
    assert!(!data.join("prometheus").join(Ulid(1).to_string()).exists());
    assert!(data.join("prometheus/wal").exists());
}

/// A block that cannot be opened before somebody writes into this.
fn in_the_way(path: &Path) {
    std::fs::remove_file(path).expect("removes");
    assert!(std::process::Command::new("mkfifo").arg(path).status().expect("runs").success());
}

#[test]
fn what_is_still_to_come_is_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    prometheus(&data);
    let expect = dump(&data);
    let index = data.join(Ulid(2).to_string()).join("index");
    let whole = std::fs::read(&index).expect("reads");
    in_the_way(&index);
    let newer = TimeRange::new(START_MS + 18 * HOUR_MS, START_MS + 26 * HOUR_MS - 1);
    let missing = |min_ms, why| Missing { range: TimeRange::new(min_ms, newer.max_ms), why };

    // The newest comes first, and waits.
    let store = takeover::open(&options(&data), Originals::Keep).expect("opens");
    let all = |missing: Vec<Missing>| Missing::needed(&missing, |_| true);
    assert_eq!(all(Scatter::missing(&store)), [missing(START_MS, Why::Awaited)]);
    let index = data.join("prometheus").join(Ulid(2).to_string()).join("index");
    drop(std::fs::File::options().write(true).open(&index).expect("somebody reads"));
    store.finish_takeover();
    assert_eq!(all(Scatter::missing(&store)), [missing(newer.min_ms, Why::Unreadable)]);
    store.close();
    drop(store);

    // Past the retention nothing is missed, as it is now.
    let mut short = options(&data);
    short.keeping.retention = std::time::Duration::from_secs(3 * 3_600);
    let store = takeover::open(&short, Originals::Keep).expect("opens");
    assert_eq!(Scatter::missing(&store), []);
    store.keep(options(&data).keeping);
    assert_eq!(all(Scatter::missing(&store)), [missing(newer.min_ms, Why::Awaited)]);
    store.keep(short.keeping);
    assert_eq!(Scatter::missing(&store), []);
    drop(std::fs::File::options().write(true).open(&index).expect("somebody reads"));
    store.close();
    drop(store);

    std::fs::remove_file(&index).expect("removes");
    std::fs::write(&index, whole).expect("writes");
    let store = takeover::open(&options(&data), Originals::Keep).expect("opens");
    store.finish_takeover();
    assert_eq!(Scatter::missing(&store), []);
    store.close();
    drop(store);
    assert_eq!(dump(&data), expect);
}

/// A block was taken over by the retention of the start, whatever a reload said since: all of it was left out then.
#[test]
fn the_retention_that_counts_is_that_of_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    prometheus(&data);
    let expect = dump(&data);
    let index = data.join(Ulid(2).to_string()).join("index");
    let whole = std::fs::read(&index).expect("reads");
    in_the_way(&index);
    let mut short = options(&data);
    short.keeping.retention = std::time::Duration::from_secs(3 * 3_600);
    let store = takeover::open(&short, Originals::Keep).expect("opens");
    // The newest comes first, and waits.
    store.keep(options(&data).keeping);
    let index = data.join("prometheus").join(Ulid(2).to_string()).join("index");
    drop(std::fs::File::options().write(true).open(&index).expect("somebody reads"));
    store.finish_takeover();
    store.close();
    drop(store);
    std::fs::remove_file(&index).expect("removes");
    std::fs::write(&index, whole).expect("writes");
    serve(&data, Originals::Keep);
    assert_eq!(dump(&data), expect);
}

#[test]
fn a_block_that_comes_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, staging) = (folder.path().join("data"), folder.path().join("staging"));
    let often = std::time::Duration::from_millis(10);
    let store = takeover::open(&Options { arrivals_interval: often, ..options(&data) }, Originals::Keep);
    let store = store.expect("opens");
    store.finish_takeover();
    let progress = store.progress();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    // Into the data directory; into the folder of those that were there; over both of them.
    let aside = data.join("prometheus");
    for (number, hours, to) in [(1, (4, 6), &data), (2, (6, 8), &aside), (3, (5, 7), &data)] {
        block(&staging, number, START_MS + hours.0 * HOUR_MS, START_MS + hours.1 * HOUR_MS);
        std::fs::create_dir_all(to).expect("makes");
        let name = Ulid(number).to_string();
        std::fs::rename(staging.join(&name), to.join(&name)).expect("moves");
        while progress.blocks_converted.load(Ordering::Relaxed) < number as u64 {
            assert!(std::time::Instant::now() < end, "block {number} does not come");
            std::thread::yield_now();
        }
        assert!(aside.join(&name).exists());
    }
    assert_eq!(Scatter::missing(&store), []);
    store.close();
    drop(store);
    block(&staging, 4, START_MS + 4 * HOUR_MS, START_MS + 8 * HOUR_MS);
    assert_eq!(dump(&data), dump(&staging));
    // The next start knows them.
    assert_eq!(serve(&data, Originals::Keep), (0, 0));
}

#[test]
fn a_running_prometheus_keeps_its_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    prometheus(&data);
    let lock = std::fs::File::open(data.join("lock")).expect("the lock");
    lock.try_lock().expect("locks");
    let error = takeover::open(&options(&data), Originals::Keep).err().expect("it is in use").to_string();
    assert!(error.contains("another server uses"), "{error}");
    drop(lock);
    takeover::open(&options(&data), Originals::Keep).expect("opens").close();
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    prometheus(&data);
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).expect("reads");
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
        std::fs::write(path, bytes).expect("writes");
    };
    let chunks = data.join(Ulid(1).to_string()).join("chunks/000001");
    flip(&chunks);
    let report = verify(&data).expect("checks");
    assert!(report.damages.iter().any(|d| d.path == chunks && d.offset.is_some()), "{report:?}");
    // The rest of the block is taken over; what is lost is counted, and the original stays.
    assert_eq!(serve(&data, Originals::Remove), (2, 1));
    assert!(data.join("prometheus").join(Ulid(1).to_string()).exists());
    assert!(!data.join("prometheus").join(Ulid(2).to_string()).exists());

    let blocks = data.join("shard-0000/blocks");
    let block = std::fs::read_dir(&blocks).expect("lists").next().expect("a block").expect("reads").path();
    flip(&block);
    let report = verify(&data).expect("checks");
    assert!(report.damages.iter().any(|d| d.path == block), "{report:?}");
    let error = reshard(&Options { shards: Some(4), ..options(&data) }).expect_err("it is damaged");
    assert!(error.to_string().contains("would be lost"), "{error}");
}

/// Samples in any order, again and again.
struct Listed(Vec<(Labels, i64, f64)>);

impl Source for Listed {
    fn each(
        &mut self,
        sink: &mut dyn FnMut(&Labels, i64, f64) -> Result<(), MovingError>,
    ) -> Result<(), MovingError> {
        self.0.iter().try_for_each(|(labels, time, value)| sink(labels, *time, *value))
    }
}

#[test]
fn samples_of_any_time_are_filled_in() {
    let directory = tempfile::tempdir().expect("a temporary folder");
    let path = directory.path().join("data");
    let mut all = Vec::new();
    for series in [0, 1, 2, 4] {
        let samples = samples(series, START_MS - 50 * HOUR_MS, START_MS - 47 * HOUR_MS);
        let floats = samples.times.iter().zip(&samples.values);
        all.extend(floats.map(|(time, value)| (labels(series), *time, *value)));
    }
    all.push((labels(7), START_MS - 9_000 * HOUR_MS, -0.0));
    fastrand::Rng::with_seed(1).shuffle(&mut all);
    let done = backfill(&options(&path), &mut Listed(all.clone())).expect("filled");
    assert_eq!(done.samples, all.len() as u64);
    assert_eq!(done.min_ms, START_MS - 9_000 * HOUR_MS);
    let first = dump(&path);
    assert_eq!(first.len(), all.len());
    // What is there already and comes again is there once; what is new stands beside it.
    all.push((labels(0), START_MS - 49 * HOUR_MS + 1, 7.0));
    backfill(&options(&path), &mut Listed(all)).expect("filled");
    let second = dump(&path);
    assert_eq!(second.len(), first.len() + 1);
    assert!(first.iter().all(|line| second.contains(line)));
    let told = |samples: Vec<(Labels, i64, f64)>| {
        backfill(&options(&path), &mut Listed(samples)).expect_err("refused").to_string()
    };
    assert_eq!(told(Vec::new()), "there is no sample");
    let twice = vec![(labels(0), 5, 1.0), (labels(0), 5, 2.0)];
    assert!(told(twice).contains("1 and 2 at the same time 5"));
    assert_eq!(dump(&path), second);
    assert!(verify(&path).expect("is checked").damages.is_empty());
}
