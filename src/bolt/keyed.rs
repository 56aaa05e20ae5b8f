//! The state of a task by key, which is found without an allocation, and saved as changes.
//!
//! The saved entry of a key has, in the order of [`StateChange`]: its key group, the key's values
//! in the encoding of [`value::encode`], and the state in the encoding of its [`KeyState`],
//! followed by eight bytes with the number of the last access that changed it (missing in states of
//! earlier versions).
//!
//! The number of keys may have a bound. An access that would exceed it forgets the share
//! [`FORGOTTEN_SHARE`] of the keys, those whose last access is the longest ago. The selection
//! depends only on the order of accesses: not on batches, checkpoints or clocks, and a restart
//! knows the order from the saved entries.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::epoch::{StateChange, StateSize};
use crate::error::{Error, Result};
use crate::keys::key_group;
use crate::value::{self, Value};

/// The state of one key, with its encoding.
pub trait KeyState: Sized {
    /// Appends the encoding that [`decode`](Self::decode) reads.
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

/// A key, detached from the buffers it was read in. Most keys are a single value, which is stored
/// without a list.
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

    fn is<'a>(&self, mut other: impl Iterator<Item = &'a Value>) -> bool {
        // Most keys are one text.
        if let Self::One(Value::Text(text)) = self {
            let is_text = matches!(other.next(), Some(Value::Text(found)) if found == text);
            return is_text && other.next().is_none();
        }
        self.values().iter().eq(other)
    }
}

/// The share of the keys that is forgotten at a time: one in this number. A smaller share would go
/// through all keys more often; a larger one would forget more keys than necessary.
pub(crate) const FORGOTTEN_SHARE: usize = 16;

/// The number of bytes of a key group in a saved key.
const GROUP_BYTES: usize = 2;

/// The number of bytes of an access number after a saved state.
const ACCESS_BYTES: usize = 8;

struct Entry<S> {
    key: Key,
    state: S,
    /// The number of the last access.
    access: u64,
    /// The number of bytes of the entry in the last snapshot.
    saved_bytes: u32,
    /// True if this entry is already among the changed ones.
    changed: bool,
}

/// The state of one task, by key. A key is a list of values, passed as an iterator over them, so
/// that the values may be anywhere in a tuple.
///
/// Entries keep their index while they exist, so that the table and the list of changes need four
/// bytes per entry.
pub struct KeyedState<S> {
    hasher: DefaultHashBuilder,
    index: HashTable<u32>,
    entries: Slots<S>,
    free: Vec<u32>,
    changed: Vec<u32>,
    /// Keys that were removed since the last snapshot, with the number of bytes that they had in
    /// it.
    removed: Vec<(Key, u32)>,
    /// The number of the last access.
    access: u64,
    keys_max: Option<usize>,
    /// The number of leading values of a key that decide which task has it.
    grouping_values: usize,
    /// The number of keys that were forgotten because of the bound.
    forgotten: u64,
    saved_bytes: u64,
}

impl<S> Default for KeyedState<S> {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            index: HashTable::new(),
            entries: Slots(Vec::new()),
            free: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            access: 0,
            keys_max: None,
            grouping_values: usize::MAX,
            forgotten: 0,
            saved_bytes: 0,
        }
    }
}

fn hash<'a>(hasher: &DefaultHashBuilder, mut key: impl Iterator<Item = &'a Value>) -> u64 {
    let mut state = hasher.build_hasher();
    match (key.next(), key.next()) {
        // Most keys are one text, of which only the bytes are hashed.
        (Some(Value::Text(text)), None) => state.write(text.as_bytes()),
        (first, second) => {
            let values = first.into_iter().chain(second).chain(key);
            values.for_each(|value| value.hash(&mut state));
        }
    }
    state.finish()
}

/// The number of slots in a block.
const BLOCK_SLOTS: usize = 1024;

