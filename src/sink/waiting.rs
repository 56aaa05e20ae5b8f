//! The state of a sink that waits for its destination, for users.

use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::clock::SharedClock;
use crate::error::{Error, Kind, Result};

/// Knows since when the destination of one task hasn't taken due data.
pub struct Waiting {
    outside: String,
    clock: SharedClock,
    since: Mutex<Option<OffsetDateTime>>,
}

impl Waiting {
    /// Creates the state for a destination with this name, such as `s3://lake/posts`.
    pub fn new(outside: impl Into<String>, clock: SharedClock) -> Self {
        Self { outside: outside.into(), clock, since: Mutex::new(None) }
    }

    /// Passes the result of a delivery on. An error after which the delivery is tried again becomes
    /// a state that names the destination and the time since which the task waits for it. The text
    /// stays the same from one attempt to the next, unless the cause changes.
    ///
    /// # Errors
    /// Those of the result.
    pub fn observe<T>(&self, result: Result<T>) -> Result<T> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Err(error) if error.kind() == Kind::Transient => {
                let since = *since.get_or_insert_with(|| self.clock.now());
                Err(self.told(since, error))
            }
            // A full disk isn't the destination's fault, and a final error ends the wait.
            Err(error) => Err(error),
            Ok(delivered) => {
                *since = None;
                Ok(delivered)
            }
        }
    }

    fn told(&self, since: OffsetDateTime, error: Error) -> Error {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        // Every time of the clock has all the parts that this format writes.
        let since = since.format(format).unwrap_or_default();
        error.with_text(|cause| format!("waiting for {} since {since}: {cause}", self.outside))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn it_says_whom_it_waits_for_and_since_when_the_first_attempt_failed() {
        let clock = ManualClock::at(datetime!(2026-02-03 12:34:56 UTC));
        let waiting = Waiting::new("s3://lake", clock.clone());
        let fails = || waiting.observe::<()>(Err(Error::transient("no answer"))).unwrap_err();
        let told = "waiting for s3://lake since 2026-02-03T12:34:56Z: no answer";
        assert_eq!(fails().chain(), told);
        clock.advance(Duration::from_secs(60));
        assert_eq!((fails().kind(), fails().chain()), (Kind::Transient, told.into()));
        waiting.observe(Ok(())).unwrap();
        assert!(fails().chain().contains("since 2026-02-03T12:35:56Z"));
    }

    #[test]
    fn a_full_disk_and_a_final_error_stay_what_they_are() {
        let waiting = Waiting::new("x", ManualClock::at(datetime!(2026-02-03 12:34:56 UTC)));
        for error in [Error::no_room("full"), Error::fatal("no"), Error::rejected("bad")] {
            let (kind, text) = (error.kind(), error.chain());
            let passed = waiting.observe::<()>(Err(error)).unwrap_err();
            assert_eq!((passed.kind(), passed.chain()), (kind, text));
        }
    }
}
