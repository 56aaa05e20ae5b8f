//! The child of a spout: the commands it gets, and its answers.

use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::net::unix::pipe;

use super::framing::END;
use super::handshake::task_id;
use super::link::Link;
use super::message::{self, ChildMessage};
use super::streams::EmitTarget;
use super::tracked::{OwnId, Tracked};
use super::{LogLevel, level_of};
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::tuple::StreamId;
use crate::value::Value;

/// A spout's child.
pub(super) struct SpoutChild {
    pub link: Link,
    target: EmitTarget,
    pub tracked: Tracked,
    /// The number of commands that it hasn't answered by `sync`.
    unanswered: usize,
    /// The time of its last command or message.
    heard_at: Duration,
    timeout: Duration,
    log: LogLevel,
    clock: SharedClock,
    /// The values of the last emit.
    pub values: Vec<Value>,
    anchors: Vec<u64>,
    metrics: Option<String>,
}

/// A tuple that a child has emitted. The values are in [`SpoutChild::values`].
pub(super) struct Emitted {
    pub stream: StreamId,
    /// The number of the one task that gets the tuple, for a direct emit.
    pub task: Option<usize>,
    pub id: Option<OwnId>,
    /// True if the child waits for the ids of the tasks that get the tuple.
    pub wants_tasks: bool,
}

/// The meaning of the child's newest messages.
pub(super) enum Said {
    Emit(Emitted),
    /// The child has answered every command.
    Done,
    /// No whole message has been read.
    Nothing,
}

/// The kind of command that a child gets next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Acknowledgements and failures of tuples.
    News,
    /// A request for tuples.
    Next,
    /// No command, because too many of its tuples are open.
    Nothing,
}

impl SpoutChild {
    pub(crate) fn new(
        link: Link,
        target: EmitTarget,
        tracked: Tracked,
        (timeout, log): (Duration, LogLevel),
        clock: SharedClock,
    ) -> Self {
        let mut child = Self {
            link,
            target,
            tracked,
            unanswered: 0,
            heard_at: clock.monotonic(),
            timeout,
            log,
            clock,
            values: Vec::new(),
            anchors: Vec::new(),
            metrics: None,
        };
        child.ask("activate", "\"\"");
        child
    }

    /// Adds a command. `id` is JSON.
    pub(crate) fn ask(&mut self, command: &str, id: &str) {
        let text = format!("{{\"command\":\"{command}\",\"id\":{id}}}");
        self.link.out().extend_from_slice(text.as_bytes());
        self.link.out().extend_from_slice(END);
        self.unanswered += 1;
        self.heard_at = self.clock.monotonic();
    }

    /// Adds the command that comes next, if at most this many tuples may be open.
    pub(crate) fn ask_next(&mut self, max_pending: usize) -> Asked {
        if let Some(id) = self.tracked.next_fail() {
            self.ask("fail", &id);
            return Asked::News;
        }
        // Several at once, since the only answer to each is `sync`.
        let acks: Vec<OwnId> = self.tracked.next_acks().collect();
        for id in &acks {
            self.ask("ack", id);
        }
        if !acks.is_empty() {
            return Asked::News;
        }
        if self.tracked.open() >= max_pending {
            return Asked::Nothing;
        }
        self.ask("next", "\"\"");
        Asked::Next
    }

    /// Returns true if the child has answered every command.
    pub(crate) fn is_idle(&self) -> bool {
        self.unanswered == 0
    }

    /// Takes the next of the messages that were read.
    pub(crate) fn hear(&mut self) -> Result<Said> {
        let mut inbound = std::mem::take(&mut self.link.inbound);
        let heard = loop {
            if self.unanswered == 0 {
                break Ok(Said::Done);
            }
            let text = match inbound.next() {
                Ok(Some(text)) => text,
                Ok(None) => break Ok(Said::Nothing),
                Err(flaw) => break Err((flaw, None)),
            };
            self.heard_at = self.clock.monotonic();
            match self.obey(text) {
                Ok(Some(emitted)) => break Ok(Said::Emit(emitted)),
                Ok(None) => {}
                Err(flaw) => break Err((flaw, Some(text.to_owned()))),
            }
        };
        self.link.inbound = inbound;
        heard.map_err(|(flaw, text)| self.link.garbage(&flaw, text.as_deref()))
    }

