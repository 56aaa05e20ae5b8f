//! The tuples of a spout's child whose results the child must be told.

use std::collections::VecDeque;

/// The number of acknowledgements that are sent at once. More would save switches between
/// processes, but delay the next tuples.
pub(super) const ACKS_MAX: usize = 64;

/// An id as the child wrote it in JSON.
pub(super) type OwnId = Box<str>;

/// The tuples that the child has emitted, by number, and the results that it must be told.
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
    /// Starts behind the tuple with this number.
    pub(crate) fn after(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Returns the number of the last tuple.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Notes that a tuple was emitted.
    pub(crate) fn add(&mut self, id: Option<OwnId>) {
        self.number += 1;
        if let Some(id) = id {
            self.open.push_back((self.number, id));
        }
    }

    /// Notes that a tuple was emitted into a spool, under this number.
    pub(crate) fn renumber(&mut self, number: u64, id: Option<OwnId>) {
        self.number = number;
        if let Some(id) = id {
            self.open.push_back((number, id));
        }
    }

    /// Notes that a tuple was emitted but can't be used: the child is told at once.
    pub(crate) fn refuse(&mut self, id: Option<OwnId>) {
        self.fails.extend(id);
    }

    /// Notes that all tuples up to this number are safe.
    pub(crate) fn complete(&mut self, number: u64) {
        while let Some((first, _)) = self.open.front()
            && *first <= number
        {
            self.acks.extend(self.open.pop_front().map(|(_, id)| id));
        }
    }

    /// Notes that the tuples that aren't safe were rolled back.
    pub(crate) fn roll_back(&mut self) {
        self.fails.extend(self.open.drain(..).map(|(_, id)| id));
    }

    /// Returns the number of tuples that aren't safe.
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    /// Takes the id of a failed tuple, which the child must be told.
    pub(crate) fn next_fail(&mut self) -> Option<OwnId> {
        self.fails.pop_front()
    }

    /// Takes the ids of tuples that are done, which the child must be told.
    pub(crate) fn next_acks(&mut self) -> impl Iterator<Item = OwnId> {
        self.acks.drain(..self.acks.len().min(ACKS_MAX))
    }
}
