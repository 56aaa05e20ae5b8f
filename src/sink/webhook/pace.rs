//! Decides when the next request may begin, by the rate and by pauses after failures. Pure: time is
//! an argument.

use std::collections::VecDeque;
use std::time::Duration;

use super::rate::Rate;

/// The pause after a first failure; each further consecutive failure doubles it. A shorter pause
/// burdens a server that restarts; a longer one delays alerts after a single lost answer.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause that the server didn't ask for. After an outage the first request is at most
/// this late.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The longest pause that a server may ask for. A longer limit would let a faulty or misconfigured
/// server block its alerts for a day; a shorter one would violate rate limits of an hour.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// The number of attempts for a tuple in its turn. After that, later tuples go first, because the
/// endpoint may be unable to take this one.
const TRIES_IN_TURN: u32 = 3;

/// The factor by which such a tuple waits longer than the endpoint after each failure.
const OUT_OF_TURN_FACTOR: u32 = 4;

/// The pace of all requests to one endpoint. All times are monotonic.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    rate: Option<Rate>,
    /// The start times of the last requests, as many as the rate allows in its period.
    begun: VecDeque<Duration>,
    paused_until: Duration,
    /// The time of the newest failure. Failures of requests that began before that time aren't
    /// counted again.
    failed_at: Option<Duration>,
    /// The number of consecutive failures.
    failures: u32,
}

impl Pace {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { rate, ..Self::default() }
    }

    /// Returns the time to wait before a request may begin.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        let pause = self.paused_until.saturating_sub(now);
        let Some(rate) = self.rate else { return pause };
        let full = self.begun.len() >= rate.requests as usize;
        let first = self.begun.front().filter(|_| full);
        let due = first.map_or(Duration::ZERO, |first| (*first + rate.per).saturating_sub(now));
        pause.max(due)
    }

    /// Records that a request begins.
    pub(crate) fn begin(&mut self, now: Duration) {
        let Some(rate) = self.rate else { return };
        if self.begun.len() >= rate.requests as usize {
            self.begun.pop_front();
        }
        self.begun.push_back(now);
    }

    /// Records that the endpoint works: it accepted a request, or permanently refused its tuple.
    pub(crate) fn worked(&mut self) {
        self.failures = 0;
    }

    /// Records that a request that began at `begun` failed, and the pause that the server asked
    /// for. `jitter` is a random number from 0 to 1: a pause lasts between half of its nominal
    /// length and all of it.
    pub(crate) fn failed(
        &mut self,
        begun: Duration,
        now: Duration,
        retry_after: Option<Duration>,
        jitter: f64,
    ) {
        if self.failed_at.is_none_or(|failed| begun >= failed) {
            self.failures = self.failures.saturating_add(1);
            self.failed_at = Some(now);
            self.pause(now, nominal(self.failures).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0));
        }
        if let Some(asked) = retry_after {
            self.pause(now, asked.min(RETRY_AFTER_MAX));
        }
    }

    fn pause(&mut self, now: Duration, pause: Duration) {
        self.paused_until = self.paused_until.max(now + pause);
    }
}

/// Returns the pause after this many consecutive failures.
fn nominal(failures: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX)
}

/// Returns the time that a tuple waits after this many failures, in addition to the endpoint's own
/// pause.
pub(crate) fn out_of_turn(failures: u32) -> Duration {
    if failures < TRIES_IN_TURN { Duration::ZERO } else { OUT_OF_TURN_FACTOR * nominal(failures) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_grow_up_to_their_bound_and_a_server_may_ask_for_longer_ones() {
        let mut pace = Pace::new(None);
        let mut now = s(100);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(pace.wait(now), s(0));
            pace.failed(now, now, None, 1.0);
            assert_eq!(pace.wait(now), s(pause));
            now += s(pause);
        }
        pace.worked();
        pace.failed(now, now, None, 0.0);
        assert_eq!(pace.wait(now), s(1) / 2, "the pause starts again");
        pace.failed(now - s(1), now, Some(s(7)), 1.0);
        assert_eq!(
            pace.wait(now),
            s(7),
            "a late failure says nothing but what the server asks for"
        );
        pace.failed(now, now, Some(Duration::MAX), 1.0);
        assert_eq!(pace.wait(now), RETRY_AFTER_MAX);
    }

    #[test]
    fn a_tuple_that_fails_again_and_again_lets_others_pass() {
        assert_eq!([0, 2].map(out_of_turn), [s(0); 2]);
        assert_eq!([3, 4, 5, 99].map(out_of_turn), [s(16), s(32), s(64), s(240)]);
    }

    proptest! {
        #[test]
        fn no_time_of_its_length_has_more_requests_than_a_rate_allows(
            requests in 1..6_u32,
            gaps in proptest::collection::vec(0..900_u64, 1..60),
        ) {
            let per = s(1);
            let mut pace = Pace::new(Some(Rate { requests, per }));
            let (mut now, mut begun) = (s(0), Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                now += pace.wait(now);
                prop_assert_eq!(pace.wait(now), s(0));
                pace.begin(now);
                begun.push(now);
            }
            for (first, last) in begun.iter().zip(begun.iter().skip(requests as usize)) {
                prop_assert!(*last - *first >= per);
            }
        }
    }
}
