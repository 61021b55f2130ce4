//! Blocks written and read back, whole and with every byte changed.

use super::file::{BlockError, Damage, Directory, Section};
use super::rows::known_hash;
use super::writer::{BlockWriter, SortedSymbols};
use super::{Block, Buffers};
use crate::chunk::columns::FloatColumns;
use crate::chunk::histogram::Timed;
use crate::disk::Disk;
use crate::disk::simulated::SimulatedDisk;
use crate::index;
use crate::pace::Pace;
use futures_executor::block_on;
use hearth_kernels::codec::Effort;
use hearth_model::{Histogram, MatchOp, Matcher, TimeRange};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Never waits.
#[derive(Clone)]
pub struct AtOnce;

impl Pace for AtOnce {
    async fn pause(&self) {}
}

const PATH: &str = "block";
const SERIES: u32 = 100;
/// Has so many samples that the block has several pages.
const NOISE: u32 = 7;
/// Its values are coded by frequency.
const SKEWED: u32 = 20;

fn samples(series: u32) -> Vec<(i64, f64)> {
    let count = match series {
        NOISE => 3000,
        SKEWED => 500,
        _ => i64::from(series % 5 + 1),
    };
    let value = |i: i64| match series {
        NOISE => ((i * 2_654_435_761) % 1_000_003) as f64 / 7.0,
        // Every eighth is large, in no order.
        SKEWED => (i * 2_654_435_761 % 1_000_003).trailing_zeros().pow(3).into(),
        _ => i as f64 * 0.1,
    };
    (0..count).map(|i| (i * 1000, value(i) + f64::from(series))).collect()
}

