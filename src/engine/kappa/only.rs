//! Selects some components of a topology, with everything upstream of them.

use crate::error::{Error, Result};
use crate::topology::Topology;

/// Marks the components that are needed for those in `only`; all, if `only` is empty.
///
/// # Errors
/// If a name doesn't exist.
pub(crate) fn needed(topology: &Topology, only: &[String]) -> Result<Vec<bool>> {
    let components = &topology.components;
    let mut needed = vec![only.is_empty(); components.len()];
    for id in only {
        let found = components.iter().position(|spec| spec.id == *id);
        let known = || {
            components.iter().map(|spec| format!("\"{}\"", spec.id)).collect::<Vec<_>>().join(", ")
        };
        needed[found.ok_or_else(|| {
            Error::fatal(format!("there is no component \"{id}\", but {}", known()))
        })?] = true;
    }
    // Each component comes after all that it takes input from.
    for (at, spec) in components.iter().enumerate().rev() {
        if needed[at] {
            spec.inputs.iter().for_each(|input| needed[input.from] = true);
        }
    }
    Ok(needed)
}

/// Returns the topology with only the needed components.
pub(crate) fn keep(topology: &Topology, needed: &[bool]) -> Topology {
    let mut kept = topology.clone();
    let mut of = needed.iter();
    kept.components.retain(|_| of.next().is_some_and(|needed| *needed));
    let position = |old: usize| needed[..old].iter().filter(|needed| **needed).count();
    for input in kept.components.iter_mut().flat_map(|spec| &mut spec.inputs) {
        input.from = position(input.from);
    }
    kept
}
