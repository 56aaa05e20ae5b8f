//! The threads on which requests run.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::net::notice::{NOTICE_AFTER, tell};
use crate::panics::{caught, message};

/// Requests wait; what takes time is the checksum of what is put.
const THREADS: usize = 2;

/// One for the process: it is never dropped, which no asynchronous thread may do.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Runs a request, and waits for its end. Unlike `block_on`, any thread may do so.
///
/// # Errors
/// If there are no threads to run it on.
pub fn wait<T: Send + 'static>(request: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let (done, answer) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        // Whoever asked waits for it.
        let _ = done.send(request.await);
    });
    let panicked = || Error::fatal("a request to S3 panicked");
    match answer.recv_timeout(NOTICE_AFTER) {
        Err(RecvTimeoutError::Timeout) => {
            tell("waiting for an answer of the S3 server");
            answer.recv().map_err(|_| panicked())
        }
        told => told.map_err(|_| panicked()),
    }
}

fn runtime() -> Result<&'static Runtime> {
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
            .thread_name("waterspout-s3")
            .enable_all()
            .build()
    };
    // Where there are no threads left it panics.
    let made = caught(build).map_err(|panic| {
        Error::no_room(format!("no threads for S3: {}", message(panic.as_ref())))
    })?;
    let made = made.map_err(|error| Error::no_room("can't start threads for S3").because(error))?;
    Ok(RUNTIME.get_or_init(|| made))
}
