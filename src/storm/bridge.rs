//! The state that the threads of a component on Storm share: the tuples of Storm that are in its
//! topology, and the tuples on their way to Storm.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::groups::Form;
use super::wire::push_text;
use crate::epoch::Promise;
use crate::keys::key_group;
use crate::tuple::value_to_json;
use crate::value::Value;

/// The largest number of tuples in one tuple of Storm. More would make a retry more expensive.
const BATCH_TUPLES_MAX: usize = 512;

/// The largest size of a tuple of Storm in bytes, unless a single tuple is larger.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// The number of buckets that keys are divided among. A tuple of Storm carries the tuples of one
/// bucket. More buckets would spread keys more evenly over many tasks, but make smaller batches.
const BUCKETS: u16 = 256;

/// The largest number of tuples of Storm that wait for Storm's acknowledgements.
const UNACKED_MAX: usize = 2_000;

/// A tuple of Storm on its way to Storm.
#[derive(Clone, Debug)]
pub(super) struct OutMessage {
    /// The name of the stream, in JSON.
    stream: String,
    /// The values, as a list in JSON.
    tuple: String,
}

impl OutMessage {
    /// Returns the command that emits it. `rest` is the text that follows the tuple.
    pub(crate) fn command(&self, rest: &str) -> String {
        let Self { stream, tuple } = self;
        format!(
            "{{\"command\":\"emit\",\"need_task_ids\":false,\"stream\":{stream},\
             \"tuple\":{tuple}{rest}}}"
        )
    }
}

/// The stream of Storm for one input of the sink `storm-out`.
#[derive(Clone, Debug)]
pub(super) struct OutStream {
    pub name: String,
    pub form: Form,
    pub arity: usize,
}

/// The state that the threads of the process share.
#[derive(Default)]
pub(super) struct Bridge {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The gathered tuples for each stream of Storm, which aren't messages yet, by stream and
    /// bucket.
    gathering: BTreeMap<(usize, u16), Vec<Value>>,
    gathered: usize,
    /// The messages for Storm, in order.
    out: VecDeque<OutMessage>,
    /// Messages of a spout that Storm hasn't acknowledged, by number.
    unacked: BTreeMap<u64, OutMessage>,
    next_number: u64,
    /// The failed messages, which are emitted again.
    again: VecDeque<u64>,
    /// The tuples of Storm that are in the topology: number and id.
    open: VecDeque<(u64, String)>,
    /// The tuples whose results sinks haven't delivered yet.
    waiting: VecDeque<Waiting>,
    /// The segments that each sink has promised and not delivered.
    promised: BTreeMap<String, HashSet<String>>,
    /// The segments that each sink has delivered, while its newest promises name them. A checkpoint
    /// may have been prepared before a delivery, and its promises noted after the delivery.
    delivered: BTreeMap<String, HashSet<String>>,
}

struct Waiting {
    ids: Vec<String>,
    segments: HashSet<(String, String)>,
}

/// The messages for Storm that follow from a checkpoint or a delivery.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub emits: Vec<OutMessage>,
    /// The ids of the tuples to which the emits are anchored.
    pub anchors: Vec<String>,
    pub acks: Vec<String>,
}

impl Bridge {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a tuple for Storm.
    pub(crate) fn take(&self, number: usize, stream: &OutStream, values: &[Value]) {
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

    /// Turns all gathered tuples into messages.
    pub(crate) fn seal(&self, streams: &[OutStream]) {
        let mut state = self.state();
        for ((number, bucket), values) in std::mem::take(&mut state.gathering) {
            let message = batch(&streams[number], bucket, &values);
            state.out.push_back(message);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Notes that a tuple of Storm is in the topology, under this number.
    pub(crate) fn opened(&self, number: u64, id: String) {
        self.state().open.push_back((number, id));
    }

    /// Handles a complete checkpoint that has all tuples up to this number: returns their results
    /// for Storm.
    pub(crate) fn completed(&self, number: u64) -> Answers {
        let mut state = self.state();
        let emits: Vec<_> = state.out.drain(..).collect();
        // The emitted tuples may also come from tuples behind the number, so they are anchored to
        // all open ones.
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

    /// Notes the segments that a sink has promised and not delivered.
    pub(crate) fn promised(&self, sink: &str, promises: &[Promise]) {
        let mut segments: HashSet<_> =
            promises.iter().map(|promise| promise.segment.clone()).collect();
        let mut state = self.state();
        if let Some(delivered) = state.delivered.get_mut(sink) {
            delivered.retain(|segment| segments.remove(segment));
        }
        state.promised.insert(sink.to_owned(), segments);
    }

    /// Notes that a sink has delivered segments. The tuples that wait for nothing else are done.
    pub(crate) fn delivered(&self, sink: &str, segments: &[String]) -> Answers {
        let mut state = self.state();
        state.delivered.entry(sink.to_owned()).or_default().extend(segments.iter().cloned());
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

    /// Returns the messages that a spout emits next, with their numbers, at most this many.
    pub(crate) fn next_messages(&self, at_most: usize) -> Vec<(u64, OutMessage)> {
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

    /// Notes that Storm has acknowledged a message of a spout.
    pub(crate) fn acked(&self, number: u64) {
        self.state().unacked.remove(&number);
        self.changed.notify_all();
    }

    /// Notes that a message of a spout has failed.
    pub(crate) fn failed(&self, number: u64) {
        self.state().again.push_back(number);
    }

    /// Waits until Storm has acknowledged every message that exists now.
    pub(crate) fn wait_until_acked(&self) {
        let state = self.state();
        let last = state.next_number + state.out.len() as u64;
        let is_unacked = |state: &mut State| {
            let first = state.unacked.keys().next().copied();
            state.next_number < last || first.is_some_and(|first| first <= last)
        };
        drop(self.changed.wait_while(state, is_unacked));
    }

    /// Waits until there is room for more messages of a spout.
    pub(crate) fn wait_for_room(&self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(segment: &str) -> Promise {
        Promise {
            place: String::new(),
            segment: segment.into(),
            length: 1,
            posts: 1,
            checksum: 0,
            closed: true,
        }
    }

    #[test]
    fn a_segment_that_was_delivered_before_its_promise_was_noted_is_not_waited_for() {
        let bridge = Bridge::default();
        bridge.promised("lake", &[promise("x")]);
        bridge.delivered("lake", &["x".into()]);
        bridge.opened(1, "7".into());
        bridge.promised("lake", &[promise("x"), promise("y")]);
        assert!(bridge.completed(1).acks.is_empty());
        assert_eq!(bridge.delivered("lake", &["y".into()]).acks, ["7"]);
        // Segments that no promise names are forgotten.
        bridge.promised("lake", &[]);
        assert!(bridge.state().delivered["lake"].is_empty());
    }
}
