//! A feed for the tests of a platform, with its own folder and clock, without a topology.

use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use tempfile::TempDir;
use time::OffsetDateTime;

use super::super::common::Common;
use super::super::feed::{Feed, Parts, Says};
use super::super::tail::posts;
use crate::clock::ManualClock;
use crate::error::Result;
use crate::gaps::GapLedger;
use crate::post::Post;
use crate::spool::Spool;

/// A feed as one process has it.
pub(crate) struct Trial {
    pub feed: Feed,
    pub clock: Arc<ManualClock>,
    spool: Spool,
    says: Arc<Says>,
    folder: TempDir,
}

impl Trial {
    /// Starts the first process.
    pub(crate) fn start(kind: &'static str, common: Common, now: OffsetDateTime) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), kind, common, now)
    }

    /// Starts the next process, after this one was killed.
    pub(crate) fn restart(self, kind: &'static str, common: Common, now: OffsetDateTime) -> Self {
        let Self { feed, spool, folder, .. } = self;
        drop((feed, spool));
        Self::in_folder(folder, kind, common, now)
    }

    fn in_folder(folder: TempDir, kind: &'static str, common: Common, now: OffsetDateTime) -> Self {
        let clock = ManualClock::at(now);
        let (spool, _) = Spool::open(&folder.path().join("spool"), 0, common.spool).unwrap();
        let says = Arc::new(Says::default());
        let parts = Parts {
            spout: "trial".into(),
            kind,
            common,
            clock: clock.clone(),
            spool: spool.clone(),
            says: Arc::clone(&says),
            ledger: GapLedger::open(Some(folder.path()), "trial").unwrap(),
            secrets: crate::secret::Redactor::default(),
        };
        Self { feed: Feed::open(parts, 0).unwrap(), clock, spool, says, folder }
    }

    /// Returns all posts in the spool, in order.
    pub(crate) fn all(&self) -> Vec<Post> {
        let records = self.spool.records_from_oldest(0).map(Result::unwrap);
        let records = records.filter(|record| record.cursor.first() == Some(&b'+'));
        records.flat_map(|record| posts(&record.post).collect::<Vec<_>>()).collect()
    }

    /// Returns the posts of a kind.
    pub(crate) fn posts(&self, kind: &str) -> Vec<Post> {
        self.all().into_iter().filter(|post| post.kind() == kind).collect()
    }

    /// Returns the members under the kind of each post.
    pub(crate) fn bodies(&self, kind: &str) -> Vec<serde_json::Value> {
        self.posts(kind).iter().map(|post| serde_json::from_slice(post.body()).unwrap()).collect()
    }

    /// Returns the current activity of the source.
    pub(crate) fn state(&self) -> String {
        self.says.state.borrow().clone()
    }

    /// Returns the messages so far.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.says.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs a test as a capture does: on one thread, with I/O and time. A test that hangs fails.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let in_time =
        async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it hangs") };
    crate::social::runtime::block_on(in_time).unwrap();
}

/// Waits until a condition holds. Everything else on the thread continues.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}
