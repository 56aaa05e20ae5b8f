//! The header `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.

use std::time::Duration;

use time::{Date, Month, OffsetDateTime, Time};

/// Returns the time for which a server asks not to be contacted; `None` if the header can't be
/// read. A date in the header is measured by `date`, the answer's own header `Date`, so that a
/// wrong clock of either side doesn't matter; without `date`, `now` is used.
pub fn retry_after(header: &str, date: Option<&str>, now: OffsetDateTime) -> Option<Duration> {
    let header = header.trim();
    // Some servers send fractions of seconds.
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = http_date(header)?;
    let now = date.and_then(http_date).unwrap_or(now);
    Some(Duration::try_from(until - now).unwrap_or(Duration::ZERO))
}

/// Parses an HTTP date in any of its three forms: `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday,
/// 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
fn http_date(text: &str) -> Option<OffsetDateTime> {
    let parts = text.split([' ', ',', '-']).filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let (day, month, year, clock) = match parts[..] {
        [_, day, month, year, clock, "GMT"] => (day, month, year, clock),
        [_, month, day, clock, year] => (day, month, year, clock),
        _ => return None,
    };
    let months =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let year = match (year.len(), year.parse::<i32>().ok()?) {
        (4, year) => year,
        // A year of two digits belongs to the last century if it would otherwise lie far ahead.
        (2, year @ 70..) => 1900 + year,
        (2, year) => 2000 + year,
        _ => return None,
    };
    let mut clock = clock.split(':').map(|part| part.parse::<u8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // The type has no leap seconds.
    let time = Time::from_hms(hour, minute, second.min(59)).ok()?;
    let date = Date::from_calendar_date(year, month, day.parse().ok()?).ok()?;
    Some(date.with_time(time).assume_utc())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read_in_each_form() {
        let now = datetime!(1994-11-06 08:49:07 UTC);
        for (header, seconds) in [
            ("120", Some(120.0)),
            (" 0 ", Some(0.0)),
            ("0.25", Some(0.25)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30.0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30.0)),
            ("Sun Nov  6 08:49:37 1994", Some(30.0)),
            ("Sun, 06 Nov 1994 08:40:00 GMT", Some(0.0)),
            ("Sun, 31 Feb 1994 08:40:00 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("-3", None),
            ("NaN", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ] {
            let found = retry_after(header, None, now).map(|wait| wait.as_secs_f64());
            assert_eq!(found, seconds, "{header}");
        }
        let theirs = Some("Sun, 06 Nov 1994 09:49:07 GMT");
        let wait = retry_after("Sun, 06 Nov 1994 09:49:37 GMT", theirs, now);
        assert_eq!(wait, Some(Duration::from_secs(30)), "by the server's own clock");
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "[ -~é]{0,40}", date in "[ -~]{0,40}") {
            let _ = retry_after(&header, Some(&date), datetime!(2026-02-03 12:00 UTC));
        }
    }
}
