//! Starts a topology, watches it, and waits for its end.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::{Addr, System};
use crossbeam_channel::{Sender, bounded};
use time::OffsetDateTime;

use super::options::RunOptions;
use super::supervisor::Supervisor;
use super::taps::{TapSource, TapWanted, Taps};
use super::wiring::with_dead_letters;
use crate::checkpoint::{MemoryStore, StateStore};
use crate::clock::SharedClock;
use crate::coordinator::{
    ControlStatus, CoordinatorActor, DrainWithin, Rebalance, SetInactive, Stop,
};
use crate::epoch::StateSize;
use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::flow::Tap;
use crate::log_level::LogLevel;
use crate::metrics::{ComponentStatus, Drain, Status, Trouble};
use crate::panics::caught;
use crate::protocol::{Doing, Message, Messages, Meter, RunLife, log};
use crate::registry::Config;
use crate::topology::{
    Checkpoint, ComponentSpec, PARALLELISM_HINT_MAX, Plan, Topology, check_shares, nearest_name,
};

/// The time in a single call after which a component is reported as hanging.
pub(crate) const HANGS_AFTER: Duration = Duration::from_secs(10);

/// Numbers of tasks, by component.
pub(crate) type Hints = BTreeMap<String, NonZeroU16>;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All sources ended, or the drain that [`Running::stop`] began is complete.
    Finished,
    /// A component or the engine failed for good. The text names the component, the task and the
    /// cause.
    Failed(String),
    /// The drain deadline passed. The text names the unfinished work.
    NotClean(String),
}

