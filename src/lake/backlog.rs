//! How much of a task's outbox is in use: what it has written, promised and inherited, and not yet
//! uploaded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::epoch::Promise;

/// The bytes in one task's outbox. Written by the task and by its jobs, which run beside it.
#[derive(Debug, Default)]
pub struct Backlog {
    /// Bytes of posts since the last barrier that was prepared.
    written: AtomicU64,
    /// Bytes of all segments below.
    waiting: AtomicU64,
    segments: Mutex<Segments>,
}

#[derive(Debug, Default)]
struct Segments {
    /// What is promised and not delivered, with its length.
    waiting: BTreeMap<String, u64>,
    /// What was delivered, as long as a prepare may promise it once more.
    delivered: BTreeSet<String>,
}

impl Segments {
    fn put(&mut self, promise: &Promise) {
        if !self.delivered.contains(&promise.segment) {
            self.waiting.insert(promise.segment.clone(), promise.length);
        }
    }
}

impl Backlog {
    /// How many bytes are in use.
    pub fn bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed)
    }

    /// A post of this length was written.
    pub fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// How much was written since the last barrier: for [`prepared`](Self::prepared), at the next.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// A barrier is prepared: what was written before it is in all these promises, in whatever
    /// format.
    pub fn prepared(&self, promises: &[Promise], written: u64) {
        self.change(|segments| {
            let named: BTreeSet<_> =
                promises.iter().map(|promise| promise.segment.as_str()).collect();
            segments.delivered.retain(|segment| named.contains(segment.as_str()));
            promises.iter().for_each(|promise| segments.put(promise));
        });
        self.written.fetch_sub(written, Ordering::Relaxed);
    }

    /// These are to be delivered; some of them may be from tasks that are gone.
    pub fn owes(&self, promises: &[Promise]) {
        self.change(|segments| promises.iter().for_each(|promise| segments.put(promise)));
    }

    /// A segment isn't in the outbox any more.
    pub fn delivered(&self, segment: &str) {
        self.change(|segments| {
            segments.waiting.remove(segment);
            segments.delivered.insert(segment.to_owned());
        });
    }

    fn change(&self, change: impl FnOnce(&mut Segments)) {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut segments);
        self.waiting.store(segments.waiting.values().sum(), Ordering::Relaxed);
    }
}

/// Decides what is written where a full outbox drops.
#[derive(Debug)]
pub struct Admission {
    backlog: Arc<Backlog>,
    bytes_max: u64,
    dropped: u64,
}

impl Admission {
    /// Lets everything in, or, with a bound in bytes, what fits beside the backlog.
    pub fn new(backlog: Arc<Backlog>, bytes_max: Option<u64>) -> Self {
        Self { backlog, bytes_max: bytes_max.unwrap_or(u64::MAX), dropped: 0 }
    }

    /// True if so many bytes may be written. If they may not, they are dropped, and counted.
    pub fn admits(&mut self, bytes: u64) -> bool {
        let fits = self.backlog.bytes().saturating_add(bytes) <= self.bytes_max;
        self.dropped += u64::from(!fits);
        fits
    }

    /// The number of tuples that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(segment: &str, length: u64) -> Promise {
        let place = "place".into();
        Promise { place, segment: segment.into(), length, posts: 1, checksum: 0, closed: true }
    }

    #[test]
    fn what_is_written_counts_until_it_is_delivered() {
        let backlog = Backlog::default();
        backlog.owes(&[promise("old", 100)]);
        backlog.wrote(40);
        let written = backlog.written();
        backlog.wrote(5);
        assert_eq!(backlog.bytes(), 145);
        backlog.prepared(&[promise("a", 20), promise("b", 1)], written);
        assert_eq!(
            backlog.bytes(),
            126,
            "a promise may be shorter than what was written: it is compressed"
        );
        backlog.prepared(&[promise("a", 20), promise("b", 6)], 5);
        assert_eq!(backlog.bytes(), 126, "an open file grows under its name");
        backlog.delivered("old");
        backlog.delivered("a");
        assert_eq!(backlog.bytes(), 6);
    }

    #[test]
    fn a_full_outbox_that_drops_counts_what_does_not_fit() {
        let backlog = Arc::new(Backlog::default());
        let mut admission = Admission::new(Arc::clone(&backlog), Some(10));
        assert!(admission.admits(10));
        backlog.wrote(8);
        assert!(!admission.admits(3) && admission.admits(2));
        assert_eq!(admission.dropped(), 1);
        assert!(Admission::new(backlog, None).admits(u64::MAX));
    }

    #[test]
    fn a_prepare_beside_a_commit_brings_nothing_back() {
        let backlog = Backlog::default();
        backlog.prepared(&[promise("a", 20)], 0);
        backlog.delivered("a");
        backlog.prepared(&[promise("a", 20), promise("b", 7)], 0);
        assert_eq!(backlog.bytes(), 7);
        backlog.prepared(&[promise("b", 7)], 0);
        backlog.delivered("b");
        assert_eq!(backlog.bytes(), 0);
        assert_eq!(
            backlog.segments.lock().unwrap().delivered.len(),
            1,
            "what nobody promises again is forgotten"
        );
    }
}
