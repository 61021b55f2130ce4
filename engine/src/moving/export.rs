//! Blocks for Prometheus: of each stretch of time one, aligned to the epoch.

use super::MovingError;
use super::read::Files;
use crate::prometheus::block_writer::BlockWriter;
use crate::prometheus::meta::Meta;
use crate::prometheus::ulid::Ulid;
use hearth_model::{Matcher, TimeRange};
use std::path::Path;
use std::sync::Arc;

/// More blocks than this are a mistake in the length of one.
const MAX_BLOCKS: i64 = 100_000;

/// What goes out.
pub struct Plan<'a> {
    pub into: &'a Path,
    /// Series that match all of one of the sets; all, without a set.
    pub sets: &'a [Arc<[Matcher]>],
    pub range: TimeRange,
    /// Length of a block.
    pub block_ms: i64,
    pub now_ms: i64,
}

/// Writes the blocks, the oldest first; each is told to `tell` once it is whole.
pub fn export(
    files: &mut Files,
    plan: &Plan<'_>,
    mut tell: impl FnMut(&Meta),
) -> Result<Vec<Meta>, MovingError> {
    let held = files.range();
    let range = TimeRange::new(held.min_ms.max(plan.range.min_ms), held.max_ms.min(plan.range.max_ms));
    let mut written = Vec::new();
    if range.is_empty() {
        return Ok(written);
    }
    let length = plan.block_ms.max(1);
    let (first, last) = (range.min_ms.div_euclid(length), range.max_ms.div_euclid(length));
    if last - first > MAX_BLOCKS {
        return Err(MovingError::Refused(format!(
            "{} blocks of {length} ms: choose longer ones or less time",
            last - first
        )));
    }
    std::fs::create_dir_all(plan.into).map_err(MovingError::io(plan.into))?;
    let chance = ahash::RandomState::new();
    for number in first..=last {
        let start_ms = number.saturating_mul(length);
        let end_ms = start_ms.saturating_add(length);
        let part = TimeRange::new(start_ms.max(range.min_ms), (end_ms - 1).min(range.max_ms));
        let random = u128::from(chance.hash_one(number)) << 64 | u128::from(chance.hash_one((number, 1)));
        let ulid = Ulid::new(plan.now_ms as u64, random);
        let mut writer = BlockWriter::create(plan.into, ulid, (start_ms, end_ms))?;
        let read = files.series(plan.sets, part, |labels, samples| {
            writer.series(labels, samples).map_err(MovingError::File)
        });
        if let Err(error) = read {
            writer.abandon();
            return Err(error);
        }
        if let Some(meta) = writer.finish()? {
            tell(&meta);
            written.push(meta);
        }
    }
    Ok(written)
}
