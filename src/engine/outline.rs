//! Describes a topology to its own components.

use crate::component::{ComponentOutline, InputOutline, TopologyOutline};
use crate::topology::{ComponentSpec, Grouping, InputSpec, Plan, Topology};

/// Returns the outline of a topology, without its hidden components.
pub(crate) fn outline(topology: &Topology, plan: &Plan) -> TopologyOutline {
    let mut components = Vec::new();
    for (number, spec) in topology.components.iter().enumerate() {
        if spec.id.starts_with('_') {
            continue;
        }
        let tasks = plan.tasks_of(number);
        let streams = spec.streams.iter().map(|(name, fields)| (name.to_owned(), fields.clone()));
        components.push(ComponentOutline {
            id: spec.id.clone(),
            first_task: tasks.start,
            tasks: tasks.len(),
            streams: streams.collect(),
            inputs: inputs(topology, spec),
        });
    }
    TopologyOutline { name: topology.name.clone(), components }
}

fn inputs(topology: &Topology, spec: &ComponentSpec) -> Vec<InputOutline> {
    let mut inputs = Vec::new();
    for InputSpec { from, stream, grouping } in &spec.inputs {
        let from = &topology.components[*from];
        let Some((name, fields)) = from.streams.iter().nth(stream.0) else { continue };
        let keys: &[usize] = match grouping {
            Grouping::Fields(keys) | Grouping::PartialKey(keys) => keys,
            _ => &[],
        };
        inputs.push(InputOutline {
            from: from.id.clone(),
            stream: name.to_owned(),
            grouping: grouping.name(),
            keys: keys.iter().map(|key| fields.names()[*key].clone()).collect(),
        });
    }
    inputs
}
