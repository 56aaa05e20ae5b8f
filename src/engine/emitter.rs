//! Where a task's tuples go: each is put into the batch that is being gathered for its destination,
//! and batches are sent when they are full, or when the task has nothing more to do.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::{Batch, Item, Mark};
use super::channel::EdgeSender;
use super::grouping::{Router, Target};
use crate::topology::Grouping;
use crate::tuple::StreamId;
use crate::value::Value;

/// One stream of a component, as one of its tasks emits it.
struct StreamOut {
    arity: usize,
    routes: Vec<Route>,
}

/// One bolt that takes a stream: its tasks are the destinations from `first` on.
struct Route {
    router: Router,
    direct: bool,
    first: usize,
    tasks: usize,
}

/// One task that takes tuples from here.
struct Destination {
    edge: EdgeSender,
    arity: usize,
    gathering: Batch,
    /// What found no room: at most what one input batch (or one emit of a spout) made, and barriers.
    waiting: VecDeque<Item>,
    batch_bytes: usize,
    /// Listed in `full`, so that it is listed once.
    full: bool,
}

/// All outputs of a task.
pub struct Emitter {
    streams: Vec<StreamOut>,
    destinations: Vec<Destination>,
    batch_tuples: usize,
    /// The destination of every tuple that was emitted since the last commit.
    journal: Vec<u32>,
    /// Destinations whose batch is full, to be sent at the next commit.
    full: Vec<u32>,
    /// Destinations that hold something that found no room.
    blocked: Vec<u32>,
    scratch: Vec<Value>,
    emitted: u64,
    uncommitted: u64,
    fault: Option<String>,
}

impl Emitter {
    /// Of a component whose streams have these numbers of fields.
    pub fn new(arities: impl IntoIterator<Item = usize>, batch_tuples: usize) -> Self {
        Self {
            streams: arities.into_iter().map(|arity| StreamOut { arity, routes: Vec::new() }).collect(),
            destinations: Vec::new(),
            batch_tuples,
            journal: Vec::new(),
            full: Vec::new(),
            blocked: Vec::new(),
            scratch: Vec::new(),
            emitted: 0,
            uncommitted: 0,
            fault: None,
        }
    }

    /// Adds a bolt that takes a stream, with one edge for each of its tasks and the bytes that a
    /// batch on such an edge may weigh.
    pub fn add_route(
        &mut self,
        stream: StreamId,
        grouping: &Grouping,
        emitter_task: usize,
        edges: Vec<EdgeSender>,
        batch_bytes: usize,
    ) {
        let (first, tasks) = (self.destinations.len(), edges.len());
        let router = Router::new(grouping.clone(), tasks, emitter_task);
        let direct = matches!(grouping, Grouping::Direct);
        let arity = self.streams[stream.0].arity;
        self.streams[stream.0].routes.push(Route { router, direct, first, tasks });
        self.destinations.extend(edges.into_iter().map(|edge| Destination {
            edge,
            arity,
            gathering: Batch::default(),
            waiting: VecDeque::new(),
            batch_bytes,
            full: false,
        }));
    }

    /// Emits a tuple; it can be taken back until the next [`commit`](Self::commit).
    pub fn emit(&mut self, stream: StreamId, direct_to: Option<usize>, values: impl IntoIterator<Item = Value>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.extend(values);
        self.emit_scratch(stream, direct_to, &mut scratch);
        scratch.clear();
        self.scratch = scratch;
    }

    fn emit_scratch(&mut self, stream: StreamId, direct_to: Option<usize>, values: &mut Vec<Value>) {
        let Some(out) = self.streams.get_mut(stream.0) else {
            self.fault = Some(format!("it emitted on stream number {}, but declares {}", stream.0, self.streams.len()));
            return;
        };
        if values.len() != out.arity {
            self.fault = Some(format!(
                "it emitted {} values on stream number {}, which declares {}",
                values.len(),
                stream.0,
                out.arity
            ));
            return;
        }
        self.uncommitted += 1;
        let weight: usize = values.iter().map(Value::weight).sum();
        let last = out.routes.len().saturating_sub(1);
        for (i, route) in out.routes.iter_mut().enumerate() {
            let mut push = Push {
                destinations: &mut self.destinations,
                journal: &mut self.journal,
                full: &mut self.full,
                batch_tuples: self.batch_tuples,
                weight,
            };
            match push.target(route, direct_to, values) {
                Target::One(task) if i == last => push.moved(route.first + task, values),
                Target::One(task) => push.cloned(route.first + task, values),
                Target::All => (0..route.tasks).for_each(|task| push.cloned(route.first + task, values)),
                Target::Nowhere => {}
            }
        }
    }

