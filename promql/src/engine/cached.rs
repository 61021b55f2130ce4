//! A range query that may use kept results: look up, compute what is missing, join, keep.

use super::{Engine, LARGE_ANSWER_BYTES, Parsed, Request};
use crate::cache::block::Block;
use crate::cache::key::{Key, Reach};
use crate::cache::{self, Cache, Found, Kept};
use crate::exec::limits::{Held, Limits};
use crate::exec::notes::Notes;
use crate::plan::grid::Steps;
use crate::query::{QueryError, QueryStats, Value};
use hearth_model::Scatter;
use hearth_model::watermark::Watermarks;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// A query that may use the cache.
pub(super) struct Cacheable<'a> {
    cache: &'a Cache,
    watermarks: &'a Watermarks,
    key: Key,
    reach: Reach,
    /// No result of a later step is kept.
    keep_until_ms: i64,
}

/// What is asked for.
pub(super) struct Run<'a> {
    pub request: &'a Request,
    pub parsed: &'a Parsed,
}

impl Cacheable<'_> {
    /// How many of the request's steps are kept.
    pub(super) fn kept_steps(&self, request: &Request) -> usize {
        let Cacheable { cache, watermarks, key, reach, .. } = self;
        let found = cache.find(key, reach, &request.text, request.steps, watermarks, false);
        found.kept.map_or(0, |kept| kept.used.len())
    }
}

