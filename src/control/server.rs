//! The server of the control socket: a thread that listens, and one thread for each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use super::tap::{OpenTap, TapRequest};
use super::trends::{TrendList, watch};
use super::{Answer, LogLevels, REQUEST_BYTES_MAX, Rebalanced, Request, Seen, socket};
use crate::engine::Running;
use crate::error::{Error, Result};
use crate::lake::disk::{make_private_folders, remove_if_empty};
use crate::watch::bottleneck::Flow;
use crate::watch::memory;

/// The maximum number of connections. Each one costs a thread.
const CONNECTIONS_MAX: usize = 16;

/// The maximum number of connections that watch tuples. It leaves room for other requests.
const TAPS_MAX: usize = 8;

/// The longest time for which a client may send nothing, or read nothing.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The longest time that the end of a run waits for the answers to clients that asked for it.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// The listening socket of a running topology, until [`close`](Control::close).
pub struct Control {
    shared: Arc<Shared>,
    folder: PathBuf,
    /// True if the state folder was made for the socket, under `checkpoint: Off`.
    is_folder_made: bool,
    thread: JoinHandle<()>,
}

struct Shared {
    running: Arc<Running>,
    flow: Flow,
    trends: Arc<TrendList>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    connections: usize,
    /// The number of connections that watch tuples.
    taps: usize,
    /// The number of clients that wait for the end.
    stopping: usize,
    /// The end of the run. The error says why the run failed or wasn't clean.
    ending: Option<Result<(), String>>,
}

