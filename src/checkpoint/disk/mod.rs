//! A state store on this machine's disk: a redb database in a folder that one process holds.
//!
//! Each save is a transaction in two phases: the data is synced before the header that names it.
//! redb also has a mode with one sync, in which it returns to the previous transaction after a
//! crash if the last one is invalid. In that mode a damaged checkpoint would silently be replaced
//! by an older one, and posts that were made visible would be delivered a second time.

mod folder;
mod handle;
pub mod lock;
mod read;
mod schema;
mod shrink;
mod snapshot;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use time::OffsetDateTime;

use super::{Changes, Saved, Started, StateStore, Take};
use crate::error::{Error, Kind, Result};
use crate::fault::point;
use crate::lake::disk::{failed, make_private_folders, remove_if_empty, sync_folder};
use crate::panics::{self, caught};

use handle::{Attempt, Handle, Opener};
use lock::{Lock, Refused, holder_of_deleted};
use schema::MIGRATIONS;
use snapshot::Snapshot;

pub use folder::{DATABASE, is_state};

/// A store in a folder, which no other process can open while this value exists.
pub struct DiskStore {
    // Closed before the lock is released.
    database: Handle,
    /// The epoch whose save failed in such a way that it may be complete or not.
    unsure: Mutex<Option<u64>>,
    place: Option<Place>,
}

/// The folder of a store, and the identity of its files.
struct Place {
    folder: PathBuf,
    /// Device and inode of the database's file.
    database: (u64, u64),
    lock: Lock,
}

impl Place {
    /// Returns true if writes still go to the file that the next start will open.
    fn is_there(&self) -> io::Result<bool> {
        let database = match inode(&self.folder.join(folder::DATABASE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        Ok(database == self.database && self.lock.is_in_place()?)
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = path.metadata()?;
    Ok((found.dev(), found.ino()))
}

/// The result of examining a state without running it.
pub enum Look {
    /// A process holds it: its id, if it is known.
    InUse(Option<u32>),
    /// No process holds it, and it can be resumed.
    Free(Box<Saved>),
}

impl DiskStore {
    /// Opens the state in a folder, and creates it if it doesn't exist.
    ///
    /// # Errors
    /// If another process holds it, it is damaged or written by a newer version, or the disk fails.
    pub fn open(folder: &Path) -> Result<Self> {
        let lock = lock_or_make(folder)?;
        Self::locked(folder, lock)
    }

    /// Deletes the content of the state, and opens it empty. Dead letters of earlier runs stay.
    ///
    /// # Errors
    /// If another process holds it, or the disk fails.
    pub fn fresh(folder: &Path) -> Result<Self> {
        let lock = lock_or_make(folder)?;
        folder::clear(folder)?;
        Self::locked(folder, lock)
    }

    /// Removes a state, and its folder if that is empty then. Returns the removed paths.
    ///
    /// # Errors
    /// If the folder isn't a state, another process holds it, or the disk fails.
    pub fn remove(folder: &Path) -> Result<Vec<PathBuf>> {
        check_is_state(folder)?;
        let lock = Lock::take(folder).map_err(|refused| refused.error(folder))?;
        remove_all(folder, &lock)
    }

    /// Removes this state, which can't be used after that.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn discard(&self) -> Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        // If this state was deleted, another process's state may be in its place.
        self.check()?;
        remove_all(&place.folder, &place.lock).map(drop)
    }

    /// Returns true if no epoch is complete, and the state has no other part that a user could
    /// miss.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn is_unused(&self) -> Result<bool> {
        let Some(place) = &self.place else { return Ok(false) };
        Ok(folder::is_unused(&place.folder) && self.saved()?.epoch == 0)
    }

    /// Examines a state that may be in use, without keeping other processes from using it. Reads
    /// every page, to check that the state is intact.
    ///
    /// # Errors
    /// If the folder isn't a state, or it can't be read.
    pub fn look(folder: &Path) -> Result<Look> {
        check_is_state(folder)?;
        let in_use = || match Lock::look(folder) {
            Ok(()) => Ok(None),
            Err(Refused::InUse(pid)) => Ok(Some(Look::InUse(pid))),
            Err(Refused::Failed(error)) => Err(error),
        };
        if let Some(in_use) = in_use()? {
            return Ok(in_use);
        }
        let mut tries = 1;
        loop {
            let before = written_at(folder);
            let saved = saved_in_snapshot(folder);
            // A process may have begun to use the state in the meantime: then the data just read is
            // invalid.
            if let Some(in_use) = in_use()? {
                return Ok(in_use);
            }
            // A process may also have used it for a moment.
            if written_at(folder) == before {
                return saved.map(|saved| Look::Free(Box::new(saved)));
            }
            if tries == LOOKS_MAX {
                return Ok(Look::InUse(None));
            }
            tries += 1;
        }
    }

    fn locked(folder: &Path, lock: Lock) -> Result<Self> {
        let path = folder.join(folder::DATABASE);
        if !path.exists()
            && let Some(pid) = holder_of_deleted(folder)
        {
            return Err(Error::fatal(format!(
                "the state \"{}\" was deleted while process {pid} uses it: wait until that has ended, or stop it",
                folder.display()
            )));
        }
        folder::make(folder)?;
        let opened = folder.to_path_buf();
        let mut store = Self::with(path.clone(), Box::new(move || folder::open(&opened)))?;
        let database = inode(&path).map_err(|cause| failed("look at", &path, cause))?;
        store.place = Some(Place { folder: folder.to_path_buf(), database, lock });
        Ok(store)
    }

    /// Creates a store on the database that `open` opens; `path` is its name in errors.
    fn with(path: PathBuf, open: Opener) -> Result<Self> {
        let database = Handle::new(path.clone(), open);
        database.with(|database| schema::prepare(database, &path, &MIGRATIONS))?;
        Ok(Self { database, unsure: Mutex::default(), place: None })
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Attempt<T>) -> Result<T> {
        self.database.with(|database| work(&database.begin_read()?))
    }

    /// Runs one durable transaction, which is complete when this function returns.
    fn write(&self, work: impl FnOnce(&WriteTransaction) -> Attempt<()>) -> Result<()> {
        self.check()?;
        self.database.with(|database: &Database| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            work(&transaction)?;
            point("state.commit")?;
            transaction.commit()?;
            Ok(point("state.committed")?)
        })?;
        // A transaction doesn't count if the next start won't find its file.
        self.check()
    }
}

