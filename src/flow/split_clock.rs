//! Computes the event time of a spout's task: the newest post of each split, and the watermark that
//! follows.

use std::time::Duration;

use crate::event_time::{EventTime, EventTimeOrder, Watermark};

/// The shortest interval between two watermarks, unless event time has advanced by [`STEP_MS`].
/// Each watermark sends batches that aren't full yet; a longer interval delays the windows of live
/// topologies.
const EVERY: Duration = Duration::from_millis(200);

/// The advance in event time that sends a watermark before [`EVERY`] has passed. A replay reads
/// hours of event time within that interval, and windows would hold all of it until the next
/// watermark.
const STEP_MS: i64 = 10_000;

/// The smallest number of emits between two such watermarks. Otherwise a sparse replay would send a
/// watermark with each emit.
const STEP_EMITS_MIN: u32 = 8;

struct SplitTime {
    /// The event time of its newest post.
    newest: EventTime,
    /// True if `newest` has changed since the last barrier.
    is_moved: bool,
    /// True if no more tuples come from the split in this run.
    has_ended: bool,
    /// The monotonic time of its last emit.
    emitted_at: Duration,
}

/// The event time of all splits of a spout's task.
pub struct SplitClock {
    /// The order of event times; `None` if tuples have no event time.
    order: Option<EventTimeOrder>,
    splits: Vec<SplitTime>,
    /// The newest post emitted in this run.
    newest_of_run: EventTime,
    /// The last watermark sent, and its time.
    told: Watermark,
    told_at: Option<Duration>,
    emits: u32,
    /// The newest post of all splits.
    newest: EventTime,
    /// The time below which no further post comes, as reported by the source.
    floor: EventTime,
}

impl SplitClock {
    /// Creates a clock of splits with these newest posts of the last checkpoint, each with `true`
    /// if the split has ended. The source begins at `now`.
    pub fn new(
        order: Option<EventTimeOrder>,
        splits: Vec<(EventTime, bool)>,
        now: Duration,
    ) -> Self {
        let split =
            |(newest, has_ended)| SplitTime { newest, is_moved: false, has_ended, emitted_at: now };
        let newest = splits.iter().map(|(newest, _)| *newest).max();
        Self {
            newest: newest.unwrap_or(EventTime::UNKNOWN),
            order,
            splits: splits.into_iter().map(split).collect(),
            newest_of_run: EventTime::UNKNOWN,
            told: Watermark::At(EventTime::UNKNOWN),
            told_at: None,
            emits: 0,
            floor: EventTime::UNKNOWN,
        }
    }

    /// Records that no post older than `time` comes from any split.
    pub fn raise_floor(&mut self, time: EventTime) {
        self.floor = self.floor.max(time);
    }

