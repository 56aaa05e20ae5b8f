//! Options of a run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::again::Before;
use crate::checkpoint::StateStore;
use crate::clock::{SharedClock, SystemClock};
use crate::dead_letter::LetterLimits;
use crate::sink::SinkConfig;

/// How a topology is run.
pub struct RunOptions {
    /// The clock that it runs by.
    pub clock: SharedClock,
    /// Where its checkpoints are kept; not used under `checkpoint: Off`.
    pub store: Arc<dyn StateStore>,
    /// The folder for spools, and for dead letters where there is no lake.
    pub state: PathBuf,
    /// What belongs to the state, for a person who lists states: the topology's file.
    pub about: String,
    /// How long a drain may take before it is given up.
    pub drain_deadline: Duration,
    /// Components that go on without the state that the store has of them.
    pub drop_state: BTreeSet<String>,
    /// The bound on the dead letters of each task of a bolt or sink.
    pub letters: LetterLimits,
    /// True if spouts emit nothing until [`Running::set_inactive`](super::Running::set_inactive).
    pub inactive: bool,
    /// The sink that takes dead letters; `None` for the lake of dead letters.
    pub dead_letters: Option<Arc<dyn SinkConfig>>,
    /// It sends dead letters again, and leaves this as it was.
    pub(super) again: Option<Before>,
}

impl RunOptions {
    /// By the system's clock, from the newest checkpoint of `store`, with the rest in the folder
    /// `state`.
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

/// How long a drain may take unless it is told otherwise.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
