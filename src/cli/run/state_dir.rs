//! The folder of a topology's state, unless `--state` names one.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::disk::{DATABASE, is_state};
use crate::cli::exit::{Code, Failure};
use crate::error::Error;

/// The number of characters of a topology's name in the folder's name.
const NAME_CHARS_MAX: usize = 64;

/// The folders of the user that count, as the environment names them.
pub(crate) struct Home {
    /// `$XDG_STATE_HOME`.
    pub state: Option<OsString>,
    /// `$HOME`.
    pub home: Option<OsString>,
}

impl Home {
    /// Of this process.
    pub(crate) fn of_process() -> Self {
        Self { state: std::env::var_os("XDG_STATE_HOME"), home: std::env::var_os("HOME") }
    }

    /// The folder for state: relative paths are ignored, as the XDG specification wants it.
    fn folder(self) -> Option<PathBuf> {
        let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        self.state
            .and_then(absolute)
            .or_else(|| self.home.and_then(absolute).map(|home| home.join(".local/state")))
    }
}

/// The folder that holds all states of a user, unless the environment names none.
pub(crate) fn states(home: Home) -> Option<PathBuf> {
    Some(home.folder()?.join("waterspout"))
}

/// The state folder of a topology file: the one that was given, or the default.
///
/// # Errors
/// If a path can't be made absolute, or the user has no folder for state.
pub(crate) fn of(state: Option<&Path>, file: &Path, name: &str) -> Result<PathBuf, Failure> {
    match state {
        Some(state) => absolute(state),
        None => {
            // Links are followed, so that one file has one state by whatever name it is run.
            let file = file.canonicalize().or_else(|_| absolute(file))?;
            default_for(name, &file, Home::of_process())
        }
    }
}

/// A path from the root.
///
/// # Errors
/// If the system doesn't tell the current folder.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let cant = |error| Error::fatal(format!("can't find \"{}\"", path.display())).because(error);
    Ok(std::path::absolute(path).map_err(cant)?)
}

/// `<states>/<name>-<hash>`: the same topology file finds its state again wherever it is started
/// from, and two files with one name don't share it. A file whose `name:` was changed keeps the
/// state that it has under the earlier name.
pub(crate) fn default_for(name: &str, file: &Path, home: Home) -> Result<PathBuf, Failure> {
    let states = states(home).ok_or_else(|| {
        Failure::new(
            Code::Runtime,
            "neither $XDG_STATE_HOME nor $HOME is an absolute path: give --state DIR",
        )
    })?;
    let hash = xxh3_64(file.as_os_str().as_encoded_bytes());
    Ok(found_or_new(&states, name, &format!("{hash:016x}")))
}

/// The folder of another run of a topology file, whose own state is `live`: the mark says which
/// one.
pub(crate) fn beside(live: &Path, topology_name: &str, mark: &str) -> PathBuf {
    let live_name = live.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let hash = live_name.rsplit('-').next().unwrap_or_default();
    let states = live.parent().unwrap_or(Path::new(""));
    found_or_new(states, topology_name, &format!("{hash}-{mark}"))
}

/// The state with a name and a suffix; if it isn't there, the newest that has the suffix.
fn found_or_new(states: &Path, name: &str, suffix: &str) -> PathBuf {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let name: String = name.chars().take(NAME_CHARS_MAX).map(safe).collect();
    let of_this_name = states.join(format!("{name}-{suffix}"));
    if of_this_name.exists() {
        return of_this_name;
    }
    let suffix = format!("-{suffix}");
    let mut newest = None;
    for entry in fs::read_dir(states).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(&suffix) && is_state(&entry.path()) {
            let changed =
                entry.path().join(DATABASE).metadata().and_then(|found| found.modified()).ok();
            newest = newest.max(Some((changed, entry.path())));
        }
    }
    newest.map_or(of_this_name, |(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::DiskStore;

    fn check(state: Option<&str>, home: Option<&str>, expected: Option<&str>) {
        let home = Home { state: state.map(Into::into), home: home.map(Into::into) };
        let actual = default_for("to/po logy", Path::new("/x/y.ron"), home).ok();
        assert_eq!(
            actual,
            expected.map(|folder| Path::new(folder).join("waterspout/to_po_logy-9e5f0c360c5db89a"))
        );
    }

    #[test]
    fn state_is_kept_in_the_users_state_folder() {
        check(Some("/state"), Some("/home/me"), Some("/state"));
        check(None, Some("/home/me"), Some("/home/me/.local/state"));
        check(Some("state"), Some("/home/me"), Some("/home/me/.local/state"));
        check(Some(""), None, None);
    }

    #[test]
    fn a_file_keeps_its_state_when_its_topology_is_renamed() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name| {
            let home = Home { state: Some(root.path().into()), home: None };
            default_for(name, Path::new("/x/a.ron"), home).unwrap()
        };
        let first = folder("first");
        assert_ne!(folder("second"), first, "there is nothing to keep yet");
        DiskStore::open(&first).unwrap();
        assert_eq!(folder("second"), first);
        let replay = beside(&first, "first", "replay-1");
        let live = first.file_name().unwrap().to_str().unwrap();
        assert_eq!(replay.file_name().unwrap().to_str().unwrap(), format!("{live}-replay-1"));
        DiskStore::open(&replay).unwrap();
        assert_eq!(
            (folder("second"), beside(&first, "second", "replay-1")),
            (first.clone(), replay)
        );
        DiskStore::open(&root.path().join("waterspout/second").with_file_name(
            first.file_name().unwrap().to_str().unwrap().replace("first", "second"),
        ))
        .unwrap();
        assert_ne!(folder("second"), first, "its own name counts first");
    }

    #[test]
    fn files_with_the_same_name_have_states_of_their_own() {
        let home = || Home { state: Some("/state".into()), home: None };
        let folder = |file: &str| default_for("a", Path::new(file), home()).unwrap();
        assert_eq!(folder("/x/a.ron"), folder("/x/a.ron"));
        assert_ne!(folder("/x/a.ron"), folder("/y/a.ron"));
    }
}
