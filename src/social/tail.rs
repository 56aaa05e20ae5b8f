//! What the records of a source's spool hold, and what its tail tells a start.
//!
//! A record is some posts in a row, one on each line. Its cursor says where the parts of the source
//! stand behind them: `+{"part":"cursor"}` what changed, or `=` for a record whose body says where
//! all parts stand. So reading the spool's tail tells everything that a start needs: where to go
//! on, and what was seen.

use std::collections::BTreeMap;

use bytes::Bytes;
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::post::{Post, PostStream};
use crate::spool::Record;

use super::identity::identity;
use super::schedule::Schedule;
use super::seen::Seen;
use super::versions::Versions;
use crate::gaps::{Gap, GapLedger};

/// What the spool's tail tells, and what was added since.
#[derive(Default)]
pub(super) struct Tail {
    /// Where each part stands.
    pub progress: BTreeMap<String, String>,
    /// What of it isn't in the spool yet.
    pub changed: BTreeMap<String, String>,
    pub seen: Seen,
    pub versions: Versions,
}

/// Where parts stand, as records have it.
pub(super) fn json(progress: &BTreeMap<String, String>) -> String {
    serde_json::to_string(progress).expect("texts are written into memory")
}

impl Tail {
    /// Takes in a record; entries that the ledger lacks are added to it.
    ///
    /// # Errors
    /// If it is none of a source, or the ledger can't be written.
    pub fn read(
        &mut self,
        record: &Record,
        ledger: &mut GapLedger,
        schedule: &mut Schedule,
        now: OffsetDateTime,
    ) -> Result<()> {
        let damaged = || {
            Error::fatal(format!(
                "the spool's cursor \"{}\" is none of a source",
                record.cursor.escape_ascii()
            ))
        };
        let (sign, rest) = record.cursor.split_first().ok_or_else(damaged)?;
        let body = if *sign == b'=' { &record.post[..] } else { rest };
        let progress: BTreeMap<String, String> =
            serde_json::from_slice(body).map_err(|cause| damaged().because(cause))?;
        if *sign == b'=' {
            self.progress = progress;
            return Ok(());
        }
        self.progress.extend(progress);
        for post in posts(&record.post) {
            self.seen.insert(identity(&post));
            self.versions.note(&post);
            if let Some(gap) = Gap::of(&post) {
                ledger.add(&gap)?;
            }
            if !schedule.is_off() && post.stream() == PostStream::Default {
                plan(schedule, &post, now);
            }
        }
        Ok(())
    }
}

fn plan(schedule: &mut Schedule, post: &Post, now: OffsetDateTime) {
    if let (Some(id), Some(received)) = (post.reread_id(), post.received_at()) {
        schedule.plan(&id, received, now);
    }
}

/// The posts of a record.
pub(super) fn posts(record: &Bytes) -> impl Iterator<Item = Post> {
    let lines = record.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Post::trusted(record.slice_ref(line)))
}