/// The entries by their slots, in blocks that never move: a single list would be copied each time
/// that it is full, and would be in memory twice at that time.
struct Slots<S>(Vec<Vec<Option<Entry<S>>>>);

impl<S> Slots<S> {
    fn get(&self, slot: u32) -> Option<&Entry<S>> {
        let slot = slot as usize;
        self.0.get(slot / BLOCK_SLOTS)?.get(slot % BLOCK_SLOTS)?.as_ref()
    }

    fn get_mut(&mut self, slot: u32) -> Option<&mut Entry<S>> {
        let slot = slot as usize;
        self.0.get_mut(slot / BLOCK_SLOTS)?.get_mut(slot % BLOCK_SLOTS)?.as_mut()
    }

    /// Returns the entry of a slot that the table knows.
    fn live(&self, slot: u32) -> &Entry<S> {
        self.get(slot).expect("the table knows entries that live only")
    }

    fn live_mut(&mut self, slot: u32) -> &mut Entry<S> {
        self.get_mut(slot).expect("the table knows entries that live only")
    }

    fn take(&mut self, slot: u32) -> Option<Entry<S>> {
        let slot = slot as usize;
        self.0.get_mut(slot / BLOCK_SLOTS)?.get_mut(slot % BLOCK_SLOTS)?.take()
    }

    /// Puts an entry into a free slot.
    fn put(&mut self, slot: u32, entry: Entry<S>) {
        self.0[slot as usize / BLOCK_SLOTS][slot as usize % BLOCK_SLOTS] = Some(entry);
    }

    /// Adds an entry, and returns its slot.
    fn push(&mut self, entry: Entry<S>) -> u32 {
        if self.0.last().is_none_or(|block| block.len() == BLOCK_SLOTS) {
            // The first block grows, since most states have few keys.
            let capacity = if self.0.is_empty() { 0 } else { BLOCK_SLOTS };
            self.0.push(Vec::with_capacity(capacity));
        }
        let block = self.0.len() - 1;
        self.0[block].push(Some(entry));
        u32::try_from(block * BLOCK_SLOTS + self.0[block].len() - 1)
            .expect("2^32 keys don't fit into a machine's memory")
    }

    /// Iterates over the slots that have an entry, in order.
    fn iter(&self) -> impl Iterator<Item = (u32, &Entry<S>)> {
        let slots = (0..).zip(self.0.iter().flatten());
        slots.filter_map(|(slot, entry)| entry.as_ref().map(|entry| (slot, entry)))
    }
}

impl<S> KeyedState<S> {
    /// Creates a state without keys, with a maximum number of keys.
    pub fn bounded(keys_max: Option<usize>) -> Self {
        Self { keys_max, ..Self::default() }
    }

    /// Keeps all keys with the same first values in one task, for inputs that are grouped by these
    /// values only: a window of a word, `[word, begin]`, has to be in the task that gets the word's
    /// tuples. By default a key's task depends on all its values.
    #[must_use]
    pub fn grouped_by_first(mut self, values: usize) -> Self {
        self.grouping_values = values;
        self
    }

    /// Returns its size.
    pub fn size(&self) -> StateSize {
        StateSize {
            keys: self.len() as u64,
            saved_bytes: self.saved_bytes,
            forgotten: self.forgotten,
        }
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns true if there is no key.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Iterates over all keys and their states, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&[Value], &S)> {
        self.entries.iter().map(|(_, entry)| (entry.key.values(), &entry.state))
    }