/// The number of attempts to examine a state while other processes write it.
const LOOKS_MAX: u32 = 10;

/// Returns the time at which a state's database was written, and its length.
fn written_at(folder: &Path) -> Option<(SystemTime, u64)> {
    let found = folder.join(folder::DATABASE).metadata().ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// Reads the newest checkpoint of a state without changing it. If the file is written at the same
/// time, any error may occur.
fn saved_in_snapshot(folder: &Path) -> Result<Saved> {
    let path = folder.join(folder::DATABASE);
    if !path.exists() {
        return Ok(Saved::default());
    }
    let snapshot = path.clone();
    let open = move || folder::builder().create_with_backend(Snapshot::open(&snapshot)?);
    let read = caught(|| DiskStore::with(path.clone(), Box::new(open))?.saved());
    read.unwrap_or_else(|panic| {
        let (path, said) = (path.display(), panics::message(panic.as_ref()));
        Err(Error::fatal(format!("the state \"{path}\" is damaged: redb gave up: {said}")))
    })
}

/// Locks a folder, which is created if it doesn't exist.
fn lock_or_make(folder: &Path) -> Result<Lock> {
    let made = make_private_folders(folder)
        .and_then(|changed| changed.iter().try_for_each(|folder| sync_folder(folder)));
    made.map_err(|cause| failed("make the folder", folder, cause))?;
    folder::keep_private(folder);
    Lock::take(folder).map_err(|refused| refused.error(folder))
}

fn check_is_state(folder: &Path) -> Result<()> {
    if is_state(folder) {
        return Ok(());
    }
    Err(Error::fatal(format!("\"{}\" isn't the state of a topology", folder.display())))
}

/// Removes all parts of a state whose lock is held, and the lock's file last.
fn remove_all(folder: &Path, lock: &Lock) -> Result<Vec<PathBuf>> {
    let mut removed = folder::remove(folder)?;
    removed.push(lock.remove()?);
    remove_if_empty(folder);
    Ok(removed)
}

impl StateStore for DiskStore {
    fn saved(&self) -> Result<Saved> {
        self.read(|transaction| read::saved(transaction, &self.database))
    }

    fn restore(&self, component: &str, groups: Range<u16>, take: &mut Take<'_>) -> Result<()> {
        self.read(|transaction| read::state(transaction, &self.database, component, groups, take))
    }

    fn has_state(&self, component: &str) -> Result<bool> {
        let name = schema::state_table(component);
        self.read(|transaction| schema::holds_anything(transaction, schema::State::new(&name)))
    }

    fn file_bytes(&self) -> Option<u64> {
        Some(self.database.path().metadata().ok()?.len())
    }

    fn start(&self, started: &Started) -> Result<()> {
        self.write(|transaction| write::start(transaction, started))
    }

    fn save(&self, changes: &Changes) -> Result<()> {
        let mut unsure = self.unsure.lock().unwrap_or_else(PoisonError::into_inner);
        let again = *unsure == Some(changes.epoch);
        let result = self.write(|transaction| write::save(transaction, changes, again));
        let unknown = result.as_ref().is_err_and(|error| error.kind() != Kind::Fatal);
        *unsure = unknown.then_some(changes.epoch);
        result
    }

    fn end(&self, finished: Option<OffsetDateTime>) -> Result<()> {
        self.write(|transaction| write::end(transaction, finished))
    }

    fn check(&self) -> Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let folder = &place.folder;
        match place.is_there() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::fatal(format!(
                "the state \"{}\" was deleted, moved or replaced while this process used it: it stops here, since \
                 nothing that it does can be resumed any more. A new start begins without that state: it captures \
                 again what its sources still have, also posts that the lake has already",
                folder.display()
            ))),
            Err(cause) => Err(failed("look at the state", folder, cause)),
        }
    }

    fn tell(&self) -> Result<()> {
        // Saving the note that the user was told isn't part of the commit protocol, so no test
        // kills the process here.
        self.database.with(|database: &Database| {
            let transaction = database.begin_write()?;
            write::tell(&transaction)?;
            Ok(transaction.commit()?)
        })
    }
}
