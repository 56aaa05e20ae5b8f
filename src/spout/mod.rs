//! Spouts: components that read or make tuples from outside of the topology.

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

/// The context in which a spout's task is built.
#[derive(Clone, Default)]
pub struct SpoutContext {
    /// The id of its component.
    pub component: String,
    /// The folder of spools; `None` under `checkpoint: Off`, since nothing is resumed then.
    pub state: Option<PathBuf>,
    /// The cursors of its component in the checkpoint, by split, including splits that no longer
    /// exist.
    pub cursors: Arc<BTreeMap<String, Cursor>>,
    /// The time of the checkpoint; `None` without one.
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

/// The assignment of a source's posts to streams. It depends on the post alone, so that it is the
/// same live and in a replay.
pub trait Route: Send + Sync {
    /// Returns the source's stream for the post, which has the fields of posts, and the list of
    /// topics that the post matched.
    fn route(&self, post: &Post) -> (StreamId, Value);
}

/// The configuration of a spout.
pub trait SpoutConfig: Send + Sync {
    /// Returns the streams that it declares. Sources of posts keep the default.
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::of_posts())
    }

    /// Returns the ids of its splits, in a stable order; the coordinator distributes them among the
    /// tasks. The function may access the outside (list files), and is called once for each start
    /// of its tasks. **The splits identify the input**: a split that no run has read is new input,
    /// and reading of a known one continues after its cursor. A configuration that would make other
    /// posts needs other ids.
    ///
    /// # Errors
    /// If the source doesn't exist or can't be read.
    fn splits(&self) -> Result<Vec<String>>;

    /// Returns the ids of its splits after earlier runs have read some of them: those that have a
    /// cursor. A source whose parts may be joined or renamed from outside keeps the ids that have
    /// one.
    ///
    /// # Errors
    /// As [`splits`](Self::splits), or if a split that was partly read is gone.
    fn splits_after(&self, _cursors: &BTreeMap<String, Cursor>) -> Result<Vec<String>> {
        self.splits()
    }

    /// Returns the largest parallelism hint that the source can use, if that doesn't depend on the
    /// outside.
    fn tasks_max(&self) -> Option<usize> {
        None
    }

    /// Returns the name that a split had in a state of an earlier version, if it was another one.
    fn former_split<'a>(&self, _split: &'a str) -> Option<&'a str> {
        None
    }

    /// Returns true if the source has no stored data of its own, so that each run asks for posts.
    /// If a run gets none, because an earlier one had them all, it ends with a separate exit code.
    fn makes_up(&self) -> bool {
        false
    }

    /// Returns true if its input is passed to the process, as standard input is: two runs never
    /// have the same.
    fn is_handed_in(&self) -> bool {
        false
    }

    /// Returns true if a source that has ended is finished for ever. Standard input isn't, since
    /// each start has another one: a topology that reads it never counts as finished.
    fn ends_for_good(&self) -> bool {
        true
    }

    /// Reads the raw bytes of a dead letter again that this source wrote: returns the values of a
    /// tuple of its stream `default`, or the reason for refusing them again. `None` if the source
    /// doesn't take letters back.
    fn reread(&self, _raw: &Bytes) -> Option<Result<Vec<Value>, String>> {
        None
    }

    /// Returns the order of event time in its input. `None` if its tuples have no event time: then
    /// it never holds back windows that other sources drive.
    fn event_time(&self) -> Option<EventTimeOrder> {
        None
    }

    /// Returns the kinds of the posts that it makes: a replay in its place sends only these. `None`
    /// if it may make any kind.
    fn kinds(&self) -> Option<Vec<String>> {
        None
    }

    /// Returns the router of its posts to streams and topics, which a replay in its place uses,
    /// too. `None` if all posts are on the first stream, without topics.
    fn router(&self) -> Option<Arc<dyn Route>> {
        None
    }

    /// Checks the configuration, as far as that is possible without the outside.
    ///
    /// # Errors
    /// If the configuration has problems: all of them.
    fn check(&self) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Returns notes for the user on a valid configuration, such as options that limit each other.
    /// `is_durable` is false under `checkpoint: Off`.
    fn notes(&self, _is_durable: bool) -> Vec<String> {
        Vec::new()
    }

    /// Checks with the fewest requests that the source would get what this configuration asks for.
    /// Returns a text on the successful checks, or `None` if there is nothing to check. Blocks.
    ///
    /// # Errors
    /// If a check fails: the error says what to do.
    fn check_online(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Builds the spout of one task.
    ///
    /// # Errors
    /// If it can't be built from this configuration.
    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>>;
}

/// A source. It is written as a loop, and the waiting is the backpressure:
///
/// ```text
/// for each of out.splits(), from its cursor, until it is read:
///     read something from outside
///     out.push(values)                          for each tuple of it
///     out.emit(split, cursor after it).await    hands them over as one, and waits for room
/// ```
///
/// Between two awaits it must only work for a short time (a few milliseconds), since it shares its
/// thread. Tuples that were pushed but not yet emitted are dropped when the topology stops.
#[async_trait(?Send)]
pub trait Spout {
    /// Runs until the source has ended (`Ok`), or can't continue. The engine may drop this future
    /// at any await to stop the spout.
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()>;
}