    /// Returns the state of a key.
    pub fn get<'a>(&self, key: impl Iterator<Item = &'a Value> + Clone) -> Option<&S> {
        let hash = hash(&self.hasher, key.clone());
        let at = self.index.find(hash, |at| self.entries.live(*at).key.is(key.clone()))?;
        Some(&self.entries.live(*at).state)
    }

    /// Returns the state of a key, to be changed: it will be in the next snapshot. An unknown key
    /// gets the state that `make` returns.
    pub fn get_or_insert<'a>(
        &mut self,
        key: impl ExactSizeIterator<Item = &'a Value> + Clone,
        make: impl FnOnce() -> S,
    ) -> &mut S {
        self.get_or_insert_slot(key, make).1
    }

    /// Does the same as [`get_or_insert`](Self::get_or_insert), and returns the slot of the key.
    /// The slot belongs to the key until the key is removed; then another key may get it.
    pub fn get_or_insert_slot<'a>(
        &mut self,
        key: impl ExactSizeIterator<Item = &'a Value> + Clone,
        make: impl FnOnce() -> S,
    ) -> (u32, &mut S) {
        let hash = hash(&self.hasher, key.clone());
        let found = self.index.find(hash, |at| self.entries.live(*at).key.is(key.clone())).copied();
        let at = found.unwrap_or_else(|| {
            self.make_room();
            self.insert(hash, Key::detached(key), make())
        });
        self.access += 1;
        let entry = self.entries.live_mut(at);
        entry.access = self.access;
        if !entry.changed {
            entry.changed = true;
            self.changed.push(at);
        }
        (at, &mut entry.state)
    }

    /// Returns the key and the state of a slot; `None` if the slot is free.
    pub fn slot(&self, slot: u32) -> Option<(&[Value], &S)> {
        let entry = self.entries.get(slot)?;
        Some((entry.key.values(), &entry.state))
    }

    /// Returns the key and the state of a slot, to be changed: it will be in the next snapshot. The
    /// call doesn't count as an access for the selection of forgotten keys. `None` if the slot is
    /// free.
    pub fn slot_mut(&mut self, slot: u32) -> Option<(&[Value], &mut S)> {
        let entry = self.entries.get_mut(slot)?;
        if !entry.changed {
            entry.changed = true;
            self.changed.push(slot);
        }
        Some((entry.key.values(), &mut entry.state))
    }

    /// Returns the slots of all keys, with their states, in the order of the slots.
    pub fn slots(&self) -> impl Iterator<Item = (u32, &[Value], &S)> {
        self.entries.iter().map(|(slot, entry)| (slot, entry.key.values(), &entry.state))
    }

    /// Removes the key of a slot, and returns its state.
    pub fn remove_slot(&mut self, slot: u32) -> Option<S> {
        let entry = self.entries.get(slot)?;
        let hash = hash(&self.hasher, entry.key.values().iter());
        if let Ok(found) = self.index.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        self.clear(slot)
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: Key, state: S) -> u32 {
        let entry = Entry { key, state, access: 0, saved_bytes: 0, changed: false };
        let at = if let Some(at) = self.free.pop() {
            self.entries.put(at, entry);
            at
        } else {
            self.entries.push(entry)
        };
        let Self { hasher, index, entries, .. } = self;
        index.insert_unique(hash, at, |at| {
            self::hash(hasher, entries.live(*at).key.values().iter())
        });
        at
    }

    /// Removes a key, and returns its state.
    pub fn remove<'a>(&mut self, key: impl Iterator<Item = &'a Value> + Clone) -> Option<S> {
        let hash = hash(&self.hasher, key.clone());
        let found =
            self.index.find_entry(hash, |at| self.entries.live(*at).key.is(key.clone())).ok()?;
        let (at, _) = found.remove();
        self.clear(at)
    }

    /// Frees the slot of an entry that was removed from the table.
    fn clear(&mut self, at: u32) -> Option<S> {
        let entry = self.entries.take(at)?;
        self.free.push(at);
        self.removed.push((entry.key, entry.saved_bytes));
        Some(entry.state)
    }

    /// Forgets keys if one more would exceed the bound.
    fn make_room(&mut self) {
        if let Some(keys_max) = self.keys_max
            && self.len() >= keys_max
        {
            self.forget_oldest(keys_max);
        }
    }

    #[cold]
    fn forget_oldest(&mut self, keys_max: usize) {
        let mut accesses = Vec::with_capacity(self.len());
        accesses.extend(self.entries.iter().map(|(at, entry)| (entry.access, at)));
        // More keys than the share are forgotten if the bound was larger when they were added.
        let excess = accesses.len() - keys_max;
        let forgotten = (excess + (keys_max / FORGOTTEN_SHARE).max(1)).min(accesses.len());
        if forgotten < accesses.len() {
            accesses.select_nth_unstable(forgotten);
        }
        // Sorted, so that slots are reused in an order that only depends on the accesses.
        let oldest = &mut accesses[..forgotten];
        oldest.sort_unstable();
        for (_, at) in oldest {
            let hash = hash(&self.hasher, self.entries.live(*at).key.values().iter());
            if let Ok(found) = self.index.find_entry(hash, |other| other == at) {
                found.remove();
            }
            self.clear(*at);
        }
        self.forgotten += forgotten as u64;
    }
}

