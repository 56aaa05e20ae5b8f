//! A feed for the tests of a source: on a spool of its own, under a clock that a test moves.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::feed::{Feed, Parts, Says, posts};
use super::ledger::Ledger;
use super::platform::Platform;
use crate::clock::SharedClock;
use crate::post::Post;
use crate::spool::Spool;

/// A feed, and what is behind it. Opened again in the same folder it is what a restart finds.
pub(crate) struct TestFeed {
    pub feed: Feed,
    spool: Spool,
    says: Arc<Says>,
}

impl TestFeed {
    /// Opens one for a configuration.
    pub fn open<P: Platform>(platform: &P, folder: &TempDir, clock: SharedClock) -> Self {
        let common = platform.common();
        let (spool, _) = Spool::open(&folder.path().join("spool"), 0, common.spool).unwrap();
        let says = Arc::new(Says::default());
        let parts = Parts {
            spout: "test".into(),
            kind: P::KIND,
            common,
            clock,
            spool: spool.clone(),
            says: Arc::clone(&says),
            ledger: Ledger::open(Some(folder.path()), "test").unwrap(),
        };
        Self { feed: Feed::open(parts, 0).unwrap(), spool, says }
    }

    /// All posts that were flushed, in order.
    pub fn posts(&self) -> Vec<Post> {
        let records = self.spool.records_from_oldest(0).map(Result::unwrap);
        let with_posts = records.filter(|record| record.cursor.first() == Some(&b'+'));
        with_posts.flat_map(|record| posts(&record.post).collect::<Vec<_>>()).collect()
    }

    /// The same of one kind, as JSON of what stands under it.
    pub fn of_kind(&self, kind: &str) -> Vec<serde_json::Value> {
        let of = self.posts().into_iter().filter(|post| post.kind() == kind);
        of.map(|post| serde_json::from_slice(post.body()).unwrap()).collect()
    }

    /// What it shows that it is doing.
    pub fn state(&self) -> String {
        self.says.state.borrow().clone()
    }

    /// What it has said.
    pub fn said(&self) -> String {
        self.says.messages.lock().unwrap().join("\n")
    }
}

/// Runs a test as a capture does: on one thread, with I/O and time. One that hangs fails.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let in_time = async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it hangs") };
    super::capture::block_on(in_time).unwrap();
}

/// Waits until something is so. Everything else on the thread goes on meanwhile.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}
