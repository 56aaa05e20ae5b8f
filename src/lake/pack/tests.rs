//! Tests that a compressed file survives crashes: everything that was promised becomes visible,
//! once.

use std::time::Duration;

use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::clock::ManualClock;
use crate::epoch::{Barrier, MicroBatch};
use crate::lake::form::Format;
use crate::lake::names::Names;
use crate::lake::publish::{Place, Rename};
use crate::lake::recover::recover;
use crate::lake::scan::ObjectReader;
use crate::lake::staging::{Publish, SharedLedger, commit, named};
use crate::lake::store::local::LocalStore;
use crate::lake::view;
use crate::lake::writer::{Start, Writer};

const NOON: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);
const FORMS: [Form; 4] = [
    Form::Text(Format::JsonArray, Compression::Gzip),
    Form::Text(Format::JsonArray, Compression::Zstd),
    Form::Text(Format::Ndjson, Compression::Gzip),
    Form::Text(Format::Ndjson, Compression::Zstd),
];

/// A lake, its only task, and the promises in the newest complete checkpoint.
struct Crashed {
    root: TempDir,
    place: Place,
    promises: Vec<Promise>,
}

fn post(number: u64) -> String {
    format!("{{\"tweet\":{number}}}")
}

impl Crashed {
    /// Makes a task that has promised a closed file of three posts and an open one of two, and was
    /// killed after it had closed the open one with a third post, and begun another; perhaps it had
    /// prepared again.
    fn new(form: Form, prepared_again: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path().into(), "run", "lake", 0);
        let start = Start {
            limits: MicroBatch { posts: 3, bytes: 1 << 20, age: Duration::from_secs(60) },
            boundary: NOON,
            durable: true,
            clock: ManualClock::at(NOON),
            names: Names::Extended,
            form,
        };
        let mut writer = Writer::new(Arc::new(Rename), place.name().unwrap(), start).unwrap();
        let barrier = Barrier { epoch: 1, now: NOON, boundary: NOON, last: false, durable: true };
        (0..5).for_each(|number| writer.write(post(number).as_bytes()).unwrap());
        let promises = writer.prepare(&barrier).unwrap()().unwrap().promises;
        assert_eq!(
            promises.iter().map(|promise| promise.closed).collect::<Vec<_>>(),
            [true, false]
        );
        (5..7).for_each(|number| writer.write(post(number).as_bytes()).unwrap());
        if prepared_again {
            writer.prepare(&barrier).unwrap()().unwrap();
        }
        Self { root, place, promises }
    }

    fn recover(&self) -> Vec<Promise> {
        recover(&self.place.staging, &self.promises).unwrap()
    }

    fn commit(&self, closed: &[Promise]) {
        let own = Place::new(self.root.path().into(), "next-run", "lake", 0);
        commit(&Rename, &own.name().unwrap(), &SharedLedger::default(), closed, true).unwrap();
    }

    /// Checks that the lake holds the promised files, and no other file is left.
    #[track_caller]
    fn check(&self) {
        let (store, mut found) = (LocalStore::new(self.root.path()), Vec::new());
        for partition in view::partitions(&store).unwrap() {
            for (_, key) in view::files(&store, &partition).unwrap() {
                let mut reader = ObjectReader::new(&store, &key);
                while let Some(posts) = reader.next_posts().unwrap() {
                    found
                        .extend(posts.iter().map(|post| String::from_utf8(post.to_vec()).unwrap()));
                }
            }
        }
        assert_eq!(found, (0..5).map(post).collect::<Vec<_>>());
        assert_eq!(
            fs::read_dir(self.root.path()).unwrap().count(),
            1,
            "only the partition is left"
        );
    }
}

#[test]
fn what_was_promised_becomes_visible_and_the_rest_is_cut_off() {
    for (form, prepared_again) in FORMS.into_iter().flat_map(|form| [(form, false), (form, true)]) {
        let crashed = Crashed::new(form, prepared_again);
        let closed = crashed.recover();
        crashed.commit(&closed);
        crashed.check();
        crashed.commit(&closed);
        crashed.check();
    }
}

#[test]
fn a_recovery_that_crashes_is_repeated_with_the_same_bytes() {
    for form in FORMS {
        let crashed = Crashed::new(form, true);
        let first = crashed.recover();
        assert_eq!(crashed.recover(), first, "packed once more");
        crashed.commit(&first);
        // The checkpoint still holds the promise of the open file.
        let again = crashed.recover();
        assert!(
            again[1].closed && again[1].checksum != first[1].checksum,
            "all that is known is the text"
        );
        crashed.commit(&again);
        crashed.check();
    }
}

#[test]
fn a_crash_between_two_steps_of_packing_changes_nothing() {
    for form in FORMS {
        let crashed = Crashed::new(form, false);
        let (segment, _) = named(&crashed.promises[1]).unwrap();
        let (text, packed) =
            (crashed.place.staging.text(&segment), crashed.place.staging.file(&segment));
        assert!(text.exists() && packed.exists(), "it was packed, and not yet synced");
        fs::write(&packed, "half").unwrap();
        let closed = crashed.recover();
        assert!(!text.exists() && packed.exists());
        // The text of an interrupted restore.
        fs::write(text.with_extension("text"), "ha").unwrap();
        assert_eq!(crashed.recover(), closed);
        crashed.commit(&closed);
        crashed.check();
    }
}

#[test]
fn damage_before_the_promised_length_is_named() {
    let crashed = Crashed::new(FORMS[3], true);
    let packed = crashed.place.staging.file(&named(&crashed.promises[1]).unwrap().0);
    let mut bytes = fs::read(&packed).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&packed, bytes).unwrap();
    let error = recover(&crashed.place.staging, &crashed.promises).unwrap_err();
    assert!(error.chain().contains("0000001.ndjson.zst\" is damaged at byte"), "{error:?}");
}

#[test]
fn the_file_of_another_writer_is_never_replaced() {
    let crashed = Crashed::new(FORMS[0], true);
    let closed = crashed.recover();
    crashed.commit(&closed);
    let mut other = Vec::new();
    pack(Compression::Gzip, &mut &b"[{\"tweet\":9}]"[..], 13, &mut other).unwrap();
    fs::write(crashed.root.path().join(&closed[1].segment), other).unwrap();
    let again = crashed.recover();
    let error = Rename.publish(&crashed.place.name().unwrap(), &again, true).unwrap_err();
    assert!(error.chain().contains("written by somebody else"), "{error:?}");
}

/// Compresses the same text as another version of the library would.
fn packed_otherwise(path: &std::path::Path) -> Vec<u8> {
    let mut text = Vec::new();
    unpack_file(Compression::Gzip, path, |piece| {
        text.extend_from_slice(piece);
        Ok(())
    })
    .unwrap();
    let mut encoder = GzBuilder::new().mtime(7).write(Vec::new(), Level::new(1));
    encoder.write_all(&text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_another_version_packed_of_the_same_text_is_ours() {
    let crashed = Crashed::new(FORMS[0], true);
    let closed = crashed.recover();
    let (staged, target) = (
        crashed.place.staging.folder.join(&closed[1].segment),
        crashed.root.path().join(&closed[1].segment),
    );
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    // After a power loss the old name may still exist, and the text is compressed again.
    let other = packed_otherwise(&staged);
    assert_ne!(fs::read(&staged).unwrap(), other);
    fs::write(&target, other).unwrap();
    crashed.commit(&closed);
    crashed.check();
}
