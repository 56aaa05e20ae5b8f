//! Tests the partitions that prune deletes, and those that it leaves.

use super::*;

#[test]
fn pruning_takes_the_index_along() {
    let store = lake(&[1, 1]);
    index_all(store.as_ref());
    store.put(&format!("{NIGHT}/foreign"), "x".into()).unwrap();
    assert!(prune::prune(store.as_ref(), NIGHT, NOW).unwrap());
    assert_eq!(view::partitions(store.as_ref()).unwrap(), [MORNING]);
    assert_eq!(verified(store.as_ref()).findings, []);
    // A reader that has listed the partition before, or has read a part of it, doesn't take it for
    // empty.
    let error = crate::lake::lineage::trace(store.as_ref(), NIGHT).unwrap_err().chain();
    assert!(error.contains("is gone: \"prune\" deleted it"), "{error}");
}

#[test]
fn prune_may_be_killed_anywhere() {
    let mut rest = posts(&(lake(&[3, 1, 2]) as Shared));
    rest.retain(|found| (6..12).any(|id| *found == post(id)));
    let prune_night = |store: &Shared| {
        settle(store.as_ref(), NOW)?;
        let there = view::partitions(store.as_ref())?.iter().any(|name| name == NIGHT);
        if there { prune::prune(store.as_ref(), NIGHT, NOW).map(drop) } else { Ok(()) }
    };
    kill_everywhere(prune_night, &rest);
}

#[test]
fn what_may_be_written_is_not_pruned() {
    let store = lake(&[1]);
    let all = view::partitions(store.as_ref()).unwrap();
    assert_eq!(prune::stays(store.as_ref(), &all, NIGHT).unwrap(), None);
    let why = prune::stays(store.as_ref(), &all, MORNING).unwrap();
    assert!(why.is_some_and(|why| why.contains("no partition began after it")), "{why:?}");
    let root = tempfile::tempdir().unwrap();
    let place = crate::lake::publish::Place::new(root.path().into(), "run", "lake", 0);
    let staged = place.staging.folder.join(NIGHT);
    std::fs::create_dir_all(&staged).unwrap();
    std::fs::write(staged.join("0000001"), "[").unwrap();
    let local = crate::lake::store::local::LocalStore::new(root.path());
    let why = prune::stays(&local, &all, NIGHT).unwrap();
    assert!(why.is_some_and(|why| why.contains("_staging")), "{why:?}");
    std::fs::remove_dir_all(root.path().join("_staging")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.path().join(NIGHT)).unwrap();
    let why = prune::stays(&local, &all, NIGHT).unwrap();
    assert!(why.is_some_and(|why| why.contains("link")), "{why:?}");
}
