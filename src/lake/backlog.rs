//! Tracks the bytes in use in a task's outbox: data that the task wrote, promised or inherited, and
//! that isn't uploaded yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::epoch::Promise;

/// The bytes in one task's outbox. The task and its jobs, which run beside it, update them.
#[derive(Debug, Default)]
pub struct Backlog {
    /// The bytes of posts that were written after the last prepared barrier.
    written: AtomicU64,
    /// The bytes of all waiting segments.
    waiting: AtomicU64,
    segments: Mutex<Segments>,
}

#[derive(Debug, Default)]
struct Segments {
    /// The promised segments that aren't delivered yet, with their lengths.
    waiting: BTreeMap<String, u64>,
    /// The delivered segments that a running prepare may still promise once more.
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
    /// Returns the number of bytes in use.
    pub fn bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed)
    }

    /// Records that a post of this length was written.
    pub fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes written since the last barrier, for [`prepared`](Self::prepared) at the
    /// next one.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that a barrier is prepared: the bytes written before it are now in these promises,
    /// in whatever format.
    pub fn prepared(&self, promises: &[Promise], written: u64) {
        self.change(|segments| {
            let named: BTreeSet<_> =
                promises.iter().map(|promise| promise.segment.as_str()).collect();
            segments.delivered.retain(|segment| named.contains(segment.as_str()));
            promises.iter().for_each(|promise| segments.put(promise));
        });
        self.written.fetch_sub(written, Ordering::Relaxed);
    }

    /// Records promises that are to be delivered; some of them may be from tasks that have ended.
    pub fn owes(&self, promises: &[Promise]) {
        self.change(|segments| promises.iter().for_each(|promise| segments.put(promise)));
    }

    /// Records that a segment has left the outbox.
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

/// The decision about each tuple, if a full outbox drops tuples.
#[derive(Debug)]
pub struct Admission {
    backlog: Arc<Backlog>,
    bytes_max: u64,
    dropped: u64,
}

impl Admission {
    /// Creates an admission that accepts everything, or, with a bound in bytes, only as much as
    /// fits beside the backlog.
    pub fn new(backlog: Arc<Backlog>, bytes_max: Option<u64>) -> Self {
        Self { backlog, bytes_max: bytes_max.unwrap_or(u64::MAX), dropped: 0 }
    }

    /// Returns true if this many bytes may be written. Otherwise counts the tuple as dropped.
    pub fn admits(&mut self, bytes: u64) -> bool {
        let fits = self.backlog.bytes().saturating_add(bytes) <= self.bytes_max;
        self.dropped += u64::from(!fits);
        fits
    }

    /// Returns the number of dropped tuples.
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
