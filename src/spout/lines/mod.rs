//! `Lines`: reads NDJSON files and standard input, one post per line.

mod follow;
mod followed;
mod format;
mod input;
mod located;
mod lost;
mod mark;
mod paths;
mod posts;
mod reader;
mod sources;
mod splitter;
mod spout;

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::posts::Posts;
pub use self::splitter::{Content, Line, LineSplitter, Place};
use self::spout::{LinesSpout, Spools};
use super::{Cursor, Spout, SpoutConfig, SpoutContext};
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::event_time::EventTimeOrder;
use crate::lake::reader::POST_BYTES_MAX;
use crate::spool;
use crate::units::ByteSize;
use crate::value::{Text, Value};

/// Reads posts from NDJSON files or standard input, one per line. A line that isn't a post goes to
/// the dead letters with its file, its line number and the reason. Blank lines are skipped; a byte
/// order mark and `\r\n` are accepted. Several files are distributed among the tasks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lines {
    /// Files, globs such as "posts/*.ndjson" and "{a,b}.ndjson" (sorted; folders are passed over),
    /// or "-" for standard input. A file is read once, also if it has several names or paths; a
    /// link to it comes after it. A file is known by its inode and its beginning: one that was
    /// renamed or rotated between two runs is read on where it lies in the same folder, also as a
    /// compressed copy, and the new file of that name from its start. What isn't found any more is
    /// said and in `waterspout gaps`.
    #[schemars(extend("items" = {"type": "string", "format": "path"}))]
    /// Files, globs such as "posts/*.ndjson" and "{a,b}.ndjson" (sorted; folders are skipped), or
    /// "-" for standard input. A file with several names or paths is read once; links come after
    /// other files. A file is recognised by its inode and its beginning. If it was renamed or
    /// rotated between two runs within its folder, or compressed there, reading continues in it,
    /// and a new file with its old name is read from the start. A file that isn't found any more is
    /// reported and recorded in `waterspout gaps`.
    paths: Vec<String>,
    /// The kind of the posts, if the lines don't name it: a line may be any JSON object, and
    /// becomes `{"<kind>":<line>}`. Without it, a line must have exactly one key, which names its
    /// kind.
    #[serde(default)]
    kind: Option<String>,
    /// True to wait for more lines and more files until the topology is stopped. Globs are expanded
    /// again each second. A file is recognised by its inode and its beginning, and not by its name.
    /// A file that is renamed, linked or rotated is captured once, and read to its end, even if
    /// that happened while the topology was stopped, if the file or a compressed copy is in the
    /// same folder. Missing lines are reported and recorded in `waterspout gaps`. A file that
    /// became shorter, or has another beginning, is read from its start. One case can't be noticed:
    /// a file that was emptied, has the same beginning again, and grew beyond its old size before
    /// the next check. The last line of a file waits for its line break. A pipe ends when its last
    /// writer closes it.
    #[serde(default)]
    follow: bool,
    /// The longest line that is accepted; longer ones go to the dead letters, cut to this length.
    /// Lines of standard input and pipes must also fit into an eighth of the spool.
    #[serde(default = "max_post_bytes")]
    max_post_bytes: ByteSize,
    /// The options of the durable log for standard input and pipes, which can't be read again: its
    /// maximum size, and the behaviour when it is full. Not used under `checkpoint: Off`.
    #[serde(default)]
    spool: spool::Options,
}

fn max_post_bytes() -> ByteSize {
    ByteSize(16 << 20)
}

impl Component for Lines {
    const NAME: &'static str = "Lines";
    const GUARANTEE: &'static str = "a file is resumed after the last line of the checkpoint; \
        standard input and pipes go through a spool: the data read from them survives the process, \
        and all but the last second of it survives a power loss";
}

/// The path that means standard input.
const STANDARD_INPUT: &str = "-";

/// The maximum number of lines that are handed over at a time, so that short ones don't accumulate.
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

    fn splits_after(&self, cursors: &BTreeMap<String, Cursor>) -> Result<Vec<String>> {
        let splits = self.splits()?;
        if self.follow {
            return Ok(splits);
        }
        let located = paths::located(&self.paths, cursors)?;
        Ok(located.splits.into_iter().map(|split| split.id).collect())
    }

    fn tasks_max(&self) -> Option<usize> {
        if self.paths.iter().any(|path| paths::is_glob(path)) {
            None
        } else {
            Some(self.paths.len())
        }
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        let is_stream = self.paths.iter().any(|path| input::is_stream(path));
        Some(if self.follow || is_stream {
            EventTimeOrder::live()
        } else {
            EventTimeOrder::files()
        })
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
            let what = format!(
                "expected at most {read_max}, since a lake's readers take no longer post, found {found}"
            );
            return Err(vec![Problem { field: "max_post_bytes", what, candidates: None }]);
        }
        let longest = self.spool.post_bytes_max(0) as u64;
        let is_stream = self.paths.iter().any(|path| input::is_stream(path));
        // Lines of a stream are cut to the length that fits. That is an error only if the
        // configuration asks for more.
        if !is_stream || self.max_post_bytes == max_post_bytes() || self.max_post_bytes.0 < longest
        {
            return Ok(());
        }
        let (found, spool) = (self.max_post_bytes, self.spool.bytes_max);
        let what = format!(
            "expected less than an eighth of the spool's bytes_max ({spool}), since standard input and pipes go \
             through it, found {found}: lower it, or give the spool more room"
        );
        Err(vec![Problem { field: "max_post_bytes", what, candidates: None }])
    }

    fn check_online(&self) -> Result<Option<String>> {
        let files: Vec<_> = self.paths.iter().filter(|path| !input::is_stream(path)).collect();
        if files.is_empty() {
            return Ok(None);
        }
        if self.follow {
            return Ok(Some("follows files, also those that aren't there yet".into()));
        }
        self.splits()?;
        for path in files.iter().filter(|path| !paths::is_glob(path)) {
            File::open(path)
                .map_err(|cause| Error::file(format!("can't read \"{path}\""), cause))?;
        }
        let s = if files.len() == 1 { "" } else { "s" };
        Ok(Some(format!("{} path{s} can be read", files.len())))
    }

    fn notes(&self, is_durable: bool) -> Vec<String> {
        let asked = usize::try_from(self.max_post_bytes.0).unwrap_or(usize::MAX);
        let fits = input::line_bytes_max(self.spool, asked);
        let is_stream = self.paths.iter().any(|path| input::is_stream(path));
        if !is_durable || !is_stream || fits >= asked {
            return Vec::new();
        }
        let (max, bytes_max) = (self.max_post_bytes, self.spool.bytes_max);
        vec![format!(
            "max_post_bytes is {fits} bytes for standard input and pipes, and not {max}: a line takes at most an \
             eighth of the spool's bytes_max ({bytes_max}); longer ones become dead letters, cut to that length"
        )]
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
        let spools = spools.map(|folder| Spools {
            folder,
            component: context.component.clone(),
            options: self.spool,
        });
        Ok(Box::new(LinesSpout {
            posts: self.posts(),
            paths: self.paths.clone(),
            follows: self.follow,
            spools,
            component: context.component.clone(),
            state: context.state.clone(),
            cursors: Arc::clone(&context.cursors),
            saved_at: context.saved_at,
        }))
    }
}

impl Lines {
    fn posts(&self) -> Posts {
        let kind = self.kind.as_deref().map(Text::from);
        Posts { kind, line_bytes_max: self.max_post_bytes, topics: Value::List([].into()) }
    }
}

#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod tests;
