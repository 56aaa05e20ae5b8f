//! `Dedup`: passes the first tuple of each key.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::keyed::{KeyState, KeyedState};
use crate::bolt::pick::value_of;
use crate::bolt::{Bolt, BoltConfig, BoltContext, Output};
use crate::component::{Component, Problem};
use crate::epoch::{StateChange, StateSize};
use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::post::Post;
use crate::post::pointer::{PointerTree, parse_pointer};
use crate::tuple::{Fields, Streams, Tuple};
use crate::units::Interval;
use crate::value::Value;

/// Passes on the first tuple of each key, unchanged, and drops those with the same key that come
/// within a time; `dropped` in the metrics is their number. The key is the kind and the id of the
/// post (`by: Id`), a member of the post (`by: Pointer("/tweet/user/id_str")`), or fields of the
/// tuple (`by: Fields(["platform", "post_id"])`). A tuple passes if its key is null or its post has
/// no key.
///
/// The times are the posts' own, so a replay drops the same tuples as the live run, however fast it
/// is; the copies of a post have the same time. A tuple is dropped if its time is less than
/// `within` away from that of the last tuple with its key that passed. Keys are forgotten once no
/// tuple is expected any more that they would drop. A tuple without a time is taken to be at the
/// current event time; if no source has times, keys are only forgotten because of `max_keys`.
///
/// Only `Fields` can have more than one task, grouped by the same fields: other keys aren't known
/// before a tuple has reached its task. `Pick` makes a field of a post's member.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// The key: `Id`, `Pointer(…)` or `Fields([…])`.
    #[serde(default)]
    pub by: DedupKey,
    /// The minimum time between two tuples with the same key that both pass.
    #[serde(default = "within")]
    pub within: Interval,
    /// The maximum number of keys that each task remembers. When it is exceeded, the sixteenth of
    /// the keys that occurred longest ago is forgotten, and passes once more when it occurs again:
    /// `forgotten` has the number of forgotten keys. Each key costs some hundred bytes of memory
    /// and disk.
    #[serde(default = "max_keys")]
    pub max_keys: NonZeroU32,
}

/// The key by which tuples are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DedupKey {
    /// The kind and the id of the post.
    #[default]
    Id,
    /// A member of the post, by its JSON pointer.
    Pointer(String),
    /// Fields of the tuple.
    Fields(Vec<String>),
}

fn within() -> Interval {
    Interval(Duration::from_secs(3600))
}

fn max_keys() -> NonZeroU32 {
    NonZeroU32::new(1_000_000).unwrap_or(NonZeroU32::MIN)
}

impl Component for Dedup {
    const NAME: &'static str = "Dedup";
    const GUARANTEE: &'static str = "the keys are part of every checkpoint: after a restart nothing \
         passes twice; of more keys than `max_keys` those that came longest ago are forgotten";
}

/// The field that holds posts.
const POST: &str = "post";

impl Dedup {
    fn problem(what: String) -> Problem {
        Problem { field: "by", what, candidates: None }
    }

    fn problems(&self, inputs: &[Fields]) -> Vec<Problem> {
        let mut problems = Vec::new();
        match &self.by {
            DedupKey::Id => {}
            DedupKey::Pointer(pointer) => {
                problems.extend(parse_pointer(pointer).err().map(Self::problem));
            }
            DedupKey::Fields(fields) if fields.is_empty() => {
                problems.push(Self::problem("expected at least one field, found none".into()));
            }
            DedupKey::Fields(fields) => {
                for (i, field) in fields.iter().enumerate() {
                    if fields[..i].iter().filter(|earlier| *earlier == field).count() == 1 {
                        let what = format!("expected each field once, found \"{field}\" again");
                        problems.push(Self::problem(what));
                    }
                }
            }
        }
        for name in self.names() {
            if let Some(input) = inputs.iter().find(|input| input.position(&name).is_none()) {
                problems.push(Problem {
                    field: "by",
                    what: format!("needs the field \"{name}\", but an input declares {input}"),
                    candidates: Some((name, input.names().to_vec())),
                });
            }
        }
        let first = inputs.first().cloned().unwrap_or_default();
        if let Some(other) = inputs.iter().find(|input| **input != first) {
            problems.push(Self::problem(format!(
                "expected inputs with the same fields, found {first} and {other}"
            )));
        }
        problems
    }

    /// Returns the fields that contain the key.
    fn names(&self) -> Vec<String> {
        match &self.by {
            DedupKey::Fields(fields) => {
                let mut names = fields.clone();
                names.dedup();
                names
            }
            DedupKey::Id | DedupKey::Pointer(_) => vec![POST.into()],
        }
    }
}

impl BoltConfig for Dedup {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let problems = self.problems(inputs);
        if problems.is_empty() {
            Ok(Streams::default_with(inputs.first().cloned().unwrap_or_default()))
        } else {
            Err(problems)
        }
    }

    fn uses_event_time(&self) -> bool {
        true
    }

    fn state_key(&self) -> Option<Vec<String>> {
        match &self.by {
            DedupKey::Fields(fields) => Some(fields.clone()),
            DedupKey::Id | DedupKey::Pointer(_) => None,
        }
    }

    fn keeps_state(&self) -> bool {
        true
    }

    fn tasks_max(&self) -> Option<(usize, &'static str)> {
        let why = "posts with the same key could come to different tasks. Use `by: Fields(…)` \
                   behind a grouping by the same fields, which `Pick` takes out of the post";
        match self.by {
            DedupKey::Fields(_) => None,
            DedupKey::Id | DedupKey::Pointer(_) => Some((1, why)),
        }
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(Deduplicator::of(self, &context.inputs)?))
    }
}

