//! The components that stand in a group's topology for the rest of the cluster: a spout for the
//! inputs, a sink for the outputs, and a wrapper that notes what sinks have delivered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use tokio::sync::mpsc;

use super::bridge::{Answers, Bridge, OutStream};
use crate::bolt::Problem;
use crate::epoch::{Barrier, Cursor, Job, Prepared, Promise};
use crate::error::{Error, Result};
use crate::event_time::EventTimeOrder;
use crate::sink::{BoltInFront, Delivered, Sink, SinkConfig, SinkContext};
use crate::spout::{Route, Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::tuple::{Fields, StreamId, Streams, Tuple};
use crate::value::Value;

/// The largest number of tuples of Storm that wait for the topology inside.
pub(super) const INPUTS_WAITING_MAX: usize = 64;

/// A tuple of Storm on its way into the topology.
pub(super) struct Input {
    /// Its id in JSON.
    pub id: String,
    pub stream: StreamId,
    /// The values of its tuples, one tuple after the other.
    pub values: Vec<Value>,
}

/// A function that writes to Storm.
pub(super) type Say = Arc<dyn Fn(Answers) + Send + Sync>;

/// The spout that stands for the inputs of a group of bolts.
pub(super) struct In {
    pub streams: Streams,
    pub inputs: Mutex<Option<mpsc::Receiver<Input>>>,
    pub bridge: Arc<Bridge>,
    pub say: Say,
}

impl SpoutConfig for In {
    fn streams(&self) -> Streams {
        self.streams.clone()
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["storm".into()])
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        None
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        let inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner).take();
        // After a roll-back, the tuples in the topology are lost: Storm has to send them again.
        let inputs = inputs.ok_or_else(|| {
            Error::fatal("the component was rolled back: Storm has to send its tuples again")
        })?;
        let (bridge, say) = (Arc::clone(&self.bridge), Arc::clone(&self.say));
        Ok(Box::new(InTask { inputs, bridge, say }))
    }
}

struct InTask {
    inputs: mpsc::Receiver<Input>,
    bridge: Arc<Bridge>,
    say: Say,
}

#[async_trait(?Send)]
impl Spout for InTask {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        out.stay_open();
        let mut completed = out.completed();
        let mut number = 0_u64;
        loop {
            let input = {
                let next = std::pin::pin!(self.inputs.recv());
                let covered = std::pin::pin!(completed.changed());
                match select(next, covered).await {
                    Either::Left((Some(input), _)) => Some(input),
                    // Standard input has ended, and the process ends with it.
                    Either::Left((None, _)) => std::future::pending().await,
                    Either::Right(_) => None,
                }
            };
            let Some(Input { id, stream, values }) = input else {
                let cursor = completed.borrow_and_update().first().cloned();
                if let Some(Cursor::At(covered)) = cursor {
                    (self.say)(self.bridge.completed(covered.parse().unwrap_or(0)));
                }
                continue;
            };
            number += 1;
            self.bridge.opened(number, id);
            push_all(out, stream, values)?;
            out.emit(0, Cursor::At(number.to_string())).await?;
        }
    }
}

fn push_all(out: &mut SpoutOutput, stream: StreamId, values: Vec<Value>) -> Result<()> {
    let arity = out.arity(stream).max(1);
    if !values.len().is_multiple_of(arity) {
        return Err(Error::fatal("a tuple of Storm has other fields than its stream here"));
    }
    let mut values = values.into_iter();
    while values.len() > 0 {
        out.push_to(stream, values.by_ref().take(arity));
    }
    Ok(())
}

/// The sink that stands for the takers of a group's streams.
pub(super) struct Out {
    pub streams: Vec<OutStream>,
    pub bridge: Arc<Bridge>,
    /// True if a spout is in the group: then a checkpoint waits for Storm's acknowledgements.
    pub of_spout: bool,
}

impl SinkConfig for Out {
    fn check(&self, _: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, _: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(OutTask {
            streams: self.streams.clone(),
            bridge: Arc::clone(&self.bridge),
            of_spout: self.of_spout,
        }))
    }
}

struct OutTask {
    streams: Vec<OutStream>,
    bridge: Arc<Bridge>,
    of_spout: bool,
}

