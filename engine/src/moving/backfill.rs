//! Samples of any time into blocks of a data directory that no server uses: what is older than memory takes, or comes
//! from another store.
//!
//! The source is passed over once to see how many samples lie where, and then once for each part that fits into
//! [`PART_SAMPLES`]: a stretch of time, and where a single one holds more, some of its series. Blocks that lie over
//! others are brought together by the server, as any are.

use super::blocks::Blocks;
use super::read::{Nature, nature};
use super::takeover::unbounded;
use super::{MovingError, switch};
use crate::compact::choose::GROWTH;
use crate::config::Options;
use crate::handle::{self, Handle};
use crate::prometheus::chunks::Samples;
use hearth_model::{Labels, TimeRange, key};
use std::collections::{BTreeMap, BTreeSet};

/// Samples that are in memory at once: a third of a gigabyte.
const PART_SAMPLES: u64 = 10_000_000;
/// Stretches of time that are told apart: far more than a file of any size has, unless its times are nonsense.
const MOST_STRETCHES: usize = 1 << 20;

/// Where samples come from, as often as they are asked for, in any order.
pub trait Source {
    fn each(
        &mut self,
        sink: &mut dyn FnMut(&Labels, i64, f64) -> Result<(), MovingError>,
    ) -> Result<(), MovingError>;
}

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Backfilled {
    pub samples: u64,
    pub blocks: u64,
    pub min_ms: i64,
    pub max_ms: i64,
}

/// Some of the samples.
#[derive(Debug, Clone, Copy)]
struct Part {
    range: TimeRange,
    /// Of so many parts of the series, this one.
    of: u64,
    part: u64,
}

/// Writes all samples of the source into the directory that the options name; nothing of it is there where this
/// fails before the first block, and running it again after a failure gives the same.
pub fn backfill(options: &Options, source: &mut dyn Source) -> Result<Backfilled, MovingError> {
    let path = &options.path;
    if path.exists() {
        // The lock is taken again by who opens.
        let _lock = handle::lock(path)?;
        switch::resume(path)?;
        if matches!(nature(path), Ok(Nature::Prometheus)) {
            let what = "is a data directory of Prometheus: start hearth on it first";
            return Err(MovingError::Refused(format!("{}: {what}", path.display())));
        }
    }
    let range_ms = i64::try_from(options.block_range.as_millis()).unwrap_or(i64::MAX).max(1);
    let (parts, mut done) = plan(source, range_ms)?;
    let store = handle::open(&unbounded(options, path.clone()))?;
    let filled = parts.iter().try_for_each(|part| fill(&store, options, source, part, &mut done));
    let synced = store.close_synced(path);
    filled?;
    synced?;
    Ok(done)
}

/// The parts, and how many samples lie in which time.
fn plan(source: &mut dyn Source, range_ms: i64) -> Result<(Vec<Part>, Backfilled), MovingError> {
    let mut stretches = BTreeMap::<i64, u64>::new();
    let mut done = Backfilled { min_ms: i64::MAX, max_ms: i64::MIN, ..Backfilled::default() };
    source.each(&mut |_, time, _| {
        (done.min_ms, done.max_ms) = (done.min_ms.min(time), done.max_ms.max(time));
        *stretches.entry(time.div_euclid(range_ms)).or_default() += 1;
        if stretches.len() > MOST_STRETCHES {
            return Err(MovingError::Refused(format!(
                "samples lie in more than {MOST_STRETCHES} stretches of {} s: are their times in seconds?",
                range_ms / 1000
            )));
        }
        Ok(())
    })?;
    if stretches.is_empty() {
        return Err(MovingError::Refused("there is no sample".into()));
    }
    let longest = GROWTH[GROWTH.len() - 1];
    let range = |first: i64, last: i64| {
        let start_ms = first.saturating_mul(range_ms);
        TimeRange::new(start_ms, last.saturating_mul(range_ms).saturating_add(range_ms - 1))
    };
    let mut parts: Vec<(Part, i64, u64)> = Vec::new();
    for (stretch, count) in stretches {
        match parts.last_mut() {
            Some((part, first, held))
                if part.of == 1
                    && first.div_euclid(longest) == stretch.div_euclid(longest)
                    && *held + count <= PART_SAMPLES =>
            {
                part.range = range(*first, stretch);
                *held += count;
            }
            _ => {
                let of = count.div_ceil(PART_SAMPLES);
                let part = |part| (Part { range: range(stretch, stretch), of, part }, stretch, count);
                parts.extend((0..of).map(part));
            }
        }
    }
    Ok((parts.into_iter().map(|(part, _, _)| part).collect(), done))
}

/// One part into one block a shard.
fn fill(
    store: &Handle,
    options: &Options,
    source: &mut dyn Source,
    part: &Part,
    done: &mut Backfilled,
) -> Result<(), MovingError> {
    let router = store.router();
    let mut series = BTreeMap::<Labels, Vec<(i64, f64)>>::new();
    source.each(&mut |labels, time, value| {
        if !part.range.contains(time) {
            return Ok(());
        }
        match series.get_mut(labels) {
            Some(samples) => samples.push((time, value)),
            None if part.of > 1 && router.hash(&key::key_of(labels)) as u64 % part.of != part.part => {}
            None => drop(series.insert(labels.clone(), vec![(time, value)])),
        }
        Ok(())
    })?;
    let mut texts = vec![BTreeSet::<String>::new(); router.shards()];
    for labels in series.keys() {
        let texts = &mut texts[router.shard(router.hash(&key::key_of(labels)))];
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            if !texts.contains(text) {
                texts.insert(text.to_owned());
            }
        }
    }
    // What was ever taken before is not told by these samples.
    let mut blocks = Blocks::begin(store, &options.path, i64::MIN, texts)?;
    let mut samples = Samples::default();
    for (labels, mut all) in series {
        all.sort_by_key(|(time, _)| *time);
        all.dedup_by(|next, before| next.0 == before.0 && next.1.to_bits() == before.1.to_bits());
        if let Some(pair) = all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let (time, one, other) = (pair[0].0, pair[0].1, pair[1].1);
            return Err(MovingError::Refused(format!("{labels}: {one} and {other} at the same time {time}")));
        }
        samples.clear();
        (samples.times, samples.values) = all.into_iter().unzip();
        done.samples += samples.len() as u64;
        blocks.push(&labels, &samples)?;
    }
    done.blocks += blocks.finish()?;
    Ok(())
}
