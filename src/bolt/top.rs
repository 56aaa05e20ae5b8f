//! `Top`: the values that come most often.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::bytes::{Reader, Writer};
use crate::bolt::late::{LATE, LATE_FIELDS, emit_late, time_text};
use crate::bolt::space_saving::SpaceSaving;
use crate::bolt::{Bolt, BoltConfig, BoltContext, Output};
use crate::component::{Component, Problem};
use crate::epoch::{StateChange, StateSize};
use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::tuple::{Fields, StreamId, Streams, Tuple};
use crate::units::Interval;
use crate::value::Value;

/// Finds the values that come most often in each stretch of event time, in a fixed memory, and
/// emits a row for each of them once the stretch is over: `window_start`, `window_end`, `rank`
/// (from 1), the fields, `count`, and `error`. A count is too high by its error at most
/// (Space-Saving), and an error is at most the sum of all counts divided by `counters`.
///
/// While there are no more different values than counters, errors are 0 and a replay gives the
/// same rows; beyond that, counts may depend on the order of tuples. A `Window` by the same fields
/// is exact, at the price of memory for each value.
///
/// With more than one task, group by the same fields; each task then has a ranking of its own.
/// For one ranking give them to a second `Top` of one task, with `weight: "count"`. The state
/// belongs to the task, so it is lost when the number of tasks changes. Late tuples go to the
/// stream `late` (`time`, `tuple`), and are counted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Top {
    /// The fields whose values are counted together.
    pub fields: Vec<String>,
    /// The number of values in a ranking.
    #[serde(default = "k_usual")]
    pub k: NonZeroU32,
    /// The length of a stretch, which follow each other from 1970-01-01T00:00:00Z on.
    #[serde(default = "every_usual")]
    #[schemars(with = "String")]
    pub every: Interval,
    /// The number of counters, at least `k`: about 200 bytes for each, in each open stretch.
    #[serde(default = "counters_usual")]
    pub counters: NonZeroU32,
    /// A field whose whole number is counted instead of 1; nothing is counted where it is none, or
    /// less than 1.
    #[serde(default)]
    pub weight: Option<String>,
}

const fn non_zero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the number is a constant, and isn't 0")
}

fn k_usual() -> NonZeroU32 {
    non_zero(10)
}

fn every_usual() -> Interval {
    Interval(std::time::Duration::from_secs(60))
}

/// Ten times as many halve the error where values are as unequal as words, and cost ten times the
/// memory and the checkpoint.
fn counters_usual() -> NonZeroU32 {
    non_zero(1_000)
}

/// More counters would make a checkpoint of hundreds of megabytes.
const COUNTERS_MAX: u32 = 1_000_000;

impl Component for Top {
    const NAME: &'static str = "Top";
    const GUARANTEE: &'static str = "counters are part of every checkpoint: after a restart each tuple has been counted once, \
         and each ranking is emitted once; late tuples go to the stream `late`";
}

impl Top {
    fn names(&self) -> Vec<String> {
        let mut names = ["window_start", "window_end", "rank"].map(String::from).to_vec();
        names.extend(self.fields.iter().cloned());
        names.extend(["count", "error"].map(String::from));
        names
    }

    fn declared(&self) -> Streams {
        Streams::default_with(Fields::new(self.names())).and(LATE, Fields::new(LATE_FIELDS))
    }

    fn every_ms(&self) -> i64 {
        i64::try_from(self.every.0.as_millis()).unwrap_or(i64::MAX)
    }

    fn problems(&self, inputs: &[Fields]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field: &'static str, what: String, candidates| {
            problems.push(Problem { field, what, candidates });
        };
        if self.fields.is_empty() {
            problem("fields", "expected at least one field to count, found none".into(), None);
        }
        if self.every_ms() < 1 {
            problem("every", format!("expected at least 1ms, found {}", self.every), None);
        }
        if self.counters < self.k || self.counters.get() > COUNTERS_MAX {
            let (k, counters) = (self.k, self.counters);
            problem(
                "counters",
                format!("expected {k} (k) to {COUNTERS_MAX} counters, found {counters}"),
                None,
            );
        }
        let names = self.names();
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                problem("fields", format!("the field \"{name}\" would be emitted twice"), None);
            }
        }
        let fields = self.fields.iter().map(|field| ("fields", field));
        for (of, field) in fields.chain(self.weight.iter().map(|field| ("weight", field))) {
            if let Some(input) = inputs.iter().find(|input| input.position(field).is_none()) {
                let what = format!("uses \"{field}\", but an input declares {input}");
                problem(of, what, Some((field.clone(), input.names().to_vec())));
            }
        }
        problems
    }
}

