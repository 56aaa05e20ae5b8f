//! `Window`: aggregates of tuples over windows of event time.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroU64};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::keyed::KeyedState;
use crate::bolt::late::{LATE, LATE_FIELDS, emit_late, time_text};
use crate::bolt::{Bolt, BoltConfig, BoltContext, InputShare, Output};
use crate::component::{Component, Problem};
use crate::epoch::{StateChange, StateSize};
use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::tuple::{Fields, StreamId, Streams, Tuple};
use crate::units::Interval;
use crate::value::Value;

mod aggregate;
mod panes;
mod sketch;

pub use aggregate::Aggregate;
use panes::{KeyPanes, Pane};

/// Gathers tuples over windows of their event time, and emits a row for each window once it is
/// over: the fields that it is grouped `by`, `window_start` and `window_end` (UTC, the end isn't
/// in the window), and what it aggregates. Windows without tuples give no row.
///
/// - `Window(over: Tumbling("1m"), by: ["lang"], aggregates: [Count, Mean("sentiment")])`
/// - `Window(over: Sliding("10m", "1m"), by: ["key"], aggregates: [Count, Distinct("author_id")])`
/// - `Window(over: Session("30m"), by: ["author_id"], aggregates: [Count, Top("hashtags", 3)])`
///
/// A window is over when the watermark passes its end: the rows are the same live and in each
/// replay, whatever the order of tuples and the number of tasks, except for count windows, and for
/// `Top` where there are more values than counters. With more than one task, group by the same
/// fields. A tuple all of whose windows are over, or that has no time, goes to the stream `late`
/// (`time`, `tuple`), and is counted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The windows.
    pub over: Over,
    /// The fields whose values have windows of their own; empty for one window over everything.
    #[serde(default)]
    pub by: Vec<String>,
    /// The aggregates that are emitted for each window.
    #[serde(default = "aggregates_usual")]
    pub aggregates: Vec<Aggregate>,
    /// The number of different values of `by` with open windows in each task. Beyond that the
    /// sixteenth part that came longest ago is forgotten with its open windows: `forgotten` says
    /// how many. `None` is without a bound.
    #[serde(default = "max_keys_usual")]
    pub max_keys: Option<NonZeroU32>,
}

fn aggregates_usual() -> Vec<Aggregate> {
    vec![Aggregate::Count]
}

#[allow(clippy::unnecessary_wraps, reason = "it stands for a field that may be `None`")]
fn max_keys_usual() -> Option<NonZeroU32> {
    NonZeroU32::new(1_000_000)
}

/// The windows that a tuple belongs to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Over {
    /// One of the windows of this length, which follow each other from 1970-01-01T00:00:00Z on.
    Tumbling(#[schemars(with = "String")] Interval),
    /// All windows of the first length that hold its time, one of which begins each second length;
    /// the first is a multiple of the second.
    Sliding(#[schemars(with = "String")] Interval, #[schemars(with = "String")] Interval),
    /// The window that goes on until nothing has come for this long. A tuple that comes exactly
    /// that much later begins another one.
    Session(#[schemars(with = "String")] Interval),
    /// The window of this many tuples in the order in which they come, which a replay may change.
    /// The tuples that are left at the end of all sources make a smaller window.
    Count(NonZeroU64),
}

/// The largest number of windows for one tuple. Each of them is visited when one of them closes.
const PANES_MAX: i64 = 10_000;

impl Component for Window {
    const NAME: &'static str = "Window";
    const GUARANTEE: &'static str = "open windows are part of every checkpoint: after a restart \
        each tuple has been counted once, \
         and each window is emitted once; late tuples go to the stream `late`";
}

fn ms(interval: Interval) -> i64 {
    i64::try_from(interval.0.as_millis()).unwrap_or(i64::MAX)
}

/// The windows in milliseconds, checked.
#[derive(Clone, Copy, Debug)]
enum Windows {
    /// Windows of so many panes, one of which begins with each pane.
    Paned {
        pane_ms: i64,
        panes: i64,
    },
    Session {
        gap_ms: i64,
    },
    Count(u64),
}

impl Over {
    fn checked(self) -> Result<Windows, String> {
        let long_enough = |interval: Interval| {
            let length = ms(interval);
            let what = || format!("expected a length of at least 1ms, found {interval}");
            if length > 0 { Ok(length) } else { Err(what()) }
        };
        Ok(match self {
            Self::Tumbling(length) => Windows::Paned { pane_ms: long_enough(length)?, panes: 1 },
            Self::Sliding(length, every) => {
                let (whole, pane_ms) = (long_enough(length)?, long_enough(every)?);
                if whole % pane_ms != 0 || whole / pane_ms > PANES_MAX {
                    return Err(format!(
                        "expected a length that is 1 to {PANES_MAX} times {every}, found {length}"
                    ));
                }
                Windows::Paned { pane_ms, panes: whole / pane_ms }
            }
            Self::Session(gap) => Windows::Session { gap_ms: long_enough(gap)? },
            Self::Count(tuples) => Windows::Count(tuples.get()),
        })
    }
}

impl Window {
    fn problems(&self, inputs: &[Fields]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field: &'static str, what: String, candidates| {
            problems.push(Problem { field, what, candidates });
        };
        if let Err(what) = self.over.checked() {
            problem("over", what, None);
        }
        if self.aggregates.is_empty() {
            problem("aggregates", "expected at least one aggregate, found none".into(), None);
        }
        for what in self.aggregates.iter().filter_map(Aggregate::problem) {
            problem("aggregates", what, None);
        }
        let by = self.by.iter().map(|field| ("by", field.as_str()));
        let aggregated =
            self.aggregates.iter().filter_map(|one| Some(("aggregates", one.field()?)));
        for (of, field) in by.chain(aggregated) {
            if let Some(input) = inputs.iter().find(|input| input.position(field).is_none()) {
                let what = format!("uses \"{field}\", but an input declares {input}");
                problem(of, what, Some((field.into(), input.names().to_vec())));
            }
        }
        let names = self.names();
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                problem("aggregates", format!("the field \"{name}\" would be emitted twice"), None);
            }
        }
        problems
    }

    /// The fields of a row.
    fn names(&self) -> Vec<String> {
        let mut names = self.by.clone();
        names.extend(["window_start", "window_end"].map(String::from));
        names.extend(self.aggregates.iter().map(Aggregate::name));
        names
    }

    fn declared(&self) -> Streams {
        Streams::default_with(Fields::new(self.names())).and(LATE, Fields::new(LATE_FIELDS))
    }
}

