//! Event time in the simulation: the times of items, the clocks of the simulated tasks, which are
//! the engine's own clocks, and checks of the watermarks.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Seeded;
use super::graph::{Component, Graph, Item};
use super::tasks::{Body, Task};
use crate::checkpoint::{Changes, MemoryStore, StateStore};
use crate::event_time::{EventTime, EventTimeOrder, Watermark};
use crate::flow::{InputClock, SplitClock};

/// The event time between two items of a split, in milliseconds.
const STEP_MS: i64 = 1_000;
/// The largest amount by which an item may be older than an earlier one of its split. Every third
/// item uses all of it.
const DISORDER: Duration = Duration::from_secs(2);
/// The silence after which a split of some spouts is idle.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Draws the order of a spout's event times. Some spouts have none, some are read in sequence, and
/// some have splits that may be idle.
pub(crate) fn draw(random: &mut Seeded) -> Option<EventTimeOrder> {
    let kind = random.below(8);
    let order = EventTimeOrder { disorder: DISORDER, in_sequence: false, idle_timeout: None };
    match kind {
        0 => None,
        1 => Some(EventTimeOrder { idle_timeout: Some(IDLE_TIMEOUT), ..order }),
        2..=4 => Some(EventTimeOrder { in_sequence: true, ..order }),
        _ => Some(order),
    }
}

/// Returns the event time of an item.
pub(crate) fn of_item(spout: &Component, split: usize, number: u32) -> EventTime {
    let Some(order) = spout.event_time else { return EventTime::UNKNOWN };
    let before: u32 = if order.in_sequence { spout.splits[..split].iter().sum() } else { 0 };
    let position = i64::from(before + number);
    let disorder = i64::try_from(DISORDER.as_millis()).expect("a few seconds");
    let back = if number % 3 == 2 { STEP_MS + disorder } else { 0 };
    EventTime::from_unix_millis(position * STEP_MS - back)
}

/// Returns the newest time of the first items of a split.
fn newest_of(spout: &Component, split: usize, count: u32) -> EventTime {
    let times = (0..count).map(|number| of_item(spout, split, number));
    times.max().unwrap_or(EventTime::UNKNOWN)
}

/// The event time of a spout's task.
pub(crate) struct SourceTime {
    spout: Component,
    clock: SplitClock,
    /// The last barrier, and the lowest time that its bolts know after it; `None` if a split may be
    /// idle, or all have ended.
    barrier: (u64, Option<EventTime>),
    has_ended: bool,
    newest_of_run: EventTime,
}

impl SourceTime {
    /// Creates the event time of a task with these splits, each with the number of items read so
    /// far.
    pub(crate) fn resume(
        spout: &Component,
        read: &[(usize, u32)],
        saved: &BTreeMap<(String, String), EventTime>,
        now: Duration,
    ) -> Self {
        let mut splits = Vec::new();
        for (split, at) in read {
            let name = (spout.name.clone(), split.to_string());
            let newest = saved.get(&name).copied().unwrap_or(EventTime::UNKNOWN);
            assert_eq!(newest, newest_of(spout, *split, *at), "the saved event time of {name:?}");
            // A replay doesn't end its splits, because a later run may continue to read them.
            let is_in_sequence = spout.event_time.is_some_and(|order| order.in_sequence);
            splits.push((newest, *at == spout.splits[*split] && !is_in_sequence));
        }
        let clock = SplitClock::new(spout.event_time, splits, now);
        Self {
            spout: spout.clone(),
            clock,
            barrier: (0, None),
            has_ended: false,
            newest_of_run: EventTime::UNKNOWN,
        }
    }

    pub(crate) fn is_in_sequence(&self) -> bool {
        self.spout.event_time.is_some_and(|order| order.in_sequence)
    }

    /// Records that an item was read. Returns its time.
    pub(crate) fn read(
        &mut self,
        position: usize,
        (split, number): (usize, u32),
        is_last: bool,
        now: Duration,
    ) -> EventTime {
        let time = of_item(&self.spout, split, number);
        self.newest_of_run = self.newest_of_run.max(time);
        self.clock.emitted(position, time, now);
        if is_last && !self.is_in_sequence() {
            self.clock.end(position);
        }
        time
    }

    pub(crate) fn end_all(&mut self) {
        self.has_ended = true;
        self.clock.end_all();
    }

    pub(crate) fn next_after_emit(&mut self, now: Duration) -> Option<Watermark> {
        self.clock.next_after_emit(now)
    }

    pub(crate) fn next(&mut self, is_held_up: bool, now: Duration) -> Option<Watermark> {
        if is_held_up {
            self.clock.held_up(now);
        }
        self.clock.next(now)
    }

