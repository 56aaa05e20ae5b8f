//! Keys: their stable hash, and the groups of keyed state.

use xxhash_rust::xxh3::Xxh3Default;

use crate::value::Value;

/// The number of groups of keyed state, the units in which state is redistributed among tasks.
pub const KEY_GROUPS: u16 = 1024;

/// The group of state that is the same in every task of a bolt, such as a total over all keys. A
/// start and a rebalance give this group to each task, so it is enough if one task saves it.
pub const SHARED_GROUP: u16 = KEY_GROUPS;

/// Returns a stable hash (XXH3, 64 bits) of a key's values: the same on every machine and in every
/// version.
pub fn stable_hash<'a>(key: impl IntoIterator<Item = &'a Value>) -> u64 {
    let mut key = key.into_iter();
    match (key.next(), key.next()) {
        // Most keys are one text, whose hash needs no streaming state.
        (Some(Value::Text(text)), None) => xxhash_rust::xxh3::xxh3_64(text.as_bytes()),
        (first, second) => {
            let mut hasher = Xxh3Default::new();
            first.into_iter().chain(second).chain(key).for_each(|value| feed(&mut hasher, value));
            hasher.digest()
        }
    }
}

fn feed(hasher: &mut Xxh3Default, value: &Value) {
    let mut tagged = |tag: u8, bytes: &[u8]| {
        hasher.update(&[tag]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    match value {
        Value::Null => tagged(0, &[]),
        Value::Bool(value) => tagged(1, &[u8::from(*value)]),
        Value::Int(value) => tagged(2, &value.to_le_bytes()),
        Value::Float(value) => tagged(3, &Value::float_bits(*value).to_le_bytes()),
        Value::Text(value) => tagged(4, value.as_bytes()),
        Value::Json(value) => tagged(6, value),
        Value::Post(value) => tagged(7, value),
        Value::List(values) => {
            tagged(5, &(values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| feed(hasher, value));
        }
    }
}

/// Returns the key group of a key: its stable hash scaled to [`KEY_GROUPS`].
pub fn key_group<'a>(key: impl IntoIterator<Item = &'a Value>) -> u16 {
    // The upper bits are as well distributed as any, and can't exceed the number of groups.
    (stable_hash(key) >> (64 - KEY_GROUPS.ilog2())) as u16
}

/// Returns the task that owns a key group. Each task has a contiguous range of groups, and the
/// ranges are as even as possible.
pub fn task_of_group(group: u16, tasks: usize) -> usize {
    usize::from(group) * tasks / usize::from(KEY_GROUPS)
}
