//! Tests of opening spools in many states.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;

fn file(folder: &Path, base: u64) -> File {
    OpenOptions::new().read(true).write(true).open(segment::path(folder, base)).unwrap()
}

/// Makes a closed spool with this number of posts of 100 bytes.
fn spool_of(folder: &Path, posts: usize) -> Vec<u64> {
    let spool = open(folder, 0);
    (0..posts).map(|number| append(&spool, number, 100)).collect()
}

#[test]
fn one_owner_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 0);
    assert!(refused(folder.path(), 0).ends_with("is in use"));
    drop(spool);
    open(folder.path(), 0);
}

#[test]
fn a_torn_tail_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let positions = spool_of(folder.path(), 3);
    let last = file(folder.path(), 0);
    // The mark of the last sync is cut off too, so its posts can't have been synced.
    last.set_len(segment::HEADER_BYTES + positions[2] - 10).unwrap();
    let torn = Torn {
        file: segment::path(folder.path(), 0),
        offset: segment::HEADER_BYTES + positions[1],
        bytes: positions[2] - positions[1] - 10,
        missing: None,
    };
    assert_eq!(verify(folder.path()).unwrap().torn.as_ref(), Some(&torn));
    let (spool, found) = Spool::open(folder.path(), 0, options(SMALL)).unwrap();
    assert_eq!(found, Some(torn));
    assert_eq!(numbers(&read(&mut spool.reader(0))), [0, 1]);
    append(&spool, 2, 50);
    drop(spool);
    assert_eq!(numbers(&read(&mut open(folder.path(), 0).reader(0))), [0, 1, 2]);
}

#[test]
fn damage_before_a_sync_mark_stops_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let positions = spool_of(folder.path(), 3);
    let offset = segment::HEADER_BYTES + positions[0];
    file(folder.path(), 0).write_all_at(b"x", offset + 50).unwrap();
    let error = refused(folder.path(), 0);
    assert!(
        error
            .contains(&format!("00.seg\" is damaged at byte {offset} (position {})", positions[0])),
        "{error}"
    );
    let findings = verify(folder.path()).unwrap();
    assert_eq!((findings.torn, findings.damage[0].offset), (None, offset));
    // A checkpoint behind the damage doesn't need the damaged record.
    let spool = open(folder.path(), positions[1]);
    assert_eq!(numbers(&read(&mut spool.reader(positions[1]))), [2]);
    let mut kept = spool.records_from_oldest(positions[1]);
    assert_eq!(kept.next().unwrap().unwrap().position, positions[0]);
    assert!(kept.next().unwrap().unwrap_err().chain().contains("is damaged"));
    assert_eq!(kept.next().unwrap().unwrap().position, positions[2]);
    assert!(kept.next().is_none());
}

#[test]
fn damage_in_a_segment_that_is_not_the_last_stops() {
    let folder = tempfile::tempdir().unwrap();
    spool_of(folder.path(), 20);
    let first = file(folder.path(), 0);
    first.set_len(first.metadata().unwrap().len() - 1).unwrap();
    assert!(refused(folder.path(), 0).contains("00.seg\" is damaged at byte"));
    first.write_all_at(b"x", 12).unwrap();
    assert!(refused(folder.path(), 0).contains("damaged at byte 0: bad header"));
}

#[test]
fn a_segment_that_is_missing_stops() {
    let folder = tempfile::tempdir().unwrap();
    spool_of(folder.path(), 30);
    let bases = segment::list(folder.path()).unwrap();
    fs::remove_file(segment::path(folder.path(), bases[1])).unwrap();
    assert!(
        refused(folder.path(), 0)
            .ends_with(&format!("position {}, but goes on at {}", bases[1], bases[2]))
    );
    assert_eq!(verify(folder.path()).unwrap().damage.len(), 1);
    fs::remove_file(segment::path(folder.path(), 0)).unwrap();
    assert!(
        refused(folder.path(), 0).ends_with(&format!("position 0, but goes on at {}", bases[2]))
    );
}

#[test]
fn a_segment_that_was_never_finished_being_made_is_removed() {
    for bytes in [0, 1, 20, segment::HEADER_BYTES] {
        let folder = tempfile::tempdir().unwrap();
        let end = spool_of(folder.path(), 3)[2] + 20;
        fs::write(segment::path(folder.path(), end), vec![0; bytes as usize]).unwrap();
        let (spool, torn) = Spool::open(folder.path(), 0, options(SMALL)).unwrap();
        assert_eq!(torn.map_or(0, |torn| torn.bytes), bytes);
        assert_eq!(read(&mut spool.reader(0)).len(), 3);
    }
}

#[test]
fn a_log_that_ends_before_the_checkpoint_goes_on_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let positions = spool_of(folder.path(), 5);
    file(folder.path(), 0).set_len(segment::HEADER_BYTES + positions[1] + 7).unwrap();
    let retain = Options { retain: ByteSize(SMALL / 2), ..options(SMALL) };
    let (spool, torn) = Spool::open(folder.path(), positions[3], retain).unwrap();
    let torn = torn.unwrap();
    assert_eq!(torn.bytes, 7);
    let missing = torn.missing.unwrap();
    assert_eq!((missing.bytes, missing.records), (positions[3] - positions[1], Some(2)));
    let said = torn.to_string();
    assert!(
        said.contains("(about 2 records) before the newest checkpoint")
            && said.ends_with("were cut off"),
        "{said}"
    );
    assert_eq!(spool.end(), positions[3]);
    append(&spool, 9, 10);
    assert_eq!(numbers(&read(&mut spool.reader(positions[3]))), [9]);
    let kept: Vec<Record> =
        spool.records_from_oldest(positions[3]).map(|record| record.unwrap()).collect();
    assert_eq!(numbers(&kept), [0, 1, 9]);
    drop(spool);
    assert!(verify(folder.path()).unwrap().are_none());
    assert_eq!(numbers(&read(&mut open(folder.path(), positions[3]).reader(positions[3]))), [9]);
}

#[test]
fn a_spool_that_is_gone_goes_on_at_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, torn) = Spool::open(folder.path(), 12_345, options(SMALL)).unwrap();
    let torn = torn.unwrap();
    assert_eq!(torn.missing, Some(Missing { is_all: true, bytes: 12_345, records: None }));
    let said = torn.to_string();
    assert!(said.contains("is gone, or empty") && said.contains("12345 bytes"), "{said}");
    append(&spool, 1, 10);
    assert_eq!(numbers(&read(&mut spool.reader(12_345))), [1]);
}

#[test]
fn a_checkpoint_within_a_record_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let positions = spool_of(folder.path(), 2);
    file(folder.path(), 0).set_len(segment::HEADER_BYTES + positions[1]).unwrap();
    assert!(refused(folder.path(), positions[0] + 5).contains("points into a record"));
    assert_eq!(read(&mut open(folder.path(), 0).reader(0)).len(), 2);
}

#[test]
fn more_to_retain_than_the_bound_allows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { retain: ByteSize(SMALL), ..options(SMALL) };
    let error = Spool::open(folder.path(), 0, options).err().unwrap();
    assert_eq!(error.chain(), "expected retain to be at most half of bytes_max (8KiB), found 8KiB");
}
