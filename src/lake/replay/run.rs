//! Replays some partitions: in order, or sorted by the posts' own time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ahead::{PART_BYTES, PARTS_AHEAD, Pool, StoreFeed};
use super::choice::PostTimes;
use super::disorder::Disorder;
use super::feed::{Feed, Files, FolderFeed, Wanted};
use super::known::Indexes;
use super::mark::{Mark, Nanos};
use super::merge::{Entry, Handed, Limits, Merge, Run, Source};
use super::pace::Tempo;
use super::place::Place;
use super::stream::{News, OnDamage, Stream};
use super::{Position, mark};
use crate::error::Result;
use crate::lake::parallel;
use crate::lake::reader::CHUNK_BYTES;
use crate::post::Post;

/// The order in which posts are handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// Partition by partition, in the order in which the posts were written: the fastest.
    #[default]
    Partition,
    /// By the posts' own time, over all partitions of a task.
    Time,
}

/// The limits of sorting for a replay by time.
#[derive(Clone, Copy, Debug)]
pub struct Sorting {
    /// The maximum time by which a post may come after a newer one.
    pub disorder: Duration,
    /// The number of bytes of posts that are held in memory to sort them.
    pub buffer: u64,
}

impl Default for Sorting {
    fn default() -> Self {
        Self { disorder: Duration::from_secs(300), buffer: 64 << 20 }
    }
}

/// The maximum number of posts that are handed over at a time.
const POSTS_MAX: usize = 1024;

/// The minimum size of chunks and parts, which shrink if many partitions are read at once.
const CHUNK_BYTES_MIN: usize = 16 << 10;
const PART_BYTES_MIN: u64 = 64 << 10;

/// The number of parts of each partition that are read ahead if many partitions are merged.
const PARTS_AHEAD_MERGED: usize = 2;

/// A replay of partitions.
#[derive(Clone)]
pub struct Replay {
    /// The lake.
    pub place: Place,
    /// The order of the posts.
    pub order: Order,
    /// The limits of sorting.
    pub sorting: Sorting,
    /// The tempo. Posts whose distance matters at this speed are handed over one after the other.
    pub tempo: Tempo,
    /// The range of posts' own times.
    pub times: PostTimes,
    /// The handling of a damaged file.
    pub on_damage: OnDamage,
}

/// A partition of a replay.
#[derive(Clone, Debug)]
pub struct Split {
    /// Its name.
    pub partition: String,
    /// Its progress.
    pub mark: Option<Mark>,
    /// True if all of it was handed over.
    pub ended: bool,
}

/// An event of a replay.
pub enum Event {
    /// Posts. The flag is true if they are the first of another partition, in the order of
    /// partitions.
    Handed(Handed, bool),
    /// A damaged file: the text names it, and says what happens to the rest of it.
    Damaged(String),
}

impl Replay {
    /// Passes all events to `take`, until that returns false. Marks name splits by their index.
    ///
    /// # Errors
    /// If a file can't be read, or is damaged.
    pub fn run(&self, splits: &[Split], take: &mut dyn FnMut(Event) -> bool) -> Result<()> {
        let pool = match &self.place {
            Place::Store(_) => Some(Pool::start()?),
            Place::Folder(_) => None,
        };
        let help = Help { pool: pool.as_ref(), indexes: &Indexes::of(&self.place) };
        let mut wanted = |event| match event {
            Event::Handed(mut handed, anew) if !self.times.is_everything() => {
                self.leave_out(&mut handed);
                take(Event::Handed(handed, anew))
            }
            event => take(event),
        };
        match self.order {
            Order::Partition => self.in_order(splits, help, &mut wanted),
            Order::Time => self.by_time(splits, help, &mut wanted),
        }
    }

    /// Leaves out posts outside the range of times. Marks stay as they are: they depend only on
    /// what was read.
    fn leave_out(&self, handed: &mut Handed) {
        let mut untimed = 0;
        handed.posts.retain(|post| match post.created_at() {
            Some(time) => self.times.has(time),
            None => {
                untimed += 1;
                false
            }
        });
        handed.untimed += untimed;
        // The pace must not wait for a post that was left out.
        handed.time = handed.time.and_then(|_| handed.posts.iter().find_map(nanos));
    }

    fn feed(
        &self,
        help: Help<'_>,
        wanted: Vec<Wanted>,
        (parts, bytes): (usize, u64),
    ) -> Box<dyn Feed> {
        let files = Files::of(&self.place, help.indexes, wanted);
        match (&self.place, help.pool) {
            (Place::Store(store), Some(pool)) => {
                Box::new(StoreFeed::new(store, pool, files, parts, bytes))
            }
            (Place::Folder(root), _) => Box::new(FolderFeed::new(root.clone(), files)),
            (Place::Store(_), None) => unreachable!("a store has a pool"),
        }
    }

