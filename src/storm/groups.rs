//! The groups of components that stay together in one component of Storm, and the streams between
//! groups.

use std::collections::BTreeMap;

use crate::registry::Config;
use crate::shell::SHELL;
use crate::topology::{ComponentSpec, Grouping, InputSpec, Topology};

/// Components that run together in one task of Storm: a head, and the components that take a
/// member's tuples locally and have as many tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The positions of its members in the topology, the head first.
    pub members: Vec<usize>,
}

/// A stream of Storm: one stream of a component, as one kind of grouping takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Crossing {
    /// The position of the component that emits.
    pub from: usize,
    /// The number of its stream.
    pub stream: usize,
    /// The name in Storm.
    pub name: String,
    /// The form of its tuples.
    pub form: Form,
    /// The bolts that take the stream: their position, and the number of the input.
    pub takers: Vec<(usize, usize)>,
}

/// The form of a tuple of Storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The values of one tuple, as other shell components know them.
    Plain,
    /// Any number of tuples in one text, whose keys belong to the bucket in another.
    Keyed(Vec<usize>),
    /// Any number of tuples in one text.
    Batch,
}

impl Form {
    /// Returns the fields in Storm of a stream that has these fields here.
    pub(crate) fn fields(&self, own: &[String]) -> Vec<String> {
        match self {
            Self::Plain => own.to_vec(),
            Self::Keyed(_) => vec!["bucket".into(), "tuples".into()],
            Self::Batch => vec!["tuples".into()],
        }
    }
}

/// Returns true if a component is already a child process.
pub(super) fn is_shell(spec: &ComponentSpec) -> bool {
    spec.type_name == SHELL
}

/// Returns the groups of a topology, in the order of their heads.
pub(super) fn groups(topology: &Topology) -> Vec<Group> {
    let mut group_of: Vec<usize> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    // Each component comes behind all that it takes input from.
    for (number, spec) in topology.components.iter().enumerate() {
        let head = match spec.inputs.as_slice() {
            [input] if joins(topology, spec, input) => Some(group_of[input.from]),
            _ => None,
        };
        let group = head.unwrap_or_else(|| {
            groups.push(Group { members: Vec::new() });
            groups.len() - 1
        });
        groups[group].members.push(number);
        group_of.push(group);
    }
    groups
}

fn joins(topology: &Topology, spec: &ComponentSpec, input: &InputSpec) -> bool {
    let from = &topology.components[input.from];
    let is_local = match &input.grouping {
        Grouping::LocalOrShuffle => true,
        // With one task each tuple goes to the same task.
        Grouping::Shuffle | Grouping::Global | Grouping::Fields(_) | Grouping::PartialKey(_) => {
            spec.parallelism_hint.get() == 1
        }
        Grouping::All | Grouping::Direct => false,
    };
    is_local
        && from.parallelism_hint == spec.parallelism_hint
        && !is_shell(from)
        && !is_shell(spec)
        && !matches!(spec.config, Config::Spout(_))
}

/// Returns the streams between groups.
pub(super) fn crossings(topology: &Topology, groups: &[Group]) -> Vec<Crossing> {
    let group_of =
        |component: usize| groups.iter().position(|group| group.members.contains(&component));
    let mut found: Vec<Crossing> = Vec::new();
    for (taker, spec) in topology.components.iter().enumerate() {
        for (number, input) in spec.inputs.iter().enumerate() {
            let is_inside = group_of(input.from) == group_of(taker);
            if is_inside {
                continue;
            }
            let from = &topology.components[input.from];
            let form = form(from, spec, &input.grouping);
            let same = found.iter_mut().find(|crossing| {
                crossing.from == input.from
                    && crossing.stream == input.stream.0
                    && crossing.form == form
            });
            match same {
                Some(crossing) => crossing.takers.push((taker, number)),
                None => {
                    let name = name(topology, input, &form);
                    let (from, stream) = (input.from, input.stream.0);
                    let takers = vec![(taker, number)];
                    found.push(Crossing { from, stream, name, form, takers });
                }
            }
        }
    }
    found
}

fn form(from: &ComponentSpec, to: &ComponentSpec, grouping: &Grouping) -> Form {
    if is_shell(from) || is_shell(to) {
        return Form::Plain;
    }
    match grouping {
        Grouping::Fields(keys) | Grouping::PartialKey(keys) => Form::Keyed(keys.clone()),
        _ => Form::Batch,
    }
}

/// Returns the name in Storm, which is the name of the stream where that is unique.
fn name(topology: &Topology, input: &InputSpec, form: &Form) -> String {
    let from = &topology.components[input.from];
    let stream = from.streams.iter().nth(input.stream.0).map_or("default", |(name, _)| name);
    match form {
        Form::Plain if is_shell(from) => stream.to_owned(),
        Form::Plain => format!("{}-{stream}-plain", from.id),
        Form::Batch => format!("{}-{stream}", from.id),
        Form::Keyed(keys) => {
            let keys: Vec<_> = keys.iter().map(usize::to_string).collect();
            format!("{}-{stream}-by-{}", from.id, keys.join("-"))
        }
    }
}

/// Returns the id of a group in Storm: the id of its head.
pub(super) fn group_id<'t>(topology: &'t Topology, group: &Group) -> &'t str {
    group.members.first().map_or("", |head| topology.components[*head].id.as_str())
}

/// Returns the group's id of each member.
pub(super) fn by_component(topology: &Topology, groups: &[Group]) -> BTreeMap<usize, String> {
    let mut ids = BTreeMap::new();
    for group in groups {
        for member in &group.members {
            ids.insert(*member, group_id(topology, group).to_owned());
        }
    }
    ids
}
