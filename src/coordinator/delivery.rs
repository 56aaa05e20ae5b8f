//! What sinks have promised and not delivered. A promise is carried in every checkpoint until its
//! sink reports it committed, and no checkpoint waits for that.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use crate::epoch::{Prepared, Promise};

/// Promises of all sink tasks.
#[derive(Default)]
pub(crate) struct Deliveries(BTreeMap<usize, Delivery>);

/// Promises of one sink task.
#[derive(Default)]
struct Delivery {
    /// Closed, in a complete checkpoint, not yet reported as delivered.
    promises: Vec<Promise>,
    /// A commit of the first `offered` of them is underway.
    underway: bool,
    offered: usize,
    /// The last commit left some of its promises, which are offered again at the next tick or
    /// epoch.
    left_some: bool,
    /// Segments that were delivered after the newest checkpoint was put together, which still names
    /// them.
    delivered: Vec<String>,
    /// Delivered segments that the checkpoint in progress doesn't name any more.
    forgetting: Vec<String>,
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

    /// The checkpoint in progress is put together. A segment that it names once more, since a
    /// prepare ran beside the commit, is offered to the sink again, which must still know it then.
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
    /// Of these tasks, each with what it has to deliver from before it started.
    pub(crate) fn new(tasks: impl IntoIterator<Item = (usize, Vec<Promise>)>) -> Self {
        let of = |(task, promises)| (task, Delivery { promises, ..Delivery::default() });
        Self(tasks.into_iter().map(of).collect())
    }

    fn of(&mut self, task: usize) -> &mut Delivery {
        self.0.get_mut(&task).expect("only sinks prepare and commit")
    }

    /// A sink task has prepared the epoch in progress.
    pub(crate) fn prepared(&mut self, task: usize, prepared: Prepared) {
        let delivery = self.of(task);
        delivery.open_since = prepared.open_since;
        delivery.prepared = prepared.promises;
    }

    /// Puts together what the checkpoint of the epoch in progress has to hold, by task.
    pub(crate) fn put_together(&mut self) -> Vec<(usize, Vec<Promise>)> {
        let mut all = Vec::new();
        for (task, delivery) in &mut self.0 {
            let carried = delivery.carried();
            delivery.put_together(&carried);
            all.push((*task, carried));
        }
        all
    }

    /// The epoch in progress is complete. Returns the delivered segments that no checkpoint names
    /// any more, by task.
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

    /// True if a commit has left some of what it was offered.
    pub(crate) fn left_some(&self) -> bool {
        self.0.values().any(|delivery| delivery.left_some)
    }

    /// Time went by: what commits have left may be offered again.
    pub(crate) fn tick(&mut self) {
        self.0.values_mut().for_each(|delivery| delivery.left_some = false);
    }

    /// Begins a commit for every sink task that has closed promises, and none underway. Behind the
    /// last epoch every sink task gets one, also without promises. What a commit has left waits for
    /// the next tick or epoch, so that a sink that gathers many segments isn't asked without a
    /// pause.
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

    /// A sink task has delivered these segments of the commit underway, and left the others. The
    /// store still names them until the next checkpoint; repeating them does no harm.
    pub(crate) fn committed(&mut self, task: usize, segments: Vec<String>) {
        let delivery = self.of(task);
        let is_done = |promise: &Promise| segments.contains(&promise.segment);
        let promised = delivery.promises.len();
        delivery.promises.retain(|promise| !is_done(promise));
        // A prepare that ran beside the commit may have promised the same again: nobody needs that
        // now.
        delivery.prepared.retain(|promise| !is_done(promise));
        delivery.left_some = delivery.offered > promised - delivery.promises.len();
        delivery.underway = false;
        delivery.delivered.extend(segments);
    }

    /// When the oldest segment that is still open was begun.
    pub(crate) fn oldest_open(&self) -> Option<OffsetDateTime> {
        self.0.values().filter_map(|delivery| delivery.open_since).min()
    }

    /// Returns true if nothing is left to deliver.
    pub(crate) fn are_done(&self) -> bool {
        self.not_done().next().is_none()
    }

    /// The tasks that have something left to deliver, or whose commit is underway.
    pub(crate) fn not_done(&self) -> impl Iterator<Item = usize> {
        let is_not_done = |delivery: &Delivery| delivery.underway || !delivery.promises.is_empty();
        self.0.iter().filter(move |(_, delivery)| is_not_done(delivery)).map(|(task, _)| *task)
    }

    /// How much a sink task has promised and not delivered, in bytes.
    pub(crate) fn bytes(&self, task: usize) -> u64 {
        self.0
            .get(&task)
            .map_or(0, |delivery| delivery.promises.iter().map(|promise| promise.length).sum())
    }
}
