//! Tests the folder of a state.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::checkpoint::disk::Look;
use crate::checkpoint::tests::contents::none;
use crate::checkpoint::{DiskStore, Started, StateStore};
use crate::error::{Error, Kind};

fn error<T>(result: Result<T, Error>) -> String {
    result.err().unwrap().chain()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_state_in_use_is_refused_to_everybody_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(folder.path()).unwrap();
    let expected = format!("is in use by process {}; stop that first", std::process::id());
    assert!(error(DiskStore::open(folder.path())).contains(&expected));
    assert!(error(DiskStore::fresh(folder.path())).contains(&expected));
    assert!(error(DiskStore::remove(folder.path())).contains(&expected));
    assert!(
        matches!(DiskStore::look(folder.path()), Ok(Look::InUse(Some(pid))) if pid == std::process::id())
    );
    store.save(&none(1)).unwrap();
}

#[test]
fn a_state_is_for_its_owner_alone_and_nothing_else_is_closed() {
    let mode = |folder: &Path| folder.metadata().unwrap().permissions().mode() & 0o777;
    let open =
        |folder: &Path| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let root = tempfile::tempdir().unwrap();
    open(root.path());
    let folder = root.path().join("a/b");
    drop(DiskStore::open(&folder).unwrap());
    assert_eq!(
        (mode(&folder), mode(&root.path().join("a")), mode(root.path())),
        (0o700, 0o700, 0o755)
    );
    open(&folder);
    drop(DiskStore::open(&folder).unwrap());
    assert_eq!(mode(&folder), 0o700, "as an earlier version made it");
    open(&folder);
    fs::write(folder.join("thesis.txt"), "mine").unwrap();
    drop(DiskStore::open(&folder).unwrap());
    assert_eq!(mode(&folder), 0o755, "there is something else in it");
}

#[test]
fn a_state_that_is_deleted_while_it_is_used_saves_nothing_more() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("state");
    let store = DiskStore::open(&folder).unwrap();
    store.save(&none(1)).unwrap();
    store.check().unwrap();
    fs::rename(&folder, root.path().join("elsewhere")).unwrap();
    let expected = "was deleted, moved or replaced while this process used it";
    assert!(error(store.check()).contains(expected));
    assert!(error(store.save(&none(2))).contains(expected));
    drop(DiskStore::open(&folder).unwrap());
    assert!(error(store.save(&none(2))).contains(expected), "another one is in its place");
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(root.path().join("elsewhere"), &folder).unwrap();
    store.save(&none(2)).unwrap();
    fs::remove_file(folder.join("lock")).unwrap();
    assert!(error(store.save(&none(3))).contains(expected), "nothing keeps others out any more");
}

#[test]
fn a_look_at_a_state_keeps_nobody_from_using_it() {
    let folder = tempfile::tempdir().unwrap();
    drop(DiskStore::open(folder.path()).unwrap());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    DiskStore::look(folder.path()).unwrap();
                }
            });
        }
        for epoch in 1..20 {
            let opened = DiskStore::open(folder.path()).map(|store| store.save(&none(epoch)));
            if opened.is_err() || epoch == 19 {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            opened.unwrap().unwrap();
        }
    });
}

#[test]
fn an_unused_state_is_told_from_one_that_somebody_could_miss() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("state");
    let store = DiskStore::open(&folder).unwrap();
    fs::create_dir_all(folder.join("spool/in")).unwrap();
    assert!(store.is_unused().unwrap());
    for part in ["spool/in/0", "gaps"] {
        fs::write(folder.join(part), "x").unwrap();
        assert!(!store.is_unused().unwrap(), "{part}");
        fs::remove_file(folder.join(part)).unwrap();
    }
    store.save(&none(1)).unwrap();
    assert!(!store.is_unused().unwrap());
    store.discard().unwrap();
    assert!(!folder.exists());
}

#[test]
fn a_new_state_is_small() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("a/b");
    DiskStore::open(&folder).unwrap().save(&none(1)).unwrap();
    assert_eq!(names(&folder), ["checkpoint.redb", "lock"]);
    let bytes = folder.join("checkpoint.redb").metadata().unwrap().len();
    assert!(bytes <= 2 << 20, "{bytes} bytes");
}

#[test]
fn what_a_power_loss_left_of_a_new_database_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("checkpoint.new"), "half of it").unwrap();
    assert_eq!(DiskStore::open(folder.path()).unwrap().saved().unwrap().epoch, 0);
    assert_eq!(names(folder.path()), ["checkpoint.redb", "lock"]);
}

#[test]
fn a_file_that_is_no_database_is_named_and_kept() {
    for content in ["", "no database", &"x".repeat(1 << 20)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.redb");
        fs::write(&path, content).unwrap();
        let refused = DiskStore::open(folder.path()).err().unwrap();
        let expected =
            format!("the state \"{}\" is damaged (--fresh begins without it): ", path.display());
        assert!(refused.chain().starts_with(&expected), "{refused:?}");
        assert_eq!(refused.kind(), Kind::Fatal);
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(DiskStore::fresh(folder.path()).unwrap().saved().unwrap().epoch, 0);
    }
}

#[test]
fn to_begin_anew_keeps_dead_letters_and_gaps_only() {
    let folder = tempfile::tempdir().unwrap();
    DiskStore::open(folder.path()).unwrap().save(&none(1)).unwrap();
    for part in ["spool", "_dead", "outbox", "gaps"] {
        fs::create_dir(folder.path().join(part)).unwrap();
        fs::write(folder.path().join(part).join("0000000"), "[]").unwrap();
    }
    assert_eq!(DiskStore::fresh(folder.path()).unwrap().saved().unwrap().epoch, 0);
    assert_eq!(names(folder.path()), ["_dead", "checkpoint.redb", "gaps", "lock"]);
}

#[test]
fn a_state_is_removed_with_its_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("state");
    drop(DiskStore::open(&folder).unwrap());
    fs::create_dir_all(folder.join("spool/0")).unwrap();
    let removed = DiskStore::remove(&folder).unwrap();
    assert_eq!(removed, ["checkpoint.redb", "spool", "lock"].map(|part| folder.join(part)));
    assert!(!folder.exists());
}

#[test]
fn nothing_else_is_ever_removed() {
    let root = tempfile::tempdir().unwrap();
    let expected = format!("\"{}\" isn't the state of a topology", root.path().display());
    for part in ["thesis.txt", "lock"] {
        fs::write(root.path().join(part), "mine").unwrap();
        assert_eq!(error(DiskStore::remove(root.path())), expected);
    }
    // A state within a user's folder: other files stay, even behind a link.
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("post"), "mine").unwrap();
    std::os::unix::fs::symlink(other.path(), root.path().join("outbox")).unwrap();
    drop(DiskStore::open(root.path()).unwrap());
    DiskStore::remove(root.path()).unwrap();
    assert_eq!(names(root.path()), ["thesis.txt"]);
    assert_eq!(names(other.path()), ["post"]);
}

#[test]
fn a_look_tells_what_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(folder.path()).unwrap();
    store.start(&Started { about: "/x/y.ron".into(), ..Started::default() }).unwrap();
    store.save(&none(7)).unwrap();
    let expected = store.saved().unwrap();
    drop(store);
    let Ok(Look::Free(saved)) = DiskStore::look(folder.path()) else { panic!("nobody uses it") };
    assert_eq!(*saved, expected);
    assert_eq!((saved.epoch, saved.about.as_str()), (7, "/x/y.ron"));
}
