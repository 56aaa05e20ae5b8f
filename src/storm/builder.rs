//! The topology of a group: its components, and the components that stand for the rest of the
//! cluster.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;

use super::bridge::{Bridge, OutStream};
use super::groups::{Crossing, Form, Group, group_id};
use super::inside::{
    CHECKPOINT_EVERY, FILE_AGE_MAX, INPUTS_WAITING_MAX, In, Input, Noted, Out, Say, Share,
};
use super::wire;
use crate::checkpoint::{DiskStore, MemoryStore, StateStore};
use crate::component::Role;
use crate::engine::{RunOptions, Running, start};
use crate::error::{Error, Result};
use crate::post::Post;
use crate::registry::Config;
use crate::shell::values_of_json;
use crate::topology::{Checkpoint, ComponentSpec, InputSpec, OnError, Topology};
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

/// The time for which the end of a source may wait for Storm.
const DRAIN_DEADLINE: Duration = Duration::from_secs(365 * 86_400);

/// The running topology of a group, and the ways into it.
pub(super) struct Inside {
    pub bridge: Arc<Bridge>,
    /// The sender of tuples, for a group of bolts.
    pub inputs: Option<mpsc::Sender<Input>>,
    /// The ways in, by component and stream of Storm.
    pub ways: BTreeMap<(String, String), Way>,
    pub running: Arc<Running>,
}

/// The way of one input's tuples into the topology.
#[derive(Clone)]
pub(super) struct Way {
    pub stream: StreamId,
    form: Form,
    fields: Fields,
}

/// The builder of a group's topology.
pub(super) struct Builder<'a> {
    pub whole: &'a Topology,
    pub group: &'a Group,
    pub crossings: &'a [Crossing],
    pub all: &'a [Group],
    pub task: usize,
    pub tasks: usize,
}