/// A running topology. Dropping it does not stop it.
pub struct Running {
    name: String,
    durable: bool,
    /// A weak reference, so that the store can be opened again as soon as the topology has ended.
    store: Weak<dyn StateStore>,
    clock: SharedClock,
    started_at: Duration,
    current: Mutex<Option<CurrentTasks>>,
    /// The counts of tasks that have ended since the start of the run.
    totals: Mutex<BTreeMap<String, Totals>>,
    stop_asked: AtomicBool,
    inactive: AtomicBool,
    /// The time limit of the drain, if it differs from the options.
    drain_within: Mutex<Option<Duration>>,
    asked: Mutex<Option<RebalanceRequest>>,
    messages: Arc<Messages>,
    taps: Taps,
    exit: Mutex<Option<Exit>>,
    ended: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The tasks since the last start or restart.
struct CurrentTasks {
    components: Vec<ComponentSpec>,
    plan: Plan,
    meters: Vec<Arc<Meter>>,
    control: Arc<Mutex<ControlStatus>>,
    coordinator: Addr<CoordinatorActor>,
}

#[derive(Clone, Copy, Default)]
struct Totals {
    received: u64,
    emitted: u64,
    failed: u64,
    dead_letters: u64,
    letters_dropped: u64,
    dropped: u64,
    out_of_order: u64,
    late: u64,
    drifted: u64,
    forgotten: u64,
    busy: Duration,
}

/// A rebalance that a caller waits for.
pub(crate) struct RebalanceRequest {
    /// The new numbers of tasks.
    pub hints: Hints,
    at: Duration,
    reply: Sender<Result<Duration>>,
}

impl RebalanceRequest {
    /// Sends the result to the caller: the monotonic time at which the rebalance was done, or an
    /// error.
    pub(crate) fn done(self, result: Result<Duration>) {
        // The caller may have gone away.
        let _ = self.reply.send(result.map(|now| now.saturating_sub(self.at)));
    }
}

/// Starts a topology on its own threads, from the newest checkpoint of its store.
///
/// # Errors
/// If a component can't be created (a missing file, a read-only folder), or the topology doesn't
/// match the state in the store.
pub fn start(topology: Topology, options: RunOptions) -> Result<Arc<Running>> {
    let dead_root = dead_letter_root(&topology, &options.state);
    let dead_letters =
        options.dead_letters.unwrap_or_else(|| crate::sink::dead_letters(dead_root.clone()));
    let topology = with_dead_letters(topology, dead_letters);
    let durable = topology.checkpoint != Checkpoint::Off;
    let store = if durable { options.store } else { Arc::new(MemoryStore::default()) };
    let messages: Arc<Messages> = Arc::default();
    let span = log::topology_span(&messages);
    let running = Arc::new(Running {
        name: topology.name.clone(),
        durable,
        store: Arc::downgrade(&store),
        started_at: options.clock.monotonic(),
        clock: Arc::clone(&options.clock),
        current: Mutex::default(),
        totals: Mutex::default(),
        stop_asked: AtomicBool::new(false),
        inactive: AtomicBool::new(options.inactive),
        drain_within: Mutex::default(),
        asked: Mutex::default(),
        messages,
        taps: Taps::default(),
        exit: Mutex::default(),
        ended: Condvar::new(),
        thread: Mutex::default(),
    });
    let supervisor = Supervisor {
        topology,
        store,
        state: options.state,
        dead_root,
        about: options.about,
        clock: options.clock,
        drain_deadline: options.drain_deadline,
        drop_state: options.drop_state,
        letters: options.letters,
        again: options.again,
        running: Arc::clone(&running),
        life: RunLife::default(),
    };
    let (started, starting) = bounded(1);
    let thread = thread::Builder::new()
        .name("waterspout".into())
        .spawn(move || span.in_scope(|| supervise(supervisor, started)))
        .map_err(|error| Error::fatal("can't start a thread").because(error))?;
    starting.recv().map_err(|_| Error::fatal("the engine ended while it started"))??;
    *lock(&running.thread) = Some(thread);
    Ok(running)
}

/// Runs the supervisor. If the supervisor or a library below it panics, for example because no more
/// files can be opened, the topology counts as failed.
fn supervise(supervisor: Supervisor, started: Sender<Result<()>>) {
    let (running, told) = (Arc::clone(&supervisor.running), started.clone());
    if let Err(panic) = caught(|| System::new().block_on(supervisor.run(started))) {
        let what = format!("the engine panicked: {}", crate::panics::message(panic.as_ref()));
        // After the start nobody listens to this channel.
        let _ = told.try_send(Err(Error::fatal(what.clone())));
        running.has_ended(Exit::Failed(what));
    }
}

/// Returns the folder for dead letters: beside the data of the first lake, or in the state's
/// folder.
pub(crate) fn dead_letter_root(topology: &Topology, state: &Path) -> PathBuf {
    let lakes = topology.components.iter().filter_map(|spec| match &spec.config {
        Config::Sink(config) => config.lake_root().map(|root| (&spec.id, root)),
        _ => None,
    });
    lakes.min_by_key(|(id, _)| *id).map_or_else(|| state.to_owned(), |(_, root)| root)
}

/// Locks a mutex. A panic on another thread doesn't matter, because no value is ever left half
/// changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The methods by which callers watch and control a topology.
impl Running {
    /// Returns the present state of the topology.
    pub fn status(&self) -> Status {
        let current = lock(&self.current);
        let current =
            current.as_ref().expect("a running topology is only returned after its start");
        let control = lock(&current.control).clone();
        let now = self.clock.monotonic();
        let shown =
            current.components.iter().enumerate().filter(|(_, spec)| !spec.id.starts_with('_'));
        Status {
            topology: self.name.clone(),
            uptime: now.saturating_sub(self.started_at),
            phase: control.phase,
            partition: control.partition.0,
            rolls_over: control.partition.1,
            epoch: control.complete.map_or(0, |(epoch, _)| epoch),
            checkpoint_age: control.complete.map(|(_, at)| now.saturating_sub(at)),
            checkpoint_took: control.took,
            inactive: self.is_inactive(),
            state_file_bytes: self.store.upgrade().and_then(|store| store.file_bytes()),
            waits: control.waits,
            drain: control
                .drain
                .map(|(waits_for, at)| Drain { waits_for, left: at.saturating_sub(now) }),
            hangs: current.hangs(now),
            components: shown.map(|(index, spec)| self.component(current, index, spec)).collect(),
        }
    }

    /// Returns the messages after this number (0 for all that are kept): roll-backs with their
    /// causes, and messages of components.
    pub fn messages(&self, after: u64) -> Vec<Message> {
        self.messages.after(after)
    }

    /// Returns the level of the log.
    pub fn log_level(&self) -> LogLevel {
        self.messages.level()
    }

    /// Changes the level of the log.
    pub fn set_log_level(&self, level: LogLevel) {
        log::set_level(&self.messages, level);
    }

