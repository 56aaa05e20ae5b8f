//! Whether a bucket takes what an upload will do, before one has to.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::ConditionalPut;
use crate::error::{Error, Kind, Result};
use crate::lake::store::{Put, Store};

/// The folder of the objects that a probe puts: its name begins with `_`, so that no reader takes
/// it for a partition.
const PROBES: &str = "_probe";

/// How often a request is made that failed for now.
const TRIES_MAX: usize = 3;

/// How often it is asked for while nobody knows, and how long the first pause may be. Each is twice
/// as long as the one before: a quarter of an hour in all. By then uploads have said why they wait.
const START_TRIES_MAX: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Lists, puts twice and deletes an object of its own.
///
/// # Errors
/// If the bucket isn't there, isn't let in, or has no conditional PUT that keeps what is there.
pub fn probe(store: &dyn Store, conditional_put: ConditionalPut) -> Result<()> {
    let folder = format!("{PROBES}/");
    again(|| store.list(&folder, None, 1))?;
    let key = format!("{folder}{}", Uuid::new_v4());
    let put = || again(|| store.put(&key, Bytes::from_static(b"waterspout validate --online\n")));
    let twice = put().and_then(|_| put());
    // Also where the second failed: nothing is to be left.
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
        let what = format!("an object for the check is left, \"{}\"", store.address(&key));
        Error::fatal(what).because(cause.chain())
    })
}

/// Finds out at the start of a capture whether the server has a conditional PUT, on a thread of its
/// own: a server that can't be reached holds up nobody. What is put for that is of use: the note of
/// who writes. The first start of a state leaves it, and to each later one the server says that it
/// is there, so nothing has to be deleted, which a writer may not be allowed to. Dropping it ends
/// the thread.
pub struct StartProbe {
    found: Arc<Mutex<Option<Error>>>,
    /// Never sent to: that it is gone is the sign to end.
    _end: mpsc::Sender<()>,
}

impl StartProbe {
    /// Begins to ask, by putting this object.
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
                Error::no_room("can't start a thread that asks the bucket").because(cause)
            })?;
        Ok(Self { found, _end: end })
    }

    /// Why nothing can ever be put there, once that is known. It is said once.
    pub fn take_refusal(&self) -> Option<Error> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Asks until the server has said something. Returns what is final, and nothing if all is well, or
/// if uploads will find out. `pauses` waits so long, and returns false if nobody wants to know any
/// more.
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
