//! `Lines`: NDJSON files and standard input, a post on each line.

mod follow;
mod followed;
mod format;
mod input;
mod mark;
mod paths;
mod reader;
mod sources;
mod splitter;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::input::{Input, Wanted};
use self::mark::{HEAD_BYTES, Mark};
use self::reader::{Event, Job};
use self::sources::{Next, Sources};
pub use self::splitter::{Content, Line, LineSplitter, Place};
use super::{Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::component::{Component, Problem};
use crate::dead_letter::DeadLetter;
use crate::epoch::{Cursor, Split};
use crate::error::{Error, Result};
use crate::lake::reader::POST_BYTES_MAX;
use crate::post::Post;
use crate::spool;
use crate::units::ByteSize;
use crate::value::{Text, Value};
use xxhash_rust::xxh3::xxh3_64;

/// Reads posts from NDJSON files or standard input, one on each line. A line that is no post goes to
/// the dead letters with its file, its number and what is wrong with it. Blank lines are skipped;
/// a byte order mark and `\r\n` are fine. Several files are shared out among the tasks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// Files, globs such as "posts/*.ndjson" and "{a,b}.ndjson" (sorted; folders are passed over), or "-" for standard
    /// input. A file is read once, also if it has several names or paths; a link to it comes after it.
    paths: Vec<String>,
    /// The kind of the posts, if the lines don't name it: a line may be any JSON object, and becomes
    /// `{"<kind>":<line>}`. Without it a line must have exactly one key, which names its kind.
    #[serde(default)]
    kind: Option<String>,
    /// Go on waiting for more lines and more files, until the topology is stopped: what a glob stands for
    /// is looked at again each second. A file is known by its inode and its beginning and not by its name:
    /// one that is renamed, linked or rotated is captured once, and read to its end, also if that happened
    /// while the topology was stopped and the file, or a compressed copy, lies beside. What is missing is
    /// said and in `waterspout gaps`. A file that became shorter, or begins otherwise, is read from its
    /// start. Not seen is that a file was emptied, if it then begins as before and grew beyond the old size
    /// before it was looked at. The last line of a file waits for its line break. A pipe ends when its last
    /// writer closes it.
    #[serde(default)]
    follow: bool,
    /// The longest line that is taken; longer ones go to the dead letters, cut to this length. Lines of
    /// standard input and pipes must also fit into an eighth of the spool.
    #[serde(default = "max_post_bytes")]
    max_post_bytes: ByteSize,
    /// Standard input and pipes go through a durable log, since they can't be read again: how large
    /// it gets, and what happens then. Not under `checkpoint: Off`.
    #[serde(default)]
    spool: spool::Options,
}

fn max_post_bytes() -> ByteSize {
    ByteSize(16 << 20)
}

impl Component for Lines {
    const NAME: &'static str = "Lines";
    const GUARANTEE: &'static str = "a file is resumed behind the last line of the checkpoint; \
        standard input and pipes go through a spool: what was read from them survives the process, \
        and all but the last second of it a power loss";
}

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// How many lines are handed over in one go at most, so that short ones don't pile up.
const EMIT_LINES: u64 = 1_000;

impl SpoutConfig for Lines {
    fn splits(&self) -> Result<Vec<String>> {
        let has_kind = self.kind.is_some();
        if !self.follow {
            return paths::expand(&self.paths, has_kind);
        }
        let mut splits = paths::streams(&self.paths)?;
        if self.paths.iter().any(|path| !input::is_stream(path)) {
            splits.extend(follow::known::splits());
        }
        Ok(splits)
    }

    fn tasks_max(&self) -> Option<usize> {
        if self.paths.iter().any(|path| paths::is_glob(path)) { None } else { Some(self.paths.len()) }
    }

    fn ends_for_good(&self) -> bool {
        !self.paths.iter().any(|path| input::is_stream(path))
    }

    fn is_handed_in(&self) -> bool {
        self.paths.iter().all(|path| input::is_stream(path))
    }

    fn kinds(&self) -> Option<Vec<String>> {
        self.kind.clone().map(|kind| vec![kind])
    }

    fn check(&self) -> Result<(), Vec<Problem>> {
        let read_max = ByteSize(POST_BYTES_MAX as u64);
        if self.max_post_bytes.0 > read_max.0 {
            let found = self.max_post_bytes;
            let what =
                format!("expected at most {read_max}, since a lake's readers take no longer post, found {found}");
            return Err(vec![Problem { field: "max_post_bytes", what, candidates: None }]);
        }
        let longest = self.spool.post_bytes_max(0) as u64;
        let is_stream = self.paths.iter().any(|path| input::is_stream(path));
        // Lines of a stream are cut to what fits: that is worth an error only where more was asked for.
        if !is_stream || self.max_post_bytes == max_post_bytes() || self.max_post_bytes.0 < longest {
            return Ok(());
        }
        let (found, spool) = (self.max_post_bytes, self.spool.bytes_max);
        let what = format!(
            "expected less than an eighth of the spool's bytes_max ({spool}), since standard input and pipes go \
             through it, found {found}: lower it, or give the spool more room"
        );
        Err(vec![Problem { field: "max_post_bytes", what, candidates: None }])
    }

