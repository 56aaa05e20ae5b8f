//! The end of a gap that the stream itself repeats, by `backfill_minutes`.
//!
//! X sends older posts before newer ones, but only as a rule, and keep-alives may come in between.
//! So neither a keep-alive nor the first newer post means that the gap is complete.

use std::time::Duration;

use time::OffsetDateTime;

/// The time after the last post of a gap at which the gap is complete, once a newer post has come:
/// X delivers 99 of 100 posts within 7 s.
pub(super) const SETTLES: Duration = Duration::from_secs(10);

/// The time without a newer post after which the stream is too quiet to tell: then the gap is
/// searched.
pub(super) const QUIET: Duration = Duration::from_secs(120);

/// A period that the stream itself repeats.
pub(super) struct Repeating {
    /// The gap's entry.
    pub gap: String,
    /// The number of new posts.
    pub posts: u64,
    /// The end of the period: newer posts aren't repeated.
    until: OffsetDateTime,
    /// True if a newer post came.
    newer: bool,
    /// The time of the last post of the gap, by the monotonic clock; at first the time of the
    /// connection.
    last: Duration,
}

/// The progress of a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// More may come.
    Repeats,
    /// The period has been repeated.
    Over,
    /// Nothing tells if the period has been repeated.
    Unclear,
}

impl Repeating {
    /// Starts a repetition of a gap that ends now, on a connection that begins now.
    pub(crate) fn new(gap: String, until: OffsetDateTime, now: Duration) -> Self {
        Self { gap, posts: 0, until, newer: false, last: now }
    }

    /// Takes a post; `taken` is true if the post was new.
    pub(crate) fn post(&mut self, created: Option<OffsetDateTime>, taken: bool, now: Duration) {
        self.posts += u64::from(taken);
        match created {
            Some(created) if created >= self.until => self.newer = true,
            _ => self.last = now,
        }
    }

    /// Notes a time in which nothing was read. It isn't silence, since the rest may wait in the
    /// socket.
    pub(crate) fn waited(&mut self, waited: Duration) {
        self.last += waited;
    }

    /// Returns the progress.
    pub(crate) fn stage(&self, now: Duration) -> Stage {
        let silent = now.saturating_sub(self.last);
        match self.newer {
            true if silent >= SETTLES => Stage::Over,
            false if silent >= QUIET => Stage::Unclear,
            _ => Stage::Repeats,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);
    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_over_a_while_after_its_last_post_if_a_newer_one_has_come() {
        let mut repeating = Repeating::new("g".into(), NOON, S);
        assert_eq!(repeating.stage(S + QUIET - S), Stage::Repeats);
        assert_eq!(repeating.stage(S + QUIET), Stage::Unclear);
        repeating.post(Some(NOON), true, S * 2);
        assert_eq!(repeating.stage(S * 3), Stage::Repeats);
        // Older posts may come behind newer ones.
        repeating.post(Some(NOON - S), false, S * 9);
        repeating.post(None, true, S * 10);
        assert_eq!(repeating.stage(S * 10 + SETTLES - S), Stage::Repeats);
        assert_eq!((repeating.stage(S * 10 + SETTLES), repeating.posts), (Stage::Over, 2));
    }

    #[test]
    fn a_wait_for_room_is_no_silence() {
        let mut repeating = Repeating::new("g".into(), NOON, S);
        repeating.post(Some(NOON), true, S);
        repeating.waited(S * 60);
        assert_eq!(repeating.stage(S * 61), Stage::Repeats);
        // After the wait, the next reads have the full time too.
        assert_eq!(repeating.stage(S * 60 + SETTLES), Stage::Repeats);
        assert_eq!(repeating.stage(S * 61 + SETTLES), Stage::Over);
    }
}
