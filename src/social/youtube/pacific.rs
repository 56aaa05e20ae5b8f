//! The days of YouTube's quotas: a day begins at midnight in Los Angeles, by the rule of 2007
//! (Energy Policy Act of 2005, section 110): summer time from the second Sunday of March to the
//! first of November, at 2 o'clock.

use time::{Date, Duration, Month, OffsetDateTime, UtcOffset, Weekday};

/// Returns the beginning of the day in which a time lies.
pub(super) fn day(now: OffsetDateTime) -> OffsetDateTime {
    // By winter time the date may be a day behind, for an hour of each day.
    let mut date = (now.to_offset(UtcOffset::UTC) - Duration::hours(8)).date();
    if let Some(next) = date.next_day().filter(|next| midnight(*next) <= now) {
        date = next;
    }
    midnight(date)
}

/// Returns the beginning of the next day.
pub(super) fn next_day(now: OffsetDateTime) -> OffsetDateTime {
    let date = (day(now) - Duration::hours(8) + Duration::hours(1)).date();
    date.next_day().map_or(now + Duration::days(1), midnight)
}

fn midnight(date: Date) -> OffsetDateTime {
    let hours = if is_summer(date) { 7 } else { 8 };
    date.midnight().assume_utc() + Duration::hours(hours)
}

/// Returns true if a day begins in summer time.
fn is_summer(date: Date) -> bool {
    let begins = sunday(date.year(), Month::March, 2);
    let ends = sunday(date.year(), Month::November, 1);
    begins < Some(date) && Some(date) <= ends
}

/// Returns the Sunday of a month with this number, counted from 1.
fn sunday(year: i32, month: Month, number: u8) -> Option<Date> {
    let first = Date::from_calendar_date(year, month, 1).ok()?;
    let to_sunday = (7 - first.weekday().number_days_from_sunday()) % 7;
    let date = first + Duration::days(i64::from(to_sunday) + 7 * (i64::from(number) - 1));
    debug_assert_eq!(date.weekday(), Weekday::Sunday);
    Some(date)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_los_angeles_in_summer_and_winter() {
        for (now, begins, next) in [
            (
                datetime!(2026-11-25 12:00 UTC),
                datetime!(2026-11-25 08:00 UTC),
                datetime!(2026-11-26 08:00 UTC),
            ),
            (
                datetime!(2026-11-25 07:59 UTC),
                datetime!(2026-11-24 08:00 UTC),
                datetime!(2026-11-25 08:00 UTC),
            ),
            (
                datetime!(2026-07-04 07:00 UTC),
                datetime!(2026-07-04 07:00 UTC),
                datetime!(2026-07-05 07:00 UTC),
            ),
            (
                datetime!(2026-07-04 06:59 UTC),
                datetime!(2026-07-03 07:00 UTC),
                datetime!(2026-07-04 07:00 UTC),
            ),
            // Summer time began on 8 March 2026 and ended on 1 November.
            (
                datetime!(2026-03-08 20:00 UTC),
                datetime!(2026-03-08 08:00 UTC),
                datetime!(2026-03-09 07:00 UTC),
            ),
            (
                datetime!(2026-11-01 20:00 UTC),
                datetime!(2026-11-01 07:00 UTC),
                datetime!(2026-11-02 08:00 UTC),
            ),
            (
                datetime!(2026-11-02 07:30 UTC),
                datetime!(2026-11-01 07:00 UTC),
                datetime!(2026-11-02 08:00 UTC),
            ),
        ] {
            assert_eq!((day(now), next_day(now)), (begins, next), "{now}");
        }
    }
}
