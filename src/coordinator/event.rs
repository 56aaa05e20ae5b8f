//! The events that the coordinator's state machine handles, and the actions that it returns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::Changes;
use crate::epoch::{Mark, Promise};
use crate::protocol::FromTask;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick {
        /// The number of tuples that all spouts have emitted since the start.
        emitted: u64,
    },
    /// A task reported.
    Task(FromTask),
    /// The epoch of a `Save` is durable.
    Saved {
        /// The epoch that was saved.
        epoch: u64,
    },
    /// A user asked for a graceful drain.
    Stop,
    /// A user asked for other numbers of tasks.
    Rebalance,
    /// A user paused all spouts (true), or let them continue (false).
    SetInactive(bool),
    /// A user replaced the policy's deadline of a drain.
    DrainWithin(Duration),
    /// The state store or another part of the engine failed for good.
    Broken(String),
}

/// An action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell all spouts to send this barrier.
    Inject(Arc<Mark>),
    /// Save the changes of the epoch, and report `Saved`.
    Save(Changes),
    /// Tell a sink task to make these promises visible.
    Commit {
        /// The number of the task.
        task: usize,
        /// Closed promises, in order.
        promises: Vec<Promise>,
    },
    /// Tell a sink task that no checkpoint contains these delivered segments.
    Forget {
        /// The number of the task.
        task: usize,
        /// The names of the segments.
        segments: Vec<String>,
    },
    /// The epoch is complete. Tell all spouts, which may have to trim their source.
    Complete(u64),
    /// Tell all spouts to stop reading.
    StopSources,
    /// Tell these spouts to pause, and all others to continue.
    Pause(BTreeSet<usize>),
    /// End all tasks, and report the outcome.
    End(Outcome),
}

/// The outcome of a run of all tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is delivered.
    Finished {
        /// True if all sources ended by themselves, false if they were stopped.
        all: bool,
    },
    /// A component or the engine failed for good. The text names it and the cause.
    Failed(String),
    /// The drain deadline passed. The text names the unfinished work.
    NotClean(String),
    /// A task panicked or was lost. All tasks go back to the newest complete checkpoint.
    RollBack {
        /// The number of the task.
        task: usize,
        /// The cause, with the name of the task.
        cause: String,
        /// The hash of the tuple that the task was processing.
        tuple: Option<u64>,
    },
    /// The last epoch is complete, and tasks may be started in other numbers.
    Rebalance,
}
