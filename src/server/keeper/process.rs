//! The process of a topology: how it is started, asked and ended.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::{Ending, Keeper};
use crate::control::{Request, Seen, Unanswered, ask_remote};
use crate::error::{Error, Result};
use crate::server::fleet::{Kept, Shared};
use crate::server::record::{Wanted, write_durably};
use crate::server::shown::State;

/// The longest wait for an answer that needs no work.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time from the deadline of a drain to the end of the process, before it is killed.
const END_MAX: Duration = Duration::from_secs(15);

/// The interval at which a process prints its messages. A shorter one would wake idle processes.
const CHILD_INTERVAL: &str = "5s";

/// The longest line of a process that is taken as one, in bytes. A longer one is broken.
const PRINTED_BYTES_MAX: u64 = 64 << 10;

/// The longest time for which a process that starts keeps others from starting.
const STARTING_ALONE_MAX: Duration = Duration::from_secs(10);

/// A process that runs.
pub(super) struct Running {
    pub child: Child,
    pub log: JoinHandle<()>,
    /// The time of its start, on the monotonic clock.
    pub started: Duration,
    pub is_ready: bool,
    /// Held while the process begins.
    pub starting: Option<OwnedSemaphorePermit>,
    pub ending: Option<Ending>,
    /// The time at which it is killed.
    pub kill_at: Option<Duration>,
}

impl Keeper {
    /// Starts the process; `None` if the server ends.
    ///
    /// # Errors
    /// If the topology can't run, or there is no process for it.
    pub(super) async fn start(&mut self) -> Result<Option<Running>> {
        self.shows(State::Starting);
        let Ok(starting) = Arc::clone(&self.shared.starting).acquire_owned().await else {
            return Ok(None);
        };
        let version = &self.record.current;
        // Since the submission, links may have changed, and files and variables may be gone.
        let read = self.shared.read("topology", &version.topology);
        if let Err(problems) = read {
            return Err(Error::fatal(format!("the topology can't run: {problems}")));
        }
        let folder = &self.kept.folder;
        write_durably(&folder.topology(), version.topology.as_bytes())?;
        let mut command = Command::new(&self.shared.program);
        command.arg("run").arg(folder.topology()).arg("--state").arg(folder.state());
        command.arg("--interval").arg(CHILD_INTERVAL);
        command.arg("--child-of").arg(std::process::id().to_string());
        if self.record.wanted == Wanted::Inactive {
            command.arg("--inactive");
        }
        if self.record.fresh {
            command.arg("--fresh");
        }
        for id in &self.record.drop_state {
            command.arg("--drop-state").arg(id);
        }
        for set in self.hint_sets() {
            command.arg("--set").arg(set);
        }
        // Keys of a terminal are for the server, which then drains its topologies.
        command.process_group(0).current_dir(&folder.0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| Error::fatal("can't start the topology's process").because(error))?;
        let (pid, stderr) = (child.id(), child.stderr.take());
        self.kept.show(|summary| summary.pid = pid);
        let log = spawn_local(copy_log(stderr, Arc::clone(&self.kept), Arc::clone(&self.shared)));
        let started = self.shared.clock.monotonic();
        let (is_ready, ending, kill_at) = (false, None, None);
        let starting = Some(starting);
        Ok(Some(Running { child, log, started, is_ready, starting, ending, kill_at }))
    }

    /// The numbers of tasks that a rebalance set, as changes of the topology file.
    fn hint_sets(&self) -> Vec<String> {
        let read = self.shared.read("topology", &self.record.current.topology);
        let mut sets = Vec::new();
        for spec in read.iter().flat_map(|topology| &topology.components) {
            let Some(hint) = self.record.current.hints.get(&spec.id) else { continue };
            if spec.in_front_of.is_none() {
                let map = if spec.inputs.is_empty() { "spouts" } else { "bolts" };
                sets.push(format!("{map}.{}.parallelism_hint={hint}", spec.id));
            }
        }
        sets
    }

    /// Asks a process that begins whether it is ready.
    pub(super) async fn look(&mut self, running: &mut Running) {
        if self.shared.clock.monotonic() > running.started + STARTING_ALONE_MAX {
            running.starting = None;
        }
        match self.ask::<Seen>(&Request::Status {}).await {
            Ok(seen) => {
                running.is_ready = true;
                running.starting = None;
                let is_inactive = seen.status.inactive;
                self.kept.history().add(seen);
                self.is_ready();
                // It may have been told otherwise since it was started.
                if is_inactive != (self.record.wanted == Wanted::Inactive) {
                    let _ = self.set_active(is_inactive, true).await;
                }
            }
            Err(Unanswered::Refused(what)) => self.say("warn", &what),
            Err(_) => {}
        }
    }

    fn is_ready(&mut self) {
        let is_inactive = self.record.wanted == Wanted::Inactive;
        self.shows(if is_inactive { State::Inactive } else { State::Running });
        self.kept.show(|summary| summary.message = None);
        if self.record.fresh || !self.record.drop_state.is_empty() {
            (self.record.fresh, self.record.drop_state) = (false, Default::default());
            if let Err(error) = self.write() {
                self.say("error", &error.chain());
            }
        }
    }

    pub(super) async fn sample(&self) {
        // A process that doesn't answer has no sample.
        if let Ok(seen) = self.ask::<Seen>(&Request::Status {}).await {
            self.kept.history().add(seen);
        }
    }

    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<A, Unanswered> {
        ask_remote(&self.kept.folder.state(), request, PATIENCE).await
    }

    /// Drains the process, and sees to it that it ends.
    pub(super) async fn end(&mut self, running: &mut Running, ending: Ending, within: Duration) {
        running.ending = Some(ending);
        running.kill_at = Some(self.shared.clock.monotonic() + within + END_MAX);
        let request = Request::Stop { within_s: Some(within.as_secs()) };
        let (state, kept) = (self.kept.folder.state(), Arc::clone(&self.kept));
        let (pid, clock) = (running.child.id(), Arc::clone(&self.shared.clock));
        spawn_local(async move {
            let patience = within + END_MAX;
            let asked = ask_remote::<serde_json::Value>(&state, &request, patience).await;
            match asked {
                Ok(_) => {}
                Err(Unanswered::Refused(what)) => kept.log().add("warn", &what, clock.now()),
                // It has no socket yet, or none that works.
                Err(_) => terminate(pid),
            }
        });
    }
}

fn terminate(pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

/// Copies what a process says to its log.
async fn copy_log(stderr: Option<ChildStderr>, kept: Arc<Kept>, shared: Arc<Shared>) {
    let Some(stderr) = stderr else { return };
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(PRINTED_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                kept.log().add_printed(text.trim_end(), shared.clock.now());
            }
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}
