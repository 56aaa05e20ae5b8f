//! What the coordinator tells tasks: ordinary actor messages, so that they never queue behind data.

use std::sync::Arc;

use actix::Message;

use super::batch::Mark;
use crate::sink::Promise;

/// What the coordinator tells a task.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum Control {
    /// To a spout: begin to read. To a bolt: look at the inboxes.
    Start,
    /// To a spout: send this barrier, now.
    Inject(Arc<Mark>),
    /// To a spout: read no more.
    StopSource,
    /// To a spout: this epoch is complete.
    Completed(u64),
    /// To a spout: emit nothing for now (true), or go on (false).
    Pause(bool),
    /// To a sink: the checkpoint with these promises is complete.
    Commit(Vec<Promise>),
    /// To a sink: no checkpoint names these delivered segments any more.
    Forget(Vec<String>),
    /// To all: the topology has ended.
    Shutdown,
}
