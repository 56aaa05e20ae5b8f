use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::value::tests::any_value;

type Saved = BTreeMap<Vec<u8>, Vec<u8>>;

/// Applies a snapshot as a state store does.
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
    let state =
        |value: &Option<Vec<u8>>| value.as_ref().map(|value| decode::<i64>(value).unwrap().0);
    changes.iter().map(|change| (text(&change.key), state(&change.value))).collect()
}

#[test]
fn only_keys_that_changed_since_the_last_snapshot_are_in_the_next() {
    let mut state = KeyedState::<i64>::default();
    let [storm, rain] = [Value::from("storm"), Value::from("rain")];
    *state.get_or_insert([&storm].into_iter(), || 0) += 1;
    *state.get_or_insert([&rain].into_iter(), || 0) += 1;
    *state.get_or_insert([&storm].into_iter(), || 0) += 1;
    assert_eq!(texts(&state.snapshot()), [("storm".into(), Some(2)), ("rain".into(), Some(1))]);
    assert!(state.snapshot().is_empty());
    *state.get_or_insert([&rain].into_iter(), || 0) += 1;
    let changes = state.snapshot();
    assert_eq!(texts(&changes), [("rain".into(), Some(2))]);
    assert_eq!(changes[0].key_group, key_group([&rain]));
}

#[test]
fn a_key_that_was_forgotten_and_came_back_is_saved_once_and_new() {
    let mut state = KeyedState::<i64>::default();
    let [storm, rain] = [Value::from("storm"), Value::from("rain")];
    *state.get_or_insert([&storm].into_iter(), || 0) += 5;
    assert_eq!(state.remove([&storm].into_iter()), Some(5));
    *state.get_or_insert([&rain].into_iter(), || 0) += 1;
    *state.get_or_insert([&storm].into_iter(), || 0) += 1;
    assert_eq!(texts(&state.snapshot()), [("rain".into(), Some(1)), ("storm".into(), Some(1))]);
    assert_eq!(state.remove([&storm].into_iter()), Some(1));
    assert_eq!(texts(&state.snapshot()), [("storm".into(), None)]);
}

#[test]
fn keys_with_the_same_first_values_lie_where_tuples_with_these_values_go() {
    let mut windows = KeyedState::<i64>::bounded(None).grouped_by_first(1);
    let words = [Value::from("storm"), Value::from("rain")];
    for word in &words {
        for begin in 0..20 {
            *windows.get_or_insert([word, &Value::Int(begin)].into_iter(), || 0) += 1;
        }
    }
    windows.remove([&words[0], &Value::Int(3)].into_iter());
    let changes = windows.snapshot();
    assert_eq!(changes.len(), 40, "a removed key is a change, too");
    for change in changes {
        let key = value::decode(&change.key).unwrap();
        assert_eq!(change.key_group, key_group([&key[0]]), "{key:?}");
    }
}

#[test]
fn what_no_snapshot_wrote_is_refused() {
    let mut state = KeyedState::<i64>::default();
    assert!(state.restore(&[99], &[0; 8]).is_err());
    assert!(state.restore(&[0], &[0; 7]).is_err());
}

/// Implements a bounded state in a simple, slow way: keys with their states, the one with the
/// oldest access first.
fn count_slowly(known: &mut Vec<(Value, i64)>, key: &Value, keys_max: usize) {
    let count = match known.iter().position(|(other, _)| other == key) {
        Some(at) => known.remove(at).1,
        None => {
            if known.len() >= keys_max {
                known.drain(
                    ..(known.len() - keys_max + (keys_max / FORGOTTEN_SHARE).max(1))
                        .min(known.len()),
                );
            }
            0
        }
    };
    known.push((key.clone(), count + 1));
}

fn by_value(state: &KeyedState<i64>) -> Vec<(Value, i64)> {
    let mut all: Vec<_> = state.iter().map(|(key, state)| (key[0].clone(), *state)).collect();
    all.sort_by_key(|(key, _)| format!("{key:?}"));
    all
}

#[test]
fn a_state_of_before_has_no_order_and_goes_first() {
    let mut state = KeyedState::<i64>::bounded(Some(2));
    let mut key = Vec::new();
    value::encode(&[Value::from("old")], &mut key);
    state.restore(&key, &7_i64.to_le_bytes()).unwrap();
    assert_eq!(
        state.size(),
        StateSize { keys: 1, saved_bytes: key.len() as u64 + 10, forgotten: 0 }
    );
    for key in ["new", "newer"] {
        *state.get_or_insert([&Value::from(key)].into_iter(), || 0) += 1;
    }
    assert_eq!(by_value(&state), [(Value::from("new"), 1), (Value::from("newer"), 1)]);
    assert_eq!(state.size().forgotten, 1);
}

proptest! {
    /// Tests with random steps: each is a key, true if a snapshot follows, and true if a restart
    /// follows.
    #[test]
    fn the_keys_that_came_longest_ago_are_forgotten_whenever_it_is_saved_and_restored(
        keys_max in 1usize..40,
        steps in prop::collection::vec((0i64..80, prop::bool::weighted(0.1), prop::bool::weighted(0.05)), 0..300),
    ) {
        let (mut state, mut saved) = (KeyedState::<i64>::bounded(Some(keys_max)), Saved::new());
        let (mut known, mut forgotten) = (Vec::new(), 0);
        for (key, snapshot, restart) in steps {
            let key = Value::Int(key);
            let before = known.len();
            let is_new = known.iter().all(|(other, _)| *other != key);
            count_slowly(&mut known, &key, keys_max);
            forgotten += before + usize::from(is_new) - known.len();
            *state.get_or_insert([&key].into_iter(), || 0) += 1;
            if snapshot || restart {
                save(state.snapshot(), &mut saved);
                let bytes: usize = saved.iter().map(|(key, value)| key.len() + value.len() + GROUP_BYTES).sum();
                let size = state.size();
                prop_assert_eq!((size.keys, size.saved_bytes), (saved.len() as u64, bytes as u64));
                prop_assert_eq!(size.forgotten, forgotten as u64);
            }
            if restart {
                state = KeyedState::bounded(Some(keys_max));
                saved.iter().for_each(|(key, value)| state.restore(key, value).unwrap());
                forgotten = 0;
                prop_assert_eq!(state.size().saved_bytes, saved.iter().map(|(k, v)| (k.len() + v.len() + 2) as u64).sum::<u64>());
            }
            let mut expected = known.clone();
            expected.sort_by_key(|(key, _)| format!("{key:?}"));
            prop_assert!(state.len() <= keys_max);
            prop_assert_eq!(by_value(&state), expected);
        }
    }

    /// Tests with random steps: each is a key's position in the list, true if the key is removed
    /// (and not counted), and true if a snapshot follows.
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
                save(state.snapshot(), &mut saved);
            }
        }
        save(state.snapshot(), &mut saved);
        prop_assert_eq!(sorted(&restored(&saved)), sorted(&state));
    }
}
