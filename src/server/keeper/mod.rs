//! Keeps one topology running: starts its process, waits for its end, and starts it again.
//!
//! ```text
//!          ┌──────────── backoff ◀───────── failed ◀──┐
//!          ▼                                          │
//! record ─▶ start ─▶ ready ─▶ orders, samples … ─▶ the process ends ─▶ finished, killed
//! ```

mod process;
mod upgrade;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::fleet::{Fleet, Kept, Order, Refusal, Shared, Task};
use super::record::{Dated, Record, Wanted};
use super::shown::State;
use crate::control::Request;
use crate::engine::DRAIN_DEADLINE;
use crate::error::Result;

use process::Running;
use upgrade::UPGRADE_PROVEN_AFTER;

/// The wait before a process that failed is started again: at first, and at most. Longer waits lose
/// time once the cause is fixed, shorter ones cost the machine a start each.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// The duration of a run after which a failure counts as the first again.
const PROVEN_AFTER: Duration = Duration::from_secs(60);

/// The interval at which a process that starts is asked for its status. Each time takes a
/// connection.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The interval of snapshots of a running topology, for the curves of the last minutes. A shorter
/// one shows more, and wakes all processes more often.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// The exit codes of `run` that mean an end: done, done with findings, and nothing new.
const FINISHED_CODES: [i32; 3] = [0, 4, 6];

/// The exit code of a child that was stopped before its sources ended.
const STOPPED_CODE: i32 = 5;

/// The next step of a keeper.
enum Next {
    /// It starts the process.
    Start,
    /// It waits for an order, or for this long.
    Rest(Option<Duration>),
    /// The topology is gone.
    Gone,
}

/// The reason for which a process is being ended.
enum Ending {
    Kill { purge: bool },
    ShutDown(oneshot::Sender<Result<(), Refusal>>),
    Upgrade(oneshot::Sender<Result<(), Refusal>>),
}

/// Keeps one topology running.
pub(crate) struct Keeper {
    kept: Arc<Kept>,
    record: Record,
    orders: mpsc::Receiver<Order>,
    shared: Arc<Shared>,
    fleet: Weak<Fleet>,
    /// The number of failures of its process in a row.
    failures: u32,
    /// The line to the client that waits for an upgrade.
    upgrade: Option<oneshot::Sender<Result<(), Refusal>>>,
}

impl Keeper {
    /// Of a topology whose record is written.
    pub(crate) fn new(
        kept: Arc<Kept>,
        record: Record,
        orders: mpsc::Receiver<Order>,
        shared: Arc<Shared>,
        fleet: Weak<Fleet>,
    ) -> Self {
        Self { kept, record, orders, shared, fleet, failures: 0, upgrade: None }
    }

    /// Keeps it until it is gone.
    pub(crate) async fn run(mut self) {
        let mut next = match &self.record.finished {
            Some(finished) => self.shows_finished(&finished.text.clone()),
            None => Next::Start,
        };
        loop {
            next = match next {
                Next::Start => self.run_process().await,
                Next::Rest(wait) => self.rest(wait).await,
                Next::Gone => break,
            };
        }
        if let Some(fleet) = self.fleet.upgrade() {
            fleet.forget(&self.kept.name);
        }
    }

    fn say(&self, level: &str, text: &str) {
        self.kept.log().add(level, text, self.shared.clock.now());
    }

    fn shows(&self, state: State) {
        let now = self.shared.clock.now();
        self.kept.show(|summary| {
            if summary.state != state {
                (summary.state, summary.since) = (state, now);
            }
            summary.next_start = None;
        });
    }

    fn shows_finished(&self, how: &str) -> Next {
        self.shows(State::Finished);
        self.kept.show(|summary| {
            (summary.message, summary.pid) = (Some(how.to_owned()), None);
        });
        Next::Rest(None)
    }

    fn write(&self) -> Result<()> {
        self.record.write(&self.kept.folder)
    }

    /// No process runs: waits for an order.
    async fn rest(&mut self, wait: Option<Duration>) -> Next {
        let clock = Arc::clone(&self.shared.clock);
        let due = wait.map(|wait| clock.monotonic() + wait);
        loop {
            let order = match due {
                Some(due) => tokio::select! {
                    order = self.orders.recv() => order,
                    () = clock.sleep(due.saturating_sub(clock.monotonic())) => return Next::Start,
                },
                None => self.orders.recv().await,
            };
            let Some(Order { task, reply }) = order else { return Next::Gone };
            let (answer, next) = self.obey_at_rest(task);
            let _ = reply.send(answer);
            if let Some(next) = next {
                return next;
            }
        }
    }

