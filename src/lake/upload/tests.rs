//! Tests uploads into a store in memory, whose answers each test decides.

use std::sync::Barrier;

use tempfile::TempDir;

use super::*;
use crate::lake::replaced;
use crate::lake::store::memory::MemoryStore;
use crate::lake::store::watched::{Request, Watched};

const PARTITION: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

/// Makes a store that calls `before` before each put.
fn before_put(before: impl Fn(&str) -> Result<()> + Send + Sync + 'static) -> Arc<Watched> {
    Watched::before(&Arc::default(), move |request| match request {
        Request::Put(key) => before(key),
        _ => Ok(()),
    })
}

/// Makes an outbox with files of these contents, and their promises.
fn outbox(contents: &[&str]) -> (TempDir, Staging, Vec<Promise>) {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::new(&root.path().join("outbox"), "run", "lake", 0);
    fs::create_dir_all(staging.folder.join(PARTITION)).unwrap();
    let promise = |(i, content): (usize, &&str)| {
        let segment = format!("{PARTITION}/{i:07}");
        fs::write(staging.folder.join(&segment), content).unwrap();
        let (length, checksum) = (content.len() as u64, crc32fast::hash(content.as_bytes()));
        Promise { place: "place".into(), segment, length, posts: 1, checksum, closed: true }
    };
    let promises = contents.iter().enumerate().map(promise).collect();
    (root, staging, promises)
}

const CONTENTS: [&str; 3] = ["[{\"a\":1}]", "[{\"a\":2}]", "[{\"a\":3}]"];

fn stored(store: &dyn Store) -> Vec<String> {
    let keys = store.list("", None, usize::MAX).unwrap().into_iter().map(|object| object.key);
    keys.map(|key| String::from_utf8(store.get(&key).unwrap().unwrap().to_vec()).unwrap()).collect()
}

fn left(staging: &Staging) -> usize {
    fs::read_dir(staging.folder.join(PARTITION)).unwrap().count()
}

fn upload(store: &Arc<Watched>, staging: &Staging, promises: &[Promise]) -> Result<()> {
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    Uploader::default().upload(&store, staging, promises)
}

#[test]
fn a_crash_after_any_step_changes_nothing() {
    // Each file is only in the outbox, in both, or only in the store.
    for state in 0..27_usize {
        let (_root, staging, promises) = outbox(&CONTENTS);
        let store = before_put(|_| Ok(()));
        for (i, promise) in promises.iter().enumerate() {
            let step = state / 3_usize.pow(i as u32) % 3;
            if step > 0 {
                store.store.put(&promise.segment, CONTENTS[i].into()).unwrap();
            }
            if step > 1 {
                fs::remove_file(staging.folder.join(&promise.segment)).unwrap();
            }
        }
        for _ in 0..2 {
            upload(&store, &staging, &promises).unwrap();
            assert_eq!(
                (stored(&*store), left(&staging)),
                (CONTENTS.map(String::from).into(), 0),
                "{state}"
            );
        }
    }
}

#[test]
fn an_open_file_is_never_uploaded() {
    let (_root, staging, mut promises) = outbox(&CONTENTS[..2]);
    promises[1].closed = false;
    let store = before_put(|_| Ok(()));
    upload(&store, &staging, &promises).unwrap();
    assert_eq!((stored(&*store), left(&staging)), (vec![CONTENTS[0].into()], 1));
}

#[test]
fn the_object_of_another_writer_is_never_replaced() {
    for other in ["[{\"b\":1}]", "[]", "[{\"a\":1}] and more"] {
        let (_root, staging, promises) = outbox(&CONTENTS[..1]);
        let store = before_put(|_| Ok(()));
        store.store.put(&promises[0].segment, other.to_owned().into()).unwrap();
        for _ in 0..2 {
            let error = upload(&store, &staging, &promises).unwrap_err();
            assert_eq!(error.kind(), Kind::Fatal);
            assert!(error.chain().contains("written by somebody else"), "{error:?}");
            assert_eq!(stored(&*store), [other]);
            // The second time the staged file is gone, too.
            let _ = fs::remove_file(staging.folder.join(&promises[0].segment));
        }
    }
}

