//! Times as documents show them: UTC, RFC 3339, whole seconds.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Manifest;

const DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar begins anew.
const ERA: i64 = 146_097;
/// Days from 0000-03-01, where the eras begin, to 1970-01-01.
const TO_1970: i64 = 719_468;
/// 9999-12-31T23:59:59Z: beyond it RFC 3339 has no years.
const LAST: i64 = 253_402_300_799;

impl Manifest {
    /// Returns the present time as `created` holds it.
    #[must_use]
    pub fn now() -> String {
        now()
    }
}

/// Returns the present time: `2026-07-01T12:34:56Z`. A clock before 1970 reads as 1970.
#[must_use]
pub fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    utc(i64::try_from(since.as_secs()).unwrap_or(LAST))
}

/// Returns the time so many seconds after 1970-01-01T00:00:00Z, kept to the years 0 to 9999.
#[must_use]
pub fn utc(seconds: i64) -> String {
    let seconds = seconds.clamp(-TO_1970 * DAY, LAST);
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads a time as [`utc`] writes it; `None` for anything else.
#[must_use]
pub fn parse_utc(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let days = day_number(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let time = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let seconds = days * DAY + time;
    // What is not written so again was no date, or was written in another way.
    (utc(seconds) == text).then_some(seconds)
}

/// Year, month and day of the day so many days after 1970-01-01. Years are counted from March,
/// so that the leap day comes last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + TO_1970;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March have 31, 30, 31, 30, 31 days, twice over: 153 days in five months.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (400 * era + year + i64::from(month <= 2), month, day)
}

fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    era * ERA + 365 * year + year / 4 - year / 100 + day - TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_are_written_and_read_back() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (946_684_799, "1999-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(seconds), text);
            assert_eq!(parse_utc(text), Some(seconds), "{text}");
        }
        assert_eq!(utc(i64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(utc(i64::MIN), "0000-03-01T00:00:00Z");
        assert!(parse_utc(&now()).is_some());
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut last = date(-1);
        for day in 0..ERA {
            let next = date(day);
            assert_eq!(day_number(next.0, next.1, next.2), day);
            assert!(next > last, "{next:?} after {last:?}");
            last = next;
        }
        assert_eq!(date(ERA), (2370, 1, 1));
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for text in [
            "",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01T00:00:00.5Z",
            "+026-01-01T00:00:00Z",
            "äöüß-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_utc(text), None, "{text:?}");
        }
    }
}
