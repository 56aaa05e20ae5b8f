//! Sends a task's tuples. Each tuple is added to the batch that is being gathered for its
//! destination. Batches are sent when they are full, or when the task has nothing else to do.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::epoch::Mark;
use crate::event_time::{EventTime, Watermark};
use crate::flow::{Batch, ComponentTap, EdgeSender, EmitterTask, Grouping, Item, Router, Target};
use crate::tuple::StreamId;
use crate::value::Value;

/// A stream of a component, as one of its tasks emits it.
struct StreamOut {
    arity: usize,
    routes: Vec<Route>,
}

/// A bolt that takes a stream. Its tasks are the destinations from `first` on.
struct Route {
    router: Router,
    /// True if the choice of the task doesn't depend on a tuple's values.
    free: bool,
    first: usize,
    tasks: usize,
    /// The number of the first of these tasks in the plan.
    first_task: usize,
}

impl Route {
    /// Adds a tuple directly to the batch of its destination. If the number of values differs from
    /// that of the stream's fields, the tuple isn't added, and the number is returned as an error.
    #[inline]
    fn append(
        &mut self,
        destinations: &mut [Destination],
        touched: &mut Vec<u32>,
        time: Option<EventTime>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<(), usize> {
        let own = &destinations[self.first..self.first + self.tasks];
        let task = self
            .router
            .choose_batch(|task| own[task].room(), |task| own[task].gathering.tuples > 0);
        let index = self.first + task;
        let Destination { gathering, arity, touched: is_touched, .. } = &mut destinations[index];
        let before = gathering.values.len();
        gathering.values.extend(values);
        let found = gathering.values.len() - before;
        if found != *arity {
            gathering.values.truncate(before);
            return Err(found);
        }
        gathering.bytes += weigh(&gathering.values[before..]);
        gathering.tuples += 1;
        gathering.times.extend(time);
        if !std::mem::replace(is_touched, true) {
            touched.push(index as u32);
        }
        Ok(())
    }
}

/// A task that takes tuples from this emitter.
struct Destination {
    edge: EdgeSender,
    arity: usize,
    gathering: Batch,
    /// The numbers of tuples and bytes in `gathering` that are committed. The rest can be rolled
    /// back.
    committed: (usize, usize),
    /// True if the destination holds uncommitted tuples, so that it is listed in `touched`.
    touched: bool,
    /// The stream that a tap reads at this destination. The tapped destinations of a stream
    /// together get each tuple exactly once.
    tapped: Option<StreamId>,
    /// Items that found no room: barriers, and at most the batches made from one input batch (or
    /// from one emit of a spout).
    waiting: VecDeque<Item>,
    batch_tuples: usize,
    batch_bytes: usize,
}

impl Destination {
    fn is_full(&self) -> bool {
        self.gathering.tuples >= self.batch_tuples || self.gathering.bytes >= self.batch_bytes
    }

    /// Returns the number of batches waiting on the edge; `None` if it has no room for another.
    fn room(&self) -> Option<usize> {
        if self.waiting.is_empty() { self.edge.room() } else { None }
    }
}

/// All outputs of a task.
pub struct Emitter {
    streams: Vec<StreamOut>,
    destinations: Vec<Destination>,
    batch_tuples: usize,
    /// The destinations that got tuples since the last commit.
    touched: Vec<u32>,
    /// The destinations that hold items for which there was no room.
    blocked: Vec<u32>,
    scratch: Vec<Value>,
    emitted: u64,
    uncommitted: u64,
    /// The event time of the following tuples; `None` if no bolt of the topology uses event time.
    time: Option<EventTime>,
    /// The open taps of the component.
    tap: Option<Arc<ComponentTap>>,
    fault: Option<String>,
}

impl Emitter {
    /// Creates the emitter of a component whose streams have these numbers of fields. `timed` is
    /// true if tuples have event times.
    pub fn new(arities: impl IntoIterator<Item = usize>, batch_tuples: usize, timed: bool) -> Self {
        Self {
            streams: arities
                .into_iter()
                .map(|arity| StreamOut { arity, routes: Vec::new() })
                .collect(),
            destinations: Vec::new(),
            batch_tuples,
            touched: Vec::new(),
            blocked: Vec::new(),
            scratch: Vec::new(),
            emitted: 0,
            uncommitted: 0,
            time: timed.then_some(EventTime::UNKNOWN),
            tap: None,
            fault: None,
        }
    }

