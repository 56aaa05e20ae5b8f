//! The coordinator's state machine: events and the time in, actions out. It does no I/O and reads no clock.
//!
//! ```text
//! Running ──all sources ended──▶ Draining(finish) ──last epoch complete──▶ Committing ──▶ Ended
//!    └──stop──▶ Stopping ──all sources stopped──▶ Draining ──────────────────┘
//! ```
//!
//! An epoch: `Inject` → every task reports → `Save` → `Saved` → `Commit` for each sink task that has
//! closed promises. One epoch at a time, and one commit at a time for each sink task; no epoch waits
//! for a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::checkpoint::Changes;
use crate::engine::{Exit, FromTask, Mark, Report};
use crate::metrics::Phase;
use crate::sink::{Barrier, Promise};
use crate::topology::Checkpoint;

/// What the machine has to know of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskRole {
    /// It is told to send barriers, and reports cursors.
    Spout,
    /// It reports state.
    Bolt,
    /// It reports promises, and is told to commit them.
    Sink,
}

/// The topology's own numbers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// When and whether epochs are made durable.
    pub checkpoint: Checkpoint,
    /// How old a file of the lake gets at most.
    pub micro_batch_age: Duration,
    /// When a folder of the lake closes.
    pub partition_every: Duration,
    /// How long a drain may take after `Stop`, and commits after the last epoch.
    pub drain_deadline: Duration,
}

/// How often barriers are due under `checkpoint: Off`, so that files are published soon after they close.
const EVERY_WHEN_OFF: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time went by. `emitted` counts what all spouts emitted since the start.
    Tick {
        /// Tuples that spouts emitted since the start.
        emitted: u64,
    },
    /// A task reported.
    Task(FromTask),
    /// What `Save` asked for is durable.
    Saved {
        /// The epoch that was saved.
        epoch: u64,
    },
    /// Somebody asked for a graceful drain.
    Stop,
    /// The state store or another part of the engine failed for good.
    Broken(String),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Tell all spouts to send this barrier.
    Inject(Arc<Mark>),
    /// Save what the epoch changed, and report `Saved`.
    Save(Changes),
    /// Tell a sink task to make these promises visible.
    Commit {
        /// The number of the task.
        task: usize,
        /// Closed promises, in order.
        promises: Vec<Promise>,
    },
    /// Tell all spouts to read no more.
    StopSources,
    /// The topology has ended: tell all tasks, and whoever waits.
    End(Exit),
}

/// An epoch whose barrier is on its way.
struct Epoch {
    mark: Arc<Mark>,
    missing: BTreeSet<usize>,
    changes: Changes,
    /// All tasks have reported, and the store was asked to save.
    saving: bool,
}

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

/// The coordinator's state.
pub struct Machine {
    policy: Policy,
    /// Component and number of each task, for messages.
    names: Vec<String>,
    roles: Vec<TaskRole>,
    phase: Phase,
    /// Sources that still run.
    running: BTreeSet<usize>,
    epoch: Option<Epoch>,
    last_epoch: u64,
    complete: Option<(u64, Duration)>,
    /// Whether the last barrier was sent; nothing follows it.
    last_sent: bool,
    boundary: OffsetDateTime,
    started_at: Duration,
    emitted: u64,
    emitted_at_barrier: u64,
    /// Something happened that only a further barrier makes durable.
    dirty: bool,
    stopping: bool,
    deadline: Option<Duration>,
    deliveries: BTreeMap<usize, Delivery>,
    ended: bool,
}

impl Machine {
    /// Of a topology that is about to start at `wall` (UTC) and `now` (monotonic). `tasks` are the
    /// names and roles of all tasks, by their numbers.
    pub fn new(policy: Policy, tasks: Vec<(String, TaskRole)>, wall: OffsetDateTime, now: Duration) -> Self {
        let (names, roles): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        let of = |role| move |(task, known): (usize, &TaskRole)| (*known == role).then_some(task);
        let running = roles.iter().enumerate().filter_map(of(TaskRole::Spout)).collect();
        let sinks = roles.iter().enumerate().filter_map(of(TaskRole::Sink));
        Self {
            deliveries: sinks.map(|task| (task, Delivery::default())).collect(),
            boundary: floor(wall, policy.partition_every),
            policy,
            names,
            roles,
            phase: Phase::Running,
            running,
            epoch: None,
            last_epoch: 0,
            complete: None,
            last_sent: false,
            started_at: now,
            emitted: 0,
            emitted_at_barrier: 0,
            dirty: false,
            stopping: false,
            deadline: None,
            ended: false,
        }
    }

