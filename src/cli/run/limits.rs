//! The limits that the operating system sets for this process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Error, Result};

/// With fewer open files not even a small topology starts: its threads, its state, its sockets and
/// its lake take some forty.
const FILES_MIN: u64 = 64;

/// As many open files as are asked for where the limit is only a default: a lake that is merged, or
/// many files that are followed, take one each.
const FILES_WANTED: u64 = 65_536;

/// Makes room for open files, as far as this user may have it.
///
/// # Errors
/// If there is too little for any topology.
pub(crate) fn make_room_for_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(u64::MAX).min(FILES_WANTED);
    let files = match limit.current {
        Some(current) if current < allowed => {
            let raised = Rlimit { current: Some(allowed), maximum: limit.maximum };
            if setrlimit(Resource::Nofile, raised).is_ok() { allowed } else { current }
        }
        current => current.unwrap_or(u64::MAX),
    };
    if files < FILES_MIN {
        return Err(Error::fatal(format!(
            "this process may have {files} open files, and a topology needs at least {FILES_MIN}: raise the limit by \
             `ulimit -n 1024`"
        )));
    }
    Ok(())
}
