//! Lists a lake: the partitions that count at one moment, and their files. Every reader of a lake
//! lists it with this module, in any store.
//!
//! `compact` and `erase` may run at the same time, and no listing shows a single moment: names at
//! its end are read later than names at its beginning. So the journal and the notes on replaced
//! partitions are read before the names and after them, and the journal, not the names, tells what
//! changed in between. Of an old partition and its replacement exactly one is listed.
//!
//! ```text
//! notes ─▶ journal ─▶ names ─▶ journal ─▶ notes ─▶ (journal ─▶ notes, while new ones come)
//! ```
//!
//! The order matters. A note is put before the first old file is deleted, and stays; the journal
//! says `done` from before the note is put until the last old file is deleted.

use std::collections::BTreeSet;

use glob::Pattern;

use super::index::is_partition;
use super::journal::{self, Journal};
use super::lineage;
use super::names::{FileName, in_order};
use super::replaced;
use super::store::{Object, Store, list_all};
use crate::error::{Error, Result};

/// The contents of a lake at one moment.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The partitions that count, in the order of their names.
    pub partitions: Vec<String>,
    /// Folders with other names, such as a copied sample. Readers take those that hold numbered
    /// files.
    folders: Vec<String>,
    /// The journal.
    pub journal: Journal,
    /// The replaced partitions that have a note.
    pub replaced: BTreeSet<String>,
}

impl Listing {
    /// Lists a lake.
    ///
    /// # Errors
    /// If it can't be listed.
    pub fn read(store: &dyn Store) -> Result<Self> {
        let replaced_before = replaced::names(store)?;
        let journal_before = journal::read(store)?;
        let names = store.names("")?;
        let mut journal = journal::read(store)?;
        let mut done = journal_before.done;
        done.extend(journal.done.clone());
        let mut replaced = replaced::names(store)?;
        // A note that has just appeared may be one of several for partitions that were joined.
        // Until all of them exist, the journal names all of these partitions.
        let mut seen = replaced_before.clone();
        while replaced != seen {
            journal = journal::read(store)?;
            done.extend(journal.done.clone());
            seen = std::mem::replace(&mut replaced, replaced::names(store)?);
        }

        let mut listing = Self::default();
        let mut partitions = BTreeSet::new();
        for name in names.iter().filter_map(|name| name.strip_suffix('/')) {
            if is_partition(name) {
                partitions.insert(name.to_owned());
            } else if !name.starts_with('_') {
                listing.folders.push(name.to_owned());
            }
        }
        let (mut old, mut new) = (BTreeSet::new(), BTreeSet::new());
        for (name, index) in &done {
            old.insert(name.clone());
            new.extend((!index.files.is_empty()).then(|| index.partition.clone()));
        }
        // Replaced from beginning to end between the two reads of the journal.
        for name in replaced.difference(&replaced_before) {
            old.insert(name.clone());
            let note = replaced::read(store, name)?;
            let generations = note.map(|note| note.generations).unwrap_or_default();
            new.extend(generations.into_iter().filter_map(|generation| generation.into));
        }
        partitions.extend(new.iter().filter(|name| !replaced.contains(*name)).cloned());
        partitions.retain(|name| {
            !old.contains(name) && (new.contains(name) || !journal.unfinished.contains(name))
        });
        listing.partitions = partitions.into_iter().collect();
        Ok(Self { journal, replaced, ..listing })
    }

    /// Returns the partitions and other folders that match a glob, in the order of their names. A
    /// folder with another name than a partition's counts if it holds numbered files. If a replaced
    /// partition still has files, only the files that came later count, under a [separate
    /// name](lineage::late).
    ///
    /// # Errors
    /// If the glob is malformed, if nothing matches it (but a lake may be empty for `*`), or if a
    /// listing fails.
    pub fn matching(&self, store: &dyn Store, glob: &str) -> Result<Vec<String>> {
        let pattern = pattern(glob)?;
        let mut all = Vec::new();
        for partition in &self.partitions {
            if !self.replaced.contains(partition) {
                all.push(partition.clone());
            } else if !late_files(store, partition)?.is_empty() {
                all.push(lineage::late(partition));
            }
        }
        for folder in &self.folders {
            if holds_files(store, folder)? {
                all.push(folder.clone());
            }
        }
        all.sort();
        let others = all.len();
        all.retain(|id| pattern.matches(lineage::meant(id).0));
        // A user who names a replaced partition means its posts, wherever they are now.
        if all.is_empty() && self.is_replaced(glob) {
            all.push(glob.to_owned());
        }
        if all.is_empty() && glob != "*" {
            let root = store.address("");
            let what =
                format!("no partition in \"{root}\" matches \"{glob}\"; there are {others} others");
            return Err(Error::fatal(what));
        }
        Ok(all)
    }

    /// Returns true if another partition replaced this one.
    pub fn is_replaced(&self, partition: &str) -> bool {
        self.replaced.contains(partition) || self.journal.done.contains_key(partition)
    }
}

