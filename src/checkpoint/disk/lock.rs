//! The lock on a state folder, which only one process can hold at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::lake::disk::failed;

/// The number of attempts to take the lock while another process removes the file together with its
/// state, or other processes check if it is held.
const TRIES_MAX: usize = 100;

/// The pause before the next attempt while other processes check the lock, which takes some
/// microseconds.
const LOOKERS_WAIT: Duration = Duration::from_millis(10);

/// The lock. It is held until it is dropped or the process ends, in whatever way: a file that is
/// left over has no effect.
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// The reason why the lock wasn't taken.
pub enum Refused {
    /// Another process holds it: its process id, unless it has just started.
    InUse(Option<u32>),
    /// The file can't be opened, locked or written.
    Failed(Error),
}

impl Refused {
    /// Returns the error for the user.
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
    /// If the lock is held already, even in this process, or the file can't be used.
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

    /// Checks if another process holds the lock on a folder, without taking it.
    ///
    /// # Errors
    /// If another process holds it, or the file can't be examined.
    pub fn look(folder: &Path) -> Result<(), Refused> {
        let path = folder.join("lock");
        let cant = |cause| Refused::Failed(failed("look at the lock", &path, cause));
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(cant)?,
        };
        if is_held(&file).map_err(cant)? { Err(Refused::InUse(pid(&mut file))) } else { Ok(()) }
    }

    /// Returns true if the lock's file still has its name.
    ///
    /// # Errors
    /// If it can't be examined.
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

/// Returns true if the opened file still has its name: a lock on a removed file has no effect.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match path.metadata() {
        Ok(named) => Ok((opened.dev(), opened.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns true if a process holds the lock, and isn't only checking it as this function does.
fn is_held(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(cause)) => Err(cause),
    }
}

/// Returns the process that holds the lock of a deleted state in this folder; such a process
/// continues until it notices the deletion. The process is found by its open files, so only on
/// systems that show these. Never returns the calling process.
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
