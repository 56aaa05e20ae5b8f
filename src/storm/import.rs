//! `storm import`: makes a topology of a Flux file whose components are shell components, such as
//! Streamparse's `to_flux_dict()` writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::flux::{FluxNode, quoted, read};

pub use super::flux::FluxNote;

/// The result of an import.
#[derive(Debug, Default)]
pub struct Imported {
    /// The topology in RON.
    pub ron: String,
    /// Notes about differences from the Flux file.
    pub notes: Vec<FluxNote>,
}

const SHELL_SPOUTS: [&str; 2] =
    ["org.apache.storm.flux.wrappers.spouts.FluxShellSpout", "org.apache.storm.spout.ShellSpout"];
const SHELL_BOLTS: [&str; 2] =
    ["org.apache.storm.flux.wrappers.bolts.FluxShellBolt", "org.apache.storm.task.ShellBolt"];
const PARTIAL_KEY: &str = "org.apache.storm.grouping.PartialKeyGrouping";

/// Makes a topology of a Flux file.
///
/// # Errors
/// If parts of the file can't be carried over: each with its place.
pub fn import(text: &str) -> Result<Imported, Vec<FluxNote>> {
    let documents = read(text).map_err(|note| vec![note])?;
    let Some(root) = documents.first() else { return Err(Vec::new()) };
    let root = FluxNode::new(root);
    let mut import = Import::default();
    root.placeholders(&mut import.problems);
    let ron = import.topology(root);
    if import.problems.is_empty() {
        Ok(Imported { ron, notes: import.notes })
    } else {
        import.problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(import.problems)
    }
}

#[derive(Default)]
struct Import {
    notes: Vec<FluxNote>,
    problems: Vec<FluxNote>,
    /// The id of each component here, by its id in the Flux file.
    ids: BTreeMap<String, String>,
    /// The streams that a bolt takes, by the ids of the Flux file.
    taken: BTreeSet<(String, String)>,
    config: ComponentConfig,
}

/// The configuration of a component: entries for its children, and entries that are options here.
#[derive(Clone, Default)]
struct ComponentConfig {
    conf: BTreeMap<String, String>,
    ticks: Option<i64>,
    ack_within: Option<i64>,
    max_pending: Option<i64>,
    timeout: Option<i64>,
}

/// A component of the Flux file.
struct Read<'a> {
    node: FluxNode<'a>,
    id: String,
    fields: Vec<(String, Vec<String>)>,
    ron: String,
    tasks: i64,
}

const TOP: [&str; 10] = [
    "name",
    "config",
    "components",
    "includes",
    "spouts",
    "bolts",
    "streams",
    "workerHooks",
    "topologySource",
    "propertySources",
];

impl Import {
    fn topology(&mut self, root: FluxNode<'_>) -> String {
        if root.entries().is_empty() {
            self.problems.push(
                root.note("expected a topology of Flux: `name`, `spouts`, `bolts` and `streams`"),
            );
            return String::new();
        }
        for (key, value) in root.entries() {
            match key.text().as_deref() {
                Some("includes" | "components" | "topologySource")
                    if value.items().is_none_or(|items| !items.is_empty()) =>
                {
                    let name = key.text().unwrap_or_default().into_owned();
                    self.problems.push(key.note(format!(
                        "\"{name}\" can't be carried over: it is about Java objects and other files"
                    )));
                }
                Some("workerHooks") => {
                    self.notes.push(key.note("left out: there are no workers, and so no hooks"));
                }
                Some(known) if TOP.contains(&known) => {}
                _ => self.problems.push(key.note("Flux has no such part of a topology")),
            }
        }
        let name = root.get("name").and_then(FluxNode::text).unwrap_or("storm".into());
        if let Some(config) = root.get("config") {
            self.config = ComponentConfig::default();
            for (key, value) in config.entries() {
                let mut whole = std::mem::take(&mut self.config);
                self.option(&mut whole, key, value);
                self.config = whole;
            }
        }
        let streams = root.get("streams").and_then(FluxNode::items).unwrap_or_default();
        let spouts = self.components(root, "spouts", &SHELL_SPOUTS);
        let bolts = self.components(root, "bolts", &SHELL_BOLTS);
        if spouts.is_empty() {
            self.problems.push(root.note("the topology has no spouts"));
        }
        let inputs = self.inputs(&streams, &spouts, &bolts);
        self.write(&name, &spouts, &bolts, &inputs)
    }

