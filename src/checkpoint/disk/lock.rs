//! One process at a time: the lock on a state folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::lake::disk::failed;

/// How often the lock is tried anew when a process that is just removing the state takes the
/// file away in between, or others look whether it is held.
const TRIES_MAX: usize = 100;

/// How long to wait before the next try where others look. They look for some microseconds.
const LOOKERS_WAIT: Duration = Duration::from_millis(10);

/// The lock, held until it is dropped or the process ends, however it ends: a file that is left
/// over means nothing.
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Why there is no lock.
pub enum Refused {
    /// Another holds it: its process id, unless it has just begun.
    InUse(Option<u32>),
    /// The file can't be opened, locked or written.
    Failed(Error),
}

impl Refused {
    /// The sentence for a person.
    pub fn error(self, folder: &Path) -> Error {
        match self {
            Self::InUse(pid) => {
                let process =
                    pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
                Error::fatal(format!(
                    "the state \"{}\" is in use by {process}; stop that first, or give another --state",
                    folder.display()
                ))
            }
            Self::Failed(error) => error,
        }
    }
}

impl Lock {
    /// Takes the lock on a folder that exists, and writes this process's id into its file.
    ///
    /// # Errors
    /// If another holds it, also in this process.
    pub fn take(folder: &Path) -> Result<Self, Refused> {
        let path = folder.join("lock");
        let cant = |cause| Refused::Failed(failed("lock", &path, cause));
        for _ in 0..TRIES_MAX {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(cant)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if is_held(&file).map_err(cant)? => {
                    return Err(Refused::InUse(pid(&mut file)));
                }
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(LOOKERS_WAIT);
                    continue;
                }
                Err(TryLockError::Error(cause)) => return Err(cant(cause)),
            }
            if is_at(&file, &path).map_err(cant)? {
                write_pid(&mut file).map_err(cant)?;
                return Ok(Self { file, path });
            }
        }
        Err(cant(io::ErrorKind::NotFound.into()))
    }

    /// Looks whether another holds the lock on a folder, without taking it.
    ///
    /// # Errors
    /// If another holds it, or the file can't be looked at.
    pub fn look(folder: &Path) -> Result<(), Refused> {
        let path = folder.join("lock");
        let cant = |cause| Refused::Failed(failed("look at the lock", &path, cause));
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(cant)?,
        };
        if is_held(&file).map_err(cant)? { Err(Refused::InUse(pid(&mut file))) } else { Ok(()) }
    }

    /// True if the lock's file is still the one of that name.
    ///
    /// # Errors
    /// If it can't be looked at.
    pub fn is_in_place(&self) -> io::Result<bool> {
        is_at(&self.file, &self.path)
    }

    /// Removes the lock's file.
    ///
    /// # Errors
    /// If it can't be removed.
    pub fn remove(&self) -> Result<PathBuf> {
        fs::remove_file(&self.path).map_err(|cause| failed("remove", &self.path, cause))?;
        Ok(self.path.clone())
    }
}

/// Whether the file that was opened is still the one of that name: a lock on a file that was
/// removed keeps nobody out.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match path.metadata() {
        Ok(named) => Ok((opened.dev(), opened.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether somebody holds the lock, and doesn't only look as this does.
fn is_held(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

/// A process that holds the lock of a state in this folder that was deleted since: it goes on until
/// it notices. Found by its open files, so it is found only where the system shows those, and never
/// the process that asks.
pub fn holder_of_deleted(folder: &Path) -> Option<u32> {
    let real = folder.canonicalize().ok()?.join("lock");
    let deleted = PathBuf::from(format!("{} (deleted)", real.to_str()?));
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        for file in files {
            let is_its_lock = fs::read_link(file.path()).is_ok_and(|link| link == deleted);
            if is_its_lock && pid != std::process::id() {
                return Some(pid);
            }
        }
    }
    None
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).ok().unwrap();
        let refused = Lock::take(folder.path()).err().unwrap();
        let expected = format!(
            "the state \"{}\" is in use by process {}; stop that first, or give another --state",
            folder.path().display(),
            std::process::id()
        );
        assert_eq!(refused.error(folder.path()).chain(), expected);
        drop(lock);
        assert!(Lock::take(folder.path()).is_ok());
    }

    #[test]
    fn a_look_at_the_lock_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lock::look(folder.path()).is_ok(), "there is no lock yet");
        let lock = Lock::take(folder.path()).ok().unwrap();
        assert!(
            matches!(Lock::look(folder.path()), Err(Refused::InUse(Some(pid))) if pid == std::process::id())
        );
        drop(lock);
        let looker = File::open(folder.path().join("lock")).unwrap();
        looker.lock_shared().unwrap();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| Lock::take(folder.path()).is_ok());
            looker.unlock().unwrap();
            assert!(taker.join().unwrap());
        });
        assert!(Lock::look(folder.path()).is_ok());
    }

    #[test]
    fn the_file_of_a_process_that_was_killed_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock"), "4711 and much more than a process id\n").unwrap();
        let _lock = Lock::take(folder.path()).ok().unwrap();
        let text = fs::read_to_string(folder.path().join("lock")).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_file_that_was_removed_while_it_was_opened_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = File::create(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_at(&file, &path).unwrap());
        fs::write(&path, "").unwrap();
        assert!(!is_at(&file, &path).unwrap());
    }
}
