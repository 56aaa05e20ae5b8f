//! The times at which posts are to be read again for their counts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use time::OffsetDateTime;

use crate::units::Interval;

/// The most planned reads; beyond this number, posts aren't read again. Each planned read takes
/// about 100 bytes.
const PLANNED_MAX: usize = 200_000;

/// The posts that are to be read again, the earliest first. The schedule is kept in memory, and
/// rebuilt from the spool at a start: posts that the spool no longer has aren't read again.
#[derive(Default)]
pub(super) struct Schedule {
    after: Vec<Interval>,
    planned: BinaryHeap<Reverse<(OffsetDateTime, usize, String)>>,
}

impl Schedule {
    /// Makes a schedule that reads each post again at these times after it was received.
    pub(crate) fn new(after: Vec<Interval>) -> Self {
        Self { after, planned: BinaryHeap::new() }
    }

    /// Plans the reads of a post that was received at this time; reads that would be in the past
    /// aren't planned.
    pub(crate) fn plan(&mut self, id: &str, received: OffsetDateTime, now: OffsetDateTime) {
        for (number, after) in self.after.iter().enumerate() {
            let due = received + after.0;
            if due >= now && self.planned.len() < PLANNED_MAX {
                self.planned.push(Reverse((due, number, id.to_owned())));
            }
        }
    }

    /// Returns true if no post is ever read again.
    pub(crate) fn is_off(&self) -> bool {
        self.after.is_empty()
    }

    /// Takes up to `max` posts that are due, all with the same time after their receipt.
    pub(crate) fn take(
        &mut self,
        max: usize,
        now: OffsetDateTime,
    ) -> Option<(Interval, Vec<String>)> {
        let mut ids = Vec::new();
        let mut of = None;
        while ids.len() < max
            && let Some(Reverse((due, number, _))) = self.planned.peek()
            && *due <= now
            && of.is_none_or(|of| of == *number)
        {
            of = Some(*number);
            ids.extend(self.planned.pop().map(|Reverse((_, _, id))| id));
        }
        of.map(|number| (self.after[number], ids))
    }

    /// Plans failed reads again.
    pub(crate) fn again(&mut self, after: Interval, ids: Vec<String>, due: OffsetDateTime) {
        if let Some(number) = self.after.iter().position(|known| *known == after) {
            self.planned.extend(ids.into_iter().map(|id| Reverse((due, number, id))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    #[test]
    fn posts_are_due_after_each_interval_and_are_taken_by_interval() {
        let now = datetime!(2026-11-25 12:00:00 UTC);
        let mut schedule = Schedule::new(vec!["10m".parse().unwrap(), "1h".parse().unwrap()]);
        schedule.plan("1", now, now);
        schedule.plan("2", now, now);
        schedule.plan("3", now - Duration::from_secs(1800), now);
        assert_eq!(schedule.take(10, now), None);
        let (after, ids) = schedule.take(10, now + Duration::from_secs(600)).unwrap();
        assert_eq!((after.to_string().as_str(), ids), ("10m", vec!["1".to_owned(), "2".into()]));
        let (after, ids) = schedule.take(1, now + Duration::from_secs(3600)).unwrap();
        assert_eq!((after.to_string().as_str(), ids), ("1h", vec!["3".to_owned()]));
    }
}
