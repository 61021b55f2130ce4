//! Whether a histogram that counts started over between two samples.

use super::layout::{Sparse, common_bounds};
use hearth_model::{CounterReset, Histogram};

/// Any count that fell says so, and so does a layout that only a restart explains.
pub fn detect(now: &Histogram, before: &Histogram) -> bool {
    match now.reset {
        CounterReset::Reset => return true,
        CounterReset::NotReset => return false,
        // A gauge counts nothing, so nothing starts over.
        CounterReset::Gauge => return false,
        CounterReset::Unknown => {}
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

/// Some bucket counts less than before.
fn fell(now: &[(i32, f64)], before: &[(i32, f64)]) -> bool {
    before.iter().any(|&(index, count)| {
        let now = now.binary_search_by_key(&index, |b| b.0).map_or(0.0, |at| now[at].1);
        now < count
    })
}
