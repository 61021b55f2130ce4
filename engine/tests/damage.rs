//! A whole data directory under a bad medium: each byte of each file changed, each file cut off and each file gone,
//! one at a time. A start is never refused for it, no value is ever wrong, nothing panics, and what is missing is known.
//!
//! A run takes some bytes of chance, whose seed it prints; with `HEARTH_LONG` set it takes every byte.
//! `HEARTH_DAMAGE_SEED` repeats the chance of another run.

use futures_executor::block_on;
use hearth_engine::{Handle, IoChoice, Keeping, Options, open};
use hearth_model::batch::Exemplar;
use hearth_model::key::key_of;
use hearth_model::missing::{Missing, Why};
use hearth_model::store::{Admin, Catalogue, Columns, Projection, Select, SeriesCursor, ShardView};
use hearth_model::{
    Ack, Append, Histogram, Labels, Matcher, QueryContext, Sample, Scatter, StoreError, TimeRange, WriteBatch,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Changed bytes of a run that is not long.
const BYTES: usize = 250;
const SERIES: usize = 6;

/// A reader is told what a damaged block kept from it: once it has read, and whoever comes later at once.
#[test]
fn what_a_damaged_block_does_not_give_is_known_to_readers() {
    let directory = place();
    let handle = open(&options(directory.path())).expect("opens");
    for seconds in [0..12, 240..252] {
        write(&handle, seconds);
        assert_eq!(block_on(handle.tend()), Ok(true));
    }
    let names = |handle: &Handle, range| {
        let read = handle.label_values(QueryContext::unlimited(), "instance".into(), vec![], range, 0);
        block_on(read).expect("reads").0
    };
    let whole = names(&handle, TimeRange::new(0, 20_000));
    handle.close();
    drop(handle);
    // Which shard has which series is chance, but one has some.
    let of_shard = |shard| {
        let listed = std::fs::read_dir(directory.path().join(format!("shard-000{shard}/blocks")));
        listed.ok()?.map(|entry| entry.expect("reads").path()).min()
    };
    let first = (0..2).find_map(of_shard).expect("there is a block");
    let mut bytes = std::fs::read(&first).expect("reads");
    bytes[20] ^= 1;
    std::fs::write(&first, bytes).expect("writes");

    let handle = open(&options(directory.path())).expect("opens");
    assert_eq!(Scatter::missing(&handle), []);
    // Who does not look there meets nothing.
    names(&handle, TimeRange::new(240_000, 260_000));
    assert_eq!(Scatter::missing(&handle), []);
    let found = names(&handle, TimeRange::new(0, 20_000));
    assert!(found.len() < whole.len() && found.iter().all(|name| whole.contains(name)), "{found:?}");
    let missing = Scatter::missing(&handle);
    let [Missing { range, why: Why::Damaged }] = missing[..] else { panic!("{missing:?}") };
    assert!(TimeRange::new(0, 20_000).contains(range.min_ms) && range.max_ms < 100_000, "{range:?}");
    handle.close();
}

/// In memory where there is such a place: every start brings much to stable storage.
fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("temporary directory")
}

fn options(path: &Path) -> Options {
    let keeping =
        Keeping { out_of_order_window: Duration::from_secs(50), max_exemplars: 100, ..Keeping::default() };
    Options {
        shards: Some(2),
        io: IoChoice::Threads,
        block_range: Duration::from_secs(100),
        checkpoint_bytes: 600,
        segment_size_bytes: 1_000,
        keeping,
        clock: || 2_000_000,
        ..Options::new(path)
    }
}

fn labels(series: usize) -> Labels {
    Labels::from_pairs([("__name__", "metric".to_owned()), ("instance", format!("host-{series}"))])
}

/// A value that no other series or time has.
fn value(series: usize, second: i64) -> f64 {
    (second * 1000 + series as i64) as f64 / 7.0
}

fn write(handle: &Handle, seconds: std::ops::Range<i64>) {
    let mut batch = WriteBatch::default();
    for series in 0..SERIES {
        let of = |second: i64| Sample { timestamp_ms: second * 1000, value: value(series, second) };
        batch.push(&labels(series), &seconds.clone().map(of).collect::<Vec<_>>());
        let trace = Labels::from_pairs([("trace_id", format!("{series}-{}", seconds.start))]);
        batch.push_exemplar(Exemplar { labels: trace, timestamp_ms: seconds.start * 1000, value: 1.5 });
    }
    let histogram = Histogram { count: value(SERIES, seconds.start), ..Histogram::stale() };
    batch.push_histograms(&key_of(&labels(SERIES)), [(seconds.start * 1000, histogram)]);
    let outcome = block_on(handle.append(batch, Ack::Synced)).expect("appends").outcome;
    assert_eq!(outcome.refused, []);
}

/// Series and time of each sample with the bits of its value, and the trace of each exemplar.
#[derive(Debug, Default, PartialEq)]
struct Found {
    samples: BTreeMap<(String, i64), u64>,
    traces: BTreeSet<String>,
}

fn read(handle: &Handle) -> Found {
    try_read(handle).expect("reads")
}