    /// Begins a graceful drain and returns immediately: spouts stop, tuples in flight are
    /// processed, files close.
    pub fn stop(&self) {
        self.stop_asked.store(true, Ordering::SeqCst);
        if let Some(current) = &*lock(&self.current) {
            current.coordinator.do_send(Stop);
        }
    }

    /// Begins a graceful drain as [`stop`](Self::stop) does, with another deadline.
    pub fn stop_within(&self, deadline: Duration) {
        *lock(&self.drain_within) = Some(deadline);
        if let Some(current) = &*lock(&self.current) {
            current.coordinator.do_send(DrainWithin(deadline));
        }
        self.stop();
    }

    /// Pauses the spouts, including replays (true), or lets them continue (false). Checkpoints
    /// continue either way.
    pub fn set_inactive(&self, is_inactive: bool) {
        self.inactive.store(is_inactive, Ordering::SeqCst);
        if let Some(current) = &*lock(&self.current) {
            current.coordinator.do_send(SetInactive(is_inactive));
        }
    }

    /// Returns true if the spouts are paused.
    pub fn is_inactive(&self) -> bool {
        self.inactive.load(Ordering::SeqCst)
    }

    /// Returns true if a user asked the topology to stop.
    pub fn stop_asked(&self) -> bool {
        self.stop_asked.load(Ordering::SeqCst)
    }

    /// Changes the numbers of tasks at a checkpoint, and waits until the new tasks run. Returns the
    /// time during which no tuples flowed.
    ///
    /// # Errors
    /// If a component doesn't exist or can't have that many tasks, or if the topology ends first.
    pub fn rebalance(&self, hints: Hints) -> Result<Duration> {
        self.check_hints(&hints)?;
        let (reply, done) = bounded(1);
        {
            let mut asked = lock(&self.asked);
            if asked.is_some() {
                return Err(Error::fatal(
                    "another rebalance is underway: try again when it is done",
                ));
            }
            if lock(&self.exit).is_some() {
                return Err(Error::fatal("the topology has ended"));
            }
            *asked = Some(RebalanceRequest { hints, at: self.clock.monotonic(), reply });
            if let Some(current) = &*lock(&self.current) {
                current.coordinator.do_send(Rebalance);
            }
        }
        done.recv().unwrap_or_else(|_| {
            Err(Error::fatal("the topology ended before it could be rebalanced"))
        })
    }

    /// Opens a tap, which copies tuples as they pass.
    ///
    /// # Errors
    /// If the component or stream doesn't exist, or no bolt takes the stream as input.
    pub fn tap(&self, wanted: &TapWanted) -> Result<(Tap, Vec<TapSource>)> {
        let current = lock(&self.current);
        let components =
            current.as_ref().map(|current| &current.components[..]).unwrap_or_default();
        self.taps.open(components, wanted)
    }

    /// Waits for the end, at most for `timeout`. After the end, each call returns the same result.
    pub fn wait(&self, timeout: Duration) -> Option<Exit> {
        let exit = lock(&self.exit);
        let waited = self.ended.wait_timeout_while(exit, timeout, |exit| exit.is_none());
        let exit = waited.unwrap_or_else(PoisonError::into_inner).0.clone();
        // A hanging task never releases its executor, so this function waits for threads only after
        // a clean end.
        if exit == Some(Exit::Finished)
            && let Some(thread) = lock(&self.thread).take()
        {
            let _ = thread.join();
        }
        exit
    }

    fn check_hints(&self, hints: &Hints) -> Result<()> {
        if !self.durable {
            return Err(Error::fatal(
                "a topology with `checkpoint: Off` can't be rebalanced: it has no checkpoints",
            ));
        }
        let current = lock(&self.current);
        let components =
            current.as_ref().map(|current| &current.components[..]).unwrap_or_default();
        hints
            .iter()
            .try_for_each(|(id, hint)| check_hint(components, id, *hint).map_err(Error::fatal))
    }

