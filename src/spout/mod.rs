//! Spouts: components that make tuples from outside.

pub(crate) mod dead_letters;
pub mod generate;
pub mod lines;
pub mod replay;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use time::OffsetDateTime;

use crate::component::{Problem, TopologyOutline};
use crate::error::Result;
use crate::event_time::EventTimeOrder;
use crate::post::Post;
use crate::protocol::{RunWatch, Voice};
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

pub use crate::epoch::{Cursor, Split};
pub use crate::flow::SpoutOutput;

/// What a spout's task is made with.
#[derive(Clone, Default)]
pub struct SpoutContext {
    /// The id of its component.
    pub component: String,
    /// Where spools are kept; none under `checkpoint: Off`, since nothing is resumed then.
    pub state: Option<PathBuf>,
    /// What the checkpoint knows of its component: cursors by split, also of splits that it doesn't
    /// name any more.
    pub cursors: Arc<BTreeMap<String, Cursor>>,
    /// When the checkpoint was made; `None` without one.
    pub saved_at: Option<OffsetDateTime>,
    /// The number of the task, from 0.
    pub task: usize,
    /// The topology that it is part of.
    pub outline: Arc<TopologyOutline>,
    /// The way to tell people something, also from other threads.
    pub voice: Voice,
    /// Tells what outlives the task when the topology has ended.
    pub run_watch: RunWatch,
}

/// Where a post of a source belongs, told from the post alone, so that it is the same live and in a
/// replay.
pub trait Route: Send + Sync {
    /// Which of the source's streams the post belongs to, one with the fields of posts, and the
    /// list of topics that it matched.
    fn route(&self, post: &Post) -> (StreamId, Value);
}

/// The configuration of a spout.
pub trait SpoutConfig: Send + Sync {
    /// The streams that it declares. Sources of posts keep the default.
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::of_posts())
    }

    /// The ids of its splits, in a stable order; the coordinator shares them out among the tasks.
    /// It may look outside (list files), and is called once for each start of its tasks. **The
    /// splits tell what the input is**: a split that no run has read is new input, and one that was
    /// read is read on behind its cursor. What would make posts of another input needs another id.
    ///
    /// # Errors
    /// If the source isn't there or can't be read.
    fn splits(&self) -> Result<Vec<String>>;

    /// The ids of its splits where earlier runs have read some of them: those that have a cursor.
    /// A source whose parts are joined or renamed from outside keeps the ids that have one.
    ///
    /// # Errors
    /// As [`splits`](Self::splits), or if what was read in part is gone.
    fn splits_after(&self, _cursors: &BTreeMap<String, Cursor>) -> Result<Vec<String>> {
        self.splits()
    }

    /// The largest parallelism hint that the source can use, where that doesn't depend on the
    /// outside.
    fn tasks_max(&self) -> Option<usize> {
        None
    }

    /// The name that a split had in a state of an earlier version, if it had another one.
    fn former_split<'a>(&self, _split: &'a str) -> Option<&'a str> {
        None
    }

    /// True if the source holds nothing by itself: each run asks it for posts. A run that gets
    /// none, since an earlier one had them all, ends with an exit code of its own.
    fn makes_up(&self) -> bool {
        false
    }

    /// True if its input is handed to the process, as standard input is: two runs never read the
    /// same.
    fn is_handed_in(&self) -> bool {
        false
    }

    /// Whether a source that has ended is done with for ever. Not so standard input, which is
    /// another stream with each start: a topology that reads one is never said to have finished.
    fn ends_for_good(&self) -> bool {
        true
    }

    /// What it makes, under this configuration, of the raw bytes of a dead letter that it once
    /// wrote: the values of a tuple of its stream `default`, or why it refuses them again. `None`
    /// if it takes no letters again.
    fn reread(&self, _raw: &Bytes) -> Option<Result<Vec<Value>, String>> {
        None
    }

    /// The order of event time in what it reads. `None` if its tuples have no event time: then it
    /// never holds back windows that other sources drive.
    fn event_time(&self) -> Option<EventTimeOrder> {
        None
    }

    /// The kinds of the posts that it makes: a replay in its place sends those. `None` if it can be
    /// any.
    fn kinds(&self) -> Option<Vec<String>> {
        None
    }

    /// Which of its streams a post belongs to, and which topics it matched: a replay in its place
    /// asks it of each post. `None` if all are on the first stream, without topics.
    fn router(&self) -> Option<Arc<dyn Route>> {
        None
    }

    /// What is wrong with the configuration, as far as that can be said without the outside.
    ///
    /// # Errors
    /// All problems.
    fn check(&self) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Returns what a person should know of a configuration that is valid: options that limit each
    /// other. `is_durable` is false under `checkpoint: Off`.
    fn notes(&self, _is_durable: bool) -> Vec<String> {
        Vec::new()
    }

    /// Asks the outside, with the fewest calls, whether it would give what this configuration
    /// wants; says what was found to be good, or nothing if there is nothing to ask. Blocks.
    ///
    /// # Errors
    /// What isn't good, and what to do.
    fn check_online(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Makes the spout of one task.
    ///
    /// # Errors
    /// If it can't be made from this configuration.
    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>>;
}

/// A source. It is written as a loop, and the waiting is the backpressure:
///
/// ```text
/// for each of out.splits(), from its cursor, until it is read:
///     read something from outside
///     out.push(values)                          for each tuple of it
///     out.emit(split, cursor behind it).await   hands them over as one, and waits for room
/// ```
///
/// Between two awaits it must only work for a short time (a few milliseconds), since it shares its
/// thread. What was pushed but not yet emitted is forgotten when the topology stops.
#[async_trait(?Send)]
pub trait Spout {
    /// Runs until the source has ended (`Ok`), or can't go on. The engine may drop this future at
    /// any await to stop the spout.
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()>;
}
