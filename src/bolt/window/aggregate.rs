//! The aggregates of a window.

use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sketch::{Distinct, Quantiles, Sum};
use crate::bolt::bytes::{Reader, Writer};
use crate::bolt::space_saving::SpaceSaving;
use crate::keys::stable_hash;
use crate::tuple::Tuple;
use crate::value::Value;

/// An aggregate over the tuples of a window. A value that isn't a number is ignored by numeric
/// aggregates, and null by all; of a list, each value counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Aggregate {
    /// The number of tuples, as `count`.
    Count,
    /// The sum of a field, as `sum_<field>`: exact, and of floats rounded once.
    Sum(String),
    /// The least number of a field, as `min_<field>`; null without numbers.
    Min(String),
    /// The greatest number of a field, as `max_<field>`.
    Max(String),
    /// The mean of a field, as `mean_<field>`; null without numbers.
    Mean(String),
    /// The number of different values of a field, as `distinct_<field>`: exact up to 1,024, then
    /// by HyperLogLog with a standard error of 0.8 %.
    Distinct(String),
    /// The values of a field that come most often, so many of them, as `top_<field>`: a list of
    /// `[value, count, error]`. Space-Saving with 100 counters for each that is asked for, 1,000 at
    /// least: counts are exact (error 0) while there are no more values than counters; beyond that
    /// a count is too high by its error at most, and may depend on the order of tuples.
    Top(String, NonZeroU32),
    /// Quantiles of a field, such as `Quantiles("likes", [0.5, 0.99])`, as `quantiles_<field>`: a
    /// list of numbers in the same order, each within 1 % (DDSketch); null without numbers.
    Quantiles(String, Vec<f64>),
}

impl Aggregate {
    /// Returns the aggregated field.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(field)
            | Self::Min(field)
            | Self::Max(field)
            | Self::Mean(field)
            | Self::Distinct(field)
            | Self::Top(field, _)
            | Self::Quantiles(field, _) => Some(field),
        }
    }

    /// Returns the name of the emitted field.
    pub fn name(&self) -> String {
        match self {
            Self::Count => "count".into(),
            Self::Sum(field) => format!("sum_{field}"),
            Self::Min(field) => format!("min_{field}"),
            Self::Max(field) => format!("max_{field}"),
            Self::Mean(field) => format!("mean_{field}"),
            Self::Distinct(field) => format!("distinct_{field}"),
            Self::Top(field, _) => format!("top_{field}"),
            Self::Quantiles(field, _) => format!("quantiles_{field}"),
        }
    }

    /// Returns the problems of the aggregate.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Top(_, k) if k.get() > TOP_MAX => {
                Some(format!("expected at most the {TOP_MAX} most frequent values, found {k}"))
            }
            Self::Quantiles(_, parts) => {
                let wrong = parts.iter().find(|part| !(0.0..=1.0).contains(*part));
                if parts.is_empty() {
                    return Some("expected at least one quantile, found none".into());
                }
                wrong.map(|part| format!("expected quantiles from 0 to 1, found {part}"))
            }
            _ => None,
        }
    }

    /// Returns the state before the first tuple.
    pub fn empty(&self) -> Accumulator {
        match self {
            Self::Count => Accumulator::Count(0),
            Self::Sum(_) | Self::Mean(_) => Accumulator::Sum(Sum::default()),
            Self::Min(_) | Self::Max(_) => Accumulator::Extreme(None),
            Self::Distinct(_) => Accumulator::Distinct(Distinct::default()),
            Self::Top(_, k) => Accumulator::Top(SpaceSaving::new(counters(*k))),
            Self::Quantiles(..) => Accumulator::Quantiles(Quantiles::default()),
        }
    }
}

/// The largest number of values in a row. More would make rows of megabytes.
const TOP_MAX: u32 = 10_000;

fn counters(k: NonZeroU32) -> usize {
    (k.get() as usize * 100).clamp(1_000, 100_000)
}

/// A number of a tuple.
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(i64),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Some(Self::Whole(*number)),
            Value::Float(number) if number.is_finite() => Some(Self::Float(*number + 0.0)),
            _ => None,
        }
    }

    fn as_float(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    fn to_value(self) -> Value {
        match self {
            Self::Whole(number) => Value::Int(number),
            Self::Float(number) => Value::Float(number),
        }
    }

    /// Compares numbers in a total order, in which equal numbers of different types differ, so that
    /// the minimum doesn't depend on the order of arrival.
    fn order(self, other: Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            _ => self.as_float().total_cmp(&other.as_float()).then_with(|| {
                let is_float = |number| matches!(number, Self::Float(_));
                is_float(self).cmp(&is_float(other))
            }),
        }
    }
}

/// The state of an aggregate.
#[derive(Clone, Debug)]
pub enum Accumulator {
    Count(u64),
    Sum(Sum),
    /// The minimum or the maximum.
    Extreme(Option<(bool, i64, f64)>),
    Distinct(Distinct),
    Top(SpaceSaving),
    Quantiles(Quantiles),
}

fn each(value: &Value, take: &mut dyn FnMut(&Value)) {
    match value {
        Value::Null => {}
        Value::List(values) => values.iter().for_each(|value| each(value, take)),
        other => take(other),
    }
}

fn packed(number: Number) -> (bool, i64, f64) {
    match number {
        Number::Whole(whole) => (true, whole, 0.0),
        Number::Float(float) => (false, 0, float),
    }
}

