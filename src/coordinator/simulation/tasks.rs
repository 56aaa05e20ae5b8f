//! The work of the simulated tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::disk::{Disk, Segment, promise};
use super::event_time::{SourceTime, TaskTime};
use super::graph::{Component, Item};
use crate::checkpoint::StateStore;
use crate::coordinator::TaskRole;
use crate::epoch::{Barrier, Cursor, Mark, Prepared, Promise, StateChange};
use crate::event_time::Watermark;
use crate::protocol::{Control, Report};

/// The number of items in a channel from which senders wait.
const CHANNEL_MAX: usize = 6;

/// A message in a channel.
pub(crate) enum Message {
    Item(Item),
    Watermark(Watermark),
    Mark(Arc<Mark>),
}

/// A channel between two tasks.
#[derive(Default)]
pub(crate) struct Channel(pub VecDeque<Message>);

impl Channel {
    fn is_full(&self) -> bool {
        self.0.len() >= CHANNEL_MAX
    }

    /// Returns true if the next message is an item or a watermark.
    fn has_data(&self) -> bool {
        matches!(self.0.front(), Some(Message::Item(_) | Message::Watermark(_)))
    }

    fn mark(&self) -> Option<&Arc<Mark>> {
        match self.0.front() {
            Some(Message::Mark(mark)) => Some(mark),
            _ => None,
        }
    }
}

pub(crate) struct Task {
    pub component: usize,
    pub name: String,
    /// The channels that the task reads.
    pub inputs: Vec<usize>,
    /// The channels that the task writes, by component and task, each component with `true` if any
    /// of its tasks may get an item.
    pub outputs: Vec<(bool, Vec<usize>)>,
    pub mailbox: VecDeque<Control>,
    /// The time until which the task hangs.
    pub hung_until: Duration,
    pub gone: bool,
    /// The event time of the items that the task receives.
    pub time: TaskTime,
    pub body: Body,
}

pub(crate) enum Body {
    Spout(Spout),
    Bolt(Counts),
    Sink(Sink),
}

/// A task that reads splits.
pub(crate) struct Spout {
    /// For each split: its number, the position read so far, its length, and the position at the
    /// last barrier.
    splits: Vec<(usize, u32, u32, Option<u32>)>,
    pub emitted: u64,
    pub paused: bool,
    /// True if its source has ended or was stopped.
    done: bool,
    /// The time at which there is something to read.
    pub ready_at: Duration,
    pub time: SourceTime,
}

impl Spout {
    /// Creates a task that reads every `tasks`th split from `index` on, from the positions in the
    /// checkpoint.
    pub(crate) fn resume(
        component: &Component,
        (index, tasks): (usize, usize),
        disk: &Disk,
        now: Duration,
    ) -> Self {
        let saved = disk.store.saved().expect("a store in memory can be read");
        let cursors = &saved.cursors;
        let splits = (index..component.splits.len()).step_by(tasks).map(|split| {
            let (name, length) =
                ((component.name.clone(), split.to_string()), component.splits[split]);
            let at = match cursors.get(&name) {
                None | Some(Cursor::Start) => 0,
                Some(Cursor::At(at)) => at.parse().expect("a cursor is a number"),
                Some(Cursor::End) => length,
            };
            assert!(
                disk.trimmed.get(&name).is_none_or(|trimmed| *trimmed <= at),
                "{name:?} was trimmed and is read"
            );
            (split, at, length, None)
        });
        let splits: Vec<_> = splits.collect();
        let read: Vec<_> = splits.iter().map(|(split, at, ..)| (*split, *at)).collect();
        let time = SourceTime::resume(component, &read, &saved.split_times, now);
        let (emitted, paused, done, ready_at) = (0, false, false, Duration::ZERO);
        Self { splits, emitted, paused, done, ready_at, time }
    }

    /// Returns the splits, each with the position read so far.
    fn read_so_far(&self) -> Vec<(usize, u32)> {
        self.splits.iter().map(|(split, at, ..)| (*split, *at)).collect()
    }

    fn cursors(&mut self) -> Vec<(String, Cursor)> {
        let mut moved = Vec::new();
        for (split, at, length, told) in &mut self.splits {
            if told.replace(*at) != Some(*at) {
                let cursor = if at == length { Cursor::End } else { Cursor::At(at.to_string()) };
                moved.push((split.to_string(), cursor));
            }
        }
        moved
    }

