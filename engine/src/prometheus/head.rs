//! What Prometheus' head holds, out of its files: series and samples of checkpoint, log and out-of-order log,
//! and, where those are damaged, of the chunks that it has mapped.
//!
//! 1. The log is read once for the series and for what was deleted of them, since a deletion hides samples that
//!    stand before it.
//! 2. It is read again for the samples; those that are in blocks already and those deleted are left out.
//!    Exemplars and what is said of metrics stand among them.
//! 3. The out-of-order log, whose samples may be of any time.
//! 4. Where the log was damaged, the mapped chunks: they hold most of what the log has lost, and what is there
//!    already does no harm a second time.
//!
//! Damage costs what it covers: it is counted and told, and reading goes on.

use super::chunks::{Samples, numbered_files};
use super::directory::Directory;
use super::record::{self, Entry};
use super::wal::{self, Unpacker};
use super::{FileError, FormatError, head_chunks, read_file, tombstones};
use ahash::{AHashMap, AHashSet};
use hearth_model::batch::Exemplar;
use hearth_model::label::MAX_PART_BYTES;
use hearth_model::metadata::MetricKind;
use hearth_model::{Histogram, Labels};
use std::path::{Path, PathBuf};

/// Takes what is found. Series have dense numbers, from 0.
pub trait Sink {
    type Error;
    fn series(&mut self, series: u32, labels: &Labels) -> Result<(), Self::Error>;
    fn sample(&mut self, series: u32, time: i64, value: f64) -> Result<(), Self::Error>;
    fn histogram(&mut self, series: u32, time: i64, histogram: Histogram) -> Result<(), Self::Error>;
    /// In the order in which they came. Who wants samples alone leaves them.
    fn exemplar(&mut self, _series: u32, _exemplar: Exemplar) {}
    /// What was said of a series' metric; what comes later counts.
    fn metadata(&mut self, _series: u32, _said: Said<'_>) {}
    /// So many of all bytes are read.
    fn progress(&mut self, done: u64, all: u64) -> Result<(), Self::Error>;
}

/// Type, unit and help, as they stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    pub kind: MetricKind,
    pub unit: &'a str,
    pub help: &'a str,
}

/// Why reading did not come to its end.
#[derive(Debug)]
pub enum HeadError<E> {
    File(FileError),
    Sink(E),
}

impl<E> From<FileError> for HeadError<E> {
    fn from(error: FileError) -> Self {
        HeadError::File(error)
    }
}

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    pub series: u64,
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
    /// Exemplars with more labels than Prometheus takes.
    pub long_exemplars: u64,
    /// How often something was said of a metric.
    pub metadata: u64,
    /// Samples and exemplars of series that the log does not name.
    pub orphans: u64,
    pub deleted: u64,
    /// Samples that are in blocks already.
    pub in_blocks: u64,
    pub damages: Vec<String>,
    /// Damages beyond those that are listed.
    pub more_damages: u64,
}

/// Labels of an exemplar: 128 characters, as Prometheus takes them, of four bytes each.
const MAX_EXEMPLAR_BYTES: usize = 512;
/// Damages that are listed; more are counted.
const LISTED_DAMAGES: usize = 100;

impl Found {
    fn damage(&mut self, path: &Path, offset: u64, error: FormatError) {
        if self.damages.len() < LISTED_DAMAGES {
            self.damages.push(format!("{}: at byte {offset}: {error}", path.display()));
        } else {
            self.more_damages += 1;
        }
    }
}

/// See the module's head.
pub struct HeadReader<'a, S: Sink> {
    directory: &'a Directory,
    from_ms: i64,
    sink: S,
    by_reference: AHashMap<u64, u32>,
    by_labels: AHashMap<Labels, u32>,
    deleted: AHashMap<u32, Vec<(i64, i64)>>,
    unknown: AHashSet<u64>,
    unpacker: Unpacker,
    found: Found,
    done_bytes: u64,
    all_bytes: u64,
}

