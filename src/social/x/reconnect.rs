//! When to connect again, by X's rules: at once after a connection was lost, in steps of 250 ms up
//! to 16 s after errors of the network, doubling from 5 s to 320 s after errors of HTTP, doubling
//! from 60 s after 429.

use std::time::Duration;

use crate::social::{Backoff, Unanswered, Waits};

/// How long a connection has to stand until its loss is met by connecting at once: X's time between
/// two keep-alives. One that is lost earlier, again and again, would otherwise make a storm.
const STOOD: Duration = Duration::from_secs(20);

/// The longest wait after 429, since X's windows are 15 minutes long.
const LIMITED_MAX: Duration = Duration::from_secs(960);

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It stood for so long, and something came, and it was lost.
    Lost(Duration),
    /// Nobody answered, or nothing came.
    Network,
    /// An answer that isn't one.
    Http,
    /// 429.
    Limited,
}

/// What the next wait depends on.
pub(super) struct Reconnect {
    network: Backoff,
    http: Backoff,
    limited: Backoff,
}

impl Reconnect {
    /// Without trouble so far.
    pub fn new() -> Self {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        Self {
            network: Backoff::linear(ms(250), s(16)),
            http: Backoff::exponential(s(5), s(320)),
            limited: Backoff::exponential(s(60), LIMITED_MAX),
        }
    }

    /// How long to wait.
    pub fn after(&mut self, trouble: Trouble) -> Duration {
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