#[test]
fn what_was_replaced_since_is_not_uploaded_again_and_the_rest_is() {
    // The first file is still in the outbox; the second was just deleted from it; the third was
    // never uploaded.
    let (_root, staging, promises) = outbox(&CONTENTS);
    fs::remove_file(staging.folder.join(&promises[1].segment)).unwrap();
    let store = before_put(|_| Ok(()));
    let files = ["0000000".to_owned(), "0000001".to_owned()].to_vec();
    let (why, when) = ("erase".into(), time::OffsetDateTime::UNIX_EPOCH);
    let generation = index::Generation {
        partition: PARTITION.into(),
        files,
        posts: 2,
        bytes: 18,
        why,
        when,
        counts: vec![],
        erased: vec![],
        into: None,
        offset: 0,
    };
    replaced::put(store.as_ref(), &generation).unwrap();
    let shared: Arc<dyn Store> = Arc::clone(&store) as _;
    for _ in 0..2 {
        Uploader::default().upload_left(&shared, &staging, &promises).unwrap();
        let there: Vec<_> =
            store.list("2", None, 9).unwrap().into_iter().map(|object| object.key).collect();
        assert_eq!((there, left(&staging)), (vec![promises[2].segment.clone()], 0));
    }
}

#[test]
fn where_an_answer_was_lost_it_is_asked_whether_a_partition_was_replaced() {
    let (_root, staging, promises) = outbox(&CONTENTS[..2]);
    // Fails once for each object: if an object got through, another would be put again at once.
    let lost = Mutex::new(BTreeSet::new());
    let store = before_put(move |key| match lock(&lost).insert(key.to_owned()) {
        true => Err(Error::transient("no answer")),
        false => Ok(()),
    });
    let (shared, uploader): (Arc<dyn Store>, _) = (Arc::clone(&store) as _, Uploader::default());
    uploader.upload(&shared, &staging, &promises).unwrap_err();
    // The object was stored nevertheless, and another process has replaced the partition, twice.
    for files in [["0000000"], ["0000009"]] {
        let (why, when) = ("compact".into(), time::OffsetDateTime::UNIX_EPOCH);
        let files = files.map(str::to_owned).to_vec();
        let generation = index::Generation {
            partition: PARTITION.into(),
            files,
            posts: 1,
            bytes: 9,
            why,
            when,
            counts: vec![],
            erased: vec![],
            into: None,
            offset: 0,
        };
        replaced::put(store.as_ref(), &generation).unwrap();
    }
    uploader.upload(&shared, &staging, &promises).unwrap();
    let there: Vec<_> =
        store.list("2", None, 9).unwrap().into_iter().map(|object| object.key).collect();
    assert_eq!((there, left(&staging)), (vec![promises[1].segment.clone()], 0));
}

/// Compresses a text with gzip at a level.
fn gzipped(text: &str, level: u32) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::new(level));
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_another_version_packed_of_the_same_text_is_ours() {
    let text = format!("[{}]", ["{\"a\":1}"; 100].join(","));
    for (there, is_ours) in
        [(gzipped(&text, 1), true), (gzipped("[{\"b\":1}]", 1), false), (b"half".to_vec(), false)]
    {
        let (_root, staging, mut promises) = outbox(&CONTENTS[..1]);
        let ours = gzipped(&text, 9);
        assert_ne!(ours, there);
        let promise = &mut promises[0];
        fs::remove_file(staging.folder.join(&promise.segment)).unwrap();
        promise.segment += ".json.gz";
        (promise.length, promise.checksum) = (ours.len() as u64, crc32fast::hash(&ours));
        fs::write(staging.folder.join(&promise.segment), ours).unwrap();
        let store = before_put(|_| Ok(()));
        store.store.put(&promises[0].segment, there.clone().into()).unwrap();
        let uploaded = upload(&store, &staging, &promises);
        assert_eq!((uploaded.is_ok(), left(&staging)), (is_ours, usize::from(!is_ours)));
        assert_eq!(store.get(&promises[0].segment).unwrap().unwrap(), there, "what is there stays");
    }
}

