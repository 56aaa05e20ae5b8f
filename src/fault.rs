//! Points at which tests inject faults: before and after every write, sync, rename, state commit
//! and message of the protocol. Compiled in only with the feature `fail-points`.
//!
//! `FAILPOINTS="lake.rename=3*off->return(kill)"` in the environment kills the process, as by
//! `kill -9`, when the point named `lake.rename` is passed for the fourth time. Other actions are
//! `return(ENOSPC)`, `return(EMFILE)`, `return(EIO)`, `return(EROFS)`, and those of the crate
//! `fail`.

use std::io;

/// Passes the point of this name.
///
/// # Errors
/// If a test has set a fault for this point; never without the feature.
#[cfg(feature = "fail-points")]
pub fn point(name: &str) -> io::Result<()> {
    use rustix::io::Errno;
    fail::fail_point!(name, |action| match action.as_deref() {
        Some("ENOSPC") => Err(Errno::NOSPC.into()),
        Some("EMFILE") => Err(Errno::MFILE.into()),
        Some("EIO") => Err(Errno::IO.into()),
        Some("EROFS") => Err(Errno::ROFS.into()),
        _ => {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL)
                .expect("a process may kill itself");
            loop {
                std::thread::park();
            }
        }
    });
    Ok(())
}

/// Passes the point of this name.
///
/// # Errors
/// Never without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub fn point(_name: &str) -> io::Result<()> {
    Ok(())
}

/// Reads the faults to inject from the environment. Called at the start of the process.
pub fn heed_environment() {
    #[cfg(feature = "fail-points")]
    std::mem::forget(fail::FailScenario::setup());
}
