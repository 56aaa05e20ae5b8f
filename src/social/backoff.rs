//! The waits between attempts.

use std::time::Duration;

/// Waits that grow from attempt to attempt, up to a bound, until an attempt succeeds.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    doubles: bool,
    next: Duration,
}

impl Backoff {
    /// Makes waits that grow by the first wait each time: 250 ms, 500 ms, 750 ms.
    pub fn linear(first: Duration, max: Duration) -> Self {
        Self { first, max, doubles: false, next: first }
    }

    /// Makes waits that double each time: 5 s, 10 s, 20 s.
    pub fn exponential(first: Duration, max: Duration) -> Self {
        Self { first, max, doubles: true, next: first }
    }

    /// Returns the next wait, exact, as providers prescribe it.
    #[allow(clippy::should_implement_trait, reason = "it never ends, and nobody goes over it")]
    pub fn next(&mut self) -> Duration {
        let wait = self.next;
        let grown = if self.doubles { wait.saturating_mul(2) } else { wait + self.first };
        self.next = grown.min(self.max);
        wait
    }

    /// Returns between half of the next wait and all of it, at random, so that clients that failed
    /// together don't come back together.
    pub fn next_with_jitter(&mut self) -> Duration {
        self.next().mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts again with the first wait, since an attempt succeeded.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(mut backoff: Backoff, count: usize) -> Vec<u64> {
        (0..count).map(|_| backoff.next().as_millis() as u64).collect()
    }

    #[test]
    fn waits_grow_up_to_their_bound() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        assert_eq!(waits(Backoff::linear(ms(250), ms(800)), 5), [250, 500, 750, 800, 800]);
        assert_eq!(waits(Backoff::exponential(s(5), s(15)), 4), [5_000, 10_000, 15_000, 15_000]);
    }

    #[test]
    fn what_worked_begins_anew() {
        let mut backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(9));
        backoff.next();
        backoff.reset();
        assert_eq!(backoff.next(), Duration::from_secs(1));
        let jittered = backoff.next_with_jitter();
        assert!(
            (Duration::from_secs(1)..=Duration::from_secs(2)).contains(&jittered),
            "{jittered:?}"
        );
    }
}