impl Control {
    /// Listens in the state folder.
    ///
    /// # Errors
    /// If the socket or its thread can't be created.
    pub fn listen(running: Arc<Running>, flow: Flow, state: &Path) -> Result<Self> {
        let cant = |error| {
            Error::fatal(format!("can't listen on \"{}/control\"", state.display())).because(error)
        };
        let is_folder_made = !state.exists();
        make_private_folders(state).map_err(cant)?;
        let listener = socket::listen(state).map_err(cant)?;
        let trends = Arc::default();
        watch(&running, &trends);
        let shared = Arc::new(Shared {
            running,
            flow,
            trends,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let accept = move || accept(&theirs, &listener);
        let thread = thread::Builder::new().name("control".into()).spawn(accept).map_err(cant)?;
        Ok(Self { shared, folder: state.to_owned(), is_folder_made, thread })
    }

    /// Reports the end of the run to the clients that asked for it, and removes the socket's file.
    pub fn close(self, ending: Result<(), String>) {
        let mut state = self.shared.state();
        state.ending = Some(ending);
        self.shared.changed.notify_all();
        let told =
            self.shared.changed.wait_timeout_while(state, GOODBYE_MAX, |state| state.stopping > 0);
        drop(told);
        // The listener checks for the end when a client connects. If no client can connect, the
        // listener ends with the process.
        if socket::connect(&self.folder).is_ok() {
            let _ = self.thread.join();
        }
        // If the file stays, the next run replaces it.
        let _ = socket::remove(&self.folder);
        if self.is_folder_made {
            remove_if_empty(&self.folder);
        }
    }
}

impl Shared {
    /// Locks the state, even after a panic: the state is never left half-changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

fn accept(shared: &Arc<Shared>, listener: &UnixListener) {
    for stream in listener.incoming() {
        let mut state = shared.state();
        if state.ending.is_some() {
            return;
        }
        let Ok(stream) = stream else {
            // Usually the process has no more file descriptors. The wait avoids a busy loop.
            drop(shared.changed.wait_timeout(state, GOODBYE_MAX));
            continue;
        };
        if state.connections == CONNECTIONS_MAX {
            continue;
        }
        state.connections += 1;
        drop(state);
        let theirs = Arc::clone(shared);
        let serve = move || {
            serve(&theirs, &stream);
            theirs.change(|state| state.connections -= 1);
        };
        if thread::Builder::new().name("control peer".into()).spawn(serve).is_err() {
            shared.change(|state| state.connections -= 1);
        }
    }
}

/// Answers a client until it disconnects, is silent for too long, or sends a line that is too long.
fn serve(shared: &Shared, stream: &UnixStream) {
    let bounded =
        stream.set_read_timeout(Some(SILENCE_MAX)).and(stream.set_write_timeout(Some(SILENCE_MAX)));
    let (mut reader, mut line) = (BufReader::new(stream), Vec::new());
    while bounded.is_ok() {
        line.clear();
        let read = (&mut reader).take(REQUEST_BYTES_MAX).read_until(b'\n', &mut line);
        if read.is_err() || line.is_empty() {
            return;
        }
        let whole = line.ends_with(b"\n");
        let too_long =
            || Answer::Error(format!("a request is one line of at most {REQUEST_BYTES_MAX} bytes"));
        let request = if whole { Ok(serde_json::from_slice(&line)) } else { Err(too_long()) };
        if let Ok(Ok(Request::Tap(wanted))) = &request {
            return shared.tap(wanted, stream);
        }
        let stops = matches!(request, Ok(Ok(Request::Stop { .. })));
        let answer = match request {
            Ok(Ok(request)) => shared.answer(request),
            Ok(Err(error)) => Answer::Error(format!("bad request: {error}")),
            Err(answer) => answer,
        };
        let sent = send(stream, &answer);
        if stops {
            shared.change(|state| state.stopping -= 1);
        }
        if !sent || !whole {
            return;
        }
    }
}

fn send(mut stream: &UnixStream, answer: &Answer) -> bool {
    let mut line =
        serde_json::to_vec(answer).expect("an answer has text keys and no failing types");
    line.push(b'\n');
    stream.write_all(&line).is_ok()
}

fn ok(answer: &impl Serialize) -> Answer {
    Answer::Ok(serde_json::to_value(answer).expect("an answer has text keys and no failing types"))
}

impl Shared {
    fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Status {} => ok(&Seen {
                status: self.running.status(),
                flow: self.flow.clone(),
                rss_bytes: memory::resident_bytes(),
            }),
            Request::Rebalance(hints) => {
                let before = self.running.status();
                let tasks = |id: &String| {
                    before.components.iter().find(|now| now.id == *id).map_or(0, |now| now.tasks)
                };
                let changes = hints
                    .iter()
                    .map(|(id, hint)| (id.clone(), (tasks(id), hint.get().into())))
                    .collect();
                match self.running.rebalance(hints) {
                    Ok(took) => ok(&Rebalanced { seconds: took.as_secs_f64(), tasks: changes }),
                    Err(error) => Answer::Error(error.chain()),
                }
            }
            Request::Log { level } => {
                let before = self.running.log_level();
                if let Some(level) = level {
                    self.running.set_log_level(level);
                }
                ok(&LogLevels { before, now: self.running.log_level() })
            }
            Request::Activate {} => self.set_inactive(false),
            Request::Deactivate {} => self.set_inactive(true),
            Request::Messages { after } => ok(&self.running.messages(after)),
            Request::Trends {} => ok(&self.trends.newest()),
            // Taps were handled before.
            Request::Tap(_) => Answer::Error("a tap has a connection of its own".into()),
            Request::Stop { within_s } => self.stop(within_s),
        }
    }

    /// Sends tuples until the client disconnects.
    fn tap(&self, wanted: &TapRequest, stream: &UnixStream) {
        let is_full = {
            let mut state = self.state();
            let is_full = state.taps == TAPS_MAX;
            state.taps += usize::from(!is_full);
            is_full
        };
        if is_full {
            let what = format!("{TAPS_MAX} watch tuples already, and there is no room for more");
            let _ = send(stream, &Answer::Error(what));
            return;
        }
        match OpenTap::open(&self.running, wanted) {
            Err(error) => drop(send(stream, &Answer::Error(error.chain()))),
            Ok(tap) if send(stream, &ok(&serde_json::Map::new())) => {
                tap.send_to(stream, || self.state().ending.is_some());
            }
            Ok(_) => {}
        }
        self.change(|state| state.taps -= 1);
    }

    fn set_inactive(&self, is_inactive: bool) -> Answer {
        self.running.set_inactive(is_inactive);
        ok(&serde_json::Map::new())
    }

    /// Begins a drain and waits for it. The caller must report that the answer was sent.
    fn stop(&self, within_s: Option<u64>) -> Answer {
        self.change(|state| state.stopping += 1);
        match within_s {
            Some(seconds) => self.running.stop_within(Duration::from_secs(seconds)),
            None => self.running.stop(),
        }
        let ended = self.changed.wait_while(self.state(), |state| state.ending.is_none());
        match ended.unwrap_or_else(PoisonError::into_inner).ending.clone() {
            Some(Err(cause)) => Answer::Error(cause),
            Some(Ok(())) | None => ok(&serde_json::Map::new()),
        }
    }
}