impl BoltConfig for Window {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let problems = self.problems(inputs);
        if problems.is_empty() { Ok(self.declared()) } else { Err(problems) }
    }

    fn uses_event_time(&self) -> bool {
        true
    }

    fn state_key(&self) -> Option<Vec<String>> {
        Some(self.by.clone())
    }

    fn input_share(&self, _: &Fields) -> InputShare {
        InputShare::ByKey
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(self.task(context)?))
    }
}

impl Window {
    fn task(&self, context: &BoltContext) -> Result<Windowing> {
        let mut inputs = Vec::new();
        for fields in &context.inputs {
            let position = |field: &str| {
                let lacks = || format!("uses \"{field}\", but an input declares {fields}");
                fields.position(field).ok_or_else(|| Error::fatal(lacks()))
            };
            inputs.push(Input {
                fields: fields.clone(),
                by: self.by.iter().map(|field| position(field)).collect::<Result<_>>()?,
                aggregated: self
                    .aggregates
                    .iter()
                    .map(|one| one.field().map_or(Ok(0), position))
                    .collect::<Result<_>>()?,
            });
        }
        let late_stream = self.declared().id(LATE);
        Ok(Windowing {
            inputs,
            windows: self.over.checked().map_err(Error::fatal)?,
            aggregates: self.aggregates.clone(),
            late_stream: late_stream.ok_or_else(|| Error::fatal("no stream \"late\""))?,
            keys: KeyedState::bounded(self.max_keys.map(|max| max.get() as usize)),
            watermark: EventTime::UNKNOWN,
            due: BTreeMap::new(),
            is_restored: false,
            late: 0,
        })
    }
}

struct Input {
    fields: Fields,
    by: Vec<usize>,
    aggregated: Vec<usize>,
}

/// One task of the bolt.
struct Windowing {
    inputs: Vec<Input>,
    windows: Windows,
    aggregates: Vec<Aggregate>,
    late_stream: StreamId,
    keys: KeyedState<KeyPanes>,
    watermark: EventTime,
    /// The slots of keys with open windows, by the pane or by a time at which a session may end. If
    /// a slot's key was forgotten, the slot may now belong to another key.
    due: BTreeMap<i64, Vec<u32>>,
    /// True if `due` must be rebuilt from a restored state.
    is_restored: bool,
    late: u64,
}

/// A window that is over.
struct Row {
    by: Vec<Value>,
    start_ms: i64,
    end_ms: i64,
    values: Vec<Value>,
}

impl Windowing {
    fn index(&mut self) {
        if !std::mem::take(&mut self.is_restored) {
            return;
        }
        for (slot, _, state) in self.keys.slots() {
            for pane in &state.panes {
                let due = match self.windows {
                    Windows::Paned { .. } => pane.start,
                    Windows::Session { gap_ms } => pane.last.saturating_add(gap_ms),
                    Windows::Count(_) => continue,
                };
                self.due.entry(due).or_default().push(slot);
            }
        }
    }

