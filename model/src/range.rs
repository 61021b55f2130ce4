//! Ranges of time. Stated once: a PromQL window is *left-open*, `(end - length, end]`; what a store
//! is asked for is *closed*, `[min, max]`. [`TimeRange::window`] is the only place that converts.

/// A closed range of milliseconds, `[min_ms, max_ms]`. Empty when `min_ms > max_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    pub min_ms: i64,
    pub max_ms: i64,
}

impl TimeRange {
    pub const ALL: TimeRange = TimeRange { min_ms: i64::MIN, max_ms: i64::MAX };

    pub fn new(min_ms: i64, max_ms: i64) -> Self {
        TimeRange { min_ms, max_ms }
    }

    /// The left-open window `(end_ms - length_ms, end_ms]` as a closed range.
    pub fn window(end_ms: i64, length_ms: i64) -> Self {
        TimeRange { min_ms: end_ms.saturating_sub(length_ms).saturating_add(1), max_ms: end_ms }
    }

    pub fn is_empty(&self) -> bool {
        self.min_ms > self.max_ms
    }

    pub fn contains(&self, timestamp_ms: i64) -> bool {
        self.min_ms <= timestamp_ms && timestamp_ms <= self.max_ms
    }

    pub fn overlaps(&self, other: TimeRange) -> bool {
        self.min_ms <= other.max_ms && other.min_ms <= self.max_ms
    }

    /// What lies in both.
    pub fn intersection(&self, other: TimeRange) -> TimeRange {
        TimeRange { min_ms: self.min_ms.max(other.min_ms), max_ms: self.max_ms.min(other.max_ms) }
    }

    /// The smallest range that holds both.
    pub fn union(&self, other: TimeRange) -> TimeRange {
        TimeRange { min_ms: self.min_ms.min(other.min_ms), max_ms: self.max_ms.max(other.max_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_leaves_out_its_left_edge() {
        let w = TimeRange::window(1_000, 300);
        assert!(!w.contains(700) && w.contains(701) && w.contains(1_000) && !w.contains(1_001));
        assert_eq!(TimeRange::window(i64::MIN, 5), TimeRange::new(i64::MIN + 1, i64::MIN));
    }
}
