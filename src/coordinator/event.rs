//! What happens to the coordinator's state machine, and what it says to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::Changes;
use crate::epoch::{Mark, Promise};
use crate::protocol::FromTask;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time went by. `emitted` counts what all spouts emitted since the start.
    Tick {
        /// Tuples that spouts emitted since the start.
        emitted: u64,
    },
    /// A task reported.
    Task(FromTask),
    /// What `Save` asked for is durable.
    Saved {
        /// The epoch that was saved.
        epoch: u64,
    },
    /// Somebody asked for a graceful drain.
    Stop,
    /// Somebody asked for other numbers of tasks.
    Rebalance,
    /// Somebody asked that spouts emit nothing (true), or that they go on (false).
    SetInactive(bool),
    /// Somebody gave a drain another time than the policy.
    DrainWithin(Duration),
    /// The state store or another part of the engine failed for good.
    Broken(String),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell all spouts to send this barrier.
    Inject(Arc<Mark>),
    /// Save what the epoch changed, and report `Saved`.
    Save(Changes),
    /// Tell a sink task to make these promises visible.
    Commit {
        /// The number of the task.
        task: usize,
        /// Closed promises, in order.
        promises: Vec<Promise>,
    },
    /// Tell a sink task that no checkpoint names these delivered segments any more.
    Forget {
        /// The number of the task.
        task: usize,
        /// The names of the segments.
        segments: Vec<String>,
    },
    /// This epoch is complete: tell all spouts, which may have to trim what they read.
    Complete(u64),
    /// Tell all spouts to read no more.
    StopSources,
    /// Tell these spouts to emit nothing for now, and all others to go on.
    Pause(BTreeSet<usize>),
    /// All tasks end: tell them, and whoever waits.
    End(Outcome),
}

/// How the tasks of a topology came to their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is delivered, after all sources ended (`all`) or were stopped.
    Finished {
        /// All sources ended by themselves.
        all: bool,
    },
    /// A component or the engine failed for good; the text names it and the cause.
    Failed(String),
    /// The drain deadline went by; the text names what wasn't done yet.
    NotClean(String),
    /// A task panicked or was lost: everything goes back to the newest complete checkpoint.
    RollBack {
        /// The number of the task.
        task: usize,
        /// What happened, naming the task.
        cause: String,
        /// The hash of the tuple that it was working on.
        tuple: Option<u64>,
    },
    /// The last epoch is complete, and tasks may start in other numbers.
    Rebalance,
}
