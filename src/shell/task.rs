//! The task of a bolt: writes tuples, reads answers, and watches deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use super::broken;
use super::encode::{Prefix, push_tuple};
use super::framing::END;
use super::handshake::task_id;
use super::link::Link;
use super::message::{self, ChildMessage, Emit, RawId};
use super::pending::{Given, Pending};
use super::streams::EmitTarget;
use super::{LogLevel, level_of};
use crate::bolt::{AfterFailure, Bolt, BoltContext, Output};
use crate::clock::SharedClock;
use crate::error::{Error, Kind, Result};
use crate::event_time::EventTime;
use crate::tuple::{Streams, Tuple};
use crate::value::Value;

/// The number of bytes that are gathered before a write. More would save system calls, but doesn't
/// fit into a pipe.
const WRITE_BYTES: usize = 32 << 10;

/// The number of bytes that may wait for a child that reads slowly. Beyond it the task waits for
/// the child.
const UNWRITTEN_MAX: usize = 256 << 10;

/// The number of messages that are read before their tuples are emitted. More would make larger
/// batches than a topology asks for.
const MESSAGES_PER_KEEP: usize = 256;

/// The number of such readings in one turn, before other work comes.
const KEEPS_PER_TURN: usize = 16;

/// The longest wait for a child before deadlines are checked.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// The bounds of the time between two heartbeats.
const HEARTBEAT_MIN: Duration = Duration::from_millis(200);
const HEARTBEAT_MAX: Duration = Duration::from_secs(3);

/// The largest number of measured values that are shown.
const METRICS_MAX: usize = 8;

pub(super) struct TaskSettings {
    pub ticks: Option<Duration>,
    pub ack_within: Duration,
    pub max_pending: usize,
    pub timeout: Duration,
    pub log: LogLevel,
    pub streams: Streams,
}

/// A bolt's task and its child.
pub(super) struct ShellTask {
    link: Link,
    pending: Pending,
    settings: TaskSettings,
    context: BoltContext,
    clock: SharedClock,
    /// The text around the values of a tuple, for each input.
    prefixes: Vec<Prefix>,
    target: EmitTarget,
    /// The time at which the clock was last read.
    now: Duration,
    next_tick: Duration,
    /// The time of the heartbeat that the child hasn't answered.
    asked_at: Option<Duration>,
    heard_at: Duration,
    /// The event time of the newest call.
    time: EventTime,
    /// The child's last `error` message.
    last_error: Option<String>,
    /// The tuple that the child failed last, until it acknowledges another.
    blamed: Option<Box<[Value]>>,
    metrics: BTreeMap<String, String>,
    says: Option<String>,
    /// Buffers that are kept from message to message.
    values: Vec<Value>,
    anchors: Vec<u64>,
    told: Vec<usize>,
}

