//! Merges the posts of several splits by their own time, within a given disorder and a bounded
//! memory.
//!
//! The progress of each split is the newest time that was read of it. The merge reads from the
//! split with the least progress, and hands a post over when every split has progressed beyond it
//! by at least the disorder, or when the memory is full. A post that is read after a newer one was
//! handed over is handed over at once, and is counted. A split is opened only when the others wait
//! for the time at which it begins, so that a lake of many hours isn't open at once.
//!
//! See [`super::mark`] for the exactness of its cursors.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use super::Position;
use super::mark::{Key, Mark, Nanos};
use crate::error::Result;
use crate::post::Post;

/// The overhead in bytes of a post that is held back, or was handed over before an older one.
const HELD_BYTES: usize = 128;
const SLOT_BYTES: usize = std::mem::size_of::<Slot>();

/// A time before every time that a post can have.
const BEGINNING: Nanos = Nanos::MIN;

/// Consecutive posts of one file.
pub struct Run {
    /// The posts.
    pub posts: Vec<Post>,
    /// The position after the last of them.
    pub behind: Position,
}

/// The source of the posts of one split.
pub trait Source {
    /// Returns the next posts; `None` at the end.
    ///
    /// # Errors
    /// If they can't be read.
    fn next(&mut self) -> Result<Option<Run>>;
}

/// A split that is to be merged.
pub struct Entry {
    /// The progress of an earlier run; `None` at the start of the split.
    pub mark: Option<Mark>,
    /// The approximate time at which its posts begin; `None` if it isn't known.
    pub begins: Option<Nanos>,
}

/// The bounds of a merge.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum time by which a post may come after a newer one, in nanoseconds.
    pub disorder: Nanos,
    /// The maximum number of bytes of posts in memory.
    pub buffer: usize,
    /// The maximum number of posts that are handed over at a time.
    pub posts_max: usize,
    /// The maximum difference between the times of these posts.
    pub span: Option<Nanos>,
}

/// Posts that are handed over together.
#[derive(Debug, Default)]
pub struct Handed {
    /// The posts, in order.
    pub posts: Vec<Post>,
    /// The own time of the first post that has one.
    pub time: Option<Nanos>,
    /// The progress of each split that these posts change; `None` at its end.
    pub marks: Vec<(usize, Option<Mark>)>,
    /// The number of posts out of order, if their times are read: see [`super::disorder`].
    pub out_of_order: u64,
    /// The number of posts that were left out because they have no time of their own and only a
    /// range of times is selected.
    pub untimed: u64,
    /// The positions of the ends of splits that were reached now, if any post of the split was
    /// read.
    pub ends: Vec<(usize, Position)>,
}

/// A post's position, and true if the post is held back.
struct Slot {
    place: Position,
    held: bool,
}

/// A post that is held back.
struct Held {
    key: (Nanos, usize, Position),
    /// Its number among all slots of its split.
    slot: u64,
    post: Post,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// A split that is being merged.
struct Lane<S> {
    source: Option<S>,
    ended: bool,
    /// The newest time that was read.
    progress: Nanos,
    /// The progress of an earlier run.
    before: Option<Mark>,
    read: Option<Position>,
    last: Option<Key>,
    /// The posts from the oldest one that is held back.
    window: VecDeque<Slot>,
    /// The number of the window's first slot.
    first: u64,
}

impl<S> Lane<S> {
    /// Returns true if posts that were held back in an earlier run may still be read again.
    fn catches_up(&self) -> bool {
        let behind =
            |mark: Mark| mark.oldest < mark.read && self.read.is_none_or(|read| read < mark.read);
        !self.ended && self.before.is_some_and(behind)
    }

    fn progress(&self) -> Nanos {
        match self.ended {
            true => Nanos::MAX,
            false if self.catches_up() => BEGINNING,
            false => self.progress,
        }
    }

    fn mark(&self) -> Option<Mark> {
        let read = self.read.max(self.before.map(|mark| mark.read))?;
        if self.ended && self.window.is_empty() {
            return None;
        }
        let before = |slot: &Slot| Position { posts: slot.place.posts - 1, ..slot.place };
        Some(Mark { oldest: self.window.front().map_or(read, before), read, last: self.last })
    }

    fn trim(&mut self) -> usize {
        let mut trimmed = 0;
        while self.window.pop_front_if(|slot| !slot.held).is_some() {
            self.first += 1;
            trimmed += 1;
        }
        trimmed
    }
}

/// A merge of several splits.
pub struct Merge<S, O> {
    lanes: Vec<Lane<S>>,
    open: O,
    limits: Limits,
    heap: BinaryHeap<Reverse<Held>>,
    /// The number of bytes in memory.
    used: usize,
    /// The least progress of all splits.
    all: Nanos,
    /// The newest time that was handed over in order.
    newest: Nanos,
    handed: Handed,
    touched: BTreeSet<usize>,
}

impl<S: Source, O: FnMut(usize, Option<Position>) -> Result<S>> Merge<S, O> {
    /// Creates a merge of these splits; `open` opens one of them at the position from which it is
    /// read.
    pub fn new(entries: Vec<Option<Entry>>, open: O, limits: Limits) -> Self {
        let lane = |entry: Option<Entry>| {
            let (mark, begins) =
                entry.as_ref().map_or((None, None), |entry| (entry.mark, entry.begins));
            Lane {
                source: None,
                ended: entry.is_none(),
                progress: begins.unwrap_or(BEGINNING),
                before: mark,
                read: None,
                last: mark.and_then(|mark| mark.last),
                window: VecDeque::new(),
                first: 0,
            }
        };
        let lanes: Vec<Lane<S>> = entries.into_iter().map(lane).collect();
        let all = lanes.iter().map(Lane::progress).min().unwrap_or(Nanos::MAX);
        let (heap, touched) = (BinaryHeap::new(), BTreeSet::new());
        let handed = Handed::default();
        Self { lanes, open, limits, heap, used: 0, all, newest: BEGINNING, handed, touched }
    }

