//! Tests with random histories that a store on disk has the same content as one in memory, even
//! after it is reopened.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::conformance::promise;
use super::contents::{COMPONENTS, GROUPS, contents, none};
use crate::checkpoint::{Changes, DiskStore, Kept, MemoryStore, Started, StateStore};
use crate::epoch::{Cursor, StateChange};

#[derive(Clone, Debug)]
enum Step {
    Save(Changes),
    Start(Started),
    Finish,
    Reopen,
}

fn component() -> impl Strategy<Value = String> {
    select(&COMPONENTS[..]).prop_map(str::to_owned)
}

fn state_change() -> impl Strategy<Value = StateChange> {
    let key = vec(select(&[0_u8, 1, 0xff][..]), 0..4);
    (select(&GROUPS[..]), key, option::of(vec(any::<u8>(), 0..5)))
        .prop_map(|(key_group, key, value)| StateChange { key_group, key, value })
}

fn cursor() -> impl Strategy<Value = Cursor> {
    prop_oneof![Just(Cursor::Start), Just(Cursor::End), "(at:|end)?.{0,4}".prop_map(Cursor::At)]
}

/// Generates the changes of an epoch this far after the one before; the same epoch must be refused.
pub(crate) fn changes() -> impl Strategy<Value = Changes> {
    let state = vec((component(), vec(state_change(), 0..8)), 0..4);
    let cursors = btree_map((component(), ".{0,3}"), cursor(), 0..4);
    let promises =
        btree_map(component(), vec(".{0,5}".prop_map(|name| promise(&name)), 0..3), 0..3);
    (0_u64..4, state, cursors, promises).prop_map(|(epoch, state, cursors, promises)| Changes {
        state,
        cursors,
        promises,
        ..none(epoch)
    })
}

fn started() -> impl Strategy<Value = Started> {
    let kept = (".{0,3}", ".{0,3}").prop_map(|(type_name, shape)| Kept {
        type_name,
        shape,
        run: String::new(),
    });
    let places = btree_map(component(), btree_set(".{0,3}", 0..3), 0..3);
    (".{0,3}", btree_map(component(), kept, 0..3), places, btree_set(component(), 0..2)).prop_map(
        |(about, components, places, dropped)| Started { about, components, places, dropped },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => changes().prop_map(Step::Save),
        2 => started().prop_map(Step::Start),
        1 => Just(Step::Finish),
        1 => Just(Step::Reopen),
    ]
}

/// Applies the same action to both stores; both must accept it, or both refuse it.
fn both(stores: [&dyn StateStore; 2], act: impl Fn(&dyn StateStore) -> bool) -> bool {
    let done = stores.map(act);
    assert_eq!(done[0], done[1]);
    done[0]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_happens_both_stores_hold_the_same(steps in vec(step(), 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let memory = MemoryStore::default();
        let mut disk = DiskStore::open(folder.path()).unwrap();
        let mut expected = BTreeMap::new();
        let mut last = 0;
        for step in steps {
            match step {
                Step::Save(mut changes) => {
                    changes.epoch += last;
                    let behind = changes.epoch > last;
                    let taken = both([&memory, &disk], |store| store.save(&changes.clone()).is_ok());
                    prop_assert_eq!(taken, behind);
                    if taken {
                        last = changes.epoch;
                        apply(&changes, &mut expected);
                    }
                }
                Step::Start(started) => {
                    both([&memory, &disk], |store| store.start(&started.clone()).is_ok());
                    expected.retain(|(component, _, _), _| !started.dropped.contains(component));
                }
                Step::Finish => drop(both([&memory, &disk], |store| store.end(Some(super::contents::BOUNDARY)).is_ok())),
                Step::Reopen => {
                    drop(disk);
                    disk = DiskStore::open(folder.path()).unwrap();
                }
            }
            let found = contents(&disk);
            prop_assert_eq!(&found, &contents(&memory));
            prop_assert_eq!(found.state_map(), expected.clone());
            prop_assert_eq!(found.saved.epoch, last);
        }
    }
}

/// Applies the changes key by key, as a second implementation.
fn apply(changes: &Changes, state: &mut BTreeMap<(String, u16, Vec<u8>), Vec<u8>>) {
    for (component, changes) in &changes.state {
        for StateChange { key_group, key, value } in changes.clone() {
            let key = (component.clone(), key_group, key);
            match value {
                Some(value) => drop(state.insert(key, value)),
                None => drop(state.remove(&key)),
            }
        }
    }
}