fn try_read(handle: &Handle) -> Result<Found, StoreError> {
    let parts = block_on(handle.scatter(QueryContext::unlimited(), |view| async move {
        let select = Select { matchers: Arc::new([]), range: TimeRange::ALL, projection: Projection::All };
        let mut cursor = view.select(select).await?;
        let (mut columns, mut out) = (Columns::default(), Vec::new());
        while cursor.next(&mut columns).await? {
            let name = cursor.group_labels(columns.group).to_string();
            let floats = columns.times.iter().zip(&columns.values).map(|(t, v)| (*t, v.to_bits()));
            let histograms = columns.histograms.iter().map(|(t, h)| (*t, h.count.to_bits()));
            out.extend(floats.chain(histograms).map(|(time, bits)| ((name.clone(), time), bits)));
        }
        Ok(out)
    }));
    let mut found = Found::default();
    for (at, bits) in parts?.into_iter().flatten() {
        assert_eq!(found.samples.insert(at.clone(), bits), None, "{at:?} is there twice");
    }
    let sets = vec![Arc::from(vec![Matcher::equal("__name__", "metric")])];
    let exemplars = handle.exemplars(QueryContext::unlimited(), sets, TimeRange::ALL);
    let exemplars = block_on(exemplars)?;
    found.traces.extend(exemplars.into_iter().flat_map(|s| s.exemplars).map(|e| e.labels.to_string()));
    Ok(found)
}

/// Damage that the store tells of.
fn known_damage(handle: &Handle) -> u64 {
    let figures = block_on(handle.figures()).expect("figures");
    figures.wal_corruptions + figures.blocks_set_aside + figures.block_damages
}

/// A segment that is no longer holds no frame.
const SEGMENT_HEADER_BYTES: u64 = 64;

/// A directory with every kind of file, what it holds, and what was deleted from it.
struct Whole {
    directory: tempfile::TempDir,
    held: Found,
    deleted: Found,
    files: Vec<PathBuf>,
}

impl Whole {
    fn make() -> Whole {
        let directory = place();
        let path = directory.path().join("data");
        let handle = open(&options(&path)).expect("opens");
        for at in [0, 60, 120, 180, 240, 300, 340, 380] {
            write(&handle, at..at + 12);
            assert_eq!(block_on(handle.tend()), Ok(true));
        }
        let before = read(&handle);
        for (series, range) in [(1, (62_000, 65_000)), (2, (240_000, 390_000)), (4, (0, 1_000))] {
            let matcher = Matcher::equal("instance", format!("host-{series}"));
            let range = TimeRange::new(range.0, range.1);
            block_on(handle.delete_series(vec![Arc::from(vec![matcher])], range)).expect("deletes");
        }
        write(&handle, 400..404);
        let held = read(&handle);
        handle.close();
        let gone = |at: &(String, i64)| !held.samples.contains_key(at);
        let samples: BTreeMap<_, _> = before.samples.into_iter().filter(|(at, _)| gone(at)).collect();
        let deleted = Found { samples, traces: before.traces.difference(&held.traces).cloned().collect() };
        assert!(
            deleted.samples.len() > 10
                && deleted.traces.len() > 1
                && held.samples.len() > 300
                && held.traces.len() > 5
        );
        let mut files = Vec::new();
        list(&path, Path::new(""), &mut files);
        for kind in ["identity", "identity-copy", "lock", "segment", "checkpoint", "block", "tombstones"] {
            assert!(files.iter().any(|f| is_kind(f, kind)), "no {kind} in {files:?}");
        }
        Whole { directory, held, deleted, files }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// For whoever looks at a failure.
    fn sizes(&self) -> Vec<(&Path, u64)> {
        let length = |f: &PathBuf| std::fs::metadata(self.path().join(f)).map_or(0, |meta| meta.len());
        self.files.iter().map(|f| (f.as_path(), length(f))).collect()
    }

    /// A copy, with one file changed.
    fn changed(&self, file: &Path, change: &Change) -> tempfile::TempDir {
        let copy = place();
        for name in &self.files {
            let to = copy.path().join(name);
            std::fs::create_dir_all(to.parent().expect("has a parent")).expect("makes directories");
            let mut bytes = std::fs::read(self.path().join(name)).expect("reads");
            if name == file {
                match change {
                    Change::Byte(at) => bytes[*at] ^= 0x41,
                    Change::Cut(length) => bytes.truncate(*length),
                    Change::Gone => continue,
                }
            }
            std::fs::write(&to, bytes).expect("writes");
        }
        copy
    }

    /// Starts on a directory with that change, and looks at all there is.
    fn check(&self, file: &Path, change: Change) {
        let copy = self.changed(file, &change);
        let what = format!("{} {change:?}", file.display());
        let handle = open(&options(copy.path())).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = read(&handle);
        let known = known_damage(&handle) > 0;
        // A deletion is lost with the frame of the log that held it, and with its block's tombstones. Nothing tells of
        // a file that somebody took away, nor of what a shard's newest segment had behind the place where it was cut: a
        // log that ends there looks the same.
        let has_frames = |f: &&PathBuf| {
            f.parent() == file.parent()
                && std::fs::metadata(self.path().join(f)).is_ok_and(|meta| meta.len() > SEGMENT_HEADER_BYTES)
        };
        let newest = self.files.iter().filter(has_frames).max().is_none_or(|newest| newest.as_path() <= file);
        let cut_short = matches!(change, Change::Cut(_)) && is_kind(file, "segment") && newest;
        let unknown = change == Change::Gone || cut_short;
        let forgets = (known || unknown) && is_kind(file, "segment")
            || known && is_kind(file, "checkpoint")
            || is_kind(file, "tombstones") && change == Change::Gone;
        for (sample, bits) in &found.samples {
            let expect =
                self.held.samples.get(sample).or(self.deleted.samples.get(sample).filter(|_| forgets));
            assert_eq!(expect, Some(bits), "{what}: {sample:?}");
        }
        let is_known =
            |t: &String| self.held.traces.contains(t) || forgets && self.deleted.traces.contains(t);
        assert!(found.traces.iter().all(is_known), "{what}: {:?}", found.traces);
        let missing = self.held.samples.keys().any(|sample| !found.samples.contains_key(sample));
        assert!(!missing || known || unknown, "{what}: loss unknown, files {:?}", self.sizes());
        // It serves: what comes now is taken.
        write(&handle, 500..501);
        assert!(read(&handle).samples.len() > found.samples.len(), "{what}: takes nothing");
        handle.close();
    }
}

#[derive(Debug, PartialEq)]
enum Change {
    Byte(usize),
    /// To this length.
    Cut(usize),
    Gone,
}

fn is_kind(file: &Path, kind: &str) -> bool {
    file.extension().is_some_and(|extension| extension == kind)
}

fn list(root: &Path, below: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root.join(below)).expect("lists") {
        let entry = entry.expect("lists");
        let name = below.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            list(root, &name, files);
        } else {
            files.push(name);
        }
    }
    files.sort();
}