    fn in_order(
        &self,
        splits: &[Split],
        help: Help<'_>,
        take: &mut dyn FnMut(Event) -> bool,
    ) -> Result<()> {
        let left = splits.iter().enumerate().filter(|(_, split)| !split.ended);
        let wanted =
            left.map(|(number, split)| wanted(number, split)).collect::<Result<Vec<_>>>()?;
        let feed = self.feed(help, wanted, (PARTS_AHEAD, PART_BYTES));
        let mut stream = Stream::new(&self.place, feed, CHUNK_BYTES, self.on_damage);
        let (mut last, mut read, mut disorder) = (None, None, Disorder::default());
        while let Some(news) = stream.next_news()? {
            let going_on = match news {
                News::Damaged(what) => take(Event::Damaged(what)),
                News::End(split) => {
                    let ends = read.take().filter(|(of, _)| *of == split).into_iter().collect();
                    let marks = vec![(split, None)];
                    take(Event::Handed(Handed { marks, ends, ..Handed::default() }, false))
                }
                News::Posts { split, posts, behind, .. } => {
                    let anew = last.replace(split) != Some(split);
                    if anew {
                        disorder = Disorder::default();
                    }
                    read = Some((split, behind));
                    self.in_pieces((split, behind), posts, (anew, &mut disorder), take)
                }
            };
            if !going_on {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands over consecutive posts, some at a time. Their times are read only if there is a tempo,
    /// since that costs more than everything else.
    fn in_pieces(
        &self,
        (split, behind): (usize, Position),
        mut posts: Vec<Post>,
        (mut anew, disorder): (bool, &mut Disorder),
        take: &mut dyn FnMut(Event) -> bool,
    ) -> bool {
        let span = self.tempo.speed.span();
        let mut times = VecDeque::new();
        if span.is_some() {
            times.extend(posts.iter().map(nanos));
        }
        while !posts.is_empty() {
            let time = times.iter().copied().flatten().next();
            let rest = posts.split_off(piece(posts.len(), &times, span.zip(time)));
            let of_piece = times.drain(..posts.len().min(times.len())).flatten();
            let out_of_order = of_piece.map(|time| u64::from(disorder.is_out_of_order(time))).sum();
            let mark =
                Mark::all_before(Position { posts: behind.posts - rest.len() as u64, ..behind });
            let marks = vec![(split, Some(mark))];
            let handed = Handed { posts, time, marks, out_of_order, ..Handed::default() };
            if !take(Event::Handed(handed, anew)) {
                return false;
            }
            (posts, anew) = (rest, false);
        }
        true
    }

    fn by_time(
        &self,
        splits: &[Split],
        help: Help<'_>,
        take: &mut dyn FnMut(Event) -> bool,
    ) -> Result<()> {
        let entries = parallel::map(splits, |split| (!split.ended).then(|| self.entry(split)));
        let open_max = entries.iter().flatten().count().max(1);
        let buffer = usize::try_from(self.sorting.buffer).unwrap_or(usize::MAX);
        let chunk = (buffer / open_max / 4).clamp(CHUNK_BYTES_MIN, CHUNK_BYTES);
        let ahead = PART_BYTES * PARTS_AHEAD as u64 / (open_max * PARTS_AHEAD_MERGED) as u64;
        let parts = (PARTS_AHEAD_MERGED, ahead.clamp(PART_BYTES_MIN, PART_BYTES));
        let damaged = std::cell::RefCell::new(Vec::new());
        let open = |number: usize, from: Option<Position>| {
            let wanted =
                Wanted { split: number, partition: splits[number].partition.clone(), from };
            let stream = Stream::new(
                &self.place,
                self.feed(help, vec![wanted], parts),
                chunk,
                self.on_damage,
            );
            Ok(Sorted { stream, damaged: &damaged })
        };
        let limits = Limits {
            disorder: Nanos::try_from(self.sorting.disorder.as_nanos()).unwrap_or(Nanos::MAX),
            buffer,
            posts_max: POSTS_MAX,
            span: self.tempo.speed.span(),
        };
        let mut merge = Merge::new(entries, open, limits);
        loop {
            let handed = merge.next_handed()?;
            if !damaged.take().into_iter().all(|what| take(Event::Damaged(what))) {
                return Ok(());
            }
            let Some(handed) = handed else { break };
            if !take(Event::Handed(handed, false)) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the entry of a split in a merge. Its time comes from reading the beginning of the
    /// partition: the index records the oldest post, and if that is a stray one, the partition
    /// would be opened long before its turn.
    fn entry(&self, split: &Split) -> Entry {
        let from = split.mark.map(|mark| mark.oldest.file);
        let begins = self.place.peek(&split.partition, from).iter().filter_map(nanos).min();
        Entry { mark: split.mark, begins }
    }
}

/// The resources that a replay reads with.
#[derive(Clone, Copy)]
struct Help<'a> {
    /// The threads that read ahead, for a store.
    pool: Option<&'a Arc<Pool>>,
    /// The known facts about the files.
    indexes: &'a Indexes,
}

fn wanted(number: usize, split: &Split) -> Result<Wanted> {
    let from = split.mark.map(mark::Mark::in_order).transpose()?;
    Ok(Wanted { split: number, partition: split.partition.clone(), from })
}

/// Returns the number of posts that are handed over together: the time of each is at most `span`
/// away from `first`.
fn piece(posts: usize, times: &VecDeque<Option<Nanos>>, within: Option<(Nanos, Nanos)>) -> usize {
    let max = posts.min(POSTS_MAX);
    let Some((span, first)) = within else { return max };
    // In both directions: the posts after a stray one keep their tempo, too.
    let far = |time: &Option<Nanos>| {
        time.is_some_and(|time| time.saturating_sub(first).saturating_abs() > span)
    };
    times.iter().take(max).position(far).unwrap_or(max).max(1)
}

/// Returns a post's own time.
fn nanos(post: &Post) -> Option<Nanos> {
    post.created_at().map(time::OffsetDateTime::unix_timestamp_nanos)
}

/// One partition of a merge.
struct Sorted<'a> {
    stream: Stream,
    damaged: &'a std::cell::RefCell<Vec<String>>,
}

impl Source for Sorted<'_> {
    fn next(&mut self) -> Result<Option<Run>> {
        loop {
            match self.stream.next_news()? {
                Some(News::Posts { posts, behind, .. }) => return Ok(Some(Run { posts, behind })),
                Some(News::Damaged(what)) => self.damaged.borrow_mut().push(what),
                Some(News::End(_)) | None => return Ok(None),
            }
        }
    }
}
