//! The coordinator's state machine. It takes events and the time, and returns actions. It does no
//! I/O and reads no clock.
//!
//! ```text
//! Running ──all sources ended──▶ Draining(finish) ──last epoch complete──▶ Committing ──▶ Ended
//!    ├──stop──▶ all sources stopped ──▶ Draining ──────────────────────────────┘
//!    ├──rebalance──▶ all sources stopped ──▶ Draining ──last epoch complete──▶ Ended(Rebalance)
//!    └──a task panics or is lost──▶ Ended(RollBack)
//! ```
//!
//! A machine lives from one start of all tasks to their end. After `Rebalance` and `RollBack` the
//! engine starts all tasks again from the newest complete checkpoint, with a new machine.
//!
//! An epoch: `Inject` → every task reports → `Save` → `Saved` → `Commit` for each sink task that
//! has closed promises. There is one epoch at a time, and one commit at a time for each sink task.
//! No epoch waits for a commit.

mod timer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::boundary::next_boundary;
use super::delivery::Deliveries;
use super::event::{Action, Event, Outcome};
use crate::checkpoint::Changes;
use crate::clock::later;
use crate::epoch::{Barrier, Mark, Promise};
use crate::event_time::EventTime;
use crate::metrics::Phase;
use crate::protocol::{FromTask, Report};
use crate::topology::Checkpoint;

/// The role of a task, as far as the machine is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskRole {
    /// Sends barriers on request, and reports cursors.
    Spout,
    /// Reports state.
    Bolt,
    /// Reports promises, and commits them on request.
    Sink,
}

/// The topology's settings.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The interval at which epochs are made durable, if they are.
    pub checkpoint: Checkpoint,
    /// The largest age of an open file of the lake.
    pub micro_batch_age: Duration,
    /// The interval after which a partition of the lake closes.
    pub partition_every: Duration,
    /// The time limit of a drain after `Stop`, and of the commits after the last epoch.
    pub drain_deadline: Duration,
    /// True if bolts emit the tuples that they hold back when all sources have ended.
    pub flushes: bool,
    /// The bounds of those sink tasks that have one.
    pub outboxes: BTreeMap<usize, Outbox>,
}

/// The interval of barriers under `checkpoint: Off`, so that files are published soon after they
/// close.
const EVERY_WHEN_OFF: Duration = Duration::from_secs(1);

/// The state from which a machine continues.
#[derive(Clone, Debug, Default)]
pub struct Resumed {
    /// The newest complete epoch; 0 before the first.
    pub epoch: u64,
    /// The boundary of the partition that was open at that epoch.
    pub boundary: Option<OffsetDateTime>,
    /// The closed promises to deliver, by sink task.
    pub promises: BTreeMap<usize, Vec<Promise>>,
}

/// The bound on the data that a sink task has promised and not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// The bytes from which the spouts upstream pause.
    pub bytes_max: u64,
    /// The numbers of the tasks of these spouts.
    pub upstream: BTreeSet<usize>,
    /// True if the end of all sources waits for the sink's readers without a deadline.
    pub waits_for_readers: bool,
}

/// An epoch in progress.
struct Epoch {
    mark: Arc<Mark>,
    missing: BTreeSet<usize>,
    changes: Changes,
    /// True if all tasks have reported, and the store was asked to save.
    saving: bool,
}

/// The coordinator's state.
pub struct Machine {
    policy: Policy,
    /// The component and the number of each task, for messages.
    names: Vec<String>,
    roles: Vec<TaskRole>,
    phase: Phase,
    /// The sources that are still running.
    running: BTreeSet<usize>,
    epoch: Option<Epoch>,
    last_epoch: u64,
    complete: Option<(u64, Duration)>,
    /// The duration of the newest complete epoch, from its barrier to its completion.
    took: Option<Duration>,
    /// True if the last barrier was sent. No barrier follows it.
    last_sent: bool,
    boundary: OffsetDateTime,
    started_at: Duration,
    emitted: u64,
    emitted_at_barrier: u64,
    /// True if something changed that only a further barrier makes durable.
    dirty: bool,
    stopping: bool,
    deadline: Option<Duration>,
    rebalancing: bool,
    /// True if the last barrier was sent because all sources ended by themselves.
    finishing: bool,
    deliveries: Deliveries,
    outboxes: BTreeMap<usize, Outbox>,
    /// The sink tasks whose outbox is full.
    full: BTreeSet<usize>,
    /// The paused spouts: upstream of a full outbox, or all if the topology is inactive.
    paused: BTreeSet<usize>,
    /// True if a user paused all spouts.
    is_inactive: bool,
    ended: bool,
}

