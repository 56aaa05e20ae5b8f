//! The posts of partitions as a stream: file after file, with damage reported or passed over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Position;
use super::feed::{Feed, Step};
use super::place::{Found, Place};
use crate::error::{Error, Result};
use crate::lake::form::Form;
use crate::lake::reader::Chunks;
use crate::lake::scan::Trouble;
use crate::post::Post;

/// What happens at a damaged file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDamage {
    /// It ends with an error that names the file and the byte.
    #[default]
    Stop,
    /// What stands before the damage is handed over, and the rest of the file is passed over and named.
    Skip,
}

/// What a stream brings.
#[derive(Debug)]
pub enum News {
    /// Posts of a split, and the position behind them.
    Posts {
        /// The split.
        split: usize,
        /// The posts.
        posts: Vec<Post>,
        /// Behind the last of them.
        behind: Position,
    },
    /// A split is read.
    End(usize),
    /// The rest of a file was passed over; the text names it and the byte.
    Damaged(String),
}

/// Reads partitions.
pub struct Stream {
    place: Place,
    feed: Box<dyn Feed>,
    chunk_bytes: usize,
    on_damage: OnDamage,
    current: Option<Current>,
}

/// The file that is being read.
struct Current {
    split: usize,
    file: Found,
    chunks: Chunks,
    skip: u64,
    read: u64,
}

impl Stream {
    /// Of what a feed brings, in chunks of so many bytes.
    pub fn new(place: &Place, feed: Box<dyn Feed>, chunk_bytes: usize, on_damage: OnDamage) -> Self {
        Self { place: place.clone(), feed, chunk_bytes, on_damage, current: None }
    }

    /// What comes next; `None` when all is read.
    ///
    /// # Errors
    /// If something can't be read, is damaged, or has fewer posts than were read of it before.
    pub fn next(&mut self) -> Result<Option<News>> {
        loop {
            let Some(current) = &mut self.current else {
                match self.feed.next()? {
                    None => return Ok(None),
                    Some(Step::End(split)) => return Ok(Some(News::End(split))),
                    Some(Step::File { split, file, skip }) => {
                        let chunks = Chunks::of(Form::of(&file.key), self.chunk_bytes);
                        self.current = Some(Current { split, file, chunks, skip, read: 0 });
                    }
                }
                continue;
            };
            match current.next(self.feed.as_mut()) {
                Ok(Some(news)) => return Ok(Some(news)),
                Ok(None) => current.check_length(&self.place)?,
                Err(trouble) => {
                    let address = self.place.address(&current.file.key);
                    let skips = matches!(trouble, Trouble::Damage { .. }) && self.on_damage == OnDamage::Skip;
                    let error = trouble.at(&address);
                    self.current = None;
                    return if skips { Ok(Some(News::Damaged(error.chain()))) } else { Err(error) };
                }
            }
            self.current = None;
        }
    }
}

impl Current {
    /// The next posts that weren't read before; `None` at the end of the file.
    fn next(&mut self, feed: &mut dyn Feed) -> Result<Option<News>, Trouble> {
        while let Some(mut posts) = self.chunks.next_posts(|chunk| feed.fill(chunk))? {
            let left = usize::try_from(self.skip.saturating_sub(self.read)).unwrap_or(usize::MAX);
            self.read += posts.len() as u64;
            posts.drain(..left.min(posts.len()));
            if !posts.is_empty() {
                let behind = Position { file: self.file.number, posts: self.read };
                return Ok(Some(News::Posts { split: self.split, posts, behind }));
            }
        }
        Ok(None)
    }

    fn check_length(&self, place: &Place) -> Result<()> {
        let Self { skip, read, .. } = self;
        if read >= skip {
            return Ok(());
        }
        let address = place.address(&self.file.key);
        Err(Error::fatal(format!("\"{address}\" has {read} posts, but {skip} of it were read before")))
    }
}
