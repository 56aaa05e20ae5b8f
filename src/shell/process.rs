//! One child process: its start, its standard error, and its end.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getppid, kill_process_group,
    set_parent_process_death_signal, waitid,
};

use super::framing::quoted;
use crate::error::{Error, Result};
use crate::protocol::Voice;
use crate::secret::{Redactor, Secret, names_a_secret};

/// The largest number of a child's lines that are shown in [`SAID_WITHIN`]; the others are counted.
/// More would bury the messages of other components.
const LINES_SAID_MAX: u32 = 20;

/// The time for which [`LINES_SAID_MAX`] counts.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// The largest number of bytes that a child may write to standard error in [`SAID_WITHIN`]. A child
/// that writes more is ended. Less could hit a program that only prints a lot.
const STDERR_FLOOD_BYTES: usize = 16 << 20;

/// The number of the last lines on standard error that the message about a child's end quotes.
const LAST_LINES_MAX: usize = 3;

/// The largest part of a line on standard error that is kept, in bytes.
const LINE_BYTES_MAX: usize = 8 << 10;

/// The time in which a child that has closed its pipe must end. Then it is killed.
const END_WAIT: Duration = Duration::from_millis(500);

/// The specification of a child to start.
#[derive(Clone, Debug)]
pub(super) struct ProcessSpec {
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub dir: Option<String>,
    pub voice: Voice,
}

/// This process's ends of the child's pipes, all non-blocking.
pub(super) struct Pipes {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// A child that was started.
pub(super) struct Process {
    pid: Pid,
    command: String,
    child: Mutex<Child>,
    said: Mutex<Said>,
    voice: Voice,
    secrets: Redactor,
    has_exited: AtomicBool,
}

/// The state of the messages that a child has written for people.
#[derive(Default)]
struct Said {
    /// The time at which the current [`SAID_WITHIN`] began.
    since: Duration,
    lines: u32,
    held_back: u64,
    stderr_bytes: usize,
    last_lines: VecDeque<Vec<u8>>,
    /// The unfinished line on standard error.
    line: Vec<u8>,
    /// The reason for which it was killed.
    killed: Option<String>,
}

impl Process {
    /// Starts a child. The calling thread must live as long as this process: the kernel kills the
    /// child when that thread ends.
    pub(crate) fn start(spec: &ProcessSpec) -> Result<(Self, Pipes)> {
        let Some((program, arguments)) = spec.command.split_first() else {
            return Err(Error::fatal("the command is empty"));
        };
        let mut command = Command::new(program);
        command.args(arguments).envs(&spec.env).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &spec.dir {
            command.current_dir(dir);
        }
        die_with_parent(&mut command);
        let mut child = command.spawn().map_err(|cause| {
            Error::fatal(format!("can't start the command {:?}", spec.command)).because(cause)
        })?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(Error::fatal("the child has no pipes"));
        };
        let pipes = Pipes { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
        for pipe in [&pipes.stdin, &pipes.stdout, &pipes.stderr] {
            let never_blocks =
                fcntl_getfl(pipe).and_then(|flags| fcntl_setfl(pipe, flags | OFlags::NONBLOCK));
            never_blocks.map_err(|cause| Error::fatal("can't set up a pipe").because(cause))?;
        }
        let secrets: Vec<Secret> = spec
            .env
            .iter()
            .filter(|(name, _)| names_a_secret(name))
            .map(|(_, value)| Secret::new(value.clone()))
            .collect();
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::fatal("the child has no process id"))?;
        let process = Self {
            pid,
            command: spec.command.join(" "),
            child: Mutex::new(child),
            said: Mutex::default(),
            voice: spec.voice.clone(),
            secrets: Redactor::new(&secrets),
            has_exited: AtomicBool::new(false),
        };
        Ok((process, pipes))
    }

    /// Returns the child's name for people: its process id and its command.
    pub(crate) fn name(&self) -> String {
        format!("its child {} ({})", self.pid.as_raw_nonzero(), quoted(self.command.as_bytes()))
    }

    /// Shows a message of the child, unless there were too many of them. With `None` it only
    /// reports the number of messages that were held back.
    pub(crate) fn say(&self, now: Duration, text: Option<&str>) {
        let mut said = self.said();
        if now.saturating_sub(said.since) >= SAID_WITHIN {
            let held_back = std::mem::take(&mut said.held_back);
            (said.since, said.lines, said.stderr_bytes) = (now, 0, 0);
            if held_back > 0 {
                self.voice.say(&format!("{held_back} more lines of its child"));
            }
        }
        let Some(text) = text else { return };
        if said.lines >= LINES_SAID_MAX {
            said.held_back += 1;
            return;
        }
        said.lines += 1;
        self.voice.say(&self.secrets.clean(text));
    }

