//! The state that a run goes on from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kappa;
use crate::checkpoint::disk::DiskStore;
use crate::checkpoint::{MemoryStore, Saved, StateStore};
use crate::error::{Error, Result};
use crate::registry::Config;
use crate::sink;
use crate::topology::{Checkpoint, Topology};

/// A state that a run goes on from.
pub(crate) struct Opened {
    /// The store.
    pub store: Arc<dyn StateStore>,
    /// What it held before the run.
    pub before: Saved,
    /// The same store, if it is on disk.
    disk: Option<Arc<DiskStore>>,
}

/// Opens the state in a folder, or makes it, for a run that is about something.
///
/// # Errors
/// If another process uses it, it can't be read, it belongs to another kind of run, or is a lake.
pub(crate) fn open(
    topology: &Topology,
    (folder, about): (&Path, &str),
    fresh: bool,
) -> Result<Opened> {
    if topology.checkpoint == Checkpoint::Off {
        return Ok(Opened {
            store: Arc::new(MemoryStore::default()),
            before: Saved::default(),
            disk: None,
        });
    }
    refuse_lakes(topology, folder)?;
    let store =
        if fresh { begin_anew(topology, (folder, about))? } else { DiskStore::open(folder)? };
    let before = store.saved()?;
    refuse_others(folder, about, &before)?;
    let disk = Arc::new(store);
    Ok(Opened { store: Arc::clone(&disk) as _, before, disk: Some(disk) })
}

/// The names of folders in a lake that aren't its partitions, and those in a state.
const WITHIN_LAKES: [&str; 3] = ["_index", "_staging", "_dead"];
const WITHIN_STATES: [&str; 4] = ["spool", "outbox", "gaps", "_dead"];

/// A state and a lake have folders of the same names, which mean other things: what one of them
/// deletes would be the other's.
fn refuse_lakes(topology: &Topology, folder: &Path) -> Result<()> {
    let state = real(folder);
    for spec in &topology.components {
        let Config::Sink(sink) = &spec.config else { continue };
        let Some(root) = sink.lake_root().map(|root| real(&root)) else { continue };
        let state_in_lake = WITHIN_LAKES.iter().any(|name| state.starts_with(root.join(name)));
        let lake_in_state = WITHIN_STATES.iter().any(|name| root.starts_with(state.join(name)));
        if state == root || state_in_lake || lake_in_state {
            return Err(Error::fatal(format!(
                "the state \"{}\" and the lake \"{}\" of \"{}\" can't be in one place: give a --state of its own. \
                 A state that an earlier version made there is moved by moving \"lock\", \"checkpoint.redb\", \"spool\" \
                 and \"gaps\" into another folder",
                folder.display(),
                root.display(),
                spec.id
            )));
        }
    }
    Ok(())
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return real.join(rest);
        }
    }
    path.to_path_buf()
}

/// A replay leaves the state of the live run as it is, and the other way round, also where
/// `--state` says so.
fn refuse_others(folder: &Path, about: &str, saved: &Saved) -> Result<()> {
    if kappa::may_resume(about, &saved.about) {
        return Ok(());
    }
    let (folder, other) = (folder.display(), &saved.about);
    Err(Error::fatal(format!(
        "\"{folder}\" is the state of another run, \"{other}\": a replay has one of its own; give another --state"
    )))
}

fn begin_anew(topology: &Topology, (folder, about): (&Path, &str)) -> Result<DiskStore> {
    // A state that can't be read any more has nothing to tell of what it left.
    if let Ok(saved) = DiskStore::open(folder).and_then(|store| store.saved()) {
        refuse_others(folder, about, &saved)?;
        delete_what_is_left(topology, &saved)?;
    }
    DiskStore::fresh(folder)
}

/// Deletes what earlier tasks staged and nobody delivered, whatever their components are by now.
fn delete_what_is_left(topology: &Topology, saved: &Saved) -> Result<()> {
    for (id, places) in &saved.places {
        let was = saved.components.get(id).map(|kept| kept.type_name.as_str());
        let is =
            topology.components.iter().find(|spec| spec.id == *id && was == Some(spec.type_name));
        for place in places.iter().filter(|place| !place.is_empty()) {
            match is.map(|spec| &spec.config) {
                Some(Config::Sink(config)) => config.recover(place, &[]).map(drop)?,
                _ => sink::discard(place)?,
            }
        }
    }
    Ok(())
}

impl Opened {
    /// True if it outlives the process.
    pub(crate) fn is_durable(&self) -> bool {
        self.disk.is_some()
    }

    /// The run has ended: removes a state that nobody could miss. One is unused if the run ended
    /// before its first checkpoint; one of a replay that `delivered` all that it was for has
    /// nothing more to tell. Returns whether it was removed.
    pub(crate) fn tidy(&self, topology: &Topology, delivered: bool) -> bool {
        let Some(disk) = &self.disk else { return false };
        let unused = || disk.is_unused().unwrap_or(false);
        if !delivered && !unused() {
            return false;
        }
        // What can't be removed is listed by `state ls`.
        let Ok(saved) = disk.saved() else { return false };
        delete_what_is_left(topology, &saved).and_then(|()| disk.discard()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{LoadOptions, parse};

    #[test]
    fn a_state_and_a_lake_never_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let lake = folder.path().join("lake");
        std::fs::create_dir_all(&lake).unwrap();
        std::os::unix::fs::symlink(&lake, folder.path().join("link")).unwrap();
        let topology = |root: &Path| {
            let text = format!(
                r#"Topology(name: "t", spouts: {{"in": Spout(run: Generate())}},
                    bolts: {{"lake": Bolt(run: Local(root: {root:?}), inputs: [Shuffle("in")])}})"#
            );
            parse("t.ron", &text, &crate::components::standard(), &LoadOptions::default()).unwrap()
        };
        let ours = topology(&lake);
        for state in ["lake", "link", "lake/_staging/x", "link/_index"] {
            assert!(refuse_lakes(&ours, &folder.path().join(state)).is_err(), "{state}");
        }
        for state in ["state", "lake/state", "lake2"] {
            refuse_lakes(&ours, &folder.path().join(state)).unwrap();
        }
        assert!(
            refuse_lakes(
                &topology(&folder.path().join("state/spool/lake")),
                &folder.path().join("state")
            )
            .is_err()
        );
    }
}
