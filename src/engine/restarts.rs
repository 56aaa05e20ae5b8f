//! Decides when a topology goes back to its newest checkpoint after a panic, and when the tuple
//! that caused the panic is no longer executed.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::policy::{BACKOFF_MAX, backoff};
use super::wiring::Poison;
use crate::topology::{self, AfterRetries, ComponentSpec, OnError};

/// The decision after a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All tasks are started again after this wait.
    Again(Duration),
    /// The topology stops for the reason in this text.
    Stop(String),
}

/// The panics of a run so far.
pub(crate) struct Restarts {
    limit: topology::Restarts,
    /// The monotonic times of the panics that count towards the limit.
    counted: VecDeque<Duration>,
    /// The number of panics that each tuple caused, by component and hash.
    tuples: HashMap<(String, u64), u32>,
    poison: Poison,
}

impl Restarts {
    /// Creates an empty record for a new run.
    pub(crate) fn new(limit: topology::Restarts) -> Self {
        Self { limit, counted: VecDeque::new(), tuples: HashMap::new(), poison: Poison::new() }
    }

    /// Returns the tuples that are no longer executed.
    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }

    /// Decides after a task of this component panicked or was lost, at this monotonic time, over a
    /// tuple with this hash.
    pub(crate) fn panicked(
        &mut self,
        spec: &ComponentSpec,
        tuple: Option<u64>,
        cause: &str,
        now: Duration,
    ) -> Verdict {
        let times = tuple.map_or(1, |tuple| self.met(spec, tuple));
        if let (Some(tuple), true) = (tuple, times > retries(&spec.on_error)) {
            if stops(&spec.on_error) {
                return Verdict::Stop(format!("{cause}, {} on the same tuple", count(times)));
            }
            self.poison.entry(spec.id.clone()).or_default().insert(tuple, cause.to_owned());
        }
        if times == 1 {
            self.counted.push_back(now);
        }
        let recently = |at: &Duration| now.saturating_sub(*at) <= self.limit.within;
        self.counted.retain(recently);
        if self.counted.len() > self.limit.max as usize {
            let (max, within) = (self.limit.max, crate::units::Interval(self.limit.within));
            return Verdict::Stop(format!("{cause}, after {max} restarts within {within}"));
        }
        let before = u32::try_from(self.counted.len()).unwrap_or(u32::MAX).saturating_sub(1);
        Verdict::Again(backoff(before, rand::random()).min(BACKOFF_MAX))
    }

    /// Counts a panic over a tuple, and returns the number so far.
    fn met(&mut self, spec: &ComponentSpec, tuple: u64) -> u32 {
        let times = self.tuples.entry((spec.id.clone(), tuple)).or_default();
        *times += 1;
        *times
    }
}

/// Returns the number of retries of a tuple.
fn retries(on_error: &OnError) -> u32 {
    match on_error {
        OnError::Retry { times, .. } => *times,
        OnError::DeadLetter | OnError::Stop => 0,
    }
}

fn stops(on_error: &OnError) -> bool {
    matches!(on_error, OnError::Stop | OnError::Retry { then: AfterRetries::Stop, .. })
}

fn count(times: u32) -> String {
    if times == 1 { "once".into() } else { format!("{times} times") }
}