#[test]
fn what_is_not_as_promised_or_nowhere_stops() {
    for (change, says) in [
        (Some("[]"), "has 2 bytes, but 9"),
        (Some("[{\"a\":9}]"), "other bytes"),
        (None, "put it back"),
    ] {
        let (_root, staging, promises) = outbox(&CONTENTS[..1]);
        let path = staging.folder.join(&promises[0].segment);
        change.map_or_else(|| fs::remove_file(&path), |content| fs::write(&path, content)).unwrap();
        let store = before_put(|_| Ok(()));
        let error = upload(&store, &staging, &promises).unwrap_err();
        assert_eq!((error.kind(), stored(&*store).len()), (Kind::Fatal, 0));
        assert!(error.chain().contains(says), "{error:?}");
    }
}

#[test]
fn a_retry_leaves_alone_what_was_delivered() {
    let (_root, staging, promises) = outbox(&CONTENTS);
    let failures = Mutex::new(2);
    let counts = Arc::new(Mutex::new((0, 0)));
    let counted = Arc::clone(&counts);
    let store = Watched::before(&Arc::default(), move |request| {
        let (mut left, mut counted) = (lock(&failures), lock(&counted));
        match request {
            Request::Put(key) if key.ends_with('2') && *left > 0 => {
                *left -= 1;
                return Err(Error::transient("busy"));
            }
            Request::Put(_) => counted.0 += 1,
            Request::GetRange(key, _) if !key.starts_with("_index/") => counted.1 += 1,
            _ => {}
        }
        Ok(())
    });
    let (uploader, shared): (_, Arc<dyn Store>) = (Uploader::default(), Arc::clone(&store) as _);
    while let Err(error) = uploader.upload(&shared, &staging, &promises) {
        assert_eq!(error.kind(), Kind::Transient);
    }
    let (puts, files_read) = *lock(&counts);
    assert_eq!((puts, files_read, stored(&*store).len()), (3, 0, 3));
    assert!(lock(&uploader.delivered).is_empty(), "it isn't remembered for longer");
}

#[test]
fn several_go_at_once_and_a_panic_is_an_error() {
    let contents: Vec<String> = (0..UPLOADS_MAX).map(|i| format!("[{i}]")).collect();
    let (_root, staging, promises) =
        outbox(&contents.iter().map(String::as_str).collect::<Vec<_>>());
    let all = Barrier::new(UPLOADS_MAX);
    let store = before_put(move |_| {
        all.wait();
        Ok(())
    });
    upload(&store, &staging, &promises).unwrap();
    let (_root, staging, promises) = outbox(&CONTENTS);
    let store =
        before_put(|key| if key.ends_with('1') { panic!("as the test wants it") } else { Ok(()) });
    assert_eq!(upload(&store, &staging, &promises).unwrap_err().kind(), Kind::Fatal);
}

#[test]
fn a_task_that_ends_waits_for_no_answer() {
    let (_root, staging, promises) = outbox(&CONTENTS);
    let (answer, answers) = crossbeam_channel::bounded::<()>(0);
    let store: Arc<dyn Store> = before_put(move |_| {
        let _ = answers.recv();
        Ok(())
    });
    let uploader = Uploader::default();
    uploader.stop();
    assert_eq!(uploader.upload(&store, &staging, &promises).unwrap_err().kind(), Kind::Transient);
    assert_eq!(left(&staging), 3);
    drop(answer);
}

/// Makes a note on the partition, as `compact` leaves it, that names these files.
fn compacted(files: &[&str]) -> index::Generation {
    index::Generation {
        partition: PARTITION.into(),
        files: files.iter().map(|file| (*file).to_owned()).collect(),
        posts: 1,
        bytes: 9,
        why: "compact".into(),
        when: time::OffsetDateTime::UNIX_EPOCH,
        counts: vec![1],
        erased: vec![],
        into: Some("elsewhere".into()),
        offset: 0,
    }
}

