//! Plans the tasks and edges of a topology. Does no I/O.

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
    /// The number of batches that an edge holds.
    pub edge_batches: usize,
    /// The largest size of a batch on an edge, in bytes, unless a single tuple is larger.
    pub batch_bytes: usize,
}

/// The largest number of batches that an edge holds. More would hide longer stalls of a task, but
/// on a longer edge tuples have left the CPU cache by the time they are processed.
pub(crate) const EDGE_BATCHES_MAX: usize = 8;

/// The smallest number of batches that an edge holds: one is processed while the next one is
/// filled.
pub(crate) const EDGE_BATCHES_MIN: usize = 2;

/// The largest size of a batch in bytes. Larger batches would leave the CPU cache before they are
/// processed.
pub(crate) const BATCH_BYTES_MAX: u64 = 1 << 20;

impl Plan {
    /// Plans a topology. `memory` is divided evenly over all edges, and the share of an edge over
    /// the batches that it holds, the batch being gathered and the batch being processed.
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

    /// Returns the numbers of a component's tasks.
    pub fn tasks_of(&self, component: usize) -> std::ops::Range<usize> {
        let end = self.first_task.get(component + 1).copied().unwrap_or(self.tasks.len());
        self.first_task[component]..end
    }
}
