//! The rate limit of one reader.

use std::time::Duration;

/// The time within which the rate is kept. A longer time lets a reader get more bytes at once; a
/// shorter one costs more system calls.
const GRAIN: Duration = Duration::from_millis(20);

/// Computes when bytes may go out. In any span of time at most the rate's bytes for that span go
/// out, plus those of one [`GRAIN`].
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_s: u64,
    /// The number of bytes that may go out at once.
    grain_bytes: u64,
    /// The time at which the last byte was due.
    due: Duration,
}

impl Pace {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let grain_bytes = (bytes_per_s * GRAIN.as_millis() as u64 / 1000).max(1);
        Self { bytes_per_s, grain_bytes, due: Duration::ZERO }
    }

    /// Returns the number of bytes that may go out now, or the time to wait.
    pub(crate) fn allows(&self, now: Duration) -> Result<usize, Duration> {
        match self.due.checked_sub(now) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(usize::try_from(self.grain_bytes).unwrap_or(usize::MAX)),
        }
    }

    /// Records that bytes went out.
    pub(crate) fn sent(&mut self, bytes: usize, now: Duration) {
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        // Unused capacity isn't carried over.
        self.due = self.due.max(now) + takes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_its_share() {
        for rate in [7, 1_000, 10_000_000] {
            let mut pace = Pace::new(rate);
            let (mut now, mut sent) = (Duration::from_secs(5), 0);
            let begun = now;
            while now < begun + Duration::from_secs(2) {
                match pace.allows(now) {
                    Ok(bytes) => {
                        pace.sent(bytes, now);
                        sent += bytes as u64;
                    }
                    Err(wait) => now += wait,
                }
            }
            let share = rate * 2;
            assert!(sent >= share && sent <= share + share / 100 + 1, "{sent} of {share}");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut pace = Pace::new(1_000);
        pace.sent(20, Duration::ZERO);
        let late = Duration::from_secs(100);
        assert_eq!(pace.allows(late), Ok(20));
        pace.sent(20, late);
        assert_eq!(pace.allows(late), Err(Duration::from_millis(20)));
    }
}
