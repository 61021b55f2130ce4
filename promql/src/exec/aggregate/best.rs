//! The k best values of a group at one step: a binary heap with the worst of them on top.
//!
//! Which of several equal values stay is seen by users, so it is Prometheus' choice over series in the
//! order of their labels: a value must be better than the worst one kept to take its place, and which of
//! equally bad ones lies on top follows from how the heap was built. (Prometheus itself takes series in the
//! order of its storage, which is that of the labels in a block; in its head it is the order of creation,
//! and behind an operator it may be any.)

/// Values with the number of their series.
#[derive(Debug, Default)]
pub struct Best {
    heap: Vec<(f64, usize)>,
    largest: bool,
}

impl Best {
    /// Begins anew; `largest` for `topk`.
    pub fn clear(&mut self, largest: bool) {
        self.heap.clear();
        self.largest = largest;
    }

    /// Worse than the other: NaN is worse than everything, another NaN included.
    fn is_worse(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.heap[a].0, self.heap[b].0);
        a.is_nan() || self.precedes(a, b)
    }

    fn precedes(&self, a: f64, b: f64) -> bool {
        if self.largest { a < b } else { a > b }
    }

    /// Keeps the value if it is among the `most` (at least one) best so far.
    pub fn offer(&mut self, value: f64, series: usize, most: usize) {
        if self.heap.len() < most {
            self.heap.push((value, series));
            self.rise();
            return;
        }
        let worst = self.heap[0].0;
        if self.precedes(worst, value) || (worst.is_nan() && !value.is_nan()) {
            self.heap[0] = (value, series);
            self.sink();
        }
    }

    fn rise(&mut self) {
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let above = (at - 1) / 2;
            if !self.is_worse(at, above) {
                break;
            }
            self.heap.swap(at, above);
            at = above;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                break;
            }
            let right = left + 1;
            let worse = if right < self.heap.len() && self.is_worse(right, left) { right } else { left };
            if !self.is_worse(worse, at) {
                break;
            }
            self.heap.swap(at, worse);
            at = worse;
        }
    }

    /// The best first.
    pub fn ranked(&mut self) -> &[(f64, usize)] {
        let largest = self.largest;
        self.heap.sort_by(|a, b| crate::exec::call::order::by_value(a.0, b.0, largest));
        &self.heap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(largest: bool, most: usize, values: &[f64], expect: &[usize]) {
        let mut best = Best::default();
        best.clear(largest);
        values.iter().enumerate().for_each(|(series, &value)| best.offer(value, series, most));
        let ranked: Vec<usize> = best.ranked().iter().map(|(_, series)| *series).collect();
        assert_eq!(ranked, expect, "{values:?}");
    }

    #[test]
    fn of_equal_values_the_heap_chooses() {
        check(true, 2, &[1.0, 1.0, 1.0], &[0, 1]);
        check(true, 2, &[1.0, 1.0, 2.0, 1.0], &[2, 1]);
        check(true, 3, &[1.0, 1.0, 1.0, 2.0, 2.0], &[3, 4, 2]);
        check(false, 2, &[3.0, 1.0, 2.0, 1.0], &[3, 1]);
        check(true, 1, &[5.0, 5.0], &[0]);
    }

    #[test]
    fn nan_is_kept_only_for_want_of_better() {
        check(true, 2, &[f64::NAN, 1.0, f64::NAN, -1.0], &[1, 3]);
        check(false, 3, &[f64::NAN, 1.0], &[1, 0]);
    }
}