    /// Reads the next item of a split, if any is left. The source ends after the last one.
    fn read(&mut self, component: usize, choice: usize, now: Duration) -> Result<Item, Report> {
        let mut left = Vec::new();
        for (position, (_, at, length, _)) in self.splits.iter().enumerate() {
            if at < length {
                left.push(position);
            }
        }
        if left.is_empty() {
            self.done = true;
            self.time.end_all();
            return Err(Report::SourceEnded);
        }
        let choice = if self.time.is_in_sequence() { 0 } else { choice % left.len() };
        let position = left[choice];
        let (split, at, length, _) = &mut self.splits[position];
        self.emitted += 1;
        *at += 1;
        let (split, number, is_last) = (*split, *at - 1, at == length);
        let time = self.time.read(position, (split, number), is_last, now);
        Ok(Item { spout: component, split, way: 0, number, time })
    }
}

/// A task that counts by key.
#[derive(Default)]
pub(crate) struct Counts {
    counts: BTreeMap<u32, u32>,
    changed: BTreeMap<u32, u32>,
}

impl Counts {
    /// Restores the keys that belong to a task.
    pub(crate) fn restore(component: &Component, index: usize, tasks: usize, disk: &Disk) -> Self {
        let mut counts = Self::default();
        let mut take = |key: &[u8], value: &[u8]| {
            if usize::from(key[0]) % tasks == index {
                counts.counts.insert(
                    u32::from(key[0]),
                    value.iter().fold(0, |sum, byte| sum * 256 + u32::from(*byte)),
                );
            }
            Ok(())
        };
        disk.store
            .restore(&component.name, 0..1024, &mut take)
            .expect("a store in memory can be read");
        counts
    }

    fn count(&mut self, key: u32) {
        let count = self.counts.entry(key).or_default();
        *count += 1;
        self.changed.insert(key, *count);
    }

    fn snapshot(&mut self) -> Vec<StateChange> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let change = |(key, count): (u32, u32)| StateChange {
            key_group: key as u16,
            key: vec![key as u8],
            value: Some(count.to_be_bytes().to_vec()),
        };
        changed.map(change).collect()
    }
}

/// A task that stages segments.
pub(crate) struct Sink {
    pub place: String,
    pub boundary: OffsetDateTime,
    /// The number of earlier partitions.
    pub rolls: u32,
    pub posts_max: usize,
    pub age: Duration,
    /// The open segment, and the time at which it was begun.
    open: Option<(String, OffsetDateTime)>,
    number: u32,
    /// Closed promises that aren't committed.
    closed: Vec<Promise>,
    /// The prepare in progress: the time at which it is done, its epoch and its result.
    pub preparing: Option<(Duration, u64, Prepared)>,
    /// The commit in progress.
    pub committing: Option<Commit>,
}

/// A commit in progress.
pub(crate) struct Commit {
    /// The time of its next step.
    pub ready_at: Duration,
    /// The promises that aren't delivered yet.
    pub left: VecDeque<Promise>,
    /// The segments that are delivered.
    pub delivered: Vec<String>,
}

impl Sink {
    pub(crate) fn new(
        place: String,
        boundary: OffsetDateTime,
        posts_max: usize,
        age: Duration,
    ) -> Self {
        let (open, number, closed, preparing, committing) = (None, 0, vec![], None, None);
        Self {
            place,
            boundary,
            rolls: 0,
            posts_max,
            age,
            open,
            number,
            closed,
            preparing,
            committing,
        }
    }

    fn write(&mut self, item: Item, disk: &mut Disk, wall: OffsetDateTime) {
        if self
            .open
            .as_ref()
            .is_some_and(|(segment, _)| disk.staged[segment].items.len() >= self.posts_max)
        {
            self.close(disk);
        }
        if self.open.is_none() {
            let segment = format!(
                "{}/{:04}-{}/{:04}",
                self.place,
                self.rolls,
                self.boundary.unix_timestamp(),
                self.number
            );
            self.number += 1;
            assert!(
                disk.staged.insert(segment.clone(), Segment::default()).is_none(),
                "{segment} is begun twice"
            );
            self.open = Some((segment, wall));
        }
        if let Some((segment, _)) = &self.open {
            disk.staged.get_mut(segment).expect("it was begun").items.push(item);
        }
    }