impl Machine {
    /// Creates the machine of a topology that starts at `wall` (UTC) and `now` (monotonic), and
    /// continues from `resumed`. `tasks` are the names and roles of all tasks, by number.
    pub fn new(
        mut policy: Policy,
        tasks: Vec<(String, TaskRole)>,
        mut resumed: Resumed,
        wall: OffsetDateTime,
        now: Duration,
    ) -> Self {
        let (names, roles): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        let of = |role| move |(task, known): (usize, &TaskRole)| (*known == role).then_some(task);
        let running = roles.iter().enumerate().filter_map(of(TaskRole::Spout)).collect();
        let sinks = roles.iter().enumerate().filter_map(of(TaskRole::Sink));
        Self {
            deliveries: Deliveries::new(
                sinks.map(|task| (task, resumed.promises.remove(&task).unwrap_or_default())),
            ),
            boundary: next_boundary(resumed.boundary, wall, policy.partition_every),
            outboxes: std::mem::take(&mut policy.outboxes),
            policy,
            names,
            roles,
            phase: Phase::Running,
            running,
            epoch: None,
            last_epoch: resumed.epoch,
            complete: (resumed.epoch > 0).then_some((resumed.epoch, now)),
            took: None,
            last_sent: false,
            started_at: now,
            emitted: 0,
            emitted_at_barrier: 0,
            dirty: false,
            stopping: false,
            rebalancing: false,
            finishing: false,
            deadline: None,
            full: BTreeSet::new(),
            paused: BTreeSet::new(),
            is_inactive: false,
            ended: false,
        }
    }

    /// Handles an event, and returns the actions to perform.
    pub fn handle(&mut self, event: Event, wall: OffsetDateTime, now: Duration) -> Vec<Action> {
        if self.ended {
            return Vec::new();
        }
        let mut actions = Vec::new();
        match event {
            Event::Tick { emitted } => {
                self.emitted = emitted;
                self.deliveries.tick();
            }
            Event::Task(FromTask { task, report }) => {
                if matches!(&report, Report::Committed { segments } if !segments.is_empty()) {
                    self.delivered(now);
                }
                self.task_reported(task, report, &mut actions)
            }
            Event::Saved { epoch } => self.saved(epoch, now, &mut actions),
            Event::Stop => self.stop(now, &mut actions),
            Event::Rebalance => self.rebalance(now, &mut actions),
            Event::SetInactive(is_inactive) => self.is_inactive = is_inactive,
            Event::DrainWithin(deadline) => self.policy.drain_deadline = deadline,
            Event::Broken(cause) => self.end(Outcome::Failed(cause), &mut actions),
        }
        self.go_on(wall, now, &mut actions);
        actions
    }

    /// Makes the machine begin inactive: spouts are paused before they are started.
    pub fn begin_inactive(&mut self) {
        self.is_inactive = true;
    }

    /// Returns true if a user paused all spouts.
    pub fn is_inactive(&self) -> bool {
        self.is_inactive
    }

    /// Returns the phase of the topology.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the boundary of the open partition, and the time at which the next one begins.
    pub fn partition(&self) -> (OffsetDateTime, OffsetDateTime) {
        (self.boundary, later(self.boundary, self.policy.partition_every))
    }

    /// Returns the newest complete epoch, and the monotonic time at which it was completed.
    pub fn complete(&self) -> Option<(u64, Duration)> {
        self.complete
    }

