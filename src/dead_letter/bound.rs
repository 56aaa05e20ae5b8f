//! The bound on dead letters: a stream of wrong input, or a bolt that refuses everything, must not
//! fill the disk, since that would end the capture of everything else.

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::{Messages, Meter};
use crate::units::ByteSize;

/// The bytes of dead letters that a task keeps in each second, on average. They are for people, and
/// for `run --dead-letters`: at 1 MiB a second at most 86 GiB a day are kept; letters that come
/// faster are only counted, and lost to both.
const KEPT_PER_S: ByteSize = ByteSize(1 << 20);

/// The bytes that may come at once: a file whose lines are all refused, for instance by a wrong
/// `kind`, should be kept whole, since it can be sent again. It takes as much of the lake's disk.
const KEPT_AT_ONCE: ByteSize = ByteSize(256 << 20);

/// The length that is kept of a raw text that was cut before, in bytes: people only read such a
/// text, and it can't be sent again.
pub(crate) const CUT_RAW_BYTES_MAX: usize = 64 << 10;

/// The bound on the bytes of dead letters of a task.
#[derive(Clone, Copy, Debug)]
pub struct LetterLimits {
    /// The bytes in each second, on average.
    pub per_s: ByteSize,
    /// The bytes at once.
    pub at_once: ByteSize,
}

impl Default for LetterLimits {
    fn default() -> Self {
        Self { per_s: KEPT_PER_S, at_once: KEPT_AT_ONCE }
    }
}

/// The fate of a dead letter, with a message if there is one now.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Yes(Option<String>),
    /// The letter is only counted.
    No(Option<String>),
}

/// The dead letters of a task: all are counted, and those within the bound are kept.
pub(crate) struct Letters {
    bound: LetterBound,
    component: String,
    messages: Arc<Messages>,
    meter: Arc<Meter>,
}

impl Letters {
    /// Begins with a full bucket.
    pub(crate) fn new(
        component: String,
        limits: LetterLimits,
        messages: Arc<Messages>,
        meter: Arc<Meter>,
        now: Duration,
    ) -> Self {
        Self { bound: LetterBound::new(limits, now), component, messages, meter }
    }

    /// Takes room for a letter of this size; returns false if the letter is only counted.
    pub(crate) fn take(&mut self, bytes: usize, now: Duration) -> bool {
        let (is_kept, said) = match self.bound.take(bytes, now) {
            Kept::Yes(said) => (true, said),
            Kept::No(said) => (false, said),
        };
        if !is_kept {
            self.meter.add_letter_dropped();
        }
        self.say(said);
        is_kept
    }

    fn say(&self, said: Option<String>) {
        if let Some(said) = said {
            self.messages.say(format!("{}: {said}", self.component));
        }
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        let said = self.bound.lost();
        self.say(said);
    }
}

/// A bucket of bytes that fills up with time.
#[derive(Debug)]
struct LetterBound {
    limits: LetterLimits,
    room: u64,
    filled: Duration,
    /// The number of letters that weren't kept since the last one that was kept.
    lost: u64,
}

impl LetterBound {
    /// Makes a full bucket.
    fn new(limits: LetterLimits, now: Duration) -> Self {
        Self { limits, room: limits.at_once.0, filled: now, lost: 0 }
    }

    /// Takes room for a letter, if there is enough.
    fn take(&mut self, bytes: usize, now: Duration) -> Kept {
        let LetterLimits { per_s, at_once } = self.limits;
        let since = now.saturating_sub(self.filled).as_micros() * u128::from(per_s.0) / 1_000_000;
        let more = u64::try_from(since).unwrap_or(u64::MAX);
        if more > 0 {
            self.room = self.room.saturating_add(more).min(at_once.0);
            self.filled = now;
        }
        let bytes = bytes as u64;
        if bytes > self.room || self.lost > 0 && self.room < at_once.0 / 16 {
            self.lost += 1;
            let first = self.lost == 1;
            return Kept::No(first.then(|| {
                format!(
                    "dead letters come faster than can be kept ({per_s} a second, {at_once} at \
                     once): from here on they are only counted"
                )
            }));
        }
        self.room -= bytes;
        Kept::Yes(self.lost())
    }

    /// Returns a message about letters that weren't kept, once.
    fn lost(&mut self) -> Option<String> {
        let lost = std::mem::take(&mut self.lost);
        (lost > 0).then(|| format!("{lost} dead letters were counted and not kept"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_beyond_the_bound_are_counted_in_the_metrics_and_said() {
        let limits = LetterLimits { per_s: ByteSize(1), at_once: ByteSize(3) };
        let (messages, meter) = (Arc::new(Messages::default()), Arc::new(Meter::default()));
        let mut letters = Letters::new(
            "words".into(),
            limits,
            Arc::clone(&messages),
            Arc::clone(&meter),
            Duration::ZERO,
        );
        assert!(letters.take(3, Duration::ZERO));
        assert!(!letters.take(1, Duration::ZERO) && !letters.take(1, Duration::ZERO));
        drop(letters);
        assert_eq!(meter.letters_dropped(), 2);
        let said: Vec<_> = messages.after(0).into_iter().map(|message| message.text).collect();
        assert!(
            said[0].starts_with("words: dead letters come faster than can be kept"),
            "{said:?}"
        );
        assert_eq!(said[1..], ["words: 2 dead letters were counted and not kept"]);
    }

    #[test]
    fn a_flood_of_letters_is_bounded_and_counted() {
        let mut bound = LetterBound::new(LetterLimits::default(), Duration::ZERO);
        let letter = 1 << 20;
        let (mut kept, mut lost, mut said) = (0, 0, Vec::new());
        for millis in (0..60_000).step_by(10) {
            match bound.take(letter, Duration::from_millis(millis)) {
                Kept::Yes(what) => {
                    kept += 1;
                    said.extend(what);
                }
                Kept::No(what) => {
                    lost += 1;
                    said.extend(what);
                }
            }
        }
        assert!((256..=256 + 60).contains(&kept), "{kept}");
        assert_eq!(kept + lost, 6_000);
        assert!(said[0].starts_with("dead letters come faster"), "{said:?}");
        assert!(said[1].ends_with("counted and not kept"), "{said:?}");
        assert!(said.len() < 12, "{said:?}");
    }
}
