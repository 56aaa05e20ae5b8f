//! The wake protocol. A task with nothing to do declares its need, checks once more, and sleeps.
//! The provider of that need then wakes the task, exactly once.
//!
//! ```text
//! sleeper                          waker
//! need.store(Input)                queue.push(item)
//! fence                            fence
//! queue empty? sleep               need == Input, and swapped to Nothing? send the wake
//! not empty? take the need back
//! ```
//!
//! Both write first and read second, with a sequentially consistent fence in between, so at least
//! one of them sees the other's write: either the sleeper finds the item, or the waker finds the
//! need. The swap ensures a single wake. `tests/wake.rs` compiles this very file with loom's
//! atomics, and explores the interleavings.

use super::atomic::{AtomicU8, Ordering, fence};

/// The event that a sleeping task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Need {
    /// A batch or a barrier in one of its inboxes.
    Input = 1,
    /// Room in a channel that it found full.
    Room = 2,
}

const NOTHING: u8 = 0;

/// The sleep of a task, and the need that ends it.
pub(crate) struct Wake {
    need: AtomicU8,
}

impl Wake {
    /// Creates the state of a task that is awake.
    pub(crate) fn new() -> Self {
        Self { need: AtomicU8::new(NOTHING) }
    }

    /// Declares that the task is about to sleep. The task must then check its need once more, and
    /// call [`take_back`](Self::take_back) if the need is met.
    pub(crate) fn will_sleep(&self, need: Need) {
        self.need.store(need as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Takes the need back, because the task found it met. Returns false if a wake is already on
    /// its way; then the task leaves the work to that wake.
    pub(crate) fn take_back(&self) -> bool {
        self.need.swap(NOTHING, Ordering::Relaxed) != NOTHING
    }

    /// Returns true if the caller, which has just provided something, must send the wake.
    pub(crate) fn claim(&self, provided: Need) -> bool {
        fence(Ordering::SeqCst);
        // Reading first keeps the cache line shared between the cores while no task sleeps.
        self.need.load(Ordering::Relaxed) == provided as u8
            && self
                .need
                .compare_exchange(provided as u8, NOTHING, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
