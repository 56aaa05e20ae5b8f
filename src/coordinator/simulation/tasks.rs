//! What runs in the simulated tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::disk::{Disk, Segment, promise};
use super::graph::{Component, Item};
use crate::checkpoint::StateStore;
use crate::coordinator::TaskRole;
use crate::epoch::{Barrier, Cursor, Mark, Prepared, Promise, StateChange};
use crate::event_time::EventTime;
use crate::protocol::{Control, Report};

/// Items that may wait in a channel before whoever sends them waits.
const CHANNEL_MAX: usize = 6;

/// One thing in a channel.
pub enum Message {
    Item(Item),
    Mark(Arc<Mark>),
}

/// What lies between two tasks.
#[derive(Default)]
pub struct Channel(pub VecDeque<Message>);

impl Channel {
    fn is_full(&self) -> bool {
        self.0.len() >= CHANNEL_MAX
    }

    fn mark(&self) -> Option<&Arc<Mark>> {
        match self.0.front() {
            Some(Message::Mark(mark)) => Some(mark),
            _ => None,
        }
    }
}

pub struct Task {
    pub component: usize,
    pub name: String,
    /// Channels that it reads.
    pub inputs: Vec<usize>,
    /// Channels that it writes, by component and task; whether any task of it will do.
    pub outputs: Vec<(bool, Vec<usize>)>,
    pub mailbox: VecDeque<Control>,
    /// It does nothing until then.
    pub hung_until: Duration,
    pub gone: bool,
    pub body: Body,
}

#[expect(clippy::large_enum_variant, reason = "a simulation has a handful of tasks")]
pub enum Body {
    Spout(Spout),
    Bolt(Counts),
    Sink(Sink),
}

/// Reads splits.
#[derive(Default)]
pub struct Spout {
    /// The split, how far it was read, how long it is, and how far the last barrier found it.
    splits: Vec<(usize, u32, u32, Option<u32>)>,
    pub emitted: u64,
    pub paused: bool,
    /// Its source has ended or was stopped.
    done: bool,
    /// When there is something to read.
    pub ready_at: Duration,
}

impl Spout {
    /// Reads every `tasks`th split from `index` on, from where the checkpoint has them.
    pub fn resume(component: &Component, index: usize, tasks: usize, disk: &Disk) -> Self {
        let cursors = disk.store.saved().expect("a store in memory can be read").cursors;
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
        Self { splits: splits.collect(), ..Self::default() }
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

    /// The next item of a split, if one is left; the source ends behind the last one.
    fn read(&mut self, component: usize, choice: usize) -> Result<Item, Report> {
        let mut left: Vec<_> =
            self.splits.iter_mut().filter(|(_, at, length, _)| at < length).collect();
        if left.is_empty() {
            self.done = true;
            return Err(Report::SourceEnded);
        }
        let choice = choice % left.len();
        let (split, at, _, _) = &mut *left[choice];
        self.emitted += 1;
        *at += 1;
        Ok(Item { spout: component, split: *split, way: 0, number: *at - 1 })
    }
}

/// Counts by key.
#[derive(Default)]
pub struct Counts {
    counts: BTreeMap<u32, u32>,
    changed: BTreeMap<u32, u32>,
}

impl Counts {
    /// Takes back the keys that belong to a task.
    pub fn restore(component: &Component, index: usize, tasks: usize, disk: &Disk) -> Self {
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

/// Stages segments.
pub struct Sink {
    pub place: String,
    pub boundary: OffsetDateTime,
    /// How many partitions it had before.
    pub rolls: u32,
    pub posts_max: usize,
    pub age: Duration,
    /// The open segment, and when it was begun.
    open: Option<(String, OffsetDateTime)>,
    number: u32,
    /// Closed, and not committed.
    closed: Vec<Promise>,
    /// A prepare that isn't done yet: when it will be, and what it gives.
    pub preparing: Option<(Duration, u64, Prepared)>,
    /// A commit that isn't done yet.
    pub committing: Option<Commit>,
}

/// A commit that isn't done yet.
pub struct Commit {
    /// When it goes on.
    pub ready_at: Duration,
    /// The promises that aren't delivered.
    pub left: VecDeque<Promise>,
    /// The segments that are.
    pub delivered: Vec<String>,
}

impl Sink {
    pub fn new(place: String, boundary: OffsetDateTime, posts_max: usize, age: Duration) -> Self {
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
            // A partition of a boundary that comes again has a name of its own.
            (self.boundary, self.number, self.rolls) = (barrier.boundary, 0, self.rolls + 1);
        }
        let open = |(segment, _): &(String, _)| {
            promise(&self.place, segment, &disk.staged[segment].items, false)
        };
        let promises = self.closed.iter().cloned().chain(self.open.as_ref().map(open)).collect();
        Prepared { promises, open_since: self.open.as_ref().map(|(_, since)| *since) }
    }

    pub fn committed(&mut self, segment: &str) {
        self.closed.retain(|promise| promise.segment != segment);
    }
}

/// What a task works with.
pub struct Surroundings<'a> {
    pub channels: &'a mut [Channel],
    pub disk: &'a mut Disk,
    pub wall: OffsetDateTime,
    pub now: Duration,
    /// What it does if it has a choice.
    pub choice: usize,
    /// How long it takes until a prepare is done, or a commit has done one thing.
    pub takes: Duration,
}

impl Task {
    pub fn role(&self) -> TaskRole {
        match self.body {
            Body::Spout(_) => TaskRole::Spout,
            Body::Bolt(_) => TaskRole::Bolt,
            Body::Sink(_) => TaskRole::Sink,
        }
    }

