//! Turns a plan into tasks that are ready to start: channels, emitters, inboxes, and the components
//! themselves.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use actix::Recipient;

use super::again::stands_for;
use super::jobs::JobThread;
use super::policy::late_failures;
use super::refused_rows::RefusedRowsWriter;
use super::resume::{groups, restore};
use super::taps::Taps;
use super::task::{BoltTask, HeldWatermark, Looks, SinkThreads, TaskInput, Worker};
use crate::bolt::BoltContext;
use crate::checkpoint::StateStore;
use crate::clock::SharedClock;
use crate::component::TopologyOutline;
use crate::dead_letter::{DEAD, LetterLimits, Letters};
use crate::epoch::{Cursor, Split};
use crate::error::{Error, Result};
use crate::event_time::{EventTime, EventTimeOrder};
use crate::flow::{
    BoltWaker, EdgeReceiver, EdgeSender, Emitter, EmitterTask, Inbox, Output, Port, SplitClock,
    TaskHandle, edge,
};
use crate::protocol::{Alive, Census, FromTask, Messages, Meter, Reporter, RunWatch, Voice};
use crate::registry::Config;
use crate::sink::{SinkConfig, SinkContext};
use crate::spout::{SpoutConfig, SpoutContext};
use crate::topology::{Checkpoint, ComponentSpec, InputSpec, Plan, Topology};
use crate::tuple::{DEFAULT_STREAM, Fields, StreamId};

/// A task that is ready to start.
pub(crate) struct Ready {
    /// The task's number among those of its component. Its executor is this number modulo the
    /// number of executors.
    pub lane: usize,
    /// Its counters.
    pub meter: Arc<Meter>,
    /// The handle by which others wake it.
    pub handle: Arc<TaskHandle>,
    /// The kind of its component.
    pub kind: ReadyKind,
}

/// The component of a task.
pub(crate) enum ReadyKind {
    /// A spout. Since it need not be `Send`, it is built on its executor.
    Spout {
        /// Its configuration.
        config: Arc<dyn SpoutConfig>,
        /// The context with which it is built.
        context: Box<SpoutContext>,
        /// The messages for people.
        messages: Arc<Messages>,
        /// The port to which it emits.
        port: Box<Port>,
        /// The numbers of fields of its streams, the hidden stream last.
        arities: Vec<usize>,
        /// The longest time that its tuples wait for their batch to fill up.
        linger: Option<std::time::Duration>,
        /// Its line to the coordinator.
        reporter: Reporter,
        /// Dropped with the task, which tells the census that the task has ended.
        alive: Arc<Alive>,
    },
    /// A bolt or sink.
    Bolt {
        /// The task.
        task: Box<BoltTask>,
        /// True if it needs a thread of its own.
        blocks: bool,
        /// True if it is a sink.
        sink: bool,
    },
}

/// Tuples that repeatedly made a component panic: the panic message by component and hash.
pub(crate) type Poison = HashMap<String, HashMap<u64, String>>;

/// The values that all tasks of a start share.
pub(crate) struct Shared<'a> {
    /// The clock.
    pub clock: &'a SharedClock,
    /// The coordinator.
    pub coordinator: Recipient<FromTask>,
    /// The time at which the first partition begins.
    pub boundary: time::OffsetDateTime,
    /// A name that is unique to this start.
    pub run: &'a str,
    /// The cursors from which splits continue.
    pub cursors: &'a BTreeMap<(String, String), Cursor>,
    /// The event time of the newest post of each split.
    pub split_times: &'a BTreeMap<(String, String), EventTime>,
    /// The event time that each bolt had reached.
    pub watermarks: &'a BTreeMap<String, EventTime>,
    /// The time at which the checkpoint with these values was made.
    pub saved_at: Option<time::OffsetDateTime>,
    /// The store with the state of bolts.
    pub store: &'a dyn StateStore,
    /// The folder of the spools.
    pub state: &'a Path,
    /// The folder that contains the lake of dead letters.
    pub dead_root: &'a Path,
    /// The tuples that must not be executed.
    pub poison: &'a Poison,
    /// The bound on the dead letters of each task of a bolt or sink.
    pub letters: LetterLimits,
    /// The messages for people.
    pub messages: &'a Arc<Messages>,
    /// The description of the topology for its components.
    pub outline: Arc<TopologyOutline>,
    /// A watch that tells when the topology has ended.
    pub run_watch: RunWatch,
    /// The open taps.
    pub taps: &'a Taps,
}

