//! The wake protocol: a task that finds nothing to do says what it needs, looks once more, and
//! sleeps; whoever then provides that wakes it, exactly once.
//!
//! ```text
//! sleeper                          waker
//! need.store(Input)                queue.push(item)
//! fence                            fence
//! queue empty? sleep               need == Input, and swapped to Nothing? send the wake
//! not empty? take the need back
//! ```
//!
//! Both write first and read second, with a sequentially consistent fence between, so at least one
//! of them sees the other's write: either the sleeper finds the item, or the waker finds the need.
//! The swap makes it one wake. `tests/wake.rs` compiles this very file with loom's atomics, and
//! explores the interleavings.

use super::atomic::{AtomicU8, Ordering, fence};

/// What a sleeping task waits for.
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
    /// Of a task that is awake.
    pub(crate) fn new() -> Self {
        Self { need: AtomicU8::new(NOTHING) }
    }

    /// The task is about to sleep. It must look for what it needs once more after this, and call
    /// [`take_back`](Self::take_back) if it finds it.
    pub(crate) fn will_sleep(&self, need: Need) {
        self.need.store(need as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The task found what it needs after all. False if a wake is on its way already: then the task
    /// leaves the work to that.
    pub(crate) fn take_back(&self) -> bool {
        self.need.swap(NOTHING, Ordering::Relaxed) != NOTHING
    }

    /// Something was provided, before this call. True if the caller must send the wake.
    pub(crate) fn claim(&self, provided: Need) -> bool {
        fence(Ordering::SeqCst);
        // Looking first keeps the line shared between the cores while nobody sleeps.
        self.need.load(Ordering::Relaxed) == provided as u8
            && self
                .need
                .compare_exchange(provided as u8, NOTHING, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
