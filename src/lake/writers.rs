//! Notes of who writes what into a lake in a folder: `_index/writers/<state>.json`, one for each state of
//! a topology. Instances that write one lake still don't know of each other; the notes are only there so
//! that somebody who starts a copy of a topology, or the same one without its state, is told that the lake
//! has the same posts already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::{failed, make_folders, remove_if_empty};
use super::index::INDEX;
use crate::error::{Error, Result};

/// The folder of the notes, below that of the indexes.
const WRITERS: &str = "writers";

/// The longest note that is read, in bytes. A topology of a thousand spouts stays below it.
const NOTE_BYTES_MAX: u64 = 256 << 10;

/// How many notes are looked at. Each costs a read at the start of a run with a new state.
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
    /// The spouts of this topology that read what one of the other's reads.
    pub fn shared_with(&self, other: &Self) -> Vec<String> {
        let same = |input: &String| other.inputs.values().any(|theirs| theirs == input);
        let shared = self.inputs.iter().filter(|(_, input)| same(input));
        shared.map(|(spout, _)| spout.clone()).collect()
    }
}

fn folder(root: &Path) -> PathBuf {
    root.join(INDEX).join(WRITERS)
}

fn path(root: &Path, state: &Path) -> PathBuf {
    let name = xxh3_64(state.as_os_str().as_encoded_bytes());
    folder(root).join(format!("{name:016x}.json"))
}

/// Notes that a state writes into the lake in a folder.
///
/// # Errors
/// If that can't be written.
pub fn note(root: &Path, note: &WriterNote) -> Result<()> {
    let folder = folder(root);
    make_folders(&folder).map_err(|cause| failed("make", &folder, cause))?;
    let json = serde_json::to_vec(note).map_err(|cause| Error::fatal("can't write a note").because(cause))?;
    let path = path(root, &note.state);
    let new = path.with_extension("new");
    // By a rename, so that nobody reads half of it.
    fs::write(&new, json).and_then(|()| fs::rename(&new, &path)).map_err(|cause| failed("write", &path, cause))
}

/// Takes back the note of a state that wrote nothing.
pub fn forget(root: &Path, state: &Path) {
    // What stays warns somebody once too often.
    let _ = fs::remove_file(path(root, state));
    remove_if_empty(&folder(root));
}

/// The notes of all states that wrote into the lake in a folder. One that can't be read is passed over: it
/// can only warn.
pub fn all(root: &Path) -> Vec<WriterNote> {
    let mut notes = Vec::new();
    for entry in fs::read_dir(folder(root)).into_iter().flatten().flatten().take(NOTES_MAX) {
        let is_note = entry.metadata().is_ok_and(|found| found.is_file() && found.len() <= NOTE_BYTES_MAX);
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
        WriterNote { state: state.into(), topology: "/t.ron".into(), inputs: [("in".into(), input.into())].into() }
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
        assert_eq!(a.shared_with(&b), ["in"]);
        assert!(a.shared_with(&made_up("/b", "2")).is_empty());
    }
}
