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

/// The sink for the dead letters of a topology, under the root of its lake or state.
pub(crate) fn dead_letters(root: PathBuf) -> Arc<dyn SinkConfig> {
    Arc::new(DeadLetters::under(root))
}

/// Deletes what a task that is gone staged in a place and nobody delivered, where its sink was one
/// of those in here. A place of another sink is left as it is.
///
/// # Errors
/// If what is staged there can't be deleted.
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
    /// The names of the segments that are outside now. The promises of all others stay promised:
    /// they are offered again with the next commit, a second or so later, together with what was
    /// promised since. So a sink may gather many segments for one large load; but after the last
    /// barrier it must deliver all of them.
    pub segments: Vec<String>,
    /// Rows of those segments that the outside refuses for good, which become dead letters.
    pub refused: Vec<RefusedRows>,
    /// What the others wait for, for people who watch, where something isn't taken for now.
    pub waits: Option<String>,
}

impl Delivered {
    /// Everything that was promised, and nothing was refused.
    pub fn all(promises: &[Promise]) -> Self {
        let segments = promises.iter().map(|promise| promise.segment.clone()).collect();
        Self { segments, ..Self::default() }
    }
}

/// The rows of one segment that the outside refuses. Until the segment is
/// [forgotten](Sink::forgotten) each commit of it must tell the same: by that each row becomes one
/// dead letter, however often the commit is repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRows {
    /// The segment's name.
    pub segment: String,
    /// When they were refused for the first time.
    pub at: OffsetDateTime,
    /// The rows, in the segment's order.
    pub rows: Vec<RefusedRow>,
}

/// A tuple that the outside refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRow {
    /// The position of the input that it came by; see [`Tuple::input`].
    pub input: usize,
    /// Its values.
    pub values: Vec<Value>,
    /// Why it is refused.
    pub error: String,
}

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
    /// True if barriers will be durable, so that a sink can begin early with what a sync has to
    /// wait for.
    pub durable: bool,
    /// The folder that the topology's state is in, for what is kept until it can be delivered.
    pub state: PathBuf,
    /// The clock that the age of a micro-batch begins by.
    pub clock: SharedClock,
}

/// A bolt that a sink asks the plan for.
pub struct BoltInFront {
    /// The name of its type in RON.
    pub type_name: &'static str,
    /// What it guarantees, in a sentence.
    pub guarantee: &'static str,
    /// Its configuration.
    pub config: Arc<dyn BoltConfig>,
    /// The same in RON, on one line, with every default written out.
    pub explained: String,
    /// The fields of its stream `default` by which tuples are shared out among the sink's tasks;
    /// empty if it doesn't matter which task gets a tuple.
    pub keys: Vec<&'static str>,
}

/// What a sink counts that hands tuples over by itself, to any number of readers.
#[derive(Debug, Default)]
pub struct SinkCounts {
    emitted: AtomicU64,
    dropped: AtomicU64,
}

impl SinkCounts {
    /// Tuples were handed over, counted for each of those that take them.
    pub fn add_emitted(&self, tuples: u64) {
        self.emitted.fetch_add(tuples, Ordering::Relaxed);
    }

    /// Tuples were dropped because the sink's options say so.
    pub fn add_dropped(&self, tuples: u64) {
        self.dropped.fetch_add(tuples, Ordering::Relaxed);
    }

    /// The number of tuples that were handed over.
    pub fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    /// The number of tuples that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The configuration of a sink.
pub trait SinkConfig: Send + Sync {
    /// Checks the configuration against the fields of each of its inputs.
    ///
    /// # Errors
    /// All problems that the inputs' fields show.
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>>;

    /// Asks the outside, with the fewest calls, whether it would take what this sink writes; says
    /// what was found to be good, or nothing if there is nothing to ask. Blocks. What it writes for
    /// that it takes away again.
    ///
    /// # Errors
    /// What isn't good, and what to do.
    fn check_online(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// The bolt that a tuple of this stream, with these fields, has to pass before it comes to this
    /// sink: a warehouse reads posts through such a bolt. The plan puts one between the sink and
    /// all inputs for which this names the same type; `graph` shows it, and the topology's file
    /// doesn't name it. [`check`](Self::check) gets the inputs of the file.
    fn bolt_in_front(&self, _stream: &str, _fields: &Fields) -> Option<BoltInFront> {
        None
    }

    /// The place that tuples with these fields go to, for people, if not all go to the same one:
    /// `table trends`.
    fn destination(&self, _fields: &Fields) -> Option<&'static str> {
        None
    }

    /// Makes the sink of one task.
    ///
    /// # Errors
    /// If the outside isn't there or can't be written to.
    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>>;

    /// Returns true if it blocks, and so needs a thread of its own.
    fn blocks(&self) -> bool {
        true
    }

    /// The largest parallelism hint with which it can run, and why, for the problem with a larger
    /// one.
    fn tasks_max(&self) -> Option<(usize, &'static str)> {
        None
    }

    /// Where a task with this context keeps what it has not delivered, absolute, for
    /// [`recover`](Self::recover): it is saved before the task writes anything. Empty for a sink
    /// that promises nothing.
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

    /// How much a task may have promised and not delivered before the spouts upstream pause, in
    /// bytes.
    fn outbox_bytes_max(&self) -> Option<u64> {
        None
    }

    /// Whether readers fetch what it delivers, and come when they like: the end of all sources then
    /// awaits them without a deadline, until somebody stops the topology. Asked only of a sink with
    /// a bound on what it hasn't delivered.
    fn waits_for_readers(&self) -> bool {
        false
    }

    /// Where it writes a lake, if it does: a replay of that lake refuses it.
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

    /// What it counts by itself, where tuples are handed over and dropped beside
    /// [`write`](Self::write): it is shown instead of [`dropped`](Self::dropped), also behind the
    /// last commit.
    fn counts(&self) -> Option<Arc<SinkCounts>> {
        None
    }

    /// What it is doing, for people, where "running" and "idle" don't say it.
    fn says(&self) -> Option<String> {
        None
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

    /// Second phase: the checkpoint with these closed promises is complete, and the job delivers
    /// them, all or some. It is repeatable: what is delivered already is left as it is.
    ///
    /// A job that is left to itself when its task ends may run beside that of the next task, so the
    /// outside has to take a segment only once by itself: by a put if absent, or by a row of a ledger
    /// in the same transaction.
    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        Box::new(move || Ok(Delivered::all(&promises)))
    }

    /// The newest complete checkpoint doesn't name these delivered segments any more, so that none
    /// of them is committed again: the job deletes what the sink keeps to recognise them. It isn't
    /// called for the segments of a run's last commits.
    fn forgotten(&mut self, _segments: Vec<String>) -> Job<()> {
        Box::new(|| Ok(()))
    }
}