    fn components<'a>(&mut self, root: FluxNode<'a>, kind: &str, shells: &[&str]) -> Vec<Read<'a>> {
        let mut all = Vec::new();
        let nodes = root.get(kind).and_then(FluxNode::items).unwrap_or_default();
        for node in nodes {
            all.extend(self.component(node, shells));
        }
        all
    }

    fn component<'a>(&mut self, node: FluxNode<'a>, shells: &[&str]) -> Option<Read<'a>> {
        let Some(there) = node.get("id").and_then(FluxNode::text) else {
            self.problems.push(node.note("a component needs an \"id\""));
            return None;
        };
        let id = self.id(node, &there);
        let class = node.get("className");
        let class_name = class.and_then(FluxNode::text).unwrap_or_default();
        if !shells.contains(&&*class_name) {
            self.problems.push(class.unwrap_or(node).note(format!(
                "component \"{there}\" is the Java class \"{class_name}\", which can't be carried \
                 over: expected {}",
                shells[0]
            )));
            return None;
        }
        let arguments = node.get("constructorArgs").and_then(FluxNode::items).unwrap_or_default();
        let command = arguments.first().and_then(|argument| argument.texts());
        let Some(command) = command.filter(|command| !command.is_empty()) else {
            self.problems.push(node.note(format!(
                "component \"{there}\": expected constructorArgs [[program, argument, …], [field, \
                 …]]"
            )));
            return None;
        };
        let mut fields = Vec::new();
        if let Some(argument) = arguments.get(1) {
            match argument.texts() {
                Some(names) => fields.push(("default".to_owned(), names)),
                None => self.problems.push(argument.note("expected a list of names of fields")),
            }
        }
        let mut config = self.config.clone();
        let mut env = String::new();
        let methods = node.get("configMethods").and_then(FluxNode::items).unwrap_or_default();
        for method in methods {
            self.method(method, &mut fields, &mut config, &mut env);
        }
        let parallelism = node.get("parallelism").and_then(FluxNode::number).unwrap_or(1);
        let tasks = match node.get("numTasks") {
            Some(number) => number.number().unwrap_or(parallelism),
            None => parallelism,
        };
        for name in ["onHeapMemoryLoad", "offHeapMemoryLoad", "cpuLoad"] {
            if let Some(load) = node.get(name) {
                self.notes.push(load.note(format!("{name} is left out: there is no scheduler")));
            }
        }
        let is_spout = shells == SHELL_SPOUTS;
        let ron = shell(&command, &fields, &config, &env, is_spout);
        self.ids.insert(there.into_owned(), id.clone());
        Some(Read { node, id, fields, ron, tasks })
    }

    /// Returns the id of a component here: lower-case letters, digits, `_` and `-`.
    fn id(&mut self, node: FluxNode<'_>, there: &str) -> String {
        let mut id: String = there
            .to_lowercase()
            .chars()
            .map(|c| match c {
                'a'..='z' | '0'..='9' | '_' | '-' => c,
                _ => '_',
            })
            .collect();
        if !id.starts_with(|c: char| c.is_ascii_lowercase()) {
            id.insert(0, 'c');
        }
        while self.ids.values().any(|other| *other == id) {
            id.push('_');
        }
        if id != there {
            self.notes.push(node.note(format!("component \"{there}\" has the id \"{id}\" here")));
        }
        id
    }

    fn method(
        &mut self,
        method: FluxNode<'_>,
        fields: &mut Vec<(String, Vec<String>)>,
        config: &mut ComponentConfig,
        env: &mut String,
    ) {
        let name = method.get("name").and_then(FluxNode::text).unwrap_or_default();
        let arguments = method.get("args").and_then(FluxNode::items).unwrap_or_default();
        match (&*name, arguments.as_slice()) {
            ("setNamedStream", [stream, names]) => match (stream.text(), names.texts()) {
                (Some(stream), Some(names)) => fields.push((stream.into_owned(), names)),
                _ => self.problems.push(method.note("expected a name and a list of fields")),
            },
            ("setDefaultStream", [names]) => match names.texts() {
                Some(names) => fields.push(("default".into(), names)),
                None => self.problems.push(method.note("expected a list of fields")),
            },
            ("addComponentConfig", [key, value]) => self.option(config, *key, *value),
            ("setEnv", [variables]) => *env = variables.ron(),
            ("changeChildCWD", [_]) => {}
            _ => self
                .problems
                .push(method.note(format!("the call of \"{name}\" can't be carried over"))),
        }
    }

    /// Reads one entry of a configuration.
    fn option(&mut self, config: &mut ComponentConfig, key: FluxNode<'_>, value: FluxNode<'_>) {
        let name = key.text().unwrap_or_default().into_owned();
        let number = value.number();
        match (name.as_str(), number) {
            ("topology.tick.tuple.freq.secs", number) => config.ticks = number,
            ("topology.message.timeout.secs", number) => config.ack_within = number,
            ("topology.max.spout.pending", number) => config.max_pending = number,
            ("topology.subprocess.timeout.secs", number) => config.timeout = number,
            ("topology.workers", _) => {
                self.notes.push(key.note("left out: all tasks are in one process"));
                config.conf.insert(name, value.ron());
            }
            (
                "topology.acker.executors"
                | "topology.enable.message.timeouts"
                | "topology.shellbolt.max.pending",
                _,
            ) => {
                self.notes.push(key.note(format!(
                    "{name} has no effect: there are no ackers, checkpoints tell what is done"
                )));
            }
            _ => drop(config.conf.insert(name, value.ron())),
        }
    }

    /// Returns the inputs of each bolt, by its id here.
    fn inputs(
        &mut self,
        streams: &[FluxNode<'_>],
        spouts: &[Read<'_>],
        bolts: &[Read<'_>],
    ) -> BTreeMap<String, Vec<String>> {
        let mut inputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in streams {
            let end = |key: &str| node.get(key).and_then(FluxNode::text).unwrap_or_default();
            let (from, to) = (end("from"), end("to"));
            let grouping = node.get("grouping");
            let stream = grouping.and_then(|grouping| grouping.get("streamId"));
            let stream = stream.and_then(FluxNode::text).unwrap_or("default".into());
            let (Some(from), Some(to)) =
                (self.ids.get(&*from).cloned(), self.ids.get(&*to).cloned())
            else {
                self.problems.push(node.note(format!(
                    "the stream from \"{from}\" to \"{to}\": there is no such component, or it \
                     can't be carried over"
                )));
                continue;
            };
            let source = spouts.iter().chain(bolts).find(|component| component.id == from);
            let declared = source.and_then(|source| {
                source.fields.iter().find(|(name, _)| *name == stream).map(|(_, fields)| fields)
            });
            let Some(fields) = declared else {
                self.problems.push(
                    node.note(format!("component \"{from}\" declares no stream \"{stream}\"")),
                );
                continue;
            };
            self.taken.insert((from.clone(), stream.clone().into_owned()));
            let name = match &*stream {
                "default" => quoted(&from),
                stream => quoted(&format!("{from}:{stream}")),
            };
            if let Some(input) = self.grouping(*node, grouping, &name, fields) {
                inputs.entry(to).or_default().push(input);
            }
        }
        inputs
    }

    fn grouping(
        &mut self,
        node: FluxNode<'_>,
        grouping: Option<FluxNode<'_>>,
        name: &str,
        fields: &[String],
    ) -> Option<String> {
        let kind = grouping.and_then(|grouping| grouping.get("type"));
        let kind_name = kind.and_then(FluxNode::text).unwrap_or("SHUFFLE".into());
        let keys = |of: Option<FluxNode<'_>>| {
            of.and_then(|of| of.get("args")).and_then(FluxNode::texts).unwrap_or_default()
        };
        let with_keys = |form: &str, keys: Vec<String>| {
            let keys: Vec<_> = keys.iter().map(|key| quoted(key)).collect();
            format!("{form}({name}, [{}])", keys.join(", "))
        };
        Some(match kind_name.to_uppercase().as_str() {
            "SHUFFLE" | "NONE" => format!("Shuffle({name})"),
            "LOCAL_OR_SHUFFLE" => format!("LocalOrShuffle({name})"),
            "ALL" => format!("All({name})"),
            "GLOBAL" => format!("Global({name})"),
            "DIRECT" => format!("Direct({name})"),
            "FIELDS" => {
                let keys = keys(grouping);
                if let Some(unknown) = keys.iter().find(|key| !fields.contains(key)) {
                    self.problems.push(grouping.unwrap_or(node).note(format!(
                        "groups by \"{unknown}\", but the stream declares {}",
                        fields.join(", ")
                    )));
                }
                with_keys("Fields", keys)
            }
            "CUSTOM" => {
                let class = grouping.and_then(|grouping| grouping.get("customClass"));
                let class_name = class.and_then(|class| class.get("className"));
                if class_name.and_then(FluxNode::text).as_deref() == Some(PARTIAL_KEY) {
                    let arguments = class.and_then(|class| class.get("constructorArgs"));
                    let keys = arguments.and_then(FluxNode::items).unwrap_or_default();
                    let keys = keys.iter().flat_map(|keys| {
                        keys.texts().unwrap_or_else(|| {
                            keys.text().map(|key| vec![key.into()]).unwrap_or_default()
                        })
                    });
                    return Some(with_keys("PartialKey", keys.collect()));
                }
                self.problems.push(
                    class
                        .unwrap_or(node)
                        .note("a grouping that is a Java class can't be carried over"),
                );
                return None;
            }
            other => {
                let what = format!("there is no grouping \"{other}\"");
                self.problems.push(kind.unwrap_or(node).note(what));
                return None;
            }
        })
    }

    fn write(
        &mut self,
        name: &str,
        spouts: &[Read<'_>],
        bolts: &[Read<'_>],
        inputs: &BTreeMap<String, Vec<String>>,
    ) -> String {
        let mut ron = format!("Topology(\n    name: {},\n    spouts: {{\n", quoted(name));
        for Read { id, ron: run, tasks, .. } in spouts {
            // Writing into a String can't fail.
            let _ = writeln!(
                ron,
                "        {}: Spout(\n            run: {run},\n            parallelism_hint: \
                 {tasks},\n        ),",
                quoted(id)
            );
        }
        ron.push_str("    },\n    bolts: {\n");
        for Read { id, ron: run, tasks, node, .. } in bolts {
            let Some(inputs) = inputs.get(id) else {
                self.problems.push(node.note(format!("component \"{id}\" takes no stream")));
                continue;
            };
            let _ = writeln!(
                ron,
                "        {}: Bolt(\n            run: {run},\n            inputs: \
                 [{}],\n            parallelism_hint: {tasks},\n        ),",
                quoted(id),
                inputs.join(", ")
            );
        }
        let mut ends = Vec::new();
        for component in spouts.iter().chain(bolts) {
            for (stream, _) in &component.fields {
                if !self.taken.contains(&(component.id.clone(), stream.clone())) {
                    let name = match stream.as_str() {
                        "default" => component.id.clone(),
                        stream => format!("{}:{stream}", component.id),
                    };
                    ends.push(format!("Shuffle({})", quoted(&name)));
                }
            }
        }
        let mut end = "end".to_owned();
        while self.ids.values().any(|id| *id == end) {
            end.push('_');
        }
        // A topology here needs a sink. Storm drops a stream that no bolt takes.
        let ends = if ends.is_empty() {
            let all = bolts.first().map_or("", |bolt| bolt.id.as_str());
            let first = spouts.first().map_or(all, |spout| spout.id.as_str());
            vec![format!("Shuffle({})", quoted(first))]
        } else {
            ends
        };
        let _ = writeln!(
            ron,
            "        // What no other component takes is dropped, as on Storm; `Stdout()` would \
             print it.\n        \
             {}: Bolt(run: Null(), inputs: [{}]),\n    }},\n)",
            quoted(&end),
            ends.join(", ")
        );
        ron
    }
}

/// Returns `Shell(…)` in RON.
fn shell(
    command: &[String],
    fields: &[(String, Vec<String>)],
    config: &ComponentConfig,
    env: &str,
    is_spout: bool,
) -> String {
    let list = |texts: &[String]| {
        let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
        format!("[{}]", texts.join(", "))
    };
    let mut parts = vec![format!("command: {}", list(command))];
    let (default, named): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| name == "default");
    parts.extend(default.last().map(|(_, fields)| format!("fields: {}", list(fields))));
    if !named.is_empty() {
        let named: Vec<_> = named
            .iter()
            .map(|(name, fields)| format!("{}: {}", quoted(name), list(fields)))
            .collect();
        parts.push(format!("streams: {{{}}}", named.join(", ")));
    }
    if !env.is_empty() {
        parts.push(format!("env: {env}"));
    }
    if !config.conf.is_empty() {
        let conf: Vec<_> =
            config.conf.iter().map(|(key, value)| format!("{}: {value}", quoted(key))).collect();
        parts.push(format!("conf: {{{}}}", conf.join(", ")));
    }
    let mut seconds = |name: &str, time: Option<i64>| {
        parts.extend(time.filter(|time| *time > 0).map(|time| format!("{name}: \"{time}s\"")));
    };
    seconds("timeout", config.timeout);
    if is_spout {
        parts.extend(config.max_pending.map(|max| format!("max_pending: {max}")));
    } else {
        seconds("ticks", config.ticks);
        seconds("ack_within", config.ack_within);
    }
    format!("Shell({})", parts.join(", "))
}

#[cfg(test)]
mod tests;
