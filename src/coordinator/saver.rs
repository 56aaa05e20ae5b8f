//! The thread that writes checkpoints, so that the coordinator never waits for a disk.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::checkpoint::{Changes, StateStore};
use crate::error::{Error, Kind, NO_ROOM_RETRY, Result};
use crate::fault::point;
use crate::panics::{caught, message};
use crate::protocol::Alive;

/// The interval at which the store is checked while there is nothing to save. A check takes two
/// system calls.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// A report of the thread.
pub enum Said {
    /// This epoch is durable.
    Saved(u64),
    /// The epoch isn't durable yet, because the disk is full. Saving is tried again.
    Waits(String),
    /// The epoch can't be saved.
    Failed(String),
}

/// Starts the thread, which ends when the sender is dropped, and then drops `alive`.
///
/// # Errors
/// If the operating system can't create a thread.
pub(crate) fn start(
    store: Arc<dyn StateStore>,
    report: impl Fn(Said) + Send + 'static,
    alive: Arc<Alive>,
) -> Result<Sender<Changes>> {
    // One epoch at a time.
    let (sender, epochs) = bounded::<Changes>(1);
    let work = move || {
        loop {
            match epochs.recv_timeout(CHECK_EVERY) {
                Ok(changes) => report(save(&*store, &changes, &report)),
                Err(RecvTimeoutError::Disconnected) => break,
                // Without this check, a topology without data would never notice that its state was
                // deleted.
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = store.check()
                        && error.kind() == Kind::Fatal
                    {
                        report(Said::Failed(error.chain()));
                        break;
                    }
                }
            }
        }
        drop(alive);
    };
    let thread = thread::Builder::new().name("checkpoints".into()).spawn(work);
    thread.map_err(|error| {
        Error::fatal("can't start the thread that writes checkpoints").because(error)
    })?;
    Ok(sender)
}

fn save(store: &dyn StateStore, changes: &Changes, report: &impl Fn(Said)) -> Said {
    loop {
        let saved = point("coordinator.save")
            .map_err(|cause| Error::file("can't save the checkpoint", cause));
        // The database is a library. If it panics over something on the disk, the topology ends
        // with that reason.
        let save = || saved.and_then(|()| store.save(changes));
        let saved = caught(save).unwrap_or_else(|panic| {
            let said = message(panic.as_ref());
            Err(Error::fatal(format!("can't save the checkpoint: the database panicked: {said}")))
        });
        match saved {
            Ok(()) => return Said::Saved(changes.epoch),
            Err(error) if error.kind() == Kind::NoRoom => report(Said::Waits(error.chain())),
            Err(error) => return Said::Failed(error.chain()),
        }
        thread::sleep(NO_ROOM_RETRY);
    }
}
