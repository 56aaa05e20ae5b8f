//! Draws a topology for a terminal, for Graphviz and for Mermaid.

use std::fmt::Write;

use super::explain::keys;
use super::wiring::input_name;
use super::{ComponentSpec, InputSpec, Topology};
use crate::component::Role;
use crate::printable::{printable_line, printable_text};

/// Draws the components in the order in which data flows, each with its inputs. Sinks show their
/// guarantee, and so do components that may emit a tuple twice.
///
/// ```text
/// topology "wordcount"
///
/// spout  in     Lines    1 task
/// bolt   words  Words    2 tasks
///        <- in: LocalOrShuffle
/// ```
pub fn graph_text(topology: &Topology) -> String {
    let width = |text: fn(&ComponentSpec) -> &str| {
        topology
            .components
            .iter()
            .map(|component| text(component).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (ids, types) = (width(|component| &component.id), width(|component| component.type_name));
    let mut out = format!("topology \"{}\"\n\n", printable_line(&topology.name));
    for component in &topology.components {
        let ComponentSpec { id, type_name, role, .. } = component;
        let _ = writeln!(
            out,
            "{:<5}  {id:<ids$}  {type_name:<types$}  {}",
            role.name(),
            tasks(component)
        );
        if let Some(sink) = &component.in_front_of {
            let _ = writeln!(out, "       put in front of {sink}");
        }
        for input in &component.inputs {
            let _ = writeln!(
                out,
                "       <- {}: {}{}",
                input_name(&topology.components, input),
                grouping(topology, input),
                into_tables(topology, component, input)
            );
        }
        if shows_guarantee(component) {
            let _ = writeln!(out, "       guarantee: {}", component.guarantee);
        }
    }
    out
}

/// Draws the topology for Graphviz' `dot`.
pub fn graph_dot(topology: &Topology) -> String {
    let mut out = format!(
        "digraph {} {{\n    rankdir=LR;\n    node [shape=box];\n",
        dot_text(&topology.name)
    );
    for component in &topology.components {
        let shape = match component.role {
            Role::Spout => "cds",
            Role::Bolt => "box",
            Role::Sink => "cylinder",
        };
        let label = dot_text(&label(component).join("\n"));
        let _ = writeln!(out, "    {} [shape={shape}, label={label}];", dot_text(&component.id));
    }
    for (from, component, input) in edges(topology) {
        let label = edge_label(topology, component, input);
        let label = dot_text(&label);
        let _ = writeln!(
            out,
            "    {} -> {} [label={label}];",
            dot_text(&from.id),
            dot_text(&component.id)
        );
    }
    out + "}\n"
}

/// Draws the topology for Mermaid, which GitHub renders.
pub fn graph_mermaid(topology: &Topology) -> String {
    let mut out = String::from("flowchart LR\n");
    for (i, component) in topology.components.iter().enumerate() {
        let label = mermaid_text(&label(component).join("\n"));
        let (open, close) = match component.role {
            Role::Spout => ("([", "])"),
            Role::Bolt => ("[", "]"),
            Role::Sink => ("[(", ")]"),
        };
        let _ = writeln!(out, "    n{i}{open}{label}{close}");
    }
    // Nodes are named by position, because an id may be a keyword of Mermaid, such as `end`.
    for (i, component) in topology.components.iter().enumerate() {
        for input in &component.inputs {
            let _ = writeln!(
                out,
                "    n{} -->|{}| n{i}",
                input.from,
                mermaid_text(&edge_label(topology, component, input))
            );
        }
    }
    out
}

fn tasks(component: &ComponentSpec) -> String {
    let hint = component.parallelism_hint;
    if hint.get() == 1 { "1 task".into() } else { format!("{hint} tasks") }
}

/// Returns true for a sink, and for a component that weakens the guarantee of all sinks behind it.
fn shows_guarantee(component: &ComponentSpec) -> bool {
    component.role == Role::Sink || component.guarantee.starts_with(AT_LEAST_ONCE)
}

/// The beginning of the guarantee of a component that may emit a tuple twice.
const AT_LEAST_ONCE: &str = "at least once";

/// Returns the lines of a component's label.
fn label(component: &ComponentSpec) -> Vec<String> {
    let mut lines =
        vec![component.id.clone(), format!("{}, {}", component.type_name, tasks(component))];
    if let Some(sink) = &component.in_front_of {
        lines.push(format!("put in front of {sink}"));
    }
    if shows_guarantee(component) {
        lines.push(component.guarantee.into());
    }
    lines
}

fn edges(
    topology: &Topology,
) -> impl Iterator<Item = (&ComponentSpec, &ComponentSpec, &InputSpec)> {
    let inputs = |component: &'_ ComponentSpec| component.inputs.len();
    topology.components.iter().flat_map(move |component| {
        (0..inputs(component)).map(move |i| {
            let input = &component.inputs[i];
            (&topology.components[input.from], component, input)
        })
    })
}

/// Returns a grouping: `Fields("word")`.
fn grouping(topology: &Topology, input: &InputSpec) -> String {
    let keys = keys(topology, input);
    let name = input.grouping.name();
    if keys.is_empty() { name.into() } else { format!("{name}({})", keys.join(", ")) }
}

/// Returns the place where a sink puts the tuples of an input: `, into table trends`.
fn into_tables(topology: &Topology, component: &ComponentSpec, input: &InputSpec) -> String {
    let into = component.destination(topology, input);
    into.map_or_else(String::new, |into| format!(", into {into}"))
}

/// Returns the label of an edge: the stream's name unless it is the default, and the grouping.
fn edge_label(topology: &Topology, component: &ComponentSpec, input: &InputSpec) -> String {
    let name = input_name(&topology.components, input);
    let into = into_tables(topology, component, input);
    let grouping = grouping(topology, input) + &into;
    match name.split_once(':') {
        Some((_, stream)) => format!("{stream}: {grouping}"),
        None => grouping,
    }
}

fn dot_text(text: &str) -> String {
    let text = printable_text(text);
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn mermaid_text(text: &str) -> String {
    let text = printable_text(text);
    let text = text
        .replace('&', "#amp;")
        .replace('"', "#quot;")
        .replace('<', "#lt;")
        .replace('\n', "<br/>");
    format!("\"{text}\"")
}
