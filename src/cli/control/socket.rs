//! The socket's file, also where the path to it is longer than the address of a socket may be.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Its name in the state folder.
const NAME: &str = "control";

/// The longest path that fits the address of a socket everywhere, in bytes. Linux has room for 107.
const PATH_BYTES_MAX: usize = 103;

/// A path by which the socket can be reached. On Linux a long one goes over the open folder.
struct Address {
    path: PathBuf,
    _folder: Option<File>,
}

impl Address {
    fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        Self::over_descriptor(folder)
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
        let text = format!("its path is longer than the {PATH_BYTES_MAX} bytes that a socket's may have");
        Err(io::Error::new(ErrorKind::InvalidFilename, text))
    }
}

/// Listens in a state folder, for its owner only. The file of a process that was killed is replaced.
///
/// # Errors
/// If somebody listens there already, or the file can't be made.
pub fn listen(folder: &Path) -> io::Result<UnixListener> {
    let address = Address::of(folder)?;
    // Under `checkpoint: Off` nobody holds the folder's lock, so somebody may be there.
    match UnixStream::connect(&address.path) {
        Ok(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(_) => fs::remove_file(&address.path)?,
    }
    let listener = UnixListener::bind(&address.path)?;
    fs::set_permissions(&address.path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to whoever listens in a state folder.
///
/// # Errors
/// If nobody does.
pub fn connect(folder: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(Address::of(folder)?.path)
}

/// Removes the socket's file.
///
/// # Errors
/// If it can't be removed.
pub fn remove(folder: &Path) -> io::Result<()> {
    fs::remove_file(folder.join(NAME))
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
