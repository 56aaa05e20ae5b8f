//! HOW a topology runs: tasks, inboxes, the emitter, groupings, barriers.

use bytes::Bytes;

use crate::clock::SharedClock;
use crate::error::Result;
use crate::spout::{Cursor, Split};
use crate::tuple::StreamId;
use crate::value::Value;

/// Keyed state is kept in this many groups, so that it can be shared out anew.
pub const KEY_GROUPS: u16 = 1024;

/// The key group of a key: a stable hash (XXH3, 64 bits) of its values, scaled to [`KEY_GROUPS`].
pub fn key_group<'a>(_key: impl IntoIterator<Item = &'a Value>) -> u16 {
    todo!()
}

/// Where a bolt emits to.
pub struct Output {}

impl Output {
    /// Emits a tuple on the stream `default`.
    pub fn emit(&mut self, values: impl IntoIterator<Item = Value>) {
        self.emit_to(StreamId::DEFAULT, values);
    }

    /// Emits a tuple on a stream.
    pub fn emit_to(&mut self, _stream: StreamId, _values: impl IntoIterator<Item = Value>) {
        todo!()
    }

    /// Emits a tuple on a stream to one task of each bolt that takes it by direct grouping.
    pub fn emit_direct(&mut self, _stream: StreamId, _task: usize, _values: impl IntoIterator<Item = Value>) {
        todo!()
    }
}

/// Something from outside that can't become a post.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The bytes as they were read.
    pub raw: Bytes,
    /// Where they were read and what is wrong: `in.ndjson:12: expected an object, found an array`.
    pub error: String,
}

/// What a spout's loop talks to: the splits to read, and where the tuples go.
pub struct SpoutOutput {}

impl SpoutOutput {
    /// The splits that this task reads, each with the cursor to go on from.
    pub fn splits(&self) -> &[Split] {
        todo!()
    }

    /// The clock that the topology runs by.
    pub fn clock(&self) -> &SharedClock {
        todo!()
    }

    /// Adds a tuple of the stream `default` to the next [`emit`](Self::emit).
    pub fn push(&mut self, values: impl IntoIterator<Item = Value>) {
        self.push_to(StreamId::DEFAULT, values);
    }

    /// Adds a tuple to the next [`emit`](Self::emit).
    pub fn push_to(&mut self, _stream: StreamId, _values: impl IntoIterator<Item = Value>) {
        todo!()
    }

    /// Adds a dead letter to the next [`emit`](Self::emit).
    pub fn push_dead_letter(&mut self, _letter: DeadLetter) {
        todo!()
    }

    /// Hands over everything that was pushed, as one: a checkpoint has all of it, with this cursor,
    /// or nothing of it. Then waits until there is room for more. A good size is some hundred
    /// tuples, or about a mebibyte.
    ///
    /// # Errors
    /// None for now; the engine may refuse when it stops.
    pub async fn emit(&mut self, _split: usize, _cursor: Cursor) -> Result<()> {
        todo!()
    }

    /// Says in a word or two what the source is doing (`429 until 23:59:10`), for people who watch.
    pub fn set_state(&mut self, _state: &str) {
        todo!()
    }
}

/// How a topology is run.
pub struct RunOptions {
    /// The clock that it runs by.
    pub clock: SharedClock,
    /// Where checkpoints, outboxes and spools are kept.
    pub state: std::path::PathBuf,
    /// How long a drain waits for commits before it gives up (design: 30 s).
    pub drain_deadline: std::time::Duration,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All sources ended, or the drain after [`Running::stop`] was complete.
    Finished,
    /// A component or the engine failed for good; the text names the component, the task and the cause.
    Failed(String),
    /// The drain deadline went by; the text names what wasn't done yet.
    NotClean(String),
}

/// A running topology. Dropping it does not stop it.
pub struct Running {}

/// Starts a topology on threads of its own.
///
/// # Errors
/// If a component can't be made: a missing file, a folder that can't be written.
pub fn start(_topology: crate::topology::Topology, _options: RunOptions) -> Result<Running> {
    todo!()
}

impl Running {
    /// The topology at this moment.
    pub fn status(&self) -> crate::metrics::Status {
        todo!()
    }

    /// Begins a graceful drain: spouts stop, what is in flight is written, files close. Returns at once.
    pub fn stop(&self) {
        todo!()
    }

    /// Waits for the end, but no longer than `timeout`.
    pub fn wait(&self, _timeout: std::time::Duration) -> Option<Exit> {
        todo!()
    }
}
