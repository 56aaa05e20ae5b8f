//! A gap that the stream itself repeats, by `backfill_minutes`: when it is over.
//!
//! X sends older posts before newer ones, but only as a rule, and lets keep-alives come in between.
//! So neither a keep-alive nor the first newer post says that nothing more of the gap comes.

use std::time::Duration;

use time::OffsetDateTime;

/// A gap is over so long after its last post, once a newer one has come: X delivers 99 of 100 posts
/// within 7 s.
pub(super) const SETTLES: Duration = Duration::from_secs(10);

/// After so long without a newer post the stream is too quiet to tell: then the gap is searched.
pub(super) const QUIET: Duration = Duration::from_secs(120);

/// A time that the stream itself repeats.
pub(super) struct Repeating {
    /// The gap's entry.
    pub gap: String,
    /// How many posts were new.
    pub posts: u64,
    /// What is newer isn't repeated.
    until: OffsetDateTime,
    /// Whether something newer came.
    newer: bool,
    /// When something of the gap came, by the monotonic clock; at first when the connection was
    /// made.
    last: Duration,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// More may come.
    Repeats,
    /// It has been repeated.
    Over,
    /// Nothing tells whether it has been.
    Unclear,
}

impl Repeating {
    /// A gap that ends now, on a connection that begins now.
    pub fn new(gap: String, until: OffsetDateTime, now: Duration) -> Self {
        Self { gap, posts: 0, until, newer: false, last: now }
    }

    /// A post came; `taken` says that it was new.
    pub fn post(&mut self, created: Option<OffsetDateTime>, taken: bool, now: Duration) {
        self.posts += u64::from(taken);
        match created {
            Some(created) if created >= self.until => self.newer = true,
            _ => self.last = now,
        }
    }

    /// For so long nothing was read, which is no silence: the rest may wait in the socket.
    pub fn waited(&mut self, waited: Duration) {
        self.last += waited;
    }

    /// How far it is.
    pub fn stage(&self, now: Duration) -> Stage {
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
        // Older ones may come behind newer ones.
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
        // Nor is it one for what is read next.
        assert_eq!(repeating.stage(S * 60 + SETTLES), Stage::Repeats);
        assert_eq!(repeating.stage(S * 61 + SETTLES), Stage::Over);
    }
}