    /// Takes the bytes that the child wrote to standard error.
    pub(crate) fn take_stderr(&self, now: Duration, bytes: &[u8]) {
        let mut lines = Vec::new();
        let is_flood = {
            let mut said = self.said();
            for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                let room = LINE_BYTES_MAX.saturating_sub(said.line.len());
                said.line.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.ends_with(b"\n") {
                    let line = std::mem::take(&mut said.line);
                    if lines.len() <= LINES_SAID_MAX as usize {
                        lines.push(quoted(&line));
                    } else {
                        said.held_back += 1;
                    }
                    if said.last_lines.len() == LAST_LINES_MAX {
                        said.last_lines.pop_front();
                    }
                    said.last_lines.push_back(line);
                }
            }
            said.stderr_bytes += bytes.len();
            said.stderr_bytes > STDERR_FLOOD_BYTES
        };
        for line in &lines {
            self.say(now, Some(&format!("standard error of its child: {line}")));
        }
        if is_flood {
            let line = self.said().last_lines.back().map(|line| quoted(line)).unwrap_or_default();
            self.kill_because(format!(
                "floods standard error with more than {} MiB within {} s, such as {line}",
                STDERR_FLOOD_BYTES >> 20,
                SAID_WITHIN.as_secs()
            ));
        }
    }

    /// Kills the child, and keeps the reason.
    pub(crate) fn kill_because(&self, why: String) {
        self.said().killed.get_or_insert(why);
        self.signal(Signal::KILL);
    }

    /// Sends a signal to the child and to every process of its group.
    pub(crate) fn signal(&self, signal: Signal) {
        // A child that is gone needs no signal.
        let _ = kill_process_group(self.pid, signal);
    }

    /// Returns true if the child's end was noticed before. Makes no system call.
    pub(crate) fn is_known_to_have_exited(&self) -> bool {
        self.has_exited.load(Ordering::Relaxed)
    }

    /// Returns true if the child has ended, although other processes may still hold its pipes.
    pub(crate) fn has_exited(&self) -> bool {
        if self.has_exited.load(Ordering::Relaxed) {
            return true;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let has_exited = !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None));
        self.has_exited.store(has_exited, Ordering::Relaxed);
        has_exited
    }

    /// Reaps the child if it has ended, and kills the rest of its process group. Returns true if it
    /// has ended.
    pub(crate) fn reap(&self) -> bool {
        if !self.has_exited() {
            return false;
        }
        // Until the child is reaped, no other process can have its id.
        self.signal(Signal::KILL);
        !matches!(lock(&self.child).try_wait(), Ok(None))
    }

    /// Kills the child if it hasn't ended by itself, and describes its end and its last lines.
    pub(crate) fn describe_end(&self) -> String {
        let mut waited = Duration::ZERO;
        while !self.has_exited() && waited < END_WAIT {
            const STEP: Duration = Duration::from_millis(5);
            thread::sleep(STEP);
            waited += STEP;
        }
        let was_alive = !self.has_exited();
        self.signal(Signal::KILL);
        let status = lock(&self.child).wait();
        let killed = self.said().killed.clone();
        let how = match (killed, status) {
            (Some(why), _) => why,
            (None, Ok(_)) if was_alive => "closed its standard output".into(),
            (None, Ok(status)) => format!("ended ({status})"),
            (None, Err(error)) => format!("is gone ({error})"),
        };
        let last: Vec<_> = self.said().last_lines.iter().map(|line| quoted(line)).collect();
        let last = match last.len() {
            0 => String::new(),
            _ => format!("; last on standard error: {}", last.join(" ")),
        };
        self.secrets.clean(&format!("{} {how}{last}", self.name()))
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        lock(&self.said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reap() {
            self.signal(Signal::KILL);
            let _ = lock(&self.child).wait();
        }
    }
}

/// Locks a mutex. A panic while it was locked leaves nothing half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the kernel kill the child when the thread that starts it ends, also after `kill -9`.
#[allow(unsafe_code, reason = "std has no other way to do something between fork and exec")]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the system call above.
        match getppid() == Some(parent) {
            true => Ok(()),
            false => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. These are two bare
    // system calls; nothing is allocated, and no lock is taken.
    unsafe {
        command.pre_exec(before_exec);
    }
}