/// Returns the places of all sink tasks of this plan; see [`SinkConfig::place`].
///
/// # Errors
/// If a sink can't name the place of a task.
pub(crate) fn places(
    topology: &Topology,
    plan: &Plan,
    shared: &Shared<'_>,
) -> Result<Vec<(String, String)>> {
    let mut places = Vec::new();
    for task in &plan.tasks {
        let spec = &topology.components[task.component];
        if let Config::Sink(config) = &spec.config {
            let maker = Maker { topology, spec, shared, index: task.index };
            let place = config
                .place(&maker.sink_context(Vec::new()))
                .map_err(|error| of_component(spec, error))?;
            places.push((spec.id.clone(), place));
        }
    }
    Ok(places)
}

/// Creates all tasks of a topology, with the state from which they continue.
///
/// # Errors
/// If a component can't be created; the text names the component.
pub(crate) fn wire(
    topology: &Topology,
    plan: &Plan,
    shared: &Shared<'_>,
    census: &mut Census,
) -> Result<Vec<Ready>> {
    let mut ready = make(topology, plan, shared, census)?;
    let mut bolts = Vec::new();
    for (task, place) in ready.iter_mut().zip(&plan.tasks) {
        let spec = &topology.components[place.component];
        if let ReadyKind::Bolt { task, .. } = &mut task.kind
            && let Worker::Bolt(bolt) = &mut task.worker
        {
            bolts.push((spec, groups(topology, spec, place.index).0, bolt));
        }
    }
    restore(shared.store, bolts)?;
    Ok(ready)
}

fn make(
    topology: &Topology,
    plan: &Plan,
    shared: &Shared<'_>,
    census: &mut Census,
) -> Result<Vec<Ready>> {
    let handles: Vec<_> = plan.tasks.iter().map(|_| TaskHandle::new()).collect();
    let mut wires = Wires::new(topology, plan, &handles, shared);
    wires.connect();
    let Wires { emitters, inboxes, .. } = wires;
    let splits_of = |spec| splits_of(spec, shared.cursors);
    let splits = topology.components.iter().map(splits_of).collect::<Result<Vec<_>>>()?;
    let parts = emitters.into_iter().zip(inboxes).zip(handles);
    parts
        .enumerate()
        .map(|(number, ((emitter, inbox), handle))| {
            let place = plan.tasks[number];
            let spec = &topology.components[place.component];
            let maker = Maker { topology, spec, shared, index: place.index };
            let alive = census.enter(number, format!("{}[{}]", spec.id, place.index));
            let reporter = Reporter::new(number, shared.coordinator.clone());
            let meter = Arc::new(Meter::default());
            let kind = match &spec.config {
                Config::Spout(config) => {
                    let mine = share_of(
                        &splits[place.component],
                        place.index,
                        plan.tasks_of(place.component).len(),
                    );
                    let splits: Vec<_> = mine.map(|id| maker.split(id)).collect();
                    let clock = maker.split_clock(config.event_time(), &splits);
                    let port =
                        Port::new(emitter, splits, clock, Arc::clone(&handle), Arc::clone(&meter));
                    maker.spout(config, port, reporter, alive)
                }
                _ => maker
                    .bolt(
                        emitter,
                        inbox,
                        (BoltWaker::of_task(&handle), Arc::clone(&meter)),
                        reporter,
                        alive,
                    )
                    .map_err(|error| of_component(spec, error))?,
            };
            Ok(Ready { lane: place.index, meter, handle, kind })
        })
        .collect()
}

/// Returns true if a bolt of the topology uses the event time of its tuples.
fn uses_event_time(topology: &Topology) -> bool {
    let mut configs = topology.components.iter().map(|spec| &spec.config);
    configs.any(|config| matches!(config, Config::Bolt(bolt) if bolt.uses_event_time()))
}

