//! The log of a topology's process: the newest lines in memory for watchers, and all of
//! them in files of bounded size.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::printable::{printable_line, shortened};
use crate::secret::hide_in_addresses;

/// The size of the newest lines that are kept in memory, in bytes. More would let a watcher be away
/// for longer, and costs as much for each topology.
const MEMORY_BYTES_MAX: usize = 128 << 10;

/// The length at which a file is closed and the one before it deleted. Twice as much is kept on the
/// disk for each topology.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The longest line, in characters: an error with all its causes.
const LINE_CHARS_MAX: usize = 4_000;

/// A line that the process of a topology said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Its number, from 1. A number that a watcher doesn't find was dropped.
    #[serde(default)]
    pub number: u64,
    /// The time of the line.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `info`, `warn` or `error`, or another word of the process.
    pub level: String,
    /// The text of the line.
    pub text: String,
}

/// The lines of one topology.
pub(crate) struct LogBook {
    lines: VecDeque<LogLine>,
    bytes: usize,
    next: u64,
    path: PathBuf,
    file: Option<(File, u64)>,
    newest: watch::Sender<u64>,
}

impl LogBook {
    /// The book whose file has this path. What an earlier server wrote is read again.
    pub(crate) fn open(path: PathBuf) -> Self {
        let (lines, newest) = (VecDeque::new(), watch::Sender::new(0));
        let mut book = Self { lines, bytes: 0, next: 1, path, file: None, newest };
        for line in last_lines(&book.path) {
            if let Ok(line) = serde_json::from_str(&line) {
                book.remember(line);
            }
        }
        book
    }

    /// Adds what the process printed on a line of standard error.
    pub(crate) fn add_printed(&mut self, printed: &str, now: OffsetDateTime) {
        let (level, text) = read_printed(printed);
        self.add(&level, &text, now);
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, level: &str, text: &str, now: OffsetDateTime) {
        let text =
            printable_line(&shortened(&hide_in_addresses(text), LINE_CHARS_MAX)).into_owned();
        let line = LogLine { number: 0, at: now, level: level.to_owned(), text };
        // If the disk is full, memory still has the newest lines.
        let _ = self.write(&line);
        self.remember(line);
    }

    fn remember(&mut self, mut line: LogLine) {
        line.number = self.next;
        self.next += 1;
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.bytes > MEMORY_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
        self.newest.send_replace(self.next - 1);
    }

    /// The lines behind the one with this number, oldest first, but only the newest `lines_max`.
    pub(crate) fn after(&self, number: u64, lines_max: usize) -> Vec<LogLine> {
        let first = self.lines.partition_point(|line| line.number <= number);
        let first = first.max(self.lines.len().saturating_sub(lines_max));
        self.lines.range(first..).cloned().collect()
    }

    /// Tells the number of the newest line, whenever there is another.
    pub(crate) fn follow(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn write(&mut self, line: &LogLine) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        if self.file.as_ref().is_some_and(|(_, bytes)| *bytes >= FILE_BYTES_MAX) {
            self.file = None;
            fs::rename(&self.path, self.path.with_extension("old"))?;
        }
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(&self.path)?;
            let bytes = file.metadata()?.len();
            self.file = Some((file, bytes));
        }
        if let Some((file, bytes)) = &mut self.file {
            file.write_all(&text)?;
            *bytes += text.len() as u64;
        }
        Ok(())
    }
}

/// The last lines of a file, as many as fit into memory.
fn last_lines(path: &Path) -> Vec<String> {
    let Ok(mut file) = File::open(path) else { return Vec::new() };
    let length = file.metadata().map_or(0, |found| found.len());
    let from = length.saturating_sub(2 * MEMORY_BYTES_MAX as u64);
    if file.seek(SeekFrom::Start(from)).is_err() {
        return Vec::new();
    }
    // The first one may be a part of a line, which is no JSON.
    BufReader::new(file).lines().map_while(Result::ok).collect()
}

/// Level and text of what a process printed: JSON with a `message`, or any text.
fn read_printed(printed: &str) -> (String, String) {
    let info = || "info".to_owned();
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(printed) else {
        let level = if printed.starts_with("error: ") { "error".to_owned() } else { info() };
        return (level, printed.to_owned());
    };
    let message = object.get("message").or_else(|| object.get("fields")?.get("message"));
    let level = object.get("level").and_then(|level| level.as_str()).map(str::to_lowercase);
    match message.and_then(|message| message.as_str()) {
        Some(message) => (level.unwrap_or_else(info), message.to_owned()),
        None => (level.unwrap_or_else(info), printed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-27 6:00 UTC);

    #[test]
    fn lines_are_numbered_and_outlive_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut book = LogBook::open(path.clone());
        book.add_printed(r#"{"message":"running","phase":"running"}"#, NOW);
        book.add_printed("error: no such disk", NOW);
        book.add_printed(r#"{"level":"WARN","fields":{"message":"slow"}}"#, NOW);
        let texts = |book: &LogBook, after, max| -> Vec<(u64, String, String)> {
            let lines = book.after(after, max).into_iter();
            lines.map(|line| (line.number, line.level, line.text)).collect()
        };
        let line = |number, level: &str, text: &str| (number, level.to_owned(), text.to_owned());
        assert_eq!(
            texts(&book, 1, 10),
            [line(2, "error", "error: no such disk"), line(3, "warn", "slow")]
        );
        assert_eq!(texts(&book, 0, 1), [line(3, "warn", "slow")]);
        assert_eq!(texts(&LogBook::open(path), 0, 10), texts(&book, 0, 10));
    }

    #[test]
    fn neither_memory_nor_files_grow_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut book = LogBook::open(path.clone());
        let long = "x".repeat(100_000);
        for _ in 0..3_000 {
            book.add("info", &long, NOW);
        }
        assert!(book.bytes <= MEMORY_BYTES_MAX && book.lines.len() > 20, "{}", book.lines.len());
        let size = |path: &Path| path.metadata().unwrap().len();
        assert!(size(&path) < FILE_BYTES_MAX + 10_000);
        assert!(size(&path.with_extension("old")) < FILE_BYTES_MAX + 10_000);
    }
}
