//! What sinks have promised and not delivered. A promise is carried in every checkpoint until its
//! sink reports it committed, and no checkpoint waits for that.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::sink::{Prepared, Promise};

/// Promises of all sink tasks.
#[derive(Default)]
pub struct Deliveries(BTreeMap<usize, Delivery>);

/// Promises of one sink task.
#[derive(Default)]
struct Delivery {
    /// Closed, in a complete checkpoint, not yet reported as committed.
    promises: Vec<Promise>,
    /// A commit of the first `committing` of them is underway.
    underway: bool,
    committing: usize,
    /// The commit behind the last epoch was begun: the sink may tidy up.
    last_begun: bool,
    /// What the epoch in progress adds to them.
    prepared: Vec<Promise>,
    open_since: Option<OffsetDateTime>,
}

impl Delivery {
    /// What a checkpoint has to hold.
    fn carried(&self) -> Vec<Promise> {
        let known = self.promises.iter().map(|promise| &promise.segment).collect::<BTreeSet<_>>();
        let new = self.prepared.iter().filter(|promise| !known.contains(&promise.segment));
        self.promises.iter().chain(new).cloned().collect()
    }

    fn saved(&mut self) {
        for promise in std::mem::take(&mut self.prepared) {
            if promise.closed && !self.promises.iter().any(|known| known.segment == promise.segment) {
                self.promises.push(promise);
            }
        }
    }
}

impl Deliveries {
    /// Of these tasks, each with what it has to deliver from before it started.
    pub fn new(tasks: impl IntoIterator<Item = (usize, Vec<Promise>)>) -> Self {
        let of = |(task, promises)| (task, Delivery { promises, ..Delivery::default() });
        Self(tasks.into_iter().map(of).collect())
    }

    fn of(&mut self, task: usize) -> &mut Delivery {
        self.0.get_mut(&task).expect("only sinks prepare and commit")
    }

    /// A sink task has prepared the epoch in progress.
    pub fn prepared(&mut self, task: usize, prepared: Prepared) {
        let delivery = self.of(task);
        delivery.open_since = prepared.open_since;
        delivery.prepared = prepared.promises;
    }

    /// What the checkpoint of the epoch in progress has to hold, by task.
    pub fn carried(&self) -> impl Iterator<Item = (usize, Vec<Promise>)> {
        self.0.iter().map(|(task, delivery)| (*task, delivery.carried()))
    }

    /// The epoch in progress is complete.
    pub fn saved(&mut self) {
        self.0.values_mut().for_each(Delivery::saved);
    }

    /// Begins a commit for every sink task that has closed promises, and none underway. Behind the
    /// last epoch every sink task gets one, also without promises.
    pub fn begin(&mut self, last: bool) -> Vec<(usize, Vec<Promise>)> {
        let mut begun = Vec::new();
        for (task, delivery) in &mut self.0 {
            if !delivery.underway && (!delivery.promises.is_empty() || (last && !delivery.last_begun)) {
                delivery.underway = true;
                delivery.committing = delivery.promises.len();
                delivery.last_begun = last;
                begun.push((*task, delivery.promises.clone()));
            }
        }
        begun
    }

    /// A sink task has made visible what it was last told to commit. The store still holds these
    /// promises until the next checkpoint; repeating them does no harm.
    pub fn committed(&mut self, task: usize) {
        let delivery = self.of(task);
        let done: Vec<_> = delivery.promises.drain(..delivery.committing).collect();
        // A prepare that ran beside the commit may have promised the same again: nobody needs that now.
        delivery.prepared.retain(|promise| !done.iter().any(|done| done.segment == promise.segment));
        delivery.underway = false;
    }

    /// When the oldest segment that is still open was begun.
    pub fn oldest_open(&self) -> Option<OffsetDateTime> {
        self.0.values().filter_map(|delivery| delivery.open_since).min()
    }

    /// Whether nothing is left to deliver.
    pub fn are_done(&self) -> bool {
        self.0.values().all(|delivery| !delivery.underway && delivery.promises.is_empty())
    }

    /// The tasks whose commits are underway.
    pub fn underway(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter(|(_, delivery)| delivery.underway).map(|(task, _)| *task)
    }

    /// How much a sink task has promised and not delivered, in bytes.
    pub fn bytes(&self, task: usize) -> u64 {
        self.0.get(&task).map_or(0, |delivery| delivery.promises.iter().map(|promise| promise.length).sum())
    }
}