impl<'a, S: Sink> HeadReader<'a, S> {
    pub fn new(directory: &'a Directory, sink: S) -> Self {
        HeadReader {
            directory,
            from_ms: directory.head_from_ms(),
            sink,
            by_reference: AHashMap::new(),
            by_labels: AHashMap::new(),
            deleted: AHashMap::new(),
            unknown: AHashSet::new(),
            unpacker: Unpacker::default(),
            found: Found::default(),
            done_bytes: 0,
            all_bytes: 0,
        }
    }

    /// Reads everything; the sink comes back.
    pub fn run(mut self) -> Result<(Found, S), HeadError<S::Error>> {
        let log = wal::replayed(&self.directory.wal())?;
        let (late, _) = wal::segments(&self.directory.wbl())?;
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |m| m.len());
        self.all_bytes = log.iter().chain(&log).chain(&late).map(size).sum();
        for path in &log {
            self.segment(path, Pass::Series)?;
        }
        self.found.damages.clear();
        self.found.more_damages = 0;
        for path in &log {
            self.segment(path, Pass::Samples { from_ms: self.from_ms })?;
        }
        for path in &late {
            self.segment(path, Pass::Samples { from_ms: i64::MIN })?;
        }
        if !self.found.damages.is_empty() {
            self.mapped_chunks()?;
        }
        self.found.series = self.by_labels.len() as u64;
        Ok((self.found, self.sink))
    }

    fn segment(&mut self, path: &Path, pass: Pass) -> Result<(), HeadError<S::Error>> {
        let bytes = wal::read_segment(path)?;
        let (mut unpacker, mut damages) = (std::mem::take(&mut self.unpacker), Vec::new());
        let mut failed = None;
        unpacker.read(
            &bytes,
            |record| {
                if failed.is_some() || record::is_about_series(record) != (pass == Pass::Series) {
                    return;
                }
                let read = record::read(record, |entry| {
                    if failed.is_none() {
                        failed = self.entry(entry, pass).err();
                    }
                });
                if let Err(error) = read {
                    self.found.damage(path, 0, error);
                }
            },
            |damage| damages.push(damage),
        );
        self.unpacker = unpacker;
        damages.iter().for_each(|damage| self.found.damage(path, damage.offset, damage.error));
        failed.map_or(Ok(()), |error| Err(HeadError::Sink(error)))?;
        self.done_bytes += bytes.len() as u64;
        self.sink.progress(self.done_bytes, self.all_bytes).map_err(HeadError::Sink)
    }

    fn entry(&mut self, entry: Entry<'_>, pass: Pass) -> Result<(), S::Error> {
        match entry {
            Entry::Series { reference, labels } => self.series(reference, labels)?,
            Entry::Tombstone { reference, from, to } => {
                if let Some(series) = self.by_reference.get(&reference) {
                    self.deleted.entry(*series).or_default().push((from, to));
                }
            }
            Entry::Sample { reference, time, value } => {
                if let Some(series) = self.wanted(reference, time, pass) {
                    self.found.samples += 1;
                    self.sink.sample(series, time, value)?;
                }
            }
            Entry::Histogram { reference, time, histogram } => {
                if let Some(series) = self.wanted(reference, time, pass) {
                    self.found.histograms += 1;
                    self.sink.histogram(series, time, histogram)?;
                }
            }
            Entry::Exemplar { reference, time, value, labels } => {
                self.exemplar(reference, labels, (time, value));
            }
            Entry::Metadata { reference, kind, fields } => self.metadata(reference, kind, fields),
            Entry::Marker { .. } => {}
        }
        Ok(())
    }

    /// It is wanted whatever its time: no block holds it.
    fn exemplar(&mut self, reference: u64, pairs: &[(&str, &str)], (time, value): (i64, f64)) {
        let Some(series) = self.wanted(reference, time, Pass::Samples { from_ms: i64::MIN }) else { return };
        let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MAX_EXEMPLAR_BYTES {
            self.found.long_exemplars += 1;
            return;
        }
        self.found.exemplars += 1;
        let labels = Labels::from_pairs(pairs.iter().copied());
        self.sink.exemplar(series, Exemplar { timestamp_ms: time, value, labels });
    }

    fn metadata(&mut self, reference: u64, kind: u8, fields: &[(&str, &str)]) {
        let Some(series) = self.by_reference.get(&reference) else { return };
        let field = |name: &str| fields.iter().find(|(n, _)| *n == name).map_or("", |(_, text)| *text);
        let kind = MetricKind::ALL.get(usize::from(kind)).copied().unwrap_or_default();
        self.found.metadata += 1;
        self.sink.metadata(*series, Said { kind, unit: field("UNIT"), help: field("HELP") });
    }

    fn series(&mut self, reference: u64, pairs: &[(&str, &str)]) -> Result<(), S::Error> {
        let fits = |part: &str| part.len() <= MAX_PART_BYTES;
        if !pairs.iter().all(|(name, value)| fits(name) && fits(value)) {
            return Ok(());
        }
        let labels = Labels::from_pairs(pairs.iter().copied());
        let next = self.by_labels.len() as u32;
        let series = *self.by_labels.entry(labels.clone()).or_insert(next);
        self.by_reference.insert(reference, series);
        if series == next { self.sink.series(series, &labels) } else { Ok(()) }
    }

    /// The sample's series, where the sample counts.
    fn wanted(&mut self, reference: u64, time: i64, pass: Pass) -> Option<u32> {
        if matches!(pass, Pass::Samples { from_ms } if time < from_ms) {
            self.found.in_blocks += 1;
            return None;
        }
        let Some(series) = self.by_reference.get(&reference).copied() else {
            self.found.orphans += 1;
            self.unknown.insert(reference);
            return None;
        };
        let deleted = self.deleted.get(&series).is_some_and(|gone| tombstones::covers(gone, time));
        self.found.deleted += u64::from(deleted);
        (!deleted).then_some(series)
    }

    fn mapped_chunks(&mut self) -> Result<(), HeadError<S::Error>> {
        for (_, path) in numbered_files(&self.directory.head_chunks())? {
            let bytes = read_file(&path)?;
            let (mut failed, mut bad) = (None, Vec::new());
            let read = head_chunks::read(&bytes, |chunk| {
                let mut samples = Samples::default();
                match samples.decode(chunk.encoding, chunk.data) {
                    Ok(()) if failed.is_none() => {
                        let from_ms = if chunk.out_of_order { i64::MIN } else { self.from_ms };
                        failed = self.chunk(chunk.series, Pass::Samples { from_ms }, samples).err();
                    }
                    Ok(()) => {}
                    Err(error) => bad.push(error),
                }
            });
            bad.into_iter().for_each(|error| self.found.damage(&path, 0, error));
            if let Err((offset, error)) = read {
                self.found.damage(&path, offset, error);
            }
            failed.map_or(Ok(()), |error| Err(HeadError::Sink(error)))?;
        }
        Ok(())
    }

    fn chunk(&mut self, reference: u64, pass: Pass, samples: Samples) -> Result<(), S::Error> {
        for (time, value) in samples.times.into_iter().zip(samples.values) {
            self.entry(Entry::Sample { reference, time, value }, pass)?;
        }
        for (time, histogram) in samples.histograms {
            // What the chunk says of resets holds within the chunk only.
            let mut histogram = Histogram::clone(&histogram);
            if histogram.reset == hearth_model::CounterReset::NotReset {
                histogram.reset = hearth_model::CounterReset::Unknown;
            }
            self.entry(Entry::Histogram { reference, time, histogram }, pass)?;
        }
        Ok(())
    }
}

/// What is taken from the log at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Series,
    /// Samples from this time on.
    Samples {
        from_ms: i64,
    },
}
