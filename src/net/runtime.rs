//! The threads on which requests run, for callers without their own.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::panics::{caught, message};

/// The number of threads. Requests mostly wait; only the checksums of uploads take time.
const THREADS: usize = 2;

/// The runtime of the process. It is never dropped, since an asynchronous thread must not drop a
/// runtime.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Returns the runtime of the process for requests, which is made at the first call.
///
/// # Errors
/// If its threads can't be started.
pub fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    // Only one runtime is made at a time: uploads begin together, and each runtime needs threads.
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
    // The builder panics if no thread can be started.
    let made = caught(build).map_err(|panic| {
        Error::no_room(format!("no threads for the network: {}", message(panic.as_ref())))
    })?;
    let made =
        made.map_err(|error| Error::no_room("can't start threads for the network").because(error))?;
    Ok(RUNTIME.get_or_init(|| made))
}
