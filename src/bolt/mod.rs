//! Bolts: components that take tuples and may emit more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::component::TopologyOutline;
use crate::error::{Kind, Result};
use crate::event_time::EventTime;
use crate::protocol::{Ending, Voice};
use crate::tuple::{Fields, Streams, Tuple};
use crate::value::Value;

pub use crate::component::Problem;
pub use crate::epoch::{StateChange, StateSize};
pub use crate::flow::{BoltWaker, Output};

mod bytes;
mod count;
mod dedup;
mod features;
pub(crate) mod jq;
mod keyed;
mod late;
mod pick;
mod space_saving;
pub mod top;
pub mod trends;
pub mod window;
mod words;

pub use count::Count;
pub use dedup::Dedup;
pub(crate) use features::{FEATURES, FeaturesReader};
pub use features::{Features, KeyType, LanguageSource};
pub use jq::{Filter, Jq};
pub use keyed::{KeyState, KeyedState};
pub use pick::Pick;
pub use words::Words;

#[cfg(test)]
pub(crate) use features::tests::features_of_post;
#[cfg(test)]
pub(crate) use late::time_text as late_time_text;
#[cfg(test)]
pub(crate) use words::tests::words_of_post;

/// The context in which the bolt of one task is built.
#[derive(Clone, Debug, Default)]
pub struct BoltContext {
    /// The id of its component.
    pub component: String,
    /// The number of the task, from 0.
    pub task: usize,
    /// The fields of each of its inputs.
    pub inputs: Vec<Fields>,
    /// Lets the bolt's own threads have [`Bolt::idle`] called.
    pub waker: BoltWaker,
    /// The topology that it is part of.
    pub outline: Arc<TopologyOutline>,
    /// The way to tell people something.
    pub voice: Voice,
    /// Tells a bolt that waits inside of a call that it should return, with
    /// [`Error::lost`](crate::error::Error::lost).
    pub ending: Ending,
    /// Decides about tuples that fail after `execute` took them.
    pub late_failures: LateFailures,
}

/// The decision of `on_error` about a tuple that failed after `execute` took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is tried again after a wait.
    Again(Duration),
    /// It goes to the dead letters, by [`Output::bury`].
    DeadLetter,
    /// The topology stops: the call returns a fatal error.
    Stop,
}

/// A component's `on_error`, for a bolt whose tuples may fail after `execute` took them.
#[derive(Clone)]
pub struct LateFailures(Arc<dyn Fn(Kind, u32) -> AfterFailure + Send + Sync>);

impl LateFailures {
    /// Decides by this function of the error's kind and the number of earlier retries.
    pub fn new(decide: impl Fn(Kind, u32) -> AfterFailure + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    /// Decides for a tuple that failed with this kind of error after so many retries.
    pub fn decide(&self, kind: Kind, retries: u32) -> AfterFailure {
        (self.0)(kind, retries)
    }
}

impl Default for LateFailures {
    fn default() -> Self {
        Self::new(|_, _| AfterFailure::DeadLetter)
    }
}

impl fmt::Debug for LateFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateFailures").finish_non_exhaustive()
    }
}

/// The part of an input that each of several tasks of a bolt must get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputShare {
    /// Any part: every grouping is allowed.
    Any,
    /// All tuples of some keys: `Fields` by [`BoltConfig::state_key`], or `Global`.
    ByKey,
    /// All tuples: `All`.
    Whole,
}

/// The configuration of a bolt.
pub trait BoltConfig: Send + Sync {
    /// Returns the streams that it declares, given the fields of each of its inputs.
    ///
    /// # Errors
    /// If the configuration has problems with these fields: all of them.
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>>;

    /// Builds the bolt of one task.
    ///
    /// # Errors
    /// If it can't be built from this configuration.
    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>>;

    /// Returns true if it blocks (a client without async, a long computation), and so needs a
    /// separate thread.
    fn blocks(&self) -> bool {
        false
    }

    /// Returns true if it uses the event time of tuples, or implements [`Bolt::watermark`]. Sources
    /// only read their posts' times in a topology with such a bolt.
    fn uses_event_time(&self) -> bool {
        false
    }

