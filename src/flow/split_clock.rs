//! Event time of a spout's task: the newest post of each split, and the watermark that follows from
//! them.

use std::time::Duration;

use crate::event_time::{EventTime, EventTimeOrder, Watermark};

/// A watermark goes out at most this often, unless event time has come further by [`STEP_MS`]. Each
/// one sends batches that aren't full yet; a longer time makes windows of live topologies later.
const EVERY: Duration = Duration::from_millis(200);

/// A replay reads hours of event time between two watermarks that only the clock allows, and
/// windows hold all that until the next one comes. So a watermark also goes out once event time has
/// come so far.
const STEP_MS: i64 = 10_000;

/// And this many emits have passed: else a sparse replay would send a watermark with each of them.
const STEP_EMITS_MIN: u32 = 8;

struct SplitTime {
    /// The event time of its newest post.
    newest: EventTime,
    /// `newest` changed since the last barrier.
    is_moved: bool,
    /// Nothing comes from it any more in this run.
    has_ended: bool,
    /// When it emitted last, on the monotonic clock.
    emitted_at: Duration,
}

/// The event time of all splits of a spout's task.
pub struct SplitClock {
    /// `None` if its tuples have no event time.
    order: Option<EventTimeOrder>,
    splits: Vec<SplitTime>,
    /// The newest post that was emitted in this run.
    newest_of_run: EventTime,
    /// The last watermark that went out, and when.
    told: Watermark,
    told_at: Option<Duration>,
    emits: u32,
    /// The newest post of all splits.
    newest: EventTime,
    /// The source has said that no older post comes.
    floor: EventTime,
}

impl SplitClock {
    /// A clock of splits that had these newest posts in the last checkpoint, each with true if it
    /// has ended. The source begins at `now`.
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

    /// Notes that no post older than `time` comes from any split.
    pub fn raise_floor(&mut self, time: EventTime) {
        self.floor = self.floor.max(time);
    }

    /// The silence after which a split is idle, if it can be.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.order?.idle_timeout
    }

    /// Notes that a split has emitted tuples, of which `newest` has the newest time. Tuples without a
    /// time, and places without tuples, don't end a split's silence.
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

    /// The event time of the newest post of all splits.
    pub fn newest(&self) -> EventTime {
        self.newest
    }

    /// The last watermark that went out; unknown if this source doesn't hold event time back.
    pub fn watermark(&self) -> EventTime {
        match self.told {
            Watermark::At(time) => time,
            Watermark::Idle => EventTime::UNKNOWN,
        }
    }

    /// Notes that the topology holds the source up, which isn't silence.
    pub fn held_up(&mut self, now: Duration) {
        for split in &mut self.splits {
            split.emitted_at = now;
        }
    }

    /// Notes that nothing comes from a split any more in this run.
    pub fn end(&mut self, split: usize) {
        self.splits[split].has_ended = true;
    }

    /// Notes that nothing comes from any split any more in this run.
    pub fn end_all(&mut self) {
        self.splits.iter_mut().for_each(|split| split.has_ended = true);
    }

    /// The splits, by position, whose newest post is another one than at the last call.
    pub fn take_moved(&mut self) -> Vec<(usize, EventTime)> {
        let mut moved = Vec::new();
        for (number, split) in self.splits.iter_mut().enumerate() {
            if std::mem::take(&mut split.is_moved) {
                moved.push((number, split.newest));
            }
        }
        moved
    }

    /// The watermark to send behind what was just emitted, if it is time for one.
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

    /// The watermark to send now, if it says something new: before each barrier, and after a
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
            // Another number of tasks may have read later splits in an earlier run, and not the
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
