//! Tests that partitions of one time, which restarts leave behind, are joined.

use super::*;

/// Makes a lake as restarts leave it: with several partitions of one time.
fn lake_after_restarts() -> Arc<MemoryStore> {
    let others = [NIGHT.replace("afa5", "0fa5"), NIGHT.replace("afa5", "bfa5")];
    lake_of(&[&others[0], NIGHT, &others[1], MORNING], &[1, 2])
}

#[test]
fn partitions_of_one_time_become_one() {
    let store: Shared = lake_after_restarts();
    let before = posts(&store);
    let mut outcomes = Vec::new();
    let partitions = view::partitions(store.as_ref()).unwrap();
    let report = |outcome: &compact::Outcome| {
        outcomes.push(outcome.clone());
        Ok(())
    };
    compact(&store, &partitions, (1 << 20, None), NOW, report).unwrap();
    let compact::Outcome::Rewritten(joined) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!((joined.also.len(), joined.files_before, joined.files, joined.posts), (2, 6, 1, 9));
    assert_eq!((view::partitions(store.as_ref()).unwrap().len(), posts(&store)), (2, before));
    assert_eq!(verified(store.as_ref()).findings, []);
    let index::Found::Index(index) =
        index::read(store.as_ref(), joined.new.as_ref().unwrap()).unwrap()
    else {
        panic!("an index");
    };
    assert_eq!(index.replaces.iter().map(|old| old.offset).collect::<Vec<_>>(), [0, 3, 6]);
}

#[test]
fn partitions_of_other_forms_are_joined_only_into_a_form_that_is_named() {
    let store: Shared = lake_of(&[&NIGHT.replace("afa5", "0fa5"), NIGHT], &[1]);
    compact(&store, &[NIGHT.into()], (1 << 20, Some(Form::Parquet)), NOW, |_| Ok(())).unwrap();
    compact_all(&store).unwrap();
    assert_eq!(view::partitions(store.as_ref()).unwrap().len(), 2);
    compact_into(&store, Form::Parquet);
    assert_eq!(view::partitions(store.as_ref()).unwrap().len(), 1);
}

#[test]
fn joining_may_be_killed_anywhere() {
    let all = posts(&(lake_after_restarts() as Shared));
    kill_everywhere_in(lake_after_restarts, compact_all, &all);
}

#[test]
fn partitions_are_joined_by_one_process_at_a_time() {
    let store: Shared = lake_after_restarts();
    let (other, new) = (NIGHT.replace("afa5", "0fa5"), NIGHT.replace("afa5", "cfa5"));
    let held = Attempt::begin(store.as_ref(), &[NIGHT], &new, "compact", NOW).unwrap().unwrap();
    assert!(
        Attempt::begin(store.as_ref(), &[&other, NIGHT], &new, "compact", NOW).unwrap().is_none()
    );
    held.undo(store.as_ref(), NOW).unwrap();
    let joined =
        Attempt::begin(store.as_ref(), &[&other, NIGHT], &new, "compact", NOW).unwrap().unwrap();
    assert!(Attempt::begin(store.as_ref(), &[NIGHT], &new, "erase", NOW).unwrap().is_none());
    settle(store.as_ref(), NOW).unwrap();
    assert!(joined.done(store.as_ref(), index::Index::new("x", vec![]), NOW).is_err());
    let again = Attempt::begin(store.as_ref(), &[NIGHT], &new, "erase", NOW).unwrap();
    assert!(again.is_some(), "a follower is let go when its leader is given up");
}
