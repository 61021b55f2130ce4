//! `</` and `>/`: what of a histogram lies below or above a value. A bucket that the value falls into is
//! divided as quantiles divide it; the sum is estimated anew from what is left.

use super::layout::Sparse;
use super::quantile::{one_sided, part_below};
use hearth_model::Histogram;
use hearth_model::histogram::Bucket;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

pub fn upper(histogram: &Histogram, value: f64) -> Histogram {
    cut(histogram, value, Keep::Below)
}

pub fn lower(histogram: &Histogram, value: f64) -> Histogram {
    cut(histogram, value, Keep::Above)
}

/// What is left of one bucket: how many observations, and where they are taken to lie.
struct Rest {
    count: f64,
    middle: f64,
}

fn cut(histogram: &Histogram, value: f64, keep: Keep) -> Histogram {
    let mut out = Sparse::of(histogram);
    let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
    let mut take = |mut bucket: Bucket| {
        let rest = if histogram.is_custom() {
            rest_of_custom(histogram, &mut bucket, value, keep)
        } else {
            rest_of(histogram, &bucket, value, keep)
        };
        changed |= rest.count != bucket.count;
        if rest.count != 0.0 {
            count += rest.count;
            sum += rest.count * rest.middle;
        }
        rest.count
    };
    let full = |buckets: Vec<Bucket>| buckets.into_iter().filter(|b| b.count != 0.0);
    out.positive = full(histogram.positive_buckets().collect()).map(|b| (b.index, take(b))).collect();
    out.negative = full(histogram.negative_buckets().collect()).map(|b| (b.index, take(b))).collect();
    if histogram.zero_count != 0.0 {
        let mut zero = histogram.zero_bucket();
        one_sided(histogram, &mut zero);
        out.zero_count = take(zero);
    }
    if !changed {
        return histogram.clone();
    }
    (out.count, out.sum) = (count, sum);
    out.into_histogram()
}

fn rest_of(histogram: &Histogram, bucket: &Bucket, value: f64, keep: Keep) -> Rest {
    let share = share(histogram, bucket, value, keep);
    let (mut lower, mut upper) = (bucket.lower, bucket.upper);
    if share < 1.0 {
        match keep {
            Keep::Below => upper = value,
            Keep::Above => lower = value,
        }
    }
    let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
    let middle = if histogram.is_custom() || around_zero {
        (lower + upper) / 2.0
    } else {
        (lower * upper).sqrt().copysign(upper)
    };
    Rest { count: bucket.count * share, middle }
}

/// The part of the bucket on the side that is kept.
fn share(histogram: &Histogram, bucket: &Bucket, value: f64, keep: Keep) -> f64 {
    let below = if bucket.upper <= value {
        1.0
    } else if bucket.lower >= value {
        0.0
    } else {
        part_below(histogram, bucket, value)
    };
    if keep == Keep::Below { below } else { 1.0 - below }
}

/// The outermost custom buckets have no end. Below the lowest bound values are taken to be at the bound
/// (from zero on, where that is positive), above the highest likewise.
fn rest_of_custom(histogram: &Histogram, bucket: &mut Bucket, value: f64, keep: Keep) -> Rest {
    let all = Rest { count: bucket.count, middle: 0.0 };
    let none = Rest { count: 0.0, middle: 0.0 };
    let (first, last) = (bucket.lower == f64::NEG_INFINITY, bucket.upper == f64::INFINITY);
    if first && last {
        let everything = if keep == Keep::Below { f64::INFINITY } else { f64::NEG_INFINITY };
        return if value == everything { all } else { none };
    }
    if last {
        return match keep {
            Keep::Below if value == f64::INFINITY => Rest { middle: bucket.lower, ..all },
            Keep::Above if value < f64::INFINITY => Rest { middle: bucket.lower.max(value), ..all },
            _ => none,
        };
    }
    let from_zero = bucket.upper > 0.0 && (keep == Keep::Below || value >= 0.0);
    if first && from_zero {
        bucket.lower = 0.0;
    } else if first {
        return match keep {
            Keep::Below if value > f64::NEG_INFINITY => Rest { middle: bucket.upper.min(value), ..all },
            Keep::Above if value == f64::NEG_INFINITY => Rest { middle: bucket.upper, ..all },
            _ => none,
        };
    }
    rest_of(histogram, bucket, value, keep)
}