    /// Returns the event times that changed since the last barrier. Records the time that bolts
    /// must know after this one, computed from the items that were read and not from the clock
    /// under test.
    pub(crate) fn at_barrier(
        &mut self,
        epoch: u64,
        read: &[(usize, u32)],
    ) -> Vec<(String, EventTime)> {
        self.barrier = (epoch, self.least(read));
        let mut times = Vec::new();
        for (position, time) in self.clock.take_moved() {
            times.push((read[position].0.to_string(), time));
        }
        times
    }

    fn least(&self, read: &[(usize, u32)]) -> Option<EventTime> {
        let order = self.spout.event_time.filter(|order| order.idle_timeout.is_none())?;
        let newest = |(split, at): &(usize, u32)| newest_of(&self.spout, *split, *at);
        let is_left = |(split, at): &(usize, u32)| *at < self.spout.splits[*split];
        if order.in_sequence {
            let is_idle = read.is_empty() || self.has_ended;
            return (!is_idle).then(|| self.newest_of_run.before_by(DISORDER));
        }
        let left = read.iter().filter(|split| is_left(split));
        left.map(newest).min().map(|time| time.before_by(DISORDER))
    }
}

/// The event time of a task that receives items.
pub(crate) struct TaskTime {
    clock: InputClock,
    /// The last watermark that its bolt received.
    passed: EventTime,
    /// True if no spout upstream has splits that may be idle, so that no item is late.
    is_exact: bool,
}

impl TaskTime {
    pub(crate) fn resume(graph: &Graph, component: usize, saved: Option<EventTime>) -> Self {
        let may_be_idle = |spout: usize| {
            graph.0[spout].event_time.is_some_and(|order| order.idle_timeout.is_some())
        };
        Self {
            clock: InputClock::new(saved.unwrap_or(EventTime::UNKNOWN)),
            passed: EventTime::UNKNOWN,
            is_exact: !graph.spouts_before(component).any(may_be_idle),
        }
    }

    pub(crate) fn add_channel(&mut self) {
        self.clock.add_channel();
    }

    pub(crate) fn now(&self) -> EventTime {
        self.clock.time()
    }

    pub(crate) fn take_restored(&mut self) -> Option<Watermark> {
        let restored = self.clock.take_restored();
        self.pass(restored)
    }

    /// Receives a watermark of an input. Returns the watermark to send on.
    pub(crate) fn receive(&mut self, input: usize, watermark: Watermark) -> Option<Watermark> {
        let next = self.clock.receive(input, watermark);
        self.pass(next)
    }

    fn pass(&mut self, watermark: Option<Watermark>) -> Option<Watermark> {
        if let Some(Watermark::At(time)) = watermark {
            assert!(time >= self.passed, "event time goes back from {:?} to {time:?}", self.passed);
            assert_eq!(time, self.clock.time(), "the checkpoint has what the bolt got");
            self.passed = time;
        }
        watermark
    }

    /// Checks that no watermark overtakes an item, and that after a restart no watermark is ahead
    /// of repeated items.
    pub(crate) fn check_item(&self, task: &str, item: &Item) {
        assert!(
            !self.is_exact || item.time == EventTime::UNKNOWN || item.time >= self.now(),
            "{task} gets {item:?} behind the watermark {:?}",
            self.now()
        );
    }
}

/// Checks that at a barrier a bolt's task knows every time that its spouts reported before the
/// barrier.
pub(crate) fn check_barrier(
    graph: &Graph,
    tasks: &[Task],
    task: usize,
    (epoch, watermark): (u64, EventTime),
) {
    if !tasks[task].time.is_exact {
        return;
    }
    let before: Vec<_> = graph.spouts_before(tasks[task].component).collect();
    let mut least = Vec::new();
    for spout in tasks.iter().filter(|task| before.contains(&task.component)) {
        let Body::Spout(source) = &spout.body else { continue };
        let (of, time) = source.time.barrier;
        assert_eq!(of, epoch, "{} hasn't sent this barrier", spout.name);
        least.push(time);
    }
    // An idle sender neither holds others back nor reports a time.
    if let Some(least) = least.into_iter().flatten().min() {
        let name = &tasks[task].name;
        assert!(watermark >= least, "{name} is at {watermark:?} and has to be at {least:?}");
    }
}

/// Checks that event time never goes back from one checkpoint to the next.
pub(crate) fn check_saved(store: &MemoryStore, changes: &Changes) {
    let saved = store.saved().expect("a store in memory can be read");
    for (bolt, time) in &changes.watermarks {
        let before = saved.watermarks.get(bolt).copied().unwrap_or(EventTime::UNKNOWN);
        assert!(*time >= before, "{bolt} goes back from {before:?} to {time:?}");
    }
    for (split, time) in &changes.split_times {
        let before = saved.split_times.get(split).copied().unwrap_or(EventTime::UNKNOWN);
        assert!(*time >= before, "{split:?} goes back from {before:?} to {time:?}");
    }
}
