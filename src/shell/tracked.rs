//! The tuples of a spout's child that it wants to hear of again.

use std::collections::VecDeque;

/// How many acknowledgements are sent in one go. More would save switches between processes, and
/// hold up the next tuples.
pub(super) const ACKS_MAX: usize = 64;

/// An id as it stands in the child's JSON.
pub(super) type OwnId = Box<str>;

/// What the child has emitted, by number, and what it is still to be told.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    /// The number of the last tuple that was emitted.
    number: u64,
    /// Tuples with an id that no checkpoint holds.
    open: VecDeque<(u64, OwnId)>,
    acks: VecDeque<OwnId>,
    fails: VecDeque<OwnId>,
}

impl Tracked {
    /// Behind the tuple with this number.
    pub(crate) fn after(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// The number of the last tuple.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A tuple was emitted.
    pub(crate) fn add(&mut self, id: Option<OwnId>) {
        self.number += 1;
        if let Some(id) = id {
            self.open.push_back((self.number, id));
        }
    }

    /// The last tuple went elsewhere than into the topology: its number is this one.
    pub(crate) fn renumber(&mut self, number: u64, id: Option<OwnId>) {
        self.number = number;
        if let Some(id) = id {
            self.open.push_back((number, id));
        }
    }

    /// A tuple was emitted and can't be used: the child is told at once.
    pub(crate) fn refuse(&mut self, id: Option<OwnId>) {
        self.fails.extend(id);
    }

    /// All tuples up to this number are safe.
    pub(crate) fn complete(&mut self, number: u64) {
        while let Some((first, _)) = self.open.front()
            && *first <= number
        {
            self.acks.extend(self.open.pop_front().map(|(_, id)| id));
        }
    }

    /// What isn't safe was rolled back.
    pub(crate) fn roll_back(&mut self) {
        self.fails.extend(self.open.drain(..).map(|(_, id)| id));
    }

    /// How many tuples aren't safe.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// A tuple that the child is to be told has failed.
    pub(crate) fn next_fail(&mut self) -> Option<OwnId> {
        self.fails.pop_front()
    }

    /// Tuples that the child is to be told are done.
    pub(crate) fn next_acks(&mut self) -> impl Iterator<Item = OwnId> {
        self.acks.drain(..self.acks.len().min(ACKS_MAX))
    }
}
