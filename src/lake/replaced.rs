//! Notes on partitions that were replaced, `_index/replaced/<old>.json`: the files that the old one
//! had, and where its posts are now. `compact`, `erase` and `prune` put a note before they delete
//! the first old file, and the note stays. It has two uses:
//!
//! - A writer may have been killed after it put a file into the partition, and before it recorded
//!   that. Without the note it would put that file once more, and its posts would be in the lake
//!   twice, or again.
//! - A reader that has listed the partition and comes to it later, or has read a part of it in an
//!   earlier run, continues in the partition that has the posts now (see
//!   [`lineage`](super::lineage)).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::index::Generation;
use super::names::{PartitionName, Segment};
use super::room;
use super::store::Store;
use crate::error::{Error, Result};

/// The folder of the notes, relative to the lake's root.
const REPLACED: &str = "_index/replaced/";

/// The reason in a note on a partition that was deleted because it was old: its posts are nowhere.
pub const PRUNE: &str = "prune";

fn key(partition: &str) -> String {
    format!("{REPLACED}{partition}.json")
}

/// The note on a partition that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The partition's name.
    pub partition: String,
    /// All files that it had.
    pub files: BTreeSet<String>,
    /// The number of posts in the files that were replaced last.
    posts: u64,
    /// The total length of those files, in bytes.
    bytes: u64,
    /// `compact`, `erase` or `prune`.
    pub why: String,
    /// The time of the last replacement.
    #[serde(with = "time::serde::rfc3339")]
    pub when: OffsetDateTime,
    /// All replacements, the earliest first: more than one if the partition's writer came back in
    /// between. Empty if an earlier version wrote the note.
    #[serde(default)]
    pub generations: Vec<Generation>,
}

/// Records that a partition was replaced. Repeating the call changes nothing.
///
/// # Errors
/// If the note can't be stored, or an existing one can't be read.
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

/// Reads the note on a partition. `None` if it wasn't replaced.
///
/// # Errors
/// If it can't be read, or is damaged.
pub fn read(store: &dyn Store, partition: &str) -> Result<Option<Note>> {
    let note = room::read_note(store, &key(partition), |json| serde_json::from_slice(json))?;
    note.transpose().map_err(|cause| {
        Error::fatal(format!(
            "\"{}\" is damaged: restore it, or delete it if no file of that partition waits to be delivered anywhere",
            store.address(&key(partition))
        ))
        .because(cause)
    })
}

/// Returns the names of all partitions with a note, with a single listing.
///
/// # Errors
/// If they can't be listed.
pub fn names(store: &dyn Store) -> Result<BTreeSet<String>> {
    let names = store.names(REPLACED)?;
    Ok(names.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect())
}

/// A cache of notes on partitions: each note is read once.
#[derive(Default)]
pub struct Replaced {
    /// The files whose posts are in another partition now, or erased; empty if the partition wasn't
    /// replaced.
    files: BTreeMap<PartitionName, BTreeSet<String>>,
}

impl Replaced {
    /// Returns true if a file was in its partition when the partition was replaced.
    ///
    /// # Errors
    /// If the note can't be read.
    pub fn has(&mut self, store: &dyn Store, segment: &Segment) -> Result<bool> {
        let files = match self.files.entry(segment.partition) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(files(store, &segment.partition.to_string())?),
        };
        Ok(files.contains(&segment.file.to_string()))
    }
}

/// Returns true if a file was in its partition when the partition was replaced. Reads the note now,
/// and not from a cache.
///
/// # Errors
/// If the note can't be read.
pub fn has_now(store: &dyn Store, segment: &Segment) -> Result<bool> {
    Ok(files(store, &segment.partition.to_string())?.contains(&segment.file.to_string()))
}

fn files(store: &dyn Store, partition: &str) -> Result<BTreeSet<String>> {
    Ok(read(store, partition)?.map(|note| note.files).unwrap_or_default())
}