    fn obey_at_rest(&mut self, task: Task) -> (Result<(), Refusal>, Option<Next>) {
        match task {
            Task::SetActive(is_active) => {
                self.record.wanted = if is_active { Wanted::Active } else { Wanted::Inactive };
                let is_finished = self.record.finished.is_some();
                if is_active {
                    self.record.finished = None;
                }
                let written = self.write().map_err(Refusal::from);
                let starts = is_active && written.is_ok();
                if !is_active && is_finished {
                    let what = "it has finished, so there is nothing to deactivate";
                    return (Err(Refusal::Conflict(what.into())), None);
                }
                (written, starts.then_some(Next::Start))
            }
            Task::KeepHints(hints) => {
                self.record.current.hints.extend(hints);
                (self.write().map_err(Refusal::from), None)
            }
            Task::Kill { purge, .. } => match self.kills(purge) {
                Ok(()) => (Ok(()), Some(self.is_killed(purge))),
                Err(error) => (Err(error.into()), None),
            },
            Task::Upgrade { topology, drop_state } => {
                self.replaces(topology, drop_state);
                match self.write() {
                    Ok(()) => (Ok(()), Some(Next::Start)),
                    Err(error) => (Err(error.into()), None),
                }
            }
            Task::ShutDown { .. } => (Ok(()), Some(Next::Gone)),
        }
    }

    /// Notes that the topology is to be gone.
    fn kills(&mut self, purge: bool) -> Result<()> {
        self.record.wanted = if purge { Wanted::Purged } else { Wanted::Killed };
        self.write()
    }

    /// Its process has ended, or there was none.
    fn is_killed(&self, purge: bool) -> Next {
        if purge && let Err(error) = std::fs::remove_dir_all(&self.kept.folder.0) {
            // The next start of the server tries it again.
            self.say("error", &format!("can't delete the state: {error}"));
        }
        Next::Gone
    }

