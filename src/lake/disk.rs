//! The file system operations that the lake needs beyond reading and writing.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::Error;
use crate::fault::point;

/// Returns an error of the local file system: `can't write "…/0000001": cause`.
pub fn failed(what: &str, path: &Path, cause: io::Error) -> Error {
    Error::file(format!("can't {what} \"{}\"", path.display()), cause)
}

/// Syncs a folder, so that the names in it survive a power loss.
///
/// # Errors
/// If the folder can't be opened or synced.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    point("disk.sync_folder")?;
    File::open(path)?.sync_all()?;
    point("disk.synced_folder")
}

/// The number of attempts to create a folder while other processes, which are ending, keep removing
/// its empty parent.
const MAKE_TRIES_MAX: usize = 100;

/// Creates a folder and its missing parents. Returns the folders that got a new entry; these have
/// to be synced for the entry to survive a power loss.
///
/// # Errors
/// If one of the folders can't be created.
pub fn make_folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    make_with(path, &DirBuilder::new())
}

/// Like [`make_folders`], for folders that only their owner may read.
///
/// # Errors
/// If one of the folders can't be created.
pub fn make_private_folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    make_with(path, DirBuilder::new().mode(0o700))
}

fn make_with(path: &Path, builder: &DirBuilder) -> io::Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    for _ in 0..MAKE_TRIES_MAX {
        match make_missing(path, builder, &mut changed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map(|()| changed),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn make_missing(path: &Path, builder: &DirBuilder, changed: &mut Vec<PathBuf>) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.is_dir()).collect();
    for folder in missing.into_iter().rev() {
        match point("disk.make_folder").and_then(|()| builder.create(folder)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            // The parent existed, and another process has just removed it.
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && folder.symlink_metadata().is_err() =>
            {
                return Err(io::ErrorKind::NotFound.into());
            }
            other => other?,
        }
        // The parent of a relative path may be empty; an empty path means the working directory.
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        changed.push(parent.unwrap_or(Path::new(".")).to_path_buf());
    }
    Ok(())
}

/// Checks that a folder can be written to, or can be made; says which. Nothing is written.
///
/// # Errors
/// If it can't.
pub fn check_writable(folder: &Path) -> Result<String, Error> {
    for there in folder.ancestors() {
        match there.metadata() {
            Ok(found) if !found.is_dir() => {
                let what = format!("\"{}\" is no folder", there.display());
                return Err(Error::fatal(what));
            }
            Ok(_) => {
                let access = Access::WRITE_OK | Access::EXEC_OK;
                rustix::fs::access(there, access).map_err(|cause| {
                    Error::file(format!("can't write to \"{}\"", there.display()), cause.into())
                })?;
                let state = if there == folder {
                    "can be written to"
                } else {
                    "isn't there yet, and can be made"
                };
                return Ok(format!("\"{}\" {state}", folder.display()));
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(failed("look at", there, cause)),
        }
    }
    Err(Error::fatal(format!("\"{}\" can't be made", folder.display())))
}

/// Removes a folder if it is empty. A folder that isn't empty or doesn't exist is no error.
pub fn remove_if_empty(folder: &Path) {
    let _ = fs::remove_dir(folder);
}

/// Renames a file within a file system, but never over another file: then the error is
/// `AlreadyExists`.
///
/// # Errors
/// If the target exists, or the file can't be renamed.
pub fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    point("disk.rename")?;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems don't support the flag. Only one task writes a partition,
        // because of its UUID, so checking before the rename gives up only a protection against a
        // race that can't happen.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if to.symlink_metadata().is_err() => {
            fs::rename(from, to)
        }
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            Err(io::ErrorKind::AlreadyExists.into())
        }
        other => Ok(other?),
    }
    .and_then(|()| point("disk.renamed"))
}

/// Asks the operating system to begin writing a range of a file to the disk, so that a later sync
/// has little left to do. Doesn't wait. The call is only a hint: a failure shows up in the sync.
#[cfg(target_os = "linux")]
pub fn begin_writing_back(file: &File, from: u64, bytes: u64) {
    use rustix::fs::{Advice, fadvise};
    // On Linux this advice starts writing back dirty pages and drops clean ones; pages under
    // writeback stay in the cache. It is as fast as `sync_file_range`, which would need unsafe
    // code.
    if let Some(bytes) = std::num::NonZeroU64::new(bytes) {
        let _ = fadvise(file, from, Some(bytes), Advice::DontNeed);
    }
}

/// Does nothing: other systems have no such hint.
#[cfg(not(target_os = "linux"))]
pub fn begin_writing_back(_file: &File, _from: u64, _bytes: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn making_folders_tells_which_folders_to_sync() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        assert_eq!(
            make_folders(&deep).unwrap(),
            [root.path().to_path_buf(), root.path().join("a")]
        );
        assert_eq!(make_folders(&deep).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_file_in_the_way_of_a_folder_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a"), "").unwrap();
        assert!(make_folders(&root.path().join("a")).is_err());
        assert!(make_folders(&root.path().join("a/b")).is_err());
    }

    #[test]
    fn a_rename_never_replaces() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(
            rename_without_replacing(&from, &to).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(&to).unwrap(), b"old");
        fs::remove_file(&to).unwrap();
        rename_without_replacing(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }
}