impl<S: KeyState> KeyedState<S> {
    /// Returns the keys that changed since the last call, each once.
    pub fn snapshot(&mut self) -> Vec<StateChange> {
        let grouping_values = self.grouping_values;
        let mut changes = Vec::with_capacity(self.changed.len() + self.removed.len());
        let change = |key: &Key, value: Option<Vec<u8>>| {
            let mut encoded = Vec::new();
            value::encode(key.values(), &mut encoded);
            let grouping = key.values().iter().take(grouping_values);
            StateChange { key_group: key_group(grouping), key: encoded, value }
        };
        for (key, saved_bytes) in std::mem::take(&mut self.removed) {
            self.saved_bytes -= u64::from(saved_bytes);
            // A key that was added again is among the changed ones.
            if self.get(key.values().iter()).is_none() {
                changes.push(change(&key, None));
            }
        }
        for at in self.changed.drain(..) {
            // The slot of a forgotten key may be free, or may be listed once more for another key.
            if let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.changed) {
                entry.changed = false;
                let mut value = Vec::new();
                entry.state.encode(&mut value);
                value.extend_from_slice(&entry.access.to_le_bytes());
                let bytes = value.len();
                let change = change(&entry.key, Some(value));
                let bytes = saved_bytes(change.key.len(), bytes);
                self.saved_bytes =
                    self.saved_bytes - u64::from(entry.saved_bytes) + u64::from(bytes);
                entry.saved_bytes = bytes;
                changes.push(change);
            }
        }
        changes
    }

    /// Restores one key from a snapshot.
    ///
    /// # Errors
    /// If a snapshot didn't write this.
    pub fn restore(&mut self, key: &[u8], state: &[u8]) -> Result<()> {
        let damaged =
            || Error::fatal(format!("the saved state of key {} is damaged", key.escape_ascii()));
        let bytes = saved_bytes(key.len(), state.len());
        let key = value::decode(key).ok_or_else(damaged)?;
        let (state, access) = decode(state).ok_or_else(damaged)?;
        let hash = hash(&self.hasher, key.iter());
        let at = self.insert(hash, Key::detached(key.iter()), state);
        let entry = self.entries.live_mut(at);
        (entry.access, entry.saved_bytes) = (access, bytes);
        self.access = self.access.max(access);
        self.saved_bytes += u64::from(bytes);
        Ok(())
    }
}

/// Decodes a saved state: with the number of its last access, or without it in states of earlier
/// versions.
fn decode<S: KeyState>(saved: &[u8]) -> Option<(S, u64)> {
    if let Some((state, access)) = saved.split_last_chunk::<ACCESS_BYTES>()
        && let Some(state) = S::decode(state)
    {
        return Some((state, u64::from_le_bytes(*access)));
    }
    Some((S::decode(saved)?, 0))
}

fn saved_bytes(key: usize, value: usize) -> u32 {
    u32::try_from(GROUP_BYTES + key + value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
