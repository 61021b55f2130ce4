//! Stretches of time of which a store has not everything, so that an answer can say what it may lack.

use crate::range::TimeRange;

/// What there is of a stretch may be missing from answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    pub range: TimeRange,
    pub why: Why,
}

/// Why samples are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// They are on their way into the store: later they are there.
    Awaited,
    /// They could not be read on the way; whoever runs the server was told.
    Unreadable,
    /// The medium does not give all of what it held.
    Damaged,
}

/// What lies closer together is told as one: blocks end with their last sample and begin with their first.
const CLOSE_MS: i64 = 3_600_000;

impl Missing {
    /// Those that `needs` them, with what lies close together as one, in order of time.
    pub fn needed(missing: &[Missing], needs: impl Fn(TimeRange) -> bool) -> Vec<Missing> {
        let mut found: Vec<Missing> = missing.iter().filter(|one| needs(one.range)).copied().collect();
        found.sort_by_key(|one| (one.why, one.range.min_ms));
        found.dedup_by(|next, before| {
            let close = next.range.min_ms <= before.range.max_ms.saturating_add(CLOSE_MS);
            let joins = next.why == before.why && close;
            if joins {
                before.range = before.range.union(next.range);
            }
            joins
        });
        found.sort_by_key(|one| (one.range.min_ms, one.why));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_close_together_is_one() {
        let hours = |min: i64, max: i64| TimeRange::new(min * CLOSE_MS, max * CLOSE_MS - 60_000);
        let one = |min, max, why| Missing { range: hours(min, max), why };
        let all = [
            one(20, 30, Why::Awaited),
            one(0, 10, Why::Awaited),
            one(10, 20, Why::Awaited),
            one(5, 12, Why::Unreadable),
            one(31, 40, Why::Awaited),
        ];
        let needed = Missing::needed(&all, |_| true);
        let expect = [one(0, 30, Why::Awaited), one(5, 12, Why::Unreadable), one(31, 40, Why::Awaited)];
        assert_eq!(needed, expect);
        let needed = Missing::needed(&all, |range| range.overlaps(hours(13, 15)));
        assert_eq!(needed, [one(10, 20, Why::Awaited)]);
        assert_eq!(Missing::needed(&all, |_| false), []);
    }
}
