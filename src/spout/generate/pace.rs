//! The times at which posts are due.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::units::Interval;

/// The shortest sleep. A shorter one would make a high rate smoother and cost more wake-ups.
const STEP: Duration = Duration::from_millis(5);

/// Posts per second. A topology file has a number, or a text such as `"2000/s"` or `"30/m"`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(into = "f64")]
pub struct Rate(f64);

impl Rate {
    const MIN: f64 = 0.001;
    // Ids contain a post's millisecond and the last 16 bits of its number.
    const MAX: f64 = 10_000_000.0;

    /// The default rate of posts' own times: a millisecond per post.
    pub(super) const OF_OWN_TIME: Self = Self(1_000.0);

    /// Returns the rate of posts that are made this many times faster.
    pub(super) fn times(self, factor: f64) -> Self {
        Self(self.0 * factor)
    }

    /// Returns the number of microseconds between the first post and this one.
    pub(super) fn micros_of(self, number: u64) -> u64 {
        // A division and a multiplication give the same result on every machine.
        (number as f64 / self.0 * 1e6) as u64
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        if (Self::MIN..=Self::MAX).contains(&rate) {
            return Ok(Self(rate));
        }
        Err(format!(
            "expected a rate from {} to {} posts per second, found {rate}",
            Self::MIN,
            Self::MAX
        ))
    }
}

impl Rate {
    fn parse(text: &str) -> Option<Result<Self, String>> {
        let (posts, per) = text.split_once('/')?;
        let posts: f64 = posts.trim().parse().ok()?;
        let per: Interval = format!("1{}", per.trim()).parse().ok()?;
        Some(Self::try_from(posts / per.0.as_secs_f64()))
    }
}

/// Reads a rate from a topology file.
struct RateVisitor;

impl Visitor<'_> for RateVisitor {
    type Value = Rate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of posts per second, or a text such as \"2000/s\" or \"30/m\"")
    }

    fn visit_f64<E: serde::de::Error>(self, rate: f64) -> Result<Rate, E> {
        Rate::try_from(rate).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, rate: u64) -> Result<Rate, E> {
        self.visit_f64(rate as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, rate: i64) -> Result<Rate, E> {
        self.visit_f64(rate as f64)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rate, E> {
        let bad = || {
            format!(
                "bad rate \"{text}\": expected posts and a time, such as \"2000/s\" or \"30/m\""
            )
        };
        Rate::parse(text).unwrap_or_else(|| Err(bad())).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

/// The timetable of one task: the post with the number `first` is due at once, the others at their
/// distance from it. Waiting times aren't added up, so the timetable doesn't drift, and a delayed
/// task catches up.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub rate: Rate,
    pub started: Duration,
    pub first: u64,
}

impl Pace {
    /// Returns an upper bound of the number of the first post that isn't due yet.
    pub(crate) fn due(&self, now: Duration) -> u64 {
        let gone_by = now.saturating_sub(self.started).as_secs_f64();
        self.first.saturating_add((gone_by * self.rate.0) as u64).saturating_add(1)
    }

    /// Returns the time to sleep before a post that isn't due yet.
    pub(crate) fn until(&self, number: u64, now: Duration) -> Duration {
        // One microsecond is added for the fraction that the conversion cuts off: otherwise the
        // sleep would end slightly too early, and a second one would be needed.
        let after = Duration::from_micros(
            self.rate.micros_of(number.saturating_sub(self.first)).saturating_add(1),
        );
        let due = self.started.saturating_add(after);
        due.saturating_sub(now).max(STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ron_options;

    fn pace(rate: f64) -> Pace {
        Pace { rate: Rate(rate), started: Duration::from_secs(5), first: 640 }
    }

    /// Sleeps as the spout does, and returns the time of each wake-up with the number of posts that
    /// were due.
    fn wakes(pace: Pace, until: Duration) -> Vec<(Duration, u64)> {
        let mut now = pace.started;
        let mut wakes = Vec::new();
        while now <= until {
            wakes.push((now, pace.due(now)));
            now += pace.until(pace.due(now), now);
        }
        wakes
    }

    #[test]
    fn a_rate_is_a_number_or_a_text_with_a_time() {
        let read = |ron: &str| ron_options().from_str::<Rate>(ron).map_err(|e| e.to_string());
        for (ron, rate) in
            [("2000", 2_000.0), ("0.5", 0.5), ("\"2000/s\"", 2_000.0), ("\"30/m\"", 0.5)]
        {
            assert_eq!(read(ron).unwrap(), Rate(rate), "{ron}");
        }
        for ron in ["\"2000\"", "\"x/s\"", "\"1/x\"", "\"0/s\"", "0", "-1", "true"] {
            let error = read(ron).unwrap_err();
            assert!(error.contains("rate") || error.contains("2000/s"), "{ron}: {error}");
        }
    }

    #[test]
    fn one_post_a_second_comes_each_second() {
        let wakes = wakes(pace(1.0), Duration::from_millis(8_001));
        let due: Vec<_> = wakes.iter().map(|(now, due)| (now.as_millis(), *due)).collect();
        assert_eq!(due, [(5_000, 641), (6_000, 642), (7_000, 643), (8_000, 644)]);
    }

    #[test]
    fn a_high_rate_comes_in_small_steps() {
        let wakes = wakes(pace(100_000.0), Duration::from_secs(6));
        assert!(wakes.windows(2).all(|pair| pair[1].1 - pair[0].1 <= 501));
        assert_eq!(wakes.last().unwrap().1, 640 + 100_000 + 1);
    }

    #[test]
    fn nothing_drifts_in_a_year() {
        let year = Duration::from_secs(365 * 86_400);
        for rate in [0.3, 1.0, 3.0, 999.9, 1_000.0, 123_456.7] {
            let due = pace(rate).due(Duration::from_secs(5) + year) - 640;
            assert!(due.abs_diff((year.as_secs_f64() * rate) as u64) <= 1, "{rate}");
        }
    }

    #[test]
    fn a_wake_finds_the_post_that_it_was_for() {
        for rate in [0.001, 0.7, 1.0, 3.0, 7.0, 33.0, 199.0] {
            let pace = pace(rate);
            let late = pace.started + Duration::from_micros(1);
            for number in [641, 642, 700, 5_000] {
                assert!(pace.due(late + pace.until(number, late)) > number, "{rate} {number}");
            }
        }
    }

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9, 1e-9] {
            assert!(
                Rate::try_from(rate)
                    .unwrap_err()
                    .contains("expected a rate from 0.001 to 10000000"),
                "{rate}"
            );
        }
    }
}
