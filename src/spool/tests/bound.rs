//! Tests of the bound, of trimming, and of waking.

use std::thread;

use futures_util::future::join;

use super::*;

fn append_all(spool: &Spool, posts: usize, bytes: usize) {
    for number in 0..posts {
        append(spool, number, bytes);
    }
}

#[test]
fn a_reader_is_woken_by_an_append_of_the_same_task() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 0);
    let mut reader = spool.reader(0);
    let (batch, _) = run(join(reader.next_batch(), async { append(&spool, 1, 10) }));
    assert_eq!(numbers(&batch.unwrap().unwrap().records), [1]);
}

#[test]
fn a_reader_is_woken_by_another_thread_and_ends_when_it_has_finished() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 0);
    let mut reader = spool.reader(0);
    let writer = spool.clone();
    let thread = thread::spawn(move || {
        append_all(&writer, 50, 50);
        writer.finish();
    });
    let mut found = Vec::new();
    run(async {
        while let Some(batch) = reader.next_batch().await.unwrap() {
            found.extend(numbers(&batch.records));
        }
    });
    thread.join().unwrap();
    assert_eq!(found, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_thread_waits_at_the_bound_until_the_log_is_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 0);
    let mut reader = spool.reader(0);
    let writer = spool.clone();
    let thread = thread::spawn(move || append_all(&writer, 200, 300));
    let mut found = Vec::new();
    while found.len() < 200 {
        let batch = run(reader.next_batch()).unwrap().unwrap();
        found.extend(numbers(&batch.records));
        assert!(spool.bytes() <= SMALL);
        spool.trim(batch.position).unwrap();
    }
    thread.join().unwrap();
    assert_eq!(found, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_task_waits_at_the_bound_until_the_log_is_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 0);
    let mut reader = spool.reader(0);
    let source = async {
        for number in 0..200 {
            let _ = spool
                .append_async(number.to_string().as_bytes(), &post(number, 300))
                .await
                .unwrap();
        }
        spool.finish();
    };
    let spout = async {
        let mut found = Vec::new();
        while let Some(batch) = reader.next_batch().await.unwrap() {
            found.extend(numbers(&batch.records));
            spool.trim(batch.position).unwrap();
        }
        found
    };
    assert_eq!(run(join(source, spout)).1, (0..200).collect::<Vec<_>>());
}

#[test]
fn what_is_dropped_at_the_bound_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { on_full: OnFull::Drop, ..options(SMALL) };
    let (spool, _) = Spool::open(folder.path(), 0, options).unwrap();
    let kept = (0..100)
        .filter(|number| spool.append(b"1", &post(*number, 300)).unwrap() != Appended::Dropped)
        .count();
    assert_eq!(kept, 26);
    assert_eq!(spool.dropped(), 74);
    assert_eq!(read(&mut spool.reader(0)).len(), kept);
    spool.trim(spool.end()).unwrap();
    append(&spool, 1, 300);
}

#[test]
fn closing_tells_who_waits_for_room() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 0);
    let fill = || async {
        let mut count = 0;
        while let Appended::At(_) = spool.append_async(b"1", &post(1, 300)).await.unwrap() {
            count += 1;
        }
        count
    };
    assert_eq!(run(join(fill(), async { spool.close().unwrap() })).0, 26);
    assert_eq!(spool.append(b"1", b"a").unwrap(), Appended::Closed);
    // A clone still exists, but the spool can be opened again.
    open(folder.path(), 0);
}

#[test]
fn trimming_deletes_whole_segments_but_what_is_retained() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) =
        Spool::open(folder.path(), 0, Options { retain: ByteSize(2000), ..options(SMALL) })
            .unwrap();
    let positions: Vec<u64> = (0..24).map(|number| append(&spool, number, 300)).collect();
    spool.trim(positions[20]).unwrap();
    let kept: Vec<Record> =
        spool.records_from_oldest(positions[20]).map(|record| record.unwrap()).collect();
    let oldest = numbers(&kept)[0];
    assert_eq!(numbers(&kept), (oldest..24).collect::<Vec<_>>());
    let retained = positions[20] - positions[oldest];
    assert!((1600..3100).contains(&retained), "{retained}");
    assert_eq!(numbers(&read(&mut spool.reader(positions[20]))), [21, 22, 23]);
}

#[test]
fn a_post_that_never_fits_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path(), 0);
    assert_eq!(
        spool.append(b"1", &post(1, 1024)).unwrap_err().kind(),
        crate::error::Kind::Rejected
    );
    assert_eq!(
        spool.append(&post(1, 1 << 16), b"").unwrap_err().kind(),
        crate::error::Kind::Rejected
    );
    assert_eq!(spool.end(), 0);
    append(&spool, 1, 900);
}

#[test]
fn a_batch_is_bounded_and_a_large_post_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let (spool, _) = Spool::open(folder.path(), 0, options(64 << 20)).unwrap();
    append_all(&spool, 2500, 10);
    append(&spool, 2500, 5 << 20);
    append(&spool, 2501, 5 << 20);
    let mut reader = spool.reader(0);
    let mut next = || run(reader.next_batch()).unwrap().unwrap().records.len();
    assert_eq!([next(), next(), next(), next(), next()], [1000, 1000, 500, 1, 1]);
}
