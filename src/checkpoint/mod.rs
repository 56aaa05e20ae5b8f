//! The state store: what a topology needs to go on after it stopped, one ACID transaction for each epoch.

use std::collections::BTreeMap;

use crate::bolt::StateChange;
use crate::error::Result;
use crate::sink::Promise;
use crate::spout::Cursor;

/// What one epoch changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The epoch.
    pub epoch: u64,
    /// Cursors that moved, by component and split.
    pub cursors: BTreeMap<(String, String), Cursor>,
    /// Keyed state that changed, by component.
    pub state: Vec<(String, StateChange)>,
    /// All promises of each sink task that aren't known to be delivered: they replace the ones before.
    pub promises: BTreeMap<String, Vec<Promise>>,
}

/// Keeps the newest complete checkpoint.
pub trait StateStore: Send {
    /// Makes an epoch complete, all of it or nothing.
    ///
    /// # Errors
    /// If it can't be made durable.
    fn save(&mut self, changes: Changes) -> Result<()>;
}

/// A store in memory: nothing survives the process.
#[derive(Default)]
pub struct MemoryStore {
    /// The newest complete epoch; 0 before the first.
    pub epoch: u64,
    /// Where each split can be resumed, by component and split.
    pub cursors: BTreeMap<(String, String), Cursor>,
    /// The value of each key, by component and key.
    pub state: BTreeMap<(String, Vec<u8>), Vec<u8>>,
    /// What each sink task has promised and not delivered.
    pub promises: BTreeMap<String, Vec<Promise>>,
}

impl StateStore for MemoryStore {
    fn save(&mut self, changes: Changes) -> Result<()> {
        assert!(changes.epoch > self.epoch, "epochs are saved in order");
        self.epoch = changes.epoch;
        self.cursors.extend(changes.cursors);
        for (component, change) in changes.state {
            match change.value {
                Some(value) => self.state.insert((component, change.key), value),
                None => self.state.remove(&(component, change.key)),
            };
        }
        self.promises.extend(changes.promises);
        Ok(())
    }
}
