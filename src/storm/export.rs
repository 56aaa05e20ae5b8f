//! `storm export`: a Flux file that runs a topology on a cluster of Storm.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::groups::{Crossing, Group, by_component, crossings, group_id, groups, is_shell};
use crate::registry::Config;
use crate::topology::{ComponentSpec, Grouping, Topology, explain};

/// The entry of a component's configuration that holds the topology.
pub(super) const CONF_TOPOLOGY: &str = "waterspout.topology";

/// The entry that holds the folder of cursors.
pub(super) const CONF_STATE: &str = "waterspout.state";

/// The options of an export.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The program on the workers.
    pub program: String,
    /// The folder of cursors on the workers. `None` for a folder of each worker's own.
    pub state: Option<String>,
    /// The number of workers.
    pub workers: u16,
}

/// The result of an export.
#[derive(Debug)]
pub struct Exported {
    /// The Flux file.
    pub flux: String,
    /// The topology file for the workers.
    pub ron: String,
    /// The script that submits it.
    pub submit: String,
    /// Notes for people: guarantees and differences.
    pub notes: Vec<String>,
}

/// Exports a topology.
///
/// # Errors
/// If components can't run on Storm: all reasons.
pub fn export(topology: &Topology, options: &ExportOptions) -> Result<Exported, Vec<String>> {
    let problems = problems(topology, options);
    if !problems.is_empty() {
        return Err(problems);
    }
    let groups = groups(topology);
    let crossings = crossings(topology, &groups);
    let ron = explain(topology);
    let mut flux = Flux { topology, options, groups: &groups, crossings: &crossings, ron: &ron };
    Ok(Exported {
        flux: flux.write(),
        submit: submit(&topology.name),
        notes: notes(topology, &groups),
        ron,
    })
}

fn problems(topology: &Topology, options: &ExportOptions) -> Vec<String> {
    let mut problems = Vec::new();
    if !Path::new(&options.program).is_absolute() {
        problems.push(format!(
            "--program: expected an absolute path, since workers run in folders of their own, \
             found \"{}\"",
            options.program
        ));
    }
    for spec in &topology.components {
        for input in &spec.inputs {
            if input.grouping == Grouping::Direct {
                problems.push(format!(
                    "bolt \"{}\" takes \"{}\" by direct grouping: a direct emit of a shell \
                     component ends a worker of Storm \
                     (ClassCastException in its JsonSerializer)",
                    spec.id, topology.components[input.from].id
                ));
            }
        }
        let of_spout = matches!(spec.config, Config::Spout(_));
        if is_shell(spec)
            && let Err(why) = crate::shell::exported(&spec.explained, of_spout)
        {
            problems.push(format!("component \"{}\": {why}", spec.id));
        }
        if let Config::Bolt(bolt) = &spec.config
            && bolt.uses_event_time()
        {
            problems.push(format!(
                "bolt \"{}\" works on event time, whose watermarks Storm doesn't carry between \
                 components",
                spec.id
            ));
        }
        match &spec.config {
            Config::Spout(spout) if spout.is_handed_in() => problems.push(format!(
                "spout \"{}\" reads standard input, which a worker of Storm talks to it by",
                spec.id
            )),
            Config::Sink(_) if spec.type_name == "Stdout" => problems.push(format!(
                "sink \"{}\" writes to standard output, which it talks to a worker of Storm by",
                spec.id
            )),
            _ => {}
        }
    }
    problems
}

fn notes(topology: &Topology, groups: &[Group]) -> Vec<String> {
    let mut notes = vec![
        "at least once, by Storm's acks: a tuple is acknowledged when all that comes of it is \
         delivered, and a spout's cursor \
         moves when its tuples are acknowledged"
            .to_owned(),
    ];
    for group in groups.iter().filter(|group| group.members.len() > 1) {
        let ids: Vec<_> =
            group.members.iter().map(|member| topology.components[*member].id.as_str()).collect();
        notes.push(format!("{} run together as the component \"{}\"", ids.join(", "), ids[0]));
    }
    for spec in &topology.components {
        let id = &spec.id;
        match (spec.type_name, &spec.config) {
            ("Local" | "S3", _) => notes.push(format!(
                "sink \"{id}\": posts that come again are twice in the lake; the bolt `Dedup` in \
                 a replay removes them by id"
            )),
            ("Postgres" | "Redshift", _) => {
                notes.push(format!("sink \"{id}\": each row once, by its keys"))
            }
            (_, Config::Sink(_)) => {
                notes.push(format!("sink \"{id}\": rows that come again are written again"));
            }
            (_, Config::Bolt(bolt)) if bolt.keeps_state() => notes.push(format!(
                "bolt \"{id}\": its state is in memory, and starts empty again when its process \
                 does"
            )),
            _ => {}
        }
        if spec.inputs.iter().any(|input| matches!(input.grouping, Grouping::PartialKey(_))) {
            notes.push(format!("bolt \"{id}\": PartialKey becomes a grouping by fields"));
        }
    }
    notes
}

struct Flux<'a> {
    topology: &'a Topology,
    options: &'a ExportOptions,
    groups: &'a [Group],
    crossings: &'a [Crossing],
    ron: &'a str,
}

