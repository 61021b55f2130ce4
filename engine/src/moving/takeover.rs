//! A server starts on a data directory of Prometheus: it becomes one of ours.
//!
//! 1. *Before the start*: what the head held (log, out-of-order log) is read into a store that is built aside,
//!    which then takes the place of Prometheus' files. Those go, by renaming alone, into [`PROMETHEUS_ASIDE`],
//!    where they stay a data directory of Prometheus': the way back.
//! 2. *While it serves*: a thread converts the blocks in there, the newest first. Which are done stands in
//!    [`DONE`], so that the next start goes on where this one ended.
//! 3. *From then on* it looks for blocks that come later ([`super::arrivals`]), and converts them, too.
//!
//! Nothing of Prometheus' is removed, unless that was asked for; and then only blocks that were read whole and
//! whose samples are in ours, on stable storage.

use super::arrivals::Arrivals;
use super::convert::{Converted, Target, convert};
use super::intake::{Intake, Taken};
use super::switch::{self, Change, PROMETHEUS_ASIDE};
use super::{EVERY_EXEMPLAR, MovingError, read};
use crate::config::{Limits, Options};
use crate::disk::Disk;
use crate::disk::blocking::BlockingDisk;
use crate::handle::{self, Handle, OpenError};
use crate::progress::Progress;
use crate::prometheus::directory::{self, BlockEntry, Directory};
use crate::prometheus::head::{Found, HeadError, HeadReader};
use hearth_model::TimeRange;
use hearth_model::missing::{Missing, Why};
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Names of the blocks that are in ours, one a line; within [`PROMETHEUS_ASIDE`].
const DONE: &str = "hearth.converted";
/// How much a converting thread steps back behind those that serve.
const NICENESS: i32 = 5;

/// What becomes of Prometheus' files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Originals {
    /// They stay until the operator removes them.
    Keep,
    /// Each block goes once its samples are in ours.
    Remove,
}

impl std::str::FromStr for Originals {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(Originals::Keep),
            "remove" => Ok(Originals::Remove),
            other => Err(format!("{other:?} is not one of keep, remove")),
        }
    }
}

/// Opens a store as [`handle::open`] does, after it has taken over what Prometheus left.
pub fn open(options: &Options, originals: Originals) -> Result<Handle, MovingError> {
    let path = &options.path;
    BlockingDisk.make_directory(path).map_err(MovingError::io(path))?;
    let lock = handle::lock(path)?;
    if switch::resume(path)?.is_some() {
        tracing::info!(path = %path.display(), "a move that was interrupted came to its end");
    }
    let taken = match read::nature(path) {
        Ok(read::Nature::Prometheus) => Some(import_head(options)?),
        Ok(read::Nature::Hearth) => {
            warn_of_strays(path)?;
            None
        }
        Err(MovingError::NoData(_)) => None,
        Err(error) => return Err(error),
    };
    // The store takes it again at once.
    drop(lock);
    let store = handle::open(options)?;
    drop(taken);
    let arrivals = Arrivals::new(path)?;
    let pending = pending(path)?;
    let progress = store.progress();
    progress.blocks_pending.store(pending.len() as u64, Ordering::Relaxed);
    progress.begin();
    let work = Work { store: store.clone(), options: options.clone(), originals, unreadable: Vec::new() };
    work.tell_missing(&pending);
    let run = move || work.run(pending, arrivals);
    let thread = std::thread::Builder::new().name("hearth-takeover".into()).spawn(run);
    if thread.is_err() {
        progress.end();
    }
    store.host(thread.map_err(MovingError::io(path))?);
    Ok(store)
}

/// A log of Prometheus' beside ours: somebody started it on this directory.
fn warn_of_strays(path: &Path) -> Result<(), MovingError> {
    if directory::holds_log(path)? {
        tracing::warn!(path = %path.display(), "a log of Prometheus beside Hearth's files is not read: it was started on this data directory");
    }
    Ok(())
}

