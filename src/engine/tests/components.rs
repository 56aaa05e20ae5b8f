//! Small components for tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;

use crate::bolt::{Bolt, BoltConfig, BoltContext};
use crate::component::Problem;
use crate::epoch::{Barrier, Cursor, Job, Prepared, Promise};
use crate::error::{Error, Result};
use crate::flow::{Output, SpoutOutput};
use crate::sink::{Delivered, Sink, SinkConfig, SinkContext};
use crate::spout::{Spout, SpoutConfig, SpoutContext};
use crate::tuple::{Fields, StreamId, Streams, Tuple};
use crate::value::Value;

/// The numbers from 0 on, divided over splits. With `endless` the source runs until it is stopped.
#[derive(Clone)]
pub(crate) struct Numbers {
    pub count: i64,
    pub splits: usize,
    pub chunk: i64,
    pub endless: bool,
}

pub(crate) fn count_to(count: i64) -> Numbers {
    Numbers { count, splits: 4, chunk: 3, endless: false }
}

impl SpoutConfig for Numbers {
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::new(["n"]))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok((0..self.splits).map(|split| split.to_string()).collect())
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait(?Send)]
impl Spout for Numbers {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        for (index, split) in out.splits().to_vec().into_iter().enumerate() {
            let from = match &split.cursor {
                Cursor::Start => &split.id,
                Cursor::At(next) => next,
                Cursor::End => continue,
            };
            let mut next: i64 = from.parse().expect("splits and cursors are numbers");
            while next < self.count || self.endless {
                for _ in 0..self.chunk {
                    if next < self.count || self.endless {
                        out.push([Value::Int(next)]);
                    }
                    next += self.splits as i64;
                }
                out.emit(index, Cursor::At(next.to_string())).await?;
            }
        }
        Ok(())
    }
}

/// A spout that runs a function.
pub(crate) struct Scripted<F>(pub F);

impl<F, S> SpoutConfig for Scripted<F>
where
    F: Fn() -> S + Send + Sync,
    S: Spout + 'static,
{
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::new(["n"]))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["only".into()])
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new((self.0)()))
    }
}

/// The function of a bolt: it takes a tuple and emits.
type Execute = dyn Fn(usize, Tuple<'_>, &mut Output) -> Result<()> + Send + Sync;

/// A bolt that runs a function. The first argument is the number of the instance, from 0, in the
/// order of creation.
#[derive(Clone)]
pub(crate) struct Does {
    execute: Arc<Execute>,
    streams: Streams,
    made: Arc<AtomicUsize>,
    pub blocks: bool,
}

pub(crate) fn does(
    execute: impl Fn(usize, Tuple<'_>, &mut Output) -> Result<()> + Send + Sync + 'static,
) -> Does {
    Does {
        execute: Arc::new(execute),
        streams: Streams::default_with(Fields::new(["n", "task"])),
        made: Arc::default(),
        blocks: false,
    }
}

/// Passes a number on together with the number of the task.
pub(crate) fn forward() -> Does {
    does(|task, tuple, out| {
        out.emit([tuple.value(0).clone(), Value::Int(task as i64)]);
        Ok(())
    })
}

impl Does {
    pub(crate) fn with_stream(mut self, name: &str, fields: &[&str]) -> Self {
        self.streams = self.streams.and(name, Fields::new(fields.iter().copied()));
        self
    }
}

impl BoltConfig for Does {
    fn streams(&self, _inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(self.streams.clone())
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        let task = self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(DoesBolt { task, execute: Arc::clone(&self.execute) }))
    }

    fn blocks(&self) -> bool {
        self.blocks
    }
}

struct DoesBolt {
    task: usize,
    execute: Arc<Execute>,
}

impl Bolt for DoesBolt {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        (self.execute)(self.task, tuple, out)
    }
}

/// A two-phase sink in memory: tuples become visible when the epoch in which they were promised is
/// committed.
#[derive(Clone)]
pub(crate) struct Collect {
    pub collected: Collected,
    pub gate: Option<Gate>,
    pub blocks: bool,
}

/// The tuples that a [`Collect`] has made visible.
#[derive(Clone, Default)]
pub(crate) struct Collected {
    visible: Arc<Mutex<Vec<Vec<Value>>>>,
    prepared: Arc<Mutex<BTreeMap<String, Vec<Vec<Value>>>>>,
    pub commits: Arc<AtomicUsize>,
    pub finished: Arc<AtomicBool>,
}

pub(crate) fn collect() -> (Collect, Collected) {
    let collected = Collected::default();
    (Collect { collected: collected.clone(), gate: None, blocks: false }, collected)
}

impl Collected {
    pub(crate) fn visible(&self) -> Vec<Vec<Value>> {
        self.visible.lock().unwrap().clone()
    }
}

impl SinkConfig for Collect {
    fn check(&self, _inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let place = self.place(&context)?;
        Ok(Box::new(CollectSink { config: self.clone(), place, open: Vec::new() }))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        Ok(format!("{}/{}-{}", context.run, context.component, context.task))
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        let promised =
            |segment: &String| promises.iter().any(|promise| promise.segment == *segment);
        let mut prepared = self.collected.prepared.lock().unwrap();
        prepared.retain(|segment, _| !segment.starts_with(place) || promised(segment));
        Ok(promises.to_vec())
    }

    fn blocks(&self) -> bool {
        self.blocks
    }
}

struct CollectSink {
    config: Collect,
    place: String,
    open: Vec<Vec<Value>>,
}

impl Sink for CollectSink {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        if let Some(gate) = &self.config.gate {
            gate.pass();
        }
        self.open.push(tuple.values.to_vec());
        Ok(())
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        let segment = format!("{}/{}", self.place, barrier.epoch);
        let tuples = std::mem::take(&mut self.open);
        let posts = tuples.len() as u64;
        self.config.collected.prepared.lock().unwrap().insert(segment.clone(), tuples);
        let promise = Promise {
            place: self.place.clone(),
            segment,
            length: 0,
            posts,
            checksum: 0,
            closed: true,
        };
        self.config.collected.finished.fetch_or(barrier.last, Ordering::Relaxed);
        Ok(Box::new(move || Ok(Prepared { promises: vec![promise.clone()], open_since: None })))
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let collected = self.config.collected.clone();
        Box::new(move || {
            collected.commits.fetch_add(1, Ordering::Relaxed);
            for promise in &promises {
                // A repeated commit has nothing left to do.
                if let Some(tuples) = collected.prepared.lock().unwrap().remove(&promise.segment) {
                    if tuples.len() as u64 != promise.posts {
                        return Err(Error::fatal("a promise isn't kept"));
                    }
                    collected.visible.lock().unwrap().extend(tuples);
                }
            }
            Ok(Delivered::all(&promises))
        })
    }
}

/// A gate that a test opens; threads that pass it wait until then.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn pass(&self) {
        let guard = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(guard, |open| !*open).unwrap());
    }
}

/// Returns the stream with this number in the order of declaration.
pub(crate) fn stream(number: usize) -> StreamId {
    StreamId(number)
}
