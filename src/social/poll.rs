//! The parts that all polling sources share.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;

use super::feed::Feed;
use super::wrap::stamp;

/// The most refused inputs that are remembered. At this number all of them are forgotten.
const REFUSED_MAX: usize = 10_000;

/// Saves for each new part that it is to be read from now on, so that a later start reads from the
/// same time.
///
/// # Errors
/// If the cursors can't be saved.
pub async fn begin(feed: &Feed, parts: &[String]) -> Result<()> {
    let mut is_new = false;
    for part in parts.iter().filter(|part| feed.cursor(part).is_none()) {
        feed.set_cursor(part, stamp(feed.now()));
        is_new = true;
    }
    if is_new { feed.save().await } else { Ok(()) }
}

/// Returns the time in the cursor of a part: the time of its newest post.
pub fn newest(feed: &Feed, part: &str) -> OffsetDateTime {
    let saved = feed.cursor(part).and_then(|saved| OffsetDateTime::parse(&saved, &Rfc3339).ok());
    saved.unwrap_or_else(|| feed.now())
}

/// A plan of the pauses between reads: all parts (pages, channels, topics) are read in turn, and
/// share evenly the calls that a credential is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    share: Duration,
    per_call: Duration,
}

impl Plan {
    /// Plans to read each of `parts` parts once in `every`, if the calls allow it. `per_call` is
    /// the time that each call uses up.
    pub fn new(parts: usize, every: Duration, per_call: Duration) -> Self {
        Self { share: every / u32::try_from(parts.max(1)).unwrap_or(u32::MAX), per_call }
    }

    /// Returns the pause after a read that took the time `took` and this number of calls. A
    /// `stretch` above 1 makes reads rarer, since the platform says that its limit is near.
    pub fn pause(self, took: Duration, calls: u64, stretch: u32) -> Duration {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let share = self.share.saturating_mul(stretch);
        share.max(self.per_call.saturating_mul(calls)).saturating_sub(took)
    }
}

/// The refused inputs: a source that reads the same input again refuses it once.
#[derive(Debug, Default)]
pub struct Refusals(RefCell<BTreeSet<u64>>);

impl Refusals {
    /// Refuses input that can't be made into a post, unless it was refused before.
    pub fn refuse(&self, feed: &Feed, raw: &[u8], why: &str) {
        let mut known = self.0.borrow_mut();
        if known.len() == REFUSED_MAX {
            known.clear();
        }
        if known.insert(xxh3_64(raw)) {
            feed.refuse(raw, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_shared_evenly_by_all_parts() {
        let s = Duration::from_secs;
        let plan = Plan::new(4, s(60), Duration::ZERO);
        assert_eq!(plan.pause(Duration::ZERO, 1, 1), s(15));
        assert_eq!(plan.pause(s(5), 9, 1), s(10), "what a read took counts");
        assert_eq!(plan.pause(s(60), 1, 1), Duration::ZERO);
        assert_eq!(plan.pause(Duration::ZERO, 1, 8), s(120), "near a limit reads get rarer");
        // 200 calls an hour are one call in 18 s, for any number of parts.
        let plan = Plan::new(100, s(60), s(3600) / 200);
        assert_eq!(plan.pause(Duration::ZERO, 1, 1), s(18));
        assert_eq!(plan.pause(s(4), 3, 1), s(50));
    }
}
