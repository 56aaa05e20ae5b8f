//! The contract of an epoch: the barrier that ends it, and what spouts, bolts and sinks say of
//! themselves there.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::error::Result;

/// The marker that flows with the data and divides one epoch from the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    /// What sinks are told.
    pub barrier: Barrier,
    /// All sources have ended: windows emit what they hold before they pass this on.
    pub finish: bool,
}

/// The marker that divides one epoch from the next, as a sink sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The epoch that ends here.
    pub epoch: u64,
    /// The coordinator's wall clock when it made the barrier: what the age of files is decided by.
    pub now: OffsetDateTime,
    /// The boundary of the partition that holds what comes after this barrier. A sink whose open
    /// partition has another boundary closes it here.
    pub boundary: OffsetDateTime,
    /// Nothing comes after this barrier: files are closed.
    pub last: bool,
    /// Whether what came before has to survive a power loss before it is promised; false under
    /// `checkpoint: Off`.
    pub durable: bool,
}

/// What a sink has made durable on this machine's disk, and will make visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The task's place that the segment lies in until it is delivered; see
    /// [`SinkConfig::place`](crate::sink::SinkConfig::place).
    pub place: String,
    /// The name of the segment (for a lake, `<partition>/<number>`).
    pub segment: String,
    /// Its length so far, in bytes.
    pub length: u64,
    /// How many posts it holds so far.
    pub posts: u64,
    /// CRC-32 (IEEE) of those bytes.
    pub checksum: u32,
    /// True if it is complete, so that [`Sink::commit`](crate::sink::Sink::commit) makes it
    /// visible. An open segment is promised too, with its length, and goes on growing.
    pub closed: bool,
}

/// What a sink reports at a barrier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Everything that is on this machine's disk and wasn't reported as committed.
    pub promises: Vec<Promise>,
    /// When the oldest segment that is still open was begun: its age will need a barrier.
    pub open_since: Option<OffsetDateTime>,
}

/// Work that waits for a disk or a server. The engine runs it on a thread beside the task's, so
/// that it overlaps with writing: prepares one after the other, and commits one after the other. It
/// is repeatable, and is called again after a transient error or while there is no room.
pub type Job<T> = Box<dyn FnMut() -> Result<T> + Send>;

/// Where a split can be resumed: opaque to the engine, written by the spout that reads it back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cursor {
    /// Nothing was handed over yet.
    Start,
    /// Whatever the spout needs to go on behind the last thing it handed over.
    At(String),
    /// The split is read to its end, and can't grow. A split that may be longer at the next start,
    /// such as a file, keeps the place of its end in [`Cursor::At`].
    End,
}

/// The smallest part of a source that one task reads: a file, a partition, a range of the
/// generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Its name: the same in every run, unique within the source.
    pub id: String,
    /// Where to go on.
    pub cursor: Cursor,
}

/// One change of a bolt's state since the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The key group that the key belongs to, 0 to 1,023; see
    /// [`key_group`](crate::keys::key_group). Or [`SHARED_GROUP`](crate::keys::SHARED_GROUP).
    pub key_group: u16,
    /// The key, in the bolt's own encoding.
    pub key: Vec<u8>,
    /// Its new value, in the bolt's own encoding; `None` forgets the key.
    pub value: Option<Vec<u8>>,
}

/// How large the state of a bolt's task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// How many keys it has.
    pub keys: u64,
    /// How many bytes keys and values had at the last snapshot, as they are saved.
    pub saved_bytes: u64,
    /// How many keys were forgotten because of a bound.
    pub forgotten: u64,
}

/// When a file of the lake closes: by the first of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicroBatch {
    /// How many posts it holds at most.
    pub posts: u64,
    /// How many bytes of posts it holds at most, unless a single post is larger.
    pub bytes: u64,
    /// How old it gets at most.
    pub age: Duration,
}

impl Default for MicroBatch {
    fn default() -> Self {
        Self { posts: 10_000, bytes: 32 << 20, age: Duration::from_secs(60) }
    }
}