/// The time of the last tuple of a key that passed.
struct Passed(EventTime);

impl KeyState for Passed {
    fn encode(&self, into: &mut Vec<u8>) {
        self.0.unix_millis().encode(into);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        i64::decode(bytes).map(|millis| Self(EventTime::from_unix_millis(millis)))
    }
}

/// The way in which a task reads a key.
enum KeyReader {
    Id,
    Pointer(PointerTree),
    Fields,
}

struct Deduplicator {
    reader: KeyReader,
    /// For each input, the positions of the fields that contain the key.
    positions: Vec<Vec<usize>>,
    within: u64,
    keys: KeyedState<Passed>,
    /// The current event time; [`EventTime::UNKNOWN`] at the beginning.
    reached: EventTime,
    /// The time of the next search for expired keys.
    next_sweep: EventTime,
    dropped: u64,
    /// The key of the current tuple.
    key: Vec<Value>,
}

/// The number of searches for expired keys within `within`. A larger number goes through all keys
/// more often; a smaller one keeps more expired keys.
const SWEEPS_WITHIN: u64 = 16;

impl Deduplicator {
    fn of(config: &Dedup, inputs: &[Fields]) -> Result<Self> {
        let mut positions = Vec::with_capacity(inputs.len());
        for input in inputs {
            let position = |name: &String| {
                let what = || format!("needs the field \"{name}\", but an input declares {input}");
                input.position(name).ok_or_else(|| Error::fatal(what()))
            };
            positions.push(config.names().iter().map(position).collect::<Result<_>>()?);
        }
        let reader = match &config.by {
            DedupKey::Id => KeyReader::Id,
            DedupKey::Fields(_) => KeyReader::Fields,
            DedupKey::Pointer(pointer) => {
                let mut tree = PointerTree::default();
                tree.add(parse_pointer(pointer).map_err(Error::fatal)?, 0);
                KeyReader::Pointer(tree)
            }
        };
        Ok(Self {
            reader,
            positions,
            within: u64::try_from(config.within.0.as_millis()).unwrap_or(u64::MAX),
            keys: KeyedState::bounded(Some(config.max_keys.get() as usize)),
            reached: EventTime::UNKNOWN,
            next_sweep: EventTime::UNKNOWN,
            dropped: 0,
            key: Vec::new(),
        })
    }

    /// Reads the key. Returns false if the tuple has none.
    fn read_key(&mut self, tuple: Tuple<'_>) -> bool {
        let positions = &self.positions[tuple.input];
        self.key.clear();
        match &self.reader {
            KeyReader::Fields => {
                self.key.extend(positions.iter().map(|at| tuple.value(*at).clone()));
            }
            KeyReader::Id => {
                if let Value::Post(post) = tuple.value(positions[0])
                    && let Some(id) = post.id()
                {
                    self.key.extend([post.kind().into(), (*id).into()]);
                }
            }
            KeyReader::Pointer(tree) => {
                if let Value::Post(post) = tuple.value(positions[0]) {
                    self.key.extend(member_of(tree, post));
                }
            }
        }
        self.key.iter().any(|value| *value != Value::Null)
    }

    /// Returns true if the tuple is the first one with its key.
    fn passes(&mut self, tuple: Tuple<'_>) -> bool {
        if !self.read_key(tuple) {
            return true;
        }
        let time = if tuple.time == EventTime::UNKNOWN { self.reached } else { tuple.time };
        // A dropped tuple doesn't extend the life of its key: otherwise the key would live as long
        // as copies come.
        if let Some(Passed(last)) = self.keys.get(self.key.iter())
            && time.unix_millis().abs_diff(last.unix_millis()) < self.within
        {
            self.dropped += 1;
            return false;
        }
        self.keys.get_or_insert(self.key.iter(), || Passed(time)).0 = time;
        true
    }

    /// Records that event time has reached `time`.
    fn advance(&mut self, time: EventTime) {
        if time == EventTime::END {
            // The end isn't a time: a restart after it must still know the keys.
            return;
        }
        self.reached = self.reached.max(time);
        if self.reached >= self.next_sweep {
            self.sweep();
            let pause = self.within / SWEEPS_WITHIN;
            let next = self.reached.unix_millis().saturating_add_unsigned(pause);
            self.next_sweep = EventTime::from_unix_millis(next);
        }
    }

    /// Forgets the keys that no expected tuple can match.
    fn sweep(&mut self) {
        let horizon = self.reached.unix_millis();
        let is_over = |last: EventTime| {
            last < self.reached && horizon.abs_diff(last.unix_millis()) >= self.within
        };
        let over = self.keys.iter().filter(|(_, Passed(last))| is_over(*last));
        let over: Vec<Vec<Value>> = over.map(|(key, _)| key.to_vec()).collect();
        for key in over {
            self.keys.remove(key.iter());
        }
    }
}

/// Returns the value of the only pointer of a tree.
fn member_of(tree: &PointerTree, post: &Post) -> Option<Value> {
    let mut found = None;
    tree.find(post, |_, json| {
        found = Some(value_of(json, |json| post.as_bytes().slice_ref(json)));
    });
    found
}

impl Bolt for Deduplicator {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        if self.passes(tuple) {
            out.emit(tuple.values.iter().cloned());
        }
        Ok(())
    }

    fn watermark(&mut self, time: EventTime, _out: &mut Output) -> Result<()> {
        self.advance(time);
        Ok(())
    }

    fn snapshot(&mut self) -> Vec<StateChange> {
        self.keys.snapshot()
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn state_size(&self) -> Option<StateSize> {
        Some(self.keys.size())
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keys.restore(key, value)
    }
}

#[cfg(test)]
mod tests;
