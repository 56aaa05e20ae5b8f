//! The threads on which requests run, for whoever has none of its own.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::panics::{caught, message};

/// Requests wait; what takes time is the checksum of what is put into a bucket.
const THREADS: usize = 2;

/// One for the process: it is never dropped, which no asynchronous thread may do.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime of the process for requests, which is made at the first call.
///
/// # Errors
/// If there are no threads for it.
pub fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    // One at a time: uploads begin together, and each runtime needs threads.
    static BEING_MADE: Mutex<()> = Mutex::new(());
    let _making = BEING_MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let build = || {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("waterspout-net")
            .enable_all()
            .build()
    };
    // Where there are no threads left it panics.
    let made = caught(build).map_err(|panic| {
        Error::no_room(format!("no threads for the network: {}", message(panic.as_ref())))
    })?;
    let made =
        made.map_err(|error| Error::no_room("can't start threads for the network").because(error))?;
    Ok(RUNTIME.get_or_init(|| made))
}
