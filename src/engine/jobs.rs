//! Runs jobs that wait for a disk or a server, on threads beside the task's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{Sender, unbounded};

use super::bolt_actor::panic_message;
use super::policy::backoff;
use crate::epoch::Job;
use crate::error::{Error, Kind, NO_ROOM_RETRY, Result};
use crate::panics::caught;
use crate::protocol::{Alive, Meter, Report, Reporter, log};

/// A thread that runs a task's jobs one after the other. At most three are queued: the coordinator
/// handles one epoch at a time, has one commit in progress for each sink task, and forgets only
/// segments that a commit has delivered.
pub(crate) struct JobThread {
    queue: Sender<Box<dyn FnOnce() + Send>>,
    stopped: Arc<AtomicBool>,
    meter: Arc<Meter>,
    reporter: Reporter,
    /// The kind of its jobs, for people: `commit`.
    part: &'static str,
}

impl JobThread {
    /// Starts the thread, which ends after this value is dropped and the running job is done.
    pub(crate) fn start(
        part: &'static str,
        name: &str,
        meter: Arc<Meter>,
        reporter: Reporter,
        alive: Arc<Alive>,
    ) -> Result<Self> {
        let (queue, jobs) = unbounded::<Box<dyn FnOnce() + Send>>();
        let span = tracing::Span::current();
        thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                log::stay_in(span);
                jobs.into_iter().for_each(|job| job());
                drop(alive);
            })
            .map_err(|error| {
                Error::fatal(format!("can't start the thread \"{name}\"")).because(error)
            })?;
        Ok(Self { queue, stopped: Arc::new(AtomicBool::new(false)), meter, reporter, part })
    }

    /// Runs a job until it succeeds or fails for good. Passes the result to `done` and sends the
    /// report that `done` returns, if any.
    pub(crate) fn run<T: 'static>(
        &self,
        mut job: Job<T>,
        done: impl FnOnce(T) -> Option<Report> + Send + 'static,
    ) {
        let (stopped, meter) = (Arc::clone(&self.stopped), Arc::clone(&self.meter));
        let (reporter, part) = (self.reporter.clone(), self.part);
        let work = Box::new(move || {
            let report = match caught(|| until_done(&mut job, &stopped, &meter, part)) {
                Ok(None) => return,
                Ok(Some(Ok(result))) => done(result),
                Ok(Some(Err(error))) => Some(Report::Failed(error.chain())),
                Err(panic) => {
                    Some(Report::Panicked { message: panic_message(panic.as_ref()), tuple: None })
                }
            };
            if let Some(report) = report {
                reporter.send(report);
            }
        });
        // The thread ends only after this sender is dropped, so sending can't fail.
        let _ = self.queue.send(work);
    }
}

impl Drop for JobThread {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

/// Repeats a job after each transient error without limit: a promise is never given up. Returns
/// `None` if the task is gone.
fn until_done<T>(
    job: &mut Job<T>,
    stopped: &AtomicBool,
    meter: &Meter,
    part: &str,
) -> Option<Result<T>> {
    let mut retries = 0;
    while !stopped.load(Ordering::Relaxed) {
        let error = match job() {
            Err(error) if matches!(error.kind(), Kind::Transient | Kind::NoRoom) => error,
            result => {
                if retries > 0 {
                    meter.set_trouble(part, None);
                }
                return Some(result);
            }
        };
        meter.add_failed();
        meter.set_trouble(part, Some(error.chain()));
        thread::sleep(if error.kind() == Kind::NoRoom {
            NO_ROOM_RETRY
        } else {
            backoff(retries, rand::random())
        });
        retries += 1;
    }
    None
}

/// Runs a job on a thread, or immediately if the sink doesn't block.
pub(crate) fn run_job<T: 'static>(
    thread: Option<&JobThread>,
    mut job: Job<T>,
    reporter: &Reporter,
    done: impl FnOnce(T) -> Option<Report> + Send + 'static,
) {
    if let Some(thread) = thread {
        return thread.run(job, done);
    }
    let report = match job() {
        Ok(result) => done(result),
        Err(error) => Some(Report::Failed(error.chain())),
    };
    if let Some(report) = report {
        reporter.send(report);
    }
}