    /// Takes an event, and says what to do.
    pub fn handle(&mut self, event: Event, wall: OffsetDateTime, now: Duration) -> Vec<Action> {
        if self.ended {
            return Vec::new();
        }
        let mut actions = Vec::new();
        match event {
            Event::Tick { emitted } => self.emitted = emitted,
            Event::Task(FromTask { task, report }) => self.task_reported(task, report, &mut actions),
            Event::Saved { epoch } => self.saved(epoch, now, &mut actions),
            Event::Stop => self.stop(now, &mut actions),
            Event::Broken(cause) => self.end(Exit::Failed(cause), &mut actions),
        }
        self.go_on(wall, now, &mut actions);
        actions
    }

    /// When to send the next `Tick`, at the latest, on the monotonic clock.
    pub fn next_tick(&self, wall: OffsetDateTime, now: Duration) -> Duration {
        let age = self.oldest_open().map(|since| since + self.policy.micro_batch_age - wall);
        let rollover = self.boundary + self.policy.partition_every - wall;
        let wall_waits =
            age.into_iter().chain([rollover]).map(|wait| now + wait.max(time::Duration::ZERO).unsigned_abs());
        let waits = [self.started_at + self.every(), now + self.every()];
        let next = wall_waits.chain(waits.into_iter().filter(|at| *at > now)).chain(self.deadline).min();
        // A due barrier that waits for the epoch in progress must not make the timer spin.
        next.unwrap_or(now + self.every()).max(now + Duration::from_millis(1))
    }

    /// What the topology is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The boundary of the open partition, and when the next one begins.
    pub fn partition(&self) -> (OffsetDateTime, OffsetDateTime) {
        (self.boundary, self.boundary + self.policy.partition_every)
    }

    /// The newest complete epoch, and when it was completed on the monotonic clock.
    pub fn complete(&self) -> Option<(u64, Duration)> {
        self.complete
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
        self.deliveries.values().filter_map(|delivery| delivery.open_since).min()
    }

    fn task_reported(&mut self, task: usize, report: Report, actions: &mut Vec<Action>) {
        match report {
            Report::Cursors { epoch, cursors } => {
                let name = self.component(task).to_owned();
                let cursors = cursors.into_iter().map(|(split, cursor)| ((name.clone(), split), cursor));
                self.epoch_of(epoch).changes.cursors.extend(cursors);
                self.reported(task, actions);
            }
            Report::State { epoch, changes } => {
                let name = self.component(task).to_owned();
                if !changes.is_empty() {
                    self.epoch_of(epoch).changes.state.push((name, changes));
                }
                self.epoch_of(epoch);
                self.reported(task, actions);
            }
            Report::Prepared { epoch, prepared } => {
                self.epoch_of(epoch);
                let delivery = self.deliveries.get_mut(&task).expect("only sinks prepare");
                delivery.open_since = prepared.open_since;
                delivery.prepared = prepared.promises;
                self.reported(task, actions);
            }
            Report::Committed => self.committed(task),
            Report::SourceEnded | Report::SourceStopped => {
                self.dirty = true;
                self.running.remove(&task);
            }
            Report::Failed(cause) => {
                let cause = format!("{} failed: {cause}", self.names[task]);
                self.end(Exit::Failed(cause), actions);
            }
            Report::Panicked(message) => {
                let cause = format!("{} panicked: {message}", self.names[task]);
                self.end(Exit::Failed(cause), actions);
            }
        }
    }

    /// The component that a task belongs to.
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
        for (task, delivery) in &self.deliveries {
            let known = delivery.promises.iter().map(|promise| &promise.segment).collect::<BTreeSet<_>>();
            let new = delivery.prepared.iter().filter(|promise| !known.contains(&promise.segment));
            let all = delivery.promises.iter().chain(new).cloned().collect();
            let component = component_of(&self.names[*task]).to_owned();
            epoch.changes.promises.entry(component).or_default().extend::<Vec<_>>(all);
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
        for delivery in self.deliveries.values_mut() {
            let closed = std::mem::take(&mut delivery.prepared).into_iter().filter(|promise| promise.closed);
            for promise in closed {
                if !delivery.promises.iter().any(|known| known.segment == promise.segment) {
                    delivery.promises.push(promise);
                }
            }
        }
        if epoch.mark.barrier.last {
            self.phase = Phase::Committing;
            self.deadline = Some(now + self.policy.drain_deadline);
        }
        self.commit_all(actions);
    }

    /// Starts a commit for every sink task that has closed promises, and none underway. Behind the
    /// last epoch every sink task gets one, also without promises.
    fn commit_all(&mut self, actions: &mut Vec<Action>) {
        let last = self.phase == Phase::Committing;
        for (task, delivery) in &mut self.deliveries {
            if !delivery.underway && (!delivery.promises.is_empty() || (last && !delivery.last_begun)) {
                delivery.underway = true;
                delivery.committing = delivery.promises.len();
                delivery.last_begun = last;
                actions.push(Action::Commit { task: *task, promises: delivery.promises.clone() });
            }
        }
    }

