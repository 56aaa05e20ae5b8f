//! One child process: how it is started, what it says on standard error, and how it ended.

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

/// How many lines of a child are told people in [`SAID_WITHIN`]; the others are counted. More would
/// drown what others say.
const LINES_SAID_MAX: u32 = 20;

/// The time in which [`LINES_SAID_MAX`] counts.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// How much a child may write to standard error in [`SAID_WITHIN`] before it is taken for broken. Less
/// could meet a program that only prints a lot.
const STDERR_FLOOD_BYTES: usize = 16 << 20;

/// How many of the last lines on standard error are kept for the message about a child's end.
const LAST_LINES_MAX: usize = 3;

/// The longest piece of a line without an end that is kept.
const LINE_BYTES_MAX: usize = 8 << 10;

/// How long a child that has closed its pipe may take to end before it is killed.
const END_WAIT: Duration = Duration::from_millis(500);

/// What is needed to start a child.
#[derive(Clone, Debug)]
pub(super) struct ProcessSpec {
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub dir: Option<String>,
    pub voice: Voice,
}

/// The ends of its pipes that are ours; none of them blocks.
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

/// What it has said, for people.
#[derive(Default)]
struct Said {
    /// When the current [`SAID_WITHIN`] began.
    since: Duration,
    lines: u32,
    held_back: u64,
    stderr_bytes: usize,
    last_lines: VecDeque<Vec<u8>>,
    /// The beginning of a line on standard error.
    line: Vec<u8>,
    /// Why it was killed.
    killed: Option<String>,
}

impl Process {
    /// Starts a child. The calling thread must last as long as this process: with the thread's end
    /// the kernel kills the child.
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

    /// Names the child: its command and its number.
    pub(crate) fn name(&self) -> String {
        format!("its child {} ({})", self.pid.as_raw_nonzero(), quoted(self.command.as_bytes()))
    }

    /// Says something that the child said, unless it says too much; `None` only tells of lines that
    /// were held back.
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

    /// Takes what it wrote to standard error.
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

    /// Kills it, and remembers why.
    pub(crate) fn kill_because(&self, why: String) {
        self.said().killed.get_or_insert(why);
        self.signal(Signal::KILL);
    }

    /// Sends a signal to it and to all that it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        // Its group is gone with it: then there is nobody to tell.
        let _ = kill_process_group(self.pid, signal);
    }

    /// True if somebody has seen that it has ended. Costs no call of the system.
    pub(crate) fn is_known_to_have_exited(&self) -> bool {
        self.has_exited.load(Ordering::Relaxed)
    }

    /// True once it has ended, although others may still hold its pipes.
    pub(crate) fn has_exited(&self) -> bool {
        if self.has_exited.load(Ordering::Relaxed) {
            return true;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let has_exited = !matches!(waitid(WaitId::Pid(self.pid), options), Ok(None));
        self.has_exited.store(has_exited, Ordering::Relaxed);
        has_exited
    }

    /// Reaps it if it has ended, together with the rest of its group.
    pub(crate) fn reap(&self) -> bool {
        if !self.has_exited() {
            return false;
        }
        // Before it is reaped, its number can't be another process's.
        self.signal(Signal::KILL);
        !matches!(lock(&self.child).try_wait(), Ok(None))
    }

    /// Kills it if it hasn't ended by itself, and says how it ended and what it said last.
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

/// Nothing is left half-changed, so a panic elsewhere doesn't matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the kernel kill the child when the thread that starts it ends, also by `kill -9`.
#[allow(unsafe_code, reason = "std has no other way to do something between fork and exec")]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let before_exec = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before that.
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
