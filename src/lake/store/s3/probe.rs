//! Whether a bucket takes what an upload will do, before one has to.

use bytes::Bytes;
use uuid::Uuid;

use super::ConditionalPut;
use crate::error::{Error, Kind, Result};
use crate::lake::store::{Put, Store};

/// The folder of the objects that a probe puts: its name begins with `_`, so that no reader takes it for a partition.
const PROBES: &str = "_probe";

/// How often a request is made that failed for now.
const TRIES_MAX: usize = 3;

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
}
