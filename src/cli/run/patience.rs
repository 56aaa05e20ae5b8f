//! A start that takes long says what it is at.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::units;
use crate::clock::SystemClock;

/// How long a start may take without a word, and how often it says something then.
const SAYS_AFTER: Duration = Duration::from_secs(2);
const SAYS_EVERY: Duration = Duration::from_secs(5);

/// A start under way. It says so on standard error, until this is dropped.
pub struct Patience {
    _ended: Option<Sender<()>>,
}

impl Patience {
    /// Of a topology with its state in a folder.
    pub fn begin(topology: &str, state: &Path) -> Self {
        let (sender, ended) = channel::<()>();
        let bytes = state.join(crate::checkpoint::disk::DATABASE).metadata().map_or(0, |found| found.len());
        let what = format!(
            "starting {}: reading its state of {} in {}",
            units::plain(topology),
            units::bytes(bytes),
            units::plain(&state.to_string_lossy())
        );
        let clock = SystemClock::shared();
        let work = move || {
            let mut wait = SAYS_AFTER;
            while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                // Where standard error is closed there is nobody to tell.
                let _ = writeln!(std::io::stderr(), "{what}, {} s so far", clock.monotonic().as_secs());
                wait = SAYS_EVERY;
            }
        };
        // Without the thread it starts as well, and says nothing.
        let thread = thread::Builder::new().name("patience".into()).spawn(work);
        Self { _ended: thread.is_ok().then_some(sender) }
    }
}
