//! Native histograms as result JSON: count, sum, and the buckets that counted something.

use super::write_value;
use hearth_model::Histogram;

/// `{"count":"…","sum":"…","buckets":[[rule,"lower","upper","count"],…]}`; `buckets` is left out where
/// all are empty. Rule: 0 lower end open and upper closed, 1 the other way round, 2 both open, 3 both
/// closed.
pub fn write_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    out.extend_from_slice(b"{\"count\":");
    write_value(out, histogram.count);
    out.extend_from_slice(b",\"sum\":");
    write_value(out, histogram.sum);
    let mut any = false;
    for bucket in histogram.all_buckets().filter(|b| b.count != 0.0) {
        out.extend_from_slice(if any { b",[".as_slice() } else { b",\"buckets\":[[".as_slice() });
        any = true;
        out.push(match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => b'0',
            (true, false) => b'1',
            (false, false) => b'2',
            (true, true) => b'3',
        });
        for value in [bucket.lower, bucket.upper, bucket.count] {
            out.push(b',');
            write_value(out, value);
        }
        out.push(b']');
    }
    out.extend_from_slice(if any { b"]}".as_slice() } else { b"}".as_slice() });
}
