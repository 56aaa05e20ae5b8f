//! Starts all tasks of a topology from the newest checkpoint, waits for their outcome, and restarts
//! them after a panic and for a rebalance.
//!
//! ```text
//! recover ─▶ wire ─▶ launch ─▶ … outcome ─▶ tear down ─┬─▶ ended
//!    ▲                                                 │
//!    └──────────── RollBack, Rebalance ────────────────┘
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Actor;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::again::UnchangedState;
use super::launch::Executors;
use super::outline::outline;
use super::restarts::{Restarts, Verdict};
use super::resume::recover;
use super::run::{Exit, Hints, Running};
use super::wiring::{Shared, places, wire};
use crate::checkpoint::StateStore;
use crate::clock::SharedClock;
use crate::coordinator::{
    Begin, ControlStatus, CoordinatorActor, Machine, Outbox, Outcome, Policy, TaskLine, TaskRole,
    says_ahead,
};
use crate::dead_letter::LetterLimits;
use crate::error::{Error, Kind, NO_ROOM_RETRY, Result};
use crate::protocol::{Census, Control, RunLife};
use crate::registry::Config;
use crate::sink::outbox;
use crate::topology::{Checkpoint, ComponentSpec, Plan, Topology};

/// The time after which tasks that haven't ended count as hung.
const TEAR_DOWN_DEADLINE: Duration = Duration::from_secs(10);

/// The number under which the census lists the thread that writes checkpoints.
const SAVER: usize = usize::MAX;

/// A loop that keeps a topology running.
pub(crate) struct Supervisor {
    /// The topology, with its hidden components.
    pub topology: Topology,
    /// The store of its checkpoints.
    pub store: Arc<dyn StateStore>,
    /// The folder of its spools.
    pub state: PathBuf,
    /// The folder that contains the lake of dead letters.
    pub dead_root: PathBuf,
    /// The path of the topology's file, which is saved for people.
    pub about: String,
    /// The clock.
    pub clock: SharedClock,
    /// The time after which a drain is given up.
    pub drain_deadline: Duration,
    /// Components whose state is discarded at the first start.
    pub drop_state: BTreeSet<String>,
    /// The bound on the dead letters of each task of a bolt or sink.
    pub letters: LetterLimits,
    /// Set in a run that sends dead letters again: the sources don't read, so their saved positions
    /// and ends must be kept.
    pub again: Option<UnchangedState>,
    /// The handle by which callers watch and control the topology.
    pub running: Arc<Running>,
    /// Dropped at the end, which tells other threads that the run is over.
    pub life: RunLife,
}

/// The running tasks.
struct Launched {
    tasks: Vec<TaskLine>,
    census: Census,
    outcome: oneshot::Receiver<Outcome>,
}

impl Supervisor {
    /// Runs until the topology has ended. `started` receives the result of the first start.
    pub(crate) async fn run(mut self, started: crossbeam_channel::Sender<Result<()>>) {
        let executors = Executors::start(Arc::clone(&self.clock));
        let mut restarts = Restarts::new(self.topology.restarts);
        let first = self.launch(&executors, &restarts);
        let mut launched = match first {
            Ok(launched) => launched,
            // The caller of `start` waits for this result.
            Err(error) => return drop(started.send(Err(error))),
        };
        let _ = started.send(Ok(()));
        let exit = loop {
            launched = match self.next(launched, &executors, &mut restarts).await {
                Ok(launched) => launched,
                Err(exit) => break exit,
            };
        };
        self.running.has_ended(exit);
    }

    /// Waits for an outcome. Returns either new tasks or the end of the topology.
    async fn next(
        &mut self,
        launched: Launched,
        executors: &Executors,
        restarts: &mut Restarts,
    ) -> std::result::Result<Launched, Exit> {
        let Launched { tasks, census, outcome } = launched;
        let lost = |_| Outcome::Failed("the coordinator is gone".into());
        let outcome = outcome.await.unwrap_or_else(lost);
        census.announce_end();
        tasks.iter().for_each(|task| task.mailbox.do_send(Control::Shutdown));
        drop(tasks);
        if let Outcome::Failed(cause) = outcome {
            return Err(Exit::Failed(cause));
        }
        if let Outcome::NotClean(left) = outcome {
            return Err(Exit::NotClean(left));
        }
        let hung = census.leave(&self.clock, TEAR_DOWN_DEADLINE).await.err();
        match outcome {
            Outcome::Finished { all } => return Err(self.finished(all).await),
            Outcome::RollBack { task, cause, tuple } => {
                self.rolls_back(restarts, task, cause, tuple).await?
            }
            _ => {}
        }
        if let Some(hung) = hung {
            let tasks = hung.join(", ");
            return Err(Exit::Failed(format!(
                "{tasks} didn't end, so the topology can't go back to its checkpoint"
            )));
        }
        self.launch_again(executors, restarts).await
    }