/// Keeps Prometheus from starting, and finds out whether it runs.
fn lock_out_prometheus(path: &Path) -> Result<Option<File>, MovingError> {
    let lock = path.join(directory::LOCK);
    let file = match File::options().write(true).open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(MovingError::io(&lock)(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(MovingError::Open(OpenError::Locked { path: lock })),
        Err(TryLockError::Error(error)) => Err(MovingError::io(&lock)(error)),
    }
}

/// The options of a store that takes everything, whatever its time.
pub(super) fn unbounded(options: &Options, path: PathBuf) -> Options {
    let mut all = options.clone();
    all.path = path;
    all.limits = Limits::default();
    all.keeping.retention = Duration::MAX;
    all.keeping.retention_bytes = 0;
    all.keeping.retention_percent = 0.0;
    all.keeping.max_exemplars = EVERY_EXEMPLAR;
    all.max_ahead = Duration::from_millis(i64::MAX as u64);
    // With this much room nothing is cut from memory while samples of any time come.
    all.keeping.out_of_order_window = Duration::from_millis(i64::MAX as u64);
    all
}

/// Step 1 of the module's head.
fn import_head(options: &Options) -> Result<Option<File>, MovingError> {
    let path = &options.path;
    let lock = lock_out_prometheus(path)?;
    let directory = Directory::read(path)?;
    for (ulid, error) in &directory.unreadable {
        tracing::warn!(block = %ulid, %error, "block is left out, as Prometheus leaves it out");
    }
    tracing::info!(
        path = %path.display(),
        blocks = directory.blocks.len(),
        "this is a data directory of Prometheus, taking it over"
    );
    let started = Instant::now();
    let staging = switch::prepare(path)?;
    let store = handle::open(&unbounded(options, staging.clone()))?;
    let read = HeadReader::new(&directory, Intake::new(store.clone(), options.keeping.max_exemplars)).run();
    let taken = match read {
        Ok((found, intake)) => intake.finish().map(|taken| (found, taken)),
        Err(HeadError::File(error)) => Err(error.into()),
        Err(HeadError::Sink(error)) => Err(error),
    };
    // Whatever came of it, no thread of the store stays behind; and all of it is on stable storage then.
    let synced = store.close_synced(&staging);
    let (found, taken) = taken?;
    synced?;
    tell(&found, &taken, started.elapsed());
    switch::commit(path, Change::Takeover)?;
    tracing::info!(
        originals = %path.join(PROMETHEUS_ASIDE).display(),
        "Prometheus' files were set aside and can be removed once all blocks are converted"
    );
    Ok(lock)
}

fn tell(found: &Found, taken: &Taken, time: Duration) {
    for damage in &found.damages {
        tracing::warn!(%damage, "damage in Prometheus' log");
    }
    tracing::info!(
        series = found.series,
        samples = found.samples,
        histograms = found.histograms,
        in_blocks = found.in_blocks,
        deleted = found.deleted,
        orphans = found.orphans,
        exemplars = taken.exemplars,
        exemplars_left_out = taken.exemplars_crowded_out + found.long_exemplars,
        metrics_described = taken.metrics,
        damages = found.damages.len() as u64 + found.more_damages,
        refused = taken.refusals(),
        duration_ms = time.as_millis() as u64,
        "Prometheus' log was read"
    );
}

fn done_file(path: &Path) -> PathBuf {
    path.join(PROMETHEUS_ASIDE).join(DONE)
}

fn done(path: &Path) -> Result<BTreeSet<String>, MovingError> {
    let file = done_file(path);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(MovingError::io(&file)(error)),
    }
}

/// Blocks that are still to be converted, the newest first.
fn pending(path: &Path) -> Result<Vec<BlockEntry>, MovingError> {
    let done = done(path)?;
    let mut blocks = Directory::read(&path.join(PROMETHEUS_ASIDE))?.blocks;
    blocks.retain(|block| !done.contains(&block.ulid.to_string()));
    blocks.sort_by_key(|block| std::cmp::Reverse((block.meta.max_time, block.ulid)));
    Ok(blocks)
}

/// Steps 2 and 3 of the module's head.
struct Work {
    store: Handle,
    options: Options,
    originals: Originals,
    /// Blocks that could not be converted.
    unreadable: Vec<BlockEntry>,
}

