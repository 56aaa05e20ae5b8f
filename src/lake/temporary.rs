//! Files that a tool is writing and that aren't visible yet: `_staging/put-<host>-<uuid>`.
//!
//! Such a file has an owner: the process that holds a lock on it, which ends with the process. The
//! next tool or capture that uses the lake deletes the files of killed processes ([`clean_up`]),
//! but never those of a running owner. If the file system has no locks, or the file belongs to
//! another machine, which may not see the locks, the file must also be untouched for a day.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::disk::{failed, make_folders, remove_if_empty};
use super::inside::{is_absent, open_file, stay_inside};
use crate::error::Result;

/// The prefix of the names of temporary files.
const PREFIX: &str = "put-";

/// The number of characters in a UUID.
const ID_CHARS: usize = 36;

/// The time that another machine's file has to be untouched before it counts as left behind. A file
/// is written without interruption, so a shorter time would only save disk space, and might delete
/// the file of a suspended process.
const LEFT_AFTER: Duration = Duration::DAY;

/// The maximum length of a host's name within a file's name.
const HOST_CHARS_MAX: usize = 64;

/// The number of attempts to create a file while other processes remove the empty folder, or take
/// the file for left behind before it is locked.
const TRIES_MAX: usize = 100;

/// A file that is written and isn't visible under its final name yet. It is locked until this value
/// is dropped.
pub struct Temporary {
    /// The path of the file.
    pub path: PathBuf,
    _locked: File,
}

impl Temporary {
    /// Writes and syncs a file in a folder below the lake's root.
    ///
    /// # Errors
    /// If the file can't be created or written; then it is removed.
    pub fn write(root: &Path, folder: &Path, bytes: &[u8]) -> Result<Self> {
        let path = folder.join(format!("{PREFIX}{}-{}", host(), Uuid::new_v4()));
        let write = || {
            stay_inside(root, folder)?;
            let mut file = make(folder, &path)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            Ok(file)
        };
        match write() {
            Ok(file) => Ok(Self { path, _locked: file }),
            Err(cause) => {
                let _ = fs::remove_file(&path);
                Err(failed("write", &path, cause))
            }
        }
    }
}

/// Creates a file and locks it.
fn make(folder: &Path, path: &Path) -> io::Result<File> {
    for _ in 0..TRIES_MAX {
        make_folders(folder)?;
        let file = match File::create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        // On a file system without locks, only the file's age counts.
        let _ = file.try_lock();
        if path.symlink_metadata().is_ok() {
            return Ok(file);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Deletes the temporary files of killed processes from their folder. Returns the number of deleted
/// files.
///
/// # Errors
/// If the folder can't be read, or a file can't be deleted.
pub fn clean_up(root: &Path, folder: &Path, now: OffsetDateTime) -> Result<usize> {
    stay_inside(root, folder).map_err(|cause| failed("clean up", folder, cause))?;
    let entries = match fs::read_dir(folder) {
        Err(error) if is_absent(&error) => return Ok(0),
        other => other.map_err(|cause| failed("list", folder, cause))?,
    };
    let mut deleted = 0;
    for entry in entries {
        let entry = entry.map_err(|cause| failed("list", folder, cause))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        match is_left(&path, is_own(name), now) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) if is_absent(&error) => continue,
            Err(cause) => return Err(failed("look at", &path, cause)),
        }
        match fs::remove_file(&path) {
            Err(error) if is_absent(&error) => {}
            other => {
                other.map_err(|cause| failed("remove", &path, cause))?;
                deleted += 1;
            }
        }
    }
    remove_if_empty(folder);
    Ok(deleted)
}

/// Returns true if no process writes a file any more.
fn is_left(path: &Path, is_own: bool, now: OffsetDateTime) -> io::Result<bool> {
    if !path.symlink_metadata()?.is_file() {
        return Ok(false);
    }
    let file = open_file(path)?;
    let is_free = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(_)) => false,
    };
    let touched = file.metadata()?.modified().map(OffsetDateTime::from)?;
    Ok(is_free && is_own || now - touched > LEFT_AFTER)
}

/// Returns true if a file was created on this machine, whose locks this process sees.
fn is_own(name: &str) -> bool {
    let host_chars = name.len().checked_sub(ID_CHARS + 1);
    host_chars.and_then(|chars| name.get(..chars)).is_some_and(|named| named == host())
}

/// Returns this machine's name, as far as it can be part of a file's name; empty if unknown.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.trim().chars().filter(is_plain).take(HOST_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn now() -> OffsetDateTime {
        SystemClock::shared().now()
    }

    #[test]
    fn a_file_stays_as_long_as_its_owner_lives() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("_staging");
        let clean = |later: Duration| clean_up(root.path(), &folder, now() + later).unwrap();
        assert_eq!(clean(Duration::ZERO), 0, "there is no folder");
        let file = Temporary::write(root.path(), &folder, b"half").unwrap();
        assert_eq!(clean(Duration::days(9)), 0);
        assert_eq!(fs::read(&file.path).unwrap(), b"half");
        // Simulates the death of the owner.
        drop(file);
        assert_eq!(clean(Duration::ZERO), 1);
        assert!(!folder.exists());
    }

    #[test]
    fn a_file_of_another_machine_stays_for_a_day() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("_staging");
        fs::create_dir_all(folder.join("run")).unwrap();
        let id = Uuid::new_v4();
        for name in [format!("put-{id}"), format!("put-elsewhere-{id}"), "notes".into()] {
            fs::write(folder.join(name), "half").unwrap();
        }
        let clean = |later: Duration| clean_up(root.path(), &folder, now() + later).unwrap();
        assert_eq!(clean(Duration::hours(23)), 0);
        assert_eq!(clean(Duration::hours(25)), 2);
        assert!(folder.join("notes").exists() && folder.join("run").exists());
    }
}