    /// Sets the taps of the component.
    #[must_use]
    pub fn with_tap(mut self, tap: Arc<ComponentTap>) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Adds a bolt that takes a stream, with one edge for each of its tasks, and the largest size
    /// of a batch on such an edge in bytes.
    pub fn add_route(
        &mut self,
        stream: StreamId,
        grouping: &Grouping,
        emitter: EmitterTask,
        edges: Vec<EdgeSender>,
        batch_bytes: usize,
        first_task: usize,
    ) {
        let (first, tasks) = (self.destinations.len(), edges.len());
        let router = Router::new(grouping.clone(), tasks, emitter);
        let arity = self.streams[stream.0].arity;
        let is_first = self.streams[stream.0].routes.is_empty();
        // Each tuple is shown once: of the bolts that take a stream, only the first is tapped.
        let is_tapped = |task| is_first && (task == 0 || !matches!(grouping, Grouping::All));
        let free = router.is_free();
        self.streams[stream.0].routes.push(Route { free, router, first, tasks, first_task });
        self.destinations.extend(edges.into_iter().enumerate().map(|(task, edge)| Destination {
            edge,
            arity,
            tapped: is_tapped(task).then_some(stream),
            gathering: Batch::default(),
            committed: (0, 0),
            touched: false,
            waiting: VecDeque::new(),
            batch_tuples: self.batch_tuples,
            batch_bytes,
        }));
    }

    /// Returns true if a bolt takes this stream.
    pub fn is_taken(&self, stream: StreamId) -> bool {
        self.streams.get(stream.0).is_some_and(|out| !out.routes.is_empty())
    }

    /// Returns true if tuples have event times.
    pub fn is_timed(&self) -> bool {
        self.time.is_some()
    }

    /// Sets the event time of the following tuples, in a topology whose tuples have one.
    #[inline]
    pub fn set_time(&mut self, time: EventTime) {
        if let Some(own) = &mut self.time {
            *own = time;
        }
    }

