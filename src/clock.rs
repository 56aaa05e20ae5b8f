//! Time as an argument. Only this file asks the operating system for the time.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use tokio::sync::watch;

/// A future that ends at a time of its clock.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The source of time for the engine and its components.
pub trait Clock: Send + Sync {
    /// Returns the wall clock, in UTC. It may jump in both directions.
    fn now(&self) -> OffsetDateTime;

    /// Returns the time since the clock was created. It never goes back.
    fn monotonic(&self) -> Duration;

    /// Returns a future that ends once `duration` has passed on the monotonic clock.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// A clock that is shared by all tasks of a topology.
pub type SharedClock = Arc<dyn Clock>;

/// Returns the time this long after another one, or the latest time that can be represented. `+`
/// would panic in that case: a time may come from a name, a post or a server's answer, and a
/// duration from a file.
pub fn later(time: OffsetDateTime, by: Duration) -> OffsetDateTime {
    time.saturating_add(signed(by))
}

/// Returns the time this long before another one, or the earliest time that can be represented; see
/// [`later`].
pub fn earlier(time: OffsetDateTime, by: Duration) -> OffsetDateTime {
    time.saturating_sub(signed(by))
}

fn signed(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

/// The operating system's clock; `sleep` needs a tokio runtime with a timer.
pub struct SystemClock {
    started: Instant,
}

#[allow(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
impl SystemClock {
    /// Creates a clock whose monotonic time starts now.
    pub fn shared() -> SharedClock {
        Arc::new(Self { started: Instant::now() })
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that only moves when it is moved, by a test of this crate or of a topology.
pub struct ManualClock {
    wall: Mutex<OffsetDateTime>,
    monotonic: watch::Sender<Duration>,
}

impl ManualClock {
    /// Creates a clock that stands at `wall`, with a monotonic time of zero.
    pub fn at(wall: OffsetDateTime) -> Arc<Self> {
        Arc::new(Self { wall: Mutex::new(wall), monotonic: watch::Sender::new(Duration::ZERO) })
    }

    /// Moves the wall clock to a time, if that is later, and the monotonic time as far.
    pub fn advance_to(&self, wall: OffsetDateTime) {
        let by = Duration::try_from(wall - self.now()).unwrap_or_default();
        self.advance(by);
    }

    /// Moves both times forward and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner) += by;
        self.monotonic.send_modify(|now| *now += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        *self.wall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn monotonic(&self) -> Duration {
        *self.monotonic.borrow()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut time = self.monotonic.subscribe();
        let until = self.monotonic().saturating_add(duration);
        Box::pin(async move {
            // The sender outlives every topology of a test. If the sender is dropped, no task is
            // left that waits.
            let _ = time.wait_for(|now| *now >= until).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn no_time_and_no_duration_overflows() {
        let (first, now) = (datetime!(-9999-01-01 00:00 UTC), datetime!(2026-11-26 12:00 UTC));
        let last = datetime!(9999-12-31 23:59:59.999999999 UTC);
        for by in
            [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1 << 40), Duration::MAX]
        {
            for time in [first, now, last] {
                assert!(earlier(time, by) <= time && later(time, by) >= time, "{time} {by:?}");
            }
        }
        assert_eq!((earlier(now, Duration::MAX), later(now, Duration::MAX)), (first, last));
        assert_eq!(later(now, Duration::from_secs(60)), datetime!(2026-11-26 12:01 UTC));
        assert_eq!(earlier(now, Duration::from_secs(60)), datetime!(2026-11-26 11:59 UTC));
    }
}
