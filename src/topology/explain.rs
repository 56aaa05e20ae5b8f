//! Writes a topology as RON, with every default.

use std::fmt::Write;

use super::print::{layout, quote};
use super::problem::Report;
use super::wiring::input_name;
use super::{AfterRetries, Checkpoint, ComponentSpec, InputSpec, OnError, Topology, syntax};
use crate::component::Role;
use crate::flow::Grouping;
use crate::units::{ByteSize, Interval};

/// Returns the whole topology as RON with every default written out. Loading this text gives the
/// same topology. Text from outside stays `Env("…")` and `File("…")` and is never replaced by its
/// value.
pub fn explain(topology: &Topology) -> String {
    let mut text = String::new();
    // Writing into a String can't fail.
    let _ = write_topology(topology, &mut text);
    lay_out(text)
}

/// The number of outermost levels that are always broken into lines: the topology only.
const LEVELS: usize = 1;

/// Breaks a topology that stands on one line into lines.
pub(super) fn lay_out(text: String) -> String {
    let mut report = Report::default();
    let whole = report.sources.add("explained", text.clone());
    match syntax::parse(&text, whole) {
        Ok(tree) => layout(&report.sources, &tree, LEVELS) + "\n",
        Err(_) => text,
    }
}

/// Returns the text of a field, or the call that was written in its place.
fn written(topology: &Topology, path: &str, value: impl ToString) -> String {
    topology.outside.get(path).cloned().unwrap_or_else(|| quote(&value.to_string()))
}

fn write_topology(topology: &Topology, out: &mut String) -> std::fmt::Result {
    write!(out, "Topology(name: {}", written(topology, "name", &topology.name))?;
    for (field, is_spout) in [("spouts", true), ("bolts", false)] {
        write!(out, ", {field}: {{")?;
        let of_file =
            topology.components.iter().filter(|component| component.in_front_of.is_none());
        for component in of_file.filter(|component| (component.role == Role::Spout) == is_spout) {
            write_component(topology, component, out)?;
        }
        out.push('}');
    }
    out.push_str(", include: [], checkpoint: ");
    match topology.checkpoint {
        Checkpoint::Off => out.push_str("Off"),
        Checkpoint::Every(every) => {
            write!(
                out,
                "Checkpoint(every: {})",
                written(topology, "checkpoint.every", Interval(every))
            )?;
        }
    }
    let micro_batch = topology.micro_batch;
    let bytes = written(topology, "micro_batch.bytes", ByteSize(micro_batch.bytes));
    let age = written(topology, "micro_batch.age", Interval(micro_batch.age));
    write!(
        out,
        ", micro_batch: MicroBatch(posts: {}, bytes: {bytes}, age: {age})",
        micro_batch.posts
    )?;
    let every = written(topology, "partition.every", Interval(topology.partition_every));
    write!(out, ", partition: Partition(every: {every})")?;
    write!(out, ", memory: {}", written(topology, "memory", ByteSize(topology.memory)))?;
    let within = written(topology, "restarts.within", Interval(topology.restarts.within));
    write!(out, ", restarts: Restarts(max: {}, within: {within}))", topology.restarts.max)
}

fn write_component(
    topology: &Topology,
    component: &ComponentSpec,
    out: &mut String,
) -> std::fmt::Result {
    let ComponentSpec { id, explained, parallelism_hint, batch, .. } = component;
    let is_spout = component.role == Role::Spout;
    let (name, map) = if is_spout { ("Spout", "spouts") } else { ("Bolt", "bolts") };
    write!(out, "{}: {name}(run: {explained}", quote(id))?;
    if !is_spout {
        let inputs: Vec<_> =
            file_inputs(topology, component).map(|input| input_ron(topology, input)).collect();
        write!(out, ", inputs: [{}]", inputs.join(", "))?;
    }
    write!(out, ", parallelism_hint: {parallelism_hint}")?;
    if !is_spout {
        write!(out, ", on_error: {}", on_error(&component.on_error))?;
    }
    let linger = format!("{map}.{id}.linger");
    let linger = match (component.linger, topology.outside.get(&linger)) {
        (_, Some(written)) => written.clone(),
        (Some(linger), None) => quote(&Interval(linger).to_string()),
        (None, None) => "None".into(),
    };
    write!(out, ", batch: {batch}, linger: {linger}),")
}

/// Returns the inputs as the file names them. If the engine put bolts in front of a component, the
/// inputs of these bolts are the component's own.
fn file_inputs<'a>(
    topology: &'a Topology,
    component: &'a ComponentSpec,
) -> impl Iterator<Item = &'a InputSpec> {
    component.inputs.iter().flat_map(|input| {
        let from = &topology.components[input.from];
        match from.in_front_of {
            Some(_) => &from.inputs[..],
            None => std::slice::from_ref(input),
        }
    })
}

/// Returns an input as a file names it: `Fields("words", ["word"])`.
pub(super) fn input_ron(topology: &Topology, input: &InputSpec) -> String {
    let name = quote(&input_name(&topology.components, input));
    let keys = keys(topology, input);
    if keys.is_empty() {
        return format!("{}({name})", input.grouping.name());
    }
    format!("{}({name}, [{}])", input.grouping.name(), keys.join(", "))
}

/// Returns the names of the fields that an input groups by, in quotes.
pub(super) fn keys(topology: &Topology, input: &InputSpec) -> Vec<String> {
    let fields = topology.components[input.from].streams.fields(input.stream);
    match &input.grouping {
        Grouping::Fields(keys) | Grouping::PartialKey(keys) => {
            keys.iter().map(|key| quote(&fields.names()[*key])).collect()
        }
        _ => Vec::new(),
    }
}

fn on_error(on_error: &OnError) -> String {
    match on_error {
        OnError::Retry { times, then } => {
            let then = match then {
                AfterRetries::DeadLetter => "DeadLetter",
                AfterRetries::Stop => "Stop",
            };
            format!("Retry(times: {times}, then: {then})")
        }
        OnError::DeadLetter => "DeadLetter".into(),
        OnError::Stop => "Stop".into(),
    }
}
