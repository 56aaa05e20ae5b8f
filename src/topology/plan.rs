//! From components to tasks and edges. Pure.

use super::{ComponentSpec, Topology};

/// One task of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPlan {
    /// The position of the component in [`Topology::components`].
    pub component: usize,
    /// The number of the task within the component, from 0. Its executor is this number modulo the
    /// number of executors, so that tasks with the same number share a thread (a lane).
    pub index: usize,
}

/// All tasks of a topology, and the bounds of the edges between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// All tasks, those of one component side by side.
    pub tasks: Vec<TaskPlan>,
    /// The number of the first task of each component.
    pub first_task: Vec<usize>,
    /// How many batches an edge holds.
    pub edge_batches: usize,
    /// How many bytes a batch on an edge may weigh, unless a single tuple is heavier.
    pub batch_bytes: usize,
}

/// How many batches an edge holds at most. More would hide longer stalls of a task, but the tuples
/// of a deep edge have left the cache when they are worked on.
pub(crate) const EDGE_BATCHES_MAX: usize = 8;

/// How many batches an edge holds at least: one to work on while the next is made.
pub(crate) const EDGE_BATCHES_MIN: usize = 2;

/// How many bytes a batch may weigh at most: larger ones would leave the cache half worked on.
pub(crate) const BATCH_BYTES_MAX: u64 = 1 << 20;

impl Plan {
    /// Plans a topology: `memory` is divided evenly over all edges, and each edge's share over the
    /// batches that it holds, the one that is being gathered, and the one that is being worked on.
    pub fn of(topology: &Topology) -> Self {
        let hint = |component: &ComponentSpec| usize::from(component.parallelism_hint.get());
        let mut tasks = Vec::new();
        let mut first_task = Vec::new();
        for (component, spec) in topology.components.iter().enumerate() {
            first_task.push(tasks.len());
            tasks.extend((0..hint(spec)).map(|index| TaskPlan { component, index }));
        }
        let edges: usize = topology
            .components
            .iter()
            .flat_map(|to| {
                to.inputs.iter().map(move |input| hint(to) * hint(&topology.components[input.from]))
            })
            .sum();
        let share = topology.memory / edges.max(1) as u64;
        let edge_batches = (share / BATCH_BYTES_MAX)
            .clamp(EDGE_BATCHES_MIN as u64, EDGE_BATCHES_MAX as u64)
            as usize;
        let batch_bytes = (share / (edge_batches as u64 + 2)).clamp(1, BATCH_BYTES_MAX) as usize;
        Self { tasks, first_task, edge_batches, batch_bytes }
    }

    /// The numbers of a component's tasks.
    pub fn tasks_of(&self, component: usize) -> std::ops::Range<usize> {
        let end = self.first_task.get(component + 1).copied().unwrap_or(self.tasks.len());
        self.first_task[component]..end
    }
}
