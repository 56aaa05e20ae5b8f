//! Notes on partitions that were replaced, `_index/replaced/<old>.json`: which files the old one
//! had, and where its posts are now. `compact`, `erase` and `prune` put one before the first old
//! file goes, and it stays. Two need it:
//!
//! - A writer that was killed after it had put a file there, and before it knew, would otherwise put
//!   that file once more: its posts would be there twice, or again.
//! - A reader that has listed the partition and comes to it later, or has read a part of it in an
//!   earlier run, goes on in the one that has the posts now (see [`lineage`](super::lineage)).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::index::Generation;
use super::names::{PartitionName, Segment};
use super::room;
use super::store::Store;
use crate::error::{Error, Result};

/// Where the notes are.
const REPLACED: &str = "_index/replaced/";

/// The reason in a note on a partition that was deleted because it was old: its posts are nowhere.
pub const PRUNE: &str = "prune";

fn key(partition: &str) -> String {
    format!("{REPLACED}{partition}.json")
}

/// What is known of a partition that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The partition's name.
    pub partition: String,
    /// All files that it had.
    pub files: BTreeSet<String>,
    /// How many posts the files held that were replaced last.
    posts: u64,
    /// The length of those files.
    bytes: u64,
    /// `compact`, `erase` or `prune`.
    pub why: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub when: OffsetDateTime,
    /// Each time that it was replaced, the earliest first: more than one if its writer came back in
    /// between. Empty where an earlier version wrote the note.
    #[serde(default)]
    pub generations: Vec<Generation>,
}

/// Puts down that a partition was replaced. Doing it again changes nothing.
///
/// # Errors
/// If it can't be stored, or what is there can't be read.
pub fn put(store: &dyn Store, generation: &Generation) -> Result<()> {
    let (mut files, mut generations) = match read(store, &generation.partition)? {
        Some(note) => (note.files, note.generations),
        None => (BTreeSet::new(), Vec::new()),
    };
    files.extend(generation.files.iter().cloned());
    if !generations.contains(generation) {
        generations.push(generation.clone());
    }
    let Generation { partition, posts, bytes, why, when, .. } = generation.clone();
    let note = Note { partition, files, posts, bytes, why, when, generations };
    let json = serde_json::to_vec(&note).expect("a note has only text and numbers");
    store.replace(&key(&note.partition), json.into())
}

/// The note on a partition. None if it wasn't replaced.
///
/// # Errors
/// If it can't be read, or is damaged.
pub fn read(store: &dyn Store, partition: &str) -> Result<Option<Note>> {
    let note = room::read_note(store, &key(partition), |json| serde_json::from_slice(json))?;
    note.transpose().map_err(|cause| {
        Error::fatal(format!(
            "\"{}\" is damaged: bring it back, or delete it if no file of that partition waits to be delivered anywhere",
            store.address(&key(partition))
        ))
        .because(cause)
    })
}

/// The names of all partitions with a note, by one listing.
///
/// # Errors
/// If they can't be listed.
pub fn names(store: &dyn Store) -> Result<BTreeSet<String>> {
    let names = store.names(REPLACED)?;
    Ok(names.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect())
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

/// Whether a file was in its partition when that was replaced, as it is known at this moment.
///
/// # Errors
/// If that can't be read.
pub fn has_now(store: &dyn Store, segment: &Segment) -> Result<bool> {
    Ok(files(store, &segment.partition.to_string())?.contains(&segment.file.to_string()))
}

fn files(store: &dyn Store, partition: &str) -> Result<BTreeSet<String>> {
    Ok(read(store, partition)?.map(|note| note.files).unwrap_or_default())
}
