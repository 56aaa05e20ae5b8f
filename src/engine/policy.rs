//! Decides how to handle a tuple that failed. Pure.

use std::time::Duration;

use crate::bolt::{AfterFailure, LateFailures};
use crate::error::{Kind, NO_ROOM_RETRY};
use crate::topology::{AfterRetries, OnError};

/// The wait before the first retry. Each further wait is twice as long, up to [`BACKOFF_MAX`].
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_millis(10);

/// The longest wait between two retries.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The decision about a tuple that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The tuple is tried again after a wait, and the attempt is counted.
    Retry(Duration),
    /// The tuple is tried again after a wait, without a limit on attempts.
    Wait(Duration),
    /// The tuple goes to the dead letters.
    DeadLetter,
    /// The topology stops.
    Stop,
    /// The topology goes back to its newest checkpoint.
    RollBack,
}

/// Decides about a tuple that failed with this kind of error after `retries` retries. `jitter` is a
/// random number from 0 to 1. A wait lasts between half of its nominal length and all of it.
pub(crate) fn decide(on_error: &OnError, kind: Kind, retries: u32, jitter: f64) -> Decision {
    match (kind, on_error) {
        (Kind::NoRoom, _) => Decision::Wait(NO_ROOM_RETRY),
        (Kind::Lost, _) => Decision::RollBack,
        (Kind::Fatal, _) | (_, OnError::Stop) => Decision::Stop,
        (Kind::Transient, OnError::Retry { times, .. }) if retries < *times => {
            Decision::Retry(backoff(retries, jitter))
        }
        (_, OnError::DeadLetter | OnError::Retry { then: AfterRetries::DeadLetter, .. }) => {
            Decision::DeadLetter
        }
        (_, OnError::Retry { then: AfterRetries::Stop, .. }) => Decision::Stop,
    }
}

/// Returns the decisions for tuples that fail after `execute` returned, by the same rules.
pub(crate) fn late_failures(on_error: &OnError) -> LateFailures {
    let on_error = on_error.clone();
    LateFailures::new(move |kind, retries| match decide(&on_error, kind, retries, rand::random()) {
        Decision::Retry(wait) | Decision::Wait(wait) => AfterFailure::Again(wait),
        Decision::DeadLetter => AfterFailure::DeadLetter,
        Decision::Stop | Decision::RollBack => AfterFailure::Stop,
    })
}

/// Returns the exponential backoff with jitter ("equal jitter" in M. Brooker, "Exponential Backoff
/// And Jitter", 2015).
pub(crate) fn backoff(retries: u32, jitter: f64) -> Duration {
    let nominal = BACKOFF_FIRST.saturating_mul(1 << retries.min(16)).min(BACKOFF_MAX);
    nominal.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transient_error_is_retried_and_then_goes_the_other_way() {
        let to_letters = OnError::Retry { times: 2, then: AfterRetries::DeadLetter };
        assert_eq!(decide(&to_letters, Kind::Transient, 0, 1.0), Decision::Retry(BACKOFF_FIRST));
        assert_eq!(
            decide(&to_letters, Kind::Transient, 1, 1.0),
            Decision::Retry(2 * BACKOFF_FIRST)
        );
        assert_eq!(decide(&to_letters, Kind::Transient, 2, 1.0), Decision::DeadLetter);
        let to_stop = OnError::Retry { times: 0, then: AfterRetries::Stop };
        assert_eq!(decide(&to_stop, Kind::Transient, 0, 1.0), Decision::Stop);
    }

    #[test]
    fn what_is_rejected_is_not_retried_and_what_is_fatal_stops() {
        assert_eq!(decide(&OnError::default(), Kind::Rejected, 0, 0.0), Decision::DeadLetter);
        assert_eq!(decide(&OnError::default(), Kind::Fatal, 0, 0.0), Decision::Stop);
        assert_eq!(decide(&OnError::Stop, Kind::Rejected, 0, 0.0), Decision::Stop);
        assert_eq!(decide(&OnError::DeadLetter, Kind::Transient, 0, 0.0), Decision::DeadLetter);
    }

    #[test]
    fn a_full_disk_is_waited_for_whatever_on_error_says() {
        for on_error in [OnError::Stop, OnError::DeadLetter, OnError::default()] {
            assert_eq!(decide(&on_error, Kind::NoRoom, 99, 0.0), Decision::Wait(NO_ROOM_RETRY));
        }
    }

    #[test]
    fn a_backoff_grows_to_its_bound_and_jitter_halves_it_at_most() {
        assert_eq!(backoff(0, 0.0), BACKOFF_FIRST / 2);
        assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_MAX);
        assert!((0..20).all(|retries| backoff(retries, 0.3) <= backoff(retries + 1, 0.3)));
    }
}
