//! The database of a store, which is reopened after an error of the disk.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::Database;

use crate::error::{Error, Result};
use crate::panics::{caught, message};

/// An error within a transaction.
pub(crate) enum Fault {
    /// An error of the database.
    Database(Box<redb::Error>),
    /// Another error.
    Ours(Error),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// The result of a step of a transaction.
pub(crate) type Attempt<T> = std::result::Result<T, Fault>;

/// A function that opens the database's file.
pub(crate) type Opener = Box<dyn Fn() -> Result<Database, redb::DatabaseError> + Send + Sync>;

/// The database. After an error of the disk, redb refuses everything until the database is closed
/// and opened again, so the next call reopens it: completed transactions are in it, and a
/// transaction that was in progress is complete or gone.
pub(crate) struct Handle {
    path: PathBuf,
    open: Opener,
    current: Mutex<Option<Arc<Database>>>,
}

impl Handle {
    /// Creates the handle for the file at `path`, which is opened when it is needed.
    pub(crate) fn new(path: PathBuf, open: Opener) -> Self {
        Self { path, open, current: Mutex::new(None) }
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs some work with the database.
    ///
    /// # Errors
    /// If the database can't be opened, or the work fails.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Database) -> Attempt<T>) -> Result<T> {
        let database = self.database()?;
        work(&database).map_err(|fault| match fault {
            Fault::Database(error) => {
                self.forget(&database);
                self.error(*error)
            }
            Fault::Ours(error) => error,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn database(&self) -> Result<Arc<Database>> {
        let mut current = self.lock();
        if let Some(database) = &*current {
            return Ok(Arc::clone(database));
        }
        // redb may panic on a file that it didn't write, or that another process writes at the same
        // time.
        let opened = caught(&self.open)
            .map_err(|panic| self.damaged(format!("redb gave up: {}", message(panic.as_ref()))))?;
        let database = Arc::new(opened.map_err(|error| self.error(error.into()))?);
        Ok(Arc::clone(current.insert(database)))
    }

    fn forget(&self, failed: &Arc<Database>) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed)) {
            *current = None;
        }
    }

    /// Converts an error of redb.
    fn error(&self, error: redb::Error) -> Error {
        let path = self.path.display();
        match error {
            // redb returns these kinds if the file isn't a database, or ends too early.
            redb::Error::Io(cause)
                if matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                self.damaged(cause)
            }
            redb::Error::Io(cause) => {
                Error::file(format!("can't read or write the state \"{path}\""), cause)
            }
            // Another thread has met the error, or is still reading the previously opened database.
            redb::Error::PreviousIo
            | redb::Error::DatabaseClosed
            | redb::Error::DatabaseAlreadyOpen => {
                Error::transient(format!("the state \"{path}\" has to be opened again"))
                    .because(error)
            }
            error => self.damaged(error),
        }
    }

    /// Returns the error for content that this program didn't write. An older checkpoint is never
    /// used in its place.
    pub(crate) fn damaged(
        &self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::fatal(format!(
            "the state \"{}\" is damaged (--fresh begins without it)",
            self.path.display()
        ))
        .because(cause)
    }
}
