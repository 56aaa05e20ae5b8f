//! A bound on the bytes of a stream that don't make a message.

use std::time::Duration;

/// The bytes that may come without a complete message, within [`IDLE_WINDOW`]: one message of the
/// largest size, and 1 MiB of pings, keep-alives and frames around it. A connection with more is
/// ended, since it would keep a core busy without an end. A smaller bound would end connections to
/// servers that ping a lot.
const IDLE_BYTES_MAX: u64 = (16 + 1) << 20;

/// The time without a message after which the bytes are counted from 0 again: keep-alives alone
/// keep a quiet stream open.
const IDLE_WINDOW: Duration = Duration::from_secs(60);

/// The bytes of a stream since its last message.
pub struct IdleBytes {
    bytes: u64,
    /// The time of the last message, or the time when the bytes were last counted from 0.
    since: Duration,
}

impl IdleBytes {
    /// Starts a count. `now` is a time of the monotonic clock, here and below.
    pub fn new(now: Duration) -> Self {
        Self { bytes: 0, since: now }
    }

    /// Notes that a message is complete.
    pub fn message_came(&mut self, now: Duration) {
        *self = Self::new(now);
    }

    /// Counts bytes.
    pub fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Returns true if more bytes came than a good server sends.
    pub fn is_too_much(&mut self, now: Duration) -> bool {
        if self.bytes <= IDLE_BYTES_MAX {
            return false;
        }
        if now.saturating_sub(self.since) < IDLE_WINDOW {
            return true;
        }
        self.message_came(now);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_without_a_message_are_bounded_within_a_minute() {
        let second = Duration::from_secs;
        let mut idle = IdleBytes::new(second(0));
        idle.add(IDLE_BYTES_MAX as usize);
        assert!(!idle.is_too_much(second(1)));
        idle.add(1);
        assert!(idle.is_too_much(second(59)));
        assert!(!idle.is_too_much(second(60)), "that is a slow stream of keep-alives");
        idle.add(IDLE_BYTES_MAX as usize);
        idle.message_came(second(61));
        idle.add(1);
        assert!(!idle.is_too_much(second(61)));
    }
}
