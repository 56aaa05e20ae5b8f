//! The waits before a new connection, by X's rules: none after a connection was lost, steps of 250
//! ms up to 16 s after network errors, doubling from 5 s to 320 s after HTTP errors, doubling from
//! 60 s after 429.

use std::time::Duration;

use crate::social::{Backoff, Unanswered, Waits};

/// The age from which a lost connection is replaced at once: X's time between two keep-alives.
/// Connections that are lost earlier, again and again, would otherwise make a storm of requests.
const STOOD: Duration = Duration::from_secs(20);

/// The longest wait after 429, since X's windows are 15 minutes long.
const LIMITED_MAX: Duration = Duration::from_secs(960);

/// The reason why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection was lost after this time, and something had come.
    Lost(Duration),
    /// Nobody answered, or nothing came.
    Network,
    /// The answer wasn't usable.
    Http,
    /// The answer had the status 429.
    Limited,
}

/// The state from which the next wait is computed.
pub(super) struct Reconnect {
    network: Backoff,
    http: Backoff,
    limited: Backoff,
}

impl Reconnect {
    /// Makes the state without any trouble so far.
    pub(crate) fn new() -> Self {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        Self {
            network: Backoff::linear(ms(250), s(16)),
            http: Backoff::exponential(s(5), s(320)),
            limited: Backoff::exponential(s(60), LIMITED_MAX),
        }
    }

    /// Returns the wait after this trouble.
    pub(crate) fn after(&mut self, trouble: Trouble) -> Duration {
        match trouble {
            Trouble::Lost(stood) => {
                self.http.reset();
                self.limited.reset();
                if stood < STOOD {
                    return self.network.next();
                }
                self.network.reset();
                Duration::ZERO
            }
            Trouble::Network => self.network.next(),
            Trouble::Http => self.http.next(),
            Trouble::Limited => self.limited.next(),
        }
    }
}

impl Waits for Reconnect {
    fn after(&mut self, unanswered: Unanswered) -> Duration {
        let trouble = match unanswered {
            Unanswered::Unreachable => Trouble::Network,
            Unanswered::Busy => Trouble::Http,
        };
        Reconnect::after(self, trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(troubles: &[Trouble]) -> Vec<u128> {
        let mut reconnect = Reconnect::new();
        troubles.iter().map(|trouble| reconnect.after(*trouble).as_millis()).collect()
    }

    #[test]
    fn each_kind_of_trouble_has_its_own_waits() {
        assert_eq!(waits(&[Trouble::Network; 3]), [250, 500, 750]);
        assert_eq!(*waits(&[Trouble::Network; 70]).last().unwrap(), 16_000);
        assert_eq!(
            waits(&[Trouble::Http; 8]),
            [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 320_000]
        );
        assert_eq!(
            waits(&[Trouble::Limited; 6]),
            [60_000, 120_000, 240_000, 480_000, 960_000, 960_000]
        );
    }

    #[test]
    fn a_connection_that_stood_is_made_again_at_once_and_only_once() {
        let stood = Trouble::Lost(Duration::from_secs(20));
        let brief = Trouble::Lost(Duration::from_secs(1));
        assert_eq!(
            waits(&[stood, Trouble::Network, Trouble::Network, stood, Trouble::Network]),
            [0, 250, 500, 0, 250]
        );
        assert_eq!(waits(&[brief; 4]), [250, 500, 750, 1_000]);
        assert_eq!(
            waits(&[Trouble::Http, Trouble::Http, brief, Trouble::Http]),
            [5_000, 10_000, 250, 5_000]
        );
    }
}
