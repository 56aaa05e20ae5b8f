//! The gap ledger: the periods in which posts may be missing, with the reasons. Entries are
//! appended and never changed; a gap that was filled is written again with the same id.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::post::Post;

/// The folder of a topology's state that holds the ledgers, one file for each spout.
pub(crate) const FOLDER: &str = "gaps";

/// A period in which posts may be missing: the body of a post of the kind `gap`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The gap's id, which stays the same when the gap is filled.
    pub id: String,
    /// The spout.
    pub spout: String,
    /// The kind of the posts.
    pub kind: String,
    /// The part of the source: a topic, a page, a hashtag; empty for the whole source.
    pub part: String,
    /// Posts from this time on may be missing.
    #[serde(with = "time::serde::rfc3339")]
    pub from: OffsetDateTime,
    /// Posts from this time on are complete again.
    #[serde(with = "time::serde::rfc3339")]
    pub to: OffsetDateTime,
    /// The reason.
    pub why: String,
    /// The estimated number of missing posts, by the rate before the gap; `None` if the rate isn't
    /// known.
    pub estimated_posts: Option<u64>,
    /// True if the missing posts were fetched later.
    pub filled: bool,
    /// The number of posts that were fetched for the gap.
    pub posts: u64,
    /// The time when this entry was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl Gap {
    /// Returns the gap as a post, for the stream `gaps`.
    pub(crate) fn post(&self) -> Result<Post> {
        let body = serde_json::to_vec(self)
            .map_err(|cause| Error::fatal("can't encode a gap").because(cause))?;
        Post::wrap("gap", &body).map_err(|what| Error::fatal("can't encode a gap").because(what))
    }

    /// Returns the gap that a post describes, if it describes one.
    pub(crate) fn of(post: &Post) -> Option<Self> {
        if post.kind() != "gap" {
            return None;
        }
        serde_json::from_slice(post.body()).ok()
    }
}

/// A spout's ledger: its newest entries by id, and its file.
pub(crate) struct GapLedger {
    /// The ledger's file; `None` if nothing is kept.
    path: Option<PathBuf>,
    gaps: BTreeMap<String, Gap>,
}

impl GapLedger {
    /// Opens the ledger of a component in a topology's state. Without state, the ledger is lost at
    /// the end of the process.
    ///
    /// # Errors
    /// If the ledger exists and can't be read.
    pub(crate) fn open(state: Option<&Path>, component: &str) -> Result<Self> {
        let path = state.map(|state| state.join(FOLDER).join(format!("{component}.ndjson")));
        let gaps = match &path {
            Some(path) if path.exists() => newest(read(path)?),
            _ => BTreeMap::new(),
        };
        Ok(Self { path, gaps })
    }

    /// Returns the gaps that aren't filled, the oldest first.
    pub(crate) fn open_gaps(&self) -> Vec<Gap> {
        let mut open: Vec<_> = self.gaps.values().filter(|gap| !gap.filled).cloned().collect();
        open.sort_by_key(|gap| gap.from);
        open
    }

    /// Returns the newest entry with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Gap> {
        self.gaps.get(id)
    }

    /// Appends an entry, unless the ledger has it, and syncs it.
    ///
    /// # Errors
    /// If the entry can't be written.
    pub(crate) fn add(&mut self, gap: &Gap) -> Result<()> {
        if self.gaps.get(&gap.id).is_some_and(|known| known.filled >= gap.filled) {
            return Ok(());
        }
        if let Some(path) = &self.path {
            append(path, gap).map_err(|cause| {
                Error::file(format!("can't write the gap ledger \"{}\"", path.display()), cause)
            })?;
        }
        self.gaps.insert(gap.id.clone(), gap.clone());
        Ok(())
    }
}

fn append(path: &Path, gap: &Gap) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut line = serde_json::to_vec(gap)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    if ends_inside_a_line(path)? {
        line.insert(0, b'\n');
    }
    file.write_all(&line)?;
    file.sync_data()
}

/// Returns true if a crash has left part of a line at the end.
fn ends_inside_a_line(path: &Path) -> std::io::Result<bool> {
    Ok(fs::read(path)?.last().is_some_and(|last| *last != b'\n'))
}

fn read(path: &Path) -> Result<Vec<Gap>> {
    let text = fs::read(path).map_err(|cause| {
        Error::file(format!("can't read the gap ledger \"{}\"", path.display()), cause)
    })?;
    // A line that was truncated by a crash isn't an entry; the entry is written again from the
    // spool.
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

fn newest(entries: Vec<Gap>) -> BTreeMap<String, Gap> {
    entries.into_iter().map(|gap| (gap.id.clone(), gap)).collect()
}

/// Returns the newest entry of every gap of a topology whose state is in this folder, by spout and
/// time.
///
/// # Errors
/// If a ledger can't be read.
pub fn ledger_entries(state: &Path) -> Result<Vec<Gap>> {
    let folder = state.join(FOLDER);
    let Ok(files) = fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut gaps = Vec::new();
    for file in files {
        let file = file
            .map_err(|cause| Error::file(format!("can't read \"{}\"", folder.display()), cause))?;
        gaps.extend(newest(read(&file.path())?).into_values());
    }
    gaps.sort_by(|a, b| (&a.spout, a.from, &a.id).cmp(&(&b.spout, b.from, &b.id)));
    Ok(gaps)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn gap(id: &str, filled: bool) -> Gap {
        let from = datetime!(2026-11-25 12:00:00 UTC);
        Gap {
            id: id.into(),
            spout: "tweets".into(),
            kind: "tweet".into(),
            part: String::new(),
            from,
            to: from + time::Duration::minutes(5),
            why: "the connection was lost".into(),
            estimated_posts: Some(7),
            filled,
            posts: 0,
            created_at: from,
        }
    }

    #[test]
    fn what_was_filled_stays_filled_also_behind_a_torn_line() {
        let state = tempfile::tempdir().unwrap();
        let mut ledger = GapLedger::open(Some(state.path()), "tweets").unwrap();
        ledger.add(&gap("a", false)).unwrap();
        ledger.add(&gap("a", true)).unwrap();
        ledger.add(&gap("a", false)).unwrap();
        let path = state.path().join("gaps/tweets.ndjson");
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"id\":\"torn");
        fs::write(&path, text).unwrap();
        let mut ledger = GapLedger::open(Some(state.path()), "tweets").unwrap();
        ledger.add(&gap("b", false)).unwrap();
        assert_eq!(ledger.open_gaps(), [gap("b", false)]);
        assert_eq!(ledger_entries(state.path()).unwrap(), [gap("a", true), gap("b", false)]);
    }

    #[test]
    fn a_gap_is_a_post_and_back() {
        let post = gap("a", false).post().unwrap();
        assert_eq!(post.kind(), "gap");
        assert_eq!(Gap::of(&post), Some(gap("a", false)));
    }
}