/// Adds the component to an error.
pub(crate) fn of_component(spec: &ComponentSpec, error: Error) -> Error {
    Error::fatal(format!("component \"{}\"", spec.id)).because(error)
}

fn splits_of(
    spec: &ComponentSpec,
    saved: &BTreeMap<(String, String), Cursor>,
) -> Result<Vec<String>> {
    let Config::Spout(config) = &spec.config else { return Ok(Vec::new()) };
    let mut cursors = BTreeMap::new();
    for ((component, split), cursor) in saved {
        if *component == spec.id {
            cursors.insert(split.clone(), cursor.clone());
        }
    }
    config.splits_after(&cursors).map_err(|error| of_component(spec, error))
}

/// Returns the splits of a task: split *j* belongs to task *j* mod *n*.
fn share_of(splits: &[String], task: usize, tasks: usize) -> impl Iterator<Item = &String> {
    splits.iter().skip(task).step_by(tasks)
}

/// Returns the number of fields of each stream, in the order of declaration. The hidden stream to
/// the dead letters comes last.
fn arities(spec: &ComponentSpec) -> Vec<usize> {
    spec.streams.iter().map(|(_, fields)| fields.len()).chain([1]).collect()
}

/// Returns a stream as an input names it, `component` or `component:stream`, and its fields.
pub(crate) fn stream_of(topology: &Topology, from: usize, stream: StreamId) -> (String, Fields) {
    let from = &topology.components[from];
    let declared = from.streams.iter().nth(stream.0).map(|(name, fields)| (name, fields.clone()));
    let (name, fields) = declared.unwrap_or_else(|| (DEAD, Fields::new(["post"])));
    (if name == DEFAULT_STREAM { from.id.clone() } else { format!("{}:{name}", from.id) }, fields)
}

/// A builder of the component of one task.
struct Maker<'a> {
    topology: &'a Topology,
    spec: &'a ComponentSpec,
    shared: &'a Shared<'a>,
    index: usize,
}

