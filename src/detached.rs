//! Work that somebody waits for only as long as it makes sense: a server that swallows requests
//! mustn't hold up the task that asked it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};

/// How often a waiting call checks whether its task has stopped. Shorter costs wake-ups.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// Starts work on threads of its own, and waits for it until [`stop`](Self::stop).
#[derive(Debug, Default)]
pub struct Detached {
    is_stopped: AtomicBool,
}

impl Detached {
    /// The task ends: from here on nobody waits. What is under way may come to its end or not, and
    /// has to be of a kind that does no harm later.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// True if nobody waits any more.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Does work on a thread with this name, and returns its result.
    ///
    /// # Errors
    /// Those of the work; transient if the task stopped in the meantime; fatal if the work
    /// panicked; if there is no thread to be had.
    pub fn run<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, result) = mpsc::channel();
        let report = move || {
            // Nobody waits any more where the task has stopped.
            let _ = done.send(work());
        };
        thread::Builder::new().name(name.into()).spawn(report).map_err(|cause| {
            Error::no_room(format!("can't start the thread \"{name}\"")).because(cause)
        })?;
        loop {
            match result.recv_timeout(STOP_CHECK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::fatal(format!("the thread \"{name}\" panicked")));
                }
                Err(RecvTimeoutError::Timeout) if self.is_stopped() => {
                    return Err(Error::transient(format!(
                        "the task stopped while it waited for \"{name}\""
                    )));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_result_an_error_and_a_panic_come_back() {
        let detached = Detached::default();
        assert_eq!(detached.run("seven", || Ok(7)).unwrap(), 7);
        let error = detached.run::<()>("refuses", || Err(Error::rejected("no"))).unwrap_err();
        assert_eq!((error.kind(), error.chain()), (Kind::Rejected, "no".into()));
        let error = detached.run("panics", || -> Result<()> { panic!("oh") }).unwrap_err();
        assert_eq!(error.chain(), "the thread \"panics\" panicked");
    }

    #[test]
    fn nobody_waits_for_a_server_once_the_task_has_stopped() {
        let detached = Arc::new(Detached::default());
        let (release, blocked) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let waiting = {
            let detached = Arc::clone(&detached);
            thread::spawn(move || {
                detached.run("hangs", move || {
                    begun.send(()).unwrap();
                    let _ = blocked.recv();
                    Ok(())
                })
            })
        };
        has_begun.recv().unwrap();
        detached.stop();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), Kind::Transient);
        drop(release);
    }
}
