//! A histogram in words, as `count_values` writes it into a label.

use crate::exec::number::general;
use hearth_model::Histogram;

/// `{count:…, sum:…, (lower,upper]:count, …}`. Unlike elsewhere, a zero bucket that counts less than
/// nothing is shown.
pub fn describe(histogram: &Histogram) -> String {
    let mut out = format!("{{count:{}, sum:{}", general(histogram.count), general(histogram.sum));
    let hidden = (histogram.zero_count < 0.0).then(|| histogram.zero_bucket());
    let mut buckets: Vec<_> = histogram.all_buckets().filter(|bucket| bucket.count != 0.0).collect();
    if let Some(zero) = hidden {
        let at = buckets.partition_point(|bucket| bucket.upper <= zero.lower);
        buckets.insert(at, zero);
    }
    for bucket in buckets {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (general(bucket.lower), general(bucket.upper));
        out.push_str(&format!(", {open}{lower},{upper}{close}:{}", general(bucket.count)));
    }
    out.push('}');
    out
}
