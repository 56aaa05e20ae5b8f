//! Places where tests make something go wrong: before and after every write, sync, rename, state
//! commit and message of the protocol. Compiled in with the feature `fail-points` only.
//!
//! `FAILPOINTS="lake.rename=3*off->return(kill)"` in the environment kills the process, as by `kill
//! -9`, when the point named `lake.rename` is passed for the fourth time. Other actions are
//! `return(ENOSPC)`, `return(EMFILE)`, `return(EIO)`, `return(EROFS)`, and those of the crate
//! `fail`.

use std::io;

/// Passes the point of this name.
///
/// # Errors
/// What a test asked for; none without the feature.
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
/// None without the feature `fail-points`.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub fn point(_name: &str) -> io::Result<()> {
    Ok(())
}

/// Where faults are asked for in the environment, begins to heed it; at the start of the process.
pub fn heed_environment() {
    #[cfg(feature = "fail-points")]
    std::mem::forget(fail::FailScenario::setup());
}
