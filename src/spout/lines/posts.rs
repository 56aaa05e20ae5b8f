//! Converts lines to the tuples of posts, or to dead letters.

use bytes::Bytes;

use super::STANDARD_INPUT;
use super::splitter::{Content, Line, LineSplitter, Place};
use crate::dead_letter::DeadLetter;
use crate::post::Post;
use crate::units::ByteSize;
use crate::value::{Text, Value};

/// A converter of lines to tuples.
pub(super) struct Posts {
    pub kind: Option<Text>,
    pub line_bytes_max: ByteSize,
    pub topics: Value,
}

impl Posts {
    pub(crate) fn splitter(&self, place: Place) -> LineSplitter {
        LineSplitter::new(place, self.line_bytes())
    }

    pub(crate) fn line_bytes(&self) -> usize {
        usize::try_from(self.line_bytes_max.0).unwrap_or(usize::MAX)
    }

    /// Returns the tuple of a line of this file, or the dead letter that the line becomes.
    pub(crate) fn read(&self, file: &str, line: Line) -> Result<[Value; 3], DeadLetter> {
        let (raw, what, cut) = match line.content {
            Content::Whole(raw) => match self.tuple(&raw) {
                Ok(tuple) => return Ok(tuple),
                Err(what) => (raw, what, false),
            },
            Content::TooLong { held, length } if length <= self.line_bytes_max.0 => {
                let max = held.len();
                let what = format!(
                    "expected at most {max} bytes (an eighth of the spool's bytes_max), found {length}"
                );
                (held, what, true)
            }
            Content::TooLong { held, length } => (held, self.too_long(length), true),
        };
        let file = if file == STANDARD_INPUT { "(standard input)" } else { file };
        Err(DeadLetter { raw, error: format!("{file}:{}: {what}", line.number), cut })
    }

    pub(crate) fn too_long(&self, length: impl std::fmt::Display) -> String {
        format!("expected at most {} (max_post_bytes), found {length} bytes", self.line_bytes_max)
    }

    pub(crate) fn tuple(&self, line: &Bytes) -> Result<[Value; 3], String> {
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
