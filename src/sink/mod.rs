//! Sinks: bolts that write outside, in two phases where the outside allows it.

mod lake;
pub mod local;
pub mod null;
pub mod s3;
pub mod stdout;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::bolt::Problem;
use crate::clock::SharedClock;
use crate::error::Result;
use crate::lake::root::Root;
use crate::registry::Registry;
use crate::topology::MicroBatch;
use crate::tuple::{Fields, Tuple};

use self::local::{DeadLetters, Local};
use self::null::Null;
use self::s3::S3;
use self::stdout::Stdout;

/// The room's registry: one line for each sink.
pub(crate) fn register(registry: Registry) -> Registry {
    registry.sink::<Local>().sink::<S3>().sink::<Stdout>().sink::<Null>()
}

/// The sink for the dead letters of a topology, under the root of its lake or state.
pub(crate) fn dead_letters(root: PathBuf) -> std::sync::Arc<dyn SinkConfig> {
    std::sync::Arc::new(DeadLetters::under(root))
}

/// Deletes what a task that is gone staged in a place and nobody delivered, where its sink was one of
/// those in here. A place of another sink is left as it is.
///
/// # Errors
/// If what is staged there can't be deleted.
pub(crate) fn discard(place: &str) -> Result<()> {
    match local::staged_in(place).or_else(|| s3::staged_in(place)) {
        Some(staging) => crate::lake::recover::recover(&staging, &[]).map(drop),
        None => Ok(()),
    }
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
    /// The task's place that the segment lies in until it is delivered; see [`SinkConfig::place`].
    pub place: String,
    /// The name of the segment (for a lake, `<partition>/<number>`).
    pub segment: String,
    /// Its length so far, in bytes.
    pub length: u64,
    /// How many posts it holds so far.
    pub posts: u64,
    /// CRC-32 (IEEE) of those bytes.
    pub checksum: u32,
    /// Whether it is complete, so that [`Sink::commit`] makes it visible. An open segment is
    /// promised too, with its length, and goes on growing.
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

/// Work that waits for a disk or a server. The engine runs it on a thread beside the task's, so that
/// it overlaps with writing: prepares one after the other, and commits one after the other. It is
/// repeatable, and is called again after a transient error or while there is no room.
pub type Job<T> = Box<dyn FnMut() -> Result<T> + Send>;

/// What a sink does when its outbox is full, because the outside takes less than is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFull {
    /// The spouts upstream pause until half of it is delivered.
    #[default]
    Pause,
    /// What doesn't fit is dropped, and counted.
    Drop,
}

/// What a sink's task is made with.
#[derive(Clone)]
pub struct SinkContext {
    /// The component's id.
    pub component: String,
    /// The number of the task, from 0.
    pub task: usize,
    /// The name of this run: a random UUID, so that no other instance's staging is ever touched.
    pub run: String,
    /// The fields of each input.
    pub inputs: Vec<Fields>,
    /// When a micro-batch closes.
    pub micro_batch: MicroBatch,
    /// The boundary of the partition to begin with.
    pub boundary: OffsetDateTime,
    /// Whether barriers will be durable, so that a sink can begin early with what a sync has to wait for.
    pub durable: bool,
    /// The folder that the topology's state is in, for what is kept until it can be delivered.
    pub state: PathBuf,
    /// The clock that the age of a micro-batch begins by.
    pub clock: SharedClock,
}

/// The configuration of a sink.
pub trait SinkConfig: Send + Sync {
    /// Checks the configuration against the fields of each of its inputs.
    ///
    /// # Errors
    /// All problems that the inputs' fields show.
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>>;

    /// Asks the outside, with the fewest calls, whether it would take what this sink writes; says what was found
    /// to be good, or nothing if there is nothing to ask. Blocks. What it writes for that it takes away again.
    ///
    /// # Errors
    /// What isn't good, and what to do.
    fn check_online(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Makes the sink of one task.
    ///
    /// # Errors
    /// If the outside isn't there or can't be written to.
    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>>;

    /// Whether it blocks, and so needs a thread of its own.
    fn blocks(&self) -> bool {
        true
    }

    /// Where a task with this context keeps what it has not delivered, absolute, for
    /// [`recover`](Self::recover): it is saved before the task writes anything. Empty for a sink that
    /// promises nothing.
    ///
    /// # Errors
    /// If it can't be written down.
    fn place(&self, _context: &SinkContext) -> Result<String> {
        Ok(String::new())
    }

    /// After the end of a task, however it came: `promises` are those with this place in the newest
    /// complete checkpoint. Cuts what went on growing back to what was promised, closes it, and
    /// deletes what was begun after that checkpoint. Returns the promises, closed, for any task of
    /// this sink to commit. It is repeatable, also after some of them were committed.
    ///
    /// # Errors
    /// If what was promised isn't there any more.
    fn recover(&self, _place: &str, _promises: &[Promise]) -> Result<Vec<Promise>> {
        Ok(Vec::new())
    }

    /// How much a task may have promised and not delivered before the spouts upstream pause, in bytes.
    fn outbox_bytes_max(&self) -> Option<u64> {
        None
    }

    /// Where it writes a lake, if it does: a replay of that lake refuses it.
    fn writes_to(&self) -> Option<Root> {
        None
    }

    /// The folder under which the dead letters of the topology may be kept, for a lake.
    fn lake_root(&self) -> Option<PathBuf> {
        None
    }
}

/// A component that writes outside.
pub trait Sink: Send {
    /// Takes one tuple. On an error nothing of it may have been written.
    ///
    /// # Errors
    /// If this tuple can't be written, now or ever.
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()>;

    /// How many tuples it has dropped because its options say so, since it was made.
    fn dropped(&self) -> u64 {
        0
    }

    /// The task has nothing more to do for now: writes out what should be seen at once.
    ///
    /// # Errors
    /// If the outside doesn't take it.
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    /// First phase: everything written so far belongs to the barrier's epoch. The job makes it
    /// durable on this machine, and touches nothing else.
    ///
    /// # Errors
    /// If what was written can't be handed to the operating system.
    fn prepare(&mut self, _barrier: &Barrier) -> Result<Job<Prepared>> {
        Ok(Box::new(|| Ok(Prepared::default())))
    }

    /// Second phase: the checkpoint with these closed promises is complete, and the job makes them
    /// visible. It is repeatable: what is visible already is left as it is.
    fn commit(&mut self, _promises: Vec<Promise>) -> Job<()> {
        Box::new(|| Ok(()))
    }
}
