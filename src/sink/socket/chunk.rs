//! Chunks of lines that readers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use memchr::memchr_iter;

/// A chunk of lines that readers share.
#[derive(Clone)]
pub(super) struct Chunk(Arc<SharedLines>);

struct SharedLines {
    bytes: Bytes,
    lines: usize,
    /// The number of readers that have the chunk in their queues.
    waiting: AtomicUsize,
    /// The number of lines that the most advanced reader has taken completely, from the first line.
    taken: AtomicUsize,
    /// True if lines that no reader takes won't be offered again.
    is_final: AtomicBool,
}

impl Chunk {
    /// Creates a chunk of whole lines, each with its line break, that are offered once.
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        Self::with(bytes.into(), true)
    }

    /// Creates a chunk of whole lines; those that no reader takes are offered again.
    pub(crate) fn of_outbox(bytes: impl Into<Bytes>) -> Self {
        Self::with(bytes.into(), false)
    }

    fn with(bytes: Bytes, is_final: bool) -> Self {
        let lines = count_lines(&bytes);
        Self(Arc::new(SharedLines {
            bytes,
            lines,
            waiting: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            is_final: AtomicBool::new(is_final),
        }))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Returns the bytes, without a copy.
    pub(crate) fn shared_bytes(&self) -> Bytes {
        self.0.bytes.clone()
    }

    pub(crate) fn lines(&self) -> usize {
        self.0.lines
    }

    /// Notes that a reader has the chunk in its queue.
    pub(crate) fn begin_wait(&self) {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that a reader has removed the chunk from its queue after taking this many lines.
    pub(crate) fn end_wait(&self, taken: usize) {
        self.0.taken.fetch_max(taken, Ordering::AcqRel);
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns true if lines that no reader takes won't be offered again.
    pub(crate) fn is_final(&self) -> bool {
        self.0.is_final.load(Ordering::Acquire)
    }

    /// Marks the chunk: lines that no reader takes won't be offered again.
    pub(crate) fn make_final(&self) {
        self.0.is_final.store(true, Ordering::Release);
    }

    /// Returns the number of lines that some reader has taken, once the chunk is in no queue.
    pub(crate) fn settled(&self) -> Option<usize> {
        let is_settled = self.0.waiting.load(Ordering::Acquire) == 0;
        is_settled.then(|| self.0.taken.load(Ordering::Acquire))
    }
}

/// Counts the whole lines in some bytes.
pub(super) fn count_lines(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}
