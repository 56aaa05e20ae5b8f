//! Counts the most frequent values with a fixed number of counters.
//!
//! Space-Saving (Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k
//! Elements in Data Streams", 2005): a value without a counter takes over the smallest one, whose
//! count becomes its error. So a count is too high by at most its error, and the error is at most
//! the sum of all counts divided by the number of counters. As long as there are no more values
//! than counters, all counts are exact, and don't depend on the order of the values; with more
//! values they do.

use std::collections::{BTreeSet, HashMap};

use crate::bolt::bytes::{Reader, Writer};
use crate::value::{self, Value};

/// A value with its count.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The values of the fields, or the single value.
    pub key: Vec<Value>,
    pub count: u64,
    /// The count may be too high by this much.
    pub error: u64,
}

/// Counters of the most frequent values.
#[derive(Clone, Debug)]
pub struct SpaceSaving {
    counters_max: usize,
    /// The counters by the encoding of their values.
    counters: HashMap<Vec<u8>, (u64, u64)>,
    /// The same counters, the smallest first. Of equal counts the smaller value is taken over
    /// first, so that the result doesn't depend on the order of a hash table.
    by_count: BTreeSet<(u64, Vec<u8>)>,
}

impl SpaceSaving {
    /// Creates this many counters without values.
    pub fn new(counters_max: usize) -> Self {
        let counters_max = counters_max.max(1);
        Self { counters_max, counters: HashMap::new(), by_count: BTreeSet::new() }
    }

    /// Returns true if nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// Adds this count to a value.
    pub fn add<'a>(&mut self, key: impl IntoIterator<Item = &'a Value>, count: u64) {
        let mut encoded = Vec::new();
        value::encode(key, &mut encoded);
        self.add_encoded(encoded, count, 0);
    }

    fn add_encoded(&mut self, key: Vec<u8>, count: u64, error: u64) {
        if count == 0 {
            return;
        }
        let (mut before, mut known_error) = (0, 0);
        if let Some((known, error)) = self.counters.get(&key) {
            (before, known_error) = (*known, *error);
            self.by_count.remove(&(before, key.clone()));
        } else if self.counters.len() >= self.counters_max
            && let Some((smallest, taken_over)) = self.by_count.pop_first()
        {
            self.counters.remove(&taken_over);
            (before, known_error) = (smallest, smallest);
        }
        let total = before.saturating_add(count);
        self.by_count.insert((total, key.clone()));
        self.counters.insert(key, (total, known_error.saturating_add(error)));
    }

    /// Adds the counts of another summary. A value that only one of the two has may have lost its
    /// counter in the other, so the smallest count of the other is added to its count and its
    /// error.
    pub fn merge(&mut self, other: &Self) {
        let least = |of: &Self| match of.by_count.first() {
            Some((count, _)) if of.counters.len() >= of.counters_max => *count,
            _ => 0,
        };
        let (own, others) = (least(self), least(other));
        let mut merged = Self::new(self.counters_max);
        let mut all: Vec<(Vec<u8>, u64, u64)> = Vec::new();
        for (key, (count, error)) in &self.counters {
            let (more, and_error) = other.counters.get(key).copied().unwrap_or((others, others));
            all.push((key.clone(), count.saturating_add(more), error.saturating_add(and_error)));
        }
        for (key, (count, error)) in &other.counters {
            if !self.counters.contains_key(key) {
                all.push((key.clone(), count.saturating_add(own), error.saturating_add(own)));
            }
        }
        // The largest counts stay, so no value takes over the counter of another.
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(self.counters_max);
        for (key, count, error) in all {
            merged.add_encoded(key, count, error);
        }
        *self = merged;
    }

    /// Returns the `k` most frequent values, the most frequent first, and with equal counts in the
    /// order of their encodings.
    pub fn top(&self, k: usize) -> Vec<Counted> {
        let mut all: Vec<(&Vec<u8>, &(u64, u64))> = self.counters.iter().collect();
        all.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(b.0)));
        let mut top = Vec::new();
        for (key, (count, error)) in all.into_iter().take(k) {
            let key = value::decode(key).unwrap_or_default();
            top.push(Counted { key, count: *count, error: *error });
        }
        top
    }

    /// Appends the counters to a saved state.
    pub fn encode(&self, into: &mut Writer<'_>) {
        into.number(self.counters_max as u64);
        into.number(self.counters.len() as u64);
        for (count, key) in &self.by_count {
            let error = self.counters.get(key).map_or(0, |(_, error)| *error);
            into.bytes(key);
            into.number(*count);
            into.number(error);
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut read = Self::new(usize::try_from(from.number()?).ok()?);
        for _ in 0..from.number()? {
            let key = from.bytes()?.to_vec();
            let (count, error) = (from.number()?, from.number()?);
            read.add_encoded(key, count, error);
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn counted(values: &[i64], counters: usize) -> SpaceSaving {
        let mut saving = SpaceSaving::new(counters);
        values.iter().for_each(|value| saving.add([&Value::Int(*value)], 1));
        saving
    }

    fn exact(values: &[i64]) -> HashMap<i64, u64> {
        let mut counts = HashMap::new();
        values.iter().for_each(|value| *counts.entry(*value).or_default() += 1);
        counts
    }

    fn check(saving: &SpaceSaving, values: &[i64], counters: usize) {
        let exact = exact(values);
        for Counted { key, count, error } in saving.top(usize::MAX) {
            let truth = exact.get(&key[0].as_int().unwrap()).copied().unwrap_or(0);
            assert!(count >= truth && count - error <= truth, "{key:?} {count} {error} {truth}");
            assert!(error <= values.len() as u64 / counters as u64);
        }
    }

    proptest! {
        #[test]
        fn counts_are_right_within_their_errors(
            values in prop::collection::vec(0_i64..40, 0..300), more in prop::collection::vec(0_i64..40, 0..300),
            counters in 1_usize..50,
        ) {
            let mut saving = counted(&values, counters);
            check(&saving, &values, counters);
            let mut bytes = Vec::new();
            saving.encode(&mut Writer(&mut bytes));
            let read = SpaceSaving::decode(&mut Reader(&bytes)).unwrap();
            prop_assert_eq!(read.top(usize::MAX), saving.top(usize::MAX));
            saving.merge(&counted(&more, counters));
            check(&saving, &[values, more].concat(), counters);
        }

        #[test]
        fn with_a_counter_for_each_value_the_order_does_not_matter(
            mut values in prop::collection::vec(0_i64..20, 1..200),
        ) {
            let forward = counted(&values, 20).top(5);
            values.reverse();
            prop_assert_eq!(&forward, &counted(&values, 20).top(5));
            prop_assert!(forward.iter().all(|counted| counted.error == 0));
        }
    }
}
