//! Tests the tools while other processes work on the same lake.

use std::fs;
use std::sync::{Arc, Mutex};

use time::macros::datetime;

use super::compact::{Outcome, compact};
use super::erase::{Ids, Scope, erase};
use super::rewrite::{Rewrite, rewrite};
use super::*;
use crate::epoch::Promise;
use crate::lake::form::Form;
use crate::lake::index;
use crate::lake::journal::Attempt;
use crate::lake::publish::{Place, Rename};
use crate::lake::recover::recover;
use crate::lake::staging::{Publish, SharedLedger, commit};
use crate::lake::store::local::LocalStore;
use crate::lake::store::memory::MemoryStore;
use crate::lake::store::watched::{Request, Watched};
use crate::lake::store::{Store, list_all};
use crate::lake::view;

const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
const NOW: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);

type Shared = Arc<dyn Store>;

/// The work that another process does once, right before a request.
type Meanwhile = Box<dyn FnOnce(&Shared) + Send>;

/// Makes a store in which another process does its work right before a key is listed for the n-th
/// time.
fn busy_at(store: &Arc<MemoryStore>, (key, times): (&str, usize), meanwhile: Meanwhile) -> Shared {
    let (key, left) = (key.to_owned(), Mutex::new((times, Some(meanwhile))));
    let lake: Shared = Arc::clone(store) as _;
    Watched::before(store, move |request| {
        if *request != Request::List(&key) {
            return Ok(());
        }
        let mut left = left.lock().unwrap();
        left.0 = left.0.saturating_sub(1);
        if left.0 == 0
            && let Some(meanwhile) = left.1.take()
        {
            drop(left);
            meanwhile(&lake);
        }
        Ok(())
    })
}

fn lake() -> Arc<MemoryStore> {
    let store = MemoryStore::default();
    let post = |id| format!("{{\"tweet\":{{\"id\":\"{id}\"}}}}");
    store.put(&format!("{NIGHT}/0000000"), format!("[{},{}]", post(1), post(2)).into()).unwrap();
    let delete = "{\"delete\":{\"kind\":\"tweet\",\"id\":\"1\"}}";
    store.put(&format!("{NIGHT}/0000001"), format!("[{},{delete}]", post(3)).into()).unwrap();
    Arc::new(store)
}

/// Returns the text of all posts that readers see.
fn text(store: &dyn Store) -> String {
    let partitions = view::partitions(store).unwrap();
    let keys = partitions.iter().flat_map(|name| view::files(store, name).unwrap());
    keys.map(|(_, key)| String::from_utf8(store.get(&key).unwrap().unwrap().to_vec()).unwrap())
        .collect()
}

fn compact_all(store: &Shared) -> Vec<Outcome> {
    let (partitions, mut outcomes) = (view::partitions(store.as_ref()).unwrap(), Vec::new());
    let report = |outcome: &Outcome| {
        outcomes.push(outcome.clone());
        Ok(())
    };
    compact(store, &partitions, (1 << 20, None), NOW, report).unwrap();
    outcomes
}

#[test]
fn an_index_that_lacks_files_doubles_none_of_their_posts() {
    for erases in [false, true] {
        let store = lake();
        index::write(store.as_ref(), &index::build(store.as_ref(), NIGHT).unwrap()).unwrap();
        store.put(&format!("{NIGHT}/0000002"), "[{\"tweet\":{\"id\":\"4\"}}]".into()).unwrap();
        let shared: Shared = Arc::clone(&store) as _;
        if erases {
            let scope = Scope { glob: "*".parse().unwrap(), closed_before: Some(NOW) };
            assert_eq!(
                erase(&shared, &scope, &Ids::parse("tweet 4").unwrap(), NOW).unwrap().posts_erased,
                1
            );
        } else {
            compact_all(&shared);
        }
        let text = text(store.as_ref());
        let times = ["\"2\"", "\"3\"", "\"4\""].map(|id| text.matches(id).count());
        assert_eq!(times, [1, 1, usize::from(!erases)], "{text}");
        let known = store.get(&format!("_index/replaced/{NIGHT}.json")).unwrap().unwrap();
        assert!(
            String::from_utf8_lossy(&known).contains("0000002"),
            "its writer learns of all of them"
        );
    }
}

fn compacted() -> Meanwhile {
    Box::new(|store| drop(compact_all(store)))
}

#[test]
fn what_is_compacted_while_posts_are_erased_is_not_passed_over() {
    let folder = format!("{NIGHT}/");
    for (glob, times) in
        ["*", NIGHT].into_iter().flat_map(|glob| (1..8).map(move |times| (glob, times)))
    {
        let store = lake();
        let busy = busy_at(&store, (&folder, times), compacted());
        let scope = Scope { glob: glob.parse().unwrap(), closed_before: Some(NOW) };
        let erased = erase(&busy, &scope, &Ids::parse("tweet 1").unwrap(), NOW);
        let text = text(store.as_ref());
        assert!(["\"2\"", "\"3\""].iter().all(|id| text.contains(id)), "{times}: {text}");
        // The erase may report that another process is working on it, or do the work.
        let record = list_all(store.as_ref(), "_index/erased/").unwrap().remove(0);
        let record = String::from_utf8(store.get(&record.key).unwrap().unwrap().to_vec()).unwrap();
        assert_eq!(record.contains("\"finished\":true"), erased.is_ok());
        if let Ok(erased) = erased {
            assert_eq!((erased.posts_erased, erased.partitions.len()), (1, 1), "{glob} {times}");
            assert!(!text.contains("tweet\":{\"id\":\"1\""), "{glob} {times}: {text}");
        }
    }
}

