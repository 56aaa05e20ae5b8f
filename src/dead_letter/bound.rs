//! How many dead letters of a source are kept: a stream that isn't what it should be must not fill the disk.

use std::time::Duration;

use crate::units::ByteSize;

/// How many bytes of dead letters a source's task keeps in a second for as long as they come. They are for
/// people, and for `run --dead-letters`: at 1 MiB a second 86 GiB a day are kept at most, and what comes
/// faster is lost to both and counted.
const KEPT_PER_S: ByteSize = ByteSize(1 << 20);

/// How many bytes may come at once: a file whose lines are all refused, by a wrong `kind` for instance,
/// should be kept whole, since it can be sent again. It costs as much of the lake's disk.
const KEPT_AT_ONCE: ByteSize = ByteSize(256 << 20);

/// How much of a raw text that was cut before is kept, in bytes: it is only looked at, and can't be sent again.
pub const CUT_RAW_BYTES_MAX: usize = 64 << 10;

/// What became of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is kept; there is something to say now.
    Yes(Option<String>),
    /// It is only counted; there is something to say now.
    No(Option<String>),
}

/// A bucket of bytes that fills up with time.
#[derive(Debug)]
pub struct LetterBound {
    room: u64,
    filled: Duration,
    /// Letters that weren't kept since one was.
    lost: u64,
}

impl LetterBound {
    /// A full bucket.
    pub fn new(now: Duration) -> Self {
        Self { room: KEPT_AT_ONCE.0, filled: now, lost: 0 }
    }

    /// Takes room for a letter, if there is enough.
    pub fn take(&mut self, bytes: usize, now: Duration) -> Kept {
        let since = now.saturating_sub(self.filled).as_micros() * u128::from(KEPT_PER_S.0) / 1_000_000;
        let more = u64::try_from(since).unwrap_or(u64::MAX);
        if more > 0 {
            self.room = self.room.saturating_add(more).min(KEPT_AT_ONCE.0);
            self.filled = now;
        }
        let bytes = bytes as u64;
        if bytes > self.room || self.lost > 0 && self.room < KEPT_AT_ONCE.0 / 16 {
            self.lost += 1;
            let first = self.lost == 1;
            return Kept::No(first.then(|| {
                format!(
                    "dead letters come faster than can be kept ({KEPT_PER_S} a second, {KEPT_AT_ONCE} at once): \
                     from here on they are counted only"
                )
            }));
        }
        self.room -= bytes;
        Kept::Yes(self.lost())
    }

    /// What there is to say of letters that weren't kept, once.
    pub fn lost(&mut self) -> Option<String> {
        let lost = std::mem::take(&mut self.lost);
        (lost > 0).then(|| format!("{lost} dead letters were counted and not kept"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_letters_is_bounded_and_counted() {
        let mut bound = LetterBound::new(Duration::ZERO);
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