    /// Finishes a run in which everything is delivered.
    async fn finished(&self, all: bool) -> Exit {
        let for_good = |spec: &ComponentSpec| match &spec.config {
            Config::Spout(config) => config.ends_for_good(),
            _ => true,
        };
        let done = all && self.topology.components.iter().all(for_good);
        let now_finished = || done.then(|| self.clock.now());
        let finished = self.again.map_or_else(now_finished, |before| before.finished);
        let places: Vec<String> = match self.store.saved() {
            Ok(saved) => saved.places.into_values().flatten().collect(),
            Err(error) => return Exit::Failed(error.chain()),
        };
        loop {
            match self.store.end(finished) {
                Ok(()) => {
                    // No checkpoint refers to the remaining segments of the outboxes, because all
                    // rows are delivered.
                    let discarded =
                        places.iter().map(|place| outbox::discard(place)).find_map(Result::err);
                    if let Some(error) = discarded {
                        self.running.say(error.chain());
                    }
                    return Exit::Finished;
                }
                Err(error) if error.kind() == Kind::NoRoom => self.wait_for_room(&error).await,
                Err(error) => return Exit::Failed(error.chain()),
            }
        }
    }

    async fn wait_for_room(&self, error: &Error) {
        self.running.warn(error.chain());
        self.clock.sleep(NO_ROOM_RETRY).await;
    }

    /// Returns true if bolts should emit the tuples that they hold back: only when the topology's
    /// own sources have ended.
    fn flushes(&self) -> bool {
        self.again.is_none_or(|before| before.finished.is_some())
    }

    async fn rolls_back(
        &self,
        restarts: &mut Restarts,
        task: usize,
        cause: String,
        tuple: Option<u64>,
    ) -> std::result::Result<(), Exit> {
        if self.topology.checkpoint == Checkpoint::Off {
            return Err(Exit::Failed(cause));
        }
        let spec = self.running.component_of(task);
        match restarts.panicked(&spec, tuple, &cause, self.clock.monotonic()) {
            Verdict::Stop(why) => Err(Exit::Failed(why)),
            Verdict::Again(wait) => {
                self.running.warn(format!("{cause}; going back to the newest checkpoint"));
                self.clock.sleep(wait).await;
                Ok(())
            }
        }
    }

    /// Restarts all tasks, with the requested numbers of tasks if possible.
    async fn launch_again(
        &mut self,
        executors: &Executors,
        restarts: &Restarts,
    ) -> std::result::Result<Launched, Exit> {
        self.drop_state.clear();
        self.running.keep_totals();
        let asked = self.running.rebalance_asked();
        let before = asked.as_ref().map(|asked| self.set_hints(&asked.hints));
        loop {
            let error = match self.launch(executors, restarts) {
                Ok(launched) => {
                    if let Some(asked) = asked {
                        asked.done(Ok(self.clock.monotonic()));
                    }
                    return Ok(launched);
                }
                Err(error) => error,
            };
            if error.kind() == Kind::NoRoom {
                self.wait_for_room(&error).await;
                continue;
            }
            let (Some(asked), Some(before)) = (asked, before) else {
                return Err(Exit::Failed(error.chain()));
            };
            self.set_hints(&before);
            asked.done(Err(error));
            return self.launch(executors, restarts).map_err(|error| Exit::Failed(error.chain()));
        }
    }

    /// Sets parallelism hints, and returns the previous ones.
    fn set_hints(&mut self, hints: &Hints) -> Hints {
        let mut before = Hints::new();
        for spec in &mut self.topology.components {
            // A bolt inserted for a sink has as many tasks as the sink, unless the request names
            // the bolt.
            let of_sink = spec.in_front_of.as_ref().and_then(|sink| hints.get(sink));
            if let Some(hint) = hints.get(&spec.id).or(of_sink) {
                before
                    .insert(spec.id.clone(), std::mem::replace(&mut spec.parallelism_hint, *hint));
            }
        }
        before
    }

