//! Starts the actors of tasks that are ready.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use actix::{Actor, Arbiter, SyncArbiter};
use tracing::Span;

use super::bolt_actor::{BlockingActor, BoltActor, TaskShell};
use super::spout_actor::SpoutActor;
use super::wiring::{Ready, ReadyKind};
use crate::clock::SharedClock;
use crate::coordinator::{TaskLine, TaskRole};
use crate::protocol::{Report, log};

/// The threads on which tasks run.
pub(crate) struct Executors {
    lanes: Vec<Arbiter>,
    /// The coordinator's executor, which no task can block.
    pub control: Arbiter,
    clock: SharedClock,
}

impl Executors {
    /// Starts one executor for each core, and the coordinator's.
    pub(crate) fn start(clock: SharedClock) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let executor = || {
            let (arbiter, span) = (Arbiter::new(), Span::current());
            arbiter.spawn_fn(move || log::stay_in(span));
            arbiter
        };
        Self { lanes: (0..cores).map(|_| executor()).collect(), control: executor(), clock }
    }

    /// Starts the actor of a task.
    pub(crate) fn launch(&self, task: Ready) -> TaskLine {
        let Ready { lane, meter, handle, kind } = task;
        let executor = self.lanes[lane % self.lanes.len()].handle();
        match kind {
            ReadyKind::Spout {
                config,
                context,
                messages,
                port,
                arities,
                linger,
                reporter,
                alive,
            } => {
                let parts = (Arc::clone(&meter), Arc::clone(&self.clock), reporter.clone());
                let actor = SpoutActor::start_in_arbiter(&executor, move |_| {
                    let built = config.build(&context);
                    let source =
                        built.map_err(|error| reporter.send(Report::Failed(error.chain())));
                    let who = (context.component, messages);
                    SpoutActor::new(
                        who,
                        source.ok(),
                        *port,
                        handle,
                        (arities, linger),
                        parts,
                        alive,
                    )
                });
                TaskLine { role: TaskRole::Spout, mailbox: actor.recipient(), meter }
            }
            ReadyKind::Bolt { task, blocks, sink } => {
                let role = if sink { TaskRole::Sink } else { TaskRole::Bolt };
                let shell = TaskShell::new(*task, Arc::clone(&handle));
                let mailbox = if blocks {
                    let (shell, timers) = (Mutex::new(Some(shell)), self.control.handle());
                    let span = Span::current();
                    let actor = SyncArbiter::start(1, move || {
                        log::stay_in(span.clone());
                        let shell = shell.lock().unwrap_or_else(PoisonError::into_inner).take();
                        BlockingActor::new(
                            shell.expect("one thread takes the one task"),
                            timers.clone(),
                        )
                    });
                    handle.bind(actor.clone().recipient());
                    actor.recipient()
                } else {
                    let actor = BoltActor::start_in_arbiter(&executor, |_| BoltActor(shell));
                    handle.bind(actor.clone().recipient());
                    actor.recipient()
                };
                TaskLine { role, mailbox, meter }
            }
        }
    }
}
