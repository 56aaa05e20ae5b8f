//! The state that a run goes on from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::format_description::well_known::Rfc3339;

use super::kappa;
use crate::checkpoint::disk::DiskStore;
use crate::checkpoint::{MemoryStore, Saved, StateStore};
use crate::cli::stderr;
use crate::engine::DEAD;
use crate::error::{Error, Result};
use crate::registry::Config;
use crate::sink;
use crate::topology::{Checkpoint, Topology};

/// Opens the state in a folder, or makes it, for a run that is about something. `None` if the topology has finished before, and it isn't
/// for its `dead_letters`: then that is said on standard error.
///
/// # Errors
/// If another process uses it, it can't be read, or it belongs to another kind of run.
pub fn open(
    topology: &Topology,
    (folder, about): (&Path, &str),
    fresh: bool,
    dead_letters: bool,
) -> Result<Option<Arc<dyn StateStore>>> {
    if topology.checkpoint == Checkpoint::Off {
        return Ok(Some(Arc::new(MemoryStore::default())));
    }
    let store = if fresh { begin_anew(topology, (folder, about))? } else { DiskStore::open(folder)? };
    refuse_others(folder, about, &store.saved()?)?;
    if let Some(at) = store.saved()?.finished.filter(|_| !dead_letters) {
        let at = at.format(&Rfc3339).unwrap_or_else(|_| at.to_string());
        stderr::say(&format!(
            "\"{}\" finished at {at}: there is nothing left to do; --fresh starts anew (state: {})",
            topology.name,
            folder.display()
        ));
        return Ok(None);
    }
    Ok(Some(Arc::new(store)))
}

/// A replay leaves the state of the live run as it is, and the other way round, also where `--state` says so.
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

/// Deletes what earlier tasks staged and nobody delivered.
fn delete_what_is_left(topology: &Topology, saved: &Saved) -> Result<()> {
    let dead_letters = (DEAD, Config::Sink(sink::dead_letters(PathBuf::new())));
    let components = topology.components.iter().map(|spec| (spec.id.as_str(), spec.config.clone()));
    for (id, config) in components.chain([dead_letters]) {
        if let Config::Sink(sink) = config {
            let mut places = saved.places.get(id).into_iter().flatten();
            places.try_for_each(|place| sink.recover(place, &[]).map(|_| ()))?;
        }
    }
    Ok(())
}
