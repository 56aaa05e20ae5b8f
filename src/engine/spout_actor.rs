//! The actor of a spout's task. It runs the source's loop as a separate future, and sends barriers
//! between two emits.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::task::JoinHandle;

use super::bolt_actor::panic_message;
use crate::clock::SharedClock;
use crate::error::{Kind, Result};
use crate::flow::{Port, SplitClock, SpoutOutput, TaskHandle, WakeUp};
use crate::panics::caught;
use crate::protocol::{Alive, Control, Doing, Messages, Meter, Report, Reporter};
use crate::spout::Spout;

/// The bounds of the interval at which splits are checked for silence. A shorter interval costs
/// more wakes; a longer one delays windows while a source is silent.
const IDLE_CHECK_EVERY_MIN: Duration = Duration::from_millis(10);
const IDLE_CHECK_EVERY_MAX: Duration = Duration::from_secs(1);

/// The message with the result of a source's loop.
#[derive(Message)]
#[rtype(result = "()")]
struct LoopEnded(Exit);

enum Exit {
    Ended(Result<()>),
    Panicked(String),
}

/// A spout's task.
pub(crate) struct SpoutActor {
    port: Rc<RefCell<Port>>,
    handle: Arc<TaskHandle>,
    /// The source before its start; `None` if it couldn't be built.
    source: Option<(Box<dyn Spout>, SpoutOutput)>,
    running: Option<JoinHandle<()>>,
    in_engine: Rc<Cell<bool>>,
    linger: Option<Duration>,
    meter: Arc<Meter>,
    clock: SharedClock,
    reporter: Reporter,
    _alive: Arc<Alive>,
}

impl SpoutActor {
    /// Creates the actor of a source that hasn't been started. `arities` are those of its streams,
    /// the hidden stream last.
    pub(crate) fn new(
        (component, messages): (String, Arc<Messages>),
        source: Option<Box<dyn Spout>>,
        port: Port,
        handle: Arc<TaskHandle>,
        (arities, linger): (Vec<usize>, Option<Duration>),
        (meter, clock, reporter): (Arc<Meter>, SharedClock, Reporter),
        alive: Arc<Alive>,
    ) -> Self {
        let (port, in_engine) = (Rc::new(RefCell::new(port)), Rc::new(Cell::new(false)));
        let output = SpoutOutput::new(
            Rc::clone(&port),
            (component, messages),
            arities,
            Arc::clone(&meter),
            Arc::clone(&clock),
            Rc::clone(&in_engine),
            Arc::clone(&alive),
        );
        let source = source.map(|source| (source, output));
        Self {
            port,
            handle,
            source,
            running: None,
            in_engine,
            linger,
            meter,
            clock,
            reporter,
            _alive: alive,
        }
    }

