//! The coordinator's thin actor: it feeds events to the machine and does what it says.

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
use crate::protocol::{Alive, Control, FromTask, Messages, Meter};

/// Asks for a graceful drain.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// Asks for an end after which tasks can start in other numbers.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Rebalance;

/// Asks that spouts emit nothing (true), or that they go on (false).
#[derive(Message)]
#[rtype(result = "()")]
pub struct SetInactive(pub bool);

/// Gives a drain another time than the policy.
#[derive(Message)]
#[rtype(result = "()")]
pub struct DrainWithin(pub Duration);

/// All tasks are started: time begins.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin {
    /// The tasks, by their numbers.
    pub tasks: Vec<TaskLine>,
    /// Where checkpoints go.
    pub store: Arc<dyn StateStore>,
    /// Gone with the thread that writes them.
    pub alive: Arc<Alive>,
}

/// A task, as the coordinator reaches it.
#[derive(Clone)]
pub struct TaskLine {
    /// What the task is.
    pub role: TaskRole,
    /// Its mailbox.
    pub mailbox: Recipient<Control>,
    /// Its counters.
    pub meter: Arc<Meter>,
}

/// What the coordinator tells whoever watches.
#[derive(Clone, Debug)]
pub struct ControlStatus {
    /// What the topology is doing.
    pub phase: Phase,
    /// The boundary of the open partition, and when the next one begins.
    pub partition: (OffsetDateTime, OffsetDateTime),
    /// The newest complete epoch, and when it was completed on the monotonic clock.
    pub complete: Option<(u64, Duration)>,
    /// How long that epoch took, from its barrier to its end.
    pub took: Option<Duration>,
    /// What keeps checkpoints from being saved, if something does.
    pub waits: Option<String>,
    /// What a drain waits for, and when it is given up on the monotonic clock.
    pub drain: Option<(String, Duration)>,
}

impl ControlStatus {
    /// Of a machine.
    pub fn of(machine: &Machine) -> Self {
        let (phase, partition, complete) =
            (machine.phase(), machine.partition(), machine.complete());
        let (took, drain) = (machine.took(), machine.drain_awaits());
        Self { phase, partition, complete, took, waits: None, drain }
    }
}

/// One for each topology, on a thread of its own.
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
    /// Of a topology whose tasks are about to be started; `ended` gets how it ends.
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
        // Tests kill the process here; nothing else can go wrong with a message.
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
                // The thread ends only after this sender is dropped, and has one epoch at a time.
                let _ = saver.send(changes);
            }
            Action::End(outcome) => {
                tracing::debug!("tasks end");
                // Whoever waits announces the end to the tasks' census first.
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

    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let (wall, now) = (self.clock.now(), self.clock.monotonic());
        let wait = self.machine.next_tick(wall, now).saturating_sub(now);
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
        // Reports are small and bounded by the number of tasks; none may be refused.
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
        // Bolts first: a spout may end the topology with its first report.
        for role in [TaskRole::Sink, TaskRole::Bolt, TaskRole::Spout] {
            self.tell(role, &Control::Start);
        }
        // What earlier tasks left to deliver is due at once.
        self.happened(Event::Tick { emitted: 0 }, ctx);
    }
}

impl Handler<FromTask> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, report: FromTask, ctx: &mut Self::Context) {
        self.happened(Event::Task(report), ctx);
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