    /// Returns true if every window of a tuple with this time is over.
    fn is_late(&self, time: EventTime) -> bool {
        if time == EventTime::UNKNOWN {
            return !matches!(self.windows, Windows::Count(_));
        }
        let end = match self.windows {
            Windows::Paned { pane_ms, panes } => {
                let pane = time.unix_millis().div_euclid(pane_ms);
                pane.saturating_add(panes).saturating_mul(pane_ms)
            }
            // A session that is still open may include the tuple.
            Windows::Session { .. } | Windows::Count(_) => return false,
        };
        end <= self.watermark.unix_millis()
    }

    /// Adds a tuple to its windows. Returns a count window if it is full, or `Err` if the tuple is
    /// late.
    fn add(&mut self, tuple: &Tuple<'_>) -> Result<Option<Row>, ()> {
        if self.is_late(tuple.time) {
            return Err(());
        }
        let input = &self.inputs[tuple.input];
        let time = tuple.time.unix_millis();
        let everything = [Value::Null];
        let key: Vec<&Value> = input.by.iter().map(|at| tuple.value(*at)).collect();
        let key = if key.is_empty() { vec![&everything[0]] } else { key };
        let aggregates = &self.aggregates;
        if let Windows::Session { gap_ms } = self.windows
            && time.saturating_add(gap_ms) <= self.watermark.unix_millis()
        {
            let open = self.keys.get(key.iter().copied());
            let takes_in = |pane: &Pane| time - pane.last < gap_ms && pane.start - time < gap_ms;
            if !open.is_some_and(|state| state.panes.iter().any(takes_in)) {
                return Err(());
            }
        }
        let (slot, state) = self.keys.get_or_insert_slot(key.into_iter(), KeyPanes::default);
        let pane = match self.windows {
            Windows::Paned { pane_ms, .. } => {
                // Windows that are over stay unchanged, also for a key that wasn't in them.
                let over = self.watermark.unix_millis().div_euclid(pane_ms);
                state.emitted = state.emitted.max(over);
                let number = time.div_euclid(pane_ms);
                let (pane, is_new) = state.pane_mut(number, aggregates);
                if is_new {
                    self.due.entry(number).or_default().push(slot);
                }
                pane
            }
            Windows::Session { gap_ms } => {
                if state.session_at(time, gap_ms, aggregates).is_none() {
                    state.panes.push(Pane::empty(time, aggregates));
                    self.due.entry(time.saturating_add(gap_ms)).or_default().push(slot);
                }
                let session = state.session_at(time, gap_ms, aggregates);
                session.ok_or(())?
            }
            Windows::Count(_) => {
                state.tuples += 1;
                if state.panes.is_empty() {
                    state.panes.push(Pane::empty(time, aggregates));
                }
                let pane = &mut state.panes[0];
                (pane.start, pane.last) = (pane.start.min(time), pane.last.max(time));
                pane
            }
        };
        let accumulators = pane.accumulators.iter_mut().zip(aggregates);
        for ((accumulator, aggregate), at) in accumulators.zip(&input.aggregated) {
            accumulator.add(aggregate, tuple, *at);
        }
        match self.windows {
            Windows::Count(tuples) if state.tuples >= tuples => Ok(self.take_whole(slot)),
            _ => Ok(None),
        }
    }

    /// Takes a count window out, full or not.
    fn take_whole(&mut self, slot: u32) -> Option<Row> {
        let (key, state) = self.keys.slot_mut(slot)?;
        let pane = state.panes.pop()?;
        let by = key.to_vec();
        self.keys.remove_slot(slot);
        Some(self.row(by, pane.start, pane.last, &pane))
    }

    fn row(&self, by: Vec<Value>, start_ms: i64, end_ms: i64, pane: &Pane) -> Row {
        let results = pane.accumulators.iter().zip(&self.aggregates);
        let values = results.map(|(accumulator, aggregate)| accumulator.result(aggregate));
        Row { by, start_ms, end_ms, values: values.collect() }
    }

    /// Returns the windows that are over at the watermark.
    fn advance(&mut self) -> Vec<Row> {
        self.index();
        match self.windows {
            Windows::Paned { pane_ms, panes } => self.close_panes(pane_ms, panes),
            Windows::Session { gap_ms } => self.close_sessions(gap_ms),
            Windows::Count(_) if self.watermark == EventTime::END => {
                let slots: Vec<u32> = self.keys.slots().map(|(slot, ..)| slot).collect();
                sorted(slots.into_iter().filter_map(|slot| self.take_whole(slot)).collect())
            }
            Windows::Count(_) => Vec::new(),
        }
    }