    fn reread(&self, raw: &Bytes) -> Option<Result<Vec<Value>, String>> {
        let posts = self.posts();
        if raw.len() as u64 > self.max_post_bytes.0 {
            return Some(Err(posts.too_long(raw.len())));
        }
        Some(posts.tuple(raw).map(Vec::from))
    }

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        if self.kind.as_ref().is_some_and(String::is_empty) {
            return Err(Error::fatal("Lines: expected a name as \"kind\", found an empty text"));
        }
        let spools = context.state.as_ref().map(|state| state.join("spool"));
        let spools = spools.map(|folder| Spools { folder, component: context.component.clone(), options: self.spool });
        Ok(Box::new(LinesSpout {
            posts: self.posts(),
            follow: self.follow.then(|| self.paths.clone()),
            spools,
            component: context.component.clone(),
            state: context.state.clone(),
            cursors: Arc::clone(&context.cursors),
        }))
    }
}

impl Lines {
    fn posts(&self) -> Posts {
        let kind = self.kind.as_deref().map(Text::from);
        Posts { kind, line_bytes_max: self.max_post_bytes, topics: Value::List([].into()) }
    }
}

/// Makes tuples of lines.
struct Posts {
    kind: Option<Text>,
    line_bytes_max: ByteSize,
    topics: Value,
}

impl Posts {
    fn splitter(&self, place: Place) -> LineSplitter {
        LineSplitter::new(place, self.line_bytes())
    }

    fn line_bytes(&self) -> usize {
        usize::try_from(self.line_bytes_max.0).unwrap_or(usize::MAX)
    }

    /// The tuple of a line of this file, or the dead letter that it is.
    fn read(&self, file: &str, line: Line) -> Result<[Value; 3], DeadLetter> {
        let (raw, what, cut) = match line.content {
            Content::Whole(raw) => match self.tuple(&raw) {
                Ok(tuple) => return Ok(tuple),
                Err(what) => (raw, what, false),
            },
            Content::TooLong { held, length } if length <= self.line_bytes_max.0 => {
                let max = held.len();
                let what = format!("expected at most {max} bytes (an eighth of the spool's bytes_max), found {length}");
                (held, what, true)
            }
            Content::TooLong { held, length } => (held, self.too_long(length), true),
        };
        let file = if file == STANDARD_INPUT { "(standard input)" } else { file };
        Err(DeadLetter { raw, error: format!("{file}:{}: {what}", line.number), cut })
    }

    fn too_long(&self, length: impl std::fmt::Display) -> String {
        format!("expected at most {} (max_post_bytes), found {length} bytes", self.line_bytes_max)
    }

    fn tuple(&self, line: &Bytes) -> Result<[Value; 3], String> {
        let (post, kind) = match &self.kind {
            Some(kind) => (Post::wrap(kind, line)?, kind.clone()),
            None => {
                let post = Post::check(line.clone())?;
                let kind = post.kind().into();
                (post, kind)
            }
        };
        Ok([post.into(), kind.into(), self.topics.clone()])
    }
}

/// A file that is being read.
struct Reading {
    name: String,
    splitter: LineSplitter,
    /// What the file begins with, up to [`HEAD_BYTES`], as far as it was read.
    head: Vec<u8>,
}

impl Reading {
    fn feed(&mut self, chunk: Bytes) {
        let wanted = (HEAD_BYTES - self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..wanted]);
        self.splitter.feed(chunk);
    }

    fn cursor(&self) -> Cursor {
        Cursor::At(Mark::new(self.splitter.place(), &self.head).to_string())
    }
}

struct LinesSpout {
    posts: Posts,
    /// The paths, if they are followed.
    follow: Option<Vec<String>>,
    component: String,
    state: Option<PathBuf>,
    /// What the checkpoint knows of the component, by split.
    cursors: Arc<BTreeMap<String, Cursor>>,
    /// None under `checkpoint: Off`.
    spools: Option<Spools>,
}

/// Where what can't be read again is kept.
struct Spools {
    folder: PathBuf,
    component: String,
    options: spool::Options,
}

impl Spools {
    fn folder_of(&self, path: &str) -> PathBuf {
        let name =
            if path == STANDARD_INPUT { "stdin".to_owned() } else { format!("{:016x}", xxh3_64(path.as_bytes())) };
        self.folder.join(format!("{}-{name}", self.component))
    }
}

