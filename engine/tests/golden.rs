//! Data directories of other versions: one that an earlier version wrote reads as it did, and one of a later version is
//! refused by name and left alone.
//!
//! Each of `golden/` is a directory with every kind of file, one a line: its name, then its bytes in hexadecimal.
//! `format_2.txt` has blocks of version 1, each later one of the next version. `HEARTH_GOLDEN=write` makes the newest anew: for a
//! change of format keep the old ones beside the new.

use futures_executor::block_on;
use hearth_engine::moving::list::analyzed;
use hearth_engine::moving::verify::verify;
use hearth_engine::{Handle, IoChoice, Keeping, OpenError, Options, open};
use hearth_model::metadata::{MetricKind, MetricMetadata};
use hearth_model::store::{Admin, Catalogue, Columns, Projection, Select, SeriesCursor, ShardView};
use hearth_model::{Ack, Append, Labels, Matcher, QueryContext, Sample, Scatter, TimeRange, WriteBatch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SERIES: usize = 5;
/// Page of a block's body, and the end of its file.
const PAGE_BYTES: usize = 16 << 10;
const FOOTER_BYTES: usize = 28;

const KEPT: [&str; 3] = ["tests/golden/format_2.txt", "tests/golden/format_3.txt", NEWEST];
const NEWEST: &str = "tests/golden/format_4.txt";

/// The files of a directory that is kept.
fn kept(golden: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let text = std::fs::read_to_string(golden).expect("the golden file is there");
    let byte = |hex: &[u8]| {
        let hex = std::str::from_utf8(hex).expect("ASCII");
        u8::from_str_radix(hex, 16).expect("hexadecimal")
    };
    let line = |line: &str| {
        let (name, hex) = line.split_once(' ').expect("a name and bytes");
        (PathBuf::from(name), hex.as_bytes().chunks(2).map(byte).collect())
    };
    text.lines().map(line).collect()
}

fn keep(files: &BTreeMap<PathBuf, Vec<u8>>) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text: String =
        files.iter().map(|(name, bytes)| format!("{} {}\n", name.display(), hex(bytes))).collect();
    std::fs::write(NEWEST, text).expect("writes");
}

fn options(path: &Path) -> Options {
    let keeping = Keeping { out_of_order_window: Duration::from_secs(50), ..Keeping::default() };
    Options {
        shards: Some(2),
        io: IoChoice::Threads,
        block_range: Duration::from_secs(100),
        checkpoint_bytes: 600,
        keeping,
        clock: || 2_000_000,
        ..Options::new(path)
    }
}

fn labels(series: usize) -> Labels {
    Labels::from_pairs([("__name__", "metric".to_owned()), ("instance", format!("host-{series}"))])
}

fn value(series: usize, second: i64) -> f64 {
    (second * 10 + series as i64) as f64 / 4.0
}

fn write(handle: &Handle, seconds: std::ops::Range<i64>) {
    let mut batch = WriteBatch::default();
    for series in 0..SERIES {
        let of = |second: i64| Sample { timestamp_ms: second * 1000, value: value(series, second) };
        batch.push(&labels(series), &seconds.clone().map(of).collect::<Vec<_>>());
    }
    let help = format!("Said at {}.", seconds.start).into();
    let said = MetricMetadata { name: "metric".into(), kind: MetricKind::Gauge, unit: "s".into(), help };
    batch.metadata.push(said);
    block_on(handle.append(batch, Ack::Synced)).expect("appends");
}

const WRITTEN: [(i64, i64); 7] =
    [(0, 12), (60, 72), (120, 132), (180, 192), (240, 252), (300, 312), (340, 352)];

fn make(path: &Path) {
    let handle = open(&options(path)).expect("opens");
    for (from, to) in WRITTEN {
        write(&handle, from..to);
        assert_eq!(block_on(handle.tend()), Ok(true));
    }
    for (series, range) in [(1, TimeRange::new(62_000, 65_000)), (2, TimeRange::new(300_000, 305_000))] {
        let matcher = Matcher::equal("instance", format!("host-{series}"));
        block_on(handle.delete_series(vec![Arc::from(vec![matcher])], range)).expect("deletes");
    }
    write(&handle, 360..364);
    handle.close();
}

/// What [`make`] leaves.
fn expected() -> BTreeMap<(String, i64), u64> {
    let mut all = BTreeMap::new();
    for (from, to) in WRITTEN.into_iter().chain([(360, 364)]) {
        for (series, second) in (from..to).flat_map(|second| (0..SERIES).map(move |s| (s, second))) {
            let gone =
                series == 1 && (62..=65).contains(&second) || series == 2 && (300..=305).contains(&second);
            if !gone {
                all.insert((labels(series).to_string(), second * 1000), value(series, second).to_bits());
            }
        }
    }
    all
}

fn read(handle: &Handle) -> BTreeMap<(String, i64), u64> {
    let parts = block_on(handle.scatter(QueryContext::unlimited(), |view| async move {
        let select = Select { matchers: Arc::new([]), range: TimeRange::ALL, projection: Projection::All };
        let mut cursor = view.select(select).await?;
        let (mut columns, mut out) = (Columns::default(), Vec::new());
        while cursor.next(&mut columns).await? {
            let name = cursor.group_labels(columns.group).to_string();
            let samples = columns.times.iter().zip(&columns.values);
            out.extend(samples.map(|(time, value)| ((name.clone(), *time), value.to_bits())));
        }
        Ok(out)
    }));
    parts.expect("reads").into_iter().flatten().collect()
}

