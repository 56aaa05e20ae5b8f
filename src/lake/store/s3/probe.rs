//! Checks that a bucket accepts the requests of an upload before the first upload.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::ConditionalPut;
use crate::error::{Error, Kind, Result};
use crate::lake::store::{Put, Store};

/// The folder of the objects that a probe puts. Its name begins with `_`, so that no reader takes
/// it for a partition.
const PROBES: &str = "_probe";

/// The number of attempts for a request with a transient error.
const TRIES_MAX: usize = 3;

/// The number of attempts while the result is unknown, and the first pause. The pauses double each
/// time and sum up to a quarter of an hour. By then uploads have reported why they wait.
const START_TRIES_MAX: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Lists, puts twice and deletes a separate object.
///
/// # Errors
/// If the bucket doesn't exist, refuses access, or doesn't have a conditional PUT that keeps an
/// existing object.
pub fn probe(store: &dyn Store, conditional_put: ConditionalPut) -> Result<()> {
    let folder = format!("{PROBES}/");
    again(|| store.list(&folder, None, 1))?;
    let key = format!("{folder}{}", Uuid::new_v4());
    let put = || again(|| store.put(&key, Bytes::from_static(b"waterspout validate --online\n")));
    let twice = put().and_then(|_| put());
    // Deleted even if the second put failed, so that no object is left.
    let deleted = again(|| store.delete(&key));
    match twice? {
        Put::Exists => {}
        Put::Stored if conditional_put == ConditionalPut::HeadThenPut => {
            return Err(Error::fatal(format!(
                "\"{}\" was put and can't be seen by a HEAD: the server isn't consistent",
                store.address(&key)
            )));
        }
        Put::Stored => {
            return Err(Error::fatal(format!(
                "\"{}\": this server ignores the condition of a PUT (If-None-Match) and replaces what is there: set \
                 conditional_put: HeadThenPut in the S3 sink, which is safe as long as nothing else writes the same keys",
                store.address(&key)
            )));
        }
    }
    deleted.map_err(|cause| {
        let what =
            format!("an object of the check couldn't be deleted: \"{}\"", store.address(&key));
        Error::fatal(what).because(cause.chain())
    })
}

/// A check at the start of a capture that the server has a conditional PUT. It runs on a separate
/// thread, so an unreachable server delays nothing. The object that it puts is useful by itself:
/// the note on the writer. The first start of a state leaves it in the bucket, and later starts
/// learn from the server that it exists. So no object has to be deleted, which a writer may not be
/// allowed to do. Dropping the probe ends the thread.
pub struct StartProbe {
    found: Arc<Mutex<Option<Error>>>,
    /// No message is ever sent: dropping it tells the thread to end.
    _end: mpsc::Sender<()>,
}

impl StartProbe {
    /// Starts the check, which puts this object.
    ///
    /// # Errors
    /// If the thread can't be started.
    pub fn begin(store: Arc<dyn Store>, (key, bytes): (String, Bytes)) -> Result<Self> {
        let found = Arc::new(Mutex::new(None));
        let (end, ended) = mpsc::channel();
        let finding = Arc::clone(&found);
        thread::Builder::new()
            .name("s3-probe".into())
            .spawn(move || {
                let put = || store.put(&key, bytes.clone());
                let says =
                    ask(put, |pause| ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout));
                *finding.lock().unwrap_or_else(PoisonError::into_inner) = says;
            })
            .map_err(|cause| {
                Error::no_room("can't start the thread that checks the bucket").because(cause)
            })?;
        Ok(Self { found, _end: end })
    }

    /// Returns the reason why no upload can ever succeed, once it is known. Returns it only once.
    pub fn take_refusal(&self) -> Option<Error> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Repeats the put until the server answers. Returns a fatal error, or `None` if the put succeeded
/// or uploads will find out. `pauses` waits for the given time, and returns false if the result
/// isn't needed any more.
fn ask(put: impl Fn() -> Result<Put>, mut pauses: impl FnMut(Duration) -> bool) -> Option<Error> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..START_TRIES_MAX {
        match put() {
            Ok(_) => return None,
            Err(error) if error.kind() == Kind::Transient => {}
            Err(error) => return Some(error),
        }
        if !pauses(pause) {
            return None;
        }
        pause *= 2;
    }
    None
}

fn again<T>(request: impl Fn() -> Result<T>) -> Result<T> {
    for _ in 1..TRIES_MAX {
        match request() {
            Err(error) if error.kind() == Kind::Transient => {}
            other => return other,
        }
    }
    request()
}

#[cfg(test)]
mod tests {
    use super::super::super::memory::MemoryStore;
    use super::*;

    #[test]
    fn a_probe_leaves_nothing() {
        let store = MemoryStore::default();
        probe(&store, ConditionalPut::IfNoneMatch).unwrap();
        assert_eq!(store.list("", None, 9).unwrap(), []);
    }

    #[test]
    fn it_is_asked_until_the_server_says_something() {
        let busy = || Err(Error::transient("busy"));
        let mut pauses = Vec::new();
        let says = ask(busy, |pause| {
            pauses.push(pause.as_secs());
            pauses.len() < 4
        });
        assert!(says.is_none() && pauses == [1, 2, 4, 8], "{pauses:?}");
        assert!(ask(busy, |_| true).is_none(), "uploads find out");
        assert!(ask(|| Ok(Put::Exists), |_| false).is_none());
        assert!(
            ask(|| Err(Error::fatal("501")), |_| false).is_some_and(|error| error.chain() == "501")
        );
    }
}
