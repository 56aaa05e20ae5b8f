//! All topologies of a server, by name. The API reads them, and sends orders to their keepers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::history::History;
use super::keeper::Keeper;
use super::log_book::LogBook;
use super::options::{Limits, ServerOptions};
use super::places::{self, TopologyFolder};
use super::record::{Record, Wanted};
use super::samples::SampleBook;
use super::shown::{State, TopologySummary};
use crate::clock::{SharedClock, SystemClock};
use crate::error::{Error, Result};
use crate::lake::disk::{failed, make_private_folders};
use crate::registry::Registry;
use crate::topology::{Guard, LoadOptions, Problems, Topology, parse};

/// The maximum number of orders that wait for a keeper. For each of them a client waits, and a
/// keeper takes orders at once.
const ORDERS_MAX: usize = 16;

/// The maximum number of processes that start at the same time: each reads its state, which takes
/// the machine's disk and cores.
const STARTING_MAX: usize = 4;

/// The longest name of a topology, in characters: it stands in addresses and in labels of metrics.
const NAME_CHARS_MAX: usize = 100;

/// The reason for which a request is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The topology has problems.
    Invalid(Problems),
    /// There is no topology of that name.
    Unknown(String),
    /// There is no such part of a topology.
    Missing(String),
    /// It can't be done as things are.
    Conflict(String),
    /// It would pass a bound.
    TooMany(String),
    /// The request is malformed.
    Bad(String),
    /// The topology's process doesn't answer.
    Silent(String),
    /// The server failed.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// An operation on a topology.
pub(crate) enum Task {
    /// Its spouts emit, or don't.
    SetActive(bool),
    /// A rebalance was done: the next start has these numbers too.
    KeepHints(BTreeMap<String, NonZeroU16>),
    /// It drains and is gone.
    Kill {
        /// The longest time for the drain.
        within: Duration,
        /// True to delete its record, its state and its log.
        purge: bool,
    },
    /// Another version takes its place.
    Upgrade {
        /// The topology.
        topology: String,
        /// Components whose saved state is discarded.
        drop_state: BTreeSet<String>,
    },
    /// The server ends.
    ShutDown {
        /// The longest time for the drain.
        within: Duration,
    },
}

/// A task for a keeper, and the client that waits for it.
pub(crate) struct Order {
    /// The task.
    pub task: Task,
    /// The line to the client.
    pub reply: oneshot::Sender<Result<(), Refusal>>,
}

/// A topology that the server keeps: what its keeper and the API share.
pub(crate) struct Kept {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: TopologyFolder,
    summary: Mutex<TopologySummary>,
    topology: Mutex<String>,
    log: Mutex<LogBook>,
    history: Mutex<History>,
    samples: Mutex<SampleBook>,
    orders: mpsc::Sender<Order>,
}

impl Kept {
    /// Returns its state.
    pub(crate) fn summary(&self) -> TopologySummary {
        lock(&self.summary).clone()
    }

    /// Changes its state.
    pub(crate) fn show(&self, change: impl FnOnce(&mut TopologySummary)) {
        change(&mut lock(&self.summary));
    }

    /// Returns the topology file that runs.
    pub(crate) fn topology(&self) -> String {
        lock(&self.topology).clone()
    }

    /// Records that another topology file runs, with these numbers of components and tasks.
    pub(crate) fn set_topology(&self, topology: &str, (components, tasks): (usize, usize)) {
        topology.clone_into(&mut lock(&self.topology));
        self.show(|summary| (summary.components, summary.tasks) = (components, tasks));
    }

