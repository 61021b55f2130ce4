//! Another number of shards: everything is written anew, aside, and then takes the place of what was there.
//!
//! What is in blocks goes into blocks, a day at a time; what is in memory and log goes into memory and log,
//! with exemplars and metadata.

use super::MovingError;
use super::blocks::Blocks;
use super::intake::Intake;
use super::read::{Files, Nature, nature};
use super::switch::{self, Change};
use super::takeover::unbounded;
use crate::compact::choose::GROWTH;
use crate::config::Options;
use crate::handle::{self, Handle};
use crate::prometheus::chunks::Samples;
use crate::prometheus::head::Sink;
use crate::shard::cursor::Part;
use hearth_model::{TimeRange, key};
use std::collections::BTreeSet;
use std::path::Path;

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Resharded {
    pub from: usize,
    pub to: usize,
    pub blocks: u64,
    /// Samples in blocks, and in memory and log.
    pub block_samples: u64,
    pub head_samples: u64,
    pub exemplars: u64,
    /// Metrics of which type, help or unit is known.
    pub metrics: u64,
}

/// Rewrites the directory that the options name for as many shards as they name. Refuses where anything in it is
/// damaged: what cannot be read would be gone.
pub fn reshard(options: &Options) -> Result<Resharded, MovingError> {
    let path = &options.path;
    if switch::staging(path).exists() || path.exists() {
        let lock = handle::lock(path)?;
        switch::resume(path)?;
        let done = rewrite(options);
        drop(lock);
        return done;
    }
    Err(MovingError::NoData(path.clone()))
}

fn rewrite(options: &Options) -> Result<Resharded, MovingError> {
    let path = &options.path;
    if nature(path)? != Nature::Hearth {
        let what = "is a data directory of Prometheus: start hearth on it first";
        return Err(MovingError::Refused(format!("{}: {what}", path.display())));
    }
    let mut files = Files::open(path)?;
    let identity = files.identity().ok_or_else(|| MovingError::NoData(path.clone()))?;
    let to = options.shards.unwrap_or(identity.shards);
    if to == identity.shards {
        return Err(MovingError::Refused(format!("{}: has {to} shards already", path.display())));
    }
    refuse_damage(&files)?;
    let aside = path.join(switch::SHARDS_ASIDE);
    if aside.exists() {
        let what = "is there from an earlier time: remove it once it is not needed any more";
        return Err(MovingError::Refused(format!("{}: {what}", aside.display())));
    }
    let staging = switch::prepare(path)?;
    let store = handle::open(&unbounded(options, staging.clone()))?;
    let mut done = Resharded { from: identity.shards, to, ..Resharded::default() };
    let filled = fill(&mut files, &store, &staging, options, &mut done);
    let synced = store.close_synced(&staging);
    filled?;
    synced?;
    refuse_damage(&files)?;
    switch::commit(path, Change::Reshard)?;
    Ok(done)
}

fn refuse_damage(files: &Files) -> Result<(), MovingError> {
    match files.damages.first() {
        None => Ok(()),
        Some(damage) => {
            let advice = "what cannot be read would be lost; see hearth tsdb verify";
            Err(MovingError::Refused(format!("{damage}: {advice}")))
        }
    }
}

fn fill(
    files: &mut Files,
    store: &Handle,
    staging: &Path,
    options: &Options,
    done: &mut Resharded,
) -> Result<(), MovingError> {
    let cut_ms = files.cut_ms();
    let range_ms = i64::try_from(options.block_range.as_millis()).unwrap_or(i64::MAX);
    let stretch_ms = range_ms.saturating_mul(GROWTH[GROWTH.len() - 1]).max(1);
    let held = files.range();
    if !held.is_empty() {
        for stretch in held.min_ms.div_euclid(stretch_ms)..=held.max_ms.div_euclid(stretch_ms) {
            let start_ms = stretch.saturating_mul(stretch_ms);
            let range = TimeRange::new(start_ms, start_ms.saturating_add(stretch_ms - 1));
            blocks(files, store, staging, range, cut_ms, done)?;
        }
    }
    let mut intake = Intake::new(store.clone(), 0);
    let mut series = 0;
    files.part(Part::Head, &[], TimeRange::ALL, |labels, samples| {
        intake.series(series, labels)?;
        for (time, value) in samples.times.iter().zip(&samples.values) {
            intake.sample(series, *time, *value)?;
        }
        for (time, histogram) in &samples.histograms {
            intake.histogram(series, *time, histogram.as_ref().clone())?;
        }
        done.head_samples += samples.len() as u64;
        series += 1;
        Ok::<(), MovingError>(())
    })?;
    let taken = intake.finish()?;
    let refused: u64 = taken.refused.iter().sum();
    if refused > 0 {
        return Err(MovingError::Refused(format!("the new shards did not take {}", taken.refusals())));
    }
    let (exemplars, metadata) = files.beside();
    (done.exemplars, done.metrics) = (exemplars.len() as u64, metadata.len() as u64);
    store.restore(exemplars, metadata)?;
    Ok(())
}

/// Writes the blocks of a stretch of time: once through for the strings, once for the samples.
fn blocks(
    files: &mut Files,
    store: &Handle,
    staging: &Path,
    range: TimeRange,
    cut_ms: i64,
    done: &mut Resharded,
) -> Result<(), MovingError> {
    let router = store.router();
    let mut texts = vec![BTreeSet::<String>::new(); router.shards()];
    files.part(Part::Blocks, &[], range, |labels, _| {
        let texts = &mut texts[router.shard(router.hash(&key::key_of(labels)))];
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            if !texts.contains(text) {
                texts.insert(text.to_owned());
            }
        }
        Ok::<(), MovingError>(())
    })?;
    let mut out = Blocks::begin(store, staging, cut_ms, texts)?;
    files.part(Part::Blocks, &[], range, |labels, samples: &Samples| {
        done.block_samples += samples.len() as u64;
        out.push(labels, samples)
    })?;
    done.blocks += out.finish()?;
    Ok(())
}