impl<S: Scatter> Engine<S> {
    /// Whether kept results may answer the request.
    pub(super) fn cacheable(&self, request: &Request, parsed: &Parsed, count: bool) -> Option<Cacheable<'_>> {
        let keep_until_ms = request.options.keep_until_ms?;
        let (cache, watermarks) = (self.cache.as_ref()?, self.store.watermarks()?);
        if request.instant || request.steps.count == 0 || request.options.stats_per_step {
            return None;
        }
        if self.options.type_and_unit_labels {
            // Series of one name may differ in them and become equal without: an error of the whole range.
            return None;
        }
        let lookback_ms = request.options.lookback_ms.unwrap_or(self.options.lookback_ms);
        let Some((key, reach)) = Key::of(&parsed.expr, &request.steps, lookback_ms) else {
            if count {
                cache.count_uncacheable();
            }
            return None;
        };
        Some(Cacheable { cache, watermarks, key, reach, keep_until_ms })
    }

    pub(super) async fn run_cached(
        &self,
        cacheable: Cacheable<'_>,
        run: &Run<'_>,
        limits: &Arc<Limits>,
        stats: &mut QueryStats,
    ) -> Result<(Value, Notes), QueryError> {
        let began = Instant::now();
        let Cacheable { cache, watermarks, key, reach, keep_until_ms } = cacheable;
        cache.give_way();
        let steps = run.request.steps;
        let found = cache.find(&key, &reach, &run.request.text, steps, watermarks, true);
        stats.prepare_time += began.elapsed();
        let Some(kept) = &found.kept else {
            return self.run_and_keep(run, &found, (cache, key, &reach, keep_until_ms), limits, stats).await;
        };
        if kept.extent.block.size_bytes() > LARGE_ANSWER_BYTES {
            limits.context().ask_for_room().await;
        }
        let before = self.blocks(run, found.before, found.noted, limits, stats).await?;
        let behind = self.blocks(run, found.behind, found.noted, limits, stats).await?;
        let (Some(before), Some(behind)) = (before, behind) else {
            // Two series of one name in a part: as good as never kept.
            return self.evaluate(run, steps, limits, stats).await;
        };
        let began = Instant::now();
        if found.before.count + found.behind.count == 0 {
            let block = &kept.extent.block;
            let Some(notes) = block.notes(kept.used.clone()) else {
                return self.evaluate(run, steps, limits, stats).await;
            };
            let value = answer(block, kept.used.clone(), limits)?;
            stats.eval_time += began.elapsed();
            return Ok((value, notes));
        }
        let used = parts(&before, Some((&kept.extent.block, kept.used.clone())), &behind);
        let mut held = Held::nothing(limits);
        held.grow(used.iter().map(|(block, _)| block.size_bytes()).sum(), 0)?;
        let joined = Block::join(&used);
        let all = 0..joined.steps.count;
        let Some(notes) = joined.notes(all.clone()) else {
            return self.evaluate(run, steps, limits, stats).await;
        };
        let value = answer(&joined, all, limits)?;
        let block = self.extended(kept, &found, &before, &behind, &steps, joined);
        keep(cache, key, &reach, block, &found, &steps, keep_until_ms);
        stats.eval_time += began.elapsed();
        Ok((value, notes))
    }

    /// Nothing is there: the whole is computed, and kept.
    async fn run_and_keep(
        &self,
        run: &Run<'_>,
        found: &Found,
        (cache, key, reach, keep_until_ms): (&Cache, Key, &Reach, i64),
        limits: &Arc<Limits>,
        stats: &mut QueryStats,
    ) -> Result<(Value, Notes), QueryError> {
        let steps = run.request.steps;
        if found.noted
            && let Some(blocks) = self.blocks(run, steps, true, limits, stats).await?
        {
            let joined = Block::join(&parts(&blocks, None, &[]));
            let all = 0..joined.steps.count;
            if let Some(notes) = joined.notes(all.clone()) {
                let value = answer(&joined, all, limits)?;
                keep(cache, key, reach, joined, found, &steps, keep_until_ms);
                return Ok((value, notes));
            }
        }
        let (value, notes) = self.evaluate(run, steps, limits, stats).await?;
        let began = Instant::now();
        if let Value::Matrix(series) = &value
            && !notes.is_full()
        {
            let mut held = Held::nothing(limits);
            let room = held.grow(Block::estimate_bytes(series.len(), steps.count), 0);
            let block = room.ok().and_then(|()| Block::of(series, steps, notes.clone(), &run.request.text));
            if let Some(block) = block {
                keep(cache, key, reach, block, found, &steps, keep_until_ms);
            }
        }
        stats.eval_time += began.elapsed();
        Ok((value, notes))
    }

    /// The steps as blocks, one a run; `None` where a result cannot be one.
    async fn blocks(
        &self,
        run: &Run<'_>,
        steps: Steps,
        noted: bool,
        limits: &Arc<Limits>,
        stats: &mut QueryStats,
    ) -> Result<Option<Vec<Block>>, QueryError> {
        let mut blocks = Vec::new();
        for steps in cache::runs(steps, noted) {
            let (value, notes) = self.evaluate(run, steps, limits, stats).await?;
            let Value::Matrix(series) = value else { return Ok(None) };
            if notes.is_full() {
                return Ok(None);
            }
            match Block::of(&series, steps, notes, &run.request.text) {
                Some(block) => blocks.push(block),
                None => return Ok(None),
            }
        }
        Ok(Some(blocks))
    }

    /// What is kept from now on: what held before, with what was computed at its ends.
    fn extended(
        &self,
        kept: &Kept,
        found: &Found,
        before: &[Block],
        behind: &[Block],
        asked: &Steps,
        joined: Block,
    ) -> Block {
        let block = &kept.extent.block;
        if kept.valid == kept.used {
            return joined;
        }
        let starts_earlier = found.before.count > 0 && asked.start_ms < block.steps.time_ms(kept.valid.start);
        let asked_end_ms = asked.time_ms(asked.count);
        let ends_later = found.behind.count > 0 && asked_end_ms > block.steps.time_ms(kept.valid.end);
        let before = if starts_earlier { before } else { &[] };
        let behind = if ends_later { behind } else { &[] };
        Block::join(&parts(before, Some((block, kept.valid.clone())), behind))
    }
}

fn parts<'b>(
    before: &'b [Block],
    middle: Option<(&'b Block, Range<usize>)>,
    behind: &'b [Block],
) -> Vec<(&'b Block, Range<usize>)> {
    let whole = |block: &'b Block| (block, 0..block.steps.count);
    before.iter().map(whole).chain(middle).chain(behind.iter().map(whole)).collect()
}

fn answer(block: &Block, steps: Range<usize>, limits: &Arc<Limits>) -> Result<Value, QueryError> {
    // The points live on in the answer, whose size no account bounds yet; that there is room is checked.
    drop(limits.context().reserve(block.size_bytes() * 2)?);
    limits.check()?;
    Ok(Value::Matrix(block.matrix(steps)))
}

fn keep(
    cache: &Cache,
    key: Key,
    reach: &Reach,
    block: Block,
    found: &Found,
    asked: &Steps,
    keep_until_ms: i64,
) {
    let settled = block.whole(reach.settled(&block.steps, keep_until_ms));
    let part = block.whole(cache::worth_keeping(&block.steps, settled, asked));
    if part.len() == block.steps.count {
        cache.keep(key, block, found.mark);
    } else if part.is_empty() {
        cache.remark(&key, &block);
    } else {
        cache.keep(key, Block::join(&[(&block, part)]), found.mark);
    }
}
