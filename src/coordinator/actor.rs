//! The coordinator's actor. It contains little logic: it passes events to the state machine and
//! performs the machine's actions.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle};
use crossbeam_channel::Sender;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::boundary::says_ahead;
use super::event::{Action, Event, Outcome};
use super::machine::{Machine, TaskRole};
use super::saver::{self, Said};
use crate::checkpoint::{Changes, StateStore};
use crate::clock::SharedClock;
use crate::fault::point;
use crate::metrics::Phase;
use crate::protocol::{Alive, Control, FromTask, Messages, Meter, Report};

/// Asks for a graceful drain.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// Asks for an end after which tasks can be started in other numbers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Rebalance;

/// Pauses all spouts (true), or lets them continue (false).
#[derive(Message)]
#[rtype(result = "()")]
pub struct SetInactive(pub bool);

/// Replaces the policy's deadline of a drain.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DrainWithin(pub Duration);

/// Reports that all tasks are started, which starts the timers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin {
    /// The tasks, by their numbers.
    pub tasks: Vec<TaskLine>,
    /// The store of the checkpoints.
    pub store: Arc<dyn StateStore>,
    /// Dropped with the thread that writes checkpoints.
    pub alive: Arc<Alive>,
}

/// A task as seen by the coordinator.
#[derive(Clone)]
pub struct TaskLine {
    /// The role of the task.
    pub role: TaskRole,
    /// Its mailbox.
    pub mailbox: Recipient<Control>,
    /// Its counters.
    pub meter: Arc<Meter>,
}

/// The coordinator's state for watchers.
#[derive(Clone, Debug)]
pub struct ControlStatus {
    /// The phase of the topology.
    pub phase: Phase,
    /// The boundary of the open partition, and the time at which the next one begins.
    pub partition: (OffsetDateTime, OffsetDateTime),
    /// The newest complete epoch, and the monotonic time at which it was completed.
    pub complete: Option<(u64, Duration)>,
    /// The duration of that epoch, from its barrier to its completion.
    pub took: Option<Duration>,
    /// The reason for which checkpoints can't be saved, if they can't.
    pub waits: Option<String>,
    /// The work that a drain waits for, and the monotonic time at which the drain is given up.
    pub drain: Option<(String, Duration)>,
}

impl ControlStatus {
    /// Returns the state of a machine.
    pub fn of(machine: &Machine) -> Self {
        let (phase, partition, complete) =
            (machine.phase(), machine.partition(), machine.complete());
        let (took, drain) = (machine.took(), machine.drain_awaits());
        Self { phase, partition, complete, took, waits: None, drain }
    }
}

/// The actor, one for each topology, on a thread of its own.
pub struct CoordinatorActor {
    machine: Machine,
    saver: Option<Sender<Changes>>,
    waits: Option<String>,
    clock: SharedClock,
    tasks: Vec<TaskLine>,
    status: Arc<Mutex<ControlStatus>>,
    messages: Arc<Messages>,
    ended: Option<oneshot::Sender<Outcome>>,
    timer: Option<SpawnHandle>,
}

impl CoordinatorActor {
    /// Creates the coordinator of a topology whose tasks are about to be started. `ended` receives
    /// the outcome.
    pub fn new(
        machine: Machine,
        clock: SharedClock,
        status: Arc<Mutex<ControlStatus>>,
        messages: Arc<Messages>,
        ended: oneshot::Sender<Outcome>,
    ) -> Self {
        let (saver, waits, tasks) = (None, None, Vec::new());
        Self {
            machine,
            saver,
            waits,
            clock,
            tasks,
            status,
            messages,
            ended: Some(ended),
            timer: None,
        }
    }

