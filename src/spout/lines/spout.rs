//! The spout: converts files and streams to tuples, and keeps the cursors of splits.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use time::OffsetDateTime;
use xxhash_rust::xxh3::xxh3_64;

use super::follow::known;
use super::input::{self, Input, Wanted};
use super::located::Located;
use super::lost::{Loss, LostLines};
use super::mark::{FileId, FileMark, HEAD_BYTES, Mark};
use super::posts::Posts;
use super::reader::{self, Event, Job, Opened};
use super::sources::{Next, Sources};
use super::splitter::{Line, LineSplitter};
use super::{EMIT_LINES, STANDARD_INPUT, paths};
use crate::error::{Error, Result};
use crate::spool;
use crate::spout::{Cursor, Split, Spout, SpoutOutput};

/// A file that is being read.
pub(super) struct Reading {
    pub name: String,
    pub splitter: LineSplitter,
    /// The beginning of the file, up to [`HEAD_BYTES`], as far as it was read.
    pub head: Vec<u8>,
    /// The file; `None` for a pipe.
    pub file: Option<FileId>,
}

impl Reading {
    pub(crate) fn feed(&mut self, chunk: Bytes) {
        let wanted = (HEAD_BYTES - self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..wanted]);
        self.splitter.feed(chunk);
    }

    /// Returns the cursor after the content that was read so far.
    pub(crate) fn cursor(&self, now: OffsetDateTime, is_end: bool) -> Cursor {
        let mark = Mark::new(self.splitter.place(), &self.head);
        let read_at = now.unix_timestamp();
        Cursor::At(FileMark { mark, file: self.file, read_at, is_end }.to_string())
    }
}

pub(super) struct LinesSpout {
    pub posts: Posts,
    /// The paths of the topology.
    pub paths: Vec<String>,
    /// True if the paths are followed.
    pub follows: bool,
    pub component: String,
    pub state: Option<PathBuf>,
    /// The cursors of the component in the checkpoint, by split.
    pub cursors: Arc<BTreeMap<String, Cursor>>,
    /// The time of the checkpoint.
    pub saved_at: Option<OffsetDateTime>,
    /// `None` under `checkpoint: Off`.
    pub spools: Option<Spools>,
}

/// The place of spools, which hold data that can't be read again.
pub(super) struct Spools {
    pub folder: PathBuf,
    pub component: String,
    pub options: spool::Options,
}

impl Spools {
    fn folder_of(&self, path: &str) -> PathBuf {
        let name = if path == STANDARD_INPUT {
            "stdin".to_owned()
        } else {
            format!("{:016x}", xxh3_64(path.as_bytes()))
        };
        self.folder.join(format!("{}-{name}", self.component))
    }
}