fn labels(series: u32) -> [(&'static str, String); 3] {
    [
        ("__name__", format!("metric_{}", series / 50)),
        ("instance", format!("{series:03}")),
        ("job", format!("{}", series % 2)),
    ]
}

fn hash(series: u32) -> u128 {
    (u128::from(series) << 110) | (u128::from(series) * 0x1_0000_0001)
}

fn write(disk: &SimulatedDisk) -> Directory {
    write_with(disk, Effort::Small)
}

fn write_with(disk: &SimulatedDisk, effort: Effort) -> Directory {
    let mut texts: Vec<String> = (0..SERIES).flat_map(|s| labels(s).map(|(_, v)| v)).collect();
    texts.extend(["__name__", "instance", "job"].map(String::from));
    texts.sort();
    texts.dedup();
    let (mut symbols, mut ranks) = (SortedSymbols::default(), BTreeMap::new());
    for text in &texts {
        ranks.insert(text.clone(), symbols.push(text));
    }
    let directory = Directory { shard: 1, number: 2, seed: 3, sources: vec![1], ..Directory::default() };
    let mut writer = BlockWriter::create(disk, Path::new(PATH), directory, symbols, effort).expect("creates");
    for series in 0..SERIES {
        let (times, values): (Vec<i64>, Vec<f64>) = samples(series).into_iter().unzip();
        writer.push_floats(&times, &values);
        if series == 9 {
            writer.push_histograms(&[(77, Arc::new(Histogram::stale()))]);
        }
        let pairs: Vec<u32> = labels(series).iter().flat_map(|(n, v)| [ranks[*n], ranks[v]]).collect();
        block_on(writer.end_series(hash(series), &pairs)).expect("writes");
    }
    block_on(writer.finish(&AtOnce)).expect("finishes")
}

fn open(disk: &SimulatedDisk) -> Result<Block, BlockError> {
    Block::open(disk.map(Path::new(PATH)).expect("maps"), 1, 2, 3)
}

/// What a reader finds for a series: its labels, samples and histograms, or nothing.
type Found = (String, Vec<(i64, f64)>, Vec<Timed>);

fn read(block: &Block, series: u32) -> Result<Found, Damage> {
    let (mut pairs, mut buffers) = (Vec::new(), Buffers::default());
    block.pairs(series, &mut pairs)?;
    let mut text = String::new();
    for symbol in pairs {
        text += block.text(symbol)?;
        text += " ";
    }
    let (mut floats, mut histograms) = (FloatColumns::default(), Vec::new());
    block.read(series, TimeRange::ALL, &mut buffers, &mut floats, &mut histograms)?;
    Ok((text, floats.times.into_iter().zip(floats.values).collect(), histograms))
}

fn expect(series: u32) -> String {
    labels(series).iter().map(|(n, v)| format!("{n} {v} ")).collect()
}

#[test]
fn a_block_reads_back() {
    let disk = SimulatedDisk::new(1);
    let directory = write(&disk);
    let block = open(&disk).expect("opens");
    assert_eq!(block.directory(), &directory);
    assert_eq!((block.series_count(), block.range()), (SERIES, TimeRange::new(0, 2_999_000)));
    for series in (0..SERIES).rev() {
        let (text, floats, histograms) = read(&block, series).expect("reads");
        assert_eq!((text, floats), (expect(series), samples(series)));
        assert_eq!(histograms.len(), usize::from(series == 9));
        assert_eq!(block.hash(series), Ok(known_hash(hash(series))));
    }
    // With the same buffers, in order and with gaps: as one by one.
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..50 {
        let (mut buffers, mut floats, mut none) = (Buffers::default(), FloatColumns::default(), Vec::new());
        let chosen: Vec<u32> = (0..SERIES).filter(|_| random.u8(0..4) > 0).collect();
        for series in chosen {
            floats.restart();
            assert!(random.bool() || block.overlaps(series, TimeRange::ALL, &mut buffers) == Ok(true));
            block.read(series, TimeRange::ALL, &mut buffers, &mut floats, &mut none).expect("reads");
            let found: Vec<_> = floats.times.iter().copied().zip(floats.values.iter().copied()).collect();
            assert_eq!(found, samples(series));
        }
    }
    let (mut floats, mut none) = (FloatColumns::default(), Vec::new());
    let range = TimeRange::new(1_023_000, 1_025_000);
    let mut buffers = Buffers::default();
    block.read(7, range, &mut buffers, &mut floats, &mut none).expect("reads");
    assert_eq!(floats.times, [1_023_000, 1_024_000, 1_025_000]);
    assert_eq!(block.overlaps(8, range, &mut buffers), Ok(false));
    assert_eq!(block.damages(), 0);
}

/// Targets that are each scraped at times of their own: the times of each stand there once, however many metrics and
/// other targets lie between its series.
#[test]
fn many_targets_keep_their_times_once() {
    const TARGETS: u32 = 2000;
    let (disk, mut symbols) = (SimulatedDisk::new(1), SortedSymbols::default());
    let texts = ["__name__", "a", "b", "instance"].map(|text| symbols.push(text));
    let targets: Vec<u32> = (0..TARGETS).map(|target| symbols.push(&format!("target-{target:04}"))).collect();
    let directory = Directory { shard: 1, number: 2, seed: 3, ..Directory::default() };
    let mut writer =
        BlockWriter::create(&disk, Path::new(PATH), directory, symbols, Effort::Small).expect("creates");
    let times = |target: u32| -> Vec<i64> {
        (0..20).map(|i| i * 15_000 + (i * 7_919 + i64::from(target) * 104_729) % 1_000).collect()
    };
    for metric in [1, 2] {
        for target in 0..TARGETS {
            writer.push_floats(&times(target), &[f64::from(target); 20]);
            let pairs = [texts[0], texts[metric], texts[3], targets[target as usize]];
            block_on(writer.end_series(u128::from(target) * 2 + metric as u128, &pairs)).expect("writes");
        }
    }
    let directory = block_on(writer.finish(&AtOnce)).expect("finishes");
    let distinct: std::collections::BTreeSet<_> = (0..TARGETS).map(times).collect();
    assert_eq!(directory.sections[Section::SharedTimes as usize].1, distinct.len() as u64 * 32);
    let (block, mut buffers) = (open(&disk).expect("opens"), Buffers::default());
    let (mut floats, mut none) = (FloatColumns::default(), Vec::new());
    for series in 0..2 * TARGETS {
        floats.restart();
        block.read(series, TimeRange::ALL, &mut buffers, &mut floats, &mut none).expect("reads");
        assert_eq!(
            (&floats.times, floats.values[7]),
            (&times(series % TARGETS), f64::from(series % TARGETS))
        );
    }
}

#[test]
fn matchers_select_in_a_block() {
    let disk = SimulatedDisk::new(1);
    write(&disk);
    let block = open(&disk).expect("opens");
    let check = |op, name: &str, value: &str, expect: &dyn Fn(u32) -> bool| {
        let matcher = Matcher::new(op, name, value).expect("valid");
        let found = index::select(&block, &[matcher]).expect("whole");
        assert!(found.iter().eq((0..SERIES).filter(|s| expect(*s))), "{name} {value}");
    };
    check(MatchOp::Equal, "__name__", "metric_1", &|s| s >= 50);
    check(MatchOp::Equal, "instance", "042", &|s| s == 42);
    check(MatchOp::Regex, "instance", "04.", &|s| s / 10 == 4);
    check(MatchOp::NotEqual, "job", "1", &|s| s % 2 == 0);
    check(MatchOp::Equal, "absent", "", &|_| true);
    check(MatchOp::Equal, "absent", "x", &|_| false);
    let job = block.values("job").expect("whole");
    assert_eq!(job.map(|at| block.text(block.value(at)?)).collect::<Result<Vec<_>, _>>(), Ok(vec!["0", "1"]));
}

/// Whatever byte of the file changes: what is read is right or is not there, and the damage is known.
#[test]
fn small_blocks_say_what_fast_ones_do() {
    let written = |effort| {
        let disk = SimulatedDisk::new(1);
        write_with(&disk, effort);
        let block = open(&disk).expect("opens");
        // As text, in which a NaN is equal to itself.
        let text = |series| format!("{:?}", read(&block, series).expect("reads"));
        let all: Vec<String> = (0..SERIES).map(text).collect();
        (disk.read(Path::new(PATH)).expect("reads").len(), all)
    };
    let ((fast_bytes, fast), (small_bytes, small)) = (written(Effort::Fast), written(Effort::Small));
    for (series, (fast, small)) in fast.iter().zip(&small).enumerate() {
        assert!(fast == small, "series {series}");
    }
    assert!(small_bytes + 20 < fast_bytes, "{small_bytes} and {fast_bytes} bytes");
}

#[test]
fn a_changed_byte_is_never_a_wrong_value() {
    let disk = SimulatedDisk::new(1);
    write(&disk);
    let bytes = disk.read(Path::new(PATH)).expect("reads");
    assert!(bytes.len() > 16 << 10, "{} bytes: more than a page", bytes.len());
    for at in 0..bytes.len() {
        disk.corrupt(Path::new(PATH), at);
        if let Ok(block) = open(&disk) {
            let all = [Matcher::new(MatchOp::Regex, "instance", ".+").expect("valid")];
            let found = index::select(&block, &all);
            let mut missing = found.is_err();
            // Reading everything after every flip would take minutes; a sample and the flip's neighbours do.
            for series in (at as u32 % 10..SERIES).step_by(10) {
                match read(&block, series) {
                    Ok((text, floats, _)) => {
                        assert_eq!(text, expect(series));
                        let all = samples(series);
                        missing |= floats.len() < all.len();
                        assert!(floats.iter().all(|s| all.contains(s)));
                    }
                    Err(Damage) => missing = true,
                }
            }
            assert!(!missing || block.damages() > 0, "byte {at}");
        }
        disk.corrupt(Path::new(PATH), at);
    }
    for cut in (0..bytes.len()).step_by(97) {
        disk.truncate(Path::new(PATH), (bytes.len() - cut - 1) as u64).expect("cuts");
        assert!(open(&disk).is_err());
    }
}
