//! `storm component`: runs a group of a topology's components as one shell component of Storm.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::export::{CONF_STATE, CONF_TOPOLOGY};
use super::groups::{Crossing, Form, Group, crossings, group_id, groups};
use super::inside::{
    Answers, Bridge, CHECKPOINT_EVERY, FILE_AGE_MAX, INPUTS_WAITING_MAX, In, Input, Noted, Out,
    OutStream, Say, Share,
};
use super::wire;
use crate::checkpoint::{DiskStore, MemoryStore, StateStore};
use crate::component::Role;
use crate::engine::{Exit, RunOptions, Running, start};
use crate::error::{Error, Result};
use crate::post::Post;
use crate::registry::{Config, Registry};
use crate::shell::Inbound;
use crate::shell::values_of_json;
use crate::topology::{
    Checkpoint, ComponentSpec, InputSpec, LoadOptions, OnError, Topology, parse,
};
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

/// How many tuples a spout emits for one question of Storm.
const MESSAGES_PER_NEXT: usize = 50;

/// How often Storm hears that this process is alive while its topology takes no more.
const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// How long the end of a source may wait for Storm.
const DRAIN_DEADLINE: Duration = Duration::from_secs(365 * 86_400);

/// How long is waited before a full topology is tried again.
const FULL_WAIT: Duration = Duration::from_millis(2);

/// The first message of Storm.
#[derive(Deserialize)]
struct Handshake {
    #[serde(rename = "pidDir")]
    pid_dir: PathBuf,
    conf: BTreeMap<String, Json>,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    taskid: i64,
    #[serde(rename = "task->component")]
    components: BTreeMap<String, String>,
}

/// A later message of Storm: a command to a spout, or a tuple for a bolt.
#[derive(Deserialize)]
struct FromStorm {
    #[serde(default)]
    id: Json,
    command: Option<String>,
    comp: Option<String>,
    stream: Option<String>,
    tuple: Option<Box<serde_json::value::RawValue>>,
}

/// Messages of Storm, as they come on standard input.
#[derive(Default)]
struct Messages {
    inbound: Inbound,
}

impl Messages {
    /// The next one; `None` when Storm is gone.
    fn next(&mut self) -> Result<Option<String>> {
        loop {
            let next =
                self.inbound.next().map_err(|flaw| Error::fatal(format!("Storm wrote {flaw}")));
            if let Some(text) = next? {
                return Ok(Some(text.to_owned()));
            }
            match io::stdin().read(self.inbound.room()) {
                Ok(0) => return Ok(None),
                Ok(bytes) => self.inbound.add(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::fatal("can't read from Storm").because(error)),
            }
        }
    }
}

/// The way to Storm, which all threads share.
#[derive(Clone)]
struct ToStorm(Arc<Mutex<io::Stdout>>);

impl ToStorm {
    /// Says something, and all of it at once.
    fn say(&self, messages: &[String]) {
        let mut text = String::new();
        for message in messages {
            text.push_str(message);
            text.push_str("\nend\n");
        }
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Storm is gone, and starts another one.
            process::exit(0);
        }
    }

    fn say_answers(&self, answers: &Answers) {
        let anchors: Vec<&str> = answers.anchors.iter().map(String::as_str).collect();
        let rest = format!(",\"anchors\":[{}]", anchors.join(","));
        let mut messages: Vec<_> =
            answers.emits.iter().map(|message| message.command(&rest)).collect();
        messages
            .extend(answers.acks.iter().map(|id| format!("{{\"command\":\"ack\",\"id\":{id}}}")));
        if !messages.is_empty() {
            self.say(&messages);
        }
    }
}

/// Runs a component until Storm closes the pipe.
///
/// # Errors
/// If Storm doesn't say what it should, or the topology fails.
pub fn run(component: &str, registry: &Registry) -> Result<()> {
    let mut messages = Messages::default();
    let to_storm = ToStorm(Arc::new(Mutex::new(io::stdout())));
    let Some(first) = messages.next()? else { return Ok(()) };
    let Handshake { pid_dir, conf, context } = serde_json::from_str(&first)
        .map_err(|error| Error::fatal("Storm's first message is no handshake").because(error))?;
    let pid = process::id();
    let file = pid_dir.join(pid.to_string());
    fs::write(&file, "").map_err(|cause| Error::file(format!("can't write {file:?}"), cause))?;
    to_storm.say(&[json!({ "pid": pid }).to_string()]);
    let result = begin(component, registry, &conf, &context, &to_storm)
        .and_then(|inside| inside.serve(&mut messages, &to_storm));
    if let Err(error) = &result {
        let said = json!({ "command": "error", "msg": error.chain() });
        to_storm.say(&[said.to_string()]);
    }
    result
}

