//! What stands in a group's topology for the rest of it, which is elsewhere in the cluster: a spout
//! for the inputs, a sink for what goes out, and a look at what sinks have delivered.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use tokio::sync::mpsc;

use super::groups::Form;
use super::wire::push_text;
use crate::bolt::Problem;
use crate::epoch::{Barrier, Cursor, Job, Prepared, Promise};
use crate::error::{Error, Result};
use crate::event_time::EventTimeOrder;
use crate::keys::key_group;
use crate::sink::{BoltInFront, Delivered, Sink, SinkConfig, SinkContext};
use crate::spout::{Route, Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::tuple::{Fields, StreamId, Streams, Tuple, value_to_json};
use crate::value::Value;

/// How many tuples one of Storm carries at most. More would make a retry cost more.
const BATCH_TUPLES_MAX: usize = 512;

/// How many bytes it carries at most, unless a single tuple is larger.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// How many buckets keys are shared out among: a tuple of Storm carries those of one bucket. More
/// would spread keys more evenly over many tasks, and make smaller batches.
const BUCKETS: u16 = 256;

/// How many tuples of Storm may wait for its acknowledgements.
const UNACKED_MAX: usize = 2_000;

/// How many tuples of Storm may wait for the topology inside.
pub(super) const INPUTS_WAITING_MAX: usize = 64;

/// A tuple of Storm on its way in.
pub(super) struct Input {
    /// Its id, as it stands in JSON.
    pub id: String,
    pub stream: StreamId,
    /// The values of its tuples, one after the other.
    pub values: Vec<Value>,
}

/// A tuple of Storm on its way out.
#[derive(Clone, Debug)]
pub(super) struct OutMessage {
    /// The name of the stream, in JSON.
    stream: String,
    /// The values, as a list in JSON.
    tuple: String,
}

impl OutMessage {
    /// The command that emits it. `rest` is what stands behind the tuple.
    pub fn command(&self, rest: &str) -> String {
        let Self { stream, tuple } = self;
        format!(
            "{{\"command\":\"emit\",\"need_task_ids\":false,\"stream\":{stream},\"tuple\":{tuple}{rest}}}"
        )
    }
}

/// The stream that an input of the way out belongs to.
#[derive(Clone, Debug)]
pub(super) struct OutStream {
    pub name: String,
    pub form: Form,
    pub arity: usize,
}

/// What the threads of the process share.
#[derive(Default)]
pub(super) struct Bridge {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Tuples for each stream out, which aren't messages yet; by stream and bucket.
    gathering: BTreeMap<(usize, u16), Vec<Value>>,
    gathered: usize,
    /// Messages, in order.
    out: VecDeque<OutMessage>,
    /// Messages of a spout that Storm hasn't acknowledged, by number.
    unacked: BTreeMap<u64, OutMessage>,
    next_number: u64,
    /// Failed messages, which go out again.
    again: VecDeque<u64>,
    /// Tuples of Storm that are in the topology: number and id.
    open: VecDeque<(u64, String)>,
    /// Tuples whose results sinks haven't delivered yet.
    waiting: VecDeque<Waiting>,
    /// What each sink has promised and not delivered.
    promised: BTreeMap<String, HashSet<String>>,
}

struct Waiting {
    ids: Vec<String>,
    segments: HashSet<(String, String)>,
}

/// What is to be said to Storm.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub emits: Vec<OutMessage>,
    /// The ids that these are anchored to.
    pub anchors: Vec<String>,
    pub acks: Vec<String>,
}

impl Bridge {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a tuple that goes out.
    fn take(&self, number: usize, stream: &OutStream, values: &[Value]) {
        let bucket = match &stream.form {
            Form::Keyed(keys) => key_group(keys.iter().map(|key| &values[*key])) % BUCKETS,
            _ => 0,
        };
        let mut state = self.state();
        if stream.form == Form::Plain {
            state.out.push_back(plain(&stream.name, values));
            return;
        }
        state.gathered += 1;
        let gathered = state.gathering.entry((number, bucket)).or_default();
        gathered.extend(values.iter().map(Value::detached));
        let weight: usize = gathered.iter().map(Value::weight).sum();
        let is_full =
            gathered.len() >= BATCH_TUPLES_MAX * stream.arity.max(1) || weight >= BATCH_BYTES_MAX;
        if is_full && let Some(values) = state.gathering.remove(&(number, bucket)) {
            state.out.push_back(batch(stream, bucket, &values));
        }
    }

