//! The coordinator's thin actor: it feeds events to the machine and does what it says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle};
use crossbeam_channel::Sender;
use time::OffsetDateTime;

use super::machine::{Action, Event, Machine, TaskRole};
use crate::checkpoint::StateStore;
use crate::clock::SharedClock;
use crate::engine::{Control, Exit, FromTask, Meter};
use crate::metrics::Phase;

/// Asks for a graceful drain.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

/// All tasks are started: time begins.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin(pub Vec<TaskLine>);

/// A task, as the coordinator reaches it.
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
}

impl ControlStatus {
    /// Of a machine.
    pub fn of(machine: &Machine) -> Self {
        Self { phase: machine.phase(), partition: machine.partition(), complete: machine.complete() }
    }
}

/// One for each topology, on a thread of its own.
pub struct CoordinatorActor {
    machine: Machine,
    store: Box<dyn StateStore>,
    clock: SharedClock,
    tasks: Vec<TaskLine>,
    status: Arc<Mutex<ControlStatus>>,
    ended: Sender<Exit>,
    timer: Option<SpawnHandle>,
}

impl CoordinatorActor {
    /// Of a topology whose tasks are about to be started; `ended` gets how it ends.
    pub fn new(
        machine: Machine,
        store: Box<dyn StateStore>,
        clock: SharedClock,
        status: Arc<Mutex<ControlStatus>>,
        ended: Sender<Exit>,
    ) -> Self {
        Self { machine, store, clock, tasks: Vec::new(), status, ended, timer: None }
    }

    fn happened(&mut self, event: Event, ctx: &mut Context<Self>) {
        let (wall, now) = (self.clock.now(), self.clock.monotonic());
        let actions = self.machine.handle(event, wall, now);
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = ControlStatus::of(&self.machine);
        for action in actions {
            self.act(action, ctx);
        }
        self.set_timer(ctx);
    }

    fn act(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Inject(mark) => self.tell(TaskRole::Spout, &Control::Inject(mark)),
            Action::StopSources => self.tell(TaskRole::Spout, &Control::StopSource),
            Action::Commit { task, promises } => self.tasks[task].mailbox.do_send(Control::Commit(promises)),
            Action::Save(changes) => {
                let epoch = changes.epoch;
                match self.store.save(changes) {
                    Ok(()) => self.happened(Event::Saved { epoch }, ctx),
                    Err(error) => self.happened(Event::Broken(error.chain()), ctx),
                }
            }
            Action::End(exit) => {
                self.tasks.iter().for_each(|task| task.mailbox.do_send(Control::Shutdown));
                // Whoever waited may have gone.
                let _ = self.ended.send(exit);
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
        self.timer = Some(ctx.spawn(actix::ActorFutureExt::map(sleep, |(), actor: &mut Self, ctx| {
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

    fn handle(&mut self, Begin(tasks): Begin, ctx: &mut Self::Context) {
        self.tasks = tasks;
        // Bolts first: a spout may end the topology with its first report.
        for role in [TaskRole::Sink, TaskRole::Bolt, TaskRole::Spout] {
            self.tell(role, &Control::Start);
        }
        self.set_timer(ctx);
    }
}

impl Handler<FromTask> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, report: FromTask, ctx: &mut Self::Context) {
        self.happened(Event::Task(report), ctx);
    }
}

impl Handler<Stop> for CoordinatorActor {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        self.happened(Event::Stop, ctx);
    }
}