/// A group's topology, and what leads into it.
struct Inside {
    bridge: Arc<Bridge>,
    /// For a group of bolts.
    inputs: Option<mpsc::Sender<Input>>,
    /// How tuples come in, by component and stream of Storm.
    ways: BTreeMap<(String, String), Way>,
    running: Arc<Running>,
}

#[derive(Clone)]
struct Way {
    stream: StreamId,
    form: Form,
    fields: Fields,
}

fn begin(
    component: &str,
    registry: &Registry,
    conf: &BTreeMap<String, Json>,
    context: &Context,
    to_storm: &ToStorm,
) -> Result<Inside> {
    let Some(text) = conf.get(CONF_TOPOLOGY).and_then(Json::as_str) else {
        return Err(Error::fatal(format!(
            "Storm's conf has no \"{CONF_TOPOLOGY}\": export the topology"
        )));
    };
    let options = LoadOptions { online: false, ..LoadOptions::default() };
    let whole = load(text, registry, &options)?;
    let all = groups(&whole);
    let group = all.iter().find(|group| group_id(&whole, group) == component);
    let group = group.ok_or_else(|| {
        Error::fatal(format!("the exported topology has no component \"{component}\""))
    })?;
    // What components elsewhere need from outside needn't be here.
    let spared = whole.components.iter().enumerate();
    let spared = spared.filter(|(number, _)| !group.members.contains(number));
    let spared = spared.map(|(_, spec)| spec.id.clone()).collect();
    let whole = load(text, registry, &LoadOptions { online: true, spared, ..options })?;
    let crossings = crossings(&whole, &all);
    let tasks: Vec<i64> = context
        .components
        .iter()
        .filter(|(_, name)| *name == component)
        .filter_map(|(task, _)| task.parse().ok())
        .collect();
    let mut sorted = tasks;
    sorted.sort_unstable();
    let task = sorted.iter().position(|task| *task == context.taskid).unwrap_or(0);
    let state = conf.get(CONF_STATE).and_then(Json::as_str).map(PathBuf::from);
    let state = state.unwrap_or_else(state_home);
    let state = state.join(format!("storm-{}-{component}-{task}", whole.name));
    let builder = Builder {
        whole: &whole,
        group,
        crossings: &crossings,
        all: &all,
        task,
        tasks: sorted.len(),
    };
    builder.start(state, to_storm)
}

fn load(text: &str, registry: &Registry, options: &LoadOptions) -> Result<Topology> {
    parse("the exported topology", text, registry, options)
        .map_err(|problems| Error::fatal(problems.to_string()))
}

fn state_home() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
    state.unwrap_or_else(std::env::temp_dir).join("waterspout")
}

struct Builder<'a> {
    whole: &'a Topology,
    group: &'a Group,
    crossings: &'a [Crossing],
    all: &'a [Group],
    task: usize,
    tasks: usize,
}