    fn component(
        &self,
        current: &CurrentTasks,
        index: usize,
        spec: &ComponentSpec,
    ) -> ComponentStatus {
        let meters = &current.meters[current.plan.tasks_of(index)];
        let totals = lock(&self.totals).get(&spec.id).copied().unwrap_or_default().plus(meters);
        let mut executes = Meter::no_executes();
        meters.iter().for_each(|meter| meter.add_executes_to(&mut executes));
        let quantile =
            |q| (!executes.is_empty()).then(|| Duration::from_nanos(executes.value_at_quantile(q)));
        let times = (!executes.is_empty()).then(|| Meter::execute_times(&executes));
        let doing = meters.iter().map(|meter| meter.doing()).max().unwrap_or(Doing::Idle);
        let state_size =
            meters.iter().filter_map(|meter| meter.state_size()).reduce(|all, task| StateSize {
                keys: all.keys + task.keys,
                saved_bytes: all.saved_bytes + task.saved_bytes,
                forgotten: all.forgotten + task.forgotten,
            });
        let mut troubles: Vec<Trouble> = meters.iter().flat_map(|meter| meter.troubles()).collect();
        troubles.sort();
        troubles.dedup();
        let says = meters.iter().find_map(|meter| meter.says());
        let says = says.or_else(|| troubles.first().map(|trouble| trouble.cause.clone()));
        let is_source = matches!(spec.config, Config::Spout(_));
        let watermark = least_watermark(meters);
        ComponentStatus {
            id: spec.id.clone(),
            role: spec.role.name().into(),
            type_name: spec.type_name.into(),
            tasks: meters.len(),
            received: totals.received,
            emitted: totals.emitted,
            failed: totals.failed,
            dead_letters: totals.dead_letters,
            letters_dropped: totals.letters_dropped,
            dropped: totals.dropped,
            out_of_order: totals.out_of_order,
            late: totals.late,
            watermark: printable_date(watermark),
            behind: watermark.behind(current.newest()),
            drifted: totals.drifted,
            keys: state_size.map(|size| size.keys),
            state_bytes: state_size.map(|size| size.saved_bytes),
            forgotten: totals.forgotten,
            p50: quantile(0.5),
            p99: quantile(0.99),
            executes: times,
            busy: totals.busy,
            inbox: meters.iter().map(|meter| meter.inbox()).fold(0.0, f64::max),
            state: says.unwrap_or_else(|| doing.word().into()),
            troubles,
            only_failed: is_source
                && !meters.is_empty()
                && meters.iter().all(|meter| meter.has_only_failed()),
        }
    }
}

/// The methods by which the supervisor reports.
impl Running {
    /// Records that tasks were started, and passes on all requests that came while no tasks were
    /// running.
    pub(super) fn launched(
        &self,
        topology: &Topology,
        plan: Plan,
        meters: Vec<Arc<Meter>>,
        control: Arc<Mutex<ControlStatus>>,
        coordinator: Addr<CoordinatorActor>,
    ) {
        let components = topology.components.clone();
        *lock(&self.current) = Some(CurrentTasks {
            components,
            plan,
            meters,
            control,
            coordinator: coordinator.clone(),
        });
        // The setting may have changed since the machine was created.
        coordinator.do_send(SetInactive(self.is_inactive()));
        if let Some(deadline) = *lock(&self.drain_within) {
            coordinator.do_send(DrainWithin(deadline));
        }
        if self.stop_asked.load(Ordering::SeqCst) {
            coordinator.do_send(Stop);
        } else if lock(&self.asked).is_some() {
            coordinator.do_send(Rebalance);
        }
    }

    /// Keeps the counts of tasks that have ended.
    pub(super) fn keep_totals(&self) {
        let mut current = lock(&self.current);
        let Some(current) = &mut *current else { return };
        let mut totals = lock(&self.totals);
        for (index, spec) in current.components.iter().enumerate() {
            let total = totals.entry(spec.id.clone()).or_default();
            let meters = &current.meters[current.plan.tasks_of(index)];
            *total = total.plus(meters);
        }
        // The meters are replaced, so that their counts aren't added twice.
        current.meters.fill_with(Arc::default);
    }

    /// Reports a message for people.
    pub(super) fn say(&self, message: String) {
        self.messages.say(message);
    }

    /// Reports a failure that is being retried.
    pub(super) fn warn(&self, message: String) {
        self.messages.warn(message);
    }

    /// Returns the messages, to which tasks also report.
    pub(super) fn said(&self) -> &Arc<Messages> {
        &self.messages
    }

    /// Returns the open taps.
    pub(super) fn taps(&self) -> &Taps {
        &self.taps
    }

    /// Returns the rebalance that a caller waits for, if any.
    pub(super) fn rebalance_asked(&self) -> Option<RebalanceRequest> {
        lock(&self.asked).take()
    }

