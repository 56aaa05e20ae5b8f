//! The records of a source's spool, and the state that a start reads from the spool's tail.
//!
//! A record is some posts in a row, one on each line. Its cursor has the cursors of the source's
//! parts behind these posts: `+{"part":"cursor"}` has those that changed; `=` marks a record whose
//! body has the cursors of all parts. So the spool's tail tells everything that a start needs: the
//! position from which to go on, and the posts that were seen.

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

/// The state that the spool's tail tells, and changes since then.
#[derive(Default)]
pub(super) struct Tail {
    /// The cursor of each part.
    pub progress: BTreeMap<String, String>,
    /// The cursors that aren't in the spool yet.
    pub changed: BTreeMap<String, String>,
    pub seen: Seen,
    pub versions: Versions,
}

/// Writes cursors in the form that records have.
pub(super) fn json(progress: &BTreeMap<String, String>) -> String {
    serde_json::to_string(progress).expect("texts are written into memory")
}

impl Tail {
    /// Reads a record; gaps that the ledger lacks are added to it.
    ///
    /// # Errors
    /// If the record isn't from a source, or if the ledger can't be written.
    pub(crate) fn read(
        &mut self,
        record: &Record,
        ledger: &mut GapLedger,
        schedule: &mut Schedule,
        now: OffsetDateTime,
    ) -> Result<()> {
        let damaged = || {
            Error::fatal(format!(
                "the spool's cursor \"{}\" isn't a source's cursor",
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

/// Returns the posts of a record.
pub(super) fn posts(record: &Bytes) -> impl Iterator<Item = Post> {
    let lines = record.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Post::trusted(record.slice_ref(line)))
}
