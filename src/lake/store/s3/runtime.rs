//! Runs requests to S3 for threads that wait for them.

use std::sync::mpsc::{self, RecvTimeoutError};

use crate::error::{Error, Result};
use crate::net::notice::{NOTICE_AFTER, tell};
use crate::net::runtime::runtime;

/// Runs a request, and waits for its end. Unlike `block_on`, any thread may call it.
///
/// # Errors
/// If no threads exist to run it on.
pub(crate) fn wait<T: Send + 'static>(
    request: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    let (done, answer) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        // The caller waits for the result.
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