    fn close(&mut self, disk: &Disk) {
        if let Some((segment, _)) = self.open.take() {
            self.closed.push(promise(&self.place, &segment, &disk.staged[&segment].items, true));
        }
    }

    fn prepare(&mut self, barrier: &Barrier, disk: &Disk) -> Prepared {
        let rolls = barrier.boundary != self.boundary;
        let old = self.open.as_ref().is_some_and(|(_, since)| barrier.now - *since >= self.age);
        if barrier.last || rolls || old {
            self.close(disk);
        }
        if rolls {
            // If a boundary is repeated, its second partition gets a name of its own.
            (self.boundary, self.number, self.rolls) = (barrier.boundary, 0, self.rolls + 1);
        }
        let open = |(segment, _): &(String, _)| {
            promise(&self.place, segment, &disk.staged[segment].items, false)
        };
        let promises = self.closed.iter().cloned().chain(self.open.as_ref().map(open)).collect();
        Prepared { promises, open_since: self.open.as_ref().map(|(_, since)| *since) }
    }

    pub(crate) fn committed(&mut self, segment: &str) {
        self.closed.retain(|promise| promise.segment != segment);
    }
}

/// The environment of a task's step.
pub(crate) struct Surroundings<'a> {
    pub channels: &'a mut [Channel],
    pub disk: &'a mut Disk,
    pub wall: OffsetDateTime,
    pub now: Duration,
    /// A random number for choices.
    pub choice: usize,
    /// The time until a prepare is done, or until the next step of a commit.
    pub takes: Duration,
}

impl Task {
    pub(crate) fn role(&self) -> TaskRole {
        match self.body {
            Body::Spout(_) => TaskRole::Spout,
            Body::Bolt(_) => TaskRole::Bolt,
            Body::Sink(_) => TaskRole::Sink,
        }
    }

    /// Returns true if the task can take a step.
    pub(crate) fn can_work(&self, channels: &[Channel], now: Duration) -> bool {
        if self
            .outputs
            .iter()
            .any(|(_, tasks)| tasks.iter().any(|channel| channels[*channel].is_full()))
        {
            return false;
        }
        match &self.body {
            Body::Spout(spout) => !spout.paused && !spout.done && spout.ready_at <= now,
            _ => {
                let has_data = |channel: &usize| channels[*channel].has_data();
                self.inputs.iter().any(has_data) || self.is_aligned(channels)
            }
        }
    }

    fn is_aligned(&self, channels: &[Channel]) -> bool {
        self.inputs.iter().all(|channel| channels[*channel].mark().is_some())
    }

    /// Takes a step. Returns the task's report, if any.
    pub(crate) fn work(&mut self, around: &mut Surroundings<'_>) -> Option<Report> {
        if let Body::Spout(spout) = &mut self.body {
            spout.ready_at = around.now + around.takes;
            match spout.read(self.component, around.choice, around.now) {
                Ok(item) => {
                    let watermark = spout.time.next_after_emit(around.now);
                    self.emit(item, around);
                    self.broadcast_watermark(watermark, around.channels);
                }
                Err(ended) => {
                    self.tell_event_time(around.channels, around.now);
                    return Some(ended);
                }
            }
            return None;
        }
        if self.is_aligned(around.channels) {
            return self.pass(around);
        }
        let choices = self.inputs.len();
        let mut inputs = (0..choices).map(|input| (input + around.choice) % choices);
        let input = inputs.find(|input| around.channels[self.inputs[*input]].has_data())?;
        match around.channels[self.inputs[input]].0.pop_front()? {
            Message::Item(item) => self.take(item, around),
            Message::Watermark(watermark) => {
                let passed = self.time.receive(input, watermark);
                self.broadcast_watermark(passed, around.channels);
            }
            Message::Mark(_) => unreachable!("has_data() says that no barrier comes next"),
        }
        None
    }

    fn take(&mut self, item: Item, around: &mut Surroundings<'_>) {
        self.time.check_item(&self.name, &item);
        match &mut self.body {
            Body::Bolt(counts) => {
                counts.count(item.key());
                self.emit(item, around);
            }
            Body::Sink(sink) => sink.write(item, around.disk, around.wall),
            Body::Spout(_) => {}
        }
    }

    /// Does the first step of a task: a spout reports its event time, and a bolt gets the watermark
    /// of an earlier run.
    pub(crate) fn begin(&mut self, channels: &mut [Channel], now: Duration) {
        self.tell_event_time(channels, now);
        let restored = self.time.take_restored();
        self.broadcast_watermark(restored, channels);
    }

