//! The actors of bolts: one that shares an executor with other tasks, and one with a thread of its
//! own. Both contain little logic: they give a woken task a turn and act on the result.

use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler,
    Message, SyncContext, fut::wrap_future,
};

use super::task::{BoltTask, Next};
use crate::epoch::Promise;
use crate::flow::{Need, TaskHandle, WakeUp};
use crate::panics::caught;
use crate::protocol::{Control, Report, Reporter};

/// The task's message to itself: another turn is due.
#[derive(Message)]
#[rtype(result = "()")]
struct Turn;

/// The message that a wait is over.
#[derive(Message)]
#[rtype(result = "()")]
struct TimeOver;

/// A task, and the state that its actor keeps about it.
pub(crate) struct TaskShell {
    task: Option<BoltTask>,
    handle: Arc<TaskHandle>,
    reporter: Reporter,
    /// True if a turn or a pause is pending, so that a wake has no effect.
    pending: bool,
}

/// The action of an actor after a turn.
enum AfterTurn {
    Turn,
    Wait(Duration),
    Nothing,
}

impl TaskShell {
    /// Creates the actor's state for a task that hasn't had its first turn.
    pub(crate) fn new(task: BoltTask, handle: Arc<TaskHandle>) -> Self {
        let reporter = task.reporter.clone();
        Self { task: Some(task), handle, reporter, pending: false }
    }

    fn woken(&mut self) -> AfterTurn {
        // The end of a wait, and not a sender that cleared the need, may have woken the task.
        self.handle.is_awake();
        if self.pending { AfterTurn::Nothing } else { self.turn() }
    }

    fn due(&mut self) -> AfterTurn {
        self.pending = false;
        self.turn()
    }

    fn time_over(&mut self) -> AfterTurn {
        if let Some(task) = &mut self.task {
            task.flush();
        }
        self.pending = false;
        self.woken()
    }

    fn turn(&mut self) -> AfterTurn {
        let Some(task) = &mut self.task else { return AfterTurn::Nothing };
        let next = match caught(|| task.turn()) {
            Ok(next) => next,
            Err(panic) => {
                let (message, tuple) = (panic_message(panic.as_ref()), task.panicked_on);
                self.reporter.send(Report::Panicked { message, tuple });
                self.task = None;
                return AfterTurn::Nothing;
            }
        };
        let after = match next {
            Next::Turn => AfterTurn::Turn,
            Next::Sleep(need) if self.handle.sleep_unless(need, || task.finds(need)) => {
                AfterTurn::Nothing
            }
            Next::SleepAtMost(time)
                if self.handle.sleep_unless(Need::Input, || task.finds(Need::Input)) =>
            {
                return AfterTurn::Wait(time);
            }
            Next::Sleep(_) | Next::SleepAtMost(_) => AfterTurn::Turn,
            Next::Pause(time) => AfterTurn::Wait(time),
            Next::End => AfterTurn::Nothing,
        };
        self.pending = !matches!(after, AfterTurn::Nothing);
        after
    }

    fn commit(&mut self, promises: Vec<Promise>) {
        self.watched(|task| task.commit(promises));
    }

    fn forget(&mut self, segments: Vec<String>) {
        self.watched(|task| task.forget(segments));
    }

    /// Runs `work` on the task, and reports a panic.
    fn watched(&mut self, work: impl FnOnce(&mut BoltTask)) {
        let Some(task) = &mut self.task else { return };
        if let Err(panic) = caught(|| work(task)) {
            self.reporter
                .send(Report::Panicked { message: panic_message(panic.as_ref()), tuple: None });
            self.task = None;
        }
    }
}

pub(crate) use crate::panics::message as panic_message;

/// A bolt's task that shares an executor with others.
pub(crate) struct BoltActor(pub TaskShell);

impl BoltActor {
    fn after(after: AfterTurn, ctx: &mut Context<Self>) {
        match after {
            // A real yield: everything else that is ready on this executor runs first.
            AfterTurn::Turn => {
                let turn = wrap_future::<_, Self>(tokio::task::yield_now());
                ctx.spawn(turn.map(|(), actor, ctx| {
                    let after = actor.0.due();
                    Self::after(after, ctx);
                }));
            }
            AfterTurn::Wait(time) => {
                ctx.run_later(time, |actor, ctx| {
                    let after = actor.0.time_over();
                    Self::after(after, ctx);
                });
            }
            AfterTurn::Nothing => {}
        }
    }
}

impl Actor for BoltActor {
    type Context = Context<Self>;
}

impl Handler<WakeUp> for BoltActor {
    type Result = ();

    fn handle(&mut self, _: WakeUp, ctx: &mut Self::Context) {
        let after = self.0.woken();
        Self::after(after, ctx);
    }
}

impl Handler<Control> for BoltActor {
    type Result = ();

    fn handle(&mut self, control: Control, ctx: &mut Self::Context) {
        match control {
            Control::Start => {
                let after = self.0.woken();
                Self::after(after, ctx);
            }
            Control::Commit(promises) => self.0.commit(promises),
            Control::Forget(segments) => self.0.forget(segments),
            Control::Shutdown => {
                self.0.task = None;
                ctx.stop();
            }
            Control::Inject(_)
            | Control::StopSource
            | Control::Completed(_)
            | Control::Pause(_) => {}
        }
    }
}

/// A bolt's task that blocks and therefore has a thread of its own.
pub(crate) struct BlockingActor {
    shell: TaskShell,
    /// An executor for the timers of this task, whose own thread may block.
    timers: ArbiterHandle,
}

impl BlockingActor {
    /// Creates the actor; its waits run on the executor `timers`.
    pub(crate) fn new(shell: TaskShell, timers: ArbiterHandle) -> Self {
        Self { shell, timers }
    }

    fn after(&self, after: AfterTurn, me: Addr<Self>) {
        match after {
            AfterTurn::Turn => me.do_send(Turn),
            AfterTurn::Wait(time) => {
                self.timers.spawn(async move {
                    tokio::time::sleep(time).await;
                    me.do_send(TimeOver);
                });
            }
            AfterTurn::Nothing => {}
        }
    }
}

impl Actor for BlockingActor {
    type Context = SyncContext<Self>;
}

impl Handler<WakeUp> for BlockingActor {
    type Result = ();

    fn handle(&mut self, _: WakeUp, ctx: &mut Self::Context) {
        let after = self.shell.woken();
        self.after(after, ctx.address());
    }
}

impl Handler<Turn> for BlockingActor {
    type Result = ();

    fn handle(&mut self, _: Turn, ctx: &mut Self::Context) {
        let after = self.shell.due();
        self.after(after, ctx.address());
    }
}

impl Handler<TimeOver> for BlockingActor {
    type Result = ();

    fn handle(&mut self, _: TimeOver, ctx: &mut Self::Context) {
        let after = self.shell.time_over();
        self.after(after, ctx.address());
    }
}

impl Handler<Control> for BlockingActor {
    type Result = ();

    fn handle(&mut self, control: Control, ctx: &mut Self::Context) {
        match control {
            Control::Start => {
                let after = self.shell.woken();
                self.after(after, ctx.address());
            }
            Control::Commit(promises) => self.shell.commit(promises),
            Control::Forget(segments) => self.shell.forget(segments),
            // The thread ends when the last address is dropped. Stopping the actor would only start
            // another.
            Control::Shutdown => self.shell.task = None,
            Control::Inject(_)
            | Control::StopSource
            | Control::Completed(_)
            | Control::Pause(_) => {}
        }
    }
}