    /// Returns the component of a running task.
    pub(super) fn component_of(&self, task: usize) -> ComponentSpec {
        let current = lock(&self.current);
        let CurrentTasks { components, plan, .. } =
            current.as_ref().expect("tasks report after they were launched");
        components[plan.tasks[task].component].clone()
    }

    /// Records the end of the topology.
    pub(super) fn has_ended(&self, exit: Exit) {
        // The order matters: later callers see the end, and earlier callers get an error when their
        // request is dropped.
        *lock(&self.exit) = Some(exit);
        lock(&self.asked).take();
        self.ended.notify_all();
    }
}

impl CurrentTasks {
    /// Returns the event time of the newest post of all sources.
    fn newest(&self) -> EventTime {
        let newest = self.meters.iter().map(|meter| meter.newest());
        newest.max().unwrap_or(EventTime::UNKNOWN)
    }

    /// Returns the tasks that are stuck in a call: `count[0] for 12 s`.
    fn hangs(&self, now: Duration) -> Vec<String> {
        let tasks = self.plan.tasks.iter().zip(&self.meters);
        let hung = tasks.filter_map(|(task, meter)| {
            Some((task, meter.turn_takes(now).filter(|time| *time > HANGS_AFTER)?))
        });
        hung.map(|(task, time)| {
            format!(
                "{}[{}] for {} s",
                self.components[task.component].id,
                task.index,
                time.as_secs()
            )
        })
        .collect()
    }
}

/// Returns the lowest watermark of all tasks that have one.
fn least_watermark(meters: &[Arc<Meter>]) -> EventTime {
    let known = meters.iter().map(|meter| meter.watermark());
    let known = known.filter(|time| *time != EventTime::UNKNOWN);
    known.min().unwrap_or(EventTime::UNKNOWN)
}

/// Returns the date of a time whose year has four digits, the form that other programs can read.
fn printable_date(time: EventTime) -> Option<OffsetDateTime> {
    let date: Option<OffsetDateTime> = time.into();
    date.filter(|date| (0..=9999).contains(&date.year()))
}

impl Totals {
    fn plus(self, meters: &[Arc<Meter>]) -> Self {
        let sum = |count: fn(&Meter) -> u64| meters.iter().map(|meter| count(meter)).sum::<u64>();
        Self {
            received: self.received + sum(Meter::received),
            emitted: self.emitted + sum(Meter::emitted),
            failed: self.failed + sum(Meter::failed),
            dead_letters: self.dead_letters + sum(Meter::dead_letters),
            letters_dropped: self.letters_dropped + sum(Meter::letters_dropped),
            dropped: self.dropped + sum(Meter::dropped),
            out_of_order: self.out_of_order + sum(Meter::out_of_order),
            late: self.late + sum(Meter::late),
            drifted: self.drifted + sum(Meter::drifted),
            forgotten: self.forgotten
                + sum(|meter| meter.state_size().unwrap_or_default().forgotten),
            busy: self.busy + meters.iter().map(|meter| meter.busy()).sum::<Duration>(),
        }
    }
}

/// Checks that a component can have this many tasks.
fn check_hint(components: &[ComponentSpec], id: &str, hint: NonZeroU16) -> Result<(), String> {
    let visible = || components.iter().filter(|spec| !spec.id.starts_with('_'));
    let Some(spec) = visible().find(|spec| spec.id == id) else {
        let known: Vec<_> = visible().map(|spec| format!("\"{}\"", spec.id)).collect();
        let near = nearest_name(id, visible().map(|spec| spec.id.as_str()));
        let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        return Err(format!("there is no component \"{id}\", but {}{hint}", known.join(", ")));
    };
    let max = match &spec.config {
        Config::Spout(config) => config.tasks_max(),
        Config::Bolt(config) => config.tasks_max().map(|(max, _)| max),
        Config::Sink(config) => config.tasks_max().map(|(max, _)| max),
    };
    let max = max.unwrap_or(usize::MAX).min(PARALLELISM_HINT_MAX.into());
    if usize::from(hint.get()) > max {
        let tasks = if max == 1 { "task" } else { "tasks" };
        return Err(format!("component \"{id}\" can have {max} {tasks} at most, found {hint}"));
    }
    if hint.get() > 1 { check_shares(components, spec) } else { Ok(()) }
}
