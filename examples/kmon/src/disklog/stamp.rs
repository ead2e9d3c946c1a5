//! Times in a log: milliseconds of UTC, written as RFC 3339 with a fixed length.
//!
//! UTC has no hour that occurs twice, and with a fixed length the order of times is that of their
//! texts, so that `sort` and `awk` can compare them.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

/// A time, as milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(i64);

/// Bytes of a written time, such as `2026-11-30T11:34:56.789Z`.
pub(super) const STAMP_LEN: usize = 24;

impl Stamp {
    /// Before all times.
    pub(super) const EARLIEST: Self = Self(i64::MIN);

    pub(crate) fn now() -> Self {
        Self(Timestamp::now().as_millisecond())
    }

    /// Converts a file's time. A time before 1970 is taken as that year.
    pub(super) fn from_system(time: SystemTime) -> Self {
        let after = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
    }

    /// Returns the time this many milliseconds after the beginning of 1970.
    pub(crate) const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970; 0 for a time before.
    pub(crate) fn millis(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    pub(super) fn earlier(self, by: Duration) -> Self {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// Returns how long after `earlier` it is, or zero.
    pub(super) fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Reads a time that was written by [`fmt::Display`].
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let is_exact = text.len() == STAMP_LEN && text.ends_with('Z');
        let time: Timestamp = is_exact.then_some(text)?.parse().ok()?;
        Some(Self(time.as_millisecond()))
    }

    /// Reads what an operator writes after `--since`: a duration before now (`10m`, `1h 30m`,
    /// `2 days`), a time with its zone (RFC 3339), a local date or date and time, or a local time
    /// of the last 24 hours.
    ///
    /// # Errors
    /// None of these, or out of range.
    pub(crate) fn parse_since(text: &str) -> Result<Self, String> {
        let now = Timestamp::now();
        since(text.trim(), now, &TimeZone::system())
            .map(|time| Self(time.as_millisecond()))
            .ok_or_else(|| {
                "expected a duration (10m, 2h), a time (14:30), a date (2026-11-30), or both".into()
            })
    }

    /// Writes its local time of day.
    pub(crate) fn local_time(self) -> String {
        let zone = TimeZone::system();
        match Timestamp::from_millisecond(self.0) {
            Ok(time) => time
                .to_zoned_datetime(zone)
                .strftime("%H:%M:%S")
                .to_string(),
            Err(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock outside of the years 0 to 9999, without its last day, has no time of this length.
        const FIRST: i64 = -62_167_219_200_000;
        const LAST: i64 = 253_402_207_200_000;
        let time = Timestamp::from_millisecond(self.0.clamp(FIRST, LAST)).unwrap_or_default();
        write!(f, "{time:.3}")
    }
}

fn since(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return Some(time.to_zoned_datetime(zone.clone()).ok()?.timestamp());
    }
    if text.contains(':')
        && let Ok(time) = text.parse::<Time>()
    {
        return last_time_of_day(time, &now.to_zoned_datetime(zone.clone()));
    }
    // `2 days` and more are no absolute durations for the parser: days have 24 hours here.
    let span: jiff::Span = text.parse().ok()?;
    let relative = jiff::SpanRelativeTo::days_are_24_hours();
    let before: SignedDuration = span.to_duration(relative).ok()?.abs();
    now.checked_sub(before).ok()
}

fn last_time_of_day(time: Time, now: &ZonedDateTime) -> Option<Timestamp> {
    let today = now.date().to_datetime(time);
    let day = if time > now.time() {
        today.yesterday().ok()?
    } else {
        today
    };
    let zoned = day.to_zoned_datetime(now.time_zone().clone()).ok()?;
    Some(zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_a_fixed_length_and_read_back() {
        let mut texts = Vec::new();
        for millis in [i64::MIN, 0, 999, 1_796_038_496_789, i64::MAX] {
            let text = Stamp(millis).to_string();
            assert_eq!(text.len(), STAMP_LEN, "{text}");
            let back = Stamp::parse(text.as_bytes()).unwrap();
            assert_eq!(back.to_string(), text);
            texts.push(text);
        }
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts[3], "2026-11-30T11:34:56.789Z");
        for wrong in ["2026-11-30T11:34:56Z", "2026-11-30T11:34:56.789+", ""] {
            assert_eq!(Stamp::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn since_accepts_durations_times_and_dates() {
        let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::fixed(jiff::tz::offset(1)));
        let now: Timestamp = "2026-11-30T11:34:56Z".parse().unwrap();
        let read = |text: &str| since(text, now, &zone).map(|time| time.to_string());
        for (text, expected) in [
            ("10m", "2026-11-30T11:24:56Z"),
            ("1h 30m", "2026-11-30T10:04:56Z"),
            ("2 days", "2026-11-28T11:34:56Z"),
            ("2d", "2026-11-28T11:34:56Z"),
            ("2026-11-30T10:00:00+01:00", "2026-11-30T09:00:00Z"),
            ("2026-11-30 10:00", "2026-11-30T09:00:00Z"),
            ("2026-11-29", "2026-11-28T23:00:00Z"),
            ("12:00", "2026-11-30T11:00:00Z"),
            ("13:00:01", "2026-11-29T12:00:01Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for wrong in ["", "soon", "10", "99:99", "999999999999y"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