impl Builder<'_> {
    /// Builds the topology and starts it. Its cursors are in the folder `state`, and its messages
    /// go to `say`.
    pub(crate) fn start(&self, state: PathBuf, say: &Say) -> Result<Inside> {
        let bridge = Arc::<Bridge>::default();
        let head = &self.whole.components[self.group.members[0]];
        let of_spout = matches!(head.config, Config::Spout(_));
        let mut components = Vec::new();
        let (mut ways, mut inputs) = (BTreeMap::new(), None);
        if !of_spout {
            let (sender, receiver) = mpsc::channel(INPUTS_WAITING_MAX);
            inputs = Some(sender);
            components.push(self.input(head, receiver, &mut ways, &bridge, say));
        }
        let before = components.len();
        for member in &self.group.members {
            components.push(self.member(*member, before, of_spout, &bridge, say));
        }
        if let Some(out) = self.out(before, of_spout, &bridge) {
            components.push(out);
        }
        let topology = self.topology(components, of_spout);
        let store: Arc<dyn StateStore> = match of_spout {
            true => Arc::new(DiskStore::open(&state)?),
            false => Arc::new(MemoryStore::default()),
        };
        fs::create_dir_all(&state)
            .map_err(|cause| Error::file(format!("can't make {state:?}"), cause))?;
        let mut options = RunOptions::new(store, state);
        // At its end, a source waits for Storm's acknowledgements without a limit.
        options.drain_deadline = DRAIN_DEADLINE;
        let running = start(topology, options)?;
        Ok(Inside { bridge, inputs, ways, running })
    }

    fn topology(&self, components: Vec<ComponentSpec>, of_spout: bool) -> Topology {
        let mut topology = self.whole.clone();
        topology.components = components;
        if of_spout {
            if topology.checkpoint == Checkpoint::Off {
                topology.checkpoint = Checkpoint::Every(CHECKPOINT_EVERY);
            }
        } else {
            topology.checkpoint = Checkpoint::Every(CHECKPOINT_EVERY);
            topology.micro_batch.age = topology.micro_batch.age.min(FILE_AGE_MAX);
        }
        topology
    }

    /// Creates the spout that stands for the inputs of the head.
    fn input(
        &self,
        head: &ComponentSpec,
        receiver: mpsc::Receiver<Input>,
        ways: &mut BTreeMap<(String, String), Way>,
        bridge: &Arc<Bridge>,
        say: &Say,
    ) -> ComponentSpec {
        let mut streams = Streams::none();
        for (number, input) in head.inputs.iter().enumerate() {
            let from = &self.whole.components[input.from];
            streams = streams.and(&input_name(number), from.streams.fields(input.stream).clone());
        }
        for (number, input) in head.inputs.iter().enumerate() {
            let head_number = self.group.members[0];
            let taken = self
                .crossings
                .iter()
                .find(|crossing| crossing.takers.contains(&(head_number, number)));
            let (Some(crossing), Some(stream)) = (taken, streams.id(&input_name(number))) else {
                continue;
            };
            let from = self.all.iter().find(|group| group.members.contains(&input.from));
            let from = from.map_or("", |group| group_id(self.whole, group));
            let fields = streams.fields(stream).clone();
            let way = Way { stream, form: crossing.form.clone(), fields };
            ways.insert((from.to_owned(), crossing.name.clone()), way);
        }
        let config = In {
            streams: streams.clone(),
            inputs: Mutex::new(Some(receiver)),
            bridge: Arc::clone(bridge),
            say: Arc::clone(say),
        };
        ComponentSpec {
            id: "storm-in".into(),
            type_name: "StormIn",
            role: Role::Spout,
            config: Config::Spout(Arc::new(config)),
            streams,
            ..hidden()
        }
    }

    fn member(
        &self,
        member: usize,
        before: usize,
        of_spout: bool,
        bridge: &Arc<Bridge>,
        say: &Say,
    ) -> ComponentSpec {
        let mut spec = self.whole.components[member].clone();
        spec.parallelism_hint = NonZeroU16::MIN;
        let is_head = member == self.group.members[0];
        for (number, input) in spec.inputs.iter_mut().enumerate() {
            if is_head {
                // Streams are in the order of their names, which are numbers.
                *input = InputSpec { from: 0, stream: StreamId(number), ..input.clone() };
            } else {
                input.from = self.position(input.from) + before;
            }
        }
        match &spec.config {
            Config::Spout(spout) => {
                let spout = Arc::clone(spout);
                let share = Share { spout, task: self.task, tasks: self.tasks };
                spec.config = Config::Spout(Arc::new(share));
            }
            Config::Sink(sink) if !of_spout => {
                spec.config = Config::Sink(Arc::new(Noted {
                    id: spec.id.clone(),
                    sink: Arc::clone(sink),
                    bridge: Arc::clone(bridge),
                    say: Arc::clone(say),
                }));
            }
            _ => {}
        }
        spec
    }

    fn position(&self, component: usize) -> usize {
        self.group.members.iter().position(|member| *member == component).unwrap_or(0)
    }

    /// Creates the sink that stands for the takers of the group's streams.
    fn out(&self, before: usize, of_spout: bool, bridge: &Arc<Bridge>) -> Option<ComponentSpec> {
        let (mut streams, mut inputs) = (Vec::new(), Vec::new());
        for crossing in self.crossings.iter().filter(|one| self.group.members.contains(&one.from)) {
            let stream = StreamId(crossing.stream);
            let arity = self.whole.components[crossing.from].streams.fields(stream).len();
            streams.push(OutStream {
                name: crossing.name.clone(),
                form: crossing.form.clone(),
                arity,
            });
            let from = self.position(crossing.from) + before;
            let grouping = crate::topology::Grouping::Global;
            inputs.push(InputSpec { from, stream, grouping });
        }
        let has_sink = self
            .group
            .members
            .iter()
            .any(|member| matches!(self.whole.components[*member].config, Config::Sink(_)));
        if inputs.is_empty() && has_sink {
            return None;
        }
        let config = Out { streams, bridge: Arc::clone(bridge), of_spout };
        Some(ComponentSpec {
            id: "storm-out".into(),
            type_name: "StormOut",
            role: Role::Sink,
            config: Config::Sink(Arc::new(config)),
            inputs,
            ..hidden()
        })
    }
}

/// Returns the name of an input's stream. The order of the names is that of the numbers.
fn input_name(number: usize) -> String {
    format!("in{number:04}")
}

fn hidden() -> ComponentSpec {
    ComponentSpec {
        id: String::new(),
        type_name: "",
        role: Role::Sink,
        guarantee: "",
        config: Config::Sink(Arc::new(crate::sink::null::Null {})),
        explained: String::new(),
        parallelism_hint: NonZeroU16::MIN,
        inputs: Vec::new(),
        streams: Streams::none(),
        on_error: OnError::Stop,
        batch: 256,
        linger: None,
        in_front_of: None,
    }
}

impl Way {
    /// Reads the values of the tuples in a tuple of Storm.
    pub(crate) fn values(&self, raw: &str) -> Option<Vec<Value>> {
        match self.form {
            Form::Plain => {
                let mut values = values_of_json(raw)?;
                if let Some(at) = self.fields.position("post")
                    && let Some(Value::Json(raw)) = values.get(at)
                    && let Ok(post) = Post::check(raw.clone())
                {
                    values[at] = Value::Post(post);
                }
                (values.len() == self.fields.len()).then_some(values)
            }
            Form::Keyed(_) | Form::Batch => {
                let texts: Vec<String> = serde_json::from_str(raw).ok()?;
                wire::values(texts.last()?)
            }
        }
    }
}
