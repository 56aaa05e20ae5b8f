//! Parts of a source (pages, channels, rules, hashtags) that its platform refuses: each part is
//! left out for a while, and the other parts go on.

use std::collections::BTreeMap;
use std::fmt;

use time::{Duration, OffsetDateTime};

use super::wrap::stamp;

/// The first and the longest pause before a part that was refused is asked for again; each refusal
/// in a row doubles the pause. A shorter pause costs calls for parts that are mostly gone for good;
/// a longer pause keeps out a part that is available again.
const PAUSE_FIRST: Duration = Duration::minutes(1);
const PAUSE_MAX: Duration = Duration::hours(1);

/// The most parts that the state names; the state is a line of text.
const NAMED_MAX: usize = 5;

/// The length of a platform's reason that the state shows for each part, in characters.
const REASON_CHARS_MAX: usize = 200;

/// A part that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    why: String,
    since: OffsetDateTime,
    pause: Duration,
    again: OffsetDateTime,
}

/// The parts of one source that are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct LeftOut(BTreeMap<String, Refusal>);

impl LeftOut {
    /// Leaves a part out, for a longer time at each refusal. Returns true if the reason is new, and
    /// so worth a message.
    pub(crate) fn refuse(&mut self, part: &str, why: &str, now: OffsetDateTime) -> bool {
        let before = self.0.get(part);
        let is_new = before.is_none_or(|before| before.why != why);
        let pause = before.map_or(PAUSE_FIRST, |before| PAUSE_MAX.min(before.pause * 2));
        let since = before.map_or(now, |before| before.since);
        self.0.insert(part.into(), Refusal { why: why.into(), since, pause, again: now + pause });
        is_new
    }

    /// Returns true if a part was refused and it isn't time yet to ask for it again.
    pub(crate) fn is_out(&self, part: &str, now: OffsetDateTime) -> bool {
        // If the clock was set back, a part must not be left out for longer than its pause.
        self.0
            .get(part)
            .is_some_and(|refusal| now < refusal.again && now >= refusal.again - refusal.pause)
    }

    /// Takes back a part that is good again. Returns the time since when it was left out, if it
    /// was.
    pub(crate) fn take_back(&mut self, part: &str) -> Option<OffsetDateTime> {
        self.0.remove(part).map(|refusal| refusal.since)
    }
}

/// The parts as a component's state shows them; empty if nothing is left out.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        f.write_str("left out: ")?;
        for (number, (part, refusal)) in self.0.iter().take(NAMED_MAX).enumerate() {
            let why: String = refusal.why.chars().take(REASON_CHARS_MAX).collect();
            let separator = if number > 0 { "; " } else { "" };
            let again = stamp(refusal.again.replace_nanosecond(0).unwrap_or(refusal.again));
            write!(f, "{separator}{part} (asked again at {again}): {why}")?;
        }
        match self.0.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

    #[test]
    fn a_part_is_asked_again_after_pauses_that_grow_up_to_an_hour() {
        let mut left_out = LeftOut::default();
        let mut now = NOON;
        let mut minutes = Vec::new();
        for _ in 0..9 {
            left_out.refuse("page 7", "gone", now);
            let again = left_out.0["page 7"].again;
            assert!(
                left_out.is_out("page 7", again - Duration::SECOND)
                    && !left_out.is_out("page 7", again)
            );
            minutes.push((again - now).whole_minutes());
            now = again;
        }
        assert_eq!(minutes, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(
            (left_out.take_back("page 7"), left_out.take_back("page 7")),
            (Some(NOON), None)
        );
        assert!(!left_out.is_out("page 7", now));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_part_out() {
        let mut left_out = LeftOut::default();
        left_out.refuse("page 7", "gone", NOON);
        assert!(!left_out.is_out("page 7", NOON - Duration::DAY));
    }

    #[test]
    fn the_state_names_the_parts_and_their_reasons() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.to_string(), "");
        assert!(left_out.refuse("page 7", "gone", NOON));
        assert!(!left_out.refuse("page 7", "gone", NOON), "the same reason is told once");
        assert!(left_out.refuse("page 7", "forbidden", NOON));
        left_out.refuse("page 8", "gone", NOON);
        assert_eq!(
            left_out.to_string(),
            "left out: page 7 (asked again at 2026-11-25T12:04:00Z): forbidden; \
             page 8 (asked again at 2026-11-25T12:01:00Z): gone"
        );
        for page in 10..20 {
            left_out.refuse(&format!("page {page}"), &"x".repeat(5_000), NOON);
        }
        let state = left_out.to_string();
        assert!(state.ends_with("; and 7 more") && state.len() < 1_500, "{state}");
    }
}