    fn committed(&mut self, task: usize) {
        let delivery = self.deliveries.get_mut(&task).expect("only sinks commit");
        let done: Vec<_> = delivery.promises.drain(..delivery.committing).collect();
        // A prepare that ran beside the commit may have promised the same again: nobody needs that now.
        delivery.prepared.retain(|promise| !done.iter().any(|done| done.segment == promise.segment));
        delivery.underway = false;
        // The store still holds the promises until the next checkpoint; repeating them does no harm.
    }

    fn stop(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.stopping || self.phase == Phase::Committing {
            return;
        }
        self.stopping = true;
        self.deadline = Some(now + self.policy.drain_deadline);
        self.phase = Phase::Draining;
        actions.push(Action::StopSources);
    }

    /// What follows from the state, whatever event brought it about.
    fn go_on(&mut self, wall: OffsetDateTime, now: Duration, actions: &mut Vec<Action>) {
        if self.ended {
            return;
        }
        if self.epoch.as_ref().is_some_and(|epoch| epoch.saving) && !self.durable() {
            let epoch = self.last_epoch;
            self.saved(epoch, now, actions);
        }
        if self.phase == Phase::Committing {
            self.commit_all(actions);
            if self.deliveries.values().all(|delivery| !delivery.underway && delivery.promises.is_empty()) {
                return self.end(Exit::Finished, actions);
            }
        } else if self.epoch.is_none() && !self.last_sent {
            self.start_epoch_if_due(wall, now, actions);
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            let waiting = self.waiting_for();
            self.end(Exit::NotClean(waiting), actions);
        }
    }

    fn start_epoch_if_due(&mut self, wall: OffsetDateTime, now: Duration, actions: &mut Vec<Action>) {
        let boundary = floor(wall.max(self.boundary), self.policy.partition_every);
        if self.running.is_empty() {
            self.phase = Phase::Draining;
            self.last_sent = true;
            return self.start_epoch(boundary, wall, now, true, actions);
        }
        if self.stopping {
            return;
        }
        let moved = self.dirty || self.emitted != self.emitted_at_barrier;
        let checkpoint_due = moved && now >= self.started_at + self.every();
        let age_due = self.oldest_open().is_some_and(|since| since + self.policy.micro_batch_age <= wall);
        if checkpoint_due || age_due || boundary > self.boundary {
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
        let barrier = Barrier { epoch: self.last_epoch, now: wall, boundary, last, durable: self.durable() };
        let mark = Arc::new(Mark { barrier, finish: last && !self.stopping });
        let missing = (0..self.roles.len()).collect();
        self.epoch = Some(Epoch {
            mark: Arc::clone(&mark),
            missing,
            changes: Changes::none(self.last_epoch, boundary, mark.barrier.now),
            saving: false,
        });
        actions.push(Action::Inject(mark));
    }

    /// Names what a drain is still waiting for.
    fn waiting_for(&self) -> String {
        let list = |tasks: &mut dyn Iterator<Item = usize>| -> String {
            tasks.map(|task| self.names[task].as_str()).collect::<Vec<_>>().join(", ")
        };
        if self.phase == Phase::Committing {
            let waiting = self.deliveries.iter().filter(|(_, delivery)| delivery.underway);
            return format!(
                "commits of {} were not done within the drain deadline",
                list(&mut waiting.map(|(task, _)| *task))
            );
        }
        match &self.epoch {
            Some(epoch) if epoch.saving => "the checkpoint was not saved within the drain deadline".into(),
            Some(epoch) => format!(
                "{} did not pass the barrier of epoch {} within the drain deadline",
                list(&mut epoch.missing.iter().copied()),
                epoch.mark.barrier.epoch
            ),
            None => format!("{} did not stop within the drain deadline", list(&mut self.running.iter().copied())),
        }
    }

    fn end(&mut self, exit: Exit, actions: &mut Vec<Action>) {
        self.ended = true;
        actions.push(Action::End(exit));
    }
}

fn component_of(task: &str) -> &str {
    task.split_once('[').map_or(task, |(component, _)| component)
}

/// The multiple of `period` since the Unix epoch that is not after `time`, in UTC.
fn floor(time: OffsetDateTime, period: Duration) -> OffsetDateTime {
    let period = i64::try_from(period.as_secs()).unwrap_or(i64::MAX).max(1);
    let seconds = time.unix_timestamp().div_euclid(period) * period;
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time)
}