#[test]
fn what_is_replaced_while_an_answer_is_awaited_is_neither_put_twice_nor_missed() {
    for is_there in [false, true] {
        let (_root, staging, promises) = outbox(&CONTENTS[..1]);
        let store = Arc::new(MemoryStore::default());
        if is_there {
            store.put(&promises[0].segment, CONTENTS[0].into()).unwrap();
        }
        // `compact` finishes right before the file is put once more, or right after that, before it
        // is compared.
        let lake = Arc::clone(&store);
        let compact = Arc::new(move |request: &Request<'_>| {
            if let Request::Put(key) = request {
                replaced::put(lake.as_ref(), &compacted(&["0000000"])).unwrap();
                lake.delete(key).unwrap();
            }
            Ok(())
        });
        let shared: Arc<dyn Store> = if is_there {
            Watched::around(&store, |_| Ok(()), move |request| compact(request))
        } else {
            Watched::before(&store, move |request| compact(request))
        };
        Uploader::default().upload_left(&shared, &staging, &promises).unwrap();
        let there = store.list("2", None, 9).unwrap();
        assert_eq!((there, left(&staging)), (vec![], 0), "{is_there}");
    }
}

/// Tests a file that is longer than one answer of the store: the answer to its upload was lost, and
/// it is still compared.
#[test]
fn what_is_there_already_is_compared_range_by_range() {
    const ANSWER_BYTES_MAX: u64 = 5 << 20;
    // Random bytes, which can't be compressed, and the same text compressed by another version of
    // the library.
    let mut random = 7_u64;
    let mut letter = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b'0' + (random >> 33) as u8 % 64
    };
    let text: Vec<u8> = (0..9 << 20).map(|_| letter()).collect();
    let packed = |level: i32| zstd::bulk::compress(&text, level).unwrap();
    let (ours, theirs) = (packed(3), packed(1));
    assert!(ours.len() as u64 > ANSWER_BYTES_MAX && ours != theirs);
    let long = theirs.iter().copied().chain(vec![0; 20 << 20]).collect::<Vec<_>>();
    for (extension, there, is_ours) in [
        ("", &text, true),
        (".json.zst", &ours, true),
        (".json.zst", &theirs, true),
        (".json.zst", &text, false),
        (".json.zst", &long, false),
        ("", &long, false),
    ] {
        let staged = if extension.is_empty() { &text } else { &ours };
        for is_staged in [true, false] {
            let (_root, staging, mut promises) = outbox(&[""]);
            fs::remove_file(staging.folder.join(&promises[0].segment)).unwrap();
            promises[0].segment += extension;
            (promises[0].length, promises[0].checksum) =
                (staged.len() as u64, crc32fast::hash(staged));
            if is_staged {
                fs::write(staging.folder.join(&promises[0].segment), staged).unwrap();
            }
            let lake = Arc::new(MemoryStore::default());
            lake.put(&promises[0].segment, there.clone().into()).unwrap();
            // A server within our limits doesn't return an object that is longer than an answer may
            // be.
            let whole = Arc::clone(&lake);
            let store: Arc<dyn Store> = Watched::before(&lake, move |request| {
                let bytes = match request {
                    Request::Get(key) => whole.length(key)?.unwrap_or_default(),
                    Request::GetRange(_, range) => range.end - range.start,
                    _ => 0,
                };
                let is_long = bytes > ANSWER_BYTES_MAX;
                if is_long { Err(Error::transient("the answer is too long")) } else { Ok(()) }
            });
            let uploaded = Uploader::default().upload(&store, &staging, &promises);
            // Without the staged file it can't be known that another version has compressed the
            // same text.
            let is_found = is_ours && (is_staged || there == staged);
            match uploaded {
                Ok(()) => assert!(is_found, "{extension} {is_staged}"),
                Err(error) => {
                    assert!(
                        !is_found && error.chain().contains("written by somebody else"),
                        "{extension} {error:?}"
                    );
                }
            }
        }
    }
}
