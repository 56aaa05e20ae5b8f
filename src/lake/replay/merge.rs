//! Merges the posts of several splits by their own time, within a stated disorder and a bounded
//! memory.
//!
//! Each split has a progress: the newest time that was read of it. The split that is furthest
//! behind is read on, and a post is handed over when every split has come so far beyond it as the
//! disorder says, or when the memory is full. What is read later than that goes on at once, and is
//! counted. A split is opened when its beginning is what the others wait for, so that a lake of
//! many hours isn't open at once.
//!
//! See [`super::mark`] for what makes its cursors exact.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use super::Position;
use super::mark::{Key, Mark, Nanos};
use crate::error::Result;
use crate::post::Post;

/// What a post that is held back, or handed over before an older one, costs beside its bytes.
const HELD_BYTES: usize = 128;
const SLOT_BYTES: usize = std::mem::size_of::<Slot>();

/// Before every time that a post can have.
const BEGINNING: Nanos = Nanos::MIN;

/// Posts of one file, in the order in which they stand in it.
pub struct Run {
    /// The posts.
    pub posts: Vec<Post>,
    /// Behind the last of them.
    pub behind: Position,
}

/// Where the posts of one split come from.
pub trait Source {
    /// The next posts; `None` at the end.
    ///
    /// # Errors
    /// If they can't be read.
    fn next(&mut self) -> Result<Option<Run>>;
}

/// A split that is to be merged.
pub struct Entry {
    /// How far it was handed over; `None` at its start.
    pub mark: Option<Mark>,
    /// About when its posts begin; `None` if nobody knows.
    pub begins: Option<Nanos>,
}

/// How it is sorted.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far a post may stand behind a newer one, in nanoseconds.
    pub disorder: Nanos,
    /// How many bytes of posts are held at most.
    pub buffer: usize,
    /// How many posts are handed over in one go at most.
    pub posts_max: usize,
    /// How far their times may be apart then.
    pub span: Option<Nanos>,
}

/// Posts that are handed over as one.
#[derive(Debug, Default)]
pub struct Handed {
    /// The posts, in order.
    pub posts: Vec<Post>,
    /// When the first of them was written, by itself, if one says so.
    pub time: Option<Nanos>,
    /// How far each split that it changes is handed over then; `None` is its end.
    pub marks: Vec<(usize, Option<Mark>)>,
    /// How many of the posts are out of order, where their times are read: see [`super::disorder`].
    pub out_of_order: u64,
    /// How many posts were left out, since they have no time of their own and only some times are
    /// wanted.
    pub untimed: u64,
    /// How far the splits that are at their ends were read, where anything was read of them now.
    pub ends: Vec<(usize, Position)>,
}

/// A post's place, and whether it is held back.
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
    /// What was handed over in an earlier run.
    before: Option<Mark>,
    read: Option<Position>,
    last: Option<Key>,
    /// The posts from the oldest that is held back on.
    window: VecDeque<Slot>,
    /// The number of the window's first slot.
    first: u64,
}

impl<S> Lane<S> {
    /// Whether posts that were held back in an earlier run may still come.
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

/// Merges splits.
pub struct Merge<S, O> {
    lanes: Vec<Lane<S>>,
    open: O,
    limits: Limits,
    heap: BinaryHeap<Reverse<Held>>,
    /// The bytes that are held.
    used: usize,
    /// All splits have come at least so far.
    all: Nanos,
    /// The newest time that was handed over in order.
    newest: Nanos,
    handed: Handed,
    touched: BTreeSet<usize>,
}

impl<S: Source, O: FnMut(usize, Option<Position>) -> Result<S>> Merge<S, O> {
    /// Of these; `open` opens one of them, at the position from which on it is read.
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

    /// What is handed over next; `None` when all is.
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
            // What is there goes out before more is read.
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
        // Nothing goes out before what an earlier run held back is there again, or the marks would
        // lie.
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
                // It is the oldest of its split: nothing that is held back is older than the
                // newest.
                lane.last = lane.last.max(Some((time, place)));
                self.hand_over(number, post, place, Some(time));
            }
            Some(time) => {
                let slot = lane.first + lane.window.len() as u64;
                self.keep_slot(number, place, true);
                // A copy, so that it doesn't keep all of the buffer that it was read in.
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

    /// Hands a post over that was just read.
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
