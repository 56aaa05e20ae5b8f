//! Tests the contract of a store with examples, for both stores.

use std::collections::BTreeSet;

use time::macros::datetime;

use super::contents::{BOUNDARY, contents, forget, none, put};
use crate::checkpoint::{DiskStore, Kept, MemoryStore, Saved, Started, StateStore};
use crate::epoch::{Cursor, Promise};
use crate::error::{Error, Kind};

/// Runs a test on a new store of each type.
fn check(test: impl Fn(&dyn StateStore)) {
    test(&MemoryStore::default());
    let folder = tempfile::tempdir().unwrap();
    test(&DiskStore::open(folder.path()).unwrap());
}

pub(crate) fn promise(segment: &str) -> Promise {
    Promise {
        place: "/staging/1".into(),
        segment: segment.into(),
        length: u64::MAX,
        posts: 3,
        checksum: 7,
        closed: true,
    }
}

#[test]
fn a_new_store_is_empty() {
    check(|store| assert_eq!(contents(store).saved, Saved::default()));
}

#[test]
fn what_is_saved_is_there_and_later_changes_win() {
    check(|store| {
        let mut changes = none(1);
        changes.cursors = [
            (("a".into(), "".into()), Cursor::Start),
            (("a".into(), "1".into()), Cursor::At("x".into())),
        ]
        .into();
        changes.state = vec![
            (
                "count".into(),
                vec![put(256, "b", "1"), put(1, "", ""), put(256, "a", "1"), put(256, "b", "2")],
            ),
            (
                "count".into(),
                vec![
                    put(1023, "z", "9"),
                    put(0, "gone", "1"),
                    forget(0, "gone"),
                    forget(0, "never"),
                ],
            ),
        ];
        changes.promises = [("lake".into(), vec![promise("p/0"), promise("p/1")])].into();
        store.save(&changes).unwrap();
        let mut changes = none(2);
        changes.cursors = [(("a".into(), "".into()), Cursor::End)].into();
        changes.promises = [("other".into(), vec![])].into();
        store.save(&changes).unwrap();

        let saved = store.saved().unwrap();
        assert_eq!((saved.epoch, saved.boundary), (2, Some(BOUNDARY)));
        assert_eq!(saved.at, Some(datetime!(2015-12-18 0:12:30.123456789 UTC)));
        let cursors = [
            (("a".into(), "".into()), Cursor::End),
            (("a".into(), "1".into()), Cursor::At("x".into())),
        ];
        assert_eq!(saved.cursors, cursors.into());
        assert_eq!(saved.promises, [("other".into(), vec![])].into());
        let mut keys = Vec::new();
        let take = &mut |key: &[u8], value: &[u8]| {
            keys.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        store.restore("count", 0..1024, take).unwrap();
        let expected = [("", ""), ("a", "1"), ("b", "2"), ("z", "9")];
        assert_eq!(keys, expected.map(|(key, value)| (key.into(), value.into())));
    });
}

#[test]
fn epochs_are_saved_in_order() {
    check(|store| {
        store.save(&none(3)).unwrap();
        for epoch in [3, 2, 0] {
            let error = store.save(&none(epoch)).unwrap_err();
            let expected = format!(
                "epoch {epoch} was to be saved, but epoch 3 is complete: they are saved in order"
            );
            assert_eq!((error.kind(), error.chain()), (Kind::Fatal, expected));
        }
        assert_eq!(store.save(&none(3)).unwrap_err().kind(), Kind::Fatal);
        store.save(&none(4)).unwrap();
        assert_eq!(store.saved().unwrap().epoch, 4);
    });
}

#[test]
fn a_component_that_is_dropped_loses_all_it_had() {
    check(|store| {
        let mut changes = none(1);
        for component in ["count", "count2"] {
            changes.cursors.insert((component.into(), "0".into()), Cursor::At("1".into()));
            changes.state.push((component.into(), vec![put(1, "a", "1")]));
            changes.promises.insert(component.into(), vec![promise("p/0")]);
        }
        store.save(&changes).unwrap();
        let kept = Kept { type_name: "Count".into(), shape: "word".into(), run: String::new() };
        store
            .start(&Started {
                about: "/x/y.ron".into(),
                components: [("count".into(), kept.clone())].into(),
                places: [("lake".into(), ["/a".to_owned(), "/b".to_owned()].into())].into(),
                dropped: BTreeSet::from(["count2".into(), "never there".into()]),
            })
            .unwrap();
        let saved = store.saved().unwrap();
        assert!(store.has_state("count").unwrap() && !store.has_state("count2").unwrap());
        assert_eq!(
            saved.cursors.keys().map(|(component, _)| component.as_str()).collect::<Vec<_>>(),
            ["count"]
        );
        assert_eq!(saved.promises.keys().collect::<Vec<_>>(), ["count"]);
        assert_eq!((saved.epoch, saved.finished, saved.about.as_str()), (1, None, "/x/y.ron"));
        assert_eq!(saved.components, [("count".into(), kept)].into());
        assert_eq!(saved.places["lake"].len(), 2);
        store.end(Some(BOUNDARY)).unwrap();
        let saved = store.saved().unwrap();
        assert_eq!((saved.finished, saved.told), (Some(BOUNDARY), false));
        store.tell().unwrap();
        assert!(store.saved().unwrap().told);
        assert!(saved.promises.is_empty() && saved.places.is_empty(), "everything is delivered");
        store.start(&Started::default()).unwrap();
        let saved = store.saved().unwrap();
        assert_eq!((saved.finished, saved.told), (None, false));
    });
}

#[test]
fn a_failing_taker_ends_a_restore() {
    check(|store| {
        let mut changes = none(1);
        changes.state = vec![("count".into(), vec![put(1, "a", "1"), put(2, "b", "1")])];
        store.save(&changes).unwrap();
        let mut taken = 0;
        let take = &mut |_: &[u8], _: &[u8]| {
            taken += 1;
            Err(Error::fatal("no more"))
        };
        assert_eq!(store.restore("count", 0..1024, take).unwrap_err().chain(), "no more");
        assert_eq!(taken, 1);
    });
}
