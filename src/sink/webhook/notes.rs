//! The notes file beside a segment's file records the rows that were sent and those that were
//! refused. After a restart, only rows with an open request are sent again.
//!
//! ```text
//! {"row":0}
//! {"row":1,"refused":"400 Bad Request","at":1700000000}
//! ```
//!
//! If a row has several lines, the first one counts. A line that a crash has cut off isn't JSON and
//! is ignored.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fault::point;
use crate::lake::disk::{failed, sync_folder};

/// A row that the endpoint permanently refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The reason for the refusal.
    pub why: String,
    /// The time of the refusal, in seconds since 1970.
    pub at: i64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    row: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
}

/// The notes on one segment.
pub(crate) struct SegmentNotes {
    path: PathBuf,
    /// The file, opened for the first note.
    file: Option<File>,
    /// Notes that aren't written yet, because the disk was full.
    unwritten: Vec<u8>,
    /// The rows that are handled; `None` means sent.
    done: BTreeMap<usize, Option<Refusal>>,
}

impl SegmentNotes {
    /// Reads the notes in this file, which need not exist.
    ///
    /// # Errors
    /// If the file can't be read.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let text = read(&path)?;
        // A cut-off line must not run into the next one.
        let is_torn = text.last().is_some_and(|last| *last != b'\n');
        let unwritten = if is_torn { vec![b'\n'] } else { Vec::new() };
        Ok(Self { path, file: None, unwritten, done: parse(&text) })
    }

    /// Returns true if a row was sent or refused.
    pub(crate) fn is_done(&self, row: usize) -> bool {
        self.done.contains_key(&row)
    }

    /// Returns the number of rows that are handled.
    pub(crate) fn count(&self) -> usize {
        self.done.len()
    }

    /// Returns true if some row was refused.
    pub(crate) fn has_refused(&self) -> bool {
        self.done.values().any(Option::is_some)
    }

    /// Records that a row was sent or refused. After an error the note is kept, and written with
    /// the next one or by [`write`](Self::write).
    ///
    /// # Errors
    /// If the note can't be written.
    pub(crate) fn note(&mut self, row: usize, refusal: Option<Refusal>) -> Result<()> {
        let line = Line {
            row,
            refused: refusal.as_ref().map(|refusal| refusal.why.clone()),
            at: refusal.as_ref().map(|refusal| refusal.at),
        };
        self.done.entry(row).or_insert(refusal);
        serde_json::to_writer(&mut self.unwritten, &line)
            .map_err(|cause| Error::fatal("can't note what was sent").because(cause))?;
        self.unwritten.push(b'\n');
        self.write()
    }

    /// Writes the notes that couldn't be written before.
    ///
    /// # Errors
    /// If the notes still can't be written.
    pub(crate) fn write(&mut self) -> Result<()> {
        let failed = |path: &Path, cause| failed("write", path, cause);
        if self.file.is_none() && !self.unwritten.is_empty() {
            let file = OpenOptions::new().append(true).create(true).open(&self.path);
            self.file = Some(file.map_err(|cause| failed(&self.path, cause))?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        while !self.unwritten.is_empty() {
            let written = match point("webhook.note").and_then(|()| file.write(&self.unwritten)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|cause| failed(&self.path, cause))?,
            };
            self.unwritten.drain(..written);
        }
        Ok(())
    }

    /// Returns the refused rows, once no more notes follow. The notes are on the disk then, so each
    /// call returns the same.
    ///
    /// # Errors
    /// If the notes can't be synced to the disk.
    pub(crate) fn refused(&mut self) -> Result<BTreeMap<usize, Refusal>> {
        self.write()?;
        let synced = File::open(&self.path).and_then(|file| {
            file.sync_all()?;
            sync_folder(self.path.parent().unwrap_or(&self.path))
        });
        synced.map_err(|cause| failed("sync", &self.path, cause))?;
        // A request of an earlier task may have added its answer since: the first line in the file
        // counts, now and later.
        self.done = parse(&read(&self.path)?);
        let refused = self.done.iter().filter_map(|(row, done)| Some((*row, done.clone()?)));
        Ok(refused.collect())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|cause| failed("read", path, cause)),
    }
}

fn parse(text: &[u8]) -> BTreeMap<usize, Option<Refusal>> {
    let mut done = BTreeMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
        let refusal = line.refused.map(|why| Refusal { why, at: line.at.unwrap_or_default() });
        done.entry(line.row).or_insert(refusal);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_outlive_their_writer_and_a_torn_line_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0000000.notes");
        let refusal = |why: &str| Refusal { why: why.into(), at: 1_700_000_000 };
        let mut notes = SegmentNotes::open(path.clone()).unwrap();
        assert_eq!((notes.count(), path.exists()), (0, false));
        notes.note(3, None).unwrap();
        notes.note(5, Some(refusal("400 \"no\"\n"))).unwrap();
        let mut torn = fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"row\":7");
        fs::write(&path, torn).unwrap();

        let mut notes = SegmentNotes::open(path.clone()).unwrap();
        assert!(notes.is_done(3) && notes.is_done(5) && !notes.is_done(7));
        notes.note(7, None).unwrap();
        notes.note(5, None).unwrap();
        let mut again = SegmentNotes::open(path).unwrap();
        assert_eq!((again.count(), again.has_refused()), (3, true));
        assert_eq!(again.refused().unwrap(), [(5, refusal("400 \"no\"\n"))].into());
    }
}
