//! `Count`: counts equal values.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::keyed::KeyedState;
use crate::bolt::{Bolt, BoltConfig, BoltContext, Output};
use crate::component::{Component, Problem};
use crate::epoch::{StateChange, StateSize};
use crate::error::{Error, Result};
use crate::tuple::{Fields, Streams, Tuple};
use crate::value::Value;

/// Counts how often the same values of some fields occurred, and emits for every tuple these values
/// and `count`, their count so far. With more than one task, group by the same fields.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// The fields whose values are counted together, such as `["word"]`; every input must have
    /// them.
    pub fields: Vec<String>,
    /// The maximum number of different values that each task counts. When it is exceeded, the
    /// sixteenth of the values that occurred longest ago is forgotten, and begins at 1 when it
    /// occurs again: `forgotten` has the number of forgotten values. With `None` there is no limit,
    /// and memory and state grow with each new value (a million words are about 100 MB).
    #[serde(default = "max_keys")]
    pub max_keys: Option<NonZeroU32>,
}

/// Returns the default number of keys. A larger number would count rarer values correctly, and
/// costs some hundred bytes of memory and disk per key.
#[allow(clippy::unnecessary_wraps, reason = "it stands for a field that may be `None`")]
fn max_keys() -> Option<NonZeroU32> {
    NonZeroU32::new(1_000_000)
}

impl Component for Count {
    const NAME: &'static str = "Count";
    const GUARANTEE: &'static str = "the counts are part of every checkpoint: after a restart each tuple has been counted once; \
         of more values than `max_keys` those that came longest ago are forgotten";
}

/// The field that is added to the counted ones.
const COUNT: &str = "count";

impl Count {
    fn problem(what: String) -> Problem {
        Problem { field: "fields", what, candidates: None }
    }

    /// Returns the problems that don't depend on the inputs.
    fn problems_of_its_own(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.fields.is_empty() {
            problems
                .push(Self::problem("expected at least one field to count by, found none".into()));
        }
        for (i, field) in self.fields.iter().enumerate() {
            if field == COUNT {
                problems.push(Self::problem(format!(
                    "field \"{COUNT}\" can't be counted by: the emitted count has this name"
                )));
            }
            // Each name is reported once, however often it is repeated.
            if self.fields[..i].iter().filter(|earlier| *earlier == field).count() == 1 {
                problems.push(Self::problem(format!(
                    "expected each field once, found \"{field}\" again"
                )));
            }
        }
        problems
    }

    /// Returns the fields that an input doesn't have; each is reported once.
    fn problems_of_the_inputs(&self, inputs: &[Fields]) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (i, field) in self.fields.iter().enumerate() {
            let lacks = inputs.iter().find(|input| input.position(field).is_none());
            if let Some(input) = lacks.filter(|_| !self.fields[..i].contains(field)) {
                problems.push(Problem {
                    field: "fields",
                    what: format!("counts by \"{field}\", but an input declares {input}"),
                    candidates: Some((field.clone(), input.names().to_vec())),
                });
            }
        }
        problems
    }
}

impl BoltConfig for Count {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let mut problems = self.problems_of_its_own();
        problems.extend(self.problems_of_the_inputs(inputs));
        if !problems.is_empty() {
            return Err(problems);
        }
        let emitted = self.fields.iter().map(String::as_str).chain([COUNT]);
        Ok(Streams::default_with(Fields::new(emitted)))
    }

    fn state_key(&self) -> Option<Vec<String>> {
        Some(self.fields.clone())
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(Counter::of(self, &context.inputs)?))
    }
}

struct Counter {
    /// The positions of the counted fields in each input.
    positions: Vec<Box<[usize]>>,
    counts: KeyedState<i64>,
}

impl Counter {
    fn of(config: &Count, inputs: &[Fields]) -> Result<Self> {
        let positions = |input: &Fields| {
            let position = |field: &String| {
                let lacks = || {
                    Error::fatal(format!("counts by \"{field}\", but an input declares {input}"))
                };
                input.position(field).ok_or_else(lacks)
            };
            config.fields.iter().map(position).collect()
        };
        let keys_max = config.max_keys.map(|max| max.get() as usize);
        let counts = KeyedState::bounded(keys_max);
        Ok(Self { positions: inputs.iter().map(positions).collect::<Result<_>>()?, counts })
    }

    fn count(&mut self, tuple: Tuple<'_>) -> i64 {
        let key = self.positions[tuple.input].iter().map(|position| tuple.value(*position));
        let count = self.counts.get_or_insert(key, || 0);
        *count += 1;
        *count
    }
}

impl Bolt for Counter {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        let count = self.count(tuple);
        match *self.positions[tuple.input] {
            // Most keys are one value: an array is emitted without a loop.
            [position] => out.emit([tuple.value(position).clone(), Value::Int(count)]),
            ref key => {
                let key = key.iter().map(|position| tuple.value(*position).clone());
                out.emit(key.chain([Value::Int(count)]));
            }
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Vec<StateChange> {
        self.counts.snapshot()
    }

    fn state_size(&self) -> Option<StateSize> {
        Some(self.counts.size())
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.counts.restore(key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(fields: &[&str]) -> Count {
        Count {
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            max_keys: max_keys(),
        }
    }

    fn whats(fields: &[&str], inputs: &[Fields]) -> Vec<String> {
        let problems = count(fields).streams(inputs).unwrap_err();
        assert!(problems.iter().all(|problem| problem.field == "fields"));
        problems.into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn emits_the_counted_fields_and_their_count() {
        let input = Fields::new(["lang", "word"]);
        let streams = count(&["word", "lang"]).streams(&[input]).unwrap();
        assert_eq!(streams, Streams::default_with(Fields::new(["word", "lang", "count"])));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let inputs = [Fields::new(["word"]), Fields::new(["wort", "lang"])];
        assert_eq!(
            whats(&["word", "count", "word", "word"], &inputs),
            [
                "field \"count\" can't be counted by: the emitted count has this name",
                "expected each field once, found \"word\" again",
                "counts by \"word\", but an input declares \"wort\", \"lang\"",
                "counts by \"count\", but an input declares \"word\"",
            ]
        );
        assert_eq!(whats(&[], &inputs), ["expected at least one field to count by, found none"]);
    }

    #[test]
    fn the_valid_names_are_those_of_the_input_that_lacks_the_field() {
        let problems = count(&["wrod"]).streams(&[Fields::new(["word", "lang"])]).unwrap_err();
        assert_eq!(
            problems[0].candidates,
            Some(("wrod".into(), vec!["word".into(), "lang".into()]))
        );
    }

    #[test]
    fn the_same_values_are_counted_together_wherever_they_stand() {
        let inputs = [Fields::new(["word", "n"]), Fields::new(["n", "other", "word"])];
        let mut counter = Counter::of(&count(&["n", "word"]), &inputs).unwrap();
        let one = [Value::from("storm"), Value::Int(1)];
        let same = [Value::Int(1), Value::Null, Value::from("storm")];
        let other = [Value::Int(2), Value::Null, Value::from("storm")];
        assert_eq!(counter.count(Tuple::new(&one, 0)), 1);
        assert_eq!(counter.count(Tuple::new(&same, 1)), 2);
        assert_eq!(counter.count(Tuple::new(&other, 1)), 1);
        assert_eq!(counter.count(Tuple::new(&one, 0)), 3);
    }
}