fn is_long() -> bool {
    std::env::var_os("HEARTH_LONG").is_some()
}

#[test]
fn no_byte_of_a_directory_can_do_harm() {
    let whole = Whole::make();
    let length =
        |file: &PathBuf| std::fs::metadata(whole.path().join(file)).expect("is there").len() as usize;
    let all: Vec<(&PathBuf, usize)> =
        whole.files.iter().flat_map(|file| (0..length(file)).map(move |at| (file, at))).collect();
    let chosen = std::env::var("HEARTH_DAMAGE_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = chosen.unwrap_or_else(|| fastrand::u64(..));
    println!("HEARTH_DAMAGE_SEED={seed}: {} bytes in {} files", all.len(), whole.files.len());
    let mut rng = fastrand::Rng::with_seed(seed);
    let bytes = if is_long() { all } else { rng.choose_multiple(all, BYTES) };
    for (file, at) in bytes {
        whole.check(file, Change::Byte(at));
    }
}

#[test]
fn a_file_that_is_short_or_gone_is_no_end() {
    let whole = Whole::make();
    for file in &whole.files {
        whole.check(file, Change::Gone);
        let length = std::fs::metadata(whole.path().join(file)).expect("is there").len() as usize;
        let mut cuts: Vec<usize> = if is_long() {
            (0..length).step_by(7).collect()
        } else {
            vec![0, 1, 39, 60, length / 2, length.saturating_sub(1)]
        };
        cuts.retain(|cut| *cut < length);
        cuts.dedup();
        for cut in cuts {
            whole.check(file, Change::Cut(cut));
        }
    }
}

/// Blocks are mapped into memory. Where somebody cuts one, or its medium fails after it was read, touching it used to end
/// the process.
#[test]
fn a_block_that_goes_while_it_is_served_is_no_end() {
    let whole = Whole::make();
    let copy = whole.changed(Path::new(""), &Change::Gone);
    let handle = open(&options(copy.path())).expect("opens");
    assert_eq!(read(&handle), whole.held);
    let mut blocks: Vec<&PathBuf> = whole.files.iter().filter(|file| is_kind(file, "block")).collect();
    blocks.sort();
    for (number, block) in blocks.iter().enumerate() {
        let file = std::fs::File::options().write(true).open(copy.path().join(block)).expect("is there");
        file.set_len(0).expect("cuts");
        // Who is reading when it goes may fail, and then not again.
        let found = try_read(&handle).or_else(|_| try_read(&handle)).expect("reads");
        for (sample, bits) in &found.samples {
            assert_eq!(whole.held.samples.get(sample), Some(bits), "{sample:?} without {}", block.display());
        }
        assert!(
            found.samples.len() < whole.held.samples.len(),
            "nothing is missing without {}",
            block.display()
        );
        assert!(known_damage(&handle) > number as u64, "loss of {} unknown", block.display());
        assert_eq!(found.traces, whole.held.traces);
    }
    write(&handle, 500..501);
    assert!(!read(&handle).samples.is_empty());
    handle.close();
}
