//! Commands that attach to a running topology over its socket (`crate::control`).

mod place;

use std::path::Path;

use serde::de::DeserializeOwned;

use super::run::drain_watch::awaited;
use super::stderr;
use crate::error::Result;
use crate::metrics::Status;

pub(crate) use crate::control::{Control, LogLevels, Rebalanced, Request, Seen};
pub(crate) use place::{Place, state_folder};

/// Asks whoever runs with this state folder, and says what a drain waits for.
///
/// # Errors
/// If nobody runs there, it shows no life, or what it answers is an error.
pub(crate) fn ask<A: DeserializeOwned>(state: &Path, request: &Request) -> Result<A> {
    crate::control::ask(state, request, &say_awaited)
}

/// Says what a topology that takes long waits for.
fn say_awaited(status: &Status) {
    if let Some(waits_for) = awaited(status) {
        stderr::say(&format!("the topology waits for {waits_for}"));
    }
}
