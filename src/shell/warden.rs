//! The two threads that all children of this process share. One starts children, and never ends,
//! since the kernel kills a child when the thread that started it ends. The other watches their
//! pipes.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::process::{Pipes, Process, ProcessSpec};
use crate::bolt::BoltWaker;
use crate::clock::{SharedClock, SystemClock};
use crate::error::{Error, Result};

/// The time between two checks of deadlines. A shorter time would make ticks more punctual, but
/// wake an idle machine more often.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The time between two checks for children that have ended while other processes hold their pipes.
const EXIT_LOOK_EVERY: Duration = Duration::from_secs(1);

/// The rest of the thread after it has woken tasks. A child answers each tuple by a write of its
/// own. A longer rest gathers more answers for each wake, but delays them.
const REST: Duration = Duration::from_micros(200);

/// The time in which a child must end after SIGTERM. Then it is killed.
const END_DEADLINE: Duration = Duration::from_secs(3);

/// The number of events that are taken at once.
const EVENTS_MAX: usize = 256;

/// The number of bytes of standard error that are read at once.
const STDERR_BYTES: usize = 64 << 10;

/// The value for no deadline.
const NEVER: u64 = u64::MAX;

/// The shared threads.
pub(super) struct Warden {
    orders: Mutex<Sender<Order>>,
    epoll: OwnedFd,
    state: Mutex<State>,
    clock: SharedClock,
}

struct Order {
    spec: ProcessSpec,
    reply: Sender<Result<(Process, Pipes)>>,
}

#[derive(Default)]
struct State {
    next_key: u64,
    children: HashMap<u64, Watched>,
    dying: Vec<Dying>,
}

struct Watched {
    process: Arc<Process>,
    stderr: Option<OwnedFd>,
    /// Wakes the task of a bolt. `None` for a spout, which waits for its pipes by itself.
    waker: Option<BoltWaker>,
    deadline: Arc<AtomicU64>,
}

struct Dying {
    process: Arc<Process>,
    until: Duration,
}

/// A child under watch. Dropping it ends the child.
pub(super) struct Child {
    key: u64,
    pub process: Arc<Process>,
    pub stdin: Arc<OwnedFd>,
    pub stdout: Arc<OwnedFd>,
    deadline: Arc<AtomicU64>,
    warden: Arc<Warden>,
}

/// Returns the shared threads, and starts them at the first call.
pub(super) fn warden() -> Result<Arc<Warden>> {
    static WARDEN: OnceLock<Result<Arc<Warden>, String>> = OnceLock::new();
    WARDEN
        .get_or_init(|| Warden::start().map_err(|error| error.chain()))
        .clone()
        .map_err(Error::fatal)
}

