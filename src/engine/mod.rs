//! HOW a topology runs: actors, channels, the emitter, groupings, barriers. With the coordinator's
//! thin actor this is the only code that knows actix actors and channels.
//!
//! ```text
//! SpoutActor ─ Port ─ Emitter ══ channel ══▶ Inbox ─ BoltTask ─ Emitter ══ channel ══▶ …
//!     ▲                             │ wake ▲            │
//!     └──────── Control ────── Coordinator ◀── Report ──┘
//! ```

mod again;
mod alive;
mod batch;
mod bolt_actor;
mod channel;
mod control;
mod dead_letters;
mod emitter;
mod grouping;
mod inbox;
mod jobs;
pub mod kappa;
mod launch;
mod letter;
mod letter_bound;
mod messages;
mod metering;
mod output;
mod policy;
mod report;
mod restarts;
mod resume;
mod run;
mod spout_actor;
mod spout_port;
mod supervisor;
mod task;
mod wake;
mod wiring;

#[cfg(test)]
mod tests;

/// The atomics of the wake protocol, which its model checker replaces by its own.
mod atomic {
    pub use std::sync::atomic::{AtomicU8, Ordering, fence};
}

pub use again::{AGAIN, Again, send_dead_letters};
pub use alive::Alive;
pub use batch::Mark;
pub(crate) use bolt_actor::panic_message;
pub use control::Control;
pub use dead_letters::{DEAD, DeadLetter};
pub use grouping::{KEY_GROUPS, key_group, stable_hash};
pub(crate) use letter::{Letter, Refused};
pub use letter_bound::LetterLimits;
pub use messages::Messages;
pub use metering::Meter;
pub use output::Output;
pub use policy::NO_ROOM_RETRY;
pub use report::{FromTask, Report};
pub use run::{DRAIN_DEADLINE, Exit, RunOptions, Running, start};
pub use spout_port::SpoutOutput;