    /// Whether it can take a step.
    pub fn can_work(&self, channels: &[Channel], now: Duration) -> bool {
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
                let has_item = |channel: &usize| {
                    matches!(channels[*channel].0.front(), Some(Message::Item(_)))
                };
                self.inputs.iter().any(has_item) || self.is_aligned(channels)
            }
        }
    }

    fn is_aligned(&self, channels: &[Channel]) -> bool {
        self.inputs.iter().all(|channel| channels[*channel].mark().is_some())
    }

    /// Takes a step; gives what it reports.
    pub fn work(&mut self, around: &mut Surroundings<'_>) -> Option<Report> {
        if let Body::Spout(spout) = &mut self.body {
            spout.ready_at = around.now + around.takes;
            match spout.read(self.component, around.choice) {
                Ok(item) => self.emit(item, around),
                Err(ended) => return Some(ended),
            }
            return None;
        }
        if self.is_aligned(around.channels) {
            return self.pass(around);
        }
        let choices = self.inputs.len();
        let inputs = (0..choices).map(|input| self.inputs[(input + around.choice) % choices]);
        let channel = inputs.into_iter().find(|channel| {
            matches!(around.channels[*channel].0.front(), Some(Message::Item(_)))
        })?;
        let Some(Message::Item(item)) = around.channels[channel].0.pop_front() else { return None };
        match &mut self.body {
            Body::Bolt(counts) => {
                counts.count(item.key());
                self.emit(item, around);
            }
            Body::Sink(sink) => sink.write(item, around.disk, around.wall),
            Body::Spout(_) => {}
        }
        None
    }

    fn emit(&self, item: Item, around: &mut Surroundings<'_>) {
        for (shuffled, tasks) in &self.outputs {
            let way = if *shuffled { around.choice } else { item.key() as usize };
            around.channels[tasks[way % tasks.len()]]
                .0
                .push_back(Message::Item(item.by(self.component)));
        }
    }

    /// Every input has come to the barrier.
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
                watermark: EventTime::UNKNOWN,
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

    /// Does what it is told; gives what it reports.
    pub fn told(&mut self, control: Control, around: &mut Surroundings<'_>) -> Option<Report> {
        match (&mut self.body, control) {
            (Body::Spout(spout), Control::Inject(mark)) => {
                let report = Report::Cursors {
                    epoch: mark.barrier.epoch,
                    cursors: spout.cursors(),
                    times: vec![],
                };
                self.broadcast(&mark, around.channels);
                return Some(report);
            }
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
