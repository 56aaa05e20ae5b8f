//! A feed for the tests of a platform: on a folder and a clock of its own, without a topology.

use std::sync::Arc;
use std::sync::PoisonError;

use tempfile::TempDir;
use time::OffsetDateTime;

use super::common::Common;
use super::feed::{Feed, Parts, Says};
use super::ledger::Ledger;
use super::tail::posts;
use crate::clock::ManualClock;
use crate::error::Result;
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
    /// The first process.
    pub fn start(kind: &'static str, common: Common, now: OffsetDateTime) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), kind, common, now)
    }

    /// The next process, after this one was killed.
    pub fn restart(self, kind: &'static str, common: Common, now: OffsetDateTime) -> Self {
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
            ledger: Ledger::open(Some(folder.path()), "trial").unwrap(),
        };
        Self { feed: Feed::open(parts, 0).unwrap(), clock, spool, says, folder }
    }

    /// All posts of a kind that are in the spool.
    pub fn posts(&self, kind: &str) -> Vec<Post> {
        let records = self.spool.records_from_oldest(0).map(Result::unwrap);
        let records = records.filter(|record| record.cursor.first() == Some(&b'+'));
        records.flat_map(|record| posts(&record.post).collect::<Vec<_>>()).filter(|post| post.kind() == kind).collect()
    }

    /// What the source is doing.
    pub fn state(&self) -> String {
        self.says.state.borrow().clone()
    }

    /// What it said so far.
    pub fn messages(&self) -> Vec<String> {
        self.says.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
