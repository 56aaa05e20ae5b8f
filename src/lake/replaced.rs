//! Tells a writer that was away for long that its partition was replaced meanwhile: `compact` and `erase` leave
//! `_index/replaced/<old>.json`, which names the files that the old one had. Whoever was killed after it had put
//! a file there, and before it knew, would otherwise put that file once more: its posts would be there twice,
//! or again. It is there before the first old file goes, and stays.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::index::Generation;
use super::names::{PartitionName, Segment};
use super::store::Store;
use crate::error::{Error, Result};

fn key(partition: &str) -> String {
    format!("_index/replaced/{partition}.json")
}

/// Puts down that a partition was replaced. It may have been before, if its writer came back in between.
///
/// # Errors
/// If it can't be stored, or what is there can't be read.
pub fn put(store: &dyn Store, generation: &Generation) -> Result<()> {
    let mut all = files(store, &generation.partition)?;
    all.extend(generation.files.iter().cloned());
    let generation = Generation { files: all.into_iter().collect(), ..generation.clone() };
    let json = serde_json::to_vec(&generation).expect("a generation has only text and numbers");
    store.replace(&key(&generation.partition), json.into())
}

/// What is known of partitions: each is asked for once.
#[derive(Default)]
pub struct Replaced {
    /// The files whose posts are elsewhere by now, or erased; none if it wasn't replaced.
    files: BTreeMap<PartitionName, BTreeSet<String>>,
}

impl Replaced {
    /// Whether a file was in its partition when that was replaced.
    ///
    /// # Errors
    /// If that can't be read.
    pub fn has(&mut self, store: &dyn Store, segment: &Segment) -> Result<bool> {
        let files = match self.files.entry(segment.partition) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(files(store, &segment.partition.to_string())?),
        };
        Ok(files.contains(&segment.file.to_string()))
    }
}

fn files(store: &dyn Store, partition: &str) -> Result<BTreeSet<String>> {
    let Some(json) = store.get(&key(partition))? else { return Ok(BTreeSet::new()) };
    let generation: Generation = serde_json::from_slice(&json).map_err(|cause| {
        Error::fatal(format!(
            "\"{}\" is damaged: bring it back, or delete it if no file of that partition waits to be delivered anywhere",
            store.address(&key(partition))
        ))
        .because(cause)
    })?;
    Ok(generation.files.into_iter().collect())
}
