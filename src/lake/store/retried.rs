//! Repeats requests to a store on a network after transient errors. Readers of a lake use it, since
//! no other part repeats their requests. (The engine repeats an upload, without a limit.)

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::{Object, Put, Store};
use crate::clock::SystemClock;
use crate::error::{Kind, Result};
use crate::net::notice::{NOTICE_AFTER, tell};

/// The number of attempts for a request, and the longest first pause. The pauses double each time
/// and sum up to most of a minute.
const TRIES_MAX: u32 = 10;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The time after which no further attempt begins, however long each of them took: a user who waits
/// longer would rather see the error. A silent server adds
/// [`SILENCE_MAX`](crate::net::limits::SILENCE_MAX).
const TRIES_TIME_MAX: Duration = Duration::from_secs(45);

/// A store whose requests are repeated, with pauses in between.
pub struct Retried {
    store: Arc<dyn Store>,
    first_wait: Duration,
}

impl Retried {
    /// Wraps a store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, first_wait: FIRST_WAIT }
    }

    fn ask<T>(&self, request: impl Fn(&dyn Store) -> Result<T>) -> Result<T> {
        let clock = SystemClock::shared();
        let (began, mut told, mut wait) = (clock.monotonic(), false, self.first_wait);
        for _ in 1..TRIES_MAX {
            let error = match request(&*self.store) {
                Err(error) if error.kind() == Kind::Transient => error,
                other => return other,
            };
            let spent = clock.monotonic().saturating_sub(began);
            if spent > TRIES_TIME_MAX {
                return Err(error);
            }
            if !told && spent + wait > NOTICE_AFTER {
                told = true;
                let left = TRIES_TIME_MAX.saturating_sub(spent).as_secs();
                tell(&format!("{}; tries again for up to {left} s", error.chain()));
            }
            // A random pause of 50 to 100 %, so that callers that failed together don't all try
            // again at the same time.
            thread::sleep(wait.mul_f64(0.5 + rand::random::<f64>() / 2.0));
            wait *= 2;
        }
        request(&*self.store)
    }
}

impl Store for Retried {
    fn address(&self, key: &str) -> String {
        self.store.address(key)
    }

    /// Puts an object if it is absent. If an answer was lost, the object that already exists may be
    /// from the previous attempt.
    fn put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        self.ask(|store| store.put(key, bytes.clone()))
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.ask(|store| store.replace(key, bytes.clone()))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.ask(|store| store.get(key))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.ask(|store| store.get_range(key, range.clone()))
    }

    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>> {
        self.ask(|store| store.list(prefix, after, max))
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        self.ask(|store| store.names(prefix))
    }

    fn strays(&self) -> Result<Vec<String>> {
        self.ask(|store| store.strays())
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.ask(|store| store.delete(key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::conformance::conformance;
    use super::super::memory::MemoryStore;
    use super::*;
    use crate::error::Error;

    /// Runs a request that fails this many times with an error of this kind, and then succeeds.
    fn tries(kind: fn(String) -> Error, failures: u32) -> (Result<u32>, u32) {
        let asked = AtomicU32::new(0);
        let retried =
            Retried { store: Arc::new(MemoryStore::default()), first_wait: Duration::ZERO };
        let result = retried.ask(|_| {
            let before = asked.fetch_add(1, Ordering::Relaxed);
            if before < failures { Err(kind("busy".into())) } else { Ok(before) }
        });
        (result, asked.into_inner())
    }

    #[test]
    fn what_may_pass_is_asked_again_and_nothing_else() {
        assert!(matches!(tries(Error::transient, 0), (Ok(0), 1)));
        assert!(matches!(tries(Error::transient, TRIES_MAX - 1), (Ok(_), TRIES_MAX)));
        assert!(matches!(tries(Error::transient, TRIES_MAX), (Err(_), TRIES_MAX)));
        assert!(matches!(tries(Error::fatal, 1), (Err(_), 1)));
    }

    #[test]
    fn it_does_what_every_store_does() {
        conformance(&Retried::new(Arc::new(MemoryStore::default())));
    }
}
