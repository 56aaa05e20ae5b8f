//! The usual share of a key in each hour of the week: Gnip's cycle-corrected baseline.

use crate::bolt::bytes::{Reader, Writer};

const HOUR_MS: i64 = 3_600_000;

/// The hours of a week.
const HOURS: usize = 168;

/// The mean share of a key in one hour of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Slot {
    /// The share in the newest week, which has the number `week`.
    newest: f32,
    /// The share in the week before; 0 if the key didn't occur.
    before: f32,
    week: u32,
}

/// The shares of a key by the hour of the week. The expected share of an hour is the smaller one of
/// the two weeks before, so that a trend of last week isn't usual yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Season {
    slots: Box<[Slot; HOURS]>,
    /// The current hour, counted from 1970.
    hour: i64,
    /// The sum of its shares so far.
    sum: f64,
}

fn hour_of(time_ms: i64) -> i64 {
    time_ms.div_euclid(HOUR_MS)
}

/// Returns the slot of an hour, and the number of its week.
fn place(hour: i64) -> (usize, u32) {
    let week = u32::try_from(hour.div_euclid(HOURS as i64)).unwrap_or(0);
    (usize::try_from(hour.rem_euclid(HOURS as i64)).unwrap_or(0), week)
}

impl Season {
    /// Creates a season without history, from a time on.
    pub(crate) fn new(time_ms: i64) -> Self {
        Self { slots: Box::new([Slot::default(); HOURS]), hour: hour_of(time_ms), sum: 0.0 }
    }

    /// Adds the share of a bucket with this length in milliseconds.
    pub(crate) fn add(&mut self, time_ms: i64, share: f64, bucket_ms: i64) {
        let hour = hour_of(time_ms);
        if hour > self.hour {
            self.end_hour(bucket_ms);
            (self.hour, self.sum) = (hour, 0.0);
        }
        self.sum += share;
    }

    fn end_hour(&mut self, bucket_ms: i64) {
        // A bucket that is longer than an hour stands for its first hour.
        let buckets = (HOUR_MS as f64 / bucket_ms as f64).max(1.0);
        let (slot, week) = place(self.hour);
        let slot = &mut self.slots[slot];
        let before = if slot.week + 1 == week { slot.newest } else { 0.0 };
        *slot = Slot { newest: (self.sum / buckets) as f32, before, week };
    }

    /// Returns the usual share at a time; 0 without a history of two weeks.
    pub(crate) fn share(&self, time_ms: i64) -> f64 {
        let (slot, week) = place(hour_of(time_ms));
        let slot = &self.slots[slot];
        if slot.week + 1 == week { slot.newest.min(slot.before).into() } else { 0.0 }
    }

    /// Appends the season to a saved state: the hours of which something is known.
    pub(crate) fn encode(&self, into: &mut Writer<'_>) {
        into.signed(self.hour);
        into.float(self.sum);
        let known = || self.slots.iter().enumerate().filter(|(_, slot)| slot.week > 0);
        into.number(known().count() as u64);
        for (at, slot) in known() {
            into.number(at as u64);
            into.number(slot.week.into());
            into.short_float(slot.newest);
            into.short_float(slot.before);
        }
    }

    /// Reads the output of [`encode`](Self::encode).
    pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut season = Self::new(0);
        season.hour = from.signed()?;
        season.sum = from.float()?;
        for _ in 0..from.number()? {
            let slot = season.slots.get_mut(usize::try_from(from.number()?).ok()?)?;
            slot.week = from.number_u32()?;
            slot.newest = from.short_float()?;
            slot.before = from.short_float()?;
        }
        Some(season)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    /// Each day from 7 to 8 o'clock, a share in each minute.
    fn mornings(season: &mut Season, days: std::ops::Range<i64>, share: f64) {
        for day in days {
            for minute in 0..60 {
                let time = day * 24 * HOUR_MS + 7 * HOUR_MS + minute * MINUTE;
                season.add(time, share, MINUTE);
            }
        }
    }

    fn seven(day: i64) -> i64 {
        day * 24 * HOUR_MS + 7 * HOUR_MS + 5 * MINUTE
    }

    #[test]
    fn an_hour_is_usual_once_two_weeks_had_it() {
        let mut season = Season::new(seven(700));
        mornings(&mut season, 700..711, 0.5);
        assert_eq!(season.share(seven(711)), 0.0, "one week is no history");
        mornings(&mut season, 711..718, 0.5);
        assert!((season.share(seven(718)) - 0.5).abs() < 1e-6);
        assert_eq!(season.share(seven(718) + HOUR_MS), 0.0, "eight o'clock is another hour");
        assert_eq!(season.share(seven(718 + 7)), 0.0, "a week without it ends it");
    }

    #[test]
    fn one_trend_makes_nothing_usual() {
        let mut season = Season::new(seven(700));
        mornings(&mut season, 700..707, 0.01);
        mornings(&mut season, 707..708, 0.9);
        mornings(&mut season, 708..714, 0.01);
        assert!((season.share(seven(714)) - 0.01).abs() < 1e-6);
    }

    #[test]
    fn what_is_saved_reads_back() {
        let mut season = Season::new(seven(700));
        mornings(&mut season, 700..720, 0.25);
        let mut bytes = Vec::new();
        season.encode(&mut Writer(&mut bytes));
        assert_eq!(Season::decode(&mut Reader(&bytes)), Some(season));
    }
}