    /// Returns the duration of the newest epoch that was completed since the start, if any.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    fn every(&self) -> Duration {
        match self.policy.checkpoint {
            Checkpoint::Off => EVERY_WHEN_OFF,
            Checkpoint::Every(every) => every,
        }
    }

    fn durable(&self) -> bool {
        self.policy.checkpoint != Checkpoint::Off
    }

    fn oldest_open(&self) -> Option<OffsetDateTime> {
        self.deliveries.oldest_open()
    }

    fn task_reported(&mut self, task: usize, report: Report, actions: &mut Vec<Action>) {
        match report {
            Report::Cursors { epoch, cursors, times } => {
                let name = self.component(task).to_owned();
                let cursors =
                    cursors.into_iter().map(|(split, cursor)| ((name.clone(), split), cursor));
                self.epoch_of(epoch).changes.cursors.extend(cursors);
                let times = times.into_iter().map(|(split, time)| ((name.clone(), split), time));
                self.epoch_of(epoch).changes.split_times.extend(times);
                self.reported(task, actions);
            }
            Report::State { epoch, changes, watermark } => {
                let name = self.component(task).to_owned();
                let epoch = self.epoch_of(epoch);
                if watermark != EventTime::UNKNOWN {
                    // The tasks of a bolt may report different times while a sender is idle,
                    // because each reads its channels in its own order.
                    let newest = epoch.changes.watermarks.entry(name.clone()).or_insert(watermark);
                    *newest = watermark.max(*newest);
                }
                if !changes.is_empty() {
                    epoch.changes.state.push((name, changes));
                }
                self.reported(task, actions);
            }
            Report::Prepared { epoch, prepared } => {
                self.epoch_of(epoch);
                self.deliveries.prepared(task, prepared);
                self.reported(task, actions);
            }
            Report::Committed { segments } => self.deliveries.committed(task, segments),
            // The actor has made a `Tick` of this report.
            Report::Emits => {}
            Report::SourceEnded | Report::SourceStopped => {
                self.dirty = true;
                self.running.remove(&task);
            }
            Report::Failed(cause) => {
                let cause = format!("{} failed: {cause}", self.names[task]);
                self.end(Outcome::Failed(cause), actions);
            }
            Report::Panicked { message, tuple } => {
                let cause = format!("{} panicked: {message}", self.names[task]);
                self.end(Outcome::RollBack { task, cause, tuple }, actions);
            }
            Report::Broken { cause, tuple } => {
                let cause = format!("{}: {cause}", self.names[task]);
                self.end(Outcome::RollBack { task, cause, tuple }, actions);
            }
            Report::Lost => {
                let Some(name) = self.names.get(task) else {
                    let cause = "the thread that writes checkpoints ended without a report";
                    return self.end(Outcome::Failed(cause.into()), actions);
                };
                let cause = format!("{name} ended without a report");
                self.end(Outcome::RollBack { task, cause, tuple: None }, actions);
            }
        }
    }

    /// Returns the component to which a task belongs.
    fn component(&self, task: usize) -> &str {
        component_of(&self.names[task])
    }

    fn epoch_of(&mut self, reported: u64) -> &mut Epoch {
        let epoch = self.epoch.as_mut().expect("tasks report a barrier that was injected");
        assert_eq!(epoch.mark.barrier.epoch, reported, "one epoch at a time");
        epoch
    }

    fn reported(&mut self, task: usize, actions: &mut Vec<Action>) {
        let durable = self.durable();
        let Some(epoch) = &mut self.epoch else { return };
        assert!(epoch.missing.remove(&task), "task {task} reported a barrier twice");
        if !epoch.missing.is_empty() {
            return;
        }
        epoch.saving = true;
        for (task, promises) in self.deliveries.put_together() {
            let component = component_of(&self.names[task]).to_owned();
            epoch.changes.promises.entry(component).or_default().extend(promises);
        }
        if durable {
            let none = Changes::none(epoch.changes.epoch, epoch.changes.boundary, epoch.changes.at);
            actions.push(Action::Save(std::mem::replace(&mut epoch.changes, none)));
        }
    }

    fn saved(&mut self, saved: u64, now: Duration, actions: &mut Vec<Action>) {
        let epoch = self.epoch.take().expect("an epoch in progress was saved");
        assert_eq!(epoch.mark.barrier.epoch, saved, "one epoch at a time");
        self.complete = Some((saved, now));
        self.took = Some(now.saturating_sub(self.started_at));
        let forgotten = self.deliveries.saved();
        actions.push(Action::Complete(saved));
        actions.extend(
            forgotten.into_iter().map(|(task, segments)| Action::Forget { task, segments }),
        );
        if epoch.mark.barrier.last && self.rebalancing {
            // Undelivered promises are in the checkpoint, and the next tasks deliver them.
            return self.end(Outcome::Rebalance, actions);
        }
        if epoch.mark.barrier.last {
            self.phase = Phase::Committing;
            self.deadline = Some(now + self.policy.drain_deadline);
        }
    }

    fn commit_all(&mut self, actions: &mut Vec<Action>) {
        let begun = self.deliveries.begin(self.phase == Phase::Committing);
        actions.extend(begun.into_iter().map(|(task, promises)| Action::Commit { task, promises }));
    }

    /// Pauses the spouts upstream of a full outbox until the outbox is half empty. Pauses all
    /// spouts of an inactive topology.
    fn watch_outboxes(&mut self, actions: &mut Vec<Action>) {
        let mut paused = BTreeSet::new();
        if self.is_inactive {
            let of_spouts = |(_, role): &(usize, &TaskRole)| **role == TaskRole::Spout;
            paused.extend(self.roles.iter().enumerate().filter(of_spouts).map(|(task, _)| task));
        }
        for (task, outbox) in &self.outboxes {
            let bytes = self.deliveries.bytes(*task);
            let was_full = self.full.contains(task);
            if bytes >= outbox.bytes_max || (was_full && bytes > outbox.bytes_max / 2) {
                self.full.insert(*task);
                paused.extend(outbox.upstream.iter().copied());
            } else {
                self.full.remove(task);
            }
        }
        if paused != self.paused {
            self.paused.clone_from(&paused);
            actions.push(Action::Pause(paused));
        }
    }

    fn stop(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.stopping {
            return;
        }
        if self.phase == Phase::Committing {
            // The deadline of an end that came by itself may have been extended or removed.
            self.stopping = self.finishing;
            self.deadline = Some(now + self.policy.drain_deadline);
            return;
        }
        self.stopping = true;
        self.rebalancing = false;
        self.drain(now, actions);
    }

    fn rebalance(&mut self, now: Duration, actions: &mut Vec<Action>) {
        // An end in progress comes before a rebalance, because there is no further work to divide.
        if !self.stopping && !self.last_sent && !self.rebalancing {
            self.rebalancing = true;
            self.drain(now, actions);
        }
    }

    /// Extends the deadline of an end that came by itself, because a delivery has succeeded.
    fn delivered(&mut self, now: Duration) {
        if self.phase == Phase::Committing && self.finishing && !self.stopping {
            self.deadline = Some(now + self.policy.drain_deadline);
        }
    }

    /// Returns true if all sources have ended by themselves, and only readers are waited for.
    fn awaits_readers(&self) -> bool {
        let waits =
            |task: &usize| self.outboxes.get(task).is_some_and(|outbox| outbox.waits_for_readers);
        self.phase == Phase::Committing
            && self.finishing
            && !self.stopping
            && self.deliveries.not_done().all(|task| waits(&task))
    }

    fn drain(&mut self, now: Duration, actions: &mut Vec<Action>) {
        self.deadline = Some(now + self.policy.drain_deadline);
        self.phase = Phase::Draining;
        actions.push(Action::StopSources);
    }

    /// Performs all steps that the present state allows, whichever event led to the state.
    fn go_on(&mut self, wall: OffsetDateTime, now: Duration, actions: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        if self.epoch.as_ref().is_some_and(|epoch| epoch.saving) && !self.durable() {
            let epoch = self.last_epoch;
            self.saved(epoch, now, actions);
        }
        self.commit_all(actions);
        if self.phase == Phase::Committing {
            if self.deliveries.are_done() {
                return self.end(Outcome::Finished { all: self.finishing }, actions);
            }
        } else if self.epoch.is_none() && !self.last_sent {
            self.start_epoch_if_due(wall, now, actions);
        }
        self.watch_outboxes(actions);
        if self.awaits_readers() {
            self.deadline = None;
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            // Tasks that can't drain in time restart from the newest checkpoint, losing nothing.
            let waiting = self.not_done();
            self.end(
                if self.rebalancing { Outcome::Rebalance } else { Outcome::NotClean(waiting) },
                actions,
            );
        }
    }

    fn start_epoch_if_due(
        &mut self,
        wall: OffsetDateTime,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        let boundary = next_boundary(Some(self.boundary), wall, self.policy.partition_every);
        if self.running.is_empty() {
            self.phase = Phase::Draining;
            self.last_sent = true;
            return self.start_epoch(boundary, wall, now, true, actions);
        }
        if self.stopping || self.rebalancing {
            return;
        }
        let moved = self.dirty || self.emitted != self.emitted_at_barrier;
        let checkpoint_due = moved && now >= self.started_at + self.every();
        let age_due =
            self.oldest_open().is_some_and(|since| since + self.policy.micro_batch_age <= wall);
        if checkpoint_due || age_due || boundary != self.boundary {
            self.start_epoch(boundary, wall, now, false, actions);
        }
    }

    fn start_epoch(
        &mut self,
        boundary: OffsetDateTime,
        wall: OffsetDateTime,
        now: Duration,
        last: bool,
        actions: &mut Vec<Action>,
    ) {
        self.last_epoch += 1;
        self.boundary = boundary;
        self.started_at = now;
        self.emitted_at_barrier = self.emitted;
        self.dirty = false;
        let barrier =
            Barrier { epoch: self.last_epoch, now: wall, boundary, last, durable: self.durable() };
        self.finishing = last && !self.stopping && !self.rebalancing;
        let mark = Arc::new(Mark { barrier, finish: self.finishing && self.policy.flushes });
        let missing = (0..self.roles.len()).collect();
        self.epoch = Some(Epoch {
            mark: Arc::clone(&mark),
            missing,
            changes: Changes::none(self.last_epoch, boundary, mark.barrier.now),
            saving: false,
        });
        actions.push(Action::Inject(mark));
    }

    /// Returns the work that a drain waits for and its deadline, if there is a drain.
    pub fn drain_awaits(&self) -> Option<(String, Duration)> {
        let deadline = self.deadline.filter(|_| !self.ended)?;
        Some((self.waits_for(), deadline))
    }

    fn list(&self, tasks: impl Iterator<Item = usize>) -> String {
        tasks.map(|task| self.names[task].as_str()).collect::<Vec<_>>().join(", ")
    }

    fn waits_for(&self) -> String {
        if self.phase == Phase::Committing {
            return format!("commits of {}", self.list(self.deliveries.not_done()));
        }
        match &self.epoch {
            Some(epoch) if epoch.saving => "the checkpoint to be saved".into(),
            Some(epoch) => {
                let (tasks, epoch) =
                    (self.list(epoch.missing.iter().copied()), epoch.mark.barrier.epoch);
                format!("{tasks} to pass the barrier of epoch {epoch}")
            }
            None => format!("{} to stop", self.list(self.running.iter().copied())),
        }
    }

    /// Returns the unfinished work of a drain that is given up.
    fn not_done(&self) -> String {
        if self.phase == Phase::Committing {
            let tasks = self.list(self.deliveries.not_done());
            return format!("commits of {tasks} were not done within the drain deadline");
        }
        match &self.epoch {
            Some(epoch) if epoch.saving => {
                "the checkpoint was not saved within the drain deadline".into()
            }
            Some(epoch) => {
                let (tasks, epoch) =
                    (self.list(epoch.missing.iter().copied()), epoch.mark.barrier.epoch);
                format!(
                    "{tasks} did not pass the barrier of epoch {epoch} within the drain deadline"
                )
            }
            None => format!(
                "{} did not stop within the drain deadline",
                self.list(self.running.iter().copied())
            ),
        }
    }

    fn end(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        self.ended = true;
        actions.push(Action::End(outcome));
    }
}

fn component_of(task: &str) -> &str {
    task.split_once('[').map_or(task, |(component, _)| component)
}