impl Warden {
    fn start() -> Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|cause| Error::fatal("can't watch pipes").because(cause))?;
        let (orders, taken) = channel::<Order>();
        let warden = Arc::new(Self {
            orders: Mutex::new(orders),
            epoll,
            state: Mutex::default(),
            clock: SystemClock::shared(),
        });
        spawn("shell-start", move || {
            for Order { spec, reply } in taken {
                // If the task that asked has ended, the child is dropped, which ends it.
                let _ = reply.send(Process::start(&spec));
            }
        })?;
        let watching = Arc::clone(&warden);
        spawn("shell-watch", move || watching.watch())?;
        Ok(warden)
    }

    /// Starts a child. A bolt passes its waker; see [`Child::wait_for_news`].
    pub(crate) fn start_child(
        self: &Arc<Self>,
        spec: ProcessSpec,
        waker: Option<BoltWaker>,
    ) -> Result<Child> {
        let (reply, started) = channel();
        let lost = || Error::fatal("the thread that starts children is gone");
        lock(&self.orders).send(Order { spec, reply }).map_err(|_| lost())?;
        let (process, Pipes { stdin, stdout, stderr }) = started.recv().map_err(|_| lost())??;
        let process = Arc::new(process);
        let deadline = Arc::new(AtomicU64::new(NEVER));
        let mut state = self.state();
        let key = state.next_key;
        state.next_key += 1;
        self.add(&stderr, STDERR, key, epoll::EventFlags::IN)?;
        if waker.is_some() {
            self.add(&stdout, STDOUT, key, epoll::EventFlags::ONESHOT)?;
            self.add(&stdin, STDIN, key, epoll::EventFlags::ONESHOT)?;
        }
        let watched = Watched {
            process: Arc::clone(&process),
            stderr: Some(stderr),
            waker,
            deadline: Arc::clone(&deadline),
        };
        state.children.insert(key, watched);
        let (stdin, stdout) = (Arc::new(stdin), Arc::new(stdout));
        Ok(Child { key, process, stdin, stdout, deadline, warden: Arc::clone(self) })
    }

    /// Returns the clock by which deadlines are measured.
    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    fn add(&self, pipe: &OwnedFd, which: u64, key: u64, flags: epoll::EventFlags) -> Result<()> {
        let data = epoll::EventData::new_u64(key * PIPES + which);
        epoll::add(&self.epoll, pipe, data, flags)
            .map_err(|cause| Error::fatal("can't watch a pipe").because(cause))
    }

    fn watch(&self) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut buffer = Vec::with_capacity(STDERR_BYTES);
        let mut looked_at = Duration::ZERO;
        let timeout = Timespec::try_from(LOOK_EVERY).ok();
        loop {
            events.clear();
            // A wait that a signal interrupts is only shorter.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref());
            let now = self.clock.monotonic();
            let looks = now.saturating_sub(looked_at) >= EXIT_LOOK_EVERY;
            if looks {
                looked_at = now;
            }
            let mut state = self.state();
            for event in &events {
                let data = event.data.u64();
                let Some(child) = state.children.get_mut(&(data / PIPES)) else { continue };
                match data % PIPES {
                    STDERR => child.read_stderr(now, &mut buffer, &self.epoll),
                    _ => child.wake(),
                }
            }
            for child in state.children.values() {
                let due = child.deadline.load(Ordering::Relaxed) <= milliseconds(now);
                if due {
                    child.deadline.store(NEVER, Ordering::Relaxed);
                }
                if due || looks && child.process.has_exited() {
                    child.wake();
                }
                if looks {
                    child.process.say(now, None);
                }
            }
            state.dying.retain(|dying| {
                if now >= dying.until {
                    dying.process.signal(Signal::KILL);
                }
                !dying.process.reap()
            });
            drop(state);
            if !events.is_empty() {
                thread::sleep(REST);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

const PIPES: u64 = 4;
const STDOUT: u64 = 0;
const STDIN: u64 = 1;
const STDERR: u64 = 2;

impl Watched {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    fn read_stderr(&mut self, now: Duration, buffer: &mut Vec<u8>, epoll: &OwnedFd) {
        let Some(stderr) = &self.stderr else { return };
        buffer.clear();
        match rustix::io::read(stderr, spare_capacity(buffer)) {
            Ok(bytes) if bytes > 0 => self.process.take_stderr(now, buffer),
            Err(Errno::AGAIN | Errno::INTR) => {}
            _ => {
                let _ = epoll::delete(epoll, stderr);
                self.stderr = None;
            }
        }
    }
}

impl Child {
    /// Wakes the bolt's task when the child has written something, at this time, or, if that is
    /// wanted, when the child has room for more.
    pub(crate) fn wait_for_news(&self, wants_room: bool, deadline: Option<Duration>) -> Result<()> {
        self.deadline.store(deadline.map_or(NEVER, milliseconds), Ordering::Relaxed);
        self.arm(&self.stdout, STDOUT, epoll::EventFlags::IN)?;
        if wants_room {
            self.arm(&self.stdin, STDIN, epoll::EventFlags::OUT)?;
        }
        Ok(())
    }

    fn arm(&self, pipe: &OwnedFd, which: u64, flags: epoll::EventFlags) -> Result<()> {
        let data = epoll::EventData::new_u64(self.key * PIPES + which);
        epoll::modify(&self.warden.epoll, pipe, data, flags | epoll::EventFlags::ONESHOT)
            .map_err(|cause| Error::fatal("can't watch a pipe").because(cause))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let mut state = self.warden.state();
        state.children.remove(&self.key);
        self.process.signal(Signal::TERM);
        let until = self.warden.clock.monotonic() + END_DEADLINE;
        state.dying.push(Dying { process: Arc::clone(&self.process), until });
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER - 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map(drop).map_err(|cause| {
        Error::no_room(format!("can't start the thread \"{name}\"")).because(cause)
    })
}