/// Whoever waits for the end of the takeover goes on, whatever became of the thread.
struct EndOnDrop(Arc<Progress>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Work {
    fn run(mut self, pending: Vec<BlockEntry>, mut arrivals: Arrivals) {
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "converting goes on with the priority of the others");
        }
        let progress = self.store.progress();
        let end = EndOnDrop(progress.clone());
        let mut goes_on = self.all(pending);
        drop(end);
        if self.options.arrivals_interval.is_zero() {
            return;
        }
        let path = self.options.path.clone();
        while goes_on && !progress.rest(self.options.arrivals_interval) {
            let found = done(&path).and_then(|done| arrivals.look(self.store.oldest_ms(), &done));
            match found {
                Ok(blocks) => goes_on = self.all(blocks),
                Err(error) => tracing::warn!(%error, "could not look for blocks that came"),
            }
        }
    }

    /// Converts blocks one after the other; `false` where the store goes down.
    fn all(&mut self, blocks: Vec<BlockEntry>) -> bool {
        if blocks.is_empty() {
            return true;
        }
        let (started, count) = (Instant::now(), blocks.len() as u64);
        let progress = self.store.progress();
        let before = progress.samples_converted.load(Ordering::Relaxed);
        let damaged = progress.blocks_damaged.load(Ordering::Relaxed);
        self.unreadable.retain(|block| blocks.iter().all(|again| again.ulid != block.ulid));
        progress.blocks_pending.store(count, Ordering::Relaxed);
        self.tell_missing(&blocks);
        for (at, block) in blocks.iter().enumerate() {
            let converted = match self.one(block) {
                Ok(()) => 1,
                Err(MovingError::Stopped | MovingError::Store(hearth_model::StoreError::Closed)) => {
                    return false;
                }
                Err(error) => {
                    progress.blocks_damaged.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(
                        block = %block.ulid, %error,
                        "block of Prometheus could not be converted, its samples are missing; it is tried again at the next start, and when something of it has changed"
                    );
                    self.unreadable.push(block.clone());
                    0
                }
            };
            // Who sees it counted finds nothing of it missing any more.
            self.tell_missing(&blocks[at + 1..]);
            progress.blocks_pending.store(count - at as u64 - 1, Ordering::Relaxed);
            progress.blocks_converted.fetch_add(converted, Ordering::Release);
        }
        tracing::info!(
            blocks = count,
            samples = progress.samples_converted.load(Ordering::Relaxed) - before,
            damaged = progress.blocks_damaged.load(Ordering::Relaxed) - damaged,
            duration_ms = started.elapsed().as_millis() as u64,
            "all blocks of Prometheus are converted"
        );
        true
    }

    /// Says of which times readers lack something: those of the blocks that are to come, and of those that could not
    /// be read.
    fn tell_missing(&self, pending: &[BlockEntry]) {
        let missing = |block: &BlockEntry, why| {
            // A block ends before its `maxTime`.
            Missing { range: TimeRange::new(block.meta.min_time, block.meta.max_time - 1), why }
        };
        let awaited = pending.iter().map(|block| missing(block, Why::Awaited));
        let unreadable = self.unreadable.iter().map(|block| missing(block, Why::Unreadable));
        self.store.progress().set_missing(awaited.chain(unreadable).collect());
    }

    /// Converts what of a block is not past the retention.
    fn convert(&self, block: &BlockEntry) -> Result<Converted, MovingError> {
        let progress = self.store.progress();
        loop {
            let oldest_ms = self.store.oldest_ms();
            // The clock goes forward: what is older than before was past a retention that is longer by now.
            let is_longer = || self.store.oldest_ms() < oldest_ms && block.meta.min_time < oldest_ms;
            let converted = convert(
                block,
                &Target {
                    store: &self.store,
                    path: &self.options.path,
                    block_range_ms: i64::try_from(self.options.block_range.as_millis()).unwrap_or(i64::MAX),
                    oldest_ms,
                    goes_on: &|| !progress.stops() && !is_longer(),
                },
            );
            match converted {
                // What was made until then is made again, and counts once.
                Ok(_) | Err(MovingError::Stopped) if is_longer() && !progress.stops() => {}
                converted => return converted,
            }
        }
    }

    fn one(&self, block: &BlockEntry) -> Result<(), MovingError> {
        let (started, path) = (Instant::now(), &self.options.path);
        let progress = self.store.progress();
        let converted = self.convert(block)?;
        for damage in &converted.damages {
            tracing::error!(block = %block.ulid, %damage, "damage in a block of Prometheus, what it held is missing");
        }
        let mut all = done(path)?;
        all.insert(block.ulid.to_string());
        let text: String = all.iter().map(|name| format!("{name}\n")).collect();
        let file = done_file(path);
        BlockingDisk.write_whole(&file, text.as_bytes()).map_err(MovingError::io(&file))?;
        if !converted.is_whole() {
            progress.blocks_damaged.fetch_add(1, Ordering::Relaxed);
        } else if self.originals == Originals::Remove {
            std::fs::remove_dir_all(&block.path).map_err(MovingError::io(&block.path))?;
        }
        progress.samples_converted.fetch_add(converted.samples, Ordering::Relaxed);
        tracing::info!(
            block = %block.ulid,
            series = converted.series,
            samples = converted.samples,
            blocks = converted.blocks,
            damages = converted.damages.len() as u64 + converted.more_damages,
            duration_ms = started.elapsed().as_millis() as u64,
            "block of Prometheus converted"
        );
        Ok(())
    }
}
