//! A task's end of the pipes to its child, with the buffers of both directions.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::broken;
use super::framing::{Inbound, quoted};
use super::warden::Child;
use crate::error::{Error, Result};

/// The bounds of the time for which answers gather while the child's input pipe is full. A child
/// answers each tuple by writes of its own, and a task that woke at each write would interrupt the
/// child each time. Longer could fill the child's output pipe.
const REST_MIN: Duration = Duration::from_micros(100);
const REST_MAX: Duration = Duration::from_millis(1);

/// With fewer bytes of answers after a rest, the next rest is longer.
const REST_BYTES_FEW: usize = 8 << 10;

/// With more bytes of answers after a rest, the next rest is shorter: a pipe holds twice as many.
const REST_BYTES_MANY: usize = 32 << 10;

/// A child and the buffers of its pipes.
pub(super) struct Link {
    child: Child,
    /// The bytes for the child, which aren't written yet from `written` on.
    out: Vec<u8>,
    written: usize,
    /// The bytes from the child.
    pub inbound: Inbound,
    /// The number of bytes that were read since the last wait.
    heard_bytes: usize,
    rest: Duration,
    /// True if the child has closed its standard output.
    has_ended: bool,
    /// The folder in which the child notes its process id, removed with the link.
    pid_dir: PathBuf,
}

impl Link {
    /// Creates the link to a child that was just started. The handshake is written first.
    pub(crate) fn new(child: Child, handshake: Vec<u8>, pid_dir: PathBuf) -> Self {
        Self {
            child,
            out: handshake,
            written: 0,
            inbound: Inbound::default(),
            heard_bytes: 0,
            rest: REST_MIN,
            has_ended: false,
            pid_dir,
        }
    }

    /// Returns the child.
    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    /// Returns the buffer of the bytes to write, so that more can be added.
    #[inline]
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Returns the number of bytes that aren't written.
    #[inline]
    pub(crate) fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes as much as the pipe takes. Returns true if it took something.
    pub(crate) fn write(&mut self) -> Result<bool> {
        self.write_by(|child, bytes| Ok(rustix::io::write(&child.stdin, bytes)?))
    }

    /// Does the same as [`Link::write`] by this function.
    pub(crate) fn write_by(
        &mut self,
        write: impl Fn(&Child, &[u8]) -> io::Result<usize>,
    ) -> Result<bool> {
        let before = self.written;
        while self.unwritten() > 0 {
            match write(&self.child, &self.out[self.written..]).map_err(|error| error.kind()) {
                Ok(bytes) => self.written += bytes,
                Err(ErrorKind::Interrupted) => {}
                Err(ErrorKind::WouldBlock) => break,
                // The child has closed its standard input. Its last messages are still to be read.
                Err(_) => {
                    self.written = self.out.len();
                    break;
                }
            }
        }
        let has_written = self.written > before;
        if self.unwritten() == 0 {
            self.out.clear();
            self.written = 0;
        } else if self.written > self.out.len() / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(has_written)
    }

    /// Reads once. Returns false if nothing was there.
    ///
    /// # Errors
    /// If the child has ended or the pipe can't be read.
    pub(crate) fn read(&mut self) -> Result<bool> {
        self.read_by(|child, room| Ok(rustix::io::read(&child.stdout, room)?))
    }

    /// Does the same as [`Link::read`] by this function.
    ///
    /// # Errors
    /// If the child has ended or the pipe can't be read.
    pub(crate) fn read_by(
        &mut self,
        read: impl Fn(&Child, &mut [u8]) -> io::Result<usize>,
    ) -> Result<bool> {
        if self.has_ended {
            return Err(self.describe_end());
        }
        loop {
            return match read(&self.child, self.inbound.room()) {
                Ok(0) => {
                    self.has_ended = true;
                    Err(self.describe_end())
                }
                Ok(bytes) => {
                    self.inbound.add(bytes);
                    self.heard_bytes += bytes;
                    Ok(true)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match self.child.process.is_known_to_have_exited() {
                        true => Err(self.describe_end()),
                        false => Ok(false),
                    }
                }
                Err(cause) => Err(broken("can't read from the child").because(cause)),
            };
        }
    }

    /// Waits until the child has written something or has room for what isn't written, but no
    /// longer than this. While the child's input pipe is full, the child has enough to do, and its
    /// answers gather for a while.
    pub(crate) fn wait(&mut self, at_most: Duration) {
        self.rest = next_rest(self.rest, std::mem::take(&mut self.heard_bytes));
        let mut pipes = Vec::with_capacity(2);
        if self.unwritten() > 0 {
            pipes.push(PollFd::new(&self.child.stdin, PollFlags::OUT));
            let rest = Timespec::try_from(self.rest.min(at_most)).ok();
            // A wait that a signal interrupts is only shorter.
            if poll(&mut pipes, rest.as_ref()).unwrap_or(0) > 0 {
                return;
            }
        }
        pipes.push(PollFd::new(&self.child.stdout, PollFlags::IN));
        let timeout = Timespec::try_from(at_most).ok();
        let _ = poll(&mut pipes, timeout.as_ref());
    }

    /// Kills the child because of a message that isn't part of the protocol, and returns the error.
    pub(crate) fn garbage(&self, flaw: &str, message: Option<&str>) -> Error {
        let line = message.map(|message| format!(", in {}", quoted(message.as_bytes())));
        let process = &self.child.process;
        process.kill_because(format!("wrote {flaw}{}", line.unwrap_or_default()));
        self.describe_end()
    }

    /// Kills the child because it doesn't answer, and returns the error.
    pub(crate) fn hangs(&self, what: &str) -> Error {
        self.child.process.kill_because(format!("hangs: {what}"));
        self.describe_end()
    }

    fn describe_end(&self) -> Error {
        let within = match self.inbound.is_within() {
            true => format!("; within the message {}", self.inbound.rest()),
            false => String::new(),
        };
        broken(format!("{}{within}", self.child.process.describe_end()))
    }
}

/// Returns the time for which answers gather after they gathered for `rest` and were this long.
fn next_rest(rest: Duration, heard_bytes: usize) -> Duration {
    match heard_bytes {
        ..REST_BYTES_FEW => (rest * 2).min(REST_MAX),
        REST_BYTES_MANY.. => (rest / 2).max(REST_MIN),
        _ => rest,
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // If this fails, the folder is removed with the temporary folders of dead processes.
        let _ = fs::remove_dir_all(&self.pid_dir);
    }
}
