//! A state's folder: what lies in it, and how it is removed.

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

/// Where a new database lies until it is complete, so that a power loss leaves none that is half
/// made.
const NEW: &str = "checkpoint.new";

/// What a state is made of beside its lock. Nothing else is ever removed.
const PARTS: [&str; 7] = [DATABASE, NEW, "spool", "outbox", GAPS, "control", DEAD_LETTERS];

/// Parts that mean nothing by themselves: a state of only these was begun and never used.
const EMPTY_PARTS: [&str; 3] = [DATABASE, NEW, "control"];

/// A folder that a lake has, and no state. Earlier versions let a lake's root be a state: its dead
/// letters are the lake's.
const OF_A_LAKE: &str = "_index";

/// What stays when a topology begins anew: the dead letters of the runs before are for a person,
/// and the gaps in the lake are still there.
const DEAD_LETTERS: &str = "_dead";
const GAPS: &str = "gaps";

/// How much memory redb may use for pages. Restoring reads each page once and saving writes little
/// more than what changed, so a larger cache gains nothing, and the whole of a small topology stays
/// below 50 MB. Half of it bounds what one save holds before it writes pages early.
const CACHE_BYTES: usize = 16 << 20;

/// How a database is opened: every page is checked. That costs as much as reading it once, which a
/// restore does anyway, and without it a file that something else has written into is trusted.
pub fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Opens the database of a folder, which has to be there, and makes its file smaller if most of it
/// is free.
///
/// # Errors
/// If it can't be read, or is damaged.
pub fn open(folder: &Path) -> Result<Database, DatabaseError> {
    let path = folder.join(DATABASE);
    let mut database = builder().open(&path)?;
    match shrink(&mut database, &path) {
        Ok(_) => Ok(database),
        // A full disk, for instance, for which the engine waits: the state is whole all the same.
        Err(_) => {
            drop(database);
            builder().open(&path)
        }
    }
}

/// Makes the database of a folder if there is none.
///
/// # Errors
/// If it can't be made durable.
pub fn make(folder: &Path) -> Result<()> {
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

/// Whether a folder is a state: it has the database, or nothing but parts of a state and a lock.
pub fn is_state(folder: &Path) -> bool {
    folder.join(DATABASE).is_file()
        || folder.join("lock").is_file() && holds_only_parts(folder).unwrap_or(false)
}

/// Closes a folder that others may look into, as earlier versions made it: the spool is nobody
/// else's business, and who can open the lock can hold it. A folder with anything else in it stays
/// as it is.
pub fn keep_private(folder: &Path) {
    let is_open = |found: fs::Metadata| found.permissions().mode() & 0o077 != 0;
    if folder.metadata().is_ok_and(is_open) && holds_only_parts(folder).unwrap_or(false) {
        // Where it can't be, it is somebody else's folder.
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

/// Removes everything that a topology would resume from. Returns what was there.
///
/// # Errors
/// If something can't be removed.
pub fn clear(folder: &Path) -> Result<Vec<PathBuf>> {
    remove_parts(folder, |part| part != DEAD_LETTERS && part != GAPS)
}

/// Removes all parts of a state but its lock. Returns what was there.
///
/// # Errors
/// If something can't be removed.
pub fn remove(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_lake = folder.join(OF_A_LAKE).exists();
    remove_parts(folder, |part| !(is_lake && part == DEAD_LETTERS))
}

/// Whether a state holds no part that anybody could miss.
pub fn is_unused(folder: &Path) -> bool {
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

/// Removes a file, a link (not what it leads to) or a folder, if it is there.
fn remove_part(path: &Path) -> Result<bool> {
    let removed = path.symlink_metadata().and_then(|found| {
        if found.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
    });
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true).map_err(|cause| failed("remove", path, cause)),
    }
}
