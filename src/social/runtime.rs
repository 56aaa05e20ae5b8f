//! The runtime on which a source reads the network.

use std::future::Future;

use crate::error::{Error, Result};

/// Runs a future on a new runtime.
///
/// # Errors
/// If the runtime can't be started.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime
        .map_err(|cause| Error::fatal("can't start the runtime for the network").because(cause))?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
}