impl Builder<'_> {
    fn start(&self, state: PathBuf, to_storm: &ToStorm) -> Result<Inside> {
        let bridge = Arc::<Bridge>::default();
        let say: Say = {
            let to_storm = to_storm.clone();
            Arc::new(move |answers: Answers| to_storm.say_answers(&answers))
        };
        let head = &self.whole.components[self.group.members[0]];
        let of_spout = matches!(head.config, Config::Spout(_));
        let mut components = Vec::new();
        let (mut ways, mut inputs) = (BTreeMap::new(), None);
        if !of_spout {
            let (sender, receiver) = mpsc::channel(INPUTS_WAITING_MAX);
            inputs = Some(sender);
            components.push(self.input(head, receiver, &mut ways, &bridge, &say));
        }
        let before = components.len();
        for member in &self.group.members {
            components.push(self.member(*member, before, of_spout, &bridge, &say));
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
        // At its end a source waits for Storm's acknowledgements for as long as it takes.
        options.drain_deadline = DRAIN_DEADLINE;
        let running = start(topology, options)?;
        watch(Arc::clone(&running), to_storm.clone());
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

    /// The spout that stands for the inputs of the head.
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

    /// The sink that stands for what takes the group's streams.
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

/// The name of the stream of an input: names have the order of numbers.
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

/// Tells Storm what the topology tells, and ends the process with it.
fn watch(running: Arc<Running>, to_storm: ToStorm) {
    let look = move || {
        let mut seen = 0;
        loop {
            let exit = running.wait(Duration::from_millis(200));
            for message in running.messages(seen) {
                seen = message.number;
                let said = json!({ "command": "log", "msg": message.text, "level": 2 });
                to_storm.say(&[said.to_string()]);
            }
            match exit {
                // A source has ended: Storm goes on asking.
                Some(Exit::Finished) => return,
                Some(Exit::Failed(cause) | Exit::NotClean(cause)) => {
                    to_storm.say(&[json!({ "command": "error", "msg": cause }).to_string()]);
                    process::exit(1);
                }
                None => {}
            }
        }
    };
    // Without the thread Storm hears less.
    drop(thread::Builder::new().name("storm-log".into()).spawn(look));
}

impl Inside {
    fn serve(&self, messages: &mut Messages, to_storm: &ToStorm) -> Result<()> {
        while let Some(text) = messages.next()? {
            let message: FromStorm = serde_json::from_str(&text)
                .map_err(|error| Error::fatal("Storm's message can't be read").because(error))?;
            match message.command.as_deref() {
                Some(command) => self.obey(command, &message.id, to_storm),
                None => self.take(message, to_storm)?,
            }
        }
        // What isn't acknowledged comes again.
        drop(Arc::clone(&self.running));
        process::exit(0);
    }

    /// A command to a spout.
    fn obey(&self, command: &str, id: &Json, to_storm: &ToStorm) {
        let number = id.as_u64();
        match (command, number) {
            ("ack", Some(number)) => self.bridge.acked(number),
            ("fail", Some(number)) => self.bridge.failed(number),
            _ => {}
        }
        let mut said = Vec::new();
        if command == "next" {
            for (number, message) in self.bridge.next_messages(MESSAGES_PER_NEXT) {
                said.push(message.command(&format!(",\"id\":{number}")));
            }
        }
        said.push("{\"command\":\"sync\"}".into());
        to_storm.say(&said);
    }

    /// A tuple for a bolt.
    fn take(&self, message: FromStorm, to_storm: &ToStorm) -> Result<()> {
        let id = message.id.to_string();
        let stream = message.stream.unwrap_or_default();
        match stream.as_str() {
            "__heartbeat" => {
                to_storm.say(&["{\"command\":\"sync\"}".into()]);
                return Ok(());
            }
            "__tick" => {
                to_storm.say(&[format!("{{\"command\":\"ack\",\"id\":{id}}}")]);
                return Ok(());
            }
            _ => {}
        }
        let from = message.comp.unwrap_or_default();
        let Some(way) = self.ways.get(&(from.clone(), stream.clone())) else {
            return Err(Error::fatal(format!(
                "a tuple of \"{from}\" on the stream \"{stream}\", which isn't an input here"
            )));
        };
        let raw = message.tuple.as_ref().map_or("[]", |raw| raw.get());
        let values = way.values(raw).ok_or_else(|| {
            Error::fatal(format!("a tuple of \"{from}\" on the stream \"{stream}\" can't be read"))
        })?;
        let mut input = Input { id, stream: way.stream, values };
        let Some(inputs) = &self.inputs else { return Ok(()) };
        let mut waited = Duration::ZERO;
        loop {
            input = match inputs.try_send(input) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(input)) => input,
                Err(TrySendError::Closed(_)) => {
                    return Err(Error::fatal("the topology takes no more tuples"));
                }
            };
            thread::sleep(FULL_WAIT);
            waited += FULL_WAIT;
            if waited >= ALIVE_EVERY {
                waited = Duration::ZERO;
                to_storm.say(&["{\"command\":\"sync\"}".into()]);
            }
        }
    }
}

impl Way {
    /// The values of the tuples that one of Storm holds.
    fn values(&self, raw: &str) -> Option<Vec<Value>> {
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
