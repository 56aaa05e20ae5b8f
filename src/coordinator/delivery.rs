//! Keeps the promises that sinks haven't delivered yet. A promise is part of every checkpoint until
//! its sink reports the commit, and no checkpoint waits for a commit.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::epoch::{Prepared, Promise};

/// The promises of all sink tasks.
#[derive(Default)]
pub(crate) struct Deliveries(BTreeMap<usize, Delivery>);

/// The promises of one sink task.
#[derive(Default)]
struct Delivery {
    /// Closed promises in a complete checkpoint that aren't reported as delivered.
    promises: Vec<Promise>,
    /// True if a commit of the first `offered` promises is in progress.
    underway: bool,
    offered: usize,
    /// True if the last commit left some of its promises, which are offered again at the next tick
    /// or epoch.
    left_some: bool,
    /// Segments that were delivered after the newest checkpoint was assembled, so that the
    /// checkpoint still contains them.
    delivered: Vec<String>,
    /// Delivered segments that the checkpoint in progress no longer contains.
    forgetting: Vec<String>,
    /// True if the commit after the last epoch was begun, in which the sink may clean up.
    last_begun: bool,
    /// Promises that the epoch in progress adds.
    prepared: Vec<Promise>,
    open_since: Option<OffsetDateTime>,
}

impl Delivery {
    /// Returns the promises that a checkpoint must contain.
    fn carried(&self) -> Vec<Promise> {
        let known = self.promises.iter().map(|promise| &promise.segment).collect::<BTreeSet<_>>();
        let new = self.prepared.iter().filter(|promise| !known.contains(&promise.segment));
        self.promises.iter().chain(new).cloned().collect()
    }

    /// Updates the lists when the checkpoint in progress is assembled. If a prepare ran beside the
    /// commit, the checkpoint may contain a delivered segment once more. Such a segment is offered
    /// to the sink again, so the sink must not forget it yet.
    fn put_together(&mut self, carried: &[Promise]) {
        let names_again =
            |segment: &String| carried.iter().any(|promise| promise.segment == *segment);
        self.forgetting = std::mem::take(&mut self.delivered);
        self.forgetting.retain(|segment| !names_again(segment));
    }

    fn saved(&mut self) {
        self.left_some = false;
        for promise in std::mem::take(&mut self.prepared) {
            if promise.closed && !self.promises.iter().any(|known| known.segment == promise.segment)
            {
                self.promises.push(promise);
            }
        }
    }
}

impl Deliveries {
    /// Creates the lists for these tasks, each with the promises that earlier tasks left
    /// undelivered.
    pub(crate) fn new(tasks: impl IntoIterator<Item = (usize, Vec<Promise>)>) -> Self {
        let of = |(task, promises)| (task, Delivery { promises, ..Delivery::default() });
        Self(tasks.into_iter().map(of).collect())
    }

    fn of(&mut self, task: usize) -> &mut Delivery {
        self.0.get_mut(&task).expect("only sinks prepare and commit")
    }

    /// Records that a sink task has prepared the epoch in progress.
    pub(crate) fn prepared(&mut self, task: usize, prepared: Prepared) {
        let delivery = self.of(task);
        delivery.open_since = prepared.open_since;
        delivery.prepared = prepared.promises;
    }

    /// Assembles the promises that the checkpoint of the epoch in progress must contain, by task.
    pub(crate) fn put_together(&mut self) -> Vec<(usize, Vec<Promise>)> {
        let mut all = Vec::new();
        for (task, delivery) in &mut self.0 {
            let carried = delivery.carried();
            delivery.put_together(&carried);
            all.push((*task, carried));
        }
        all
    }

    /// Records that the epoch in progress is complete. Returns the delivered segments that no
    /// checkpoint contains, by task.
    pub(crate) fn saved(&mut self) -> Vec<(usize, Vec<String>)> {
        let mut forgotten = Vec::new();
        for (task, delivery) in &mut self.0 {
            delivery.saved();
            if !delivery.forgetting.is_empty() {
                forgotten.push((*task, std::mem::take(&mut delivery.forgetting)));
            }
        }
        forgotten
    }

    /// Returns true if a commit left some of its promises.
    pub(crate) fn left_some(&self) -> bool {
        self.0.values().any(|delivery| delivery.left_some)
    }

    /// Allows promises that commits left to be offered again, because time has passed.
    pub(crate) fn tick(&mut self) {
        self.0.values_mut().for_each(|delivery| delivery.left_some = false);
    }

    /// Begins a commit for every sink task that has closed promises and no commit in progress.
    /// After the last epoch every sink task gets a commit, with or without promises. Promises that
    /// a commit left wait for the next tick or epoch, so that a sink that gathers many segments
    /// isn't asked continuously.
    pub(crate) fn begin(&mut self, last: bool) -> Vec<(usize, Vec<Promise>)> {
        let mut begun = Vec::new();
        for (task, delivery) in &mut self.0 {
            let is_due = !delivery.promises.is_empty() && !delivery.left_some;
            if !delivery.underway && (is_due || (last && !delivery.last_begun)) {
                delivery.underway = true;
                delivery.offered = delivery.promises.len();
                delivery.last_begun = last;
                begun.push((*task, delivery.promises.clone()));
            }
        }
        begun
    }

    /// Records that a sink task has delivered these segments of the commit in progress, and left
    /// the others. The store still contains the segments until the next checkpoint; delivering them
    /// again does no harm.
    pub(crate) fn committed(&mut self, task: usize, segments: Vec<String>) {
        let delivery = self.of(task);
        let is_done = |promise: &Promise| segments.contains(&promise.segment);
        let promised = delivery.promises.len();
        delivery.promises.retain(|promise| !is_done(promise));
        // A prepare that ran beside the commit may have promised the same segments again, which is
        // obsolete.
        delivery.prepared.retain(|promise| !is_done(promise));
        delivery.left_some = delivery.offered > promised - delivery.promises.len();
        delivery.underway = false;
        delivery.delivered.extend(segments);
    }

    /// Returns the time at which the oldest open segment was begun.
    pub(crate) fn oldest_open(&self) -> Option<OffsetDateTime> {
        self.0.values().filter_map(|delivery| delivery.open_since).min()
    }

    /// Returns true if everything is delivered.
    pub(crate) fn are_done(&self) -> bool {
        self.not_done().next().is_none()
    }

    /// Returns the tasks that have undelivered promises or a commit in progress.
    pub(crate) fn not_done(&self) -> impl Iterator<Item = usize> {
        let is_not_done = |delivery: &Delivery| delivery.underway || !delivery.promises.is_empty();
        self.0.iter().filter(move |(_, delivery)| is_not_done(delivery)).map(|(task, _)| *task)
    }

    /// Returns the bytes that a sink task has promised and not delivered.
    pub(crate) fn bytes(&self, task: usize) -> u64 {
        self.0
            .get(&task)
            .map_or(0, |delivery| delivery.promises.iter().map(|promise| promise.length).sum())
    }
}
