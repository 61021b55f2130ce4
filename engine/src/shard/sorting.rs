//! A merge sort that gives way: a shard's series are sorted for a block without holding the shard.

use crate::pace::Pace;
use std::cmp::Ordering;

/// Sorted at once, and merged between two looks at the clock.
const RUN: usize = 512;

/// Sorts by `order`, pausing now and then. What it compares by must not change meanwhile.
pub async fn sort<T: Copy>(items: &mut Vec<T>, pace: &impl Pace, order: impl Fn(T, T) -> Ordering) {
    for run in items.chunks_mut(RUN) {
        run.sort_unstable_by(|a, b| order(*a, *b));
        pace.pause().await;
    }
    let mut merged = Vec::with_capacity(items.len());
    let mut width = RUN;
    while width < items.len() {
        merged.clear();
        for pair in items.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(pair.len().min(width));
            while let (Some(a), Some(b)) = (left.first(), right.first()) {
                let from = if order(*a, *b).is_le() { &mut left } else { &mut right };
                merged.push(from[0]);
                *from = &from[1..];
                if merged.len().is_multiple_of(RUN) {
                    pace.pause().await;
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
            pace.pause().await;
        }
        std::mem::swap(items, &mut merged);
        width *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::tests::AtOnce;

    #[test]
    fn any_number_of_items_is_sorted() {
        for count in [0, 1, 511, 512, 513, 1024, 5000] {
            let mut random = fastrand::Rng::with_seed(count);
            let mut items: Vec<u64> = (0..count).map(|_| random.u64(0..1000)).collect();
            let mut expect = items.clone();
            expect.sort_unstable();
            futures_executor::block_on(sort(&mut items, &AtOnce, |a, b| a.cmp(&b)));
            assert_eq!(items, expect);
        }
    }
}