impl ShellTask {
    pub(crate) fn new(
        link: Link,
        pending: Pending,
        settings: TaskSettings,
        context: &BoltContext,
        clock: SharedClock,
    ) -> Self {
        let now = clock.monotonic();
        let prefixes =
            Prefix::of_inputs(&context.outline, &context.component, context.inputs.len());
        let next_tick = settings.ticks.map_or(Duration::MAX, |ticks| now + ticks);
        Self {
            link,
            pending,
            target: EmitTarget::new(&settings.streams, &context.outline, &context.component),
            settings,
            context: context.clone(),
            clock,
            prefixes,
            now,
            next_tick,
            asked_at: None,
            heard_at: now,
            time: EventTime::UNKNOWN,
            last_error: None,
            blamed: None,
            metrics: BTreeMap::new(),
            says: None,
            values: Vec::new(),
            anchors: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Gives a tuple to the child.
    fn give(&mut self, mut given: Given) {
        given.since = self.now;
        let number = self.pending.next();
        let out = self.link.out();
        self.prefixes[given.input].push(&given.values, number, out);
        self.pending.add(given);
    }

    /// Writes and reads without waiting, and does what is due. With `at_any_rate` it also reads
    /// while emitted tuples find no room.
    fn turn(&mut self, at_any_rate: bool, out: &mut Output) -> Result<()> {
        self.link.write()?;
        let mut has_read_all = false;
        for _ in 0..KEEPS_PER_TURN {
            if out.is_blocked() && !at_any_rate {
                break;
            }
            if !self.take_messages(out)? {
                // Only after this read is it known that the child has written nothing more.
                let has_read = self.link.read().map_err(|error| self.with_last_error(error))?;
                if !has_read {
                    has_read_all = true;
                    break;
                }
            }
        }
        self.now = self.clock.monotonic();
        self.keep_times(has_read_all, out)?;
        self.link.write()?;
        Ok(())
    }

    /// Adds the child's last `error` message to an error, which says more than how the child ended.
    fn with_last_error(&self, error: Error) -> Error {
        match &self.last_error {
            Some(last) => broken(format!("{}; its last error: {last}", error.chain())),
            None => error,
        }
    }

    /// Takes some of the messages that were read. Returns false if there is no whole one.
    fn take_messages(&mut self, out: &mut Output) -> Result<bool> {
        let mut taken = 0;
        // The buffer is taken out, so that a message can borrow from it while `self` is changed.
        let mut inbound = std::mem::take(&mut self.link.inbound);
        let result = loop {
            let text = match inbound.next() {
                Ok(Some(text)) => text,
                Ok(None) => break Ok(taken > 0),
                Err(flaw) => break Err((flaw, None)),
            };
            if let Err(flaw) = self.take(text, out) {
                break match flaw {
                    Trouble::Flaw(flaw) => Err((flaw, Some(text.to_owned()))),
                    Trouble::Error(error) => {
                        self.link.inbound = inbound;
                        return Err(error);
                    }
                };
            }
            taken += 1;
            if taken == MESSAGES_PER_KEEP {
                break Ok(true);
            }
        };
        self.link.inbound = inbound;
        if taken > 0 {
            (self.heard_at, self.asked_at) = (self.now, None);
        }
        out.keep()?;
        result.map_err(|(flaw, text)| self.link.garbage(&flaw, text.as_deref()))
    }

    #[inline]
    fn take(&mut self, text: &str, out: &mut Output) -> Result<(), Trouble> {
        let mut values = std::mem::take(&mut self.values);
        let mut anchors = std::mem::take(&mut self.anchors);
        let result = message::read(text, &mut values, &mut anchors)
            .map_err(Trouble::Flaw)
            .and_then(|message| self.obey(message, &mut values, &anchors, out));
        (self.values, self.anchors) = (values, anchors);
        result
    }

    fn obey(
        &mut self,
        message: ChildMessage<'_>,
        values: &mut Vec<Value>,
        anchors: &[u64],
        out: &mut Output,
    ) -> Result<(), Trouble> {
        match message {
            ChildMessage::Emit(emit) => self.emit(&emit, values, anchors, out)?,
            ChildMessage::Ack(id) => {
                let number = self.known(id)?;
                if self.pending.take(number).is_some() {
                    self.blamed = None;
                }
            }
            ChildMessage::Fail(id) => {
                let number = self.known(id)?;
                if let Some(given) = self.pending.take(number) {
                    self.blamed = Some(given.values.clone());
                    let what = match &self.last_error {
                        Some(last) => format!("the child failed the tuple: {last}"),
                        None => "the child failed the tuple".into(),
                    };
                    self.failed(given, &what, out)?;
                }
            }
            ChildMessage::Log { text, level } => {
                if level_of(level) >= self.settings.log {
                    self.link.child().process.say(self.now, Some(&text));
                }
            }
            ChildMessage::Error(text) => {
                self.link.child().process.say(self.now, Some(&format!("error: {text}")));
                self.last_error = Some(text.into_owned());
            }
            ChildMessage::Metrics { name, value } => {
                if self.metrics.len() < METRICS_MAX || self.metrics.contains_key(&*name) {
                    self.metrics.insert(name.into_owned(), value.to_owned());
                }
                let shown: Vec<_> =
                    self.metrics.iter().map(|(name, value)| format!("{name}={value}")).collect();
                self.says = Some(shown.join(" "));
            }
            ChildMessage::Pid | ChildMessage::Sync => {}
        }
        Ok(())
    }

    /// Returns the number in an id of the child, if the child was ever given that id.
    fn known(&self, id: RawId<'_>) -> Result<u64, Trouble> {
        let number = id.number().filter(|number| *number < self.pending.next());
        number.ok_or_else(|| Trouble::Flaw(format!("the id {}, which it was never given", id.0)))
    }

    fn emit(
        &mut self,
        emit: &Emit<'_>,
        values: &mut Vec<Value>,
        anchors: &[u64],
        out: &mut Output,
    ) -> Result<(), Trouble> {
        let (stream, direct) = self.target.of(emit, values).map_err(Trouble::Flaw)?;
        let times = anchors.iter().filter_map(|anchor| Some(self.pending.get(*anchor)?.time));
        out.set_time(times.max().unwrap_or(self.time));
        match direct {
            Some(task) => out.emit_direct(stream, task, values.drain(..)),
            None if emit.wants_tasks => {
                self.told.clear();
                out.emit_told(stream, None, values.drain(..), &mut self.told);
                let ids: Vec<_> = self.told.iter().map(|task| task_id(*task)).collect();
                let ids = format!("{ids:?}");
                self.link.out().extend_from_slice(ids.as_bytes());
                self.link.out().extend_from_slice(END);
            }
            None => out.emit_to(stream, values.drain(..)),
        }
        Ok(())
    }

    /// Handles a failed tuple as `on_error` says.
    fn failed(&mut self, mut given: Given, what: &str, out: &mut Output) -> Result<(), Trouble> {
        out.count_late_failure();
        match self.context.late_failures.decide(Kind::Transient, given.retries) {
            AfterFailure::Again(wait) => {
                given.retries += 1;
                self.pending.retry_at(self.now + wait, given);
            }
            AfterFailure::DeadLetter => {
                out.bury(given.input, given.values, Error::rejected(what));
            }
            AfterFailure::Stop => return Err(Trouble::Error(Error::fatal(what))),
        }
        Ok(())
    }

    /// Sends ticks and heartbeats, gives tuples again, and gives up those that take too long.
    /// `has_read_all` is true if every message of the child has been read.
    fn keep_times(&mut self, has_read_all: bool, out: &mut Output) -> Result<()> {
        let now = self.now;
        if let Some(ticks) = self.settings.ticks.filter(|_| now >= self.next_tick) {
            let number = self.pending.add_nothing();
            let seconds = Value::Int(ticks.as_secs().max(1).cast_signed());
            push_tuple(self.link.out(), "__system", "__tick", -1, &[seconds], number);
            // Missed ticks aren't sent later.
            self.next_tick = now + ticks;
        }
        if self.asked_at.is_none() && now >= self.heard_at + self.heartbeat_every() {
            let number = self.pending.add_nothing();
            let heartbeat = format!(
                "{{\"id\":\"{number}\",\"comp\":null,\"stream\":\"__heartbeat\",\"task\":-1,\
                 \"tuple\":[]}}\nend\n"
            );
            self.link.out().extend_from_slice(heartbeat.as_bytes());
            self.asked_at = Some(now);
            // A heartbeat is never acknowledged.
            self.pending.take(number);
        }
        while let Some(given) = self.pending.take_due(now) {
            self.give(given);
        }
        if !has_read_all {
            return Ok(());
        }
        if let Some(asked) = self.asked_at
            && now >= asked + self.settings.timeout
        {
            let what = format!("it has said nothing for {} s", (now - asked).as_secs());
            return Err(self.link.hangs(&what));
        }
        while let Some((number, given)) = self.pending.oldest()
            && now >= given.since + self.settings.ack_within
        {
            let Some(given) = self.pending.take(number) else { break };
            let what = format!(
                "the child didn't acknowledge the tuple within {}{}",
                crate::units::Interval(self.settings.ack_within),
                if self.settings.ticks.is_none() { " (a batching bolt needs `ticks`)" } else { "" }
            );
            self.failed(given, &what, out).map_err(|trouble| match trouble {
                Trouble::Error(error) => error,
                Trouble::Flaw(flaw) => broken(flaw),
            })?;
        }
        Ok(())
    }

    fn heartbeat_every(&self) -> Duration {
        (self.settings.timeout / 10).clamp(HEARTBEAT_MIN, HEARTBEAT_MAX)
    }

    /// Returns the time at which the task must act even if the child writes nothing.
    fn next_deadline(&self) -> Duration {
        let sign_of_life = match self.asked_at {
            Some(asked) => asked + self.settings.timeout,
            None => self.heard_at + self.heartbeat_every(),
        };
        let given = self.pending.oldest().map(|(_, given)| given.since + self.settings.ack_within);
        let times = [Some(sign_of_life), Some(self.next_tick), self.pending.next_due(), given];
        times.into_iter().flatten().min().unwrap_or(Duration::MAX)
    }

    /// Works until a condition holds, and waits for the child in between.
    fn work_until(
        &mut self,
        out: &mut Output,
        holds: impl Fn(&Self, &Output) -> bool,
    ) -> Result<()> {
        while !holds(self, out) {
            if self.context.ending.is_announced() {
                return Err(broken("the task ends"));
            }
            let wait = self.next_deadline().saturating_sub(self.clock.monotonic()).min(WAIT_MAX);
            if !self.link.inbound.has_line() {
                self.link.wait(wait);
            }
            self.turn(true, out)?;
        }
        Ok(())
    }
}

/// The reason for which a message wasn't taken.
enum Trouble {
    /// The message isn't part of the protocol.
    Flaw(String),
    /// The message is right, but its effect is an error.
    Error(Error),
}

impl Bolt for ShellTask {
    #[inline]
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        if self.pending.is_full(self.settings.max_pending) {
            let max = self.settings.max_pending;
            self.turn(true, out)?;
            self.work_until(out, |task, _| !task.pending.is_full(max))?;
        }
        self.time = tuple.time;
        let values = tuple.values.iter().map(Value::detached).collect();
        let (input, time, since) = (tuple.input, tuple.time, self.now);
        self.give(Given { values, input, time, retries: 0, since });
        if self.link.unwritten() >= WRITE_BYTES {
            self.turn(false, out)?;
            if self.link.unwritten() > UNWRITTEN_MAX {
                // Once the emitted tuples find no room, the child's next answers can wait too. What
                // is left of this batch is then held for the child, and no other batch comes.
                self.work_until(out, |task, out| {
                    task.link.unwritten() <= UNWRITTEN_MAX || out.is_blocked()
                })?;
            }
        }
        Ok(())
    }

    fn watermark(&mut self, time: EventTime, out: &mut Output) -> Result<()> {
        self.time = time;
        if !self.pending.is_empty() {
            out.hold_watermark();
        }
        Ok(())
    }

    fn idle(&mut self, out: &mut Output) -> Result<()> {
        self.turn(false, out)?;
        let deadline = self.next_deadline();
        if out.is_blocked() {
            // The task is called again once there is room.
            return Ok(());
        }
        if self.link.inbound.has_line() {
            self.context.waker.wake();
        }
        self.link.child().wait_for_news(self.link.unwritten() > 0, Some(deadline))
    }

    fn barrier(&mut self, _: u64, out: &mut Output) -> Result<()> {
        self.turn(true, out)?;
        self.work_until(out, |task, _| task.pending.is_empty())
    }

    fn blames(&self) -> Option<&[Value]> {
        self.blamed.as_deref().or_else(|| self.pending.only().map(|given| &*given.values))
    }

    fn says(&mut self) -> Option<String> {
        self.says.take()
    }
}
