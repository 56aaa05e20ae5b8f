//! The first message to a child: the child's configuration, and its place in the topology.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Settings;
use super::framing::END;
use crate::component::{ComponentOutline, InputOutline, TopologyOutline};

/// The content of the handshake with the child of one task.
pub(super) struct Handshake<'a> {
    /// The folder in which the child creates a file named after its process id.
    pub pid_dir: &'a Path,
    pub settings: &'a Settings,
    pub outline: &'a TopologyOutline,
    pub component: &'a str,
    /// The number of the task within the component.
    pub task: usize,
    pub ticks: Option<Duration>,
    pub ack_within: Option<Duration>,
    pub max_pending: Option<u64>,
}

/// Returns the id of a task for Storm's components: its number in the plan, counted from 1.
pub(super) fn task_id(plan_number: usize) -> i64 {
    i64::try_from(plan_number).map_or(i64::MAX, |number| number.saturating_add(1))
}

impl Handshake<'_> {
    /// Returns the message, with its end.
    pub(crate) fn message(&self) -> Vec<u8> {
        let message = json!({
            "pidDir": self.pid_dir.display().to_string(),
            "conf": self.conf(),
            "context": self.context(),
        });
        let mut bytes = message.to_string().into_bytes();
        bytes.extend_from_slice(END);
        bytes
    }

    fn conf(&self) -> Value {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs().max(1));
        let mut conf = Map::new();
        conf.insert("topology.name".into(), self.outline.name.clone().into());
        conf.insert("storm.id".into(), self.outline.name.clone().into());
        conf.insert("topology.debug".into(), false.into());
        conf.insert("topology.workers".into(), 1.into());
        conf.insert("topology.acker.executors".into(), 1.into());
        conf.insert("topology.tick.tuple.freq.secs".into(), seconds(self.ticks).into());
        conf.insert("topology.message.timeout.secs".into(), seconds(self.ack_within).into());
        conf.insert("topology.max.spout.pending".into(), self.max_pending.into());
        conf.insert(
            "topology.subprocess.timeout.secs".into(),
            seconds(Some(self.settings.timeout)).into(),
        );
        for (key, value) in &self.settings.conf {
            conf.insert(key.clone(), value.0.clone());
        }
        Value::Object(conf)
    }

    fn context(&self) -> Value {
        let components = &self.outline.components;
        let mut task_to_component = Map::new();
        for component in components {
            for task in 0..component.tasks {
                let id = task_id(component.first_task + task).to_string();
                task_to_component.insert(id, component.id.clone().into());
            }
        }
        let own = self.outline.component(self.component);
        let first_task = own.map_or(0, |own| own.first_task);
        let empty = ComponentOutline::default();
        let own = own.unwrap_or(&empty);
        let mut fields = Map::new();
        for (stream, names) in &own.streams {
            fields.insert(stream.clone(), names.names().into());
        }
        json!({
            "componentid": self.component,
            "taskid": task_id(first_task + self.task),
            "task->component": task_to_component,
            "streams": own.streams.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            "stream->outputfields": fields,
            "stream->target->grouping": self.targets(),
            "source->stream->grouping": self.sources(own, grouping),
            "source->stream->fields": self.sources(own, |input| self.fields_of(input).into()),
        })
    }

    fn targets(&self) -> Map<String, Value> {
        let mut targets: Map<String, Value> = Map::new();
        for component in &self.outline.components {
            for input in component.inputs.iter().filter(|input| input.from == self.component) {
                let of_stream = targets.entry(input.stream.clone()).or_insert_with(|| json!({}));
                of_stream[component.id.as_str()] = grouping(input);
            }
        }
        targets
    }

    fn sources(
        &self,
        own: &ComponentOutline,
        value: impl Fn(&InputOutline) -> Value,
    ) -> Map<String, Value> {
        let mut sources: Map<String, Value> = Map::new();
        for input in &own.inputs {
            let of_source = sources.entry(input.from.clone()).or_insert_with(|| json!({}));
            of_source[input.stream.as_str()] = value(input);
        }
        sources
    }

    fn fields_of(&self, input: &InputOutline) -> Vec<String> {
        let from = self.outline.component(&input.from);
        let streams = from.map(|from| from.streams.as_slice()).unwrap_or_default();
        let found = streams.iter().find(|(name, _)| *name == input.stream);
        found.map(|(_, fields)| fields.names().to_vec()).unwrap_or_default()
    }
}

/// Returns a grouping under Storm's name.
fn grouping(input: &InputOutline) -> Value {
    let name = match input.grouping {
        "Fields" => "FIELDS",
        "PartialKey" => "CUSTOM_SERIALIZED",
        "All" => "ALL",
        "Global" => return json!({ "type": "FIELDS", "fields": [] }),
        "Direct" => "DIRECT",
        "LocalOrShuffle" => "LOCAL_OR_SHUFFLE",
        _ => "SHUFFLE",
    };
    match input.keys.as_slice() {
        [] => json!({ "type": name }),
        keys => json!({ "type": name, "fields": keys }),
    }
}
