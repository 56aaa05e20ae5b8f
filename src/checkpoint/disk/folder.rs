//! The folder of a state: its files, and their removal.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError};

use super::handle::{Attempt, Fault};
use super::schema::{self, MIGRATIONS};
use super::shrink::shrink;
use crate::error::{Error, Result};
use crate::lake::disk::{failed, sync_folder};

/// The file of the database.
pub const DATABASE: &str = "checkpoint.redb";

/// The name of a new database until it is complete, so that a power loss leaves no incomplete one.
const NEW: &str = "checkpoint.new";

/// The parts of a state, without its lock. No other file is ever removed.
const PARTS: [&str; 7] = [DATABASE, NEW, "spool", "outbox", GAPS, "control", DEAD_LETTERS];

/// Parts that have no value by themselves: a state that only has these was begun and never used.
const EMPTY_PARTS: [&str; 3] = [DATABASE, NEW, "control"];

/// A folder that a lake has, and a state doesn't. Earlier versions allowed a lake's root as a
/// state's folder; then the dead letters belong to the lake.
const OF_A_LAKE: &str = "_index";

/// The folder of dead letters. It stays when a topology starts over, since users still need the
/// dead letters of earlier runs. The gap ledger stays, too: the gaps in the lake still exist.
const DEAD_LETTERS: &str = "_dead";
const GAPS: &str = "gaps";

/// The memory that redb may use for pages. A restore reads each page once, and a save writes little
/// more than the changes, so a larger cache gains nothing, and a small topology stays below 50 MB
/// in total. Half of it bounds the data of one save before pages are written early.
const CACHE_BYTES: usize = 16 << 20;

/// Returns the settings for opening a database: every page is checked. That costs as much as
/// reading it once, which a restore does anyway; without it, a file that another program has
/// overwritten would be trusted.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Opens the database of a folder, which must exist, and makes its file smaller if most of it is
/// free.
///
/// # Errors
/// If the database can't be read, or is damaged.
pub(crate) fn open(folder: &Path) -> Result<Database, DatabaseError> {
    let path = folder.join(DATABASE);
    let mut database = builder().open(&path)?;
    match shrink(&mut database, &path) {
        Ok(_) => Ok(database),
        // The disk may be full, for example, and the engine waits until it isn't: the state is
        // intact all the same.
        Err(_) => {
            drop(database);
            builder().open(&path)
        }
    }
}

/// Creates the database of a folder if it doesn't exist.
///
/// # Errors
/// If it can't be made durable.
pub(crate) fn make(folder: &Path) -> Result<()> {
    let (path, new) = (folder.join(DATABASE), folder.join(NEW));
    let cant = |cause| failed("make the state", &path, cause);
    if path.try_exists().map_err(cant)? {
        return Ok(());
    }
    remove_part(&new)?;
    write_new(&new).map_err(|fault| match fault {
        Fault::Database(error) => match *error {
            redb::Error::Io(cause) => cant(cause),
            error => Error::transient(format!("can't make the state \"{}\"", path.display()))
                .because(error),
        },
        Fault::Ours(error) => error,
    })?;
    fs::rename(&new, &path).and_then(|()| sync_folder(folder)).map_err(cant)
}

fn write_new(path: &Path) -> Attempt<()> {
    let database = builder().create(path)?;
    schema::prepare(&database, path, &MIGRATIONS)?;
    Ok(database.close()?)
}

/// Returns true if a folder is a state: it has the database, or only parts of a state and a lock.
pub fn is_state(folder: &Path) -> bool {
    folder.join(DATABASE).is_file()
        || folder.join("lock").is_file() && holds_only_parts(folder).unwrap_or(false)
}

/// Removes the permissions of other users from a folder, which earlier versions granted: the spool
/// is private, and a user who can open the lock can hold it. A folder with any other file stays as
/// it is.
pub(crate) fn keep_private(folder: &Path) {
    let is_open = |found: fs::Metadata| found.permissions().mode() & 0o077 != 0;
    if folder.metadata().is_ok_and(is_open) && holds_only_parts(folder).unwrap_or(false) {
        // If this fails, the folder belongs to another user.
        let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    }
}

fn holds_only_parts(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != "lock" && !PARTS.iter().any(|part| name == *part) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes everything from which a topology would resume. Returns the removed paths.
///
/// # Errors
/// If a file can't be removed.
pub(crate) fn clear(folder: &Path) -> Result<Vec<PathBuf>> {
    remove_parts(folder, |part| part != DEAD_LETTERS && part != GAPS)
}

/// Removes all parts of a state except its lock. Returns the removed paths.
///
/// # Errors
/// If a file can't be removed.
pub(crate) fn remove(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_lake = folder.join(OF_A_LAKE).exists();
    remove_parts(folder, |part| !(is_lake && part == DEAD_LETTERS))
}

/// Returns true if a state has no part that a user could miss.
pub(crate) fn is_unused(folder: &Path) -> bool {
    let used = PARTS.iter().filter(|part| !EMPTY_PARTS.contains(part));
    !used.into_iter().any(|part| holds_files(&folder.join(part)))
}

fn holds_files(path: &Path) -> bool {
    let Ok(found) = path.symlink_metadata() else { return false };
    !found.is_dir()
        || fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| holds_files(&entry.path()))
}

fn remove_parts(folder: &Path, which: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for part in PARTS.iter().filter(|part| which(part)) {
        let path = folder.join(part);
        if remove_part(&path)? {
            removed.push(path);
        }
    }
    sync_folder(folder).map_err(|cause| failed("sync", folder, cause))?;
    Ok(removed)
}

/// Removes a file, a link (not its target) or a folder, if it exists.
fn remove_part(path: &Path) -> Result<bool> {
    let removed = path.symlink_metadata().and_then(|found| {
        if found.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    });
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true).map_err(|cause| failed("remove", path, cause)),
    }
}
