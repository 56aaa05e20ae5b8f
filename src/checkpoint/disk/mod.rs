//! A state store on this machine's disk: a redb database in a folder that one process holds.
//!
//! Each save is one transaction of two phases: the data is synced before the header that names it.
//! redb could do with one sync by falling back, after a crash, to the transaction before where the
//! last one doesn't add up; then a damaged checkpoint would be replaced by an older one in silence,
//! and posts that were made visible would come a second time.

mod folder;
mod handle;
mod lock;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};
use time::OffsetDateTime;

use super::{Changes, Saved, Started, StateStore, Take};
use crate::error::{Error, Kind, Result};
use crate::fault::point;
use crate::lake::disk::{failed, make_folders, remove_if_empty, sync_folder};

use handle::{Attempt, Handle, Opener};
use lock::{Lock, Refused};
use schema::MIGRATIONS;

pub use folder::is_state;

/// A store in a folder, which no other process can open as long as this lives.
pub struct DiskStore {
    // Closed before the lock is let go.
    database: Handle,
    /// The epoch whose save failed so that nobody knows whether it is complete.
    unsure: Mutex<Option<u64>>,
    _lock: Option<Lock>,
}

/// What is known of a state without running it.
pub enum Look {
    /// A process holds it: its id, if it is known.
    InUse(Option<u32>),
    /// It can be resumed.
    Free(Saved),
}

impl DiskStore {
    /// Opens the state in a folder, and makes it if it is missing.
    ///
    /// # Errors
    /// If another process holds it, it is damaged or written by a newer version, or the disk fails.
    pub fn open(folder: &Path) -> Result<Self> {
        let lock = lock_or_make(folder)?;
        Self::locked(folder, lock)
    }

    /// Removes what is in the state, and opens it empty. Dead letters of earlier runs stay.
    ///
    /// # Errors
    /// If another process holds it, or the disk fails.
    pub fn fresh(folder: &Path) -> Result<Self> {
        let lock = lock_or_make(folder)?;
        folder::clear(folder)?;
        Self::locked(folder, lock)
    }

    /// Removes a state, and the folder if nothing else is in it. Returns what was removed.
    ///
    /// # Errors
    /// If the folder isn't a state, another process holds it, or the disk fails.
    pub fn remove(folder: &Path) -> Result<Vec<PathBuf>> {
        let lock = lock_existing(folder)?.map_err(|refused| refused.error(folder))?;
        let mut removed = folder::remove(folder)?;
        removed.push(lock.remove()?);
        remove_if_empty(folder);
        Ok(removed)
    }

    /// Looks at a state that may be in use. Every page of it is read, to see whether it is whole.
    ///
    /// # Errors
    /// If the folder isn't a state, or it can't be opened.
    pub fn look(folder: &Path) -> Result<Look> {
        match lock_existing(folder)? {
            Ok(lock) => Ok(Look::Free(Self::locked(folder, lock)?.saved()?)),
            Err(Refused::InUse(pid)) => Ok(Look::InUse(pid)),
            Err(Refused::Failed(error)) => Err(error),
        }
    }

    fn locked(folder: &Path, lock: Lock) -> Result<Self> {
        folder::make(folder)?;
        let path = folder.join(folder::DATABASE);
        let folder = folder.to_path_buf();
        let mut store = Self::with(path, Box::new(move || folder::open(&folder)))?;
        store._lock = Some(lock);
        Ok(store)
    }

    /// With whatever `open` opens; `path` is its name in errors.
    fn with(path: PathBuf, open: Opener) -> Result<Self> {
        let database = Handle::new(path.clone(), open);
        database.with(|database| schema::prepare(database, &path, &MIGRATIONS))?;
        Ok(Self { database, unsure: Mutex::default(), _lock: None })
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Attempt<T>) -> Result<T> {
        self.database.with(|database| work(&database.begin_read()?))
    }

    /// One durable transaction, complete when it returns.
    fn write(&self, work: impl FnOnce(&WriteTransaction) -> Attempt<()>) -> Result<()> {
        self.database.with(|database: &Database| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            work(&transaction)?;
            point("state.commit")?;
            transaction.commit()?;
            Ok(point("state.committed")?)
        })
    }
}

/// Locks a folder, which is made if it is missing.
fn lock_or_make(folder: &Path) -> Result<Lock> {
    let made = make_folders(folder).and_then(|changed| changed.iter().try_for_each(|folder| sync_folder(folder)));
    made.map_err(|cause| failed("make the folder", folder, cause))?;
    Lock::take(folder).map_err(|refused| refused.error(folder))
}

/// Locks a folder only if it is a state.
fn lock_existing(folder: &Path) -> Result<Result<Lock, Refused>> {
    if !is_state(folder) {
        return Err(Error::fatal(format!("\"{}\" isn't the state of a topology", folder.display())));
    }
    Ok(Lock::take(folder))
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
}
