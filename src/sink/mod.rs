//! Sinks: bolts that write outside, in two phases where the outside allows it.

mod lake;
mod lines;
pub mod local;
pub mod null;
pub mod outbox;
pub mod postgres;
pub mod redshift;
pub mod s3;
pub mod socket;
pub mod stdout;
pub mod waiting;
mod warehouse;
pub mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::bolt::{BoltConfig, Problem};
use crate::clock::SharedClock;
use crate::epoch::MicroBatch;
use crate::error::Result;
use crate::lake::root::Root;
use crate::lake::store::Store;
use crate::tuple::{Fields, Tuple};
use crate::value::Value;

use self::local::DeadLetters;

pub use crate::epoch::{Barrier, Job, Prepared, Promise};

/// Returns the sink for the dead letters of a topology, under the root of its lake or state.
pub(crate) fn dead_letters(root: PathBuf) -> Arc<dyn SinkConfig> {
    Arc::new(DeadLetters::under(root))
}

/// Deletes the staged, undelivered files of a task that no longer exists, if its sink was one of
/// the sinks in this module. Leaves the places of other sinks unchanged.
///
/// # Errors
/// If the staged files can't be deleted.
pub(crate) fn discard(place: &str) -> Result<()> {
    if outbox::discard(place)? {
        return Ok(());
    }
    match local::staged_in(place).or_else(|| s3::staged_in(place)) {
        Some(staging) => crate::lake::recover::recover(&staging, &[]).map(drop),
        None => Ok(()),
    }
}

/// The result of a commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivered {
    /// The names of the segments that are now delivered. All other promises stay promised: they are
    /// offered again with the next commit, about a second later, together with newer promises. A
    /// sink may therefore gather many segments for one large load, but must deliver all of them
    /// after the last barrier.
    pub segments: Vec<String>,
    /// Rows of the delivered segments that the destination permanently refuses. They become dead
    /// letters.
    pub refused: Vec<RefusedRows>,
    /// The reason why the other segments wait, shown to users, if the destination is temporarily
    /// unavailable.
    pub waits: Option<String>,
}

impl Delivered {
    /// Returns a result in which every promise is delivered and no row is refused.
    pub fn all(promises: &[Promise]) -> Self {
        let segments = promises.iter().map(|promise| promise.segment.clone()).collect();
        Self { segments, ..Self::default() }
    }
}

/// The rows of one segment that the destination refuses. Until the segment is
/// [forgotten](Sink::forgotten), each commit of the segment must report the same rows, so that each
/// row becomes exactly one dead letter even if the commit is repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRows {
    /// The segment's name.
    pub segment: String,
    /// The time at which the rows were refused for the first time.
    pub at: OffsetDateTime,
    /// The rows, in the segment's order.
    pub rows: Vec<RefusedRow>,
}

/// A tuple that the destination refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRow {
    /// The position of the input that delivered the tuple; see [`Tuple::input`].
    pub input: usize,
    /// The values of the tuple.
    pub values: Vec<Value>,
    /// The reason for the refusal.
    pub error: String,
}

/// The reaction of a sink to a full outbox, which fills when tuples arrive faster than the
/// destination takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFull {
    /// The spouts upstream pause until half of the outbox is delivered.
    #[default]
    Pause,
    /// New tuples that don't fit are dropped and counted.
    Drop,
}

/// The arguments for creating the sink of one task.
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
    /// True if barriers will be durable, so that a sink can start slow work early that a sync would
    /// otherwise wait for.
    pub durable: bool,
    /// The folder of the topology's state, for data that is kept until it is delivered.
    pub state: PathBuf,
    /// The clock that measures the age of a micro-batch.
    pub clock: SharedClock,
}

/// A bolt that a sink asks the plan to put in front of it.
pub struct BoltInFront {
    /// The name of the bolt's type in RON.
    pub type_name: &'static str,
    /// The guarantee of the bolt, in a sentence.
    pub guarantee: &'static str,
    /// The bolt's configuration.
    pub config: Arc<dyn BoltConfig>,
    /// The configuration in RON, on one line, with every default written out.
    pub explained: String,
    /// The fields of the bolt's stream `default` by which tuples are distributed among the sink's
    /// tasks; empty if any task may get any tuple.
    pub keys: Vec<&'static str>,
}

/// The counters of a sink that delivers tuples outside of commits, to any number of readers.
#[derive(Debug, Default)]
pub struct SinkCounts {
    emitted: AtomicU64,
    dropped: AtomicU64,
}

impl SinkCounts {
    /// Counts tuples that were handed over, once for each reader that took them.
    pub fn add_emitted(&self, tuples: u64) {
        self.emitted.fetch_add(tuples, Ordering::Relaxed);
    }

    /// Counts tuples that were dropped because the sink's options say so.
    pub fn add_dropped(&self, tuples: u64) {
        self.dropped.fetch_add(tuples, Ordering::Relaxed);
    }

    /// Returns the number of tuples that were handed over.
    pub fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    /// Returns the number of tuples that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The configuration of a sink.
pub trait SinkConfig: Send + Sync {
    /// Checks the configuration against the fields of each of its inputs.
    ///
    /// # Errors
    /// If the fields of the inputs don't fit; the error has all problems.
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>>;