#[async_trait(?Send)]
impl Spout for LinesSpout {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let inputs = self.inputs(out)?;
        // Another stream may come with the next start, and a file may have grown by then.
        out.stay_open();
        let is_input = |split: usize| inputs.iter().any(|input| input.split == split);
        let is_followed = |split: usize| follow::known::is_followed(&out.splits()[split].id);
        let jobs = jobs(out.splits(), |split| !is_input(split) && !is_followed(split))?;
        let jobs = self.moved_marks(jobs)?;
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
                Event::Opened(place, head) => {
                    let name = out.splits()[split].id.clone();
                    let opened = file.insert(Reading { name, splitter: self.posts.splitter(place), head });
                    out.emit(split, opened.cursor()).await?;
                }
                Event::Chunk(chunk) => {
                    let file = file.as_mut().expect("a reader opens a file before it reads it");
                    file.feed(chunk);
                    self.emit_lines(file, split, out).await?;
                }
                Event::Ended => {
                    // A file that grows after its end is read on at the next start, from this cursor.
                    let end = self.push_last_line(file.take(), out);
                    out.emit(split, end.unwrap_or(Cursor::End)).await?;
                }
                Event::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl LinesSpout {
    /// Files that a run before has followed begin where that stood.
    fn moved_marks(&self, mut jobs: Vec<Job>) -> Result<Vec<Job>> {
        let mut known = Vec::new();
        for (split, cursor) in self.cursors.iter().filter(|(split, _)| follow::known::is_followed(split)) {
            if let Cursor::At(cursor) = cursor {
                let entries = follow::known::Entry::read_all(cursor).map_err(|what| {
                    Error::fatal(format!("the checkpoint's cursor for \"{split}\" is damaged")).because(what)
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

    /// The streams among the splits, unless nothing is durable.
    fn inputs(&self, out: &SpoutOutput) -> Result<Vec<Input>> {
        let Some(spools) = &self.spools else { return Ok(Vec::new()) };
        let streams = out.splits().iter().enumerate().filter(|(_, split)| input::is_stream(&split.id));
        let open = |(at, split): (usize, &Split)| {
            let place = (spools.folder_of(&split.id), &split.cursor);
            let longest = input::line_bytes_max(spools.options, self.posts.line_bytes());
            let has_kind = self.posts.kind.is_some();
            let wanted = Wanted { spool: spools.options, line_bytes_max: longest, has_kind };
            let (input, cut) = Input::open((at, &split.id), (&place.0, place.1), wanted, out.completed())?;
            if let Some(cut) = cut {
                out.say(&cut);
            }
            Ok(input)
        };
        streams.map(open).collect()
    }

    /// Hands over what came from a spool.
    async fn emit_batch(&self, split: usize, batch: spool::Batch, out: &mut SpoutOutput) -> Result<()> {
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

    async fn emit_lines(&self, file: &mut Reading, split: usize, out: &mut SpoutOutput) -> Result<()> {
        let mut emitted = file.splitter.place();
        while let Some(line) = file.splitter.next_line() {
            self.push(&file.name, line, out);
            if file.splitter.place().line - emitted.line >= EMIT_LINES {
                out.emit(split, file.cursor()).await?;
                emitted = file.splitter.place();
            }
        }
        if file.splitter.place() != emitted {
            out.emit(split, file.cursor()).await?;
        }
        Ok(())
    }

    /// Pushes what a file ended with, if nothing ended its last line. Returns the cursor behind it.
    fn push_last_line(&self, file: Option<Reading>, out: &mut SpoutOutput) -> Option<Cursor> {
        let mut file = file?;
        if let Some(line) = file.splitter.finish() {
            self.push(&file.name, line, out);
        }
        Some(file.cursor())
    }

    fn push(&self, file: &str, line: Line, out: &mut SpoutOutput) {
        match self.posts.read(file, line) {
            Ok(tuple) => out.push(tuple),
            Err(letter) => out.push_dead_letter(&letter.with_hint()),
        }
    }
}

/// The files that are still to be read.
fn jobs(splits: &[Split], is_file: impl Fn(usize) -> bool) -> Result<Vec<Job>> {
    let job = |(split, Split { id, cursor }): (usize, &Split)| {
        let mark = match cursor {
            Cursor::Start => None,
            Cursor::End => return None,
            Cursor::At(mark) => Some(mark.parse().map_err(|what: String| {
                Error::fatal(format!("the checkpoint's cursor for \"{id}\" is damaged")).because(what)
            })),
        };
        Some(mark.transpose().map(|mark| Job { split, path: id.clone(), mark }))
    };
    splits.iter().enumerate().filter(|(split, _)| is_file(*split)).filter_map(job).collect()
}

#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod tests;
