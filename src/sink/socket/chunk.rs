//! Lines that readers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use memchr::memchr_iter;

/// Lines that readers share.
#[derive(Clone)]
pub(super) struct Chunk(Arc<SharedLines>);

struct SharedLines {
    bytes: Bytes,
    lines: usize,
    /// The readers that have it in their queues.
    waiting: AtomicUsize,
    /// The lines, from the first one, that the reader that came furthest has taken whole.
    taken: AtomicUsize,
    /// True if nobody offers again what no reader takes of it.
    is_final: AtomicBool,
}

impl Chunk {
    /// Whole lines, each with its line break, which are offered once.
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        Self::with(bytes.into(), true)
    }

    /// Whole lines, of which those that no reader takes are offered again.
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

    /// The bytes, without a copy.
    pub(crate) fn shared_bytes(&self) -> Bytes {
        self.0.bytes.clone()
    }

    pub(crate) fn lines(&self) -> usize {
        self.0.lines
    }

    /// A reader has it in its queue.
    pub(crate) fn begin_wait(&self) {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
    }

    /// A reader has it in its queue no more, and has taken so many lines of it.
    pub(crate) fn end_wait(&self, taken: usize) {
        self.0.taken.fetch_max(taken, Ordering::AcqRel);
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// True if nobody offers again what no reader takes.
    pub(crate) fn is_final(&self) -> bool {
        self.0.is_final.load(Ordering::Acquire)
    }

    /// From here on nobody offers again what no reader takes.
    pub(crate) fn make_final(&self) {
        self.0.is_final.store(true, Ordering::Release);
    }

    /// The lines that some reader has taken, once no reader has it in its queue any more.
    pub(crate) fn settled(&self) -> Option<usize> {
        let is_settled = self.0.waiting.load(Ordering::Acquire) == 0;
        is_settled.then(|| self.0.taken.load(Ordering::Acquire))
    }
}

/// The whole lines in some bytes.
pub(super) fn count_lines(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}
