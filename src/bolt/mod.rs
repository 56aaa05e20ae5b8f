//! Bolts: components that take tuples and may emit more.

use crate::error::Result;
use crate::registry::Registry;
use crate::tuple::{Fields, Streams, Tuple};

pub use crate::engine::Output;

mod count;
mod keyed;
mod words;

pub use count::Count;
pub use keyed::{KeyState, KeyedState};
pub use words::Words;

#[cfg(test)]
pub(crate) use words::tests::words_of_post;

/// The room's registry: one line for each bolt.
pub(crate) fn register(registry: Registry) -> Registry {
    registry.bolt::<Words>().bolt::<Count>()
}

/// What is wrong with a component's configuration, found by the component itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field of the configuration that is wrong.
    pub field: &'static str,
    /// What is wrong, what was expected.
    pub what: String,
    /// The wrong name and the valid ones, for "did you mean".
    pub candidates: Option<(String, Vec<String>)>,
}

/// The configuration of a bolt.
pub trait BoltConfig: Send + Sync {
    /// The streams that it declares, given the fields of each of its inputs.
    ///
    /// # Errors
    /// All problems with the configuration that the inputs' fields show.
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>>;

    /// Makes the bolt of one task, given the fields of each of its inputs.
    ///
    /// # Errors
    /// If it can't be made from this configuration.
    fn build(&self, inputs: &[Fields]) -> Result<Box<dyn Bolt>>;

    /// Whether it blocks (a client without async, a long computation), and so needs a thread of its own.
    fn blocks(&self) -> bool {
        false
    }

    /// The fields by whose values its state is kept, in the order of its keys. Where every input is
    /// grouped by these, state can be shared out among another number of tasks. `None` for a bolt
    /// without state, or with one that belongs to the task.
    fn state_key(&self) -> Option<Vec<String>> {
        None
    }

    /// Whether it has state at all. A bolt whose state belongs to the task, so that it has no
    /// [`state_key`](Self::state_key), must say so.
    fn keeps_state(&self) -> bool {
        self.state_key().is_some()
    }
}

/// One change of a bolt's state since the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The key group that the key belongs to, 0 to 1,023; see [`key_group`](crate::engine::key_group).
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

/// A component that takes tuples and may emit more.
pub trait Bolt: Send {
    /// Takes one tuple. On an error nothing that was emitted by this call goes out, and the state
    /// must be as it was before: `on_error` decides whether the same tuple comes again.
    ///
    /// # Errors
    /// If this tuple can't be processed, now or ever.
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()>;

    /// The input has ended for good: emits what was held back.
    ///
    /// # Errors
    /// If that can't be emitted.
    fn finish(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }

    /// What changed in the state since the last call, at a barrier.
    fn snapshot(&mut self) -> Vec<StateChange> {
        Vec::new()
    }

    /// How large the state is, for people who watch; asked after each turn, so it is known and not counted.
    fn state_size(&self) -> Option<StateSize> {
        None
    }

    /// Takes back one key of the state, before the first tuple.
    ///
    /// # Errors
    /// If this isn't what [`snapshot`](Self::snapshot) wrote.
    fn restore(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Ok(())
    }
}