    /// Runs the source's loop. Sends gathered tuples whenever the source waits.
    fn watched(
        &self,
        mut source: Box<dyn Spout>,
        mut output: SpoutOutput,
    ) -> impl Future<Output = Exit> + use<> {
        let mut source_loop = Box::pin(async move { source.run(&mut output).await });
        let (port, in_engine, meter) =
            (Rc::clone(&self.port), Rc::clone(&self.in_engine), Arc::clone(&self.meter));
        let (linger, clock) = (self.linger, Arc::clone(&self.clock));
        let reporter = self.reporter.clone();
        let mut lingering: Option<crate::clock::Sleep> = None;
        std::future::poll_fn(move |cx: &mut TaskContext<'_>| {
            meter.begin_turn(clock.monotonic());
            let polled = caught(|| source_loop.as_mut().poll(cx));
            meter.end_turn(clock.monotonic());
            if meter.ends_rest() {
                reporter.send(Report::Emits);
            }
            match polled {
                Err(panic) => return Poll::Ready(Exit::Panicked(panic_message(panic.as_ref()))),
                Ok(Poll::Ready(result)) => return Poll::Ready(Exit::Ended(result)),
                Ok(Poll::Pending) => {}
            }
            if !in_engine.get() && port.borrow().emitter.is_gathering() {
                let sleep =
                    linger.map(|linger| lingering.get_or_insert_with(|| clock.sleep(linger)));
                if sleep.is_none_or(|sleep| Pin::new(sleep).poll(cx).is_ready()) {
                    lingering = None;
                    port.borrow_mut().flush();
                }
            }
            if !in_engine.get() {
                meter.set_doing(Doing::Idle);
            }
            Poll::Pending
        })
    }

    /// Reports the cursors of a barrier as soon as all data before them would survive a power loss.
    /// The barrier itself is sent without this wait.
    fn tell(&self, cursors: Report) {
        let Some(secure) = self.port.borrow().secure() else { return self.reporter.send(cursors) };
        let reporter = self.reporter.clone();
        drop(tokio::task::spawn_blocking(move || {
            reporter.send(match secure() {
                Ok(()) => cursors,
                Err(error) => Report::Failed(error.chain()),
            });
        }));
    }

    /// Reports the event time reached in the checkpoint, and then checks regularly for silent
    /// splits.
    fn watch_event_time(&self, ctx: &mut Context<Self>) {
        let mut port = self.port.borrow_mut();
        port.tell_event_time(self.clock.monotonic());
        let Some(timeout) = port.split_clock.as_ref().and_then(SplitClock::idle_timeout) else {
            return;
        };
        let every = (timeout / 4).clamp(IDLE_CHECK_EVERY_MIN, IDLE_CHECK_EVERY_MAX);
        ctx.run_interval(every, |actor, _| {
            let now = actor.clock.monotonic();
            actor.port.borrow_mut().tell_event_time(now);
        });
    }

    fn source_done(&mut self, report: Report) {
        self.running = None;
        self.meter.set_doing(Doing::Ended);
        self.reporter.send(report);
    }
}

impl Actor for SpoutActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.handle.bind(ctx.address().recipient());
    }
}

impl Handler<LoopEnded> for SpoutActor {
    type Result = ();

    fn handle(&mut self, LoopEnded(exit): LoopEnded, _: &mut Self::Context) {
        if self.running.is_none() {
            return;
        }
        match exit {
            Exit::Ended(Ok(())) => {
                self.port.borrow_mut().end(self.clock.monotonic());
                self.source_done(Report::SourceEnded);
            }
            Exit::Ended(Err(error)) if error.kind() == Kind::Lost => {
                self.reporter.send(Report::Broken { cause: error.chain(), tuple: None });
            }
            Exit::Ended(Err(error)) => self.reporter.send(Report::Failed(error.chain())),
            Exit::Panicked(message) => {
                self.reporter.send(Report::Panicked { message, tuple: None })
            }
        }
    }
}

impl Handler<WakeUp> for SpoutActor {
    type Result = ();

    fn handle(&mut self, _: WakeUp, _: &mut Self::Context) {
        self.port.borrow_mut().woken();
    }
}

impl Handler<Control> for SpoutActor {
    type Result = ();

    fn handle(&mut self, control: Control, ctx: &mut Self::Context) {
        match control {
            Control::Start => {
                self.watch_event_time(ctx);
                if let Some((source, output)) = self.source.take() {
                    let (source_loop, me) = (self.watched(source, output), ctx.address());
                    let watched = async move { me.do_send(LoopEnded(source_loop.await)) };
                    self.running = Some(tokio::task::spawn_local(watched));
                }
            }
            Control::Inject(mark) => {
                let mut port = self.port.borrow_mut();
                let cursors = port.inject(&mark, self.clock.monotonic());
                let times = port.moved_times();
                drop(port);
                self.tell(Report::Cursors { epoch: mark.barrier.epoch, cursors, times });
            }
            Control::StopSource => {
                // Tuples that were pushed but not emitted come after the cursor, so they are read
                // again.
                if let Some(running) = self.running.take() {
                    running.abort();
                    self.port.borrow_mut().flush();
                    self.source_done(Report::SourceStopped);
                }
            }
            Control::Shutdown => {
                if let Some(running) = self.running.take() {
                    running.abort();
                }
                ctx.stop();
            }
            Control::Completed(epoch) => self.port.borrow_mut().completed(epoch),
            Control::Pause(paused) => self.port.borrow_mut().pause(paused),
            Control::Commit(_) | Control::Forget(_) => {}
        }
    }
}