impl Maker<'_> {
    /// Returns a split with the cursor from which it continues.
    fn split(&self, id: &str) -> Split {
        let saved = self.saved_cursor(id).or_else(|| self.former_cursor(id));
        Split { id: id.to_owned(), cursor: saved.cloned().unwrap_or(Cursor::Start) }
    }

    /// Returns the clock of the splits of a spout's task, if a bolt uses event time.
    fn split_clock(&self, order: Option<EventTimeOrder>, splits: &[Split]) -> Option<SplitClock> {
        if !uses_event_time(self.topology) {
            return None;
        }
        let mut newest = Vec::new();
        for split in splits {
            let saved =
                self.shared.split_times.get(&(self.spec.id.clone(), split.id.clone())).copied();
            newest.push((saved.unwrap_or(EventTime::UNKNOWN), split.cursor == Cursor::End));
        }
        Some(SplitClock::new(order, newest, self.shared.clock.monotonic()))
    }

    /// Returns the cursors of the component, by split.
    fn cursors(&self) -> BTreeMap<String, Cursor> {
        let of_component =
            self.shared.cursors.iter().filter(|((component, _), _)| *component == self.spec.id);
        of_component.map(|((_, split), cursor)| (split.clone(), cursor.clone())).collect()
    }

    fn saved_cursor(&self, split: &str) -> Option<&Cursor> {
        self.shared.cursors.get(&(self.spec.id.clone(), split.to_owned()))
    }

    /// Returns the cursor that an earlier version kept under another name, if no split of the
    /// component has a current name yet.
    fn former_cursor(&self, split: &str) -> Option<&Cursor> {
        let Config::Spout(config) = &self.spec.config else { return None };
        let former = config.former_split(split)?;
        let of_component =
            self.shared.cursors.keys().filter(|(component, _)| *component == self.spec.id);
        let mut names = of_component.map(|(_, name)| name);
        let renamed = names.any(|name| config.former_split(name).is_some());
        if renamed { None } else { self.saved_cursor(former) }
    }

    fn durable(&self) -> bool {
        self.topology.checkpoint != Checkpoint::Off
    }

    fn spout(
        &self,
        config: &Arc<dyn SpoutConfig>,
        port: Port,
        reporter: Reporter,
        alive: Arc<Alive>,
    ) -> ReadyKind {
        let state = self.durable().then(|| self.shared.state.to_path_buf());
        ReadyKind::Spout {
            config: Arc::clone(config),
            context: Box::new(SpoutContext {
                component: self.spec.id.clone(),
                state,
                cursors: Arc::new(self.cursors()),
                saved_at: self.shared.saved_at,
                task: self.index,
                outline: Arc::clone(&self.shared.outline),
                voice: self.voice(),
                run_watch: self.shared.run_watch.clone(),
            }),
            messages: Arc::clone(self.shared.messages),
            port: Box::new(port),
            arities: arities(self.spec),
            linger: self.spec.linger,
            reporter,
            alive,
        }
    }

    fn bolt(
        &self,
        emitter: Emitter,
        inbox: Inbox,
        (waker, meter): (BoltWaker, Arc<Meter>),
        reporter: Reporter,
        alive: Arc<Alive>,
    ) -> Result<ReadyKind> {
        let own =
            self.spec.inputs.iter().filter(|input| stands_for(self.topology, input).is_none());
        let input = |input: &InputSpec| {
            let (from, fields) = stream_of(self.topology, input.from, input.stream);
            TaskInput { from, fields }
        };
        let inputs: Vec<_> = own.map(input).collect();
        let fields: Vec<_> = inputs.iter().map(|input| input.fields.clone()).collect();
        let (worker, blocks, sink) = match &self.spec.config {
            Config::Bolt(config) => {
                let context = BoltContext {
                    component: self.spec.id.clone(),
                    task: self.index,
                    inputs: fields,
                    waker: waker.clone(),
                    outline: Arc::clone(&self.shared.outline),
                    voice: self.voice(),
                    ending: alive.ending(),
                    late_failures: late_failures(&self.spec.on_error),
                };
                (Worker::Bolt(config.build(&context)?), config.blocks(), false)
            }
            Config::Sink(config) => {
                let sink = config.build(self.sink_context(fields))?;
                let threads = config
                    .blocks()
                    .then(|| self.sink_threads(&meter, &reporter, &alive))
                    .transpose()?;
                (Worker::Sink(sink, threads), config.blocks(), true)
            }
            Config::Spout(_) => unreachable!("spouts are made by Maker::spout"),
        };
        let refused_rows = RefusedRowsWriter::new(self.shared.dead_root, &self.spec.id, &inputs);
        let task = BoltTask {
            refused_rows,
            waker,
            component: self.spec.id.clone(),
            worker,
            inputs,
            on_error: self.spec.on_error.clone(),
            linger: self.spec.linger,
            inbox,
            output: Output {
                emitter,
                dead: StreamId(self.spec.streams.len()),
                holds_watermark: false,
                buried: Vec::new(),
                late_failures: 0,
            },
            letters: Letters::new(
                self.spec.id.clone(),
                self.shared.letters,
                Arc::clone(self.shared.messages),
                Arc::clone(&meter),
                self.shared.clock.monotonic(),
            ),
            meter,
            clock: Arc::clone(self.shared.clock),
            reporter,
            current: None,
            looks: Looks::default(),
            held: HeldWatermark::default(),
            is_past_end: false,
            keeps_state: matches!(&self.spec.config, Config::Bolt(config) if config.keeps_state()),
            state_group: groups(self.topology, self.spec, self.index).1,
            poison: Arc::new(self.shared.poison.get(&self.spec.id).cloned().unwrap_or_default()),
            panicked_on: None,
            _alive: alive,
        };
        Ok(ReadyKind::Bolt { task: Box::new(task), blocks, sink })
    }

    /// Returns the channel on which the component reports messages under the task's name.
    fn voice(&self) -> Voice {
        Voice::new(format!("{}[{}]", self.spec.id, self.index), self.shared.messages)
    }

    fn sink_context(&self, inputs: Vec<Fields>) -> SinkContext {
        SinkContext {
            component: self.spec.id.clone(),
            task: self.index,
            run: self.shared.run.to_owned(),
            inputs,
            micro_batch: self.topology.micro_batch,
            boundary: self.shared.boundary,
            durable: self.durable(),
            state: self.shared.state.to_path_buf(),
            clock: Arc::clone(self.shared.clock),
        }
    }

    fn sink_threads(
        &self,
        meter: &Arc<Meter>,
        reporter: &Reporter,
        alive: &Arc<Alive>,
    ) -> Result<SinkThreads> {
        let start = |what: &'static str| {
            let name = format!("{}[{}] {what}", self.spec.id, self.index);
            JobThread::start(what, &name, Arc::clone(meter), reporter.clone(), Arc::clone(alive))
        };
        Ok(SinkThreads { prepare: start("prepare")?, commit: start("commit")? })
    }
}

