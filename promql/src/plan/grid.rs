//! The times of a query: the steps it is evaluated at, and the windows its selectors look into. Both
//! are arithmetic, no list of times is ever stored.

use hearth_model::TimeRange;

/// `count` evaluation times, `step_ms` apart. An instant query has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Steps {
    pub start_ms: i64,
    pub step_ms: i64,
    pub count: usize,
}

impl Steps {
    pub fn once(time_ms: i64) -> Steps {
        Steps { start_ms: time_ms, step_ms: 0, count: 1 }
    }

    /// Every `step_ms` from `start_ms` to `end_ms`, inclusive; none where the end comes first.
    pub fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Steps {
        assert!(step_ms > 0, "a step must be positive");
        let span = end_ms as i128 - start_ms as i128;
        let count = if span < 0 { 0 } else { (span / step_ms as i128) as usize + 1 };
        Steps { start_ms, step_ms, count }
    }

    pub fn time_ms(&self, step: usize) -> i64 {
        self.start_ms.saturating_add(self.step_ms.saturating_mul(step as i64))
    }

    /// The number of the first step at this time or later, the last step's at most.
    pub fn first_at_or_after(&self, time_ms: i64) -> usize {
        if self.step_ms <= 0 || time_ms <= self.start_ms {
            return 0;
        }
        let ahead = time_ms.saturating_sub(self.start_ms) as u64;
        usize::try_from(ahead.div_ceil(self.step_ms as u64))
            .unwrap_or(usize::MAX)
            .min(self.count.saturating_sub(1))
    }

    pub fn last_ms(&self) -> i64 {
        self.time_ms(self.count.saturating_sub(1))
    }
}

/// For each step the left-open window `(end - length, end]`. A pinned window (`@`) has `step_ms` 0: the
/// same for every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Windows {
    pub first_end_ms: i64,
    pub step_ms: i64,
    pub count: usize,
    pub length_ms: i64,
}

impl Windows {
    /// The windows of a selector evaluated at `steps`, moved back by `offset_ms`, or all at `at_ms`.
    pub fn of(steps: &Steps, length_ms: i64, offset_ms: i64, at_ms: Option<i64>) -> Windows {
        let (first, step_ms) = match at_ms {
            Some(at_ms) => (at_ms, 0),
            None => (steps.start_ms, steps.step_ms),
        };
        Windows { first_end_ms: first.saturating_sub(offset_ms), step_ms, count: steps.count, length_ms }
    }

    pub fn end_ms(&self, step: usize) -> i64 {
        self.first_end_ms.saturating_add(self.step_ms.saturating_mul(step as i64))
    }

    pub fn start_ms(&self, step: usize) -> i64 {
        self.end_ms(step).saturating_sub(self.length_ms)
    }

    /// Whether any of the windows sees something of the range.
    pub fn look_into(&self, range: TimeRange) -> bool {
        // The first window that does not end before the range is the one that begins first, too.
        let short_by = (range.min_ms as i128 - self.first_end_ms as i128).max(0);
        let step = match self.step_ms {
            ..=0 => 0,
            step_ms => short_by.div_euclid(step_ms as i128) + i128::from(short_by % step_ms as i128 != 0),
        };
        let Some(step) = usize::try_from(step).ok().filter(|step| *step < self.count) else { return false };
        TimeRange::window(self.end_ms(step), self.length_ms).overlaps(range) && self.length_ms > 0
    }

    /// Everything that any of the windows can see.
    pub fn covers(&self) -> TimeRange {
        let last = self.end_ms(self.count.saturating_sub(1));
        TimeRange::window(self.first_end_ms, self.length_ms).union(TimeRange::window(last, self.length_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_a_step_only_when_it_is_hit() {
        let count = |start, end, step| Steps::range(start, end, step).count;
        assert_eq!((count(0, 10, 5), count(0, 9, 5), count(5, 4, 5), count(5, 5, 5)), (3, 2, 0, 1));
    }

    #[test]
    fn windows_move_with_the_steps_unless_pinned() {
        let steps = Steps::range(1_000, 3_000, 1_000);
        let moving = Windows::of(&steps, 500, 100, None);
        assert_eq!((moving.start_ms(2), moving.end_ms(2)), (2_400, 2_900));
        assert_eq!(moving.covers(), TimeRange::new(401, 2_900));
        let pinned = Windows::of(&steps, 500, 0, Some(7_000));
        assert_eq!((pinned.end_ms(0), pinned.end_ms(2)), (7_000, 7_000));
    }

    #[test]
    fn what_windows_look_into() {
        // (501, 1000], (2501, 3000], (4501, 5000]
        let windows = Windows::of(&Steps::range(1_000, 5_000, 2_000), 500, 0, None);
        let range = |min: i64, max: i64| TimeRange::new(min, max);
        for (looked, min, max) in [
            (false, i64::MIN, 500),
            (true, i64::MIN, 501),
            (true, 1_000, 1_000),
            (false, 1_001, 2_500),
            (true, 1_001, 2_501),
            (true, 3_000, i64::MAX),
            (true, 5_000, 6_000),
            (false, 5_001, i64::MAX),
            (true, i64::MIN, i64::MAX),
        ] {
            assert_eq!(windows.look_into(range(min, max)), looked, "{min} to {max}");
            let by_hand = (0..windows.count)
                .any(|step| TimeRange::window(windows.end_ms(step), 500).overlaps(range(min, max)));
            assert_eq!(by_hand, looked, "{min} to {max}");
        }
        let pinned = Windows::of(&Steps::range(1_000, 5_000, 2_000), 500, 0, Some(9_000));
        assert!(pinned.look_into(range(8_501, 8_501)) && !pinned.look_into(range(8_000, 8_500)));
        assert!(pinned.look_into(range(9_000, 9_001)) && !pinned.look_into(range(9_001, 9_002)));
        let none = Windows { count: 0, ..windows };
        assert!(!none.look_into(TimeRange::ALL));
    }
}