    /// Returns the fields by whose values its state is kept, in the order of its keys. If every
    /// input is grouped by these fields, the state can be distributed among another number of
    /// tasks. `None` for a bolt without state, or with a state that belongs to the task.
    fn state_key(&self) -> Option<Vec<String>> {
        None
    }

    /// Returns the largest parallelism hint with which it keeps its guarantee, and the reason, for
    /// the problem of a larger one.
    fn tasks_max(&self) -> Option<(usize, &'static str)> {
        None
    }

    /// Returns the part of an input with these fields that each of several tasks must get, so that
    /// the results are the same with any number of tasks. Another grouping is a problem of the
    /// topology.
    fn input_share(&self, _input: &Fields) -> InputShare {
        InputShare::Any
    }

    /// Returns true if it has any state. A bolt whose state belongs to the task, and which
    /// therefore has no [`state_key`](Self::state_key), must return true.
    fn keeps_state(&self) -> bool {
        self.state_key().is_some()
    }
}

/// A component that takes tuples and may emit more. All calls come from one thread at a time.
/// Tuples that a call emits are sent when it returns `Ok`, and discarded on an error.
pub trait Bolt: Send {
    /// Takes one tuple. On an error the tuples that this call emitted are discarded, and the state
    /// must be as it was before: `on_error` decides if the same tuple comes again.
    ///
    /// # Errors
    /// If this tuple can't be processed, now or ever.
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()>;

    /// Handles a watermark: no tuple older than `time` is expected any more. Emits the tuples that
    /// waited for it. `time` is the minimum over all inputs that aren't idle. It never goes back,
    /// not even over restarts and a rebalance; after a restart the time of the checkpoint comes
    /// first. An older tuple may still come, and is late. When all sources have ended, `time` is
    /// [`EventTime::END`], and `finish` follows. Tuples that are emitted here are sent before the
    /// watermark, and have its time unless [`Output::set_time`] sets another.
    ///
    /// # Errors
    /// If they can't be emitted: `on_error` decides if the same time is tried again.
    fn watermark(&mut self, _time: EventTime, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Emits tuples that should be seen at once, such as answers to earlier tuples, when the
    /// inboxes are empty. The call comes before the task sleeps, and after a [`BoltWaker::wake`].
    ///
    /// # Errors
    /// If the bolt can't continue, which stops the topology.
    fn idle(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Handles a barrier that has come from all inputs: this is the last call before
    /// [`snapshot`](Self::snapshot). A bolt with work in progress (a child process, a request)
    /// finishes it here and emits the answers, or keeps in its state what it needs to begin the
    /// work again. The checkpoint waits for this call, so such a bolt says that it
    /// [blocks](BoltConfig::blocks).
    ///
    /// # Errors
    /// If the work can't be finished: `on_error` decides if the same barrier is tried again.
    fn barrier(&mut self, _epoch: u64, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Emits the tuples that were held back, when the input has ended for good. `barrier` follows.
    ///
    /// # Errors
    /// If they can't be emitted.
    fn finish(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// Returns the changes of the state since the last call, at a barrier.
    fn snapshot(&mut self) -> Vec<StateChange> {
        Vec::new()
    }

    /// Returns the tuple over which the work was lost that the last error of [`Kind::Lost`] tells of,
    /// where that is known: if it happens again and again, the tuple goes to the dead letters.
    fn blames(&self) -> Option<&[Value]> {
        None
    }

    /// Says in a few words what it is doing, for people, if that has changed; asked after each turn.
    fn says(&mut self) -> Option<String> {
        None
    }

    /// Returns the number of tuples that it has dropped according to its options, since it was
    /// built.
    fn dropped(&self) -> u64 {
        0
    }

    /// Returns the number of tuples that came after their window had closed, since the bolt was
    /// built. It is shown to users, and requested after each turn.
    fn late(&self) -> u64 {
        0
    }

    /// Returns the size of the state. It is shown to users, and requested after each turn, so it
    /// must be known without counting.
    fn state_size(&self) -> Option<StateSize> {
        None
    }

    /// Returns the number of posts so far that weren't as a post of their kind should be. It is
    /// shown to users: a platform may have changed its format.
    fn drifted(&self) -> u64 {
        0
    }

    /// Restores one key of the state, before the first tuple.
    ///
    /// # Errors
    /// If [`snapshot`](Self::snapshot) didn't write this.
    fn restore(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Ok(())
    }
}
