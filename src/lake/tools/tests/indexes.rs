//! Tests the tools with an index, without one, and with a damaged one.

use super::*;

#[test]
fn listing_needs_no_index_but_for_the_posts() {
    let store = lake(&[2, 1]);
    let names = view::partitions(store.as_ref()).unwrap();
    let lines = ls::ls(store.as_ref(), &names).unwrap();
    assert_eq!((lines[0].micro_batches, lines[0].posts), (2, None));
    index_all(store.as_ref());
    let with = ls::ls(store.as_ref(), &names).unwrap();
    assert_eq!((with[0].micro_batches, with[0].posts, with[0].bytes), (2, Some(3), lines[0].bytes));
    assert_eq!(with[0].last, Some(datetime!(2015-12-18 00:00:02 UTC)));
}

#[test]
fn without_an_index_a_gap_and_a_torn_file_are_found_and_the_rest_is_said() {
    let store = lake(&[1, 1, 1]);
    store.delete(&format!("{NIGHT}/0000001")).unwrap();
    store.replace(&format!("{MORNING}/0000002"), "[{\"a\":1}".into()).unwrap();
    store.replace(&format!("{MORNING}/0000000"), "[{\"a\":1},\n{\"a\":1}]".into()).unwrap();
    store.put("notes.txt", "x".into()).unwrap();
    let report = verified(store.as_ref());
    assert_eq!(report.findings.len(), 4, "{:?}", report.findings);
    assert!(named(&report.findings, &format!("{NIGHT}/0000001"), &[What::Missing]));
    assert!(named(&report.findings, &format!("{MORNING}/0000002"), &[What::Torn]));
    assert!(named(&report.findings, &format!("{MORNING}/0000000"), &[What::Altered]));
    assert!(named(&report.findings, "notes.txt", &[What::Extra]));
    assert!(report.notes[0].contains("2 of 2 partitions have no index"), "{:?}", report.notes);
    let mut report = report;
    require_index(store.as_ref(), &view::partitions(store.as_ref()).unwrap(), &mut report).unwrap();
    assert!(named(&report.findings, &index::key(NIGHT), &[What::Missing]), "{:?}", report.findings);
    assert!(named(&report.findings, &index::key(MORNING), &[What::Missing]));
}

#[test]
fn a_file_that_the_index_does_not_name_is_read_as_well() {
    let store = lake(&[1, 2]);
    index_all(store.as_ref());
    let before = verified(store.as_ref());
    let (good, torn) = (format!("{NIGHT}/0000002"), format!("{MORNING}/0000002"));
    store.put(&good, format!("[{},{}]", post(90), post(91)).into()).unwrap();
    store.put(&torn, format!("[{},{}", post(92), &post(93)[..9]).into()).unwrap();
    let report = verified(store.as_ref());
    assert_eq!((report.micro_batches, report.posts), (before.micro_batches + 2, before.posts + 2));
    assert!(report.bytes > before.bytes);
    assert_eq!(report.findings.len(), 3, "{:?}", report.findings);
    assert!(named(&report.findings, &good, &[What::Extra]));
    assert!(
        named(&report.findings, &torn, &[What::Extra])
            && named(&report.findings, &torn, &[What::Torn])
    );
}

#[test]
fn an_index_that_is_damaged_or_left_behind_is_named() {
    let store = lake(&[1]);
    index_all(store.as_ref());
    store.replace(&index::key(NIGHT), "{".into()).unwrap();
    store.delete(&format!("{MORNING}/0000000")).unwrap();
    let findings = verified(store.as_ref()).findings;
    assert!(named(&findings, &index::key(NIGHT), &[What::Index]));
    assert!(named(&findings, MORNING, &[What::Missing]), "{findings:?}");
}