    /// Returns the next posts to hand over; `None` after the last.
    ///
    /// # Errors
    /// If a split can't be read.
    pub fn next_handed(&mut self) -> Result<Option<Handed>> {
        loop {
            while let Some(held) = self.next_due() {
                self.hand_over_held(held);
                if self.is_full() {
                    return Ok(Some(self.take()));
                }
            }
            // Collected posts are handed over before more are read.
            if !self.touched.is_empty() {
                return Ok(Some(self.take()));
            }
            let Some(lane) = self.furthest_behind() else { return Ok(None) };
            self.read(lane)?;
        }
    }

    fn is_full(&self) -> bool {
        let next = self.heap.peek().map(|held| held.0.key.0);
        let far = |span| {
            self.handed
                .time
                .zip(next)
                .is_some_and(|(first, next)| next.saturating_sub(first) > span)
        };
        self.handed.posts.len() >= self.limits.posts_max || self.limits.span.is_some_and(far)
    }

    fn take(&mut self) -> Handed {
        let mut handed = std::mem::take(&mut self.handed);
        let touched = std::mem::take(&mut self.touched);
        for number in touched {
            let lane = &self.lanes[number];
            let mark = lane.mark();
            if let (None, Some(read)) = (mark, lane.read) {
                handed.ends.push((number, read));
            }
            handed.marks.push((number, mark));
        }
        handed
    }

    fn next_due(&mut self) -> Option<Held> {
        let Reverse(oldest) = self.heap.peek()?;
        let passed =
            self.all == Nanos::MAX || oldest.key.0 < self.all.saturating_sub(self.limits.disorder);
        // No post is handed over before the posts that an earlier run held back are read again;
        // otherwise the marks would be wrong.
        let full = self.used > self.limits.buffer && self.all != BEGINNING;
        if passed || full { self.heap.pop().map(|held| held.0) } else { None }
    }

    fn furthest_behind(&self) -> Option<usize> {
        let lanes = self.lanes.iter().enumerate().filter(|(_, lane)| !lane.ended);
        lanes.min_by_key(|(_, lane)| lane.progress()).map(|(number, _)| number)
    }

    /// Reads some posts of a split.
    fn read(&mut self, number: usize) -> Result<()> {
        let lane = &mut self.lanes[number];
        let source = match &mut lane.source {
            Some(source) => source,
            none => none.insert((self.open)(number, lane.before.map(|mark| mark.oldest))?),
        };
        match source.next()? {
            Some(Run { posts, behind }) => {
                let first = behind.posts - posts.len() as u64 + 1;
                for (post, place) in posts.into_iter().zip(first..) {
                    self.take_in(number, post, Position { posts: place, ..behind });
                }
            }
            None => {
                lane.ended = true;
                lane.source = None;
                self.touched.insert(number);
            }
        }
        self.all = self.lanes.iter().map(Lane::progress).min().unwrap_or(Nanos::MAX);
        Ok(())
    }

    /// Takes one post that was read.
    fn take_in(&mut self, number: usize, post: Post, place: Position) {
        let time = post.created_at().map(time::OffsetDateTime::unix_timestamp_nanos);
        let lane = &mut self.lanes[number];
        lane.read = Some(place);
        lane.progress = lane.progress.max(time.unwrap_or(BEGINNING));
        let was_read = lane.before.is_some_and(|mark| place <= mark.read);
        if was_read && lane.before.is_some_and(|mark| mark.has(place, time)) {
            return self.keep_slot(number, place, false);
        }
        match time {
            None => self.hand_over(number, post, place, None),
            Some(time)
                if !was_read
                    && (time < self.newest
                        || lane.last.is_some_and(|last| (time, place) <= last)) =>
            {
                self.handed.out_of_order += 1;
                // This post is the oldest of its split, since no held-back post is older than the
                // newest time handed over.
                lane.last = lane.last.max(Some((time, place)));
                self.hand_over(number, post, place, Some(time));
            }
            Some(time) => {
                let slot = lane.first + lane.window.len() as u64;
                self.keep_slot(number, place, true);
                // A copy, which doesn't keep the whole read buffer in memory.
                let held = Held { key: (time, number, place), slot, post: post.detached() };
                self.used += held.post.len() + HELD_BYTES;
                self.heap.push(Reverse(held));
            }
        }
    }

    fn keep_slot(&mut self, number: usize, place: Position, held: bool) {
        let lane = &mut self.lanes[number];
        if held || !lane.window.is_empty() {
            lane.window.push_back(Slot { place, held });
            self.used += SLOT_BYTES;
        } else {
            lane.first += 1;
        }
    }

    /// Hands over a post that was just read.
    fn hand_over(&mut self, number: usize, post: Post, place: Position, time: Option<Nanos>) {
        self.keep_slot(number, place, false);
        self.push(number, post, time);
    }

    fn hand_over_held(&mut self, Held { key: (time, number, place), slot, post }: Held) {
        let lane = &mut self.lanes[number];
        lane.last = Some((time, place));
        self.newest = time;
        let slot = usize::try_from(slot - lane.first).expect("a window fits into memory");
        lane.window[slot].held = false;
        self.used -= post.len() + HELD_BYTES + lane.trim() * SLOT_BYTES;
        self.push(number, post, Some(time));
    }

    fn push(&mut self, number: usize, post: Post, time: Option<Nanos>) {
        self.handed.time = self.handed.time.or(time);
        self.handed.posts.push(post);
        self.touched.insert(number);
    }
}

#[cfg(test)]
mod tests;
