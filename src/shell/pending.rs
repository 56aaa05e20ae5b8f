//! The tuples that a bolt's child has been given and hasn't acknowledged.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event_time::EventTime;
use crate::value::Value;

/// The largest size of the tuples that a child has and hasn't acknowledged, in bytes. More would
/// let a child gather longer, and is held in memory for another try.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// A tuple that a child has.
#[derive(Debug)]
pub(super) struct Given {
    pub values: Box<[Value]>,
    pub input: usize,
    pub time: EventTime,
    /// The number of retries so far.
    pub retries: u32,
    /// The time at which the child got it.
    pub since: Duration,
}

impl Given {
    fn weight(&self) -> usize {
        self.values.iter().map(Value::weight).sum::<usize>() + size_of::<Self>()
    }
}

/// All tuples that a child has, by their consecutive numbers.
#[derive(Default)]
pub(super) struct Pending {
    /// The tuples; `None` for a tuple that is done.
    ring: VecDeque<Option<Given>>,
    /// The number of the first entry of `ring`.
    first: u64,
    count: usize,
    bytes: usize,
    /// Tuples that failed, each with the time at which the child gets it again.
    again: Vec<(Duration, Given)>,
}

impl Pending {
    /// Adds a tuple, and returns its number.
    pub(crate) fn add(&mut self, given: Given) -> u64 {
        self.count += 1;
        self.bytes += given.weight();
        self.ring.push_back(Some(given));
        self.next() - 1
    }

    /// Takes a number for a tick, which may be acknowledged but isn't waited for.
    pub(crate) fn add_nothing(&mut self) -> u64 {
        self.ring.push_back(None);
        self.next() - 1
    }

    /// Returns the number of the next tuple.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// Returns the tuple with this number, if it isn't done.
    pub(crate) fn get(&self, number: u64) -> Option<&Given> {
        let at = number.checked_sub(self.first)?;
        self.ring.get(usize::try_from(at).ok()?)?.as_ref()
    }

    /// Takes out the tuple with this number, if it isn't done.
    #[inline]
    pub(crate) fn take(&mut self, number: u64) -> Option<Given> {
        let at = number.checked_sub(self.first)?;
        let given = self.ring.get_mut(usize::try_from(at).ok()?)?.take();
        if let Some(given) = &given {
            self.count -= 1;
            self.bytes -= given.weight();
        }
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.first += 1;
        }
        given
    }

    /// Returns the oldest tuple that isn't done, with its number.
    pub(crate) fn oldest(&self) -> Option<(u64, &Given)> {
        // `take` leaves an open tuple at the front, but ticks may stand before it.
        let at = self.ring.iter().position(Option::is_some)?;
        Some((self.first + at as u64, self.ring[at].as_ref()?))
    }

    /// Keeps a tuple, which the child gets again at this time.
    pub(crate) fn retry_at(&mut self, due: Duration, given: Given) {
        self.again.push((due, given));
    }

    /// Takes out a tuple that the child must get again now.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Given> {
        let at = self.again.iter().position(|(due, _)| *due <= now)?;
        Some(self.again.swap_remove(at).1)
    }

    /// Returns the time at which the next tuple is given again.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.again.iter().map(|(due, _)| *due).min()
    }

    /// Returns true if no tuple is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.again.is_empty()
    }

    /// Returns true if the child has as many tuples as it may have.
    #[inline]
    pub(crate) fn is_full(&self, tuples_max: usize) -> bool {
        self.count + self.again.len() >= tuples_max || self.bytes >= PENDING_BYTES_MAX
    }

    /// Returns the child's only tuple, if it has just one.
    pub(crate) fn only(&self) -> Option<&Given> {
        if self.count == 1 { self.oldest().map(|(_, given)| given) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(number: i64) -> Given {
        let values = Box::from([Value::Int(number)]);
        let (time, since) = (EventTime::UNKNOWN, Duration::ZERO);
        Given { values, input: 0, time, retries: 0, since }
    }

    #[test]
    fn tuples_are_done_in_any_order_and_once() {
        let mut pending = Pending::default();
        assert_eq!(
            (pending.add(given(0)), pending.add_nothing(), pending.add(given(2))),
            (0, 1, 2)
        );
        assert_eq!(pending.oldest().unwrap().0, 0);
        assert!(pending.take(2).is_some() && pending.take(2).is_none());
        assert!(pending.take(7).is_none() && pending.take(1).is_none());
        assert!(pending.only().is_some() && !pending.is_empty());
        assert_eq!(pending.take(0).unwrap().values[0], Value::Int(0));
        assert!(pending.is_empty() && pending.next() == 3 && pending.bytes == 0);
        pending.retry_at(Duration::from_secs(1), given(4));
        assert!(!pending.is_empty() && pending.take_due(Duration::ZERO).is_none());
        assert!(pending.take_due(Duration::from_secs(1)).is_some() && pending.is_empty());
    }
}
