//! Event time: the posts' own time, by which windows are formed.

use std::time::Duration;

use time::OffsetDateTime;

/// A point of event time, in whole milliseconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// Before all posts: the time of a tuple without one, and a watermark without information.
    pub const UNKNOWN: Self = Self(i64::MIN);
    /// After all posts: the watermark at the end of all sources.
    pub const END: Self = Self(i64::MAX);

    /// Returns the point this many milliseconds after the beginning of 1970.
    pub const fn from_unix_millis(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Returns the milliseconds since the beginning of 1970.
    pub const fn unix_millis(self) -> i64 {
        self.0
    }

    /// Returns the point `duration` before this one. [`UNKNOWN`](Self::UNKNOWN) and
    /// [`END`](Self::END) are returned unchanged.
    #[must_use]
    pub fn before_by(self, duration: Duration) -> Self {
        if self == Self::UNKNOWN || self == Self::END {
            return self;
        }
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(milliseconds))
    }
}

impl EventTime {
    /// Returns the time from this point to `newest`; zero if this point is the later one. `None` if
    /// either is [`UNKNOWN`](Self::UNKNOWN).
    pub fn behind(self, newest: Self) -> Option<Duration> {
        if self == Self::UNKNOWN || newest == Self::UNKNOWN {
            return None;
        }
        let milliseconds = newest.0.saturating_sub(self.0);
        Some(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)))
    }
}

impl From<OffsetDateTime> for EventTime {
    /// Rounds down to the millisecond.
    fn from(time: OffsetDateTime) -> Self {
        // A date in the type's range is at most 10^15 milliseconds away from 1970.
        Self(i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).unwrap_or(i64::MIN))
    }
}

impl From<EventTime> for Option<OffsetDateTime> {
    /// Returns `None` for [`UNKNOWN`](EventTime::UNKNOWN), [`END`](EventTime::END), and times
    /// outside the years of the type.
    fn from(time: EventTime) -> Self {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0) * 1_000_000).ok()
    }
}

/// The order of event time in the input of a spout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTimeOrder {
    /// A post may be this much older than an earlier one of its split without being late.
    pub disorder: Duration,
    /// True if each split of a task is read after the previous one and has later posts. Then event
    /// time follows the newest post that the task has emitted in this run. False if splits are
    /// independent. Then event time follows the split that is furthest behind, and a split that
    /// hasn't been read yet holds event time back.
    pub in_sequence: bool,
    /// The time of silence after which a split stops holding event time back, until it emits again.
    /// `None` for a replay, whose result must not depend on its speed.
    pub idle_timeout: Option<Duration>,
}

/// The default disorder of sources. A longer one delays windows by as much; a shorter one makes
/// more posts late.
const DISORDER_USUAL: Duration = Duration::from_secs(60);

/// The time of silence after which a live source doesn't hold event time back.
const IDLE_TIMEOUT_USUAL: Duration = Duration::from_secs(60);

impl EventTimeOrder {
    /// Returns the order of a live source, whose splits are independent.
    pub const fn live() -> Self {
        Self {
            disorder: DISORDER_USUAL,
            in_sequence: false,
            idle_timeout: Some(IDLE_TIMEOUT_USUAL),
        }
    }

    /// Returns the order of files that are read to their ends, whose times are independent.
    pub const fn files() -> Self {
        Self { disorder: DISORDER_USUAL, in_sequence: false, idle_timeout: None }
    }

    /// Returns the order of a lake's partitions, each of which has later posts than the previous
    /// one.
    pub const fn replay() -> Self {
        Self { disorder: DISORDER_USUAL, in_sequence: true, idle_timeout: None }
    }
}

/// The marker that flows with the data and says how far event time has advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watermark {
    /// No tuple older than this is expected from this sender.
    At(EventTime),
    /// This sender has no information on time at the moment: it doesn't hold event time back.
    Idle,
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_go_there_and_back_in_whole_milliseconds() {
        let time = EventTime::from(datetime!(2026-07-04 01:02:03.456789 UTC));
        assert_eq!(time.unix_millis(), 1_783_126_923_456);
        assert_eq!(Option::from(time), Some(datetime!(2026-07-04 01:02:03.456 UTC)));
        assert_eq!(EventTime::from(datetime!(1969-12-31 23:59:59.9999 UTC)).unix_millis(), -1);
        assert_eq!(Option::<OffsetDateTime>::from(EventTime::UNKNOWN), None);
        assert_eq!(Option::<OffsetDateTime>::from(EventTime::END), None);
    }

    #[test]
    fn how_far_a_watermark_is_behind_is_known_where_both_times_are() {
        let [one, two] = [1_000, 2_500].map(EventTime::from_unix_millis);
        assert_eq!(one.behind(two), Some(Duration::from_millis(1_500)));
        assert_eq!(two.behind(one), Some(Duration::ZERO));
        assert_eq!(EventTime::END.behind(one), Some(Duration::ZERO));
        assert_eq!(EventTime::UNKNOWN.behind(one), None);
        assert_eq!(one.behind(EventTime::UNKNOWN), None);
    }

    #[test]
    fn what_has_no_time_stays_without_one() {
        let second = Duration::from_secs(1);
        assert_eq!(
            EventTime::from_unix_millis(1_500).before_by(second),
            EventTime::from_unix_millis(500)
        );
        assert_eq!(EventTime::UNKNOWN.before_by(second), EventTime::UNKNOWN);
        assert_eq!(EventTime::END.before_by(second), EventTime::END);
        assert_eq!(
            EventTime::from_unix_millis(0).before_by(Duration::MAX),
            EventTime::from_unix_millis(-i64::MAX)
        );
    }
}
