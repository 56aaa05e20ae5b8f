//! The runtime that a source reads the network on.

use std::future::Future;

use crate::error::{Error, Result};

/// Runs a future on a runtime of its own.
///
/// # Errors
/// If there can be none.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| {
        Error::fatal("no runtime could be started for the network").because(cause)
    })?;
    Ok(tokio::task::LocalSet::new().block_on(&runtime, future))
}
