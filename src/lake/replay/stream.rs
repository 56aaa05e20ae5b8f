//! The posts of partitions as a stream: file after file, with damage reported or passed over.

use std::ops::Range;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Position;
use super::feed::{Feed, Step};
use super::known::Known;
use super::place::{Found, Place};
use crate::error::{Error, Result};
use crate::lake::form::Form;
use crate::lake::reader::{Chunks, Input};
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
    /// A file is damaged; the text names it, and says what and what becomes of the rest.
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
    /// What the index says of it.
    known: Option<Known>,
    /// How many bytes of it were read, and their checksum, if that is to be held against the index.
    bytes: u64,
    checksum: crc32fast::Hasher,
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
                    Some(Step::File { split, file, skip, known }) => {
                        let (chunks, checksum) =
                            (Chunks::of(Form::of(&file.key), self.chunk_bytes), crc32fast::Hasher::new());
                        self.current = Some(Current { split, file, chunks, skip, read: 0, known, bytes: 0, checksum });
                    }
                }
                continue;
            };
            match current.next(self.feed.as_mut()) {
                Ok(Some(news)) => return Ok(Some(news)),
                Ok(None) => {
                    current.check_length(&self.place)?;
                    let altered = current.altered(&self.place);
                    self.current = None;
                    match altered {
                        None => continue,
                        Some(what) if self.on_damage == OnDamage::Skip => {
                            return Ok(Some(News::Damaged(format!("{what}; its posts are handed over"))));
                        }
                        Some(what) => return Err(Error::fatal(what)),
                    }
                }
                Err(trouble) => {
                    let address = self.place.address(&current.file.key);
                    let skips = matches!(trouble, Trouble::Damage { .. }) && self.on_damage == OnDamage::Skip;
                    let error = trouble.at(&address);
                    self.current = None;
                    return if skips {
                        Ok(Some(News::Damaged(format!("{}; the rest of it is passed over", error.chain()))))
                    } else {
                        Err(error)
                    };
                }
            }
        }
    }
}

/// A feed, counted and summed up where the index knows the sum.
struct Summed<'a> {
    feed: &'a mut dyn Feed,
    bytes: &'a mut u64,
    sum: Option<&'a mut crc32fast::Hasher>,
}

impl Input for Summed<'_> {
    fn fill(&mut self, to: &mut Vec<u8>) -> Result<bool, Trouble> {
        let before = to.len();
        let going_on = self.feed.fill(to)?;
        if let Some(sum) = &mut self.sum {
            *self.bytes += (to.len() - before) as u64;
            sum.update(&to[before..]);
        }
        Ok(going_on)
    }

    fn length(&mut self) -> Result<u64, Trouble> {
        self.feed.length()
    }

    fn range(&mut self, range: Range<u64>) -> Result<Bytes, Trouble> {
        self.feed.range(range)
    }
}

impl Current {
    /// The next posts that weren't read before; `None` at the end of the file.
    fn next(&mut self, feed: &mut dyn Feed) -> Result<Option<News>, Trouble> {
        let mut summed = Summed { feed, bytes: &mut self.bytes, sum: self.known.as_ref().map(|_| &mut self.checksum) };
        while let Some(mut posts) = self.chunks.next_posts(&mut summed)? {
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

    /// What is other than the index says, once all of it is read.
    fn altered(&self, place: &Place) -> Option<String> {
        let found = Known { posts: self.read, bytes: self.bytes, crc32: self.checksum.clone().finalize() };
        let differs = self.known.as_ref()?.differs(&found)?;
        Some(format!("\"{}\" is damaged: {differs}", place.address(&self.file.key)))
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
