//! A replay of some partitions: in order, or sorted by the posts' own time.

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

/// In which order posts are handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// Partition by partition, each as it was written: the quickest.
    #[default]
    Partition,
    /// By the posts' own time, over all partitions of a task.
    Time,
}

/// How far a replay sorts that is by time.
#[derive(Clone, Copy, Debug)]
pub struct Sorting {
    /// How far a post may stand behind a newer one.
    pub disorder: Duration,
    /// How many bytes of posts are held for that.
    pub buffer: u64,
}

impl Default for Sorting {
    fn default() -> Self {
        Self { disorder: Duration::from_secs(300), buffer: 64 << 20 }
    }
}

/// How many posts are handed over in one go at most.
const POSTS_MAX: usize = 1024;

/// How small the chunks and parts get that are read of each of many partitions.
const CHUNK_BYTES_MIN: usize = 16 << 10;
const PART_BYTES_MIN: u64 = 64 << 10;

/// How many parts of each partition are read ahead where many are merged.
const PARTS_AHEAD_MERGED: usize = 2;

/// How partitions are replayed.
#[derive(Clone)]
pub struct Replay {
    /// The lake.
    pub place: Place,
    /// In which order.
    pub order: Order,
    /// How far it sorts.
    pub sorting: Sorting,
    /// Posts that are further apart at this speed are handed over one after the other.
    pub tempo: Tempo,
    /// Which posts, by their own time.
    pub times: PostTimes,
    /// What happens at a damaged file.
    pub on_damage: OnDamage,
}

/// A partition of a replay.
#[derive(Clone, Debug)]
pub struct Split {
    /// Its name.
    pub partition: String,
    /// How far it was handed over.
    pub mark: Option<Mark>,
    /// All of it was.
    pub ended: bool,
}

/// What a replay brings.
pub enum Event {
    /// Posts. The flag says that they are the first of another partition, in the order of
    /// partitions.
    Handed(Handed, bool),
    /// A file is damaged; the text names it, and says what becomes of the rest.
    Damaged(String),
}

impl Replay {
    /// Hands everything to `take`, until that returns false. Marks name splits by their position.
    ///
    /// # Errors
    /// If something can't be read, or is damaged.
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

    /// Leaves out the posts of other times. Marks stay: how far was read doesn't depend on it.
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
        // Nobody waits for what isn't there.
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

    /// Hands over posts that stand one behind the other, some at a time. Their times are read only
    /// where there is a tempo, since that costs more than the rest.
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

    /// The index knows the oldest post of a partition. Where that is a stray one, it would be
    /// opened long before its turn; so a look at its beginning tells more.
    fn entry(&self, split: &Split) -> Entry {
        let from = split.mark.map(|mark| mark.oldest.file);
        let begins = self.place.peek(&split.partition, from).iter().filter_map(nanos).min();
        Entry { mark: split.mark, begins }
    }
}

/// What a replay reads with.
#[derive(Clone, Copy)]
struct Help<'a> {
    /// Threads that read ahead, for a store.
    pool: Option<&'a Arc<Pool>>,
    /// What is known of the files.
    indexes: &'a Indexes,
}

fn wanted(number: usize, split: &Split) -> Result<Wanted> {
    let from = split.mark.map(mark::Mark::in_order).transpose()?;
    Ok(Wanted { split: number, partition: split.partition.clone(), from })
}

/// How many posts go together: those whose times are no further apart than the span, which begins
/// with `first`.
fn piece(posts: usize, times: &VecDeque<Option<Nanos>>, within: Option<(Nanos, Nanos)>) -> usize {
    let max = posts.min(POSTS_MAX);
    let Some((span, first)) = within else { return max };
    // On either side: behind a stray post the others have their tempo, too.
    let far = |time: &Option<Nanos>| {
        time.is_some_and(|time| time.saturating_sub(first).saturating_abs() > span)
    };
    times.iter().take(max).position(far).unwrap_or(max).max(1)
}

/// A post's own time.
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
