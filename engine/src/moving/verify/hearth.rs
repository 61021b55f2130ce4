//! Hearth's own files: identity, logs and checkpoints frame by frame, blocks page by page and chunk by chunk.

use super::Report;
use crate::block::file::{BlockError, Damage, Directory, PAGE_BYTES, Section};
use crate::block::rows::known_hash;
use crate::block::tombstones::Tombstones;
use crate::block::{Block, Buffers};
use crate::chunk::columns::FloatColumns;
use crate::disk::mapped::Mapped;
use crate::disk::names;
use crate::handle::{self, Identity};
use crate::moving::MovingError;
use crate::moving::switch::{PROMETHEUS_ASIDE, SHARDS_ASIDE, STAGING};
use crate::prometheus::directory::names as names_in;
use crate::router::Router;
use crate::wal::checkpoint::Walk;
use crate::wal::frame::{self, Next, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::wal::reader::FileReader;
use crate::wal::record::{Record, RecordReader};
use hearth_model::{Labels, TimeRange, key};
use std::path::Path;

const SECTIONS: [Section; 11] = [
    Section::Chunks,
    Section::SymbolText,
    Section::SymbolEnds,
    Section::Series,
    Section::LabelSets,
    Section::LabelGroups,
    Section::ChunkLists,
    Section::SharedTimes,
    Section::Names,
    Section::Values,
    Section::Postings,
];

pub(super) fn directory(path: &Path, report: &mut Report) -> Result<(), MovingError> {
    for name in [names::IDENTITY, names::IDENTITY_COPY] {
        let file = path.join(name);
        match handle::read_identity(&file) {
            Ok(Some(_)) => report.file(0),
            Ok(None) => report.damage(&file, None, "is missing"),
            Err(error) => report.damage(&file, None, error.to_string()),
        }
    }
    let identity = handle::stored_identity(path)?.ok_or_else(|| MovingError::NoData(path.to_owned()))?;
    let known = [
        names::IDENTITY,
        names::IDENTITY_COPY,
        names::LOCK,
        names::SNAPSHOTS,
        PROMETHEUS_ASIDE,
        SHARDS_ASIDE,
    ];
    for name in names_in(path)? {
        let shard = name.strip_prefix("shard-").and_then(|n| n.parse::<usize>().ok());
        if name == STAGING {
            report.note(
                &path.join(&name),
                None,
                "left by a move that was interrupted; the next start deals with it",
            );
        } else if shard.is_none_or(|n| n >= identity.shards) && !known.contains(&name.as_str()) {
            report.note(&path.join(&name), None, "is not known");
        }
    }
    for number in 0..identity.shards {
        let home = names::shard_directory(path, number);
        let log = Log { shard: number as u32, identity };
        log.check(&home.join(names::WAL), report)?;
        blocks(&home.join(names::BLOCKS), number as u32, identity, report)?;
        for name in names_in(&home.join(names::QUARANTINE))? {
            let file = home.join(names::QUARANTINE).join(name);
            report.damage(&file, None, "was set aside as not readable");
        }
    }
    Ok(())
}

/// Whose log is checked.
struct Log {
    shard: u32,
    identity: Identity,
}

impl Log {
    fn check(&self, directory: &Path, report: &mut Report) -> Result<(), MovingError> {
        let all = names_in(directory)?;
        let last = all.iter().filter_map(|name| names::number(name, names::SEGMENT)).max();
        for name in &all {
            let path = directory.join(name);
            if let Some(number) = names::number(name, names::CHECKPOINT) {
                self.file(&path, frame::CHECKPOINT_MAGIC, number, false, report);
            } else if let Some(number) = names::number(name, names::SEGMENT) {
                self.file(&path, frame::SEGMENT_MAGIC, number, Some(number) == last, report);
            } else if name.ends_with(names::UNFINISHED) {
                report.note(&path, None, "was not finished; the next start removes it");
            } else {
                report.note(&path, None, "is not known");
            }
        }
        Ok(())
    }

    fn file(&self, path: &Path, magic: [u8; 8], number: u64, last: bool, report: &mut Report) {
        let Some(bytes) = report.read(path) else { return };
        if bytes.is_empty() {
            return report.note(path, None, "is empty; the next start removes it");
        }
        let expect = SegmentHeader { shard: self.shard, segment: number, seed: self.identity.seed };
        if let Err(error) = frame::read_segment_header(magic, &bytes, expect) {
            report.damage(path, 0, format!("header is not ours: {error:?}"));
        }
        if magic == frame::CHECKPOINT_MAGIC && !is_whole(path, expect) {
            report.damage(
                path,
                None,
                "is not whole: the checkpoint before it counts, and the log since then",
            );
        }
        let mut at = SEGMENT_HEADER_BYTES.min(bytes.len());
        loop {
            match frame::next(&bytes, at) {
                Next::Frame(frame) => {
                    records(path, at as u64, frame.payload, report);
                    at = frame.end;
                }
                Next::End => return,
                Next::Damage { resume: Some(resume) } => {
                    report.damage(path, at as u64, format!("{} bytes are no whole frame", resume - at));
                    at = resume;
                }
                Next::Damage { resume: None } => {
                    let what = format!("{} bytes at the end are no whole frame", bytes.len() - at);
                    // In the newest segment a crash leaves it so; nobody was told that it was stored.
                    return report.add(last, path, Some(at as u64), what);
                }
            }
        }
    }
}

/// Whether a checkpoint has all of its frames, to its end.
fn is_whole(path: &Path, expect: SegmentHeader) -> bool {
    let Ok(mapped) = Mapped::open(path) else { return false };
    let mut file = FileReader::new(mapped);
    let Ok(mut walk) = Walk::begin(&mut file, expect) else { return false };
    loop {
        match walk.next(&mut file) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn records(path: &Path, offset: u64, payload: &[u8], report: &mut Report) {
    for record in RecordReader::new(payload) {
        match record {
            Ok(Record::Series { key, .. }) => match key::decode_key(key) {
                Ok(_) => report.series += 1,
                Err(error) => report.damage(path, offset, format!("series record: {error}")),
            },
            Ok(Record::Samples(samples)) => {
                for sample in samples {
                    match sample {
                        Ok(_) => report.samples += 1,
                        Err(_) => return report.damage(path, offset, "samples record ends early"),
                    }
                }
            }
            Ok(Record::Histogram { .. }) => report.samples += 1,
            Ok(Record::Row(row)) => {
                report.series += 1;
                report.samples += row.open.map_or(0, |open| u64::from(open.count));
            }
            Ok(Record::Strings(texts)) => {
                if texts.into_iter().any(|text| text.is_err()) {
                    return report.damage(path, offset, "strings record ends early");
                }
            }
            Ok(Record::Exemplar { key, .. }) => {
                if let Err(error) = key::decode_key(key) {
                    report.damage(path, offset, format!("exemplar record: {error}"));
                }
            }
            Ok(
                Record::Deletion { .. }
                | Record::State(_)
                | Record::End { .. }
                | Record::Metadata(_)
                | Record::ExemplarDeletion { .. },
            ) => {}
            Err(_) => return report.damage(path, offset, "record is not readable"),
        }
    }
}

fn blocks(directory: &Path, shard: u32, identity: Identity, report: &mut Report) -> Result<(), MovingError> {
    let router = Router::new(identity.seed, identity.shards);
    for name in names_in(directory)? {
        let path = directory.join(&name);
        if let Some(number) = names::number(&name, names::TOMBSTONES) {
            let Some(bytes) = report.read(&path) else { continue };
            if Tombstones::parse(&bytes, shard, number, identity.seed).is_err() {
                report.damage(&path, None, "tombstones are not readable: their block is not served");
            }
            continue;
        }
        let Some(number) = names::number(&name, names::BLOCK) else {
            let unfinished = name.ends_with(names::UNFINISHED);
            let what =
                if unfinished { "was not finished; the next start removes it" } else { "is not known" };
            report.note(&path, None, what);
            continue;
        };
        let opened = Mapped::open(&path).map_err(BlockError::Io);
        match opened.and_then(|mapped| Block::open(mapped, shard, number, identity.seed)) {
            Ok(block) => {
                report.file(block.len_bytes());
                block_pages(&path, &block, report);
                block_series(&path, &block, &router, report);
            }
            Err(BlockError::Io(error)) => report.damage(&path, None, error.to_string()),
            Err(BlockError::Damaged(what)) => report.damage(&path, None, what),
            Err(BlockError::Version(version)) => {
                report.damage(&path, None, format!("format version {version} is not known to this program"));
            }
        }
    }
    Ok(())
}

/// Each page once: a section is read in pieces that end where its pages do.
fn block_pages(path: &Path, block: &Block, report: &mut Report) {
    let Directory { sections, .. } = block.directory();
    for (section, (offset, length)) in SECTIONS.into_iter().zip(*sections) {
        let mut at = 0;
        while at < length {
            let page_end = (offset + at + 1).next_multiple_of(PAGE_BYTES as u64) - offset;
            let end = page_end.min(length);
            if block.section(section, at..end) == Err(Damage) {
                report.damage(path, offset + at, format!("page with {section:?} is damaged"));
            }
            at = end;
        }
    }
}

fn block_series(path: &Path, block: &Block, router: &Router, report: &mut Report) {
    let (mut pairs, mut buffers) = (Vec::new(), Buffers::default());
    let (mut floats, mut histograms) = (FloatColumns::default(), Vec::new());
    for series in 0..block.series_count() {
        let before = block.damages();
        let labels = block.pairs(series, &mut pairs);
        let texts: Result<Vec<&str>, _> = pairs.iter().map(|symbol| block.text(*symbol)).collect();
        let readable = labels.is_ok() && texts.is_ok();
        if let (true, Ok(texts)) = (readable, texts) {
            let labels = Labels::from_sorted(texts.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            let hash = router.hash(&key::key_of(&labels));
            if block.hash(series) != Ok(known_hash(hash)) {
                report.damage(path, None, format!("series {series} goes by the hash of another"));
            } else if router.shard(hash) != block.directory().shard as usize {
                report.damage(path, None, format!("series {series} belongs to another shard"));
            }
        }
        floats.restart();
        histograms.clear();
        let read = block.read(series, TimeRange::ALL, &mut buffers, &mut floats, &mut histograms);
        if !readable || read.is_err() || block.damages() > before {
            report.damage(path, None, format!("series {series} is not readable as a whole"));
        }
        report.series += 1;
        report.samples += (floats.times.len() + histograms.len()) as u64;
    }
}