    fn happened(&mut self, event: Event, ctx: &mut Context<Self>) {
        let (wall, now) = (self.clock.now(), self.clock.monotonic());
        let (boundary, rolls_over) = self.machine.partition();
        let actions = self.machine.handle(event, wall, now);
        if self.machine.partition().0 < boundary
            && let Some(ahead) = says_ahead(boundary, wall, (rolls_over - boundary).unsigned_abs())
        {
            self.messages.say(ahead);
        }
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) =
            ControlStatus { waits: self.waits.clone(), ..ControlStatus::of(&self.machine) };
        for action in actions {
            self.act(action, ctx);
        }
        self.set_timer(ctx);
    }

    fn act(&mut self, action: Action, ctx: &mut Context<Self>) {
        // Tests kill the process here. A message can't fail in any other way.
        let _ = point(match &action {
            Action::Inject(_) => "coordinator.inject",
            Action::Commit { .. } => "coordinator.commit",
            Action::Save(_) => "coordinator.all_reported",
            Action::Complete(_) => "coordinator.saved",
            Action::Forget { .. } => "coordinator.forget",
            Action::StopSources | Action::Pause(_) | Action::End(_) => "coordinator.end",
        });
        match action {
            Action::Inject(mark) => {
                tracing::debug!(epoch = mark.barrier.epoch, last = mark.barrier.last, "barrier");
                self.tell(TaskRole::Spout, &Control::Inject(mark));
            }
            Action::StopSources => self.tell(TaskRole::Spout, &Control::StopSource),
            Action::Commit { task, promises } => {
                tracing::debug!(task, segments = promises.len(), "a sink delivers");
                self.tasks[task].mailbox.do_send(Control::Commit(promises))
            }
            Action::Forget { task, segments } => {
                self.tasks[task].mailbox.do_send(Control::Forget(segments))
            }
            Action::Complete(epoch) => {
                tracing::debug!(epoch, "checkpoint is complete");
                self.tell(TaskRole::Spout, &Control::Completed(epoch));
            }
            Action::Pause(paused) => {
                for (number, task) in
                    self.tasks.iter().enumerate().filter(|(_, task)| task.role == TaskRole::Spout)
                {
                    task.mailbox.do_send(Control::Pause(paused.contains(&number)));
                }
            }
            Action::Save(changes) => {
                let saver = self.saver.as_ref().expect("epochs begin after the tasks");
                // The thread ends only after this sender is dropped, and gets one epoch at a time.
                let _ = saver.send(changes);
            }
            Action::End(outcome) => {
                tracing::debug!("tasks end");
                // The receiver announces the end to the census of tasks first.
                if let Some(ended) = self.ended.take() {
                    let _ = ended.send(outcome);
                }
                self.saver = None;
                ctx.stop();
            }
        }
    }

    fn tell(&self, role: TaskRole, control: &Control) {
        let tasks = self.tasks.iter().filter(|task| task.role == role);
        tasks.for_each(|task| task.mailbox.do_send(control.clone()));
    }

    fn emitted(&self) -> u64 {
        let spouts = self.tasks.iter().filter(|task| task.role == TaskRole::Spout);
        spouts.map(|task| task.meter.emitted()).sum()
    }

    /// Asks the spouts to report their next tuples, if nothing else is awaited. Returns the time at
    /// which the rest ends without such a report.
    fn rest(&self, wall: OffsetDateTime, now: Duration) -> Option<Duration> {
        let end = self.machine.rests_until(self.emitted(), wall, now)?;
        for task in self.tasks.iter().filter(|task| task.role == TaskRole::Spout) {
            task.meter.begin_rest();
        }
        // A tuple that was emitted before the requests isn't reported.
        self.machine.rests_until(self.emitted(), wall, now).and(Some(end))
    }

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let (wall, now) = (self.clock.now(), self.clock.monotonic());
        let next = match self.rest(wall, now) {
            Some(end) => end,
            None => self.machine.next_tick(wall, now),
        };
        let wait = next.saturating_sub(now);
        if let Some(old) = self.timer.take() {
            ctx.cancel_future(old);
        }
        let sleep = actix::fut::wrap_future::<_, Self>(self.clock.sleep(wait));
        self.timer =
            Some(ctx.spawn(actix::ActorFutureExt::map(sleep, |(), actor: &mut Self, ctx| {
                let emitted = actor.emitted();
                actor.happened(Event::Tick { emitted }, ctx);
            })));
    }
}

impl Actor for CoordinatorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Reports are small, and their number is bounded by the number of tasks. None may be
        // refused.
        ctx.set_mailbox_capacity(usize::from(u16::MAX));
    }
}

impl Handler<Begin> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, Begin { tasks, store, alive }: Begin, ctx: &mut Self::Context) {
        self.tasks = tasks;
        let me = ctx.address();
        match saver::start(store, move |said| me.do_send(said), alive) {
            Ok(saver) => self.saver = Some(saver),
            Err(error) => return self.happened(Event::Broken(error.chain()), ctx),
        }
        if self.machine.is_inactive() {
            self.tell(TaskRole::Spout, &Control::Pause(true));
        }
        // Spouts come last: the first report of a spout may end the topology.
        for role in [TaskRole::Sink, TaskRole::Bolt, TaskRole::Spout] {
            self.tell(role, &Control::Start);
        }
        // Promises that earlier tasks left undelivered are due immediately.
        self.happened(Event::Tick { emitted: 0 }, ctx);
    }
}

impl Handler<FromTask> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, report: FromTask, ctx: &mut Self::Context) {
        let event = match report.report {
            Report::Emits => Event::Tick { emitted: self.emitted() },
            _ => Event::Task(report),
        };
        self.happened(event, ctx);
    }
}

impl Message for Said {
    type Result = ();
}

impl Handler<Said> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, said: Said, ctx: &mut Self::Context) {
        let (waits, event) = match said {
            Said::Saved(epoch) => (None, Event::Saved { epoch }),
            Said::Failed(cause) => (None, Event::Broken(cause)),
            Said::Waits(cause) => (Some(cause), Event::Tick { emitted: self.emitted() }),
        };
        self.waits = waits;
        self.happened(event, ctx);
    }
}

impl Handler<Rebalance> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, _: Rebalance, ctx: &mut Self::Context) {
        self.happened(Event::Rebalance, ctx);
    }
}

impl Handler<SetInactive> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, SetInactive(is_inactive): SetInactive, ctx: &mut Self::Context) {
        self.happened(Event::SetInactive(is_inactive), ctx);
    }
}

impl Handler<DrainWithin> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, DrainWithin(deadline): DrainWithin, ctx: &mut Self::Context) {
        self.happened(Event::DrainWithin(deadline), ctx);
    }
}

impl Handler<Stop> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.happened(Event::Stop, ctx);
    }
}
