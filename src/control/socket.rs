//! The socket's file, including paths that are longer than the address of a socket may be.
//!
//! A socket listens before its mode can be set. Therefore it is in a folder of its own, `control`,
//! which only the owner can open (mode 0700) from the moment it is created. No other user can reach
//! the socket, regardless of the umask and the mode of the state folder.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The name of the socket's folder in the state folder.
const FOLDER: &str = "control";

/// The path of the socket in the state folder.
const NAME: &str = "control/socket";

/// The mode of the folder: only its owner can open it.
const FOLDER_MODE: u32 = 0o700;

/// The longest path that fits the address of a socket on every system, in bytes. Linux has room for
/// 107.
const PATH_BYTES_MAX: usize = 103;

/// A path by which the socket can be reached. On Linux, a long path is replaced by one through the
/// opened folder.
pub(super) struct Address {
    path: PathBuf,
    _folder: Option<File>,
}

impl Address {
    /// Returns the address of the socket in a state folder. The path is valid until this value is
    /// dropped.
    ///
    /// # Errors
    /// If the folder of a long path doesn't exist.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        Self::over_descriptor(folder)
    }

    /// Returns the path to connect to.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(target_os = "linux")]
    fn over_descriptor(folder: &Path) -> io::Result<Self> {
        use std::os::fd::AsRawFd;
        let folder = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }

    #[cfg(not(target_os = "linux"))]
    fn over_descriptor(_: &Path) -> io::Result<Self> {
        let text =
            format!("its path is longer than the {PATH_BYTES_MAX} bytes that a socket's may have");
        Err(io::Error::new(ErrorKind::InvalidFilename, text))
    }
}

/// Listens in a state folder, for its owner only. Replaces the file of a process that was killed.
///
/// # Errors
/// If a process already listens there, or if the file can't be created.
pub(crate) fn listen(folder: &Path) -> io::Result<UnixListener> {
    make_private(folder, &folder.join(FOLDER))?;
    let address = Address::of(folder)?;
    // Under `checkpoint: Off` the folder isn't locked, so another process may already listen there.
    match UnixStream::connect(&address.path) {
        Ok(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(_) => fs::remove_file(&address.path)?,
    }
    let listener = UnixListener::bind(&address.path)?;
    fs::set_permissions(&address.path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Creates the socket's folder in a state folder, or makes an existing one accessible to its owner
/// only.
fn make_private(state: &Path, folder: &Path) -> io::Result<()> {
    let make = || DirBuilder::new().mode(FOLDER_MODE).create(folder);
    match make() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let found = folder.symlink_metadata()?;
    if found.file_type().is_socket() {
        // In an earlier version the socket itself had this name.
        if UnixStream::connect(folder).is_ok() {
            return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there"));
        }
        fs::remove_file(folder)?;
        return make();
    }
    if !found.is_dir() || found.uid() != state.metadata()?.uid() {
        let what = "expected a folder of the user who owns the state; remove it";
        return Err(io::Error::new(ErrorKind::PermissionDenied, what));
    }
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
}

/// Connects to the process that listens in a state folder.
///
/// # Errors
/// If no process listens there.
pub(crate) fn connect(folder: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(Address::of(folder)?.path)
}

/// Removes the socket's file and its folder.
///
/// # Errors
/// If either can't be removed.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    fs::remove_file(folder.join(NAME))?;
    fs::remove_dir(folder.join(FOLDER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(connect(folder.path()).unwrap_err().kind(), ErrorKind::NotFound);
        drop(listen(folder.path()).unwrap());
        assert!(folder.path().join(NAME).exists(), "as after a kill");
        let _live = listen(folder.path()).unwrap();
        assert_eq!(listen(folder.path()).unwrap_err().kind(), ErrorKind::AddrInUse);
        connect(folder.path()).unwrap();
        let mode = folder.path().join(NAME).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        remove(folder.path()).unwrap();
        assert!(!folder.path().join(FOLDER).exists());
    }

    #[test]
    fn nobody_else_reaches_the_socket_whatever_was_there() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join(FOLDER);
        let mode = || folder.metadata().unwrap().permissions().mode() & 0o777;
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let live = listen(state.path()).unwrap();
        assert_eq!(mode(), FOLDER_MODE);
        drop(live);
        remove(state.path()).unwrap();
        // This is the file that an earlier version left.
        drop(UnixListener::bind(&folder).unwrap());
        let _live = listen(state.path()).unwrap();
        assert_eq!(mode(), FOLDER_MODE);
        let other = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(state.path(), other.path().join(FOLDER)).unwrap();
        assert_eq!(listen(other.path()).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_of_three_hundred_bytes_works() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a".repeat(150)).join("b".repeat(150));
        fs::create_dir_all(&folder).unwrap();
        let _live = listen(&folder).unwrap();
        connect(&folder).unwrap();
        assert!(folder.join(NAME).exists());
    }
}