    /// What was emitted since the last commit stays, and full batches go out.
    ///
    /// # Errors
    /// If the component emitted what it hasn't declared; nothing of it goes out.
    pub fn commit(&mut self) -> Result<(), String> {
        if let Some(fault) = self.fault.take() {
            self.roll_back();
            return Err(fault);
        }
        self.journal.clear();
        self.emitted += std::mem::take(&mut self.uncommitted);
        while let Some(index) = self.full.pop() {
            self.destinations[index as usize].full = false;
            self.send_batch(index);
        }
        Ok(())
    }

    /// What was emitted since the last commit was never emitted.
    pub fn roll_back(&mut self) {
        self.fault = None;
        self.uncommitted = 0;
        for index in self.journal.drain(..).rev() {
            let Destination { gathering: batch, arity, .. } = &mut self.destinations[index as usize];
            batch.tuples -= 1;
            let kept = batch.values.len() - *arity;
            batch.bytes -= batch.values[kept..].iter().map(Value::weight).sum::<usize>();
            batch.values.truncate(kept);
        }
    }

    /// Sends every batch that was begun.
    pub fn flush(&mut self) {
        for index in 0..self.destinations.len() {
            self.send_batch(index as u32);
        }
    }

    /// Sends a barrier to every destination, behind all that was emitted before it.
    pub fn broadcast(&mut self, mark: &Arc<Mark>) {
        self.flush();
        for index in 0..self.destinations.len() {
            self.send(index as u32, Item::Mark(Arc::clone(mark)));
        }
    }

    /// Sends what found no room, as far as there is room now. True if nothing is left over.
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

    /// Whether something found no room: then the task must not make more.
    pub fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Whether one of the channels that had no room is worth another try.
    pub fn has_drained(&self) -> bool {
        self.blocked.iter().any(|index| self.destinations[*index as usize].edge.has_drained())
    }

    /// Whether a batch was begun and not sent yet.
    pub fn is_gathering(&self) -> bool {
        self.destinations.iter().any(|destination| destination.gathering.tuples > 0)
    }

    /// How many tuples were emitted so far, each counted once.
    pub fn emitted(&self) -> u64 {
        self.emitted
    }

    fn send_batch(&mut self, index: u32) {
        let destination = &mut self.destinations[index as usize];
        if destination.gathering.tuples > 0 {
            let capacity = destination.gathering.values.len();
            let batch = std::mem::take(&mut destination.gathering);
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

/// The parts of an emitter that putting one tuple into its batches needs.
struct Push<'a> {
    destinations: &'a mut [Destination],
    journal: &'a mut Vec<u32>,
    full: &'a mut Vec<u32>,
    batch_tuples: usize,
    weight: usize,
}

impl Push<'_> {
    fn target(&self, route: &mut Route, direct_to: Option<usize>, values: &[Value]) -> Target {
        if route.direct {
            return direct_to.filter(|task| *task < route.tasks).map_or(Target::Nowhere, Target::One);
        }
        let at = |task: usize| &self.destinations[route.first + task];
        route.router.choose(
            values,
            |task| at(task).waiting.is_empty() && at(task).edge.has_room(),
            |task| at(task).gathering.tuples > 0,
        )
    }

    fn moved(&mut self, index: usize, values: &mut Vec<Value>) {
        self.destinations[index].gathering.values.append(values);
        self.count(index);
    }

    fn cloned(&mut self, index: usize, values: &[Value]) {
        self.destinations[index].gathering.values.extend_from_slice(values);
        self.count(index);
    }

    fn count(&mut self, index: usize) {
        let destination = &mut self.destinations[index];
        let batch = &mut destination.gathering;
        batch.tuples += 1;
        batch.bytes += self.weight;
        self.journal.push(index as u32);
        let full = batch.tuples >= self.batch_tuples || batch.bytes >= destination.batch_bytes;
        if full && !destination.full {
            destination.full = true;
            self.full.push(index as u32);
        }
    }
}
