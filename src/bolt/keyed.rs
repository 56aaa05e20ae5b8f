//! State that belongs to keys: found without an allocation, saved by what changed.
//!
//! What is saved for a key is, in the order of [`StateChange`]: its key group, the key's values in
//! the encoding of [`value::encode`], and the state in the encoding of its [`KeyState`].

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::bolt::StateChange;
use crate::engine::key_group;
use crate::error::{Error, Result};
use crate::value::{self, Value};

/// What is kept for one key, and how that is saved.
pub trait KeyState: Sized {
    /// Appends what [`decode`](Self::decode) reads back.
    fn encode(&self, into: &mut Vec<u8>);

    /// Reads the state back; `None` if [`encode`](Self::encode) didn't write these bytes.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl KeyState for i64 {
    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// A key, detached from the buffers it was read in. Most keys are one value, held in place.
enum Key {
    One(Value),
    Many(Box<[Value]>),
}

impl Key {
    fn detached<'a>(values: impl ExactSizeIterator<Item = &'a Value>) -> Self {
        let mut values = values.map(Value::detached);
        if values.len() != 1 {
            return Self::Many(values.collect());
        }
        Self::One(values.next().expect("there is one value"))
    }

    fn values(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    fn is<'a>(&self, other: impl Iterator<Item = &'a Value>) -> bool {
        self.values().iter().eq(other)
    }
}

struct Entry<S> {
    key: Key,
    state: S,
    /// Whether this entry is among the changed ones already.
    changed: bool,
}

/// The state of one task, by key. A key is a list of values, given as an iterator over them, so that
/// it may lie anywhere in a tuple.
///
/// Entries stay at their index while they live, so that the table and the list of changes hold four
/// bytes for each.
pub struct KeyedState<S> {
    hasher: DefaultHashBuilder,
    index: HashTable<u32>,
    entries: Vec<Option<Entry<S>>>,
    free: Vec<u32>,
    changed: Vec<u32>,
    forgotten: Vec<Key>,
}

impl<S> Default for KeyedState<S> {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            index: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            forgotten: Vec::new(),
        }
    }
}

fn hash<'a>(hasher: &DefaultHashBuilder, key: impl Iterator<Item = &'a Value>) -> u64 {
    let mut state = hasher.build_hasher();
    key.for_each(|value| value.hash(&mut state));
    state.finish()
}

fn live<S>(entries: &[Option<Entry<S>>], at: u32) -> &Entry<S> {
    entries[at as usize].as_ref().expect("the table knows entries that live only")
}

impl<S> KeyedState<S> {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// All keys and their states, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[Value], &S)> {
        self.entries.iter().flatten().map(|entry| (entry.key.values(), &entry.state))
    }

    /// The state of a key.
    pub fn get<'a>(&self, key: impl Iterator<Item = &'a Value> + Clone) -> Option<&S> {
        let hash = hash(&self.hasher, key.clone());
        let at = self.index.find(hash, |at| live(&self.entries, *at).key.is(key.clone()))?;
        Some(&live(&self.entries, *at).state)
    }

    /// The state of a key, to be changed: it will be in the next snapshot. A key that isn't known
    /// gets the state that `make` gives.
    pub fn get_or_insert<'a>(
        &mut self,
        key: impl ExactSizeIterator<Item = &'a Value> + Clone,
        make: impl FnOnce() -> S,
    ) -> &mut S {
        let hash = hash(&self.hasher, key.clone());
        let found = self.index.find(hash, |at| live(&self.entries, *at).key.is(key.clone())).copied();
        let at = found.unwrap_or_else(|| self.insert(hash, Key::detached(key), make()));
        let entry = self.entries[at as usize].as_mut().expect("it was found or inserted");
        if !entry.changed {
            entry.changed = true;
            self.changed.push(at);
        }
        &mut entry.state
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: Key, state: S) -> u32 {
        let entry = Some(Entry { key, state, changed: false });
        let at = if let Some(at) = self.free.pop() {
            self.entries[at as usize] = entry;
            at
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("2^32 keys don't fit into a machine's memory")
        };
        let Self { hasher, index, entries, .. } = self;
        index.insert_unique(hash, at, |at| self::hash(hasher, live(entries, *at).key.values().iter()));
        at
    }

    /// Forgets a key, and gives the state that it had.
    pub fn remove<'a>(&mut self, key: impl Iterator<Item = &'a Value> + Clone) -> Option<S> {
        let hash = hash(&self.hasher, key.clone());
        let found = self.index.find_entry(hash, |at| live(&self.entries, *at).key.is(key.clone())).ok()?;
        let (at, _) = found.remove();
        let entry = self.entries[at as usize].take()?;
        self.free.push(at);
        self.forgotten.push(entry.key);
        Some(entry.state)
    }
}

impl<S: KeyState> KeyedState<S> {
    /// What changed since the last call, each key once.
    pub fn snapshot(&mut self) -> Vec<StateChange> {
        self.changes(|key| key_group(key))
    }

