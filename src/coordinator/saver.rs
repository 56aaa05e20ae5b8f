//! The thread that writes checkpoints, so that the coordinator never waits for a disk.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, bounded};

use crate::checkpoint::{Changes, StateStore};
use crate::engine::{Alive, NO_ROOM_RETRY};
use crate::error::{Error, Kind, Result};
use crate::fault::point;

/// What the thread reports.
pub enum Said {
    /// This epoch is durable.
    Saved(u64),
    /// It isn't yet: the disk is full. It is tried again.
    Waits(String),
    /// It can't be saved.
    Failed(String),
}

/// Starts the thread. It ends when the sender is dropped; `alive` is gone with it.
///
/// # Errors
/// If there is no thread to be had.
pub fn start(
    store: Arc<dyn StateStore>,
    report: impl Fn(Said) + Send + 'static,
    alive: Arc<Alive>,
) -> Result<Sender<Changes>> {
    // One epoch at a time.
    let (sender, epochs) = bounded::<Changes>(1);
    let work = move || {
        for changes in epochs {
            report(save(&*store, &changes, &report));
        }
        drop(alive);
    };
    let thread = thread::Builder::new().name("checkpoints".into()).spawn(work);
    thread.map_err(|error| Error::fatal("can't start the thread that writes checkpoints").because(error))?;
    Ok(sender)
}

fn save(store: &dyn StateStore, changes: &Changes, report: &impl Fn(Said)) -> Said {
    loop {
        let saved = point("coordinator.save").map_err(|cause| Error::file("can't save the checkpoint", cause));
        match saved.and_then(|()| store.save(changes)) {
            Ok(()) => return Said::Saved(changes.epoch),
            Err(error) if error.kind() == Kind::NoRoom => report(Said::Waits(error.chain())),
            Err(error) => return Said::Failed(error.chain()),
        }
        thread::sleep(NO_ROOM_RETRY);
    }
}