    /// Sends a spout's event time, if it has changed.
    fn tell_event_time(&mut self, channels: &mut [Channel], now: Duration) {
        let is_full = |channel: &usize| channels[*channel].is_full();
        let waits_for_room = self.outputs.iter().any(|(_, tasks)| tasks.iter().any(is_full));
        let Body::Spout(spout) = &mut self.body else { return };
        let watermark = spout.time.next(spout.paused || waits_for_room, now);
        self.broadcast_watermark(watermark, channels);
    }

    fn broadcast_watermark(&self, watermark: Option<Watermark>, channels: &mut [Channel]) {
        let Some(watermark) = watermark else { return };
        for channel in self.outputs.iter().flat_map(|(_, tasks)| tasks) {
            channels[*channel].0.push_back(Message::Watermark(watermark));
        }
    }

    fn emit(&self, item: Item, around: &mut Surroundings<'_>) {
        for (shuffled, tasks) in &self.outputs {
            let way = if *shuffled { around.choice } else { item.key() as usize };
            around.channels[tasks[way % tasks.len()]]
                .0
                .push_back(Message::Item(item.by(self.component)));
        }
    }

    /// Handles a barrier that has arrived from every input.
    fn pass(&mut self, around: &mut Surroundings<'_>) -> Option<Report> {
        let channels = &mut *around.channels;
        let marks = self
            .inputs
            .iter()
            .map(|channel| channels[*channel].mark().cloned().expect("all are aligned"));
        let marks: Vec<_> = marks.collect();
        assert!(marks.iter().all(|mark| *mark == marks[0]), "two barriers at once");
        self.inputs.iter().for_each(|channel| drop(channels[*channel].0.pop_front()));
        let epoch = marks[0].barrier.epoch;
        let report = match &mut self.body {
            Body::Sink(sink) => {
                let prepared = sink.prepare(&marks[0].barrier, around.disk);
                assert!(sink.preparing.is_none(), "two prepares at once");
                sink.preparing = Some((around.now + around.takes, epoch, prepared));
                None
            }
            Body::Bolt(counts) => Some(Report::State {
                epoch,
                changes: counts.snapshot(),
                watermark: self.time.now(),
            }),
            Body::Spout(_) => None,
        };
        self.broadcast(&marks[0], channels);
        report
    }

    fn broadcast(&self, mark: &Arc<Mark>, channels: &mut [Channel]) {
        for channel in self.outputs.iter().flat_map(|(_, tasks)| tasks) {
            channels[*channel].0.push_back(Message::Mark(Arc::clone(mark)));
        }
    }

    /// Sends a barrier, after the event time.
    fn inject(&mut self, mark: &Arc<Mark>, around: &mut Surroundings<'_>) -> Report {
        self.tell_event_time(around.channels, around.now);
        self.broadcast(mark, around.channels);
        let Body::Spout(spout) = &mut self.body else { unreachable!("only spouts inject") };
        let epoch = mark.barrier.epoch;
        let read = spout.read_so_far();
        let times = spout.time.at_barrier(epoch, &read);
        Report::Cursors { epoch, cursors: spout.cursors(), times }
    }

    /// Handles a message of the coordinator. Returns the task's report, if any.
    pub(crate) fn told(
        &mut self,
        control: Control,
        around: &mut Surroundings<'_>,
    ) -> Option<Report> {
        match (&mut self.body, control) {
            (Body::Spout(_), Control::Inject(mark)) => return Some(self.inject(&mark, around)),
            (Body::Spout(spout), Control::StopSource) => {
                return (!std::mem::replace(&mut spout.done, true))
                    .then_some(Report::SourceStopped);
            }
            (Body::Spout(spout), Control::Pause(paused)) => spout.paused = paused,
            (Body::Sink(sink), Control::Commit(promises)) => {
                assert!(sink.committing.is_none(), "two commits at once for {}", self.name);
                let ready_at = around.now + around.takes;
                sink.committing =
                    Some(Commit { ready_at, left: promises.into(), delivered: Vec::new() });
            }
            (Body::Sink(_), Control::Forget(segments)) => {
                around.disk.forget(self.component, segments)
            }
            (_, control) => panic!("{} got {control:?}", self.name),
        }
        None
    }
}
