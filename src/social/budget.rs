//! A bound on the posts that are read in an interval, since posts cost money.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::units::Interval;

/// The most posts that a source reads in each interval. The source pauses before it would exceed
/// this number, and goes on when the next interval begins. Intervals are multiples of their length
/// since 1970 (`1d` is a day of UTC). Every post that is received counts, even one that is filtered
/// out or was seen before, since it was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The number of posts.
    pub posts: u64,
    /// The length of the interval, such as `1d`.
    pub per: Interval,
}

/// The used part of a budget.
#[derive(Clone, Debug)]
pub(super) struct Account {
    budget: Budget,
    /// The number of the interval since 1970.
    interval: i128,
    used: u64,
}

impl Account {
    /// Opens an account with the text that [`save`](Self::save) returned.
    pub(crate) fn open(budget: Budget, saved: Option<&str>) -> Self {
        let saved = saved.and_then(|saved| saved.split_once(' '));
        let (interval, used) = saved
            .and_then(|(interval, used)| interval.parse().ok().zip(used.parse().ok()))
            .unwrap_or((0, 0));
        Self { budget, interval, used }
    }

    /// Returns the text from which a restart restores the account.
    pub(crate) fn save(&self) -> String {
        format!("{} {}", self.interval, self.used)
    }

    fn length(&self) -> i128 {
        (self.budget.per.0.as_nanos() as i128).max(1)
    }

    fn roll(&mut self, now: OffsetDateTime) {
        let interval = now.unix_timestamp_nanos().div_euclid(self.length());
        // If the clock is set back, no posts are given back.
        if interval > self.interval {
            (self.interval, self.used) = (interval, 0);
        }
    }

    /// Counts posts that were received.
    pub(crate) fn spend(&mut self, posts: u64, now: OffsetDateTime) {
        self.roll(now);
        self.used = self.used.saturating_add(posts);
    }

    /// Returns the number of posts that may still be received in this interval.
    pub(crate) fn left(&mut self, now: OffsetDateTime) -> u64 {
        self.roll(now);
        self.budget.posts.saturating_sub(self.used)
    }

    /// Returns the largest reserve for posts that are on their way: a tenth of the budget. With a
    /// larger reserve, a source that is fast for its budget would read nothing.
    pub(crate) fn reserve_max(&self) -> u64 {
        self.budget.posts / 10
    }

    /// Returns the time when the next interval begins.
    pub(crate) fn resets(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(
            self.interval.saturating_add(1).saturating_mul(self.length()),
        )
        .unwrap_or(OffsetDateTime::UNIX_EPOCH + Duration::days(1))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_is_used_is_forgotten_when_the_next_interval_begins() {
        let day = Budget { posts: 10, per: "1d".parse().unwrap() };
        let now = datetime!(2026-11-25 12:00:00 UTC);
        let mut account = Account::open(day, None);
        assert_eq!(account.left(now), 10);
        account.spend(7, now);
        let mut account = Account::open(day, Some(&account.save()));
        assert_eq!(account.left(now), 3);
        assert_eq!(account.resets(), datetime!(2026-11-26 00:00:00 UTC));
        account.spend(7, now);
        assert_eq!(account.left(now), 0);
        assert_eq!(
            account.left(datetime!(2026-11-24 23:59:59 UTC)),
            0,
            "a clock that steps back gives nothing"
        );
        assert_eq!(account.left(datetime!(2026-11-26 00:00:00 UTC)), 10);
    }
}
