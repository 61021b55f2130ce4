//! Start timestamps: when what a sample counts began to be counted. Where a store knows them, a counter's
//! reset is seen even where its value does not fall, and a sample whose start lies within the window needs
//! no other before it.
//!
//! They only come from a store: whatever has been computed has none. Zero stands for a start that is not
//! known, as Prometheus has it.

use super::Samples;

/// When a sample was taken and when its count began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub time_ms: i64,
    pub start_ms: i64,
}

impl Span {
    /// The start, where it is known and makes sense.
    fn known(self) -> Option<i64> {
        (self.start_ms != 0 && self.start_ms < self.time_ms).then_some(self.start_ms)
    }

    /// The count began anew after the sample before.
    pub fn is_reset_after(self, before: Span) -> bool {
        let Some(start_ms) = self.known() else { return false };
        // A start at the very time of the sample before means a delta. But OpenTelemetry writes the same
        // for a counter whose true start it never saw: there the sample before has no start either.
        let follows = start_ms == before.time_ms && before.known().is_some();
        start_ms > before.time_ms || follows
    }

    /// The count is said to have begun before the sample before was taken, but not when that one's did.
    pub fn overlaps(self, before: Span) -> bool {
        self.start_ms != 0 && self.start_ms < before.time_ms && self.start_ms != before.start_ms
    }

    /// The start, where it lies within a window that begins (and is open) at `window_start_ms`.
    pub fn within(self, window_start_ms: i64) -> Option<i64> {
        self.known().filter(|start_ms| *start_ms > window_start_ms)
    }
}

impl Samples<'_> {
    pub fn float_span(&self, i: usize) -> Span {
        Span { time_ms: self.times[i], start_ms: self.starts.get(i).copied().unwrap_or(0) }
    }

    pub fn histogram_span(&self, i: usize) -> Span {
        let start_ms = self.histogram_starts.get(i).copied().unwrap_or(0);
        Span { time_ms: self.histograms[i].0, start_ms }
    }

    pub fn has_starts(&self) -> bool {
        !self.starts.is_empty() || !self.histogram_starts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_told_from_starts_alone() {
        let check = |before: (i64, i64), now: (i64, i64), reset, overlap| {
            let span = |(start_ms, time_ms)| Span { start_ms, time_ms };
            let (before, now) = (span(before), span(now));
            assert_eq!((now.is_reset_after(before), now.overlaps(before)), (reset, overlap), "{now:?}");
        };
        // (start, time) of two samples.
        check((0, 100), (0, 200), false, false);
        check((10, 100), (10, 200), false, false);
        check((10, 100), (150, 200), true, false);
        // Deltas, and a cumulative counter with an unknown start.
        check((50, 100), (100, 200), true, false);
        check((0, 100), (100, 200), false, false);
        check((100, 100), (100, 200), false, false);
        check((130, 100), (100, 200), false, false);
        // Not before the sample itself.
        check((10, 100), (200, 200), false, false);
        check((10, 100), (300, 200), false, false);
        check((10, 100), (20, 200), false, true);
    }
}
