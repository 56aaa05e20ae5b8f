//! What a task has of its child: the pipes, and what waits in them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::broken;
use super::framing::{Inbound, quoted};
use super::warden::Child;
use crate::error::{Error, Result};

/// A child and the buffers of its pipes.
pub(super) struct Link {
    child: Child,
    /// What isn't written yet, from `written` on.
    out: Vec<u8>,
    written: usize,
    /// What was read.
    pub inbound: Inbound,
    /// The child has closed its standard output.
    has_ended: bool,
    /// The folder that it notes its process id in, removed with it.
    pid_dir: PathBuf,
}

impl Link {
    /// To a child that was just started, whose handshake is the first to be written.
    pub(crate) fn new(child: Child, handshake: Vec<u8>, pid_dir: PathBuf) -> Self {
        Self {
            child,
            out: handshake,
            written: 0,
            inbound: Inbound::default(),
            has_ended: false,
            pid_dir,
        }
    }

    /// The child.
    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    /// What is to be written: it may be added to.
    #[inline]
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The number of bytes that aren't written.
    #[inline]
    pub(crate) fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes as much as the pipe takes. True if it took something.
    pub(crate) fn write(&mut self) -> Result<bool> {
        self.write_by(|child, bytes| Ok(rustix::io::write(&child.stdin, bytes)?))
    }

    /// Writes by this function.
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
                // It has closed its standard input: what it said last is still to be read.
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

    /// Reads what is there, once. False if nothing was.
    ///
    /// # Errors
    /// If the child has ended.
    pub(crate) fn read(&mut self) -> Result<bool> {
        self.read_by(|child, room| Ok(rustix::io::read(&child.stdout, room)?))
    }

    /// Reads by this function.
    ///
    /// # Errors
    /// If the child has ended.
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
    /// longer than this.
    pub(crate) fn wait(&self, at_most: Duration) {
        let mut pipes = vec![PollFd::new(&self.child.stdout, PollFlags::IN)];
        if self.unwritten() > 0 {
            pipes.push(PollFd::new(&self.child.stdin, PollFlags::OUT));
        }
        let timeout = Timespec::try_from(at_most).ok();
        // An interrupted wait is a short one.
        let _ = poll(&mut pipes, timeout.as_ref());
    }

    /// An error about a message that isn't one of the protocol.
    pub(crate) fn garbage(&self, flaw: &str, message: Option<&str>) -> Error {
        let line = message.map(|message| format!(", in {}", quoted(message.as_bytes())));
        let process = &self.child.process;
        process.kill_because(format!("wrote {flaw}{}", line.unwrap_or_default()));
        self.describe_end()
    }

    /// An error about a child that does nothing.
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

impl Drop for Link {
    fn drop(&mut self) {
        // Whatever stays is removed with the temporary folders of a process that is gone.
        let _ = fs::remove_dir_all(&self.pid_dir);
    }
}