/// Parses a glob over the names of partitions.
///
/// # Errors
/// If the glob is malformed.
pub fn pattern(glob: &str) -> Result<Pattern> {
    Pattern::new(glob).map_err(|cause| Error::fatal(format!("bad glob \"{glob}\"")).because(cause))
}

/// Returns true if numbered files are directly in a folder.
///
/// # Errors
/// If the folder can't be listed.
pub fn holds_files(store: &dyn Store, folder: &str) -> Result<bool> {
    let names = store.names(&format!("{folder}/"))?;
    Ok(names.iter().any(|name| name.parse::<FileName>().is_ok()))
}

/// Returns the late files of a replaced partition, in order. They came after the replacement,
/// because the partition's writer was disconnected for longer than expected.
///
/// # Errors
/// If they can't be listed.
pub fn late_files(store: &dyn Store, partition: &str) -> Result<Vec<(FileName, Object)>> {
    let mut files = objects(store, partition)?;
    if let Some(note) = replaced::read(store, partition)? {
        files.retain(|(name, _)| !note.files.contains(&name.to_string()));
    }
    Ok(files)
}

/// Returns the names of the partitions that count, in order.
///
/// # Errors
/// If they can't be listed.
pub fn partitions(store: &dyn Store) -> Result<Vec<String>> {
    Ok(Listing::read(store)?.partitions)
}

/// Returns the numbered files of a partition with their keys, in order.
///
/// # Errors
/// If they can't be listed, or two have the same number.
pub fn files(store: &dyn Store, partition: &str) -> Result<Vec<(FileName, String)>> {
    let objects = objects(store, partition)?;
    Ok(objects.into_iter().map(|(name, object)| (name, object.key)).collect())
}

/// Returns the numbered files of a partition with their lengths, in order.
///
/// # Errors
/// If they can't be listed, or two have the same number.
pub fn objects(store: &dyn Store, partition: &str) -> Result<Vec<(FileName, Object)>> {
    numbered(partition, list_all(store, &format!("{partition}/"))?)
}

/// Returns the numbered files among a partition's objects, in order.
///
/// # Errors
/// If two have the same number.
pub fn numbered(partition: &str, objects: Vec<Object>) -> Result<Vec<(FileName, Object)>> {
    let mut files: Vec<(FileName, Object)> = Vec::new();
    for object in objects {
        let name = object.key.strip_prefix(partition).and_then(|rest| rest.strip_prefix('/'));
        if let Some(Ok(name)) = name.map(str::parse) {
            files.push((name, object));
        }
    }
    in_order(files, partition)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::lake::address::Address;
    use crate::lake::replay::{Choice, Place};
    use crate::lake::store::local::LocalStore;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
    const MORNING: &str = "2015-12-18T06:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn lake() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in ["0000002", "0000000", "_SUCCESS", "0000001.crc", "00000003"] {
            write(root.path(), &format!("{NIGHT}/{file}"));
        }
        write(root.path(), &format!("{MORNING}/0000007"));
        write(root.path(), "sample/0000000");
        write(root.path(), "notes/readme.txt");
        write(root.path(), "_dead/0000000");
        write(root.path(), "2015-file");
        root
    }

    fn write(root: &Path, file: &str) {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), "[]").unwrap();
    }

    fn found(address: &str) -> Result<Vec<String>> {
        let Address { root, partitions } = Address::parse(address)?;
        Place::at(&root)?.partitions(&Choice::glob(&partitions.glob()))
    }

    #[test]
    fn a_path_may_be_a_glob_a_root_or_a_partition() {
        let root = lake();
        let of = |path: &str| found(&format!("{}{path}", root.path().display())).unwrap();
        for all in ["/*", "", "/"] {
            assert_eq!(of(all), [NIGHT, MORNING, "sample"], "{all}");
        }
        assert_eq!(of("/2015-12-18T00:00:00-*"), [NIGHT]);
        assert_eq!(of("/2015-12-18*"), [NIGHT, MORNING]);
        assert_eq!(of("/2015-12-18T06:*"), [MORNING]);
        assert_eq!(of("/s*"), ["sample"]);
        assert_eq!(of(&format!("/{NIGHT}/")), [NIGHT]);
    }

    #[test]
    fn files_come_in_number_order_and_others_are_none() {
        let root = lake();
        let files = files(&LocalStore::new(root.path()), NIGHT).unwrap();
        assert_eq!(
            files.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(),
            ["0000000", "0000002"]
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let root = lake();
        let error =
            |path: &str| found(&format!("{}{path}", root.path().display())).unwrap_err().chain();
        assert!(
            error("/2016-*").contains("matches \"2016-*\"; there are 3 others"),
            "{}",
            error("/2016-*")
        );
        assert!(error("/nowhere/*").contains("no lake at"), "{}", error("/nowhere/*"));
        assert!(error("/[").contains("bad glob \"[\""), "{}", error("/["));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(found(&empty.path().display().to_string()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_empty_folder_is_no_partition() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(NIGHT)).unwrap();
        write(root.path(), &format!("{MORNING}/0000000"));
        assert_eq!(partitions(&LocalStore::new(root.path())).unwrap(), [MORNING]);
    }
}
