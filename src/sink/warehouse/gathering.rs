//! Decides when a load begins, and how many promises it takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::SharedClock;
use crate::epoch::Promise;

/// The bounds at which a load begins; the first one that is reached counts. If `every` is zero,
/// promised data is always due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GatheringBounds {
    /// The longest time that a promise waits.
    pub every: Duration,
    /// The number of bytes that make a load due.
    pub bytes: u64,
    /// The number of segments that make a load due. A topology with short epochs has many small
    /// segments, and each takes a row of the ledger and a place in statements.
    pub segments: usize,
}

/// The gathering of one task.
pub(crate) struct Gathering {
    bounds: GatheringBounds,
    clock: SharedClock,
    /// The time at which the oldest segment for the next load was offered.
    since: Mutex<Option<Duration>>,
    /// True after the last barrier: no more data follows.
    has_ended: AtomicBool,
}

impl Gathering {
    pub(crate) fn new(bounds: GatheringBounds, clock: SharedClock) -> Self {
        Self { bounds, clock, since: Mutex::default(), has_ended: AtomicBool::new(false) }
    }

    /// Notes that the last barrier has come.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Returns true if the last barrier has come.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Returns true if promised data should be loaded now.
    pub(crate) fn is_due(&self, promises: &[Promise]) -> bool {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if promises.is_empty() {
            *since = None;
            return false;
        }
        let now = self.clock.monotonic();
        let began = *since.get_or_insert(now);
        let bytes: u64 = promises.iter().map(|promise| promise.length).sum();
        let is_due = self.has_ended()
            || bytes >= self.bounds.bytes
            || promises.len() >= self.bounds.segments
            || now.saturating_sub(began) >= self.bounds.every;
        if is_due {
            *since = None;
        }
        is_due
    }

    /// Returns the first promises that make one load, at least one.
    pub(crate) fn gathered<'p>(&self, promises: &'p [Promise]) -> &'p [Promise] {
        let mut bytes = 0_u64;
        let mut count = 0;
        for promise in promises.iter().take(self.bounds.segments.max(1)) {
            bytes = bytes.saturating_add(promise.length);
            if bytes > self.bounds.bytes && count > 0 {
                break;
            }
            count += 1;
        }
        &promises[..count]
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;

    const BOUNDS: GatheringBounds =
        GatheringBounds { every: Duration::from_secs(300), bytes: 100, segments: 3 };

    fn promises(lengths: &[u64]) -> Vec<Promise> {
        let promise = |(number, length): (usize, &u64)| Promise {
            place: String::new(),
            segment: format!("run/warehouse-0/{number:07}"),
            length: *length,
            posts: 1,
            checksum: 0,
            closed: true,
        };
        lengths.iter().enumerate().map(promise).collect()
    }

    #[test]
    fn a_load_begins_by_time_by_size_or_at_the_end() {
        let clock = ManualClock::at(datetime!(2026-02-03 12:00 UTC));
        let gathering = Gathering::new(BOUNDS, clock.clone());
        assert!(!gathering.is_due(&promises(&[10])));
        clock.advance(Duration::from_secs(299));
        assert!(!gathering.is_due(&promises(&[10, 10])));
        clock.advance(Duration::from_secs(1));
        assert!(gathering.is_due(&promises(&[10, 10])));
        assert!(!gathering.is_due(&promises(&[10])), "the time begins with each load");
        assert!(gathering.is_due(&promises(&[50, 50])));
        assert!(!gathering.is_due(&promises(&[1])));
        gathering.end();
        assert!(gathering.is_due(&promises(&[1])));
        assert!(!gathering.is_due(&[]));
    }

    #[test]
    fn a_load_takes_what_fits_and_at_least_one() {
        let clock = ManualClock::at(datetime!(2026-02-03 12:00 UTC));
        let gathering = Gathering::new(BOUNDS, clock.clone());
        assert_eq!(gathering.gathered(&promises(&[50, 50, 1])).len(), 2);
        assert_eq!(gathering.gathered(&promises(&[500, 1])).len(), 1);
        assert_eq!(gathering.gathered(&promises(&[1, 1, 1, 1])).len(), 3);
        let at_once = GatheringBounds { every: Duration::ZERO, ..BOUNDS };
        assert!(Gathering::new(at_once, clock).is_due(&promises(&[1])));
    }
}
