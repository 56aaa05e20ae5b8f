//! Streams the posts of partitions, file after file. Damage is reported or skipped.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Position;
use super::ahead::{PART_BYTES, PARTS_AHEAD, Pool, StoreFeed};
use super::feed::{Cut, Feed, Files, FolderFeed, Found, Step, Wanted};
use super::known::{Indexes, Known};
use super::place::Place;
use crate::error::{Error, Result};
use crate::lake::form::Form;
use crate::lake::reader::{CHUNK_BYTES, Chunks, Input};
use crate::lake::scan::Trouble;
use crate::post::Post;

/// The handling of a damaged file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnDamage {
    /// The replay ends with an error that names the file and the byte.
    #[default]
    Stop,
    /// The posts before the damage are handed over; the rest of the file is skipped, and reported.
    Skip,
}

/// An event of a stream.
#[derive(Debug)]
pub enum News {
    /// Posts of a split, and the position after them.
    Posts {
        /// The split.
        split: usize,
        /// The posts.
        posts: Vec<Post>,
        /// The position after the last of them, in terms of the split, where they are consecutive.
        behind: Position,
        /// The file that they were read from.
        key: Arc<str>,
    },
    /// The end of a split.
    End(usize),
    /// A damaged file: the text names it, the damage, and what happens to the rest of it.
    Damaged(String),
}

/// A stream of the posts of partitions.
pub struct Stream {
    place: Place,
    feed: Box<dyn Feed>,
    chunk_bytes: usize,
    on_damage: OnDamage,
    current: Option<Current>,
    /// Events that were read and aren't returned yet.
    ready: VecDeque<News>,
    /// The split that is being read, and the position after the posts that were read of it, if any.
    reached: Option<(usize, Position)>,
}

/// The file that is being read.
struct Current {
    split: usize,
    file: Found,
    key: Arc<str>,
    chunks: Chunks,
    skip: u64,
    /// The posts to read, if not all after `skip`.
    cuts: Option<Vec<Cut>>,
    read: u64,
    /// The index entry of the file.
    known: Option<Known>,
    /// The number of bytes that were read and their checksum, if they are to be compared with the
    /// index.
    bytes: u64,
    checksum: crc32fast::Hasher,
}

impl Stream {
    /// Streams the files of a feed, in chunks of this many bytes.
    pub fn new(
        place: &Place,
        feed: Box<dyn Feed>,
        chunk_bytes: usize,
        on_damage: OnDamage,
    ) -> Self {
        let (current, ready, reached) = (None, VecDeque::new(), None);
        Self { place: place.clone(), feed, chunk_bytes, on_damage, current, ready, reached }
    }

    /// Streams partitions, in this order and in large chunks, without reading the index. Damage
    /// ends the stream with an error.
    ///
    /// # Errors
    /// If a thread that reads ahead can't be started.
    pub fn open(place: &Place, wanted: impl IntoIterator<Item = Wanted>) -> Result<Self> {
        let files = Files::of(place, &Indexes::none(place), wanted);
        let feed: Box<dyn Feed> = match place {
            Place::Folder(root) => Box::new(FolderFeed::new(root.clone(), files)),
            Place::Store(store) => {
                Box::new(StoreFeed::new(store, &Pool::start()?, files, PARTS_AHEAD, PART_BYTES))
            }
        };
        Ok(Self::new(place, feed, CHUNK_BYTES, OnDamage::Stop))
    }

