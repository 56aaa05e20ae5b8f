//! The messages from the coordinator to tasks. They are ordinary actor messages, so they never
//! queue behind data.

use std::sync::Arc;

use actix::Message;

use crate::epoch::{Mark, Promise};

/// A message from the coordinator to a task.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum Control {
    /// To a spout: start reading. To a bolt: check the inboxes.
    Start,
    /// To a spout: send this barrier now.
    Inject(Arc<Mark>),
    /// To a spout: stop reading.
    StopSource,
    /// To a spout: this epoch is complete.
    Completed(u64),
    /// To a spout: stop emitting (true), or continue (false).
    Pause(bool),
    /// To a sink: the checkpoint with these promises is complete.
    Commit(Vec<Promise>),
    /// To a sink: no checkpoint refers to these delivered segments now.
    Forget(Vec<String>),
    /// To all: the topology has ended.
    Shutdown,
}
