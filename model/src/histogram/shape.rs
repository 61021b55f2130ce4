//! Changes of a histogram's shape that keep what it says: empty buckets left out, neighbouring buckets
//! added up. Shapes that [`Histogram::validate`] would refuse stay as they are.

use super::{Histogram, MIN_EXPONENTIAL_SCHEMA, Span};

/// Index and count of each bucket; none where spans and counts do not fit together.
fn pairs(spans: &[Span], counts: &[f64]) -> Option<Vec<(i32, f64)>> {
    let need: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if need != counts.len() as u64 {
        return None;
    }
    let mut out = Vec::with_capacity(counts.len());
    let mut counts = counts.iter();
    let mut next = 0i32;
    for span in spans {
        next = next.checked_add(span.offset)?;
        for _ in 0..span.length {
            out.push((next, *counts.next()?));
            next = next.checked_add(1)?;
        }
    }
    Some(out)
}

/// Spans and counts of buckets in ascending order; gaps of up to `bridged` buckets become empty buckets.
fn spans_of(pairs: &[(i32, f64)], bridged: u32) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::with_capacity(pairs.len()));
    let mut next = 0i32;
    for (index, count) in pairs {
        let gap = index.wrapping_sub(next);
        match spans.last_mut() {
            Some(span) if i64::from(gap) <= i64::from(bridged) => {
                span.length += gap as u32 + 1;
                counts.extend(std::iter::repeat_n(0.0, gap as usize));
            }
            _ => spans.push(Span { offset: gap, length: 1 }),
        }
        counts.push(*count);
        next = index.wrapping_add(1);
    }
    (spans, counts)
}

impl Histogram {
    /// Buckets that take room, of both signs.
    pub fn bucket_count(&self) -> usize {
        self.positive_counts.len() + self.negative_counts.len()
    }

    /// Leaves empty buckets out, but for runs of up to `bridged` of them between two others.
    pub fn compact(&mut self, bridged: u32) {
        for (spans, counts) in [
            (&mut self.positive_spans, &mut self.positive_counts),
            (&mut self.negative_spans, &mut self.negative_counts),
        ] {
            if let Some(mut pairs) = pairs(spans, counts) {
                pairs.retain(|(_, count)| *count != 0.0);
                (*spans, *counts) = spans_of(&pairs, bridged);
            }
        }
    }

    /// Brings exponential buckets to a coarser schema; false where the schema is not coarser, or there is
    /// none so coarse.
    pub fn reduce_resolution(&mut self, schema: i32) -> bool {
        if self.is_custom() || schema >= self.schema || schema < MIN_EXPONENTIAL_SCHEMA {
            return false;
        }
        let shift = (self.schema - schema).min(31) as u32;
        for (spans, counts) in [
            (&mut self.positive_spans, &mut self.positive_counts),
            (&mut self.negative_spans, &mut self.negative_counts),
        ] {
            let Some(pairs) = pairs(spans, counts) else { return false };
            let mut merged: Vec<(i32, f64)> = Vec::with_capacity(pairs.len());
            for (index, count) in pairs {
                // A bucket's upper bound is what its index stands for: 1 and 2 become 1, not 0 and 1.
                let index = (index.wrapping_sub(1) >> shift).wrapping_add(1);
                match merged.last_mut() {
                    Some(last) if last.0 == index => last.1 += count,
                    _ => merged.push((index, count)),
                }
            }
            (*spans, *counts) = spans_of(&merged, 0);
        }
        self.schema = schema;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(spans: &[(i32, u32)], counts: &[f64]) -> Histogram {
        Histogram {
            schema: 1,
            sum: 0.0,
            positive_spans: spans.iter().map(|&(offset, length)| Span { offset, length }).collect(),
            positive_counts: counts.to_vec(),
            ..Histogram::stale()
        }
    }

    fn shape(h: &Histogram) -> (Vec<(i32, u32)>, Vec<f64>) {
        (h.positive_spans.iter().map(|s| (s.offset, s.length)).collect(), h.positive_counts.clone())
    }

    #[test]
    fn empty_buckets_go() {
        let check = |bridged, expect: (Vec<(i32, u32)>, Vec<f64>)| {
            let mut h = histogram(&[(-2, 3), (2, 2), (0, 1)], &[0.0, 1.0, 2.0, 0.0, 3.0, 4.0]);
            h.compact(bridged);
            assert_eq!(shape(&h), expect);
            assert_eq!(h.validate(), Ok(()));
        };
        check(0, (vec![(-1, 2), (3, 2)], vec![1.0, 2.0, 3.0, 4.0]));
        check(3, (vec![(-1, 7)], vec![1.0, 2.0, 0.0, 0.0, 0.0, 3.0, 4.0]));
        let mut broken = histogram(&[(0, 3)], &[1.0]);
        broken.compact(0);
        assert_eq!(shape(&broken), (vec![(0, 3)], vec![1.0]));
    }

    #[test]
    fn neighbours_are_added_up() {
        let mut h = histogram(&[(-1, 4), (2, 1)], &[1.0, 2.0, 4.0, 8.0, 16.0]);
        assert!(h.reduce_resolution(0));
        // -1, 0 -> 0; 1, 2 -> 1; 5 -> 3.
        assert_eq!((h.schema, shape(&h)), (0, (vec![(0, 2), (1, 1)], vec![3.0, 12.0, 16.0])));
        assert!(!h.reduce_resolution(0) && !h.reduce_resolution(-5));
        assert!(h.reduce_resolution(-4));
        assert_eq!(shape(&h), (vec![(0, 2)], vec![3.0, 28.0]));
    }
}