fn unpacked((is_whole, whole, float): (bool, i64, f64)) -> Number {
    if is_whole { Number::Whole(whole) } else { Number::Float(float) }
}

impl Accumulator {
    /// Adds a tuple; the aggregate's field is at `position`.
    pub fn add(&mut self, aggregate: &Aggregate, tuple: &Tuple<'_>, position: usize) {
        if let Self::Count(count) = self {
            *count += 1;
            return;
        }
        each(tuple.value(position), &mut |value| self.add_value(aggregate, value));
    }

    fn add_value(&mut self, aggregate: &Aggregate, value: &Value) {
        match self {
            Self::Count(_) => {}
            Self::Sum(sum) => match Number::of(value) {
                Some(Number::Whole(number)) => sum.add_whole(number),
                Some(Number::Float(number)) => sum.add_float(number),
                None => {}
            },
            Self::Extreme(extreme) => {
                if let Some(number) = Number::of(value) {
                    *extreme = Some(packed(further(*extreme, number, aggregate)));
                }
            }
            Self::Distinct(distinct) => distinct.add(stable_hash([value])),
            Self::Top(top) => top.add([value], 1),
            Self::Quantiles(quantiles) => {
                if let Some(number) = Number::of(value) {
                    quantiles.add(number.as_float());
                }
            }
        }
    }

    /// Merges the state of other tuples.
    pub fn merge(&mut self, other: &Self, aggregate: &Aggregate) {
        match (self, other) {
            (Self::Count(own), Self::Count(other)) => *own += other,
            (Self::Sum(own), Self::Sum(other)) => own.merge(other),
            (Self::Extreme(own), Self::Extreme(Some(other))) => {
                *own = Some(packed(further(*own, unpacked(*other), aggregate)));
            }
            (Self::Distinct(own), Self::Distinct(other)) => own.merge(other),
            (Self::Top(own), Self::Top(other)) => own.merge(other),
            (Self::Quantiles(own), Self::Quantiles(other)) => own.merge(other),
            _ => {}
        }
    }

    /// Returns the value that the aggregate emits.
    pub fn result(&self, aggregate: &Aggregate) -> Value {
        match (self, aggregate) {
            (Self::Count(count), _) => int(*count),
            (Self::Sum(sum), Aggregate::Mean(_)) => {
                if sum.numbers == 0 {
                    return Value::Null;
                }
                Value::Float(sum.value() / sum.numbers as f64)
            }
            (Self::Sum(sum), _) => {
                sum.as_whole().map_or_else(|| Value::Float(sum.value()), Value::Int)
            }
            (Self::Extreme(extreme), _) => {
                extreme.map_or(Value::Null, |number| unpacked(number).to_value())
            }
            (Self::Distinct(distinct), _) => int(distinct.count()),
            (Self::Top(top), Aggregate::Top(_, k)) => {
                let mut rows = Vec::new();
                for counted in top.top(k.get() as usize) {
                    let mut row = counted.key;
                    row.extend([int(counted.count), int(counted.error)]);
                    rows.push(Value::List(row.into()));
                }
                Value::List(rows.into())
            }
            (Self::Quantiles(quantiles), Aggregate::Quantiles(_, parts)) => {
                let found: Option<Arc<[Value]>> = parts
                    .iter()
                    .map(|part| quantiles.quantile(*part).map(|number| Value::Float(round(number))))
                    .collect();
                found.map_or(Value::Null, Value::List)
            }
            _ => Value::Null,
        }
    }

    /// Appends the state to a saved state.
    pub fn encode(&self, into: &mut Writer<'_>) {
        match self {
            Self::Count(count) => {
                into.number(0);
                into.number(*count);
            }
            Self::Sum(sum) => {
                into.number(1);
                sum.encode(into);
            }
            Self::Extreme(None) => into.number(2),
            Self::Extreme(Some((is_whole, whole, float))) => {
                into.number(if *is_whole { 3 } else { 4 });
                into.signed(*whole);
                into.float(*float);
            }
            Self::Distinct(distinct) => {
                into.number(5);
                distinct.encode(into);
            }
            Self::Top(top) => {
                into.number(6);
                top.encode(into);
            }
            Self::Quantiles(quantiles) => {
                into.number(7);
                quantiles.encode(into);
            }
        }
    }

    /// Reads the output of [`encode`](Self::encode).
    pub fn decode(from: &mut Reader<'_>) -> Option<Self> {
        Some(match from.number()? {
            0 => Self::Count(from.number()?),
            1 => Self::Sum(Sum::decode(from)?),
            2 => Self::Extreme(None),
            kind @ 3..=4 => Self::Extreme(Some((kind == 3, from.signed()?, from.float()?))),
            5 => Self::Distinct(Distinct::decode(from)?),
            6 => Self::Top(SpaceSaving::decode(from)?),
            7 => Self::Quantiles(Quantiles::decode(from)?),
            _ => return None,
        })
    }
}

/// Returns the minimum or the maximum of two numbers.
fn further(before: Option<(bool, i64, f64)>, number: Number, aggregate: &Aggregate) -> Number {
    let Some(before) = before.map(unpacked) else { return number };
    let order = number.order(before);
    let is_further = match aggregate {
        Aggregate::Min(_) => order.is_lt(),
        _ => order.is_gt(),
    };
    if is_further { number } else { before }
}

fn int(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Rounds a quantile to four digits: more would suggest a false precision.
fn round(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}
