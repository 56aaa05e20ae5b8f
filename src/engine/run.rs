//! Starting a topology, watching it, and waiting for its end.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, SyncArbiter, System};
use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use super::bolt_actor::{BlockingActor, BoltActor, Shell};
use super::dead_letters::DEAD;
use super::metering::{Doing, Meter};
use super::report::Report;
use super::spout_actor::SpoutActor;
use super::wiring::{Ready, ReadyKind, Shared, wire, with_dead_letters};
use crate::checkpoint::MemoryStore;
use crate::clock::SharedClock;
use crate::coordinator::{Begin, ControlStatus, CoordinatorActor, Machine, Policy, Stop, TaskLine, TaskRole};
use crate::error::{Error, Result};
use crate::metrics::{ComponentStatus, Status};
use crate::registry::Config;
use crate::topology::{ComponentSpec, Plan, Topology};

/// How a topology is run.
pub struct RunOptions {
    /// The clock that it runs by.
    pub clock: SharedClock,
    /// Where checkpoints, outboxes and spools are kept.
    pub state: PathBuf,
    /// How long a drain may take before it is given up.
    pub drain_deadline: Duration,
}

/// How long a drain may take unless it is told otherwise.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All sources ended, or the drain after [`Running::stop`] was complete.
    Finished,
    /// A component or the engine failed for good; the text names the component, the task and the cause.
    Failed(String),
    /// The drain deadline went by; the text names what wasn't done yet.
    NotClean(String),
}

/// A running topology. Dropping it does not stop it.
pub struct Running {
    components: Vec<ComponentSpec>,
    name: String,
    plan: Plan,
    meters: Vec<Arc<Meter>>,
    clock: SharedClock,
    started_at: Duration,
    control: Arc<Mutex<ControlStatus>>,
    coordinator: Addr<CoordinatorActor>,
    ended: Receiver<Exit>,
    exit: Mutex<Option<Exit>>,
    system: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// Starts a topology on threads of its own.
///
/// # Errors
/// If a component can't be made: a missing file, a folder that can't be written.
pub fn start(topology: Topology, options: RunOptions) -> Result<Running> {
    let dead_root = dead_letter_root(&topology, &options);
    let topology = with_dead_letters(topology, crate::sink::dead_letters(dead_root));
    let plan = Plan::of(&topology);
    let clock = options.clock;
    let machine = Machine::new(
        policy(&topology, options.drain_deadline),
        roles(&topology, &plan),
        clock.now(),
        clock.monotonic(),
    );
    let control = Arc::new(Mutex::new(ControlStatus::of(&machine)));
    let (started, starting) = bounded(1);
    let (exit, ended) = bounded(1);
    let (stop, stopped) = oneshot::channel();
    let boot = Boot { plan: plan.clone(), machine, clock: Arc::clone(&clock), control: Arc::clone(&control), exit };
    let (components, name) = (topology.components.clone(), topology.name.clone());
    let system = thread::Builder::new()
        .name("waterspout".into())
        .spawn(move || System::new().block_on(boot.run(topology, started, stopped)))
        .map_err(|error| Error::fatal("can't start a thread").because(error))?;
    let (coordinator, meters) = starting.recv().map_err(|_| Error::fatal("the engine ended while it started"))??;
    Ok(Running {
        components,
        name,
        plan,
        meters,
        started_at: clock.monotonic(),
        clock,
        control,
        coordinator,
        ended,
        exit: Mutex::new(None),
        system: Mutex::new(Some((stop, system))),
    })
}

/// The dead letters go beside the data of the first lake, or with the state.
fn dead_letter_root(topology: &Topology, options: &RunOptions) -> PathBuf {
    let lakes = topology.components.iter().filter_map(|spec| match &spec.config {
        Config::Sink(config) => config.lake_root().map(|root| (&spec.id, root)),
        _ => None,
    });
    lakes.min_by_key(|(id, _)| *id).map_or_else(|| options.state.clone(), |(_, root)| root)
}

fn policy(topology: &Topology, drain_deadline: Duration) -> Policy {
    Policy {
        checkpoint: topology.checkpoint,
        micro_batch_age: topology.micro_batch.age,
        partition_every: topology.partition_every,
        drain_deadline,
    }
}

fn roles(topology: &Topology, plan: &Plan) -> Vec<(String, TaskRole)> {
    let of = |spec: &ComponentSpec| match spec.config {
        Config::Spout(_) => TaskRole::Spout,
        Config::Bolt(_) => TaskRole::Bolt,
        Config::Sink(_) => TaskRole::Sink,
    };
    let named = plan.tasks.iter().map(|task| (task, &topology.components[task.component]));
    named.map(|(task, spec)| (format!("{}[{}]", spec.id, task.index), of(spec))).collect()
}

type Started = Result<(Addr<CoordinatorActor>, Vec<Arc<Meter>>)>;

/// What the system thread starts with.
struct Boot {
    plan: Plan,
    machine: Machine,
    clock: SharedClock,
    control: Arc<Mutex<ControlStatus>>,
    exit: Sender<Exit>,
}

impl Boot {
    async fn run(self, topology: Topology, started: Sender<Started>, stopped: oneshot::Receiver<()>) {
        let result = self.start(&topology);
        let running = result.is_ok();
        // Whoever started the topology waits for this.
        let _ = started.send(result);
        if running {
            // An error means that nobody can stop it any more; it then runs to its own end.
            let _ = stopped.await;
        }
        System::current().stop();
    }

