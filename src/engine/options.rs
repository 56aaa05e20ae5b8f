//! Options of a run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::again::UnchangedState;
use crate::checkpoint::StateStore;
use crate::clock::{SharedClock, SystemClock};
use crate::dead_letter::LetterLimits;
use crate::sink::SinkConfig;

/// The options with which a topology runs.
pub struct RunOptions {
    /// The clock of the run.
    pub clock: SharedClock,
    /// The store of its checkpoints; unused under `checkpoint: Off`.
    pub store: Arc<dyn StateStore>,
    /// The folder for spools, and for dead letters if the topology has no lake.
    pub state: PathBuf,
    /// The path of the topology's file, which is saved for people who list states.
    pub about: String,
    /// The time after which a drain is given up.
    pub drain_deadline: Duration,
    /// Components whose saved state is discarded.
    pub drop_state: BTreeSet<String>,
    /// The bound on the dead letters of each task of a bolt or sink.
    pub letters: LetterLimits,
    /// True if spouts emit nothing until [`Running::set_inactive`](super::Running::set_inactive).
    pub inactive: bool,
    /// The sink for dead letters; `None` for the lake of dead letters.
    pub dead_letters: Option<Arc<dyn SinkConfig>>,
    /// Set in a run that sends dead letters again: the part of the checkpoint that this run must
    /// not change.
    pub(super) again: Option<UnchangedState>,
}

impl RunOptions {
    /// Creates options for a run by the system's clock, from the newest checkpoint of `store`, with
    /// all other files in the folder `state`.
    pub fn new(store: Arc<dyn StateStore>, state: impl Into<PathBuf>) -> Self {
        let (clock, state) = (SystemClock::shared(), state.into());
        let about = String::new();
        Self {
            clock,
            store,
            state,
            about,
            drain_deadline: DRAIN_DEADLINE,
            drop_state: BTreeSet::new(),
            letters: LetterLimits::default(),
            inactive: false,
            dead_letters: None,
            again: None,
        }
    }
}

/// The time after which a drain is given up by default.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
