//! What tasks tell the coordinator.

use actix::{Message, Recipient};

use crate::epoch::{Cursor, Prepared, StateChange};
use crate::event_time::EventTime;

/// What a task tells the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A spout sent the barrier of this epoch; these are the cursors that changed since the last
    /// one, by split.
    Cursors {
        /// The epoch that the barrier ends.
        epoch: u64,
        /// Split ids and where they can be resumed.
        cursors: Vec<(String, Cursor)>,
        /// Split ids and the event time of their newest posts, where that changed.
        times: Vec<(String, EventTime)>,
    },
    /// A bolt passed the barrier of this epoch on.
    State {
        /// The epoch that the barrier ends.
        epoch: u64,
        /// What changed since the last one.
        changes: Vec<StateChange>,
        /// How far event time has come over all its inputs: the same in all tasks of a component.
        watermark: EventTime,
    },
    /// A sink made everything before the barrier of this epoch durable.
    Prepared {
        /// The epoch that the barrier ends.
        epoch: u64,
        /// What it promises.
        prepared: Prepared,
    },
    /// A sink has ended the commit that it was last told to do.
    Committed {
        /// The segments that are delivered; the others stay promised.
        segments: Vec<String>,
    },
    /// A spout's source has ended; it goes on answering barriers.
    SourceEnded,
    /// A spout was stopped; it goes on answering barriers.
    SourceStopped,
    /// A component failed for good.
    Failed(String),
    /// A component panicked.
    Panicked {
        /// What the panic said.
        message: String,
        /// The hash of the tuple that it was working on, if it was one.
        tuple: Option<u64>,
    },
    /// A component lost work that was under way outside, such as that of a child process.
    Broken {
        /// How.
        cause: String,
        /// The hash of the tuple that it was lost over, if that is known.
        tuple: Option<u64>,
    },
    /// The task is gone, and nobody knows why.
    Lost,
}

/// A report and the number of the task that makes it.
#[derive(Clone, Debug, Message, PartialEq, Eq)]
#[rtype(result = "()")]
pub struct FromTask {
    /// The number of the task in the plan.
    pub task: usize,
    /// What it says.
    pub report: Report,
}

/// A task's line to the coordinator.
#[derive(Clone)]
pub struct Reporter {
    task: usize,
    coordinator: Recipient<FromTask>,
}

impl Reporter {
    /// Of the task with this number.
    pub fn new(task: usize, coordinator: Recipient<FromTask>) -> Self {
        Self { task, coordinator }
    }

    /// Sends a report. A coordinator that is gone needs none any more.
    pub fn send(&self, report: Report) {
        self.coordinator.do_send(FromTask { task: self.task, report });
    }
}