    /// Checks with as few calls as possible if the destination would accept the data of this sink.
    /// Returns a description of what was checked, or nothing if there is nothing to check. Blocks.
    /// Test data that this check writes is deleted again.
    ///
    /// # Errors
    /// If the destination isn't usable; the error says why, and what to do.
    fn check_online(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Returns the bolt that a tuple of this stream, with these fields, must pass before this sink:
    /// a warehouse, for example, reads posts through such a bolt. The plan inserts one bolt between
    /// the sink and all inputs for which this function names the same type. `graph` shows the bolt,
    /// although the topology's file doesn't name it. [`check`](Self::check) gets the inputs that
    /// the file names.
    fn bolt_in_front(&self, _stream: &str, _fields: &Fields) -> Option<BoltInFront> {
        None
    }

    /// Returns the destination of tuples with these fields, for users, if different tuples go to
    /// different destinations: `table trends`.
    fn destination(&self, _fields: &Fields) -> Option<&'static str> {
        None
    }

    /// Creates the sink of one task.
    ///
    /// # Errors
    /// If the destination doesn't exist or can't be written to.
    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>>;

    /// Returns true if the sink blocks, and so needs a thread of its own.
    fn blocks(&self) -> bool {
        true
    }

    /// Returns the largest parallelism hint that the sink supports and the reason, which the
    /// problem with a larger hint quotes.
    fn tasks_max(&self) -> Option<(usize, &'static str)> {
        None
    }

    /// Returns the absolute place where a task with this context keeps undelivered data, for
    /// [`recover`](Self::recover). The place is saved before the task writes anything. Empty for a
    /// sink that promises nothing.
    ///
    /// # Errors
    /// If the place can't be written as text.
    fn place(&self, _context: &SinkContext) -> Result<String> {
        Ok(String::new())
    }

    /// Recovers after a task has ended for any reason: `promises` are those with this place in the
    /// newest complete checkpoint. Truncates files that grew beyond their promises, closes them,
    /// and deletes files that were begun after that checkpoint. Returns the closed promises, which
    /// any task of this sink can commit. May be repeated, also after some of the promises were
    /// committed.
    ///
    /// # Errors
    /// If promised data is missing.
    fn recover(&self, _place: &str, _promises: &[Promise]) -> Result<Vec<Promise>> {
        Ok(Vec::new())
    }

    /// Returns the number of promised but undelivered bytes at which the spouts upstream pause.
    fn outbox_bytes_max(&self) -> Option<u64> {
        None
    }

    /// Returns true if readers fetch the delivered data at times of their own choice. After all
    /// sources have ended, the topology then waits for readers without a deadline, until a user
    /// stops it. Only called for a sink with a bound on undelivered data.
    fn waits_for_readers(&self) -> bool {
        false
    }

    /// Returns the address of the lake that the sink writes, if any: a replay of that lake refuses
    /// the sink.
    fn writes_to(&self) -> Option<Root> {
        None
    }

    /// Opens the lake that it writes, to read it; `None` if it writes none.
    ///
    /// # Errors
    /// If the lake can't be opened.
    fn open_lake(&self) -> Result<Option<Arc<dyn Store>>> {
        Ok(None)
    }

    /// Returns the folder under which a lake can keep the topology's dead letters.
    fn lake_root(&self) -> Option<PathBuf> {
        None
    }
}

/// A component that writes outside.
pub trait Sink: Send {
    /// Takes one tuple. If this fails, no part of the tuple may have been written.
    ///
    /// # Errors
    /// If this tuple can't be written now, or can never be written.
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()>;

    /// Returns how many tuples the sink has dropped, because its options say so, since it was
    /// created.
    fn dropped(&self) -> u64 {
        0
    }

    /// Returns the sink's own counters, if it hands over and drops tuples outside of
    /// [`write`](Self::write). They are shown instead of [`dropped`](Self::dropped), also after the
    /// last commit.
    fn counts(&self) -> Option<Arc<SinkCounts>> {
        None
    }

    /// Returns the state of the sink for users, if "running" and "idle" aren't precise enough.
    fn says(&self) -> Option<String> {
        None
    }

    /// Flushes output that users should see at once, because the task has no more input for now.
    ///
    /// # Errors
    /// If the destination doesn't take the output.
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    /// First phase: everything written so far belongs to the barrier's epoch. The returned job
    /// makes the data durable on this machine, and does nothing else.
    ///
    /// # Errors
    /// If written data can't be handed to the operating system.
    fn prepare(&mut self, _barrier: &Barrier) -> Result<Job<Prepared>> {
        Ok(Box::new(|| Ok(Prepared::default())))
    }

    /// Second phase: the checkpoint with these closed promises is complete, and the job delivers
    /// all or some of them. May be repeated: delivered data isn't delivered again.
    ///
    /// A job that is abandoned when its task ends may run at the same time as a job of the next
    /// task. The destination must therefore take a segment only once: by a conditional put, or by a
    /// ledger row in the same transaction.
    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        Box::new(move || Ok(Delivered::all(&promises)))
    }

    /// Cleans up after delivered segments that the newest complete checkpoint no longer names, and
    /// that will therefore never be committed again: the job deletes the data by which the sink
    /// recognises them. Not called for the segments of a run's last commits.
    fn forgotten(&mut self, _segments: Vec<String>) -> Job<()> {
        Box::new(|| Ok(()))
    }
}