#[test]
fn deletes_that_are_compacted_meanwhile_are_found() {
    let folder = format!("{NIGHT}/");
    for times in 1..3 {
        let busy = busy_at(&lake(), (&folder, times), compacted());
        assert_eq!(Ids::from_deletes(&busy).unwrap().len(), 1, "{times}");
    }
}

#[test]
fn a_partition_that_was_replaced_is_not_rewritten_into_nothing() {
    let store: Shared = lake();
    compact_all(&store);
    let before = text(store.as_ref());
    let how = Rewrite { why: "erase", bytes_max: 1 << 20, form: None, keep: &|_| true, now: NOW };
    assert_eq!(rewrite(&store, NIGHT, &how).unwrap(), None);
    assert_eq!(text(store.as_ref()), before);
}

#[test]
fn what_compact_passes_over_is_named() {
    let store = lake();
    let other: Meanwhile = Box::new(|store| {
        Attempt::begin(store.as_ref(), &[NIGHT], &NIGHT.replace("afa5", "bbbb"), "compact", NOW)
            .unwrap()
            .unwrap();
    });
    let busy = busy_at(&store, (&format!("{NIGHT}/"), 1), other);
    assert_eq!(compact_all(&busy), [Outcome::Busy { busy: NIGHT.into() }]);
    assert_eq!(list_all(store.as_ref(), "2015").unwrap().len(), 2);
}

/// Makes a lake in a folder whose writer was killed after it had published two files. Then another
/// process works on it. The writer comes back, with or without the files as it staged them.
fn away_meanwhile(meanwhile: impl Fn(&Shared)) -> Vec<String> {
    let mut found = Vec::new();
    for is_staged in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path().into(), "run", "lake", 0);
        let contents = ["[{\"tweet\":{\"id\":\"1\"}}]", "[{\"tweet\":{\"id\":\"2\"}}]"];
        let stage = |number: usize| {
            let path = place.staging.folder.join(format!("{NIGHT}/{number:07}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents[number]).unwrap();
        };
        let promise = |number: usize| Promise {
            place: place.name().unwrap(),
            segment: format!("{NIGHT}/{number:07}"),
            length: contents[number].len() as u64,
            posts: 1,
            checksum: crc32fast::hash(contents[number].as_bytes()),
            closed: true,
        };
        (0..2).for_each(stage);
        let promises = [promise(0), promise(1)];
        Rename.publish(&promises[0].place, &promises, true).unwrap();
        let store: Shared = Arc::new(LocalStore::new(root.path()));
        meanwhile(&store);
        if is_staged {
            (0..2).for_each(stage);
        }
        let own = Place::new(root.path().into(), "next-run", "lake", 0).name().unwrap();
        for _ in 0..2 {
            let closed = recover(&place.staging, &promises).unwrap();
            commit(&Rename, &own, &SharedLedger::default(), &closed, true).unwrap();
        }
        found.push(text(store.as_ref()));
        assert!(!place.staging.folder.exists(), "nothing is left in the staging");
    }
    found
}

#[test]
fn who_comes_back_after_its_partition_was_compacted_brings_nothing_twice() {
    let both = "[{\"tweet\":{\"id\":\"1\"}},{\"tweet\":{\"id\":\"2\"}}]";
    assert_eq!(away_meanwhile(|store| drop(compact_all(store))), [both, both]);
    // Compacted once more, into another form: the partition that replaced the first one is itself
    // replaced.
    let lines = away_meanwhile(|store| {
        compact_all(store);
        let partitions = view::partitions(store.as_ref()).unwrap();
        let form = Form::of_extension(".ndjson");
        compact(store, &partitions, (1 << 20, form), NOW, |_| Ok(())).unwrap();
    });
    assert_eq!(lines, vec!["{\"tweet\":{\"id\":\"1\"}}\n{\"tweet\":{\"id\":\"2\"}}\n"; 2]);
}

#[test]
fn who_comes_back_does_not_bring_back_what_was_erased() {
    let erased = |ids: &str| {
        let ids = Ids::parse(ids).unwrap();
        away_meanwhile(move |store| {
            let scope = Scope { glob: "*".parse().unwrap(), closed_before: Some(NOW) };
            erase(store, &scope, &ids, NOW).unwrap();
        })
    };
    let one = "[{\"tweet\":{\"id\":\"2\"}}]";
    assert_eq!(erased("1"), [one, one]);
    assert_eq!(erased("1\n2"), ["", ""]);
}
