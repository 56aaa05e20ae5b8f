//! Checks the actions of a machine against rules of its own, computed from the machine's events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use time::OffsetDateTime;

use crate::checkpoint::Changes;
use crate::coordinator::{Action, Outbox, Resumed};
use crate::epoch::{Mark, Promise};
use crate::protocol::{FromTask, Report};

/// A checker of one machine.
pub(crate) struct Oracle {
    pub every: Duration,
    pub outboxes: BTreeMap<usize, Outbox>,
    /// Closed promises in a complete checkpoint that aren't reported as committed, by task and
    /// segment.
    owed: BTreeMap<usize, BTreeMap<String, u64>>,
    /// The promises that sinks have reported at the barrier in progress.
    reported: BTreeMap<usize, Vec<Promise>>,
    committing: BTreeMap<usize, Vec<Promise>>,
    paused: BTreeSet<usize>,
    epoch: u64,
    boundary: OffsetDateTime,
    in_progress: bool,
    last_sent: bool,
    injected_at: Duration,
    emitted_at_barrier: u64,
    dirty: bool,
    /// True if barriers no longer come at ticks.
    pub draining: bool,
}

/// Returns true if a partition may follow another. An older one may only follow if the clock was
/// ahead by more than one period.
fn may_follow(last: OffsetDateTime, next: OffsetDateTime) -> bool {
    last <= next || last - next > super::process::PARTITION
}

impl Oracle {
    pub(crate) fn new(
        resumed: &Resumed,
        boundary: OffsetDateTime,
        now: Duration,
        every: Duration,
    ) -> Self {
        assert!(
            resumed.boundary.is_none_or(|saved| may_follow(saved, boundary)),
            "partitions go back"
        );
        let lengths = |promises: &Vec<Promise>| {
            promises.iter().map(|p| (p.segment.clone(), p.length)).collect()
        };
        Self {
            every,
            outboxes: BTreeMap::new(),
            owed: resumed
                .promises
                .iter()
                .map(|(task, promises)| (*task, lengths(promises)))
                .collect(),
            reported: BTreeMap::new(),
            committing: BTreeMap::new(),
            paused: BTreeSet::new(),
            epoch: resumed.epoch,
            boundary,
            in_progress: false,
            last_sent: false,
            injected_at: now,
            emitted_at_barrier: 0,
            dirty: false,
            draining: false,
        }
    }

    pub(crate) fn task_reports(&mut self, FromTask { task, report }: &FromTask) {
        match report {
            Report::Prepared { prepared, .. } => {
                drop(self.reported.insert(*task, prepared.promises.clone()))
            }
            Report::Committed { segments } => {
                let offered = self.committing.remove(task).expect("a commit was begun");
                for done in segments {
                    assert!(
                        offered.iter().any(|promise| promise.segment == *done),
                        "{done} wasn't offered"
                    );
                    self.owed.entry(*task).or_default().remove(done);
                    let reported = self.reported.entry(*task).or_default();
                    reported.retain(|promise| promise.segment != *done);
                }
            }
            Report::SourceEnded | Report::SourceStopped => self.dirty = true,
            _ => {}
        }
    }

    pub(crate) fn saved(&mut self) {
        self.in_progress = false;
        for (task, promises) in std::mem::take(&mut self.reported) {
            let closed = promises.into_iter().filter(|promise| promise.closed);
            self.owed
                .entry(task)
                .or_default()
                .extend(closed.map(|promise| (promise.segment, promise.length)));
        }
    }

    /// Returns true if a barrier must come at a tick.
    pub(crate) fn is_due(&self, emitted: u64, now: Duration) -> bool {
        let moved = self.dirty || emitted != self.emitted_at_barrier;
        moved
            && now >= self.injected_at + self.every
            && !self.in_progress
            && !self.last_sent
            && !self.draining
    }

    pub(crate) fn injects(&mut self, mark: &Mark, emitted: u64, now: Duration) {
        assert!(
            !self.in_progress && !self.last_sent,
            "one epoch at a time, and none behind the last"
        );
        assert!(mark.barrier.epoch > self.epoch, "epochs grow");
        assert!(may_follow(self.boundary, mark.barrier.boundary), "partitions go back");
        (self.epoch, self.boundary) = (mark.barrier.epoch, mark.barrier.boundary);
        (self.in_progress, self.last_sent) = (true, mark.barrier.last);
        (self.injected_at, self.emitted_at_barrier, self.dirty) = (now, emitted, false);
    }

    /// Checks that a checkpoint contains every promise that may still have to be delivered, once.
    pub(crate) fn saves(&self, changes: &Changes) {
        let reported = self.reported.values().flatten().map(|promise| &promise.segment);
        let expected: BTreeSet<_> =
            self.owed.values().flat_map(BTreeMap::keys).chain(reported).collect();
        let saved: Vec<_> =
            changes.promises.values().flatten().map(|promise| &promise.segment).collect();
        assert_eq!(
            saved.len(),
            expected.len(),
            "each promise is carried once: {saved:?}, {expected:?}"
        );
        assert_eq!(saved.into_iter().collect::<BTreeSet<_>>(), expected, "promises are carried");
    }

    pub(crate) fn commits(&mut self, task: usize, promises: &[Promise]) {
        assert!(self.committing.insert(task, promises.to_vec()).is_none(), "two commits at once");
        let owed = self.owed.entry(task).or_default();
        assert!(
            promises.iter().all(|promise| owed.contains_key(&promise.segment)),
            "a commit of what isn't complete"
        );
    }

    pub(crate) fn pauses(&mut self, paused: &BTreeSet<usize>) {
        self.paused.clone_from(paused);
    }

    /// Checks, after all actions, that exactly those spouts are paused whose items reach a full
    /// outbox.
    pub(crate) fn check_pauses(&self) {
        let bytes = |task: &usize| self.owed.get(task).map_or(0, |owed| owed.values().sum::<u64>());
        let upstream = |full: &dyn Fn(u64, u64) -> bool| -> BTreeSet<usize> {
            let full =
                self.outboxes.iter().filter(|(task, outbox)| full(bytes(task), outbox.bytes_max));
            full.flat_map(|(_, outbox)| outbox.upstream.iter().copied()).collect()
        };
        assert!(
            upstream(&|bytes, max| bytes >= max).is_subset(&self.paused),
            "a full outbox pauses its spouts"
        );
        assert!(
            self.paused.is_subset(&upstream(&|bytes, max| bytes > max / 2)),
            "a spout pauses for nothing"
        );
    }

    /// Returns true if the actions contain a barrier or the end.
    pub(crate) fn has_begun(actions: &[Action]) -> bool {
        actions.iter().any(|action| matches!(action, Action::Inject(_) | Action::End(_)))
    }
}
