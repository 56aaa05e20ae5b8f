//! Prepares the state from which tasks continue: recovers the promises of earlier tasks and
//! distributes them, and restores the state of bolts. Used for a start, a restart after a crash, a
//! roll-back and a rebalance.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::wiring::of_component;
use crate::bolt::Bolt;
use crate::checkpoint::{Saved, Started, StateStore};
use crate::coordinator::Resumed;
use crate::engine::upgrade;
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::keys::{KEY_GROUPS, SHARED_GROUP, task_of_group};
use crate::registry::Config;
use crate::topology::{ComponentSpec, Plan, Topology};

/// The checkpoint and the recovered promises from which a topology continues.
pub(crate) struct Resume {
    /// The newest complete checkpoint.
    pub saved: Saved,
    /// The places of earlier tasks that hold undelivered data, by sink.
    places: BTreeMap<String, BTreeSet<String>>,
    /// The closed promises that are still to be delivered, by sink.
    promises: BTreeMap<String, Vec<Promise>>,
    dropped: BTreeSet<String>,
}

/// Reads the checkpoint, and recovers the data that earlier tasks left. Every step can be repeated
/// after a crash.
///
/// # Errors
/// If the checkpoint can't be read, promised data is missing, or the state of a component that
/// isn't in `drop` would be discarded.
pub(crate) fn recover(
    topology: &Topology,
    store: &dyn StateStore,
    drop: &BTreeSet<String>,
) -> Result<Resume> {
    let saved = store.saved()?;
    let dropped = upgrade::dropped(store, &saved, &upgrade::kept(topology), drop)?;
    let mut resume = Resume { places: BTreeMap::new(), promises: BTreeMap::new(), saved, dropped };
    for spec in &topology.components {
        if let Config::Sink(_) = &spec.config
            && !resume.dropped.contains(&spec.id)
        {
            resume.recover_sink(spec).map_err(|error| of_component(spec, error))?;
        }
    }
    let Resume { saved, dropped, .. } = &mut resume;
    saved.cursors.retain(|(component, _), _| !dropped.contains(component));
    saved.split_times.retain(|(component, _), _| !dropped.contains(component));
    saved.watermarks.retain(|component, _| !dropped.contains(component));
    Ok(resume)
}

impl Resume {
    fn recover_sink(&mut self, spec: &ComponentSpec) -> Result<()> {
        let Config::Sink(config) = &spec.config else { return Ok(()) };
        if self.saved.epoch > 0
            && let Some(root) = config.lake_root()
            && !root.is_dir()
        {
            return Err(Error::fatal(format!(
                "the lake \"{}\" is gone, but this state has written to it up to epoch {}: \
                 put it back, or start from the beginning with --fresh",
                root.display(),
                self.saved.epoch
            )));
        }
        let promises = self.saved.promises.remove(&spec.id).unwrap_or_default();
        let mut places = self.saved.places.get(&spec.id).cloned().unwrap_or_default();
        places.extend(promises.iter().map(|promise| promise.place.clone()));
        for place in places {
            let of_place: Vec<_> =
                promises.iter().filter(|promise| promise.place == place).cloned().collect();
            let closed = config.recover(&place, &of_place)?;
            if !closed.is_empty() {
                self.places.entry(spec.id.clone()).or_default().insert(place);
                self.promises.entry(spec.id.clone()).or_default().extend(closed);
            }
        }
        Ok(())
    }

    /// Returns the state from which the coordinator continues. Promises are distributed evenly over
    /// the tasks of their sink.
    pub(crate) fn resumed(&mut self, topology: &Topology, plan: &Plan) -> Resumed {
        let mut shared: BTreeMap<usize, Vec<Promise>> = BTreeMap::new();
        for (component, spec) in topology.components.iter().enumerate() {
            let tasks = plan.tasks_of(component);
            // All promises of a place stay together, because the files of a place are delivered in
            // order.
            let mut by_place: BTreeMap<String, Vec<Promise>> = BTreeMap::new();
            for promise in self.promises.remove(&spec.id).unwrap_or_default() {
                by_place.entry(promise.place.clone()).or_default().push(promise);
            }
            for (promises, task) in by_place.into_values().zip(tasks.cycle()) {
                shared.entry(task).or_default().extend(promises);
            }
        }
        Resumed { epoch: self.saved.epoch, boundary: self.saved.boundary, promises: shared }
    }

    /// Returns the record to save before the tasks start. `places` are the places of the new tasks.
    pub(crate) fn started(
        &self,
        topology: &Topology,
        places: Vec<(String, String)>,
        about: &str,
    ) -> Started {
        let mut all = self.places.clone();
        for (component, place) in places.into_iter().filter(|(_, place)| !place.is_empty()) {
            all.entry(component).or_default().insert(place);
        }
        Started {
            about: about.to_owned(),
            components: upgrade::kept(topology),
            places: all,
            dropped: self.dropped.clone(),
        }
    }
}

/// Returns the key groups whose state a task keeps. If the state belongs to the task and not to
/// keys, the range is the one group that stands for the task, which is also the second value.
pub(crate) fn groups(
    topology: &Topology,
    spec: &ComponentSpec,
    task: usize,
) -> (Range<u16>, Option<u16>) {
    let tasks = usize::from(spec.parallelism_hint.get());
    if upgrade::state_key(topology, spec).is_some() {
        return (groups_of_task(task, tasks), None);
    }
    let group = u16::try_from(task).expect("a component has 1,024 tasks at most");
    (group..group + 1, Some(group))
}

/// Returns the key groups that [`task_of_group`] assigns to a task.
fn groups_of_task(task: usize, tasks: usize) -> Range<u16> {
    let first = |task: usize| {
        (0..KEY_GROUPS).find(|group| task_of_group(*group, tasks) >= task).unwrap_or(KEY_GROUPS)
    };
    first(task)..first(task + 1)
}

/// Restores the state of bolts, several in parallel.
///
/// # Errors
/// If the state can't be read, or a bolt doesn't accept it.
pub(crate) fn restore(
    store: &dyn StateStore,
    bolts: Vec<(&ComponentSpec, Range<u16>, &mut Box<dyn Bolt>)>,
) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let queue = std::sync::Mutex::new(bolts.into_iter());
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    let work = || {
        while let Some((spec, groups, bolt)) = next() {
            for groups in [SHARED_GROUP..SHARED_GROUP + 1, groups] {
                let restored =
                    store.restore(&spec.id, groups, &mut |key, value| bolt.restore(key, value));
                restored.map_err(|error| of_component(spec, error))?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            worker.join().unwrap_or_else(|_| {
                Err(Error::fatal("a bolt panicked while its state was restored"))
            })
        };
        workers.into_iter().map(join).collect::<Vec<_>>().into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_own_all_groups_and_each_group_once() {
        for tasks in [1, 2, 3, 7, 1000, 1024] {
            let owned: Vec<_> = (0..tasks).flat_map(|task| groups_of_task(task, tasks)).collect();
            assert_eq!(owned, (0..KEY_GROUPS).collect::<Vec<_>>(), "{tasks} tasks");
        }
    }
}