impl BoltConfig for Top {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let problems = self.problems(inputs);
        if problems.is_empty() { Ok(self.declared()) } else { Err(problems) }
    }

    fn uses_event_time(&self) -> bool {
        true
    }

    fn keeps_state(&self) -> bool {
        true
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        let mut inputs = Vec::new();
        for fields in &context.inputs {
            let position = |field: &String| {
                let lacks = || format!("uses \"{field}\", but an input declares {fields}");
                fields.position(field).ok_or_else(|| Error::fatal(lacks()))
            };
            inputs.push(Input {
                fields: fields.clone(),
                counted: self.fields.iter().map(position).collect::<Result<_>>()?,
                weight: self.weight.as_ref().map(position).transpose()?,
            });
        }
        let late_stream = self.declared().id(LATE);
        Ok(Box::new(Ranking {
            inputs,
            k: self.k.get() as usize,
            counters: self.counters.get() as usize,
            every_ms: self.every_ms(),
            late_stream: late_stream.ok_or_else(|| Error::fatal("no stream \"late\""))?,
            watermark: EventTime::UNKNOWN,
            open: BTreeMap::new(),
            changed: BTreeSet::new(),
            saved_bytes: BTreeMap::new(),
            late: 0,
        }))
    }
}

struct Input {
    fields: Fields,
    counted: Vec<usize>,
    weight: Option<usize>,
}

/// One task of the bolt.
struct Ranking {
    inputs: Vec<Input>,
    k: usize,
    counters: usize,
    every_ms: i64,
    late_stream: StreamId,
    watermark: EventTime,
    /// The stretches that aren't over, by their numbers.
    open: BTreeMap<i64, SpaceSaving>,
    /// Those that have changed since the last snapshot, or are over since.
    changed: BTreeSet<i64>,
    saved_bytes: BTreeMap<i64, u64>,
    late: u64,
}

impl Ranking {
    /// Counts a tuple, unless it is late.
    fn count(&mut self, tuple: &Tuple<'_>) -> Result<(), ()> {
        let stretch = tuple.time.unix_millis().div_euclid(self.every_ms);
        let end = stretch.saturating_add(1).saturating_mul(self.every_ms);
        if tuple.time == EventTime::UNKNOWN || end <= self.watermark.unix_millis() {
            return Err(());
        }
        let input = &self.inputs[tuple.input];
        let weight = input.weight.map_or(Some(1), |at| tuple.value(at).as_int());
        let weight = weight.and_then(|weight| u64::try_from(weight).ok()).unwrap_or(0);
        let counters = self.counters;
        let ranking = self.open.entry(stretch).or_insert_with(|| SpaceSaving::new(counters));
        ranking.add(input.counted.iter().map(|at| tuple.value(*at)), weight);
        self.changed.insert(stretch);
        Ok(())
    }
}

impl Bolt for Ranking {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        if self.count(&tuple).is_err() {
            self.late += 1;
            emit_late(self.late_stream, &self.inputs[tuple.input].fields, tuple, out);
        }
        Ok(())
    }

    fn watermark(&mut self, time: EventTime, out: &mut Output) -> Result<()> {
        self.watermark = time;
        while let Some(entry) = self.open.first_entry() {
            let stretch = *entry.key();
            let start = stretch.saturating_mul(self.every_ms);
            let end = start.saturating_add(self.every_ms);
            if end > time.unix_millis() {
                break;
            }
            let ranking = entry.remove();
            self.changed.insert(stretch);
            out.set_time(EventTime::from_unix_millis(end.saturating_sub(1)));
            let times = [start, end].map(|at| time_text(EventTime::from_unix_millis(at)));
            for (rank, counted) in (1..).zip(ranking.top(self.k)) {
                let [count, error] = [counted.count, counted.error]
                    .map(|number| Value::Int(i64::try_from(number).unwrap_or(i64::MAX)));
                let values = times.iter().cloned().chain([Value::Int(rank)]).chain(counted.key);
                out.emit(values.chain([count, error]));
            }
        }
        Ok(())
    }

    fn late(&self) -> u64 {
        self.late
    }

    fn snapshot(&mut self) -> Vec<StateChange> {
        let mut changes = Vec::new();
        for stretch in std::mem::take(&mut self.changed) {
            let key = stretch.to_le_bytes().to_vec();
            let value = self.open.get(&stretch).map(|ranking| {
                let mut value = Vec::new();
                ranking.encode(&mut Writer(&mut value));
                value
            });
            match &value {
                Some(value) => self.saved_bytes.insert(stretch, value.len() as u64),
                None => self.saved_bytes.remove(&stretch),
            };
            changes.push(StateChange { key_group: 0, key, value });
        }
        changes
    }

    fn state_size(&self) -> Option<StateSize> {
        let keys = self.open.len() as u64;
        Some(StateSize { keys, saved_bytes: self.saved_bytes.values().sum(), forgotten: 0 })
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let stretch = key.try_into().ok().map(i64::from_le_bytes);
        let mut reader = Reader(value);
        let ranking = SpaceSaving::decode(&mut reader).filter(|_| reader.end().is_some());
        let (stretch, ranking) = stretch
            .zip(ranking)
            .ok_or_else(|| Error::fatal("the saved counters of a ranking are damaged"))?;
        self.saved_bytes.insert(stretch, value.len() as u64);
        self.open.insert(stretch, ranking);
        Ok(())
    }
}