impl Sink for OutTask {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.bridge.take(tuple.input, &self.streams[tuple.input], tuple.values);
        if self.of_spout {
            self.bridge.wait_for_room();
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        if self.of_spout {
            self.bridge.seal(&self.streams);
        }
        Ok(())
    }

    fn prepare(&mut self, _: &Barrier) -> Result<Job<Prepared>> {
        self.bridge.seal(&self.streams);
        let bridge = self.of_spout.then(|| Arc::clone(&self.bridge));
        Ok(Box::new(move || {
            if let Some(bridge) = &bridge {
                bridge.wait_until_acked();
            }
            Ok(Prepared::default())
        }))
    }
}

/// A sink whose deliveries are noted.
pub(super) struct Noted {
    pub id: String,
    pub sink: Arc<dyn SinkConfig>,
    pub bridge: Arc<Bridge>,
    pub say: Say,
}

impl SinkConfig for Noted {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        self.sink.check(inputs)
    }

    fn bolt_in_front(&self, stream: &str, fields: &Fields) -> Option<BoltInFront> {
        self.sink.bolt_in_front(stream, fields)
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let sink = self.sink.build(context)?;
        let (id, bridge) = (self.id.clone(), Arc::clone(&self.bridge));
        Ok(Box::new(NotedTask { id, sink, bridge, say: Arc::clone(&self.say) }))
    }

    fn blocks(&self) -> bool {
        self.sink.blocks()
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        self.sink.place(context)
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        self.sink.recover(place, promises)
    }

    fn outbox_bytes_max(&self) -> Option<u64> {
        self.sink.outbox_bytes_max()
    }

    fn writes_to(&self) -> Option<crate::lake::root::Root> {
        self.sink.writes_to()
    }

    fn lake_root(&self) -> Option<std::path::PathBuf> {
        self.sink.lake_root()
    }
}

struct NotedTask {
    id: String,
    sink: Box<dyn Sink>,
    bridge: Arc<Bridge>,
    say: Say,
}

impl Sink for NotedTask {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.sink.write(tuple)
    }

    fn idle(&mut self) -> Result<()> {
        self.sink.idle()
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        let mut prepare = self.sink.prepare(barrier)?;
        let (id, bridge) = (self.id.clone(), Arc::clone(&self.bridge));
        Ok(Box::new(move || {
            let prepared = prepare()?;
            bridge.promised(&id, &prepared.promises);
            Ok(prepared)
        }))
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let mut commit = self.sink.commit(promises);
        let (id, bridge) = (self.id.clone(), Arc::clone(&self.bridge));
        let say = Arc::clone(&self.say);
        Box::new(move || {
            let delivered = commit()?;
            say(bridge.delivered(&id, &delivered.segments));
            Ok(delivered)
        })
    }

    fn forgotten(&mut self, segments: Vec<String>) -> Job<()> {
        self.sink.forgotten(segments)
    }
}

/// The share of one task of a spout that has several tasks in the cluster.
pub(super) struct Share {
    pub spout: Arc<dyn SpoutConfig>,
    pub task: usize,
    pub tasks: usize,
}

impl Share {
    fn of(&self, splits: Vec<String>) -> Vec<String> {
        splits.into_iter().skip(self.task).step_by(self.tasks.max(1)).collect()
    }
}

impl SpoutConfig for Share {
    fn streams(&self) -> Streams {
        self.spout.streams()
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(self.of(self.spout.splits()?))
    }

    fn splits_after(&self, cursors: &BTreeMap<String, Cursor>) -> Result<Vec<String>> {
        Ok(self.of(self.spout.splits_after(cursors)?))
    }

    fn ends_for_good(&self) -> bool {
        self.spout.ends_for_good()
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        self.spout.event_time()
    }

    fn router(&self) -> Option<Arc<dyn Route>> {
        self.spout.router()
    }

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        self.spout.build(context)
    }
}

/// The time between two checkpoints of a topology inside. A checkpoint acknowledges Storm's tuples.
/// A longer time makes larger batches, but tuples wait longer.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

/// The largest age of a lake's open file inside. Its posts are acknowledged when the file is
/// visible, and Storm waits for a tuple no longer than its message timeout, 30 s.
pub(super) const FILE_AGE_MAX: Duration = Duration::from_secs(5);
