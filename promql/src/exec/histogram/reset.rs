//! Whether a histogram that counts started over between two samples.

use super::layout::{Sparse, common_bounds};
use crate::plan::grid::Windows;
use hearth_model::{CounterReset, Histogram};
use std::sync::Arc;

/// Any count that fell says so, and so does a layout that only a restart explains.
pub fn detect(now: &Histogram, before: &Histogram) -> bool {
    match now.reset {
        CounterReset::Reset => return true,
        CounterReset::NotReset => return false,
        // Where a gauge is taken for a counter it is compared like one.
        CounterReset::Gauge | CounterReset::Unknown => {}
    }
    if now.count < before.count || now.schema > before.schema {
        return true;
    }
    if now.is_custom() != before.is_custom() {
        return true;
    }
    let (now, mut before) = (Sparse::of(now), Sparse::of(before));
    let mut fresh = now.clone();
    if fresh.is_custom() {
        if fresh.custom_values != before.custom_values {
            let common = common_bounds(&fresh.custom_values, &before.custom_values);
            fresh.regroup(&common);
            before.regroup(&common);
        }
        return fell(&fresh.positive, &before.positive);
    }
    if now.zero_threshold < before.zero_threshold {
        return true;
    }
    before.coarsen(now.schema);
    before.widen_zero_to(now.zero_threshold);
    // A bucket of the older one that reaches over the new threshold can only be newer.
    before.zero_threshold != now.zero_threshold
        || now.zero_count < before.zero_count
        || fell(&now.positive, &before.positive)
        || fell(&now.negative, &before.negative)
}

/// Lets each sample say whether it was reset since the one before, where it does not say so itself and the
/// one before is read too: by the same window, or by one that overlaps it.
pub fn mark(histograms: &mut [(i64, Arc<Histogram>)], windows: &Windows) {
    let disjoint = windows.step_ms > windows.length_ms;
    let window = |time_ms: i64| match disjoint {
        // Of the windows that end at or after that time, the first.
        true => time_ms.saturating_sub(windows.first_end_ms).saturating_sub(1).div_euclid(windows.step_ms),
        false => 0,
    };
    let mut before: Option<usize> = None;
    for i in 0..histograms.len() {
        let (time_ms, now) = &histograms[i];
        if now.is_stale() {
            continue;
        }
        if now.reset == CounterReset::Unknown
            && let Some((_, before)) =
                before.map(|i| &histograms[i]).filter(|b| window(b.0) == window(*time_ms))
        {
            let reset = if detect(now, before) { CounterReset::Reset } else { CounterReset::NotReset };
            histograms[i].1 = Arc::new(Histogram { reset, ..Histogram::clone(now) });
        }
        before = Some(i);
    }
}

/// Some bucket counts less than before.
fn fell(now: &[(i32, f64)], before: &[(i32, f64)]) -> bool {
    before.iter().any(|&(index, count)| {
        let now = now.binary_search_by_key(&index, |b| b.0).map_or(0.0, |at| now[at].1);
        now < count
    })
}