fn files(root: &Path, below: &Path, out: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(root.join(below)).expect("lists") {
        let entry = entry.expect("lists");
        let name = below.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            files(root, &name, out);
        } else {
            out.insert(name.clone(), std::fs::read(root.join(&name)).expect("reads"));
        }
    }
}

fn all_files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    files(root, Path::new(""), &mut out);
    out
}

fn copy(files: &BTreeMap<PathBuf, Vec<u8>>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    for (name, bytes) in files {
        let to = directory.path().join(name);
        std::fs::create_dir_all(to.parent().expect("has a parent")).expect("makes directories");
        std::fs::write(to, bytes).expect("writes");
    }
    directory
}

#[test]
fn an_earlier_directory_reads_as_it_did() {
    if std::env::var_os("HEARTH_GOLDEN").is_some() {
        let fresh = tempfile::tempdir().expect("temporary directory");
        make(fresh.path());
        keep(&all_files(fresh.path()));
    }
    for golden in KEPT {
        let directory = copy(&kept(golden));
        for _ in 0..2 {
            let handle = open(&options(directory.path())).expect("opens");
            assert_eq!(read(&handle), expected(), "{golden}");
            let said = block_on(handle.metadata(QueryContext::unlimited(), None)).expect("reads");
            assert_eq!(said.iter().map(|m| &*m.help).collect::<Vec<_>>(), ["Said at 360."]);
            handle.close();
        }
        assert_eq!(verify(directory.path()).expect("checks").damages, []);
    }
    // And what is written today reads as what was written then.
    let fresh = tempfile::tempdir().expect("temporary directory");
    make(fresh.path());
    let handle = open(&options(fresh.path())).expect("opens");
    assert_eq!(read(&handle), expected());
    handle.close();
}

#[test]
fn sections_are_all_that_blocks_have() {
    for golden in KEPT {
        let (files, mut series) = (kept(golden), 0);
        let blocks = files.iter().filter(|(name, _)| name.extension().is_some_and(|kind| kind == "block"));
        let len_bytes: usize = blocks.map(|(_, bytes)| bytes.len()).sum();
        let directory = copy(&files);
        let found = analyzed(directory.path(), None, &[], |_, _| series += 1).expect("reads");
        assert_eq!((series, found.damages), (SERIES, Vec::new()));
        assert_eq!(found.sections.iter().map(|(_, bytes)| *bytes).sum::<u64>(), len_bytes as u64);
        assert!(found.sections.iter().any(|(name, bytes)| *name == "chunks" && *bytes > 0));
        assert!(found.samples_in_blocks > 0);
    }
}

fn put_crc(bytes: &mut [u8], from: usize, to: usize) {
    let crc = crc32c::crc32c(&bytes[from..to]).to_le_bytes();
    bytes[to..to + 4].copy_from_slice(&crc);
}

/// The file as a later version would write it, but for what that changes.
fn of_later_version(name: &Path, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let later = 77u32.to_le_bytes();
    let length = bytes.len();
    match name.extension()?.to_str()? {
        "segment" | "checkpoint" => {
            bytes[8..12].copy_from_slice(&later);
            put_crc(&mut bytes, 0, 36);
        }
        "block" => {
            let footer = length - FOOTER_BYTES;
            let directory = u64::from_le_bytes(bytes[footer..footer + 8].try_into().ok()?) as usize;
            let body = directory - directory.div_ceil(PAGE_BYTES + 4) * 4;
            bytes[footer + 12..footer + 16].copy_from_slice(&later);
            put_crc(&mut bytes, body, length - 4);
        }
        "tombstones" => {
            bytes[8..12].copy_from_slice(&later);
            put_crc(&mut bytes, 0, length - 4);
        }
        _ => return None,
    }
    Some(bytes)
}

#[test]
fn a_later_directory_is_refused_and_left_alone() {
    let whole = kept(NEWEST);
    let mut kinds = BTreeMap::<String, usize>::new();
    for (name, bytes) in &whole {
        let Some(later) = of_later_version(name, bytes) else { continue };
        let mut files = whole.clone();
        files.insert(name.clone(), later);
        // Of checkpoints the newest one counts, and the segments since then.
        let kind = name.extension().expect("has one").to_string_lossy().into_owned();
        let directory = copy(&files);
        match open(&options(directory.path())) {
            Err(error @ OpenError::LaterVersion { .. }) => {
                let text = error.to_string();
                assert!(text.contains(&name.display().to_string()) && text.contains("77"), "{text}");
                *kinds.entry(kind).or_default() += 1;
            }
            Err(error) => panic!("{}: {error}", name.display()),
            Ok(handle) => {
                assert!(["segment", "checkpoint"].contains(&kind.as_str()), "{} is read", name.display());
                assert_eq!(read(&handle), expected());
                handle.close();
                continue;
            }
        }
        assert_eq!(all_files(directory.path()), files, "{} has changed something", name.display());
    }
    assert_eq!(
        kinds.keys().collect::<Vec<_>>(),
        ["block", "checkpoint", "segment", "tombstones"],
        "{kinds:?}"
    );
}