    fn start(self, topology: &Topology) -> Started {
        let control_arbiter = Arbiter::new();
        let (boundary, _) = self.machine.partition();
        let actor = CoordinatorActor::new(
            self.machine,
            Box::new(MemoryStore::default()),
            Arc::clone(&self.clock),
            self.control,
            self.exit,
        );
        let coordinator = CoordinatorActor::start_in_arbiter(&control_arbiter.handle(), |_| actor);
        let shared = Shared { clock: Arc::clone(&self.clock), coordinator: coordinator.clone().recipient(), boundary };
        let ready = wire(topology, &self.plan, &shared)?;
        let meters = ready.iter().map(|task| Arc::clone(&task.meter)).collect();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let executors: Vec<_> = (0..cores).map(|_| Arbiter::new()).collect();
        let launcher = Launcher { executors: &executors, control: &control_arbiter, clock: &self.clock };
        let lines = ready.into_iter().map(|task| launcher.launch(task)).collect();
        coordinator.do_send(Begin(lines));
        Ok((coordinator, meters))
    }
}

/// Starts the actors of tasks.
struct Launcher<'a> {
    executors: &'a [Arbiter],
    control: &'a Arbiter,
    clock: &'a SharedClock,
}

impl Launcher<'_> {
    fn launch(&self, task: Ready) -> TaskLine {
        let Ready { lane, meter, handle, kind } = task;
        let executor = self.executors[lane % self.executors.len()].handle();
        match kind {
            ReadyKind::Spout { config, component, port, arities, linger, reporter } => {
                let parts = (Arc::clone(&meter), Arc::clone(self.clock), reporter.clone());
                let actor = SpoutActor::start_in_arbiter(&executor, move |_| {
                    let source = config.build().map_err(|error| reporter.send(Report::Failed(error.chain())));
                    SpoutActor::new(component, source.ok(), *port, handle, (arities, linger), parts)
                });
                TaskLine { role: TaskRole::Spout, mailbox: actor.recipient(), meter }
            }
            ReadyKind::Bolt { task, blocks, sink } => {
                let role = if sink { TaskRole::Sink } else { TaskRole::Bolt };
                let shell = Shell::new(*task, Arc::clone(&handle));
                let mailbox = if blocks {
                    let (shell, timers) = (Mutex::new(Some(shell)), self.control.handle());
                    let actor = SyncArbiter::start(1, move || {
                        let shell = shell.lock().unwrap_or_else(PoisonError::into_inner).take();
                        BlockingActor::new(shell.expect("one thread takes the one task"), timers.clone())
                    });
                    handle.bind(actor.clone().recipient());
                    actor.recipient()
                } else {
                    let actor = BoltActor::start_in_arbiter(&executor, |_| BoltActor(shell));
                    handle.bind(actor.clone().recipient());
                    actor.recipient()
                };
                TaskLine { role, mailbox, meter }
            }
        }
    }
}

impl Running {
    /// The topology at this moment.
    pub fn status(&self) -> Status {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = self.clock.monotonic();
        let shown = self.components.iter().enumerate().filter(|(_, spec)| spec.id != DEAD);
        Status {
            topology: self.name.clone(),
            uptime: now.saturating_sub(self.started_at),
            phase: control.phase,
            partition: control.partition.0,
            rolls_over: control.partition.1,
            epoch: control.complete.map_or(0, |(epoch, _)| epoch),
            checkpoint_age: control.complete.map(|(_, at)| now.saturating_sub(at)),
            components: shown.map(|(index, spec)| self.component(index, spec)).collect(),
        }
    }

    fn component(&self, index: usize, spec: &ComponentSpec) -> ComponentStatus {
        let meters = &self.meters[self.plan.tasks_of(index)];
        let sum = |count: fn(&Meter) -> u64| meters.iter().map(|meter| count(meter)).sum();
        let mut executes = Meter::no_executes();
        meters.iter().for_each(|meter| meter.add_executes_to(&mut executes));
        let quantile = |q| (!executes.is_empty()).then(|| Duration::from_nanos(executes.value_at_quantile(q)));
        let doing = meters.iter().map(|meter| meter.doing()).max().unwrap_or(Doing::Idle);
        ComponentStatus {
            id: spec.id.clone(),
            role: spec.role.name(),
            type_name: spec.type_name,
            tasks: meters.len(),
            received: sum(Meter::received),
            emitted: sum(Meter::emitted),
            failed: sum(Meter::failed),
            dead_letters: sum(Meter::dead_letters),
            p50: quantile(0.5),
            p99: quantile(0.99),
            busy: meters.iter().map(|meter| meter.busy()).sum(),
            inbox: meters.iter().map(|meter| meter.inbox()).fold(0.0, f64::max),
            state: meters.iter().find_map(|meter| meter.says()).unwrap_or_else(|| doing.word().into()),
        }
    }

    /// Begins a graceful drain: spouts stop, what is in flight is written, files close. Returns at once.
    pub fn stop(&self) {
        self.coordinator.do_send(Stop);
    }

    /// Waits for the end, but no longer than `timeout`; after the end, says again how it ended.
    pub fn wait(&self, timeout: Duration) -> Option<Exit> {
        let mut exit = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if exit.is_none() {
            *exit = self.ended.recv_timeout(timeout).ok();
            if let Some(exit) = &*exit {
                self.tear_down(exit);
            }
        }
        exit.clone()
    }

    fn tear_down(&self, exit: &Exit) {
        let Some((stop, thread)) = self.system.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // The thread may have ended already.
        let _ = stop.send(());
        // A task that hangs keeps its executor for ever: only a clean end is waited for.
        if *exit == Exit::Finished {
            let _ = thread.join();
        }
    }
}
