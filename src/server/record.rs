//! The record of a topology, which outlives the server: one small file each, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::num::NonZeroU16;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::places::TopologyFolder;
use crate::error::{Error, Result};
use crate::lake::disk::{failed, make_private_folders, sync_folder};

/// The version of the file's form. A server refuses one that it doesn't know.
const VERSION: u32 = 1;

/// The wanted state of a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wanted {
    /// It runs.
    Active,
    /// It runs, and its spouts emit nothing.
    Inactive,
    /// It drains and is gone; its state stays.
    Killed,
    /// It drains and is gone, and so is all that the server has of it.
    Purged,
}

/// A version of a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// The topology file, with everything that it includes.
    pub topology: String,
    /// The numbers of tasks that a rebalance set.
    #[serde(default)]
    pub hints: BTreeMap<String, NonZeroU16>,
}

/// A text and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dated {
    /// The time.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The text.
    pub text: String,
}

/// The record of a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// The topology's name.
    pub name: String,
    /// The time of its submission.
    #[serde(with = "time::serde::rfc3339")]
    pub submitted_at: OffsetDateTime,
    /// Its wanted state.
    pub wanted: Wanted,
    /// The version that runs.
    pub current: Version,
    /// The version before an upgrade whose new version hasn't run for long enough yet.
    #[serde(default)]
    pub previous: Option<Version>,
    /// Components whose saved state the next start discards.
    #[serde(default)]
    pub drop_state: BTreeSet<String>,
    /// True if the next start discards all state.
    #[serde(default)]
    pub fresh: bool,
    /// The end of its sources, if they have ended.
    #[serde(default)]
    pub finished: Option<Dated>,
    /// The reason of its last failure.
    #[serde(default)]
    pub last_error: Option<Dated>,
}

impl Record {
    /// Creates the record of a topology that was just submitted.
    pub(crate) fn new(name: &str, topology: String, now: OffsetDateTime) -> Self {
        Self {
            version: VERSION,
            name: name.to_owned(),
            submitted_at: now,
            wanted: Wanted::Active,
            current: Version { topology, hints: BTreeMap::new() },
            previous: None,
            drop_state: BTreeSet::new(),
            fresh: false,
            finished: None,
            last_error: None,
        }
    }

    /// Reads the record in a folder; `None` if the folder has no record.
    ///
    /// # Errors
    /// If it can't be read, or another version has written it.
    pub(crate) fn read(folder: &TopologyFolder) -> Result<Option<Self>> {
        let path = folder.record();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| failed("read", &path, error))?,
        };
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|error| damaged(&path, &error))?;
        if record.version != VERSION {
            let found = record.version;
            return Err(Error::fatal(format!(
                "\"{}\" has version {found}, and this program knows version {VERSION}: use the \
                 program that wrote it",
                path.display()
            )));
        }
        Ok(Some(record))
    }

    /// Writes the record, whole and durably.
    ///
    /// # Errors
    /// If the disk is full, or the folder can't be written.
    pub(crate) fn write(&self, folder: &TopologyFolder) -> Result<()> {
        let path = folder.record();
        make_private_folders(&folder.0).map_err(|error| failed("make", &folder.0, error))?;
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::fatal("can't print a record").because(error))?;
        write_durably(&path, &text)
    }
}

/// Replaces a file as a whole, for its owner only.
///
/// # Errors
/// If the disk is full, or the folder can't be written.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file: File =
            options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(path.parent().unwrap_or(Path::new("/")))
    };
    write().map_err(|error| failed("write", path, error))
}

fn damaged(path: &Path, error: &serde_json::Error) -> Error {
    Error::fatal(format!(
        "\"{}\" is damaged: {error}; restore it, or move its folder away to forget the topology",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_record_is_what_was_written_and_a_damaged_one_is_named() {
        let root = tempfile::tempdir().unwrap();
        let folder = TopologyFolder::of(root.path(), "a");
        assert_eq!(Record::read(&folder).unwrap(), None);
        let mut record = Record::new("a", "Topology()".into(), datetime!(2026-11-27 6:00 UTC));
        record.write(&folder).unwrap();
        record.wanted = Wanted::Inactive;
        record.current.hints.insert("count".into(), NonZeroU16::MIN);
        record.write(&folder).unwrap();
        assert_eq!(Record::read(&folder).unwrap(), Some(record));
        fs::write(folder.record(), "{").unwrap();
        let error = Record::read(&folder).unwrap_err().chain();
        assert!(error.contains("record.json\" is damaged"), "{error}");
    }
}
