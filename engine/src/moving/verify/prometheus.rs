//! Prometheus' files: blocks with index, chunks and tombstones, the logs record by record, the mapped chunks.

use super::Report;
use crate::moving::MovingError;
use crate::prometheus::block::{Block, labels, read_tombstones};
use crate::prometheus::chunks::{Samples, numbered_files};
use crate::prometheus::directory::{BlockEntry, CHUNKS, Directory, INDEX, TOMBSTONES, names};
use crate::prometheus::index::{Index, SeriesEntry};
use crate::prometheus::record::{self, Entry};
use crate::prometheus::wal::{self, Unpacker};
use crate::prometheus::{FileError, FormatError, chunks, head_chunks};
use ahash::AHashSet;
use std::path::Path;

pub(super) fn directory(path: &Path, report: &mut Report) -> Result<(), MovingError> {
    let found = Directory::read(path)?;
    for (ulid, error) in &found.unreadable {
        report.damage(&path.join(ulid.to_string()), None, error.to_string());
    }
    for block in &found.superseded {
        report.note(&block.path, None, "another block stands for it");
    }
    for entry in &found.blocks {
        report.file(0);
        block(entry, report);
    }
    for name in names(path)?.iter().filter(|name| name.contains(".tmp")) {
        report.note(&path.join(name), None, "was not finished");
    }
    let mut checker = Unpacker::default();
    if let Some((_, checkpoint)) = wal::checkpoint(&found.wal())? {
        log(&checkpoint, false, &mut checker, report)?;
    }
    log(&found.wal(), true, &mut checker, report)?;
    log(&found.wbl(), true, &mut checker, report)?;
    for (_, path) in numbered_files(&found.head_chunks())? {
        mapped(&path, report);
    }
    Ok(())
}

fn file_error(error: FileError, report: &mut Report) {
    match error {
        FileError::Io { path, error } => report.damage(&path, None, error.to_string()),
        FileError::Format { path, offset, error } => report.damage(&path, offset, error.to_string()),
    }
}

fn block(entry: &BlockEntry, report: &mut Report) {
    if let Err(error) = read_tombstones(&entry.path) {
        file_error(error, report);
    } else if entry.path.join(TOMBSTONES).exists() {
        report.file(0);
    }
    let index_path = entry.path.join(INDEX);
    for (_, path) in numbered_files(&entry.path.join(CHUNKS)).unwrap_or_default() {
        chunks_file(&path, report);
    }
    let opened = match Block::open(entry) {
        Ok(opened) => opened,
        Err(error) => return file_error(error, report),
    };
    report.file(opened.len_bytes());
    let mut opened = opened;
    let (index, _) = opened.parts();
    let references = series(index, entry, &index_path, report);
    let mut lists = Vec::new();
    if let Err(error) =
        index.postings_table(|name, value, at| lists.push((name.is_empty() && value.is_empty(), at)))
    {
        return file_error(error, report);
    }
    let count = references.len();
    for (of_all, at) in lists {
        match index.postings(at) {
            Err(error) => file_error(error, report),
            Ok(list) => {
                let known = list.iter().all(|id| references.contains(&u64::from(*id)));
                if !known || (of_all && list.len() != count) || !list.is_sorted_by(|a, b| a < b) {
                    report.damage(&index_path, at, "postings do not fit the series");
                }
            }
        }
    }
}

/// Checks the series of an index against what the block says of itself; their references.
fn series(index: &Index, entry: &BlockEntry, path: &Path, report: &mut Report) -> AHashSet<u64> {
    let (mut walk, mut series, mut found) = (index.walk(), SeriesEntry::default(), AHashSet::new());
    let mut before = None;
    loop {
        match walk.next(&mut series) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                file_error(error, report);
                break;
            }
        }
        found.insert(series.reference);
        report.series += 1;
        let offset = series.reference * 16;
        match labels(index, &series.pairs) {
            Ok(labels) => {
                if before.as_ref().is_some_and(|before| *before >= labels) {
                    report.damage(path, offset, "series are not in the order of labels");
                }
                before = Some(labels);
            }
            Err(error) => report.damage(path, offset, error.to_string()),
        }
        let (from, to) = (entry.meta.min_time, entry.meta.max_time);
        if series.chunks.iter().any(|c| c.min_ms < from || c.max_ms >= to.max(from + 1)) {
            report.damage(path, offset, "a chunk lies outside of the block's time");
        }
    }
    let said = entry.meta.stats.num_series;
    if said != 0 && said != found.len() as u64 {
        report.damage(path, None, format!("holds {} series, meta.json says {said}", found.len()));
    }
    found
}

/// All chunks of a file, one behind the other.
fn chunks_file(path: &Path, report: &mut Report) {
    let Some(bytes) = report.read(path) else { return };
    if let Err(error) = chunks::check_header(&bytes) {
        return report.damage(path, 0, error.to_string());
    }
    let (mut at, mut samples) = (chunks::HEADER_BYTES as usize, Samples::default());
    while at < bytes.len() {
        match chunks::read(&bytes[at..]) {
            Ok((encoding, data, length)) => {
                samples.clear();
                if let Err(error) = samples.decode(encoding, data) {
                    report.damage(path, at as u64, error.to_string());
                }
                report.samples += samples.len() as u64;
                at += length;
            }
            // Where the next chunk begins is not known any more.
            Err(error) => return report.damage(path, at as u64, error.to_string()),
        }
    }
}

fn log(
    directory: &Path,
    open_ended: bool,
    unpacker: &mut Unpacker,
    report: &mut Report,
) -> Result<(), MovingError> {
    let (segments, _) = wal::segments(directory)?;
    for (at, path) in segments.iter().enumerate() {
        let last = open_ended && at + 1 == segments.len();
        let Some(bytes) = report.read(path) else { continue };
        let mut bad = Vec::new();
        let (mut series, mut samples) = (0, 0);
        let mut damages = Vec::new();
        let take = |record: &[u8]| {
            let read = record::read(record, |entry| match entry {
                Entry::Series { .. } => series += 1,
                Entry::Sample { .. } | Entry::Histogram { .. } => samples += 1,
                _ => {}
            });
            bad.extend(read.err());
        };
        unpacker.read(&bytes, take, |damage| damages.push(damage));
        report.series += series;
        report.samples += samples;
        for error in bad {
            let unknown = matches!(error, FormatError::Unknown(..));
            report.add(unknown, path, None, error.to_string());
        }
        for damage in damages {
            // What a crash tears off at the end of the newest segment, Prometheus cuts off.
            let torn = last && damage.offset + wal::PAGE_BYTES as u64 >= bytes.len() as u64;
            report.add(torn, path, Some(damage.offset), damage.error.to_string());
        }
    }
    Ok(())
}

fn mapped(path: &Path, report: &mut Report) {
    let Some(bytes) = report.read(path) else { return };
    let (mut found, mut bad) = (0, Vec::new());
    let read = head_chunks::read(&bytes, |chunk| {
        let mut samples = Samples::default();
        bad.extend(samples.decode(chunk.encoding, chunk.data).err());
        found += samples.len() as u64;
    });
    report.samples += found;
    bad.into_iter().for_each(|error| report.damage(path, None, error.to_string()));
    if let Err((offset, error)) = read {
        report.damage(path, offset, error.to_string());
    }
}
