//! The messages from tasks to the coordinator.

use actix::{Message, Recipient};

use crate::epoch::{Cursor, Prepared, StateChange};
use crate::event_time::EventTime;

/// A message from a task to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A spout sent the barrier of this epoch.
    Cursors {
        /// The epoch that the barrier ends.
        epoch: u64,
        /// The cursors that changed since the last barrier, by split.
        cursors: Vec<(String, Cursor)>,
        /// The event times of the newest posts of splits, if they changed.
        times: Vec<(String, EventTime)>,
    },
    /// A bolt passed on the barrier of this epoch.
    State {
        /// The epoch that the barrier ends.
        epoch: u64,
        /// The changes of state since the last barrier.
        changes: Vec<StateChange>,
        /// The minimum of event time over all its inputs, which is the same in all tasks of a
        /// component.
        watermark: EventTime,
    },
    /// A sink made everything before the barrier of this epoch durable.
    Prepared {
        /// The epoch that the barrier ends.
        epoch: u64,
        /// The promises of the sink.
        prepared: Prepared,
    },
    /// A sink has ended the last commit that it was given.
    Committed {
        /// The segments that are delivered. The others stay promised.
        segments: Vec<String>,
    },
    /// A spout has emitted tuples while the coordinator rested.
    Emits,
    /// A spout's source has ended. The spout still answers barriers.
    SourceEnded,
    /// A spout was stopped. It still answers barriers.
    SourceStopped,
    /// A component failed for good.
    Failed(String),
    /// A component panicked.
    Panicked {
        /// The message of the panic.
        message: String,
        /// The hash of the tuple that was being processed, if any.
        tuple: Option<u64>,
    },
    /// A component lost work in progress outside the engine, such as that of a child process.
    Broken {
        /// The cause of the loss.
        cause: String,
        /// The hash of the tuple that caused the loss, if known.
        tuple: Option<u64>,
    },
    /// The task disappeared for an unknown reason.
    Lost,
}

/// A report and the number of the task that makes it.
#[derive(Clone, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct FromTask {
    /// The number of the task in the plan.
    pub task: usize,
    /// The report.
    pub report: Report,
}

/// A task's line to the coordinator.
#[derive(Clone)]
pub struct Reporter {
    task: usize,
    coordinator: Recipient<FromTask>,
}

impl Reporter {
    /// Creates the line of the task with this number.
    pub fn new(task: usize, coordinator: Recipient<FromTask>) -> Self {
        Self { task, coordinator }
    }

    /// Sends a report. The report is dropped if the coordinator has ended.
    pub fn send(&self, report: Report) {
        self.coordinator.do_send(FromTask { task: self.task, report });
    }
}