    /// Starts all tasks from the newest checkpoint.
    fn launch(&self, executors: &Executors, restarts: &Restarts) -> Result<Launched> {
        let topology = &self.topology;
        let plan = Plan::of(topology);
        let mut resume = recover(topology, &*self.store, &self.drop_state)?;
        let resumed = resume.resumed(topology, &plan);
        if resume.saved.epoch > 0 && resume.saved.places.is_empty() {
            outbox::discard_delivered(&self.state)?;
        }
        let before = resume.saved.boundary;
        if let Some(ahead) =
            before.and_then(|last| says_ahead(last, self.clock.now(), topology.partition_every))
        {
            self.running.say(ahead);
        }
        let policy = policy(topology, &plan, self.drain_deadline, self.flushes());
        let mut machine = Machine::new(
            policy,
            roles(topology, &plan),
            resumed,
            self.clock.now(),
            self.clock.monotonic(),
        );
        if self.running.is_inactive() {
            machine.begin_inactive();
        }
        let (boundary, _) = machine.partition();
        let control = Arc::new(Mutex::new(ControlStatus::of(&machine)));
        let (ended, outcome) = oneshot::channel();
        let actor = CoordinatorActor::new(
            machine,
            Arc::clone(&self.clock),
            Arc::clone(&control),
            Arc::clone(self.running.said()),
            ended,
        );
        let coordinator =
            CoordinatorActor::start_in_arbiter(&executors.control.handle(), |_| actor);
        let mut census = Census::new(coordinator.clone().recipient());
        let shared = Shared {
            clock: &self.clock,
            coordinator: coordinator.clone().recipient(),
            boundary,
            run: &Uuid::new_v4().to_string(),
            cursors: &resume.saved.cursors,
            split_times: &resume.saved.split_times,
            watermarks: &resume.saved.watermarks,
            saved_at: resume.saved.at,
            store: &*self.store,
            state: &self.state,
            dead_root: &self.dead_root,
            poison: restarts.poison(),
            letters: self.letters,
            messages: self.running.said(),
            outline: Arc::new(outline(topology, &plan)),
            run_watch: self.life.watch(),
            taps: self.running.taps(),
        };
        self.store.start(&resume.started(
            topology,
            places(topology, &plan, &shared)?,
            &self.about,
        ))?;
        let ready = match wire(topology, &plan, &shared, &mut census) {
            Ok(ready) => ready,
            Err(error) => {
                census.announce_end();
                return Err(error);
            }
        };
        let meters = ready.iter().map(|task| Arc::clone(&task.meter)).collect();
        let alive = census.enter(SAVER, "the thread that writes checkpoints".into());
        let tasks: Vec<_> = ready.into_iter().map(|task| executors.launch(task)).collect();
        tracing::debug!(tasks = tasks.len(), epoch = resume.saved.epoch, "tasks start");
        coordinator.do_send(Begin { tasks: tasks.clone(), store: Arc::clone(&self.store), alive });
        self.running.launched(topology, plan, meters, control, coordinator);
        Ok(Launched { tasks, census, outcome })
    }
}

fn policy(topology: &Topology, plan: &Plan, drain_deadline: Duration, flushes: bool) -> Policy {
    let outbox = |(component, spec): (usize, &ComponentSpec)| {
        let Config::Sink(config) = &spec.config else { return None };
        let bytes_max = config.outbox_bytes_max()?;
        let upstream = spouts_upstream(topology, plan, component);
        let outbox = Outbox { bytes_max, upstream, waits_for_readers: config.waits_for_readers() };
        Some(plan.tasks_of(component).map(move |task| (task, outbox.clone())))
    };
    Policy {
        checkpoint: topology.checkpoint,
        micro_batch_age: topology.micro_batch.age,
        partition_every: topology.partition_every,
        drain_deadline,
        flushes,
        outboxes: topology.components.iter().enumerate().filter_map(outbox).flatten().collect(),
    }
}

/// Returns the tasks of all spouts whose tuples reach a component.
fn spouts_upstream(topology: &Topology, plan: &Plan, component: usize) -> BTreeSet<usize> {
    let spec = &topology.components[component];
    if let Config::Spout(_) = spec.config {
        return plan.tasks_of(component).collect();
    }
    spec.inputs.iter().flat_map(|input| spouts_upstream(topology, plan, input.from)).collect()
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

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::Failed(error.chain())
    }
}
