//! The state store: everything that a topology needs to continue after a stop, with one ACID
//! transaction per epoch.

pub mod disk;
mod memory;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::epoch::{Cursor, Promise, StateChange};
use crate::error::{Error, Result};
use crate::event_time::EventTime;

pub use disk::DiskStore;
pub use memory::MemoryStore;

/// The changes of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The epoch.
    pub epoch: u64,
    /// The boundary of the lake's open partition.
    pub boundary: OffsetDateTime,
    /// The coordinator's wall clock when it made the epoch's barrier.
    pub at: OffsetDateTime,
    /// Cursors that moved, by component and split.
    pub cursors: BTreeMap<(String, String), Cursor>,
    /// The event time of the newest post of splits for which it changed, by component and split.
    pub split_times: BTreeMap<(String, String), EventTime>,
    /// The event time that the inputs of each bolt have reached, if known.
    pub watermarks: BTreeMap<String, EventTime>,
    /// Keyed state that changed, by component.
    pub state: Vec<(String, Vec<StateChange>)>,
    /// All promises of each sink that aren't known to be delivered. They replace the stored ones of
    /// all sinks.
    pub promises: BTreeMap<String, Vec<Promise>>,
}

impl Changes {
    /// Creates the changes of an epoch in which nothing changed.
    pub fn none(epoch: u64, boundary: OffsetDateTime, at: OffsetDateTime) -> Self {
        Self {
            epoch,
            boundary,
            at,
            cursors: BTreeMap::new(),
            split_times: BTreeMap::new(),
            watermarks: BTreeMap::new(),
            state: Vec::new(),
            promises: BTreeMap::new(),
        }
    }
}

/// The properties of a component that its state depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The name of its type, such as `Count`.
    pub type_name: String,
    /// The layout of its state: state of one shape can't be read as another. Empty for a component
    /// without state.
    pub shape: String,
    /// A hash of its configuration in the last run, in hexadecimal. Empty in a state of an earlier
    /// version.
    #[serde(default)]
    pub run: String,
}

/// The newest complete checkpoint without the keyed state, which can be large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The newest complete epoch; 0 before the first.
    pub epoch: u64,
    /// The boundary of the partition that was open in that epoch.
    pub boundary: Option<OffsetDateTime>,
    /// The time at which its barrier was made.
    pub at: Option<OffsetDateTime>,
    /// The topology of the state, for users; see [`Started::about`].
    pub about: String,
    /// The position at which each split can be resumed, by component and split.
    pub cursors: BTreeMap<(String, String), Cursor>,
    /// The event time of the newest post of each split, if known, by component and split.
    pub split_times: BTreeMap<(String, String), EventTime>,
    /// The event time that the inputs of each bolt had reached, if known.
    pub watermarks: BTreeMap<String, EventTime>,
    /// The promises of each sink that aren't delivered, in order.
    pub promises: BTreeMap<String, Vec<Promise>>,
    /// The components of the last run, by their ids.
    pub components: BTreeMap<String, Kept>,
    /// The places in which tasks of each sink left data that isn't promised or delivered; see
    /// [`Started::places`].
    pub places: BTreeMap<String, BTreeSet<String>>,
    /// The time at which all sources had ended and everything was delivered; `None` if that didn't
    /// happen.
    pub finished: Option<OffsetDateTime>,
    /// True if the user was told that the run finished. A run that was killed just before that
    /// didn't tell the user.
    pub told: bool,
}

/// The data that is saved before tasks start and write anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// The path of the topology's file, for users who look at many states.
    pub about: String,
    /// The components of this run. They replace the stored ones.
    pub components: BTreeMap<String, Kept>,
    /// All places that may hold undelivered data of this topology, by sink. They replace the stored
    /// ones.
    pub places: BTreeMap<String, BTreeSet<String>>,
    /// Components whose cursors, keyed state and promises are deleted.
    pub dropped: BTreeSet<String>,
}

/// A function that takes a key and its value out of a store.
pub type Take<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// The store of the newest complete checkpoint. One thread writes at a time; several may read.
pub trait StateStore: Send + Sync {
    /// Reads the newest complete checkpoint, without the keyed state.
    ///
    /// # Errors
    /// If it can't be read, or is damaged.
    fn saved(&self) -> Result<Saved>;

    /// Passes each key and value of a component's state to `take` if its key group is in the range.
    ///
    /// # Errors
    /// If the state can't be read, is damaged, or `take` fails, which ends the call.
    fn restore(&self, component: &str, groups: Range<u16>, take: &mut Take<'_>) -> Result<()>;

    /// Returns true if a component has keyed state.
    ///
    /// # Errors
    /// If the state can't be read.
    fn has_state(&self, component: &str) -> Result<bool>;

    /// Returns the length of the store's file, if it has one.
    fn file_bytes(&self) -> Option<u64> {
        None
    }

    /// Records that tasks are about to start: the state no longer counts as finished.
    ///
    /// # Errors
    /// If the record can't be made durable.
    fn start(&self, started: &Started) -> Result<()>;

    /// Makes an epoch complete, with all of its changes or none.
    ///
    /// # Errors
    /// If this epoch or a later one is already complete, or if the changes can't be made durable:
    /// then the epoch may be complete or not, and the same changes can be saved again.
    fn save(&self, changes: &Changes) -> Result<()>;

    /// Records that a run has ended, and everything that it promised is delivered: promises and
    /// places are deleted. `finished` is the time of that, if all its sources had ended.
    ///
    /// # Errors
    /// If the record can't be made durable.
    fn end(&self, finished: Option<OffsetDateTime>) -> Result<()>;

    /// Checks that saved data still goes to the files that the next start will open. The check is
    /// cheap enough for every second.
    ///
    /// # Errors
    /// If it doesn't.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Records that the user was told that the run finished.
    ///
    /// # Errors
    /// If the record can't be made durable.
    fn tell(&self) -> Result<()>;
}

fn out_of_order(epoch: u64, complete: u64) -> Error {
    Error::fatal(format!(
        "epoch {epoch} was to be saved, but epoch {complete} is complete: they are saved in order"
    ))
}
