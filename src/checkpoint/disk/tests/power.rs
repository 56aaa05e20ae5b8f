//! Tests power losses, kills and full disks: a store always has the last complete epoch, or the one
//! that was being saved.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::io::Errno;

use super::fake::Disk;
use crate::checkpoint::tests::conformance::promise;
use crate::checkpoint::tests::contents::{COMPONENTS, Contents, GROUPS, contents, none};
use crate::checkpoint::{Changes, DiskStore, MemoryStore, StateStore};
use crate::epoch::{Cursor, StateChange};
use crate::error::Kind;

const CASES: u64 = 300;

/// The seed of a case, which is printed if the case fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed is {}", self.0);
        }
    }
}

/// Makes enough keys for several pages, so that some are written and others aren't.
fn changes(epoch: u64, random: &mut ChaCha8Rng) -> Changes {
    let mut changes = none(epoch);
    for component in COMPONENTS {
        changes.cursors.insert((component.into(), "0".into()), Cursor::At(epoch.to_string()));
        changes.promises.insert(component.into(), vec![promise(&epoch.to_string())]);
        let mut change = || StateChange {
            key_group: GROUPS[random.random_range(0..GROUPS.len())],
            key: vec![b'k', random.random_range(0..200_u8)],
            value: random.random_bool(0.8).then(|| vec![epoch as u8; 40]),
        };
        changes.state.push((component.into(), (0..60).map(|_| change()).collect()));
    }
    changes
}

/// Saves epochs until the disk fails, or some are saved. Returns the changes of the failed one.
fn save_some(store: &DiskStore, model: &MemoryStore, random: &mut ChaCha8Rng) -> Option<Changes> {
    for _ in 0..random.random_range(1..8) {
        let changes = changes(model.saved().unwrap().epoch + 1, random);
        if store.save(&changes.clone()).is_err() {
            return Some(changes);
        }
        model.save(&changes).unwrap();
    }
    None
}

/// Opens the remaining content of a disk; the power may fail again during that.
fn reopen(mut image: Vec<u8>, random: &mut ChaCha8Rng) -> (Disk, DiskStore) {
    for _ in 0..random.random_range(0..3) {
        let disk = Disk::holding(image);
        disk.fail(Some((random.random_range(0..12), Errno::IO)));
        drop(disk.open());
        image = disk.power_lost(random);
    }
    let disk = Disk::holding(image);
    let store = disk.open().unwrap();
    (disk, store)
}

/// Plays several crashes of one disk.
fn crashes(mut disk: Disk, seed: u64, left: impl Fn(&Disk, &mut ChaCha8Rng) -> Vec<u8>) {
    let _seed = Seed(seed);
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let model = MemoryStore::default();
    let mut store = disk.open().unwrap();
    for _ in 0..3 {
        disk.fail(Some((random.random_range(0..150), Errno::IO)));
        let failed = save_some(&store, &model, random);
        // Nothing is cleaned up: every action of the store when it is dropped fails.
        disk.fail(Some((0, Errno::IO)));
        let image = left(&disk, random);
        drop(store);
        (disk, store) = reopen(image, random);

        let before = contents(&model);
        let found = contents(&store);
        if let Some(changes) = failed {
            model.save(&changes.clone()).unwrap();
            let after = contents(&model);
            assert!(
                found == before || found == after,
                "neither what was complete, nor what was being saved"
            );
            if found != after {
                store.save(&changes).unwrap();
            }
            assert_eq!(contents(&store), after);
        } else {
            assert_eq!(found, before);
        }
    }
}

#[test]
fn a_power_loss_leaves_the_last_epoch_or_the_one_being_saved() {
    (0..CASES).for_each(|seed| crashes(Disk::default(), seed, Disk::power_lost));
}

#[test]
fn a_killed_process_leaves_the_last_epoch_or_the_one_being_saved() {
    (0..CASES / 3).for_each(|seed| crashes(Disk::default(), seed, |disk, _| disk.killed()));
}

/// Ensures that the tests above can fail.
#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let found_out =
        |seed| std::panic::catch_unwind(|| crashes(Disk::lying(), seed, Disk::power_lost)).is_err();
    assert!((0..20).any(found_out));
}

/// Tests a disk that becomes full at every possible point within a save.
#[test]
fn a_full_disk_is_no_room_and_the_same_epoch_is_saved_when_there_is_some() {
    let random = &mut ChaCha8Rng::seed_from_u64(0);
    let (first, second) = (changes(1, random), changes(2, random));
    let model = MemoryStore::default();
    let complete = |changes: &Changes| -> Contents {
        model.save(&changes.clone()).unwrap();
        contents(&model)
    };
    let (before, after) = (complete(&first), complete(&second));
    let mut failed = 0;
    for passing in 0.. {
        let disk = Disk::default();
        let store = disk.open().unwrap();
        store.save(&first.clone()).unwrap();
        disk.fail(Some((passing, Errno::NOSPC)));
        let Err(error) = store.save(&second.clone()) else { break };
        failed += 1;
        assert_eq!(error.kind(), Kind::NoRoom, "{error:?}");
        // Reopening needs free space, too.
        let error = store.save(&second.clone()).unwrap_err();
        assert_eq!(error.kind(), Kind::NoRoom, "{error:?}");
        disk.fail(None);
        let found = contents(&store);
        assert!(found == before || found == after);
        store.save(&second.clone()).unwrap();
        assert_eq!(contents(&store), after);
        assert_eq!(
            store.save(&second.clone()).unwrap_err().kind(),
            Kind::Fatal,
            "it isn't in doubt any more"
        );
    }
    assert!(failed > 5, "a save is more than {failed} writes");
}

#[test]
fn what_is_not_committed_is_gone() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    store.save(&none(1)).unwrap();
    let before = contents(&store);
    let error = store.write(|transaction| {
        super::super::write::save(transaction, &none(2), false)?;
        Err(crate::error::Error::fatal("on second thoughts").into())
    });
    assert_eq!(error.unwrap_err().chain(), "on second thoughts");
    assert_eq!(contents(&store), before);
    drop(store);
    assert_eq!(contents(&disk.open().unwrap()), before);
}