    /// Makes messages of all that was gathered.
    fn seal(&self, streams: &[OutStream]) {
        let mut state = self.state();
        for ((number, bucket), values) in std::mem::take(&mut state.gathering) {
            let message = batch(&streams[number], bucket, &values);
            state.out.push_back(message);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Notes that a tuple of Storm is in the topology, under this number.
    fn opened(&self, number: u64, id: String) {
        self.state().open.push_back((number, id));
    }

    /// A checkpoint is complete that has all tuples up to this number: what came of them goes out.
    fn completed(&self, number: u64) -> Answers {
        let mut state = self.state();
        let emits: Vec<_> = state.out.drain(..).collect();
        // What went out may be of tuples behind the number as well: it is anchored to all of them.
        let anchors = match emits.is_empty() {
            true => Vec::new(),
            false => state.open.iter().map(|(_, id)| id.clone()).collect(),
        };
        let mut ids = Vec::new();
        while let Some((first, _)) = state.open.front()
            && *first <= number
        {
            ids.extend(state.open.pop_front().map(|(_, id)| id));
        }
        let mut segments = HashSet::new();
        for (sink, promised) in &state.promised {
            segments.extend(promised.iter().map(|segment| (sink.clone(), segment.clone())));
        }
        if !ids.is_empty() {
            state.waiting.push_back(Waiting { ids, segments });
        }
        Answers { emits, anchors, acks: state.take_done() }
    }

    fn promised(&self, sink: &str, promises: &[Promise]) {
        let segments = promises.iter().map(|promise| promise.segment.clone()).collect();
        self.state().promised.insert(sink.to_owned(), segments);
    }

    /// A sink has delivered segments; the tuples that wait for nothing more are done.
    fn delivered(&self, sink: &str, segments: &[String]) -> Answers {
        let mut state = self.state();
        if let Some(promised) = state.promised.get_mut(sink) {
            promised.retain(|segment| !segments.contains(segment));
        }
        for waiting in &mut state.waiting {
            for segment in segments {
                waiting.segments.remove(&(sink.to_owned(), segment.clone()));
            }
        }
        Answers { acks: state.take_done(), ..Answers::default() }
    }

    /// What a spout emits next, with its number; at most so many.
    pub fn next_messages(&self, at_most: usize) -> Vec<(u64, OutMessage)> {
        let mut state = self.state();
        let mut next = Vec::new();
        while next.len() < at_most {
            if let Some(number) = state.again.pop_front() {
                next.extend(state.unacked.get(&number).map(|message| (number, message.clone())));
                continue;
            }
            let Some(message) = state.out.pop_front() else { break };
            state.next_number += 1;
            let number = state.next_number;
            state.unacked.insert(number, message.clone());
            next.push((number, message));
        }
        next
    }

    /// Storm has acknowledged a message of a spout.
    pub fn acked(&self, number: u64) {
        self.state().unacked.remove(&number);
        self.changed.notify_all();
    }

    /// A message of a spout has failed.
    pub fn failed(&self, number: u64) {
        self.state().again.push_back(number);
    }

    /// Waits until Storm has acknowledged all messages that there are now.
    fn wait_until_acked(&self) {
        let state = self.state();
        let last = state.next_number + state.out.len() as u64;
        let is_unacked = |state: &mut State| {
            let first = state.unacked.keys().next().copied();
            state.next_number < last || first.is_some_and(|first| first <= last)
        };
        drop(self.changed.wait_while(state, is_unacked));
    }

    /// Waits until there is room for more messages of a spout.
    fn wait_for_room(&self) {
        let is_full = |state: &mut State| state.unacked.len() + state.out.len() >= UNACKED_MAX;
        drop(self.changed.wait_while(self.state(), is_full));
    }
}

impl State {
    fn take_done(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(waiting) = self.waiting.front()
            && waiting.segments.is_empty()
        {
            done.extend(self.waiting.pop_front().map(|waiting| waiting.ids).unwrap_or_default());
        }
        done
    }
}

fn json_text(text: &str) -> String {
    let mut json = Vec::new();
    value_to_json(&text.into(), &mut json);
    String::from_utf8_lossy(&json).into_owned()
}

fn plain(name: &str, values: &[Value]) -> OutMessage {
    let mut tuple = Vec::new();
    value_to_json(&Value::List(values.into()), &mut tuple);
    OutMessage { stream: json_text(name), tuple: String::from_utf8_lossy(&tuple).into_owned() }
}

fn batch(stream: &OutStream, bucket: u16, values: &[Value]) -> OutMessage {
    let mut text = String::new();
    push_text(values, &mut text);
    let tuple = match stream.form {
        Form::Keyed(_) => format!("[\"{bucket}\",\"{text}\"]"),
        _ => format!("[\"{text}\"]"),
    };
    OutMessage { stream: json_text(&stream.name), tuple }
}

/// What says something to Storm.
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
        // After a roll-back what was in the topology is gone: Storm has to send it again.
        let inputs = inputs.ok_or_else(|| Error::fatal("the component begins anew"))?;
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
                    // Standard input has ended, and with it this process.
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

/// The sink that stands for what takes a group's streams.
pub(super) struct Out {
    pub streams: Vec<OutStream>,
    pub bridge: Arc<Bridge>,
    /// It is behind a spout: a checkpoint waits for Storm's acknowledgements.
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

/// The share of one task of a spout, of which there are several in the cluster.
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

/// How often a topology inside makes a checkpoint: with it, Storm's tuples are acknowledged. More
/// seldom makes larger batches, and lets tuples wait longer.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

/// The oldest that a file of a lake gets there: its posts are acknowledged when it is visible, and
/// Storm waits for no tuple longer than its message timeout, 30 s.
pub(super) const FILE_AGE_MAX: Duration = Duration::from_secs(5);