    /// Returns the silence after which a split is idle, if it can be idle.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.order?.idle_timeout
    }

    /// Records that a split has emitted tuples, of which `newest` has the newest time. A split
    /// stays silent if it emits tuples without a time, or a cursor without tuples.
    pub fn emitted(&mut self, split: usize, newest: EventTime, now: Duration) {
        if newest == EventTime::UNKNOWN {
            return;
        }
        self.newest = self.newest.max(newest);
        self.newest_of_run = self.newest_of_run.max(newest);
        let split = &mut self.splits[split];
        split.emitted_at = now;
        if newest > split.newest {
            (split.newest, split.is_moved) = (newest, true);
        }
        self.emits = self.emits.saturating_add(1);
    }

    /// Returns the event time of the newest post of all splits.
    pub fn newest(&self) -> EventTime {
        self.newest
    }

    /// Returns the last watermark sent; unknown if this source doesn't hold event time back.
    pub fn watermark(&self) -> EventTime {
        match self.told {
            Watermark::At(time) => time,
            Watermark::Idle => EventTime::UNKNOWN,
        }
    }

    /// Records that the topology holds the source up, which doesn't count as silence.
    pub fn held_up(&mut self, now: Duration) {
        for split in &mut self.splits {
            split.emitted_at = now;
        }
    }

    /// Records that no more tuples come from a split in this run.
    pub fn end(&mut self, split: usize) {
        self.splits[split].has_ended = true;
    }

    /// Records that no more tuples come from any split in this run.
    pub fn end_all(&mut self) {
        self.splits.iter_mut().for_each(|split| split.has_ended = true);
    }

    /// Returns the splits, by position, whose newest post has changed since the last call.
    pub fn take_moved(&mut self) -> Vec<(usize, EventTime)> {
        let mut moved = Vec::new();
        for (number, split) in self.splits.iter_mut().enumerate() {
            if std::mem::take(&mut split.is_moved) {
                moved.push((number, split.newest));
            }
        }
        moved
    }

    /// Returns the watermark to send after an emit, if one is due.
    pub fn next_after_emit(&mut self, now: Duration) -> Option<Watermark> {
        let is_due = self.told_at.is_none_or(|at| now.saturating_sub(at) >= EVERY);
        if !is_due && self.emits < STEP_EMITS_MIN {
            return None;
        }
        let step = match (self.told, self.current(now)) {
            (Watermark::At(told), Watermark::At(time)) => {
                time.unix_millis().saturating_sub(told.unix_millis())
            }
            _ => i64::MAX,
        };
        if is_due || step >= STEP_MS { self.next(now) } else { None }
    }

    /// Returns the watermark to send now, if it has changed: before each barrier, and after a
    /// silence.
    pub fn next(&mut self, now: Duration) -> Option<Watermark> {
        let watermark = match (self.told, self.current(now)) {
            (Watermark::At(told), Watermark::At(time)) => Watermark::At(told.max(time)),
            (_, current) => current,
        };
        if watermark == self.told {
            return None;
        }
        (self.told, self.told_at, self.emits) = (watermark, Some(now), 0);
        Some(watermark)
    }

    fn current(&self, now: Duration) -> Watermark {
        let Some(order) = &self.order else { return Watermark::Idle };
        let is_silent = |split: &SplitTime| {
            let silence = now.saturating_sub(split.emitted_at);
            order.idle_timeout.is_some_and(|timeout| silence >= timeout)
        };
        let mut active =
            self.splits.iter().filter(|split| !split.has_ended && !is_silent(split)).peekable();
        if active.peek().is_none() {
            return Watermark::Idle;
        }
        let newest = active.map(|split| split.newest);
        let time = if order.in_sequence {
            // With another number of tasks, an earlier run may have read later splits, and not the
            // rest of the split that comes next.
            Some(self.newest_of_run)
        } else {
            newest.min()
        };
        let expected = time.unwrap_or(EventTime::UNKNOWN).before_by(order.disorder);
        Watermark::At(expected.max(self.floor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: i64) -> EventTime {
        EventTime::from_unix_millis(milliseconds)
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn clock(in_sequence: bool, idle_timeout: Option<Duration>) -> SplitClock {
        let order = EventTimeOrder { disorder: s(1), in_sequence, idle_timeout };
        SplitClock::new(Some(order), vec![(EventTime::UNKNOWN, false); 2], s(0))
    }

    #[test]
    fn the_split_that_is_behind_counts_and_one_that_is_not_read_yet_holds_time_back() {
        let mut clock = clock(false, None);
        clock.emitted(0, at(9_000), s(1));
        assert_eq!(clock.next(s(1)), None, "the second split may have any time");
        clock.emitted(1, at(5_000), s(1));
        assert_eq!(clock.next(s(1)), Some(Watermark::At(at(4_000))));
        clock.emitted(1, at(3_000), s(2));
        assert_eq!(clock.next(s(2)), None, "an older post doesn't set time back");
        clock.end(1);
        assert_eq!(clock.next(s(2)), Some(Watermark::At(at(8_000))));
        clock.end_all();
        assert_eq!(clock.next(s(2)), Some(Watermark::Idle));
    }

    #[test]
    fn in_a_sequence_of_splits_the_newest_post_counts() {
        let mut clock = clock(true, None);
        clock.emitted(0, at(9_000), s(1));
        assert_eq!(clock.next(s(1)), Some(Watermark::At(at(8_000))));
        clock.end(0);
        clock.emitted(1, at(8_500), s(1));
        assert_eq!(clock.next(s(1)), None);
    }

    #[test]
    fn in_a_sequence_of_splits_only_posts_of_this_run_count_since_other_tasks_may_have_read_on() {
        let order = EventTimeOrder { disorder: s(1), in_sequence: true, idle_timeout: None };
        let saved = vec![(at(5_000), false), (at(20_000), false)];
        let mut clock = SplitClock::new(Some(order), saved, s(0));
        assert_eq!(clock.next(s(1)), None, "the rest of the first split is older than 20 s");
        clock.emitted(0, at(6_000), s(2));
        assert_eq!(clock.next(s(2)), Some(Watermark::At(at(5_000))));
        clock.emitted(1, at(21_000), s(3));
        assert_eq!(clock.next(s(3)), Some(Watermark::At(at(20_000))));
    }

    #[test]
    fn a_silent_split_holds_nothing_back_until_it_emits_again() {
        let mut clock = clock(false, Some(s(10)));
        clock.emitted(0, at(9_000), s(11));
        assert_eq!(clock.next(s(11)), Some(Watermark::At(at(8_000))));
        assert_eq!(clock.next(s(21)), Some(Watermark::Idle));
        clock.emitted(1, at(2_000), s(22));
        assert_eq!(
            clock.next(s(22)),
            Some(Watermark::At(at(1_000))),
            "whoever receives it doesn't go back"
        );
    }

    #[test]
    fn neither_places_without_posts_nor_a_topology_that_is_full_count_as_posts_or_silence() {
        let mut clock = clock(false, Some(s(10)));
        clock.emitted(0, at(9_000), s(1));
        clock.emitted(1, at(9_000), s(1));
        assert_eq!(clock.next(s(1)), Some(Watermark::At(at(8_000))));
        clock.emitted(0, EventTime::UNKNOWN, s(9));
        clock.held_up(s(10));
        assert_eq!(clock.next(s(19)), None);
        clock.emitted(0, EventTime::UNKNOWN, s(19));
        assert_eq!(clock.next(s(20)), Some(Watermark::Idle));
    }

    #[test]
    fn watermarks_go_out_by_the_clock_and_by_steps_of_event_time() {
        let mut clock = clock(true, None);
        clock.emitted(0, at(0), s(1));
        assert_eq!(clock.next_after_emit(s(1)), Some(Watermark::At(at(-1_000))));
        for emit in 1..8 {
            clock.emitted(0, at(emit * 2_000), s(1));
            assert_eq!(clock.next_after_emit(s(1)), None);
        }
        clock.emitted(0, at(16_000), s(1));
        assert_eq!(clock.next_after_emit(s(1)), Some(Watermark::At(at(15_000))));
        clock.emitted(0, at(16_001), s(1));
        assert_eq!(clock.next_after_emit(s(1)), None);
        assert_eq!(clock.next_after_emit(s(1) + EVERY), Some(Watermark::At(at(15_001))));
    }

    #[test]
    fn a_source_may_say_that_no_older_post_comes() {
        let mut clock = clock(false, None);
        clock.raise_floor(at(7_000));
        assert_eq!(clock.next(s(0)), Some(Watermark::At(at(7_000))));
        clock.raise_floor(at(6_000));
        assert_eq!(clock.next(s(0)), None);
        clock.emitted(0, at(9_000), s(1));
        clock.emitted(1, at(9_500), s(1));
        assert_eq!(clock.next(s(1)), Some(Watermark::At(at(8_000))));
    }

    #[test]
    fn a_source_without_event_time_holds_nobody_back() {
        let mut clock = SplitClock::new(None, vec![(EventTime::UNKNOWN, false)], s(0));
        assert_eq!(clock.next(s(0)), Some(Watermark::Idle));
        assert_eq!(clock.next(s(9)), None);
    }

    #[test]
    fn a_checkpoint_gets_what_changed() {
        let mut clock = clock(false, None);
        clock.emitted(1, at(5), s(1));
        assert_eq!(clock.take_moved(), [(1, at(5))]);
        clock.emitted(1, at(4), s(1));
        assert_eq!(clock.take_moved(), []);
    }
}
