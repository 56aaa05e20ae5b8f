//! `storm component`: runs a group of a topology's components as one shell component of Storm.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::error::TrySendError;

use super::bridge::Answers;
use super::builder::{Builder, Inside};
use super::export::{CONF_STATE, CONF_TOPOLOGY};
use super::groups::{crossings, group_id, groups};
use super::inside::{Input, Say};
use crate::engine::{Exit, Running};
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::shell::Inbound;
use crate::topology::{LoadOptions, Topology, parse};

/// The largest number of tuples that a spout emits for one `next` of Storm.
const MESSAGES_PER_NEXT: usize = 50;

/// The time between two signs of life while the topology takes no more tuples.
const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// The wait before the next attempt to give a tuple to a full topology.
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

/// The messages of Storm on standard input.
#[derive(Default)]
struct Messages {
    inbound: Inbound,
}

impl Messages {
    /// Reads the next message; `None` when Storm is gone.
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

/// The output to Storm, which all threads share.
#[derive(Clone)]
struct ToStorm(Arc<Mutex<io::Stdout>>);

impl ToStorm {
    /// Writes messages at once, so that no other thread's message comes between them.
    fn say(&self, messages: &[String]) {
        let mut text = String::new();
        for message in messages {
            text.push_str(message);
            text.push_str("\nend\n");
        }
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Storm is gone. It starts another process.
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
/// If Storm doesn't keep to the protocol, or the topology fails.
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
    // Files and variables of components that run elsewhere needn't exist here.
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
    let say: Say = {
        let to_storm = to_storm.clone();
        Arc::new(move |answers: Answers| to_storm.say_answers(&answers))
    };
    let inside = builder.start(state, &say)?;
    watch(Arc::clone(&inside.running), to_storm.clone());
    Ok(inside)
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

/// Passes the topology's messages to Storm, and ends the process when the topology fails.
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
                // All sources have ended. Storm continues to ask.
                Some(Exit::Finished) => return,
                Some(Exit::Failed(cause) | Exit::NotClean(cause)) => {
                    to_storm.say(&[json!({ "command": "error", "msg": cause }).to_string()]);
                    process::exit(1);
                }
                None => {}
            }
        }
    };
    // Without this thread, Storm gets no log messages.
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
        // Storm sends tuples again that aren't acknowledged.
        drop(Arc::clone(&self.running));
        process::exit(0);
    }

    /// Obeys a command to a spout.
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

    /// Gives a tuple to the bolts.
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
