//! The files and folders of a server.
//!
//! ```text
//! <state>/lock  token                                  the server's own
//! <state>/topologies/<name>-<hash>/record.json         what was submitted, and what is wanted of
//! it
//!                                  topology.ron        the same for the process that runs it
//!                                  state/              its checkpoints, spools and outboxes
//!                                  log  log.old        what its process says
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// The maximum length of the readable part of a folder's name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Returns the default folder of the server's state: `$XDG_STATE_HOME/waterspout-server`,
/// or the same below `$HOME/.local/state`. `None` if the environment names neither.
pub fn default_folder(state_home: Option<&OsStr>, home: Option<&OsStr>) -> Option<PathBuf> {
    let absolute = |path: &OsStr| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let states = state_home
        .and_then(absolute)
        .or_else(|| Some(home.and_then(absolute)?.join(".local/state")))?;
    Some(states.join("waterspout-server"))
}

/// Returns the folder that holds the folders of all topologies.
pub(crate) fn topologies(state: &Path) -> PathBuf {
    state.join("topologies")
}

/// The folder of one topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopologyFolder(pub PathBuf);

impl TopologyFolder {
    /// Returns the folder for a name, which may be any text: the hash distinguishes names that look
    /// alike.
    pub(crate) fn of(state: &Path, name: &str) -> Self {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
        let readable: String = name.chars().take(NAME_CHARS_MAX).map(safe).collect();
        Self(topologies(state).join(format!("{readable}-{:016x}", xxh3_64(name.as_bytes()))))
    }

    /// Returns the path of the record: the submitted topology, and its wanted state.
    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }

    /// Returns the path of the topology file that its process reads.
    pub(crate) fn topology(&self) -> PathBuf {
        self.0.join("topology.ron")
    }

    /// Returns the state folder of its process.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Returns the path of the log of its process.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_have_folders_of_their_own() {
        let of = |name: &str| TopologyFolder::of(Path::new("/s"), name);
        assert_ne!(of("a b"), of("a_b"));
        let long = ["x".repeat(65), "x".repeat(66)];
        assert_ne!(of(&long[0]), of(&long[1]));
        assert_eq!(of("../../etc").0.parent(), Some(Path::new("/s/topologies")));
    }

    #[test]
    fn the_state_is_kept_in_the_users_state_folder() {
        let check = |state: Option<&str>, home: Option<&str>, expected: Option<&str>| {
            let found = default_folder(state.map(OsStr::new), home.map(OsStr::new));
            assert_eq!(found, expected.map(PathBuf::from));
        };
        check(Some("/s"), Some("/h"), Some("/s/waterspout-server"));
        check(None, Some("/h"), Some("/h/.local/state/waterspout-server"));
        check(Some("s"), Some("/h"), Some("/h/.local/state/waterspout-server"));
        check(None, None, None);
    }
}
