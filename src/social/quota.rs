//! The quota of a credential, shared by all spouts of this process that use the credential.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use xxhash_rust::xxh3::xxh3_128;

/// The quota of one credential. Clones are the same quota.
#[derive(Clone)]
pub struct Quota(Arc<Shared>);

struct Shared {
    buckets: Mutex<HashMap<String, Bucket>>,
    stream: Arc<Semaphore>,
}

/// Calls that are counted together.
#[derive(Clone, Debug)]
struct Bucket {
    /// Nothing may be sent before this time.
    blocked_until: OffsetDateTime,
    /// The time when the window of `used` began.
    window: OffsetDateTime,
    used: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            blocked_until: OffsetDateTime::UNIX_EPOCH,
            window: OffsetDateTime::UNIX_EPOCH,
            used: 0,
        }
    }
}

/// All credentials of the process, by a hash of platform and credential.
static ALL: Mutex<Option<HashMap<u128, Quota>>> = Mutex::new(None);

impl Quota {
    /// Returns the quota of a credential. Only the credential's hash is kept.
    pub fn of(platform: &str, credential: &str) -> Self {
        let key = xxh3_128(format!("{platform}\0{credential}").as_bytes());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Self(Arc::new(Shared {
                buckets: Mutex::default(),
                stream: Arc::new(Semaphore::new(1)),
            }))
        };
        all.get_or_insert_default().entry(key).or_insert_with(new).clone()
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<String, Bucket>> {
        self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forbids requests of a bucket before a time; an earlier time than the known one changes
    /// nothing.
    pub fn block(&self, bucket: &str, until: OffsetDateTime) {
        let mut buckets = self.buckets();
        let bucket = buckets.entry(bucket.into()).or_default();
        bucket.blocked_until = bucket.blocked_until.max(until);
    }

    /// Returns the time before which nothing of a bucket may be sent, if that time lies ahead.
    pub fn blocked(&self, bucket: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.buckets().get(bucket).map(|bucket| bucket.blocked_until).filter(|until| *until > now)
    }

    /// Reserves the next turn of a bucket whose turns are at least `every` apart, and returns the
    /// time of the turn. Turns are given in the order of the calls.
    pub fn reserve(
        &self,
        bucket: &str,
        now: OffsetDateTime,
        every: std::time::Duration,
    ) -> OffsetDateTime {
        let mut buckets = self.buckets();
        let bucket = buckets.entry(bucket.into()).or_default();
        let turn = bucket.blocked_until.max(now);
        bucket.blocked_until = turn + every;
        turn
    }

    /// Takes `cost` from `limit` in the window that began at `window`. Returns false, and takes
    /// nothing, if less than `cost` is left.
    pub fn take(&self, bucket: &str, cost: u64, limit: u64, window: OffsetDateTime) -> bool {
        let mut buckets = self.buckets();
        let bucket = buckets.entry(bucket.into()).or_default();
        if window > bucket.window {
            (bucket.window, bucket.used) = (window, 0);
        }
        let fits = bucket.used.saturating_add(cost) <= limit;
        bucket.used += if fits { cost } else { 0 };
        fits
    }

    /// Returns the used part of the window that began at `window`.
    pub fn used(&self, bucket: &str, window: OffsetDateTime) -> u64 {
        self.buckets()
            .get(bucket)
            .filter(|bucket| bucket.window >= window)
            .map_or(0, |bucket| bucket.used)
    }

    /// Restores the use of the window that began at `window` by an earlier process.
    pub fn restore(&self, bucket: &str, used: u64, window: OffsetDateTime) {
        let mut buckets = self.buckets();
        let bucket = buckets.entry(bucket.into()).or_default();
        if window > bucket.window {
            (bucket.window, bucket.used) = (window, used);
        } else if window == bucket.window {
            bucket.used = bucket.used.max(used);
        }
    }

    /// Waits for the one live connection that a credential may have, while another spout has it.
    pub async fn connection(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.0.stream).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Returns the same, or `None` while another spout has the connection.
    pub fn try_connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.stream).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn spouts_with_one_credential_share_what_it_is_allowed() {
        let (a, b) = (Quota::of("test", "key"), Quota::of("test", "key"));
        let (today, tomorrow) =
            (datetime!(2026-11-25 08:00:00 UTC), datetime!(2026-11-26 08:00:00 UTC));
        assert!(a.take("search", 60, 100, today));
        assert!(!b.take("search", 60, 100, today));
        assert!(b.take("search", 40, 100, today));
        assert_eq!(a.used("search", today), 100);
        assert!(a.take("search", 60, 100, tomorrow));
        assert!(Quota::of("test", "other").take("search", 100, 100, today));
        a.block("search", tomorrow);
        assert_eq!(b.blocked("search", today), Some(tomorrow));
        assert_eq!(b.blocked("search", tomorrow), None);
        let held = a.try_connection();
        assert!(b.try_connection().is_none());
        drop(held);
        assert!(b.try_connection().is_some());
    }

    #[test]
    fn turns_are_apart_whoever_asks_for_them() {
        let (a, b) = (Quota::of("test", "turns"), Quota::of("test", "turns"));
        let (now, every) =
            (datetime!(2026-11-25 08:00:00 UTC), std::time::Duration::from_secs(864));
        assert_eq!(a.reserve("pace", now, every), now);
        assert_eq!(b.reserve("pace", now, every), now + every);
        assert_eq!(a.reserve("pace", now, every), now + every * 2);
        assert_eq!(a.reserve("pace", now + every * 9, every), now + every * 9);
    }

    #[test]
    fn what_an_earlier_process_used_counts() {
        let quota = Quota::of("test", "restored");
        let today = datetime!(2026-11-25 08:00:00 UTC);
        quota.restore("search", 99, today);
        assert!(quota.take("search", 1, 100, today));
        assert!(!quota.take("search", 1, 100, today));
    }
}
