//! Tests of the outbox: after any crash, segments are whole.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::clock::ManualClock;
use crate::epoch::MicroBatch;
use crate::tuple::Fields;
use crate::value::Value;
use crate::value::tests::any_value;

const NOON: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);

fn context(state: &Path, run: &str) -> SinkContext {
    SinkContext {
        component: "rows".into(),
        task: 0,
        run: run.into(),
        inputs: vec![Fields::new(["a", "b"])],
        micro_batch: MicroBatch { posts: 10, bytes: 300, age: Duration::from_secs(60) },
        boundary: NOON,
        durable: true,
        state: state.to_path_buf(),
        clock: ManualClock::at(NOON),
    }
}

fn open(state: &Path, run: &str, bytes_max: u64, on_full: OnFull) -> Outbox {
    Outbox::open(&context(state, run), OutboxBound { bytes_max, on_full }).unwrap()
}

fn barrier(epoch: u64) -> Barrier {
    Barrier { epoch, now: NOON, boundary: NOON, last: false, durable: true }
}

/// Ends an epoch, and returns its promises.
fn promised(outbox: &mut Outbox, epoch: u64) -> Vec<Promise> {
    outbox.prepare(&barrier(epoch)).unwrap()().unwrap().promises
}

fn write(outbox: &mut Outbox, values: &[Value]) {
    outbox.write(Tuple::new(values, 0)).unwrap();
}

fn all_rows(outbox: &Outbox, promises: &[Promise]) -> Vec<Vec<Value>> {
    let reader = outbox.reader(promises);
    let mut all = Vec::new();
    for promise in promises {
        all.extend(reader.rows(promise).unwrap().into_iter().map(|row| row.values));
    }
    all
}

/// Returns the names of all files below the outbox, sorted.
fn files(state: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![state.join(OUTBOX)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                found.push(path.file_name().unwrap().to_owned())
            }
        }
    }
    found.sort();
    found.into_iter().map(|name| name.into_string().unwrap()).collect()
}

proptest! {
    #[test]
    fn tuples_come_out_as_they_went_in(
        epochs in prop::collection::vec(prop::collection::vec(prop::collection::vec(any_value(), 0..4), 0..6), 1..5)
    ) {
        let state = tempfile::tempdir().unwrap();
        let mut outbox = open(state.path(), "run", u64::MAX, OnFull::Pause);
        let mut promises = Vec::new();
        for (epoch, tuples) in epochs.iter().enumerate() {
            for (input, values) in tuples.iter().enumerate() {
                outbox.write(Tuple::new(values, input)).unwrap();
            }
            promises.extend(promised(&mut outbox, epoch as u64 + 1));
        }
        let names: BTreeSet<_> = promises.iter().map(|promise| &promise.segment).collect();
        prop_assert_eq!(names.len(), promises.len(), "no name comes twice");
        prop_assert_eq!(all_rows(&outbox, &promises), epochs.concat());
        for rows in promises.iter().map(|promise| outbox.reader(&[]).rows(promise).unwrap()) {
            prop_assert!(rows.len() == 1 || rows.iter().all(|row| row.input < 6));
        }
    }
}

#[test]
fn what_no_checkpoint_promises_is_deleted_and_the_rest_is_delivered_by_any_task() {
    let state = tempfile::tempdir().unwrap();
    let mut first = open(state.path(), "first", u64::MAX, OnFull::Pause);
    let place = place(&context(state.path(), "first")).unwrap();
    write(&mut first, &[Value::Int(1), "kept".into()]);
    let kept = promised(&mut first, 1);
    write(&mut first, &[Value::Int(2), "of an epoch that never was complete".into()]);
    promised(&mut first, 2);
    drop(first);
    assert_eq!(files(state.path()).len(), 2);
    for _ in 0..2 {
        assert_eq!(recover(&place, &kept).unwrap(), kept, "it can be repeated");
        assert_eq!(files(state.path()), ["0000000"]);
    }
    let second = open(state.path(), "second", u64::MAX, OnFull::Pause);
    assert_eq!(all_rows(&second, &kept), [[Value::Int(1), "kept".into()]]);
    assert_eq!(recover(&place, &[]).unwrap(), []);
    drop(second);
    assert_eq!(
        fs::read_dir(state.path().join(OUTBOX)).unwrap().count(),
        0,
        "no empty folder stays"
    );
}

