//! Keeps every access within the lake's folder: only plain files are opened, and nothing is written
//! or deleted outside the root through a link.
//!
//! Reading follows links: a lake may consist of links to partitions elsewhere. Only a link directly
//! below the root may lead to a folder, so that a loop of links can't cause an endless walk.

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Opens a plain file to read it. Never waits: opening a FIFO would otherwise block until a process
/// writes into it.
///
/// # Errors
/// If the file can't be opened, or isn't a plain file; see [`is_no_file`].
pub fn open_file(path: &Path) -> io::Result<File> {
    open_file_with_length(path).map(|(file, _)| file)
}

/// Like [`open_file`], and returns the file's length, too, which is known at that point: a lake may
/// have a million files.
///
/// # Errors
/// As [`open_file`].
pub fn open_file_with_length(path: &Path) -> io::Result<(File, u64)> {
    // The flag has no effect on a plain file; its bits fit into an `int` on every Unix.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if found.is_file() { Ok((file, found.len())) } else { Err(no_file(found.file_type())) }
}

/// Returns the error for something that can't be read as a file.
fn no_file(kind: FileType) -> io::Error {
    let what = if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}: expected a file"))
}

/// Returns true if opening failed because of the kind of the object, and not because of the disk: a
/// FIFO, a socket, a device, or links that lead in a circle.
pub fn is_no_file(error: &io::Error) -> bool {
    let loops = rustix::io::Errno::LOOP.raw_os_error();
    // A socket can't be opened at all.
    let socket = rustix::io::Errno::NXIO.raw_os_error();
    error.kind() == io::ErrorKind::InvalidInput
        || error.raw_os_error().is_some_and(|errno| errno == loops || errno == socket)
}

/// Returns the first link on the way from the root to a path below it, including the path itself.
/// The root itself may be a link, because the user has named it.
///
/// # Errors
/// If a part of the path can't be examined. A part that doesn't exist is no link.
pub fn link_below(root: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let Ok(below) = path.strip_prefix(root) else { return Ok(None) };
    let mut part = root.to_path_buf();
    for name in below {
        part.push(name);
        match part.symlink_metadata() {
            Ok(found) if found.is_symlink() => return Ok(Some(part)),
            Ok(_) => {}
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Refuses a folder that is reached through a link below the root, before a file in it is written
/// or deleted.
///
/// # Errors
/// If such a link exists, or a part of the path can't be examined.
pub fn stay_inside(root: &Path, folder: &Path) -> io::Result<()> {
    match link_below(root, folder)? {
        None => Ok(()),
        Some(link) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "\"{}\" is a link, and nothing is written or deleted outside of the lake",
                link.display()
            ),
        )),
    }
}

/// Returns true if an error says that the path doesn't exist. That includes a path one of whose
/// parents is a file.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::{fs, process};

    use super::*;

    /// Makes a FIFO with the tool `mkfifo`, which every Unix has.
    fn make_fifo(path: &Path) {
        assert!(process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        make_fifo(&at("fifo"));
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("fifo", at("to-fifo")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        for name in ["fifo", "socket", "loop", "to-fifo", "device"] {
            let error = open_file(&at(name)).unwrap_err();
            assert!(is_no_file(&error) && !is_absent(&error), "{name}: {error:?}");
        }
        fs::create_dir(at("folder")).unwrap();
        for name in ["folder", "nowhere", "fifo/x"] {
            assert!(is_absent(&open_file(&at(name)).unwrap_err()), "{name}");
        }
        fs::write(at("file"), "x").unwrap();
        symlink("file", at("to-file")).unwrap();
        open_file(&at("to-file")).unwrap();
    }

    #[test]
    fn the_first_link_below_the_root_is_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lake/a")).unwrap();
        symlink("lake", folder.path().join("root")).unwrap();
        let root = folder.path().join("root");
        symlink("..", root.join("a/out")).unwrap();
        symlink("nowhere", root.join("b")).unwrap();
        let link = |path: &str| link_below(&root, &root.join(path)).unwrap();
        for path in ["", "a", "a/x/y", "c"] {
            assert_eq!(link(path), None, "{path}");
            stay_inside(&root, &root.join(path)).unwrap();
        }
        for (path, found) in [("a/out", "a/out"), ("a/out/x", "a/out"), ("b", "b")] {
            assert_eq!(link(path), Some(root.join(found)), "{path}");
            let error = stay_inside(&root, &root.join(path)).unwrap_err().to_string();
            assert!(error.contains("is a link"), "{error}");
        }
    }
}