    /// Returns the log of its process.
    pub(crate) fn log(&self) -> MutexGuard<'_, LogBook> {
        lock(&self.log)
    }

    /// Returns its history of the last minutes.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    /// Returns the sample posts of its trends.
    pub(crate) fn samples(&self) -> MutexGuard<'_, SampleBook> {
        lock(&self.samples)
    }

    /// Sends a task to its keeper, and waits until the task is done or begun.
    ///
    /// # Errors
    /// If the task is refused.
    pub(crate) async fn order(&self, task: Task) -> Result<(), Refusal> {
        let (reply, done) = oneshot::channel();
        let gone = || Refusal::Unknown(self.name.clone());
        self.orders.send(Order { task, reply }).await.map_err(|_| gone())?;
        done.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// The parts that all keepers share.
pub(crate) struct Shared {
    /// The program whose `run` runs a topology.
    pub program: PathBuf,
    /// The components.
    pub registry: Arc<Registry>,
    /// The guard over the files and variables that topologies may name.
    pub guard: Arc<dyn Guard>,
    /// The clock.
    pub clock: SharedClock,
    /// The bound on processes that start at the same time.
    pub starting: Arc<Semaphore>,
}

impl Shared {
    /// Reads a topology as a server takes it, with all that it needs from outside.
    ///
    /// # Errors
    /// All problems, each with its place.
    pub(crate) fn read(&self, file: &str, topology: &str) -> Result<Topology, Problems> {
        let guard = Some(Arc::clone(&self.guard));
        let options = LoadOptions { online: true, guard, ..LoadOptions::default() };
        parse(file, topology, &self.registry, &options)
    }
}

impl Shared {
    /// Reads a topology without asking anything outside, to look at what it names.
    ///
    /// # Errors
    /// All problems, each with its place.
    pub(crate) fn read_offline(&self, topology: &str) -> Result<Topology, Problems> {
        let guard = Some(Arc::clone(&self.guard));
        let options = LoadOptions { guard, ..LoadOptions::default() };
        parse("topology", topology, &self.registry, &options)
    }
}

/// All topologies of a server.
pub(crate) struct Fleet {
    state: PathBuf,
    limits: Limits,
    shared: Arc<Shared>,
    kept: Mutex<BTreeMap<String, Arc<Kept>>>,
    /// The topologies that ran before the server started, and haven't been started again.
    awaited: Mutex<BTreeSet<String>>,
    keepers: mpsc::Sender<Keeper>,
}

/// Locks a value even after a panic: no value is left half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the number of components of a topology's file, and the number of all their tasks.
pub(crate) fn size_of(topology: &Topology) -> (usize, usize) {
    let tasks = topology.components.iter().map(|spec| usize::from(spec.parallelism_hint.get()));
    let of_file = topology.components.iter().filter(|spec| spec.in_front_of.is_none());
    (of_file.count(), tasks.sum())
}

impl Fleet {
    /// Creates an empty fleet; `keepers` receives the keepers that it creates.
    pub(crate) fn new(
        options: &ServerOptions,
        registry: Arc<Registry>,
        keepers: mpsc::Sender<Keeper>,
    ) -> Arc<Self> {
        let shared = Shared {
            program: options.program.clone(),
            registry,
            guard: Arc::new(options.allowed.clone()),
            clock: SystemClock::shared(),
            starting: Arc::new(Semaphore::new(STARTING_MAX)),
        };
        Arc::new(Self {
            state: options.state.clone(),
            limits: options.limits,
            shared: Arc::new(shared),
            kept: Mutex::default(),
            awaited: Mutex::default(),
            keepers,
        })
    }

    /// Starts again everything that ran. Returns what couldn't be read, for a person.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub(crate) async fn start_all(self: &Arc<Self>) -> Result<Vec<String>> {
        let root = places::topologies(&self.state);
        make_private_folders(&root).map_err(|error| failed("make", &root, error))?;
        let entries = fs::read_dir(&root).map_err(|error| failed("read", &root, error))?;
        let mut damaged = Vec::new();
        for entry in entries.flatten() {
            let folder = TopologyFolder(entry.path());
            match Record::read(&folder) {
                Ok(Some(record)) if record.wanted == Wanted::Purged => {
                    // A folder that can't be deleted is deleted at the next start.
                    let _ = fs::remove_dir_all(&folder.0);
                }
                Ok(Some(record)) if record.wanted != Wanted::Killed => {
                    self.keep(record, folder).await;
                }
                Ok(_) => {}
                Err(error) => damaged.push(error.chain()),
            }
        }
        Ok(damaged)
    }

    /// Returns how many topologies that ran before the server started haven't been started again.
    /// One that was started and failed counts as started: its keeper tries again.
    pub(crate) fn awaited(&self) -> usize {
        let mut awaited = lock(&self.awaited);
        if !awaited.is_empty() {
            let kept = lock(&self.kept);
            awaited.retain(|name| {
                kept.get(name).is_some_and(|one| one.summary().state == State::Starting)
            });
        }
        awaited.len()
    }

    /// Returns the parts that keepers share.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Returns the bounds.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Returns all topologies, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Kept>> {
        lock(&self.kept).values().cloned().collect()
    }

    /// Returns the topology with a name.
    ///
    /// # Errors
    /// If no topology has the name.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<Kept>, Refusal> {
        lock(&self.kept).get(name).cloned().ok_or_else(|| Refusal::Unknown(name.to_owned()))
    }

    /// Takes a topology, and starts it. It goes on with the state that an earlier one of its name
    /// left, unless it is to begin `fresh`.
    ///
    /// # Errors
    /// If it has problems, there is one of its name, or there are too many.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        (file, topology): (&str, &str),
        fresh: bool,
        drop_state: BTreeSet<String>,
    ) -> Result<Arc<Kept>, Refusal> {
        let read = self.shared.read(file, topology).map_err(Refusal::Invalid)?;
        check_name(&read.name)?;
        self.check_room(&read, None)?;
        let folder = TopologyFolder::of(&self.state, &read.name);
        let mut record = Record::new(&read.name, topology.to_owned(), self.shared.clock.now());
        (record.fresh, record.drop_state) = (fresh, drop_state);
        let (one, keeper) = self.enter(record, folder, size_of(&read))?;
        self.begin(keeper).await;
        Ok(one)
    }

    /// Writes the record of a new topology, unless there is one of its name.
    fn enter(
        self: &Arc<Self>,
        record: Record,
        folder: TopologyFolder,
        size: (usize, usize),
    ) -> Result<(Arc<Kept>, Keeper), Refusal> {
        // Held during the write, so that of two submissions with the same name one is refused.
        let mut kept = lock(&self.kept);
        if kept.contains_key(&record.name) {
            return Err(Refusal::Conflict(format!(
                "there is a topology \"{}\" already: upgrade it, kill it first, or give this one \
                 another name",
                record.name
            )));
        }
        record.write(&folder)?;
        let (one, keeper) = self.make(record, folder, size);
        kept.insert(one.name.clone(), Arc::clone(&one));
        Ok((one, keeper))
    }

    /// Returns true if a topology fits beside all others, or in the place of one.
    ///
    /// # Errors
    /// If it doesn't.
    pub(crate) fn check_room(
        &self,
        topology: &Topology,
        instead: Option<&Kept>,
    ) -> Result<(), Refusal> {
        let kept = lock(&self.kept);
        let Limits { topologies_max, tasks_max, .. } = self.limits;
        if instead.is_none() && kept.len() >= topologies_max {
            return Err(Refusal::TooMany(format!(
                "this server takes {topologies_max} topologies at most (--max-topologies of `serve`)"
            )));
        }
        let others = kept.values().filter(|one| instead.is_none_or(|old| old.name != one.name));
        let running: usize = others.map(|one| one.summary().tasks).sum();
        let (_, tasks) = size_of(topology);
        fits(tasks, running, tasks_max)
    }

    /// Returns true if a topology may have so many tasks.
    ///
    /// # Errors
    /// If it doesn't.
    pub(crate) fn check_tasks(&self, of: &Kept, tasks: usize) -> Result<(), Refusal> {
        let kept = lock(&self.kept);
        let others = kept.values().filter(|one| one.name != of.name);
        fits(tasks, others.map(|one| one.summary().tasks).sum(), self.limits.tasks_max)
    }

    /// Deletes the folder of a topology that was killed.
    ///
    /// # Errors
    /// If there is nothing, or it can't be deleted.
    pub(crate) fn purge_killed(&self, name: &str) -> Result<(), Refusal> {
        let folder = TopologyFolder::of(&self.state, name);
        let kept = lock(&self.kept);
        let record = if kept.contains_key(name) { None } else { Record::read(&folder)? };
        let Some(mut record) = record else { return Err(Refusal::Unknown(name.to_owned())) };
        record.wanted = Wanted::Purged;
        record.write(&folder)?;
        fs::remove_dir_all(&folder.0).map_err(|error| failed("delete", &folder.0, error))?;
        Ok(())
    }

    /// Ends all topologies, so that the next start goes on with them.
    pub(crate) async fn shut_down(&self, within: Duration) {
        // A process that waits for its start isn't started.
        self.shared.starting.close();
        let all = self.all();
        let orders = all.iter().map(|kept| kept.order(Task::ShutDown { within }));
        futures_util::future::join_all(orders).await;
    }

    /// Removes a topology that has ended.
    pub(crate) fn forget(&self, name: &str) {
        lock(&self.kept).remove(name);
    }

    /// Keeps a topology of an earlier start.
    async fn keep(self: &Arc<Self>, record: Record, folder: TopologyFolder) {
        let read = self.shared.read("topology", &record.current.topology);
        let size = read.as_ref().map_or((0, 0), size_of);
        let (kept, keeper) = self.make(record, folder, size);
        lock(&self.awaited).insert(kept.name.clone());
        lock(&self.kept).insert(kept.name.clone(), kept);
        self.begin(keeper).await;
    }

    async fn begin(&self, keeper: Keeper) {
        // The thread of the keepers ends with the process.
        let _ = self.keepers.send(keeper).await;
    }

    fn make(
        self: &Arc<Self>,
        record: Record,
        folder: TopologyFolder,
        (components, tasks): (usize, usize),
    ) -> (Arc<Kept>, Keeper) {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let summary = TopologySummary {
            name: record.name.clone(),
            state: State::Starting,
            since: self.shared.clock.now(),
            message: record.last_error.as_ref().map(|error| error.text.clone()),
            next_start: None,
            pid: None,
            failures: 0,
            submitted_at: record.submitted_at,
            components,
            tasks,
        };
        let kept = Arc::new(Kept {
            name: record.name.clone(),
            summary: Mutex::new(summary),
            topology: Mutex::new(record.current.topology.clone()),
            log: Mutex::new(LogBook::open(folder.log())),
            history: Mutex::default(),
            samples: Mutex::default(),
            folder,
            orders,
        });
        let fleet = Arc::downgrade(self);
        let keeper = Keeper::new(Arc::clone(&kept), record, taken, Arc::clone(&self.shared), fleet);
        (kept, keeper)
    }
}

/// Returns true if a topology's tasks fit beside those of others.
fn fits(tasks: usize, others: usize, tasks_max: usize) -> Result<(), Refusal> {
    if others + tasks <= tasks_max {
        return Ok(());
    }
    Err(Refusal::TooMany(format!(
        "this topology has {tasks} tasks beside {others} of others, and this server takes \
         {tasks_max} at most (--max-tasks of `serve`)"
    )))
}

/// Returns true if a name can stand in addresses.
fn check_name(name: &str) -> Result<(), Refusal> {
    let is_bad = |c: char| c.is_control() || c == '/' || c == '\\';
    if name.is_empty() || name.contains(is_bad) || matches!(name, "." | "..") {
        return Err(Refusal::Bad(format!(
            "the topology's name \"{name}\" can't stand in an address: expected text without \
             slashes and control characters"
        )));
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(Refusal::Bad(format!(
            "expected a topology's name of {NAME_CHARS_MAX} characters at most, found {}",
            name.chars().count()
        )));
    }
    Ok(())
}
