//! Walks a histogram's buckets with their bounds, in the order and with the open and closed ends that
//! Prometheus shows them. Reads only; tolerates a histogram that [`Histogram::validate`] would refuse, as
//! long as its schema is known.

use super::{Histogram, Span, exponential_bound};

/// One bucket with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub lower_inclusive: bool,
    pub upper_inclusive: bool,
    pub count: f64,
    /// Index among the buckets of its sign; 0 for the zero bucket.
    pub index: i32,
}

/// Bucket indexes that spans name, one for each count.
fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let first = next.saturating_add(span.offset);
        next = first.saturating_add_unsigned(span.length);
        first..next
    })
}

/// The same, from the last to the first.
fn indexes_reversed(spans: &[Span]) -> impl Iterator<Item = i32> {
    let mut end =
        spans.iter().fold(0i32, |at, s| at.saturating_add(s.offset).saturating_add_unsigned(s.length));
    spans.iter().rev().flat_map(move |span| {
        let last = end;
        let first = last.saturating_sub_unsigned(span.length);
        end = first.saturating_sub(span.offset);
        (first..last).rev()
    })
}

impl Histogram {
    /// Upper bound of the positive bucket with this index.
    fn bound(&self, index: i32) -> f64 {
        if !self.is_custom() {
            return exponential_bound(index, self.schema);
        }
        match usize::try_from(index) {
            Err(_) => f64::NEG_INFINITY,
            Ok(index) => self.custom_values.get(index).copied().unwrap_or(f64::INFINITY),
        }
    }

    fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (self.bound(index.saturating_sub(1)), self.bound(index));
        if self.is_custom() {
            return Bucket { lower, upper, lower_inclusive: index == 0, upper_inclusive: true, count, index };
        }
        Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count, index }
    }

    fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (-self.bound(index), -self.bound(index.saturating_sub(1)));
        Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count, index }
    }

    /// Positive buckets, ascending.
    pub fn positive_buckets(&self) -> impl Iterator<Item = Bucket> {
        indexes(&self.positive_spans)
            .zip(&self.positive_counts)
            .map(|(index, &count)| self.positive_bucket(index, count))
    }

    /// Negative buckets, away from zero: by ascending index.
    pub fn negative_buckets(&self) -> impl Iterator<Item = Bucket> {
        indexes(&self.negative_spans)
            .zip(&self.negative_counts)
            .map(|(index, &count)| self.negative_bucket(index, count))
    }

    /// The bucket around zero; both its ends are closed.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// Every bucket that the spans name, empty ones included, ascending by value; the zero bucket only
    /// where it counts something. A bucket that reaches into the zero bucket is cut at its edge.
    pub fn all_buckets(&self) -> impl Iterator<Item = Bucket> {
        let zero = self.zero_threshold;
        let negative = indexes_reversed(&self.negative_spans)
            .zip(self.negative_counts.iter().rev())
            .map(|(index, &count)| self.negative_bucket(index, count));
        let middle = (self.zero_count > 0.0).then(|| self.zero_bucket());
        negative
            .map(move |mut bucket| {
                if bucket.upper < 0.0 && bucket.upper > -zero {
                    bucket.upper = -zero;
                }
                bucket
            })
            .chain(middle)
            .chain(self.positive_buckets().map(move |mut bucket| {
                if bucket.lower > 0.0 && bucket.lower < zero {
                    bucket.lower = zero;
                }
                bucket
            }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(histogram: &Histogram, expect: &str) {
        let text: Vec<String> = histogram
            .all_buckets()
            .map(|b| {
                let (open, close) =
                    (if b.lower_inclusive { '[' } else { '(' }, if b.upper_inclusive { ']' } else { ')' });
                format!("{open}{},{}{close}:{}", b.lower, b.upper, b.count)
            })
            .collect();
        assert_eq!(text.join(" "), expect);
    }

    #[test]
    fn buckets_ascend_and_close_as_prometheus_shows_them() {
        let mut h = Histogram {
            zero_threshold: 0.001,
            zero_count: 2.0,
            positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
            positive_counts: vec![1.0, 2.0, 3.0],
            negative_spans: vec![Span { offset: -1, length: 1 }, Span { offset: 1, length: 1 }],
            negative_counts: vec![4.0, 5.0],
            ..Histogram::stale()
        };
        check(&h, "[-2,-1):5 [-0.5,-0.25):4 [-0.001,0.001]:2 (0.5,1]:1 (1,2]:2 (4,8]:3");
        h.zero_threshold = 0.75;
        check(&h, "[-2,-1):5 [-0.5,-0.75):4 [-0.75,0.75]:2 (0.75,1]:1 (1,2]:2 (4,8]:3");
        assert_eq!(h.negative_buckets().map(|b| b.index).collect::<Vec<_>>(), [-1, 1]);
    }

    #[test]
    fn custom_buckets_take_their_listed_bounds() {
        let h = Histogram {
            schema: super::super::CUSTOM_BUCKETS_SCHEMA,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            positive_counts: vec![1.0, 0.0, 3.0],
            custom_values: vec![0.5, 2.0],
            ..Histogram::stale()
        };
        check(&h, "[-inf,0.5]:1 (0.5,2]:0 (2,inf]:3");
    }
}