#[test]
fn a_forgotten_segment_is_deleted_and_others_stay() {
    let state = tempfile::tempdir().unwrap();
    let mut outbox = open(state.path(), "run", u64::MAX, OnFull::Pause);
    let mut promises = Vec::new();
    for epoch in 1..=3 {
        write(&mut outbox, &[Value::Int(epoch), Value::Null]);
        promises.extend(promised(&mut outbox, epoch.unsigned_abs()));
    }
    let gone = vec![promises[0].segment.clone(), "other/rows-0/0000002".into()];
    let mut job = outbox.forgotten(gone);
    job().unwrap();
    job().unwrap();
    assert_eq!(files(state.path()), ["0000001", "0000002"]);
}

#[test]
fn a_large_epoch_is_several_segments_and_a_commit_gathers_what_fits() {
    let state = tempfile::tempdir().unwrap();
    let mut outbox = open(state.path(), "run", u64::MAX, OnFull::Pause);
    for number in 0..10 {
        write(&mut outbox, &[Value::Int(number), "x".repeat(100).into()]);
    }
    let mut promises = promised(&mut outbox, 1);
    assert_eq!(promises.iter().map(|promise| promise.posts).collect::<Vec<_>>(), [2; 5]);
    let reader = outbox.reader(&promises);
    assert_eq!(reader.gather(&promises).len(), 5);
    promises[1].length = GATHERED_BYTES_MAX;
    assert_eq!(reader.gather(&promises).len(), 1);
    assert_eq!(reader.gather(&promises[1..]).len(), 1, "one is always taken");
    assert_eq!(reader.gather(&[]).len(), 0);
}

#[test]
fn beyond_its_bound_an_outbox_drops_and_counts_until_something_is_delivered() {
    let state = tempfile::tempdir().unwrap();
    let mut outbox = open(state.path(), "run", 300, OnFull::Drop);
    let row = |number| [Value::Int(number), Value::from("x".repeat(100))];
    for number in 0..5 {
        write(&mut outbox, &row(number));
    }
    assert_eq!(outbox.dropped(), 3);
    let promises = promised(&mut outbox, 1);
    write(&mut outbox, &row(5));
    assert_eq!(outbox.dropped(), 4, "what is promised still lies here");
    let reader = outbox.reader(&promises);
    promises.iter().for_each(|promise| reader.delivered(promise));
    write(&mut outbox, &row(6));
    assert_eq!(outbox.dropped(), 4);
    let promises = promised(&mut outbox, 2);
    assert_eq!(all_rows(&outbox, &promises), [row(6)]);
}

#[test]
fn a_damaged_or_missing_segment_is_named_and_never_read_as_something_else() {
    let state = tempfile::tempdir().unwrap();
    let mut outbox = open(state.path(), "run", u64::MAX, OnFull::Pause);
    write(&mut outbox, &[Value::Int(1), "text".into()]);
    let promise = promised(&mut outbox, 1).remove(0);
    let path = OutboxPlace::parse(&promise.place).unwrap().file(&promise.segment).unwrap();
    let whole = fs::read(&path).unwrap();
    let reader = outbox.reader(&[]);
    let why = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        reader.rows(&promise).unwrap_err().chain()
    };
    assert!(why(&whole[1..]).contains("expected 16 bytes, found 15"), "{}", why(&whole[1..]));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert!(why(&damaged).contains("its checksum differs"));
    }
    fs::remove_file(&path).unwrap();
    assert!(
        reader
            .rows(&promise)
            .unwrap_err()
            .chain()
            .contains("is gone, but 1 rows of it were promised")
    );
}

#[test]
fn a_place_leads_nowhere_but_into_an_outbox() {
    let bad = [
        "",
        "{}",
        r#"{"rows":"outbox/a/b"}"#,
        r#"{"rows":"/etc/a/b"}"#,
        r#"{"rows":"/a/outbox/r/t","to":1}"#,
    ];
    for place in bad {
        assert!(!discard(place).unwrap(), "{place}");
        assert!(
            recover(place, &[]).unwrap_err().chain().contains("expected the outbox of a sink"),
            "{place}"
        );
    }
    let place = OutboxPlace { rows: "/a/outbox/r/t".into() };
    for segment in ["", "r/t/", "r/t/..", "r/t/0000000x"] {
        assert!(place.file(segment).is_err(), "{segment}");
    }
}
