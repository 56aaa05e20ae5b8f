//! The data plane, which moves batches of tuples from one task to another.
//!
//! ```text
//! Port ─ Emitter ══ channel ══▶ Inbox ─ bolt ─ Output ─ Emitter ══ channel ══▶ …
//! ```

mod batch;
mod bolt_waker;
mod channel;
mod emitter;
mod grouping;
mod inbox;
mod input_clock;
mod output;
mod split_clock;
mod spout_port;
mod tap;
mod wake;

/// The atomics of the wake protocol. A model checker replaces them by its own.
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU8, Ordering, fence};
}

pub use batch::{Batch, Item};
pub use bolt_waker::BoltWaker;
pub use channel::{EdgeReceiver, EdgeSender, TaskHandle, WakeUp, edge};
pub use emitter::Emitter;
pub use grouping::{EmitterTask, Grouping, Router, Target};
pub use inbox::{Inbox, Received};
pub use input_clock::InputClock;
pub(crate) use output::BuriedTuple;
pub use output::Output;
pub use split_clock::SplitClock;
pub use spout_port::{Port, Secure, SpoutOutput};
pub use tap::{ComponentTap, Tap, TappedTuple};
pub use wake::Need;
