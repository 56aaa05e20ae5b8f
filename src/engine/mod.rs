//! Runs a topology (HOW): actors, channels, the emitter, groupings, barriers. Apart from the
//! coordinator's thin actor, no other code uses actix actors and channels.
//!
//! ```text
//! SpoutActor ─ Port ─ Emitter ══ channel ══▶ Inbox ─ BoltTask ─ Emitter ══ channel ══▶ …
//!     ▲                             │ wake ▲            │
//!     └──────── Control ────── Coordinator ◀── Report ──┘
//! ```

mod again;
mod bolt_actor;
mod jobs;
pub mod kappa;
mod launch;
mod options;
mod outline;
mod policy;
mod refused_rows;
mod restarts;
mod resume;
mod run;
mod spout_actor;
mod supervisor;
mod taps;
mod task;
pub mod test_run;
pub mod upgrade;
mod wiring;

#[cfg(test)]
mod tests;

pub use again::{AGAIN, Again, send_dead_letters};
pub use options::{DRAIN_DEADLINE, RunOptions};
pub(crate) use run::dead_letter_root;
pub use run::{Exit, Running, start};
pub use taps::{TapSource, TapWanted};
