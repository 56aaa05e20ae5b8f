//! The state store: what a topology needs to go on after it stopped, one ACID transaction for each
//! epoch.

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

/// What one epoch changed.
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
    /// The event time of the newest post of splits where that changed, by component and split.
    pub split_times: BTreeMap<(String, String), EventTime>,
    /// How far event time has come over the inputs of each bolt, where it is known.
    pub watermarks: BTreeMap<String, EventTime>,
    /// Keyed state that changed, by component.
    pub state: Vec<(String, Vec<StateChange>)>,
    /// All promises of each sink that aren't known to be delivered: they replace the ones before,
    /// of all sinks.
    pub promises: BTreeMap<String, Vec<Promise>>,
}

impl Changes {
    /// Of an epoch in which nothing changed.
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

/// A component as far as its state depends on what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The name of its type, such as `Count`.
    pub type_name: String,
    /// How its state is laid out: state of one shape means nothing under another. Empty for a
    /// component without state of its own.
    pub shape: String,
    /// A hash of its configuration, in hexadecimal: what it was in the last run. Empty in a state
    /// of an earlier version.
    #[serde(default)]
    pub run: String,
}

/// The newest complete checkpoint but for the keyed state, which can be large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The newest complete epoch; 0 before the first.
    pub epoch: u64,
    /// The boundary of the partition that was open in it.
    pub boundary: Option<OffsetDateTime>,
    /// When its barrier was made.
    pub at: Option<OffsetDateTime>,
    /// What belongs to the state, for a person; see [`Started::about`].
    pub about: String,
    /// Where each split can be resumed, by component and split.
    pub cursors: BTreeMap<(String, String), Cursor>,
    /// The event time of the newest post of each split, where it is known, by component and split.
    pub split_times: BTreeMap<(String, String), EventTime>,
    /// How far event time had come over the inputs of each bolt, where it is known.
    pub watermarks: BTreeMap<String, EventTime>,
    /// What each sink has promised and not delivered, in order.
    pub promises: BTreeMap<String, Vec<Promise>>,
    /// The components of the last run, by their ids.
    pub components: BTreeMap<String, Kept>,
    /// Where tasks of each sink left what they hadn't promised or delivered; see
    /// [`Started::places`].
    pub places: BTreeMap<String, BTreeSet<String>>,
    /// When all sources had ended and everything was delivered, if they have.
    pub finished: Option<OffsetDateTime>,
    /// True if whoever ran it has been told so: a run that was killed just before told nobody.
    pub told: bool,
}

/// What is saved when tasks are about to start, before they write anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// What belongs to the state, for a person who looks at many: the path of the topology's file.
    pub about: String,
    /// The components of this run: they replace the ones before.
    pub components: BTreeMap<String, Kept>,
    /// All places that may hold something of this topology that isn't delivered, by sink: they
    /// replace the ones before.
    pub places: BTreeMap<String, BTreeSet<String>>,
    /// Components whose cursors, keyed state and promises are dropped.
    pub dropped: BTreeSet<String>,
}

/// What takes a key and its value out of a store.
pub type Take<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Keeps the newest complete checkpoint. Writes come from one thread at a time; reads may come from
/// several.
pub trait StateStore: Send + Sync {
    /// The newest complete checkpoint, without the keyed state.
    ///
    /// # Errors
    /// If it can't be read, or is damaged.
    fn saved(&self) -> Result<Saved>;

    /// Gives `take` each key and value of a component's state whose key group lies in the range.
    ///
    /// # Errors
    /// If it can't be read, is damaged, or `take` fails, which ends it.
    fn restore(&self, component: &str, groups: Range<u16>, take: &mut Take<'_>) -> Result<()>;

    /// Whether there is any keyed state of a component.
    ///
    /// # Errors
    /// If it can't be read.
    fn has_state(&self, component: &str) -> Result<bool>;

    /// The length of the file that it is kept in, if there is one.
    fn file_bytes(&self) -> Option<u64> {
        None
    }

    /// Tasks are about to start. What the store said to be finished no longer is.
    ///
    /// # Errors
    /// If it can't be made durable.
    fn start(&self, started: &Started) -> Result<()>;

    /// Makes an epoch complete, all of it or nothing.
    ///
    /// # Errors
    /// If an epoch as late as this one is complete, or it can't be made durable: then it may be
    /// complete or not, and the same changes can be saved again.
    fn save(&self, changes: &Changes) -> Result<()>;

    /// A run has ended, and everything that it promised is delivered: promises and places are
    /// forgotten. `finished` is when that was, if all its sources had ended.
    ///
    /// # Errors
    /// If it can't be made durable.
    fn end(&self, finished: Option<OffsetDateTime>) -> Result<()>;

    /// Looks whether what is saved still goes where the next start will find it; cheap enough for
    /// every second.
    ///
    /// # Errors
    /// If it doesn't.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Whoever ran it has been told that it finished.
    ///
    /// # Errors
    /// If it can't be made durable.
    fn tell(&self) -> Result<()>;
}

fn out_of_order(epoch: u64, complete: u64) -> Error {
    Error::fatal(format!(
        "epoch {epoch} was to be saved, but epoch {complete} is complete: they are saved in order"
    ))
}
