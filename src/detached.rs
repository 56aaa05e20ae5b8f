//! Runs work on separate threads. A caller waits only until its task stops or a limit is reached,
//! so a server that doesn't answer can't delay the end of a task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// The interval at which a waiting call checks if its task has stopped. A shorter interval costs
/// more wake-ups.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// A starter of work on separate threads, which waits for the work until [`stop`](Self::stop).
#[derive(Debug, Default)]
pub struct Detached {
    is_stopped: AtomicBool,
}

impl Detached {
    /// Records that the task ends: from here on no call waits. Work in progress may finish or not,
    /// and must do no harm if it finishes later.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Returns true if calls don't wait, because the task has stopped.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Runs work on a thread with this name, and returns its result.
    ///
    /// # Errors
    /// If the work fails; transient if the task stopped first; fatal if the work panicked; `NoRoom`
    /// if no thread can be started.
    pub fn run<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (done, results) = mpsc::channel();
        spawn(name, done, work)?;
        self.next(&results, None).unwrap_or_else(|| Err(stopped(name)))
    }

    /// Runs work on a thread with this name, and waits for it no longer than `limit`. Returns
    /// `None` if the task stopped or the limit was reached; the work may still finish.
    ///
    /// # Errors
    /// If the work fails; fatal if the work panicked; `NoRoom` if no thread can be started.
    pub fn run_within<T: Send + 'static>(
        &self,
        limit: Duration,
        name: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (done, results) = mpsc::channel();
        spawn(name, done, work)?;
        self.next(&results, Some(limit)).transpose()
    }

    /// Runs the same work on several threads with this name, and waits for all of them.
    ///
    /// # Errors
    /// If the work fails on a thread, where a fatal error takes precedence; transient if the task
    /// stopped first; fatal if the work panicked; `NoRoom` if no thread can be started.
    pub fn run_on_threads(
        &self,
        threads: usize,
        name: &str,
        work: &Arc<impl Fn() -> Result<()> + Send + Sync + 'static>,
    ) -> Result<()> {
        let (done, results) = mpsc::channel();
        for _ in 0..threads {
            let work = Arc::clone(work);
            spawn(name, done.clone(), move || work())?;
        }
        drop(done);
        let mut worst = Ok(());
        for _ in 0..threads {
            match self.next(&results, None) {
                None => return Err(stopped(name)),
                Some(Err(error)) if worst.is_ok() || error.kind() == Kind::Fatal => {
                    worst = Err(error);
                }
                Some(_) => {}
            }
        }
        worst
    }

    /// Returns the next result, or `None` if the task stopped or the limit was reached.
    fn next<T>(&self, results: &Receiver<Result<T>>, limit: Option<Duration>) -> Option<Result<T>> {
        let mut waited = Duration::ZERO;
        loop {
            match results.recv_timeout(STOP_CHECK) {
                Ok(result) => return Some(result),
                // Each thread sends a result, even if it panics; see `End`.
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => waited += STOP_CHECK,
            }
            if self.is_stopped() || limit.is_some_and(|limit| waited >= limit) {
                return None;
            }
        }
    }
}

fn stopped(name: &str) -> Error {
    Error::transient(format!("the task stopped while it waited for \"{name}\""))
}

/// Starts a thread that sends the result of its work.
fn spawn<T: Send + 'static>(
    name: &str,
    done: Sender<Result<T>>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<()> {
    let end = End { name: name.to_owned(), done, result: None };
    let span = tracing::Span::current();
    let report = move || end.with(span.in_scope(work));
    thread::Builder::new().name(name.into()).spawn(report).map_err(|cause| {
        Error::no_room(format!("can't start the thread \"{name}\"")).because(cause)
    })?;
    Ok(())
}

/// The end of a thread, which sends its result even if it panicked.
struct End<T> {
    name: String,
    done: Sender<Result<T>>,
    result: Option<Result<T>>,
}

impl<T> End<T> {
    fn with(mut self, result: Result<T>) {
        self.result = Some(result);
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let result = self
            .result
            .take()
            .unwrap_or_else(|| Err(Error::fatal(format!("the thread \"{}\" panicked", self.name))));
        // If the task has stopped, no caller is waiting.
        let _ = self.done.send(result);
    }
}

/// The bound on the memory of all work in progress.
#[derive(Debug)]
pub struct UnderWay {
    bytes_max: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// Memory that is in use until this value is dropped.
#[derive(Debug)]
#[must_use]
pub struct MemoryInUse<'a> {
    under_way: &'a UnderWay,
    bytes: u64,
}

impl UnderWay {
    /// Creates a bound of this many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, used: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until this many bytes fit beside the memory in use, or until no other memory is in
    /// use: a piece that is larger than the bound is processed alone.
    pub fn take(&self, bytes: u64) -> MemoryInUse<'_> {
        let is_full = |used: &mut u64| *used > 0 && *used + bytes > self.bytes_max;
        let waited = self.freed.wait_while(self.used(), is_full);
        *waited.unwrap_or_else(PoisonError::into_inner) += bytes;
        MemoryInUse { under_way: self, bytes }
    }

    /// Locks the number of used bytes, even after a panic: the number is never left half-changed.
    fn used(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MemoryInUse<'_> {
    fn drop(&mut self) {
        *self.under_way.used() -= self.bytes;
        self.under_way.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn of_several_threads_a_fatal_error_or_a_panic_counts() {
        let detached = Detached::default();
        let calls = Arc::new(Mutex::new(0));
        let work = |fails: fn(i32) -> Result<()>| {
            let calls = Arc::clone(&calls);
            Arc::new(move || {
                let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                *calls += 1;
                fails(*calls)
            })
        };
        detached.run_on_threads(3, "works", &work(|_| Ok(()))).unwrap();
        let fails = work(|call| match call {
            4 => Err(Error::transient("busy")),
            5 => Err(Error::fatal("no")),
            _ => Ok(()),
        });
        let error = detached.run_on_threads(3, "fails", &fails).unwrap_err();
        assert_eq!(error.chain(), "no");
        let panics = work(|call| if call == 8 { panic!("oh") } else { Ok(()) });
        let error = detached.run_on_threads(3, "panics", &panics).unwrap_err();
        assert_eq!(error.chain(), "the thread \"panics\" panicked");
        assert_eq!(*calls.lock().unwrap_or_else(PoisonError::into_inner), 9);
    }

    #[test]
    fn what_takes_too_long_is_left_to_itself() {
        let detached = Detached::default();
        let (release, blocked) = mpsc::channel::<()>();
        let hangs = move || {
            let _ = blocked.recv();
            Ok(())
        };
        assert_eq!(detached.run_within(STOP_CHECK, "hangs", hangs).unwrap(), None);
        drop(release);
        let limit = Duration::from_secs(60);
        assert_eq!(detached.run_within(limit, "seven", || Ok(7)).unwrap(), Some(7));
        detached.run_within(limit, "no", || Err::<(), _>(Error::rejected("no"))).unwrap_err();
    }

    #[test]
    fn memory_is_bounded_but_what_is_larger_goes_alone() {
        let under_way = UnderWay::new(100);
        let half = under_way.take(50);
        let rest = under_way.take(50);
        thread::scope(|scope| {
            let large = scope.spawn(|| under_way.take(200).bytes);
            assert!(!large.is_finished());
            drop((half, rest));
            assert_eq!(large.join().unwrap(), 200);
        });
        assert_eq!(*under_way.used(), 0);
    }
}
