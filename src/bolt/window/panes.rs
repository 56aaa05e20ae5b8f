//! The open windows of one key.

use super::aggregate::{Accumulator, Aggregate};
use crate::bolt::KeyState;
use crate::bolt::bytes::{Reader, Writer};

/// A span of time with the state of its aggregates: a window, or a part of several windows.
#[derive(Clone, Debug)]
pub(crate) struct Pane {
    /// The number of the pane; of a session and a count window, its first event time.
    pub start: i64,
    /// Of a session and a count window, its last event time.
    pub last: i64,
    pub accumulators: Vec<Accumulator>,
}

impl Pane {
    /// A pane without tuples.
    pub(crate) fn empty(start: i64, aggregates: &[Aggregate]) -> Self {
        let accumulators = aggregates.iter().map(Aggregate::empty).collect();
        Self { start, last: start, accumulators }
    }

    /// Adds the tuples of another pane.
    pub(crate) fn merge(&mut self, other: &Self, aggregates: &[Aggregate]) {
        self.start = self.start.min(other.start);
        self.last = self.last.max(other.last);
        let both = self.accumulators.iter_mut().zip(&other.accumulators);
        for ((own, other), aggregate) in both.zip(aggregates) {
            own.merge(other, aggregate);
        }
    }
}

/// The open panes of one key.
#[derive(Clone, Debug)]
pub(crate) struct KeyPanes {
    pub panes: Vec<Pane>,
    /// The end of the last window that was emitted, in panes. Since windows overlap, a pane is kept
    /// after the first window that contains it was emitted.
    pub emitted: i64,
    /// The number of tuples in a count window.
    pub tuples: u64,
}

impl Default for KeyPanes {
    fn default() -> Self {
        Self { panes: Vec::new(), emitted: i64::MIN, tuples: 0 }
    }
}

impl KeyPanes {
    /// Returns the pane with this number, and creates it if it is missing.
    pub(crate) fn pane_mut(&mut self, start: i64, aggregates: &[Aggregate]) -> (&mut Pane, bool) {
        let at = self.panes.iter().position(|pane| pane.start == start);
        let is_new = at.is_none();
        let at = at.unwrap_or_else(|| {
            self.panes.push(Pane::empty(start, aggregates));
            self.panes.len() - 1
        });
        (&mut self.panes[at], is_new)
    }

    /// Merges the panes from `start` on and before `end` into one, if any of them exists.
    pub(crate) fn merged(&self, start: i64, end: i64, aggregates: &[Aggregate]) -> Option<Pane> {
        let mut within: Vec<&Pane> =
            self.panes.iter().filter(|pane| (start..end).contains(&pane.start)).collect();
        // The panes are merged in order, since a merge of counters beyond their bound depends on
        // the order.
        within.sort_by_key(|pane| pane.start);
        let (first, rest) = within.split_first()?;
        let mut merged = (*first).clone();
        rest.iter().for_each(|pane| merged.merge(pane, aggregates));
        Some(merged)
    }

    /// The session that a time belongs to, extended by it: sessions that it joins become one.
    /// `None` if it belongs to none.
    pub(crate) fn session_at(
        &mut self,
        time: i64,
        gap: i64,
        aggregates: &[Aggregate],
    ) -> Option<&mut Pane> {
        let belongs = |pane: &Pane| time - pane.last < gap && pane.start - time < gap;
        let first = self.panes.iter().position(belongs)?;
        let mut at = first + 1;
        while at < self.panes.len() {
            if belongs(&self.panes[at]) {
                let other = self.panes.swap_remove(at);
                self.panes[first].merge(&other, aggregates);
            } else {
                at += 1;
            }
        }
        let session = &mut self.panes[first];
        session.start = session.start.min(time);
        session.last = session.last.max(time);
        Some(session)
    }
}

impl KeyState for KeyPanes {
    fn encode(&self, into: &mut Vec<u8>) {
        let mut into = Writer(into);
        into.signed(self.emitted);
        into.number(self.tuples);
        into.number(self.panes.len() as u64);
        for pane in &self.panes {
            into.signed(pane.start);
            into.signed(pane.last);
            into.number(pane.accumulators.len() as u64);
            pane.accumulators.iter().for_each(|one| one.encode(&mut into));
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (emitted, tuples) = (from.signed()?, from.number()?);
        let mut panes = Vec::new();
        for _ in 0..from.number()? {
            let (start, last) = (from.signed()?, from.signed()?);
            let mut accumulators = Vec::new();
            for _ in 0..from.number()? {
                accumulators.push(Accumulator::decode(&mut from)?);
            }
            panes.push(Pane { start, last, accumulators });
        }
        from.end()?;
        Some(Self { panes, emitted, tuples })
    }
}
