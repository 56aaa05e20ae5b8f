//! Temporary folders for spools from which nothing resumes, under `checkpoint: Off`. Each folder
//! belongs to one process, only its owner can open it, and it is removed with the process. Folders
//! that a killed process left are removed by the next process.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::error::{Error, Result};

/// The beginning of the folders' names; the id of the process follows.
const PREFIX: &str = "waterspout-";

/// The folders of this process.
static OURS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Makes a folder for this process, and removes those that dead processes left.
///
/// # Errors
/// If the folder can't be made.
pub fn make() -> Result<PathBuf> {
    let all = std::env::temp_dir();
    let folder = all.join(format!("{PREFIX}{}-{}", std::process::id(), Uuid::new_v4()));
    let made = DirBuilder::new().mode(0o700).create(&folder);
    made.map_err(|cause| {
        Error::file(format!("can't make the folder \"{}\"", folder.display()), cause)
    })?;
    OURS.lock().unwrap_or_else(PoisonError::into_inner).push(folder.clone());
    let ours = folder.metadata().map(|found| found.uid());
    sweep(&all, |pid| Path::new("/proc").join(pid.to_string()).exists(), ours.ok());
    Ok(folder)
}

/// A guard that removes the folders of this process when it is dropped, however the run ended.
pub struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        remove_all();
    }
}

/// Removes the folders of this process, at its end.
pub fn remove_all() {
    let ours = std::mem::take(&mut *OURS.lock().unwrap_or_else(PoisonError::into_inner));
    for folder in ours {
        // A thread that still writes may make another file; the next process removes whatever
        // stays.
        let _ = fs::remove_dir_all(folder);
    }
}

/// Removes the folders of processes that are gone, as far as the folders belong to this user.
fn sweep(all: &Path, lives: impl Fn(u32) -> bool, user: Option<u32>) {
    // Sweeps only on systems that show which processes exist.
    if !lives(std::process::id()) {
        return;
    }
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let Some(pid) = owner(&entry.file_name().to_string_lossy()) else { continue };
        let is_ours = || -> io::Result<bool> {
            let found = entry.path().symlink_metadata()?;
            Ok(found.is_dir() && Some(found.uid()) == user)
        };
        if !lives(pid) && is_ours().unwrap_or(false) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Returns the process that a folder of this name belongs to.
fn owner(name: &str) -> Option<u32> {
    let (pid, id) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Uuid::try_parse(id).ok().and(pid.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_private_and_names_its_process() {
        let folder = make().unwrap();
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(owner(folder.file_name().unwrap().to_str().unwrap()), Some(std::process::id()));
        // Without `remove_all`: other tests of this process have their own folders.
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_folders_of_processes_that_are_gone_are_swept() {
        let all = tempfile::tempdir().unwrap();
        let (me, id) = (std::process::id(), Uuid::new_v4());
        let names = [
            format!("{PREFIX}{me}-{id}"),
            format!("{PREFIX}1-{id}"),
            format!("{PREFIX}1-x"),
            format!("x1-{id}"),
        ];
        names.iter().for_each(|name| fs::create_dir(all.path().join(name)).unwrap());
        let user = all.path().metadata().unwrap().uid();
        sweep(all.path(), |pid| pid == me, Some(user + 1));
        assert_eq!(fs::read_dir(all.path()).unwrap().count(), 4, "those are somebody else's");
        sweep(all.path(), |pid| pid == me, Some(user));
        let left = names.map(|name| all.path().join(name).exists());
        assert_eq!(left, [true, false, true, true]);
    }
}
