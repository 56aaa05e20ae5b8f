//! The contract of an epoch: the barrier that ends it, and the reports of spouts, bolts and sinks
//! on it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::error::Result;

/// The marker that flows with the data and separates one epoch from the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    /// The barrier that sinks get.
    pub barrier: Barrier,
    /// True if all sources have ended: windows emit their content before they pass the marker on.
    pub finish: bool,
}

/// The marker that separates one epoch from the next, as a sink sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The epoch that ends here.
    pub epoch: u64,
    /// The wall clock of the coordinator at the time when it made the barrier. The age of files is
    /// measured by this time.
    pub now: OffsetDateTime,
    /// The boundary of the partition for posts after this barrier. A sink whose open partition has
    /// another boundary closes it here.
    pub boundary: OffsetDateTime,
    /// True if no posts come after this barrier: files are closed.
    pub last: bool,
    /// True if everything before the barrier has to survive a power loss before it is promised;
    /// false under `checkpoint: Off`.
    pub durable: bool,
}

/// A segment that a sink has made durable on this machine's disk, and will make visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The task's place, which holds the segment until it is delivered; see
    /// [`SinkConfig::place`](crate::sink::SinkConfig::place).
    pub place: String,
    /// The name of the segment (for a lake, `<partition>/<number>`).
    pub segment: String,
    /// Its length so far, in bytes.
    pub length: u64,
    /// The number of posts so far.
    pub posts: u64,
    /// The CRC-32 (IEEE) of these bytes.
    pub checksum: u32,
    /// True if the segment is complete, so that [`Sink::commit`](crate::sink::Sink::commit) makes
    /// it visible. An open segment is promised, too, with its length, and continues to grow.
    pub closed: bool,
}

/// The report of a sink at a barrier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The promises of everything that is on this machine's disk and wasn't reported as committed.
    pub promises: Vec<Promise>,
    /// The time at which the oldest open segment was begun: its age will require a barrier.
    pub open_since: Option<OffsetDateTime>,
}

/// Work that waits for a disk or a server. The engine runs it on a separate thread, so that it
/// overlaps with writing. Prepares run one after the other, and so do commits. A job must be
/// repeatable: it is called again after a transient error and while the disk is full.
pub type Job<T> = Box<dyn FnMut() -> Result<T> + Send>;

/// The position at which a split can be resumed. Only the spout that wrote it can interpret it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cursor {
    /// No post was handed over yet.
    Start,
    /// A text with which the spout can continue after the last post that it handed over.
    At(String),
    /// The split was read to its end, and can't grow. A split that may be longer at the next start,
    /// such as a file, keeps the position of its end in [`Cursor::At`].
    End,
}

/// The smallest part of a source that one task reads: a file, a partition, a range of the
/// generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Its name: the same in every run, unique within the source.
    pub id: String,
    /// The position from which it is read.
    pub cursor: Cursor,
}

/// One change of a bolt's state since the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The key group of the key, from 0 to 1,023 (see [`key_group`](crate::keys::key_group)), or
    /// [`SHARED_GROUP`](crate::keys::SHARED_GROUP).
    pub key_group: u16,
    /// The key, in the bolt's own encoding.
    pub key: Vec<u8>,
    /// The new value, in the bolt's own encoding; `None` if the key is deleted.
    pub value: Option<Vec<u8>>,
}

/// The size of the state of a bolt's task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// The number of keys.
    pub keys: u64,
    /// The number of bytes of keys and values in the last snapshot, as they are saved.
    pub saved_bytes: u64,
    /// The number of keys that were forgotten because of a bound.
    pub forgotten: u64,
}

/// The limits of a file of the lake. The file closes when it reaches the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicroBatch {
    /// The maximum number of posts.
    pub posts: u64,
    /// The maximum number of bytes of posts, unless a single post is larger.
    pub bytes: u64,
    /// The maximum age.
    pub age: Duration,
}

impl Default for MicroBatch {
    fn default() -> Self {
        Self { posts: 10_000, bytes: 32 << 20, age: Duration::from_secs(60) }
    }
}