    fn changes(&mut self, group: impl Fn(&[Value]) -> u16) -> Vec<StateChange> {
        let mut changes = Vec::with_capacity(self.changed.len() + self.forgotten.len());
        let change = |key: &Key, state: Option<&S>| {
            let mut encoded = Vec::new();
            value::encode(key.values(), &mut encoded);
            let state = state.map(|state| {
                let mut encoded = Vec::new();
                state.encode(&mut encoded);
                encoded
            });
            StateChange { key_group: group(key.values()), key: encoded, value: state }
        };
        for key in std::mem::take(&mut self.forgotten) {
            // A key that came back is among the changed ones.
            if self.get(key.values().iter()).is_none() {
                changes.push(change(&key, None));
            }
        }
        for at in self.changed.drain(..) {
            // The index of a key that was forgotten may be free, or be listed once more for another key.
            if let Some(entry) = self.entries[at as usize].as_mut().filter(|entry| entry.changed) {
                entry.changed = false;
                changes.push(change(&entry.key, Some(&entry.state)));
            }
        }
        changes
    }

    /// Takes back one key as a snapshot gave it.
    ///
    /// # Errors
    /// If a snapshot didn't write this.
    pub fn restore(&mut self, key: &[u8], state: &[u8]) -> Result<()> {
        let damaged = || Error::fatal(format!("the saved state of key {} is damaged", key.escape_ascii()));
        let key = value::decode(key).ok_or_else(damaged)?;
        let state = S::decode(state).ok_or_else(damaged)?;
        let hash = hash(&self.hasher, key.iter());
        self.insert(hash, Key::detached(key.iter()), state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_value;

    type Saved = BTreeMap<Vec<u8>, Vec<u8>>;

    /// What a state store makes of a snapshot.
    fn save(changes: Vec<StateChange>, saved: &mut Saved) {
        for StateChange { key, value, .. } in changes {
            match value {
                Some(value) => saved.insert(key, value),
                None => saved.remove(&key),
            };
        }
    }

    fn restored(saved: &Saved) -> KeyedState<i64> {
        let mut state = KeyedState::default();
        saved.iter().for_each(|(key, value)| state.restore(key, value).unwrap());
        state
    }

    fn sorted(state: &KeyedState<i64>) -> Vec<(Vec<u8>, i64)> {
        let mut all: Vec<_> = state
            .iter()
            .map(|(key, state)| {
                let mut encoded = Vec::new();
                value::encode(key, &mut encoded);
                (encoded, *state)
            })
            .collect();
        all.sort();
        all
    }

    fn texts(changes: &[StateChange]) -> Vec<(String, Option<i64>)> {
        let text = |key: &[u8]| value::decode(key).unwrap()[0].as_text().unwrap().to_owned();
        let state = |value: &Option<Vec<u8>>| value.as_ref().map(|value| i64::decode(value).unwrap());
        changes.iter().map(|change| (text(&change.key), state(&change.value))).collect()
    }

    #[test]
    fn only_keys_that_changed_since_the_last_snapshot_are_in_the_next() {
        let mut state = KeyedState::<i64>::default();
        let [storm, rain] = [Value::from("storm"), Value::from("rain")];
        *state.get_or_insert([&storm].into_iter(), || 0) += 1;
        *state.get_or_insert([&rain].into_iter(), || 0) += 1;
        *state.get_or_insert([&storm].into_iter(), || 0) += 1;
        assert_eq!(texts(&state.changes(|_| 7)), [("storm".into(), Some(2)), ("rain".into(), Some(1))]);
        assert!(state.changes(|_| 7).is_empty());
        *state.get_or_insert([&rain].into_iter(), || 0) += 1;
        let changes = state.changes(|_| 7);
        assert_eq!(texts(&changes), [("rain".into(), Some(2))]);
        assert_eq!(changes[0].key_group, 7);
    }

    #[test]
    fn a_key_that_was_forgotten_and_came_back_is_saved_once_and_new() {
        let mut state = KeyedState::<i64>::default();
        let [storm, rain] = [Value::from("storm"), Value::from("rain")];
        *state.get_or_insert([&storm].into_iter(), || 0) += 5;
        assert_eq!(state.remove([&storm].into_iter()), Some(5));
        *state.get_or_insert([&rain].into_iter(), || 0) += 1;
        *state.get_or_insert([&storm].into_iter(), || 0) += 1;
        assert_eq!(texts(&state.changes(|_| 0)), [("rain".into(), Some(1)), ("storm".into(), Some(1))]);
        assert_eq!(state.remove([&storm].into_iter()), Some(1));
        assert_eq!(texts(&state.changes(|_| 0)), [("storm".into(), None)]);
    }

    #[test]
    fn what_no_snapshot_wrote_is_refused() {
        let mut state = KeyedState::<i64>::default();
        assert!(state.restore(&[99], &[0; 8]).is_err());
        assert!(state.restore(&[0], &[0; 7]).is_err());
    }

    proptest! {
        /// Numbers are a key's place in the list, whether it is forgotten (or counted), and whether
        /// a snapshot follows.
        #[test]
        fn whatever_happens_the_snapshots_together_are_the_state(
            keys in prop::collection::vec(prop::collection::vec(any_value(), 0..3), 1..6),
            steps in prop::collection::vec((any::<prop::sample::Index>(), prop::bool::weighted(0.3), prop::bool::weighted(0.2)), 0..60),
        ) {
            let (mut state, mut saved) = (KeyedState::default(), Saved::new());
            for (which, forget, snapshot) in steps {
                let key = which.get(&keys);
                if forget {
                    state.remove(key.iter());
                } else {
                    *state.get_or_insert(key.iter(), || 0) += 1;
                }
                if snapshot {
                    save(state.changes(|_| 0), &mut saved);
                }
            }
            save(state.changes(|_| 0), &mut saved);
            prop_assert_eq!(sorted(&restored(&saved)), sorted(&state));
        }
    }
}
