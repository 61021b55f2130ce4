//! Parts of the UTC date that a value, as seconds since the epoch, stands for.

use crate::functions::TimeKind;

/// Days since the epoch to year, month, day (Howard Hinnant, *chrono-Compatible Low-Level Date
/// Algorithms*: years run from March, so that the leap day is the last).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

const DAYS_BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];

/// From the beginning of Go's calendar, 1 March of the year -292277022400, to the epoch, in seconds.
const CALENDAR_BEGIN_SECONDS: i128 = 9223372028741760000;

/// Whole seconds since the epoch as Prometheus on amd64 reads them: what does not fit into 64 bits becomes
/// the least that does, and what lies before the beginning of Go's calendar is counted round to its end.
fn whole_seconds(seconds: f64) -> i128 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let fits = (-LIMIT..LIMIT).contains(&seconds);
    let seconds = i128::from(if fits { seconds as i64 } else { i64::MIN });
    if seconds < -CALENDAR_BEGIN_SECONDS { seconds + (1 << 64) } else { seconds }
}

/// A time to the second, as RFC 3339 has it.
pub fn rfc3339(ms: i64) -> String {
    let seconds = ms.div_euclid(1_000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// The part of the date.
pub fn part(kind: TimeKind, seconds: f64) -> f64 {
    let seconds = whole_seconds(seconds);
    // A day is long enough for both to fit into 64 bits.
    let (days, second) = (seconds.div_euclid(86_400) as i64, seconds.rem_euclid(86_400) as i64);
    let (year, month, day) = civil(days);
    let leap_passed = i64::from(is_leap(year) && month > 2);
    (match kind {
        TimeKind::Minute => second / 60 % 60,
        TimeKind::Hour => second / 3_600,
        TimeKind::DayOfWeek => (days + 4).rem_euclid(7),
        TimeKind::DayOfMonth => day,
        TimeKind::DayOfYear => DAYS_BEFORE[month as usize - 1] + day + leap_passed,
        TimeKind::DaysInMonth => {
            let length = DAYS_BEFORE[month as usize] - DAYS_BEFORE[month as usize - 1];
            length + i64::from(month == 2 && is_leap(year))
        }
        TimeKind::Month => month,
        TimeKind::Year => year,
    }) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_known_seconds() {
        let check = |kind, seconds: f64, expect: f64| assert_eq!(part(kind, seconds), expect, "{kind:?}");
        check(TimeKind::Year, 0.0, 1970.0);
        check(TimeKind::DayOfWeek, 0.0, 4.0);
        check(TimeKind::DayOfYear, 951_782_400.0, 60.0);
        check(TimeKind::DayOfMonth, 951_782_400.0, 29.0);
        check(TimeKind::DaysInMonth, 951_782_400.0, 29.0);
        check(TimeKind::DayOfYear, 1_230_681_600.0, 366.0);
        check(TimeKind::Hour, -1.0, 23.0);
        check(TimeKind::Month, -1.0, 12.0);
    }

    #[test]
    fn times_are_written_to_the_second() {
        assert_eq!(rfc3339(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
    }

    /// Checked against Prometheus 3.5 on amd64.
    #[test]
    fn what_is_no_date_is_the_end_of_the_calendar() {
        for seconds in [1e300, -1e300, f64::NAN, f64::INFINITY, 9.3e18, -9.3e18] {
            let parts = [
                (TimeKind::Year, 292_277_026_596.0),
                (TimeKind::Month, 12.0),
                (TimeKind::DayOfMonth, 4.0),
                (TimeKind::DayOfWeek, 0.0),
                (TimeKind::DayOfYear, 339.0),
                (TimeKind::DaysInMonth, 31.0),
                (TimeKind::Hour, 15.0),
                (TimeKind::Minute, 30.0),
            ];
            for (kind, expect) in parts {
                assert_eq!(part(kind, seconds), expect, "{kind:?} of {seconds}");
            }
        }
        assert_eq!(part(TimeKind::Year, 9e18), 285_198_648_531.0);
        assert_eq!(part(TimeKind::Year, -9e18), -285_198_644_592.0);
    }
}
