//! Tests a file that another program has overwritten in part.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fake::Disk;
use crate::checkpoint::StateStore;
use crate::checkpoint::tests::contents::{contents, none, put};
use crate::error::Kind;

/// Returns the file of a state of two epochs, which was closed or not.
fn image(closed: bool) -> Vec<u8> {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    for epoch in 1..3 {
        let mut changes = none(epoch);
        let keys = (0..300).map(|key| put(1, &format!("key{key}"), &format!("{epoch}")));
        changes.state = vec![("count".into(), keys.collect())];
        store.save(&changes).unwrap();
    }
    if closed {
        drop(store);
        return disk.killed();
    }
    disk.killed()
}

/// Checks that a damaged file is refused, or (if the damage is in an unused page) has the same
/// content; never an older one.
fn check(damage: impl Fn(&mut Vec<u8>, &mut ChaCha8Rng)) {
    let images = [image(false), image(true)];
    let expected = contents(&Disk::holding(images[1].clone()).open().unwrap());
    let mut refused = 0;
    for seed in 0..200 {
        let mut image = images[seed as usize % 2].clone();
        damage(&mut image, &mut ChaCha8Rng::seed_from_u64(seed));
        match Disk::holding(image).open() {
            Ok(store) => assert_eq!(contents(&store), expected, "seed {seed}"),
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), Kind::Fatal, "seed {seed}: {error:?}");
                assert!(
                    error.chain().contains("\"fake\" is damaged (--fresh begins without it): "),
                    "{error:?}"
                );
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_byte_that_was_changed_is_never_taken_for_an_older_epoch() {
    check(|image, random| {
        let at = random.random_range(0..image.len());
        image[at] ^= random.random_range(1..=255_u8);
    });
}

#[test]
fn a_page_that_was_overwritten_is_never_taken_for_an_older_epoch() {
    check(|image, random| {
        let pages = image.len() / 4096;
        let at = random.random_range(0..pages) * 4096;
        image[at..at + 4096].fill(random.random());
    });
}

#[test]
fn a_file_that_was_cut_is_refused() {
    check(|image, random| image.truncate(random.random_range(1..image.len())));
}