    /// Returns the next event; `None` at the end.
    ///
    /// # Errors
    /// If a file can't be read, is damaged, or has fewer posts than were read of it before; or if a
    /// partition is gone and no other one replaced it.
    pub fn next_news(&mut self) -> Result<Option<News>> {
        loop {
            if let Some(news) = self.ready.pop_front() {
                return Ok(Some(news));
            }
            let Some(current) = &mut self.current else {
                match self.feed.next()? {
                    None => return Ok(None),
                    Some(Step::End(split)) => return Ok(Some(News::End(split))),
                    Some(Step::File { split, file, skip, known, cuts }) => {
                        let chunks = Chunks::of(Form::of(&file.key), self.chunk_bytes);
                        let (key, checksum) = (file.key.as_str().into(), crc32fast::Hasher::new());
                        let (read, bytes) = (0, 0);
                        self.current = Some(Current {
                            split,
                            file,
                            key,
                            chunks,
                            skip,
                            cuts,
                            read,
                            known,
                            bytes,
                            checksum,
                        });
                    }
                }
                continue;
            };
            match current.next(self.feed.as_mut()) {
                Ok(Some(posts)) => {
                    let (read, split) = (current.read, current.split);
                    current.bring(posts, read, &mut self.ready);
                    if let Some(News::Posts { behind, .. }) = self.ready.back() {
                        self.reached = Some((split, *behind));
                    }
                }
                Ok(None) => {
                    current.check_length(&self.place)?;
                    let altered = current.altered(&self.place);
                    self.current = None;
                    match altered {
                        None => continue,
                        Some(what) if self.on_damage == OnDamage::Skip => {
                            return Ok(Some(News::Damaged(format!(
                                "{what}; its posts are handed over"
                            ))));
                        }
                        Some(what) => return Err(Error::fatal(what)),
                    }
                }
                Err(Trouble::Gone) => {
                    let split = current.split;
                    let reached = self.reached.filter(|(reached, _)| *reached == split);
                    self.current = None;
                    self.feed.look_again(split, reached.map(|(_, behind)| behind))?;
                }
                Err(trouble) => {
                    let address = self.place.address(&current.file.key);
                    let skips = matches!(trouble, Trouble::Damage { .. })
                        && self.on_damage == OnDamage::Skip;
                    let error = trouble.at(&address);
                    self.current = None;
                    return if skips {
                        Ok(Some(News::Damaged(format!(
                            "{}; the rest of it is passed over",
                            error.chain()
                        ))))
                    } else {
                        Err(error)
                    };
                }
            }
        }
    }
}

/// A feed whose bytes are counted and checksummed if the index has a checksum.
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
    /// Returns the next posts; `None` at the end of the file.
    fn next(&mut self, feed: &mut dyn Feed) -> Result<Option<Vec<Post>>, Trouble> {
        let mut summed = Summed {
            feed,
            bytes: &mut self.bytes,
            sum: self.known.as_ref().map(|_| &mut self.checksum),
        };
        let posts = self.chunks.next_posts(&mut summed)?;
        self.read += posts.as_ref().map_or(0, Vec::len) as u64;
        Ok(posts)
    }

    /// Adds the wanted ones of these posts, which end at number `read` of the file, to the ready
    /// events.
    fn bring(&self, mut posts: Vec<Post>, read: u64, ready: &mut VecDeque<News>) {
        let (split, begin) = (self.split, read - posts.len() as u64);
        let Some(cuts) = &self.cuts else {
            let left = usize::try_from(self.skip.saturating_sub(begin)).unwrap_or(usize::MAX);
            posts.drain(..left.min(posts.len()));
            if !posts.is_empty() {
                let behind = Position { file: self.file.number, posts: read };
                ready.push_back(News::Posts { split, posts, behind, key: Arc::clone(&self.key) });
            }
            return;
        };
        for cut in cuts {
            let (from, to) = (cut.from.max(begin), (cut.from + cut.posts).min(read));
            if from < to {
                // Both numbers are within the posts of the chunk.
                let within = |number: u64| usize::try_from(number - begin).unwrap_or(usize::MAX);
                let posts = posts[within(from)..within(to)].to_vec();
                let behind = Position { file: cut.file, posts: cut.first + (to - cut.from) };
                ready.push_back(News::Posts { split, posts, behind, key: Arc::clone(&self.key) });
            }
        }
    }

    /// Describes the difference from the index, after the whole file is read.
    fn altered(&self, place: &Place) -> Option<String> {
        let found =
            Known { posts: self.read, bytes: self.bytes, crc32: self.checksum.clone().finalize() };
        let differs = self.known.as_ref()?.differs(&found)?;
        Some(format!("\"{}\" is damaged: {differs}", place.address(&self.file.key)))
    }

    fn check_length(&self, place: &Place) -> Result<()> {
        let Self { skip, read, .. } = self;
        if read >= skip {
            return Ok(());
        }
        let address = place.address(&self.file.key);
        Err(Error::fatal(format!(
            "\"{address}\" has {read} posts, but {skip} of it were read before"
        )))
    }
}
