//! Notes on the topologies that write into a lake in a folder: `_index/writers/<state>.json`, one
//! for each state of a topology. Instances that write one lake still don't depend on each other.
//! The notes exist for two reasons: a user who starts a copy of a topology, or the same one without
//! its state, is warned that the lake already has the same posts; and `erase` can name the states
//! whose outboxes may hold a copy of a post. In a bucket only the second reason applies: a start
//! doesn't wait for a bucket, so it can't give the warning before it begins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::{failed, make_folders, remove_if_empty};
use super::index::INDEX;
use crate::error::{Error, Result};

/// The folder of the notes, below that of the indexes.
const WRITERS: &str = "writers";

/// The longest note that is read, in bytes. A topology of a thousand spouts stays below it.
const NOTE_BYTES_MAX: u64 = 256 << 10;

/// The maximum number of notes that are read. Each costs a read at the start of a run with a new
/// state.
const NOTES_MAX: usize = 1000;

/// A state that wrote into a lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterNote {
    /// The folder of the state.
    pub state: PathBuf,
    /// The topology's file.
    pub topology: String,
    /// The sources that it reads: the id of each spout, and a hash of its configuration.
    pub inputs: BTreeMap<String, String>,
}

impl WriterNote {
    /// Returns the spouts of this topology that have the same input as a spout of the other one.
    pub fn shared_with(&self, other: &Self) -> Vec<String> {
        let same = |input: &String| other.inputs.values().any(|theirs| theirs == input);
        let shared = self.inputs.iter().filter(|(_, input)| same(input));
        shared.map(|(spout, _)| spout.clone()).collect()
    }
}

/// Returns the note on a state that writes into a bucket, as an object. It doesn't name the inputs.
/// A state that ends with its process has no separate note, because each run would leave another
/// one.
pub fn object(state: &Path, is_kept: bool) -> (String, Bytes) {
    let (topology, inputs) = (String::new(), BTreeMap::new());
    let note = WriterNote { state: state.to_path_buf(), topology, inputs };
    let json = if is_kept { serde_json::to_vec(&note).unwrap_or_default() } else { Vec::new() };
    let name = if is_kept { name(state) } else { "probe".to_owned() };
    (format!("{INDEX}{WRITERS}/{name}.json"), json.into())
}

fn name(state: &Path) -> String {
    format!("{:016x}", xxh3_64(state.as_os_str().as_encoded_bytes()))
}

fn folder(root: &Path) -> PathBuf {
    root.join(INDEX).join(WRITERS)
}

fn path(root: &Path, state: &Path) -> PathBuf {
    folder(root).join(format!("{}.json", name(state)))
}

/// Records that a state writes into the lake in a folder.
///
/// # Errors
/// If the note can't be written.
pub fn note(root: &Path, note: &WriterNote) -> Result<()> {
    let folder = folder(root);
    make_folders(&folder).map_err(|cause| failed("make", &folder, cause))?;
    let json = serde_json::to_vec(note)
        .map_err(|cause| Error::fatal("can't write a note").because(cause))?;
    let path = path(root, &note.state);
    let new = path.with_extension("new");
    // Renamed into place, so that no process reads an incomplete note.
    fs::write(&new, json)
        .and_then(|()| fs::rename(&new, &path))
        .map_err(|cause| failed("write", &path, cause))
}

/// Deletes the note of a state that wrote nothing.
pub fn forget(root: &Path, state: &Path) {
    // A note that can't be deleted only causes an unnecessary warning.
    let _ = fs::remove_file(path(root, state));
    remove_if_empty(&folder(root));
}

/// Returns the notes on all states that wrote into the lake in a folder. Skips a note that can't be
/// read, since notes only cause warnings.
pub fn all(root: &Path) -> Vec<WriterNote> {
    let mut notes = Vec::new();
    for entry in fs::read_dir(folder(root)).into_iter().flatten().flatten().take(NOTES_MAX) {
        let is_note =
            entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= NOTE_BYTES_MAX);
        let json = if is_note { fs::read(entry.path()).ok() } else { None };
        let note: Option<WriterNote> = json.and_then(|json| serde_json::from_slice(&json).ok());
        notes.extend(note);
    }
    notes.sort_by(|a, b| a.state.cmp(&b.state));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up(state: &str, input: &str) -> WriterNote {
        WriterNote {
            state: state.into(),
            topology: "/t.ron".into(),
            inputs: [("in".into(), input.into())].into(),
        }
    }

    #[test]
    fn the_notes_of_all_states_are_read_and_taken_back() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(all(root.path()), []);
        let (a, b) = (made_up("/a", "1"), made_up("/b", "1"));
        note(root.path(), &a).unwrap();
        note(root.path(), &a).unwrap();
        note(root.path(), &b).unwrap();
        fs::write(folder(root.path()).join("x.json"), "{}").unwrap();
        assert_eq!(all(root.path()), [a.clone(), b.clone()]);
        forget(root.path(), Path::new("/a"));
        assert_eq!(all(root.path()), std::slice::from_ref(&b));
        let (key, json) = object(Path::new("/a"), true);
        assert_eq!(root.path().join(&key), path(root.path(), Path::new("/a")));
        assert_eq!(serde_json::from_slice::<WriterNote>(&json).unwrap().state, Path::new("/a"));
        assert_eq!(object(Path::new("/tmp/1"), false), object(Path::new("/tmp/2"), false));
        assert_eq!(a.shared_with(&b), ["in"]);
        assert!(a.shared_with(&made_up("/b", "2")).is_empty());
    }
}
