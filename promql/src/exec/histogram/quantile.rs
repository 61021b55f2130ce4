//! Quantiles, fractions and moments of one native histogram: linear within custom buckets and the zero
//! bucket, logarithmic within exponential ones.

use crate::exec::sum::Neumaier;
use hearth_model::Histogram;
use hearth_model::histogram::Bucket;

/// What the result gives reason to remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remark {
    Nothing,
    /// The quantile lies among observations of NaN.
    NanResult,
    /// There are observations of NaN, taken as larger than all others.
    NanSkew,
}

/// Which sides have buckets: a histogram of positive values alone has a zero bucket that starts at zero.
pub fn one_sided(histogram: &Histogram, bucket: &mut Bucket) {
    let (negative, positive) = (histogram.negative_counts.len(), histogram.positive_counts.len());
    if negative == 0 && positive > 0 {
        bucket.lower = 0.0;
    } else if positive == 0 && negative > 0 {
        bucket.upper = 0.0;
    }
}

pub fn quantile(q: f64, histogram: &Histogram) -> (f64, Remark) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, Remark::Nothing);
    }
    if q > 1.0 {
        return (f64::INFINITY, Remark::Nothing);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, Remark::Nothing);
    }
    // NaN counts as an observation but is in no bucket; from the upper end the rank would be wrong.
    let has_nan = histogram.sum.is_nan();
    let upwards = has_nan || q < 0.5;
    let mut rank = if upwards { q * histogram.count } else { (1.0 - q) * histogram.count };
    let mut buckets: Vec<Bucket> = histogram.all_buckets().filter(|b| b.count != 0.0).collect();
    if !upwards {
        buckets.reverse();
    }
    let mut count = 0.0;
    let mut found: Option<Bucket> = None;
    for bucket in buckets {
        count += bucket.count;
        found = Some(bucket);
        if count >= rank {
            break;
        }
    }
    let Some(mut bucket) = found else {
        return (f64::NAN, if has_nan { Remark::NanResult } else { Remark::Nothing });
    };
    let remark = if has_nan { Remark::NanSkew } else { Remark::Nothing };
    if histogram.is_custom() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, Remark::Nothing);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, Remark::Nothing);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        one_sided(histogram, &mut bucket);
    }
    count = count.min(histogram.count);
    if count < rank {
        return if has_nan { (f64::NAN, Remark::NanResult) } else { (bucket.upper, Remark::Nothing) };
    }
    rank = if upwards { rank - (count - bucket.count) } else { count - rank };
    (within(histogram, &bucket, rank / bucket.count), remark)
}

/// The value that `fraction` of a bucket lies below.
fn within(histogram: &Histogram, bucket: &Bucket, fraction: f64) -> f64 {
    if histogram.is_custom() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return bucket.lower + (bucket.upper - bucket.lower) * fraction;
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        return (lower + (upper - lower) * fraction).exp2();
    }
    -(upper + (lower - upper) * (1.0 - fraction)).exp2()
}

/// The part of a bucket that lies below `value`, which is inside of it.
pub fn part_below(histogram: &Histogram, bucket: &Bucket, value: f64) -> f64 {
    let zero_bucket = bucket.lower <= 0.0 && bucket.upper >= 0.0;
    if histogram.is_custom() || zero_bucket {
        // Nothing is known of how a bucket without a lower end is filled.
        if bucket.lower == f64::NEG_INFINITY {
            return 1.0;
        }
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let at = value.abs().log2();
    if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
}

/// The fraction of observations between two values.
pub fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> f64 {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut count, mut rank) = (0.0, 0.0);
    let (mut lower_rank, mut upper_rank) = (None, None);
    for mut bucket in histogram.all_buckets() {
        count += bucket.count;
        if histogram.is_custom() {
            if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
                bucket.lower = 0.0;
            }
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            one_sided(histogram, &mut bucket);
        }
        for (edge, edge_rank) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if edge_rank.is_some() {
                continue;
            }
            if bucket.lower >= edge {
                *edge_rank = Some(rank);
            } else if bucket.upper > edge {
                *edge_rank = Some(rank + bucket.count * part_below(histogram, &bucket, edge));
            }
        }
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank += bucket.count;
    }
    let cut = |edge_rank: Option<f64>| edge_rank.filter(|&r| r <= count).unwrap_or(count);
    (cut(upper_rank) - cut(lower_rank)) / histogram.count
}

/// Variance, every observation taken to lie in the middle of its bucket.
pub fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut squares = Neumaier::default();
    for bucket in histogram.all_buckets().filter(|b| b.count != 0.0) {
        let middle = if histogram.is_custom() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        let delta = middle - mean;
        squares.add(bucket.count * delta * delta);
    }
    (squares.sum + squares.compensation) / histogram.count
}