    fn obey(&mut self, text: &str) -> Result<Option<Emitted>, String> {
        let message = message::read(text, &mut self.values, &mut self.anchors)?;
        match message {
            ChildMessage::Emit(emit) => {
                let (stream, task) = self.target.of(&emit, &mut self.values)?;
                let id = emit.id.map(|id| id.0.into());
                let wants_tasks = emit.wants_tasks;
                return Ok(Some(Emitted { stream, task, id, wants_tasks }));
            }
            ChildMessage::Sync => self.unanswered = self.unanswered.saturating_sub(1),
            ChildMessage::Log { text, level } => {
                if level_of(level) >= self.log {
                    self.link.child().process.say(self.heard_at, Some(&text));
                }
            }
            ChildMessage::Error(text) => {
                self.link.child().process.say(self.heard_at, Some(&format!("error: {text}")));
            }
            ChildMessage::Metrics { name, value } => {
                self.metrics = Some(format!("{name}={value}"));
            }
            ChildMessage::Pid => {}
            ChildMessage::Ack(_) | ChildMessage::Fail(_) => {
                return Err("an acknowledgement, which only bolts send".into());
            }
        }
        Ok(None)
    }

    /// Tells the child which tasks got its last tuple.
    pub(crate) fn tell_tasks(&mut self, tasks: &[usize]) {
        let ids: Vec<i64> = tasks.iter().map(|task| task_id(*task)).collect();
        self.link.out().extend_from_slice(format!("{ids:?}").as_bytes());
        self.link.out().extend_from_slice(END);
    }

    /// Returns the newest measured value for people, once.
    pub(crate) fn take_metrics(&mut self) -> Option<String> {
        self.metrics.take()
    }

    /// Checks that the child doesn't take too long to answer.
    pub(crate) fn check_time(&self) -> Result<()> {
        let silent = self.clock.monotonic().saturating_sub(self.heard_at);
        if self.unanswered > 0 && silent >= self.timeout {
            let what = format!("it hasn't answered for {} s", silent.as_secs());
            return Err(self.link.hangs(&what));
        }
        Ok(())
    }
}

/// The pipes of a child for a task on an executor, which can't block.
pub(super) struct AsyncPipes {
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
}

impl AsyncPipes {
    pub(crate) fn of(link: &Link) -> Result<Self> {
        let failed = |cause| Error::fatal("can't wait for the child's pipes").because(cause);
        let (stdin, stdout) = (link.child().stdin.try_clone(), link.child().stdout.try_clone());
        Ok(Self {
            stdin: stdin.and_then(pipe::Sender::from_owned_fd).map_err(failed)?,
            stdout: stdout.and_then(pipe::Receiver::from_owned_fd).map_err(failed)?,
        })
    }

    /// Waits until the child has written something or has room for more bytes, and then reads or
    /// writes.
    pub(crate) async fn turn(&self, link: &mut Link) -> Result<()> {
        self.write(link)?;
        let is_readable = {
            let wants_room = link.unwritten() > 0;
            let room = async {
                if wants_room { self.stdin.writable().await } else { std::future::pending().await }
            };
            let (readable, room) = (std::pin::pin!(self.stdout.readable()), std::pin::pin!(room));
            matches!(select(readable, room).await, Either::Left(_))
        };
        if is_readable {
            link.read_by(|_, room| self.stdout.try_read(room))?;
            return Ok(());
        }
        self.write(link)
    }

    fn write(&self, link: &mut Link) -> Result<()> {
        link.write_by(|_, bytes| self.stdin.try_write(bytes))?;
        Ok(())
    }
}