    fn close_panes(&mut self, pane_ms: i64, panes: i64) -> Vec<Row> {
        // The end of the last window that is over, in panes.
        let over = match (self.watermark, self.due.last_key_value()) {
            (EventTime::END, Some((last, _))) => last.saturating_add(panes),
            (EventTime::END, None) => return Vec::new(),
            (time, _) => time.unix_millis().div_euclid(pane_ms),
        };
        let mut ends = BTreeSet::new();
        for (pane, _) in self.due.range(..over) {
            ends.extend(pane + 1..=pane.saturating_add(panes).min(over));
        }
        let mut rows = Vec::new();
        for end in ends {
            let mut slots: Vec<u32> =
                self.due.range(end - panes..end).flat_map(|(_, slots)| slots).copied().collect();
            slots.sort_unstable();
            slots.dedup();
            let mut of_window = Vec::new();
            for slot in slots {
                let Some((key, state)) = self.keys.slot_mut(slot) else { continue };
                if state.emitted >= end {
                    continue;
                }
                let by = key.to_vec();
                if let Some(pane) = state.merged(end - panes, end, &self.aggregates) {
                    state.emitted = end;
                    let [start, end] = [end - panes, end].map(|at| at.saturating_mul(pane_ms));
                    of_window.push(self.row(by, start, end, &pane));
                }
            }
            rows.extend(sorted(of_window));
        }
        self.drop_panes(over - panes);
        rows
    }

    /// Drops panes up to the one with this number, which no open window contains.
    fn drop_panes(&mut self, last: i64) {
        let open = self.due.split_off(&last.saturating_add(1));
        for slot in std::mem::replace(&mut self.due, open).into_values().flatten() {
            if let Some((_, state)) = self.keys.slot_mut(slot) {
                state.panes.retain(|pane| pane.start > last);
                if state.panes.is_empty() {
                    self.keys.remove_slot(slot);
                }
            }
        }
    }

    fn close_sessions(&mut self, gap_ms: i64) -> Vec<Row> {
        let watermark = self.watermark.unix_millis();
        let later = if self.watermark == EventTime::END {
            BTreeMap::new()
        } else {
            self.due.split_off(&watermark.saturating_add(1))
        };
        let mut rows = Vec::new();
        for slot in std::mem::replace(&mut self.due, later).into_values().flatten() {
            let Some((key, state)) = self.keys.slot_mut(slot) else { continue };
            let by = key.to_vec();
            let is_over = |pane: &mut Pane| pane.last.saturating_add(gap_ms) <= watermark;
            let over: Vec<Pane> = state.panes.extract_if(.., is_over).collect();
            if state.panes.is_empty() {
                self.keys.remove_slot(slot);
            } else if let Some(first) = state.panes.iter().map(|pane| pane.last).min() {
                self.due.entry(first.saturating_add(gap_ms)).or_default().push(slot);
            }
            for pane in over {
                let end = pane.last.saturating_add(gap_ms);
                rows.push(self.row(by.clone(), pane.start, end, &pane));
            }
        }
        sorted(rows)
    }

    fn emit(&self, row: Row, out: &mut Output) {
        // The last moment of the window, so that the row isn't late for the windows after this
        // bolt.
        let last = match self.windows {
            Windows::Count(_) => row.end_ms,
            _ => row.end_ms.saturating_sub(1),
        };
        out.set_time(EventTime::from_unix_millis(last));
        let by_count = self.inputs.first().map_or(0, |input| input.by.len());
        let times = [row.start_ms, row.end_ms].map(|at| time_text(EventTime::from_unix_millis(at)));
        out.emit(row.by.into_iter().take(by_count).chain(times).chain(row.values));
    }
}

/// Sorts rows by their windows and keys, so that the order of a hash table doesn't matter.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_cached_key(|row| {
        let mut key = Vec::new();
        crate::value::encode(&row.by, &mut key);
        (row.end_ms, row.start_ms, key)
    });
    rows
}

impl Bolt for Windowing {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        self.index();
        match self.add(&tuple) {
            Ok(Some(row)) => self.emit(row, out),
            Ok(None) => {}
            Err(()) => {
                self.late += 1;
                emit_late(self.late_stream, &self.inputs[tuple.input].fields, tuple, out);
            }
        }
        Ok(())
    }

    fn watermark(&mut self, time: EventTime, out: &mut Output) -> Result<()> {
        self.watermark = time;
        for row in self.advance() {
            self.emit(row, out);
        }
        Ok(())
    }

    fn late(&self) -> u64 {
        self.late
    }

    fn snapshot(&mut self) -> Vec<StateChange> {
        self.keys.snapshot()
    }

    fn state_size(&self) -> Option<StateSize> {
        Some(self.keys.size())
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.is_restored = true;
        self.keys.restore(key, value)
    }
}

#[cfg(test)]
mod tests;