    /// Emits a tuple, which can be rolled back until the next [`commit`](Self::commit).
    #[inline]
    pub fn emit(
        &mut self,
        stream: StreamId,
        direct_to: Option<usize>,
        values: impl IntoIterator<Item = Value>,
    ) {
        if let Some(out) = self.streams.get_mut(stream.0)
            && let [route] = &mut out.routes[..]
            && route.free
        {
            match route.append(&mut self.destinations, &mut self.touched, self.time, values) {
                Ok(()) => self.uncommitted += 1,
                Err(found) => self.refuse(stream, found),
            }
            return;
        }
        let mut values = values.into_iter();
        let first = values.next();
        let second = values.next();
        if let (Some(value), None) = (&first, &second)
            && let Some(index) = self.destination_of_only_value(stream, value)
        {
            let destination = &mut self.destinations[index];
            destination.gathering.bytes += value.weight();
            destination.gathering.tuples += 1;
            destination.gathering.times.extend(self.time);
            destination.gathering.values.extend(first);
            if !std::mem::replace(&mut destination.touched, true) {
                self.touched.push(index as u32);
            }
            self.uncommitted += 1;
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.extend(first.into_iter().chain(second).chain(values));
        self.emit_scratch(stream, direct_to, &mut scratch, None);
        scratch.clear();
        self.scratch = scratch;
    }

    /// Emits a tuple as [`emit`](Self::emit) does, and adds the numbers in the plan of the tasks
    /// that get it.
    pub fn emit_told(
        &mut self,
        stream: StreamId,
        direct_to: Option<usize>,
        values: impl IntoIterator<Item = Value>,
        tasks: &mut Vec<usize>,
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.extend(values);
        self.emit_scratch(stream, direct_to, &mut scratch, Some(tasks));
        scratch.clear();
        self.scratch = scratch;
    }

    /// Returns the destination of a one-value tuple, if its stream declares one field and only one
    /// bolt takes the stream, grouped by that field.
    #[inline]
    fn destination_of_only_value(&self, stream: StreamId, value: &Value) -> Option<usize> {
        let out = self.streams.get(stream.0).filter(|out| out.arity == 1)?;
        let [route] = &out.routes[..] else { return None };
        Some(route.first + route.router.task_of_only_value(value)?)
    }

    fn emit_scratch(
        &mut self,
        stream: StreamId,
        direct_to: Option<usize>,
        values: &mut Vec<Value>,
        mut told: Option<&mut Vec<usize>>,
    ) {
        let Some(out) = self.streams.get_mut(stream.0).filter(|out| out.arity == values.len())
        else {
            return self.refuse(stream, values.len());
        };
        self.uncommitted += 1;
        let weight = weigh(values);
        let last = out.routes.len().saturating_sub(1);
        for (number, route) in out.routes.iter_mut().enumerate() {
            let destinations = &mut self.destinations[route.first..route.first + route.tasks];
            let target = route.router.choose(
                values,
                direct_to,
                |task| destinations[task].room(),
                |task| destinations[task].gathering.tuples > 0,
            );
            if let Some(told) = &mut told {
                match target {
                    Target::One(task) => told.push(route.first_task + task),
                    Target::All => {
                        told.extend((0..route.tasks).map(|task| route.first_task + task))
                    }
                    Target::Nowhere => {}
                }
            }
            let mut touch =
                Touch { first: route.first, weight, time: self.time, touched: &mut self.touched };
            match target {
                Target::One(task) if number == last => {
                    touch.values(destinations, task).append(values)
                }
                Target::One(task) => touch.values(destinations, task).extend_from_slice(values),
                Target::All => {
                    for task in 0..route.tasks {
                        touch.values(destinations, task).extend_from_slice(values);
                    }
                }
                Target::Nowhere => {}
            }
        }
    }

    /// Emits and commits `tuples` tuples of a stream, whose values are stored one after the other
    /// in `values`, and their event times, if any, in `times`. Used for spouts, which never roll
    /// back.
    pub fn emit_all(
        &mut self,
        stream: StreamId,
        tuples: usize,
        values: &mut impl Iterator<Item = Value>,
        times: &mut impl Iterator<Item = EventTime>,
    ) {
        let arity = self.streams[stream.0].arity;
        if let [route] = &mut self.streams[stream.0].routes[..]
            && route.free
        {
            let route = (route.first, route.tasks);
            self.fill_batches(stream, route, tuples, (values, times));
        } else {
            for _ in 0..tuples {
                if self.time.is_some() {
                    self.time = times.next();
                }
                self.emit(stream, None, values.take(arity));
                // The arity was checked when the tuples were pushed.
                self.commit_touched();
            }
        }
    }

    /// Fills one batch after the other. The destination may change only between batches.
    fn fill_batches(
        &mut self,
        stream: StreamId,
        (first, tasks): (usize, usize),
        tuples: usize,
        (values, times): (&mut impl Iterator<Item = Value>, &mut impl Iterator<Item = EventTime>),
    ) {
        let timed = self.is_timed();
        let mut left = tuples;
        while left > 0 {
            let destinations = &mut self.destinations[first..first + tasks];
            let router = &mut self.streams[stream.0].routes[0].router;
            let task = router.choose_batch(
                |task| destinations[task].room(),
                |task| destinations[task].gathering.tuples > 0,
            );
            let destination = &mut destinations[task];
            while left > 0 && !destination.is_full() {
                let before = destination.gathering.values.len();
                destination.gathering.values.extend(values.take(destination.arity));
                destination.gathering.bytes += weigh(&destination.gathering.values[before..]);
                destination.gathering.tuples += 1;
                if timed {
                    destination.gathering.times.extend(times.next());
                }
                left -= 1;
            }
            destination.committed = (destination.gathering.tuples, destination.gathering.bytes);
            if destination.is_full() {
                self.send_batch((first + task) as u32);
            }
        }
        self.emitted += tuples as u64;
    }

    #[cold]
    fn refuse(&mut self, stream: StreamId, values: usize) {
        self.fault = Some(match self.streams.get(stream.0) {
            Some(out) => {
                format!(
                    "it emitted {values} values on stream number {}, which declares {}",
                    stream.0, out.arity
                )
            }
            None => format!(
                "it emitted on stream number {}, but declares {}",
                stream.0,
                self.streams.len()
            ),
        });
    }

    /// Commits the tuples emitted since the last commit, and sends full batches.
    ///
    /// # Errors
    /// If the component emitted a tuple that doesn't match its declaration. Then none of the tuples
    /// is sent.
    #[inline]
    pub fn commit(&mut self) -> Result<(), String> {
        if self.fault.is_some() {
            self.roll_back();
            return self.fault.take().map_or(Ok(()), Err);
        }
        self.commit_touched();
        Ok(())
    }

    #[inline]
    fn commit_touched(&mut self) {
        self.emitted += std::mem::take(&mut self.uncommitted);
        while let Some(index) = self.touched.pop() {
            let destination = &mut self.destinations[index as usize];
            destination.touched = false;
            destination.committed = (destination.gathering.tuples, destination.gathering.bytes);
            if destination.is_full() {
                self.send_batch(index);
            }
        }
    }

    /// Discards the tuples emitted since the last commit.
    pub fn roll_back(&mut self) {
        self.uncommitted = 0;
        for index in self.touched.drain(..) {
            let destination = &mut self.destinations[index as usize];
            destination.touched = false;
            (destination.gathering.tuples, destination.gathering.bytes) = destination.committed;
            destination.gathering.values.truncate(destination.gathering.tuples * destination.arity);
            destination.gathering.times.truncate(destination.gathering.tuples);
        }
    }

    /// Sends every batch that was begun.
    pub fn flush(&mut self) {
        for index in 0..self.destinations.len() {
            self.send_batch(index as u32);
        }
    }

    /// Sends a barrier to every destination, after all tuples emitted before it.
    pub fn broadcast(&mut self, mark: &Arc<Mark>) {
        self.flush();
        for index in 0..self.destinations.len() {
            self.send(index as u32, Item::Mark(Arc::clone(mark)));
        }
    }

    /// Sends the event time to every destination, after all tuples emitted before it.
    pub fn broadcast_watermark(&mut self, watermark: Watermark) {
        self.flush();
        for index in 0..self.destinations.len() {
            self.send(index as u32, Item::Watermark(watermark));
        }
    }

    /// Sends the items that found no room, as far as there is room now. Returns true if none is
    /// left.
    pub fn drain(&mut self) -> bool {
        let destinations = &mut self.destinations;
        self.blocked.retain(|index| {
            let Destination { edge, waiting, .. } = &mut destinations[*index as usize];
            while let Some(item) = waiting.pop_front() {
                if let Some(item) = edge.send(item) {
                    waiting.push_front(item);
                    return true;
                }
            }
            false
        });
        self.blocked.is_empty()
    }

    /// Returns true if some items found no room, so that the task must not emit more.
    pub fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Returns true if one of the full channels has drained far enough for another attempt.
    pub fn has_drained(&self) -> bool {
        self.blocked.iter().any(|index| self.destinations[*index as usize].edge.has_drained())
    }

    /// Returns true if a batch was begun and isn't sent yet.
    pub fn is_gathering(&self) -> bool {
        self.destinations.iter().any(|destination| destination.gathering.tuples > 0)
    }

    /// Returns the number of emitted tuples, each counted once.
    pub fn emitted(&self) -> u64 {
        self.emitted
    }

    fn send_batch(&mut self, index: u32) {
        let destination = &mut self.destinations[index as usize];
        if destination.gathering.tuples > 0 {
            if let (Some(tap), Some(stream)) = (&self.tap, destination.tapped)
                && tap.is_open()
            {
                tap.offer(stream, destination.arity, &destination.gathering);
            }
            let capacity = destination.gathering.values.len();
            let batch = std::mem::take(&mut destination.gathering);
            destination.committed = (0, 0);
            destination.gathering.values.reserve(capacity);
            self.send(index, Item::Batch(batch));
        }
    }

    fn send(&mut self, index: u32, item: Item) {
        let Destination { edge, waiting, .. } = &mut self.destinations[index as usize];
        if !waiting.is_empty() {
            waiting.push_back(item);
        } else if let Some(item) = edge.send(item) {
            waiting.push_back(item);
            self.blocked.push(index);
        }
    }
}

/// A view of a destination that counts tuples.
struct Touch<'a> {
    first: usize,
    weight: usize,
    time: Option<EventTime>,
    touched: &'a mut Vec<u32>,
}

impl Touch<'_> {
    /// Returns the values of the batch, to which the tuple's values are appended.
    #[inline]
    fn values<'d>(
        &mut self,
        destinations: &'d mut [Destination],
        task: usize,
    ) -> &'d mut Vec<Value> {
        let destination = &mut destinations[task];
        if !destination.touched {
            destination.touched = true;
            self.touched.push((self.first + task) as u32);
        }
        destination.gathering.tuples += 1;
        destination.gathering.bytes += self.weight;
        destination.gathering.times.extend(self.time);
        &mut destination.gathering.values
    }
}

/// Returns the weight of a tuple's values in bytes.
#[inline]
fn weigh(values: &[Value]) -> usize {
    values.iter().map(Value::weight).sum()
}