#[async_trait(?Send)]
impl Spout for LinesSpout {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let inputs = self.inputs(out)?;
        // The next start may have another stream, and a file may have grown by then.
        out.stay_open();
        let streams: HashSet<usize> = inputs.iter().map(|input| input.split).collect();
        let jobs = self.jobs(&streams, out)?;
        let (followed, mut followed_files) = match self.follow(out)? {
            Some((reports, files)) => (Some(reports), Some(files)),
            None => (None, None),
        };
        let mut files: Vec<Option<Reading>> = out.splits().iter().map(|_| None).collect();
        let reports = reader::start(jobs, self.posts.kind.is_some())?;
        let mut sources = Sources { reports, files_done: false, inputs, followed };
        while let Some(next) = sources.next().await? {
            let (split, event) = match next {
                Next::Event(split, event) => (split, event),
                Next::Followed(event) => {
                    if let Some(files) = &mut followed_files {
                        self.take_followed(event, files, out).await?;
                    }
                    continue;
                }
                Next::Batch(split, batch) => {
                    self.emit_batch(split, batch, out).await?;
                    let dropped: u64 = sources.inputs.iter().map(Input::dropped).sum();
                    if dropped > 0 {
                        out.set_state(&format!("{dropped} records dropped: the spool is full"));
                    }
                    continue;
                }
            };
            let file = &mut files[split];
            match event {
                Event::Opened(Opened { path, place, head, file: id }) => {
                    let splitter = self.posts.splitter(place);
                    let opened = file.insert(Reading { name: path, splitter, head, file: id });
                    let cursor = opened.cursor(out.clock().now(), false);
                    out.emit(split, cursor).await?;
                }
                Event::Chunk(chunk) => {
                    let file = file.as_mut().expect("a reader opens a file before it reads it");
                    file.feed(chunk);
                    self.emit_lines(file, split, out).await?;
                }
                Event::Ended => {
                    // The next start continues at this cursor if the file has grown after its end.
                    let end = match file.take() {
                        Some(mut file) => {
                            self.push_last_line(&mut file, out);
                            file.cursor(out.clock().now(), true)
                        }
                        None => Cursor::End,
                    };
                    out.emit(split, end).await?;
                    out.end_event_time(split);
                }
                Event::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl LinesSpout {
    /// Returns the files that are still to be read, each at the position of its file's cursor, and
    /// reports the missing ones.
    fn jobs(&self, streams: &HashSet<usize>, out: &SpoutOutput) -> Result<Vec<Job>> {
        let is_file = |split: usize| {
            !streams.contains(&split) && !known::is_followed(&out.splits()[split].id)
        };
        if !(0..out.splits().len()).any(is_file) {
            return Ok(Vec::new());
        }
        let located = match self.follows {
            // Only streams are read here.
            true => Located::default(),
            false => paths::located(&self.paths, &self.cursors)?,
        };
        // One task reports for all files, including those of other tasks.
        let first = located.splits.first().map(|split| &split.id);
        if out.splits().iter().any(|split| Some(&split.id) == first) {
            self.tell_missing(&located, out)?;
        }
        let jobs = jobs(out.splits(), &located, is_file)?;
        moved_marks(&self.cursors, jobs)
    }

    /// Reports files that were rotated, cut or deleted, and can't be found.
    fn tell_missing(&self, located: &Located, out: &SpoutOutput) -> Result<()> {
        if located.missing.is_empty() {
            return Ok(());
        }
        let mut lost = LostLines::open(self)?;
        for missing in &located.missing {
            let path = Path::new(&missing.path);
            let why = file_gone(path, missing.mark.mark);
            let identity = format!("{}\n{}", missing.path, missing.mark);
            let read_at = missing.mark.read_at;
            let loss = Loss { part: &missing.path, identity: &identity, read_at, why: &why };
            lost.tell(&loss, out)?;
        }
        Ok(())
    }

    /// Opens the streams among the splits, unless `checkpoint` is `Off`.
    fn inputs(&self, out: &SpoutOutput) -> Result<Vec<Input>> {
        let Some(spools) = &self.spools else { return Ok(Vec::new()) };
        let longest = input::line_bytes_max(spools.options, self.posts.line_bytes());
        let has_kind = self.posts.kind.is_some();
        let wanted = Wanted { spool: spools.options, line_bytes_max: longest, has_kind };
        let mut inputs = Vec::new();
        for (at, Split { id, cursor }) in out.splits().iter().enumerate() {
            if !input::is_stream(id) {
                continue;
            }
            let place = (spools.folder_of(id), cursor);
            let (input, cut) = Input::open((at, id), (&place.0, place.1), wanted, out.completed())?;
            match cut {
                Some(cut) if cut.missing.is_some() => self.tell_cut(id, cursor, &cut, out)?,
                Some(cut) => out.say(&cut.to_string()),
                None => {}
            }
            inputs.push(input);
        }
        Ok(inputs)
    }

    /// Records that a spool lacks data that the checkpoint covers: later lines in it are missing as
    /// well.
    fn tell_cut(
        &self,
        path: &str,
        cursor: &Cursor,
        cut: &spool::Torn,
        out: &SpoutOutput,
    ) -> Result<()> {
        let why = cut.to_string();
        let identity = format!("{path}\n{cursor:?}\n{:?}", self.saved_at);
        let read_at = self.saved_at.map_or(0, OffsetDateTime::unix_timestamp);
        let part = if path == STANDARD_INPUT { "standard input" } else { path };
        LostLines::open(self)?.tell(&Loss { part, identity: &identity, read_at, why: &why }, out)
    }

    /// Hands over a batch from a spool.
    async fn emit_batch(
        &self,
        split: usize,
        batch: spool::Batch,
        out: &mut SpoutOutput,
    ) -> Result<()> {
        let file = out.splits()[split].id.clone();
        let options = self.spools.as_ref().map(|spools| spools.options).unwrap_or_default();
        let longest = input::line_bytes_max(options, self.posts.line_bytes());
        for record in batch.records {
            for line in input::lines(&record.cursor, record.post, longest)? {
                self.push(&file, line, out);
            }
            out.emit(split, Cursor::At(record.position.to_string())).await?;
        }
        Ok(())
    }

    async fn emit_lines(
        &self,
        file: &mut Reading,
        split: usize,
        out: &mut SpoutOutput,
    ) -> Result<()> {
        let mut emitted = file.splitter.place();
        while let Some(line) = file.splitter.next_line() {
            self.push(&file.name, line, out);
            if file.splitter.place().line - emitted.line >= EMIT_LINES {
                out.emit(split, file.cursor(out.clock().now(), false)).await?;
                emitted = file.splitter.place();
            }
        }
        if file.splitter.place() != emitted {
            out.emit(split, file.cursor(out.clock().now(), false)).await?;
        }
        Ok(())
    }

    /// Pushes the last line of a file, if it has no line break.
    pub(super) fn push_last_line(&self, file: &mut Reading, out: &mut SpoutOutput) {
        if let Some(line) = file.splitter.finish() {
            self.push(&file.name, line, out);
        }
    }

    pub(super) fn push(&self, file: &str, line: Line, out: &mut SpoutOutput) {
        match self.posts.read(file, line) {
            Ok(tuple) => out.push(tuple),
            Err(letter) => out.push_dead_letter(&letter.with_hint()),
        }
    }
}

/// Returns the reason why lines of a missing file may be missing.
pub(super) fn file_gone(path: &Path, mark: Mark) -> String {
    format!(
        "\"{}\" is gone, or another file is there: the lines written to it after the last checkpoint (line {}, \
         byte {}) weren't found there or in its folder",
        path.display(),
        mark.place.line,
        mark.place.offset
    )
}

/// Returns the files of splits that are still to be read.
///
/// # Errors
/// If a cursor is damaged.
pub(super) fn jobs(
    splits: &[Split],
    located: &Located,
    is_file: impl Fn(usize) -> bool,
) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (split, Split { id, cursor }) in splits.iter().enumerate() {
        if !is_file(split) {
            continue;
        }
        let mark = match cursor {
            Cursor::Start => None,
            Cursor::End => continue,
            Cursor::At(text) => {
                let mark: FileMark = text.parse().map_err(|what: String| {
                    Error::fatal(format!("the checkpoint's cursor for \"{id}\" is damaged"))
                        .because(what)
                })?;
                Some(mark.mark)
            }
        };
        jobs.push(Job { split, path: located.path(id).to_owned(), mark });
    }
    Ok(jobs)
}

/// Lets files that an earlier run followed be read from the position of that run.
///
/// # Errors
/// If a cursor is damaged.
pub(super) fn moved_marks(
    cursors: &BTreeMap<String, Cursor>,
    mut jobs: Vec<Job>,
) -> Result<Vec<Job>> {
    let mut known = Vec::new();
    let followed = cursors.iter().filter(|(split, _)| known::is_followed(split));
    for (split, cursor) in followed {
        if let Cursor::At(cursor) = cursor {
            let entries = known::Entry::read_all(cursor).map_err(|what| {
                Error::fatal(format!("the checkpoint's cursor for \"{split}\" is damaged"))
                    .because(what)
            })?;
            known.extend(entries);
        }
    }
    for job in jobs.iter_mut().filter(|_| !known.is_empty()) {
        let Some(file) = paths::inode(&job.path) else { continue };
        if let Some(entry) = known.iter().find(|entry| entry.file == file)
            && job.mark.is_none_or(|mark| mark.place.offset < entry.mark.place.offset)
            && reader::is_at(&job.path, entry.mark)
        {
            job.mark = Some(entry.mark);
        }
    }
    Ok(jobs)
}