    /// Starts the process, and keeps to it until its end.
    async fn run_process(&mut self) -> Next {
        let mut running = match self.start().await {
            Ok(Some(running)) => running,
            Ok(None) => return Next::Rest(None),
            Err(error) => return self.failed(error.chain(), Duration::ZERO),
        };
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sample = interval(SAMPLE_EVERY);
        sample.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (clock, now) = (Arc::clone(&self.shared.clock), self.shared.clock.monotonic());
            let kill_in = running.kill_at.map(|at| at.saturating_sub(now));
            let proven_in = (running.started + UPGRADE_PROVEN_AFTER).saturating_sub(now);
            tokio::select! {
                exit = running.child.wait() => return self.ended(exit, running).await,
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order, &mut running).await,
                    None => self.end(&mut running, Ending::Kill { purge: false }, Duration::ZERO).await,
                },
                _ = look.tick(), if !running.is_ready && running.ending.is_none() => {
                    self.look(&mut running).await;
                }
                _ = sample.tick(), if running.is_ready && running.ending.is_none() => {
                    self.sample().await;
                }
                () = clock.sleep(proven_in), if self.record.previous.is_some() && running.is_ready => {
                    self.is_proven();
                }
                () = clock.sleep(kill_in.unwrap_or_default()), if kill_in.is_some() => {
                    running.kill_at = None;
                    self.say("error", "its process doesn't end, and is killed");
                    let _ = running.child.start_kill();
                }
            }
        }
    }

    /// Does what an order says, while the process runs.
    async fn obey(&mut self, Order { task, reply }: Order, running: &mut Running) {
        if running.ending.is_some() && !matches!(task, Task::ShutDown { .. } | Task::Kill { .. }) {
            let what = "its process is just ending: try again when it is done";
            let _ = reply.send(Err(Refusal::Conflict(what.into())));
            return;
        }
        match task {
            Task::SetActive(is_active) => {
                let done = self.set_active(is_active, running.is_ready).await;
                let _ = reply.send(done);
            }
            Task::KeepHints(hints) => {
                self.record.current.hints.extend(hints);
                let _ = reply.send(self.write().map_err(Refusal::from));
            }
            Task::Kill { within, purge } => {
                let noted = self.kills(purge).map_err(Refusal::from);
                let is_noted = noted.is_ok();
                let _ = reply.send(noted);
                if is_noted {
                    self.shows(State::Killing);
                    self.end(running, Ending::Kill { purge }, within).await;
                }
            }
            Task::Upgrade { topology, drop_state } => {
                self.replaces(topology, drop_state);
                if let Err(error) = self.write() {
                    let _ = reply.send(Err(error.into()));
                    return;
                }
                self.shows(State::Upgrading);
                self.end(running, Ending::Upgrade(reply), DRAIN_DEADLINE).await;
            }
            Task::ShutDown { within } => {
                self.shows(State::Stopping);
                self.end(running, Ending::ShutDown(reply), within).await;
            }
        }
    }

    async fn set_active(&mut self, is_active: bool, is_ready: bool) -> Result<(), Refusal> {
        let before = self.record.wanted;
        self.record.wanted = if is_active { Wanted::Active } else { Wanted::Inactive };
        if let Err(error) = self.write() {
            self.record.wanted = before;
            return Err(error.into());
        }
        if !is_ready {
            // It is told as soon as it listens.
            return Ok(());
        }
        let request = if is_active { Request::Activate {} } else { Request::Deactivate {} };
        match self.ask::<serde_json::Value>(&request).await {
            Ok(_) => {
                self.shows(if is_active { State::Running } else { State::Inactive });
                Ok(())
            }
            Err(unanswered) => Err(Refusal::Silent(unanswered.to_string())),
        }
    }

    /// The process has ended.
    async fn ended(&mut self, exit: std::io::Result<ExitStatus>, running: Running) -> Next {
        let Running { log, started, ending, .. } = running;
        // Its last lines are in the pipe. A child of the process may hold the pipe open, so the
        // wait is bounded.
        let _ = timeout(Duration::from_secs(1), log).await;
        self.kept.show(|summary| summary.pid = None);
        let ran = self.shared.clock.monotonic().saturating_sub(started);
        match ending {
            Some(Ending::Kill { purge }) => return self.is_killed(purge),
            Some(Ending::ShutDown(reply)) => {
                let _ = reply.send(Ok(()));
                return Next::Gone;
            }
            Some(Ending::Upgrade(reply)) => {
                self.upgrade = Some(reply);
                return Next::Start;
            }
            None => {}
        }
        match exit {
            Ok(status) if status.code().is_some_and(|code| FINISHED_CODES.contains(&code)) => {
                self.finished()
            }
            Ok(status) => self.failed(self.why(status), ran),
            Err(error) => self.failed(format!("its process can't be waited for: {error}"), ran),
        }
    }

    /// All sources have ended.
    fn finished(&mut self) -> Next {
        let how = self.last_words("info").unwrap_or_else(|| "finished".to_owned());
        self.record.finished = Some(Dated { at: self.shared.clock.now(), text: how.clone() });
        self.record.last_error = None;
        self.is_proven();
        self.shows_finished(&how)
    }

    /// Returns the reason for which a process ended unexpectedly.
    fn why(&self, status: ExitStatus) -> String {
        let said = self.last_words("error");
        match (status.code(), status.signal()) {
            (Some(STOPPED_CODE), _) => "its process was stopped, and not by this server".into(),
            (Some(code), _) => said.unwrap_or_else(|| format!("its process ended with {code}")),
            (None, Some(9)) => {
                "its process was killed: by somebody, or since the machine had no memory left"
                    .into()
            }
            (None, Some(signal)) => format!("its process was ended by signal {signal}"),
            (None, None) => "its process ended".into(),
        }
    }

    /// Returns the last line of the process at a level.
    fn last_words(&self, level: &str) -> Option<String> {
        let lines = self.kept.log().after(0, 20);
        lines.into_iter().rev().find(|line| line.level == level).map(|line| line.text)
    }

    /// The process failed: it is started again after a while.
    fn failed(&mut self, why: String, ran: Duration) -> Next {
        let why = why.strip_prefix("error: ").unwrap_or(&why).to_owned();
        if let Some(next) = self.goes_back(&why) {
            return next;
        }
        self.failures = if ran > PROVEN_AFTER { 1 } else { self.failures.saturating_add(1) };
        let wait = backoff(self.failures);
        self.say("error", &format!("failed: {why}; started again in {} s", wait.as_secs()));
        let now = self.shared.clock.now();
        self.record.last_error = Some(Dated { at: now, text: why.clone() });
        if let Err(error) = self.write() {
            self.say("error", &error.chain());
        }
        self.shows(State::Failed);
        self.kept.show(|summary| {
            summary.message = Some(why);
            summary.pid = None;
            summary.failures += 1;
            summary.next_start = Some(now + wait);
        });
        Next::Rest(Some(wait))
    }
}

/// The wait before the next start after so many failures in a row.
fn backoff(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    BACKOFF_MIN.saturating_mul(factor).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let seconds = [1, 2, 3, 4, 9, 10, 100].map(|failures| backoff(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 8, 256, 300, 300]);
    }
}
