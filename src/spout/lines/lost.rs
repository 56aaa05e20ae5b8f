//! Records lines that may be missing in the gap ledger, and reports them.

use time::OffsetDateTime;
use xxhash_rust::xxh3::xxh3_64;

use super::spout::LinesSpout;
use crate::error::Result;
use crate::gaps::{Gap, GapLedger};
use crate::spout::SpoutOutput;

/// The ledger of a spout of lines.
pub(super) struct LostLines {
    ledger: GapLedger,
    component: String,
    kind: String,
}

/// Lines of one file or stream that may be missing.
pub(super) struct Loss<'a> {
    /// The path of the file or stream.
    pub part: &'a str,
    /// A text that identifies this loss: it stays the same after a crash before the checkpoint that
    /// forgets the file.
    pub identity: &'a str,
    /// The time of the last read, in seconds since 1970; 0 if unknown.
    pub read_at: i64,
    pub why: &'a str,
}

impl LostLines {
    /// Opens the ledger of a spout.
    ///
    /// # Errors
    /// If it exists and can't be read.
    pub(crate) fn open(spout: &LinesSpout) -> Result<Self> {
        Ok(Self {
            ledger: GapLedger::open(spout.state.as_deref(), &spout.component)?,
            component: spout.component.clone(),
            kind: spout.posts.kind.as_deref().unwrap_or_default().to_owned(),
        })
    }

    /// Writes an entry into the ledger and reports it, unless an earlier run has done that.
    ///
    /// # Errors
    /// If the ledger can't be written.
    pub(crate) fn tell(&mut self, loss: &Loss<'_>, out: &SpoutOutput) -> Result<()> {
        let now = out.clock().now();
        let read_at = OffsetDateTime::from_unix_timestamp(loss.read_at);
        let read_at = read_at.ok().filter(|_| loss.read_at != 0);
        let id = format!("{}-{:016x}", self.component, xxh3_64(loss.identity.as_bytes()));
        if self.ledger.get(&id).is_some() {
            return Ok(());
        }
        self.ledger.add(&Gap {
            id,
            spout: self.component.clone(),
            kind: self.kind.clone(),
            part: loss.part.to_owned(),
            from: read_at.map_or(now, |read_at| read_at.min(now)),
            to: now,
            why: loss.why.to_owned(),
            estimated_posts: None,
            filled: false,
            posts: 0,
            created_at: now,
        })?;
        out.say(&format!("{}; posts may be missing, see `waterspout gaps`", loss.why));
        Ok(())
    }
}