impl Flux<'_> {
    /// Returns the Flux file. JSON is valid YAML, and needs no further rules for strings.
    fn write(&mut self) -> String {
        let mut text = format!(
            "# Written by `waterspout storm export`. submit.sh submits it.\nname: {}\n",
            json!(self.topology.name)
        );
        let _ = writeln!(text, "config:\n  topology.workers: {}", self.options.workers);
        for (title, is_spout) in [("spouts", true), ("bolts", false)] {
            let mut components = Vec::new();
            for group in self.groups {
                let head = &self.topology.components[group.members[0]];
                if matches!(head.config, Config::Spout(_)) == is_spout {
                    components.push(self.component(group, head));
                }
            }
            list(&mut text, title, &components);
        }
        list(&mut text, "streams", &self.streams());
        text
    }

    fn component(&self, group: &Group, head: &ComponentSpec) -> Json {
        let is_spout = matches!(head.config, Config::Spout(_));
        let class = match is_spout {
            true => "org.apache.storm.flux.wrappers.spouts.FluxShellSpout",
            false => "org.apache.storm.flux.wrappers.bolts.FluxShellBolt",
        };
        let mut methods = Vec::new();
        for crossing in self.crossings.iter().filter(|one| group.members.contains(&one.from)) {
            let from = &self.topology.components[crossing.from];
            let own = from.streams.iter().nth(crossing.stream);
            let own = own.map(|(_, fields)| fields.names().to_vec()).unwrap_or_default();
            let fields = crossing.form.fields(&own);
            methods.push(json!({ "name": "setNamedStream", "args": [crossing.name, fields] }));
        }
        let mut config = |key: &str, value: Json| {
            methods.push(json!({ "name": "addComponentConfig", "args": [key, value] }));
        };
        let command = match is_shell(head) {
            true => {
                // `problems` has checked that this succeeds.
                let child = crate::shell::exported(&head.explained, is_spout).unwrap_or_default();
                for (key, value) in child.conf {
                    config(&key, value);
                }
                if !child.env.is_empty() {
                    methods.push(json!({ "name": "setEnv", "args": [child.env] }));
                }
                child.command
            }
            false => {
                config(CONF_TOPOLOGY, json!(self.ron));
                if let Some(state) = &self.options.state {
                    config(CONF_STATE, json!(state));
                }
                let id = group_id(self.topology, group);
                ["storm", "component", id].iter().fold(
                    vec![self.options.program.clone()],
                    |mut command, word| {
                        command.push((*word).to_owned());
                        command
                    },
                )
            }
        };
        methods.push(json!({ "name": "changeChildCWD", "args": [false] }));
        json!({
            "id": group_id(self.topology, group),
            "className": class,
            "constructorArgs": [command],
            "configMethods": methods,
            "parallelism": head.parallelism_hint.get(),
        })
    }

    fn streams(&self) -> Vec<Json> {
        let ids = by_component(self.topology, self.groups);
        let mut streams = Vec::new();
        for crossing in self.crossings {
            for (taker, number) in &crossing.takers {
                let grouping = &self.topology.components[*taker].inputs[*number].grouping;
                let from = &self.topology.components[crossing.from];
                let (kind, keys) = storm_grouping(grouping, crossing, from);
                let mut grouping = json!({ "type": kind, "streamId": crossing.name });
                if !keys.is_empty() {
                    grouping["args"] = json!(keys);
                }
                streams.push(json!({
                    "from": ids[&crossing.from],
                    "to": ids[taker],
                    "grouping": grouping,
                }));
            }
        }
        streams.dedup();
        streams
    }
}

fn storm_grouping(
    grouping: &Grouping,
    crossing: &Crossing,
    from: &ComponentSpec,
) -> (&'static str, Vec<String>) {
    match grouping {
        Grouping::Fields(keys) | Grouping::PartialKey(keys) => {
            let keys = match crossing.form {
                super::groups::Form::Plain => {
                    let fields = from.streams.iter().nth(crossing.stream);
                    let names = fields.map(|(_, fields)| fields.names()).unwrap_or_default();
                    keys.iter().filter_map(|key| names.get(*key).cloned()).collect()
                }
                _ => vec!["bucket".into()],
            };
            ("FIELDS", keys)
        }
        Grouping::LocalOrShuffle => ("LOCAL_OR_SHUFFLE", Vec::new()),
        Grouping::All => ("ALL", Vec::new()),
        Grouping::Global => ("GLOBAL", Vec::new()),
        Grouping::Shuffle | Grouping::Direct => ("SHUFFLE", Vec::new()),
    }
}

fn list(text: &mut String, title: &str, items: &[Json]) {
    let _ = writeln!(text, "{title}:");
    for item in items {
        let _ = writeln!(text, "  - {item}");
    }
}

/// Returns the script that submits the topology.
fn submit(name: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Submits the topology {name:?} to the cluster that `storm` knows. FLUX_JAR is a jar\n\
         # with flux-core, flux-wrappers, snakeyaml and commons-cli, 2.8.3 or later. The program\n\
         # that topology.yaml names must be on every worker.\n\
         set -eu\n\
         : \"${{FLUX_JAR:?a jar with flux-core, flux-wrappers, snakeyaml and commons-cli}}\"\n\
         exec storm jar \"$FLUX_JAR\" org.apache.storm.flux.Flux \"$(dirname \
         \"$0\")/topology.yaml\"\n"
    )
}