/// All channels of a topology, before they are moved into the tasks at their ends.
struct Wires<'a> {
    topology: &'a Topology,
    plan: &'a Plan,
    handles: &'a [Arc<TaskHandle>],
    emitters: Vec<Emitter>,
    inboxes: Vec<Inbox>,
}

impl<'a> Wires<'a> {
    fn new(
        topology: &'a Topology,
        plan: &'a Plan,
        handles: &'a [Arc<TaskHandle>],
        shared: &Shared<'_>,
    ) -> Self {
        let timed = uses_event_time(topology);
        let emitter = |component: usize| {
            let spec = &topology.components[component];
            let tap = shared.taps.of(&spec.id);
            Emitter::new(arities(spec), spec.batch, timed).with_tap(tap)
        };
        let emitters = plan.tasks.iter().map(|task| emitter(task.component)).collect();
        let mut inboxes = Vec::new();
        for task in &plan.tasks {
            let watermark = shared.watermarks.get(&topology.components[task.component].id);
            inboxes.push(Inbox::new(watermark.copied().unwrap_or(EventTime::UNKNOWN)));
        }
        Self { topology, plan, handles, emitters, inboxes }
    }

    fn connect(&mut self) {
        for (component, spec) in self.topology.components.iter().enumerate() {
            for (number, input) in spec.inputs.iter().enumerate() {
                let number = stands_for(self.topology, input).unwrap_or(number);
                for from in self.plan.tasks_of(input.from) {
                    let edges = self.edges(from, component, number);
                    let index = self.plan.tasks[from].index;
                    let of = self.plan.tasks_of(input.from).len();
                    let emitter = EmitterTask { index, of };
                    let bytes = self.plan.batch_bytes;
                    self.emitters[from].add_route(
                        input.stream,
                        &input.grouping,
                        emitter,
                        edges,
                        bytes,
                        self.plan.first_task[component],
                    );
                }
            }
        }
    }

    /// Creates an edge from one task to each task of a bolt.
    fn edges(&mut self, from: usize, component: usize, input: usize) -> Vec<EdgeSender> {
        let (plan, handles) = (self.plan, self.handles);
        plan.tasks_of(component)
            .map(|to| {
                let (sender, receiver): (EdgeSender, EdgeReceiver) =
                    edge(plan.edge_batches, &handles[from], &handles[to]);
                self.inboxes[to].add(input, receiver);
                sender
            })
            .collect()
    }
}

/// Adds the hidden sink for dead letters, which takes the hidden stream of every component.
pub(crate) fn with_dead_letters(mut topology: Topology, config: Arc<dyn SinkConfig>) -> Topology {
    use crate::flow::Grouping;
    use crate::topology::OnError;
    let inputs = topology.components.iter().enumerate().map(|(from, spec)| InputSpec {
        from,
        stream: StreamId(spec.streams.len()),
        grouping: Grouping::Global,
    });
    let dead = ComponentSpec {
        id: DEAD.into(),
        type_name: "DeadLetters",
        role: crate::component::Role::Sink,
        guarantee: "each dead letter once",
        inputs: inputs.collect(),
        config: Config::Sink(config),
        explained: String::new(),
        parallelism_hint: std::num::NonZeroU16::MIN,
        streams: crate::tuple::Streams::none(),
        on_error: OnError::Stop,
        batch: 256,
        linger: None,
        in_front_of: None,
    };
    topology.components.push(dead);
    topology
}
