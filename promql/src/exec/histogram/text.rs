//! A histogram in words, as `count_values` writes it into a label.

use crate::exec::number::general;
use hearth_model::Histogram;

/// `{count:…, sum:…, (lower,upper]:count, …}`
pub fn describe(histogram: &Histogram) -> String {
    let mut out = format!("{{count:{}, sum:{}", general(histogram.count), general(histogram.sum));
    for bucket in histogram.all_buckets().filter(|bucket| bucket.count != 0.0) {
        let open = if bucket.lower_inclusive { '[' } else { '(' };
        let close = if bucket.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (general(bucket.lower), general(bucket.upper));
        out.push_str(&format!(", {open}{lower},{upper}{close}:{}", general(bucket.count)));
    }
    out.push('}');
    out
}
