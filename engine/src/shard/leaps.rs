//! A clock that leaps: set by hand, or by a time server that was wrong. What only looks at samples' ages must not
//! delete everything because of it.
//!
//! A leap forward is believed once it has lasted for [`PATIENCE`]; until then time goes on from where it was. A clock
//! that goes back is believed at once: it makes nothing older.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How much faster than real time a clock may run, between two looks at it, before that is a leap: more than any
/// correction of a clock that was about right.
const LEAP_MS: i64 = 3_600_000;
/// A wrong clock is noticed and set right within this time. Meanwhile old data stays, which costs nothing but room.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// See the module's head.
#[derive(Debug, Default)]
pub struct Leaps {
    /// The clock when it was last believed, and when that was.
    believed: Cell<Option<(i64, Instant)>>,
    since: Cell<Option<Instant>>,
}

impl Leaps {
    /// The time by which the age of samples counts, where the clock says `clock_ms` at this moment.
    pub fn believable_ms(&self, clock_ms: i64, at: Instant) -> i64 {
        let Some((believed_ms, then)) = self.believed.get() else {
            self.believed.set(Some((clock_ms, at)));
            return clock_ms;
        };
        let passed = at.saturating_duration_since(then).as_millis();
        let expected_ms = believed_ms.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX));
        if clock_ms.saturating_sub(expected_ms) > LEAP_MS {
            let since = self.since.get().unwrap_or_else(|| {
                tracing::warn!(
                    clock_ms,
                    expected_ms,
                    "the clock leapt forward: no data is deleted for its age until it has stayed there for a day"
                );
                at
            });
            self.since.set(Some(since));
            if at.saturating_duration_since(since) < PATIENCE {
                return expected_ms;
            }
        }
        self.since.set(None);
        self.believed.set(Some((clock_ms, at)));
        clock_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leap_is_believed_when_it_lasts() {
        let (leaps, start) = (Leaps::default(), Instant::now());
        let hour = 3_600_000;
        let at = |hours: u64| start + Duration::from_secs(hours * 3600);
        let look = |clock_ms, hours| leaps.believable_ms(clock_ms, at(hours));
        assert_eq!(look(1000, 0), 1000);
        assert_eq!(look(1000 + hour, 1), 1000 + hour);
        // Ten years ahead, for a while.
        let far = 87_600 * hour;
        assert_eq!(look(far, 2), 1000 + 2 * hour);
        assert_eq!(look(far + 10 * hour, 12), 1000 + 12 * hour);
        assert_eq!(look(1000 + 13 * hour, 13), 1000 + 13 * hour);
        // Again, for good.
        assert_eq!(look(far, 14), 1000 + 14 * hour);
        assert_eq!(look(far + 23 * hour, 37), 1000 + 37 * hour);
        assert_eq!(look(far + 24 * hour, 38), far + 24 * hour);
        assert_eq!(look(far + 25 * hour, 39), far + 25 * hour);
        // Back, and a small correction forward.
        assert_eq!(look(5000, 40), 5000);
        assert_eq!(look(5000 + 2 * hour, 41), 5000 + 2 * hour);
    }
}
