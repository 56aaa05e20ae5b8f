//! Tests the tools on damaged lakes, and on stores whose process is killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use time::macros::datetime;

mod indexes;
mod joining;
mod pruning;

use super::compact::{self, compact};
use super::erase::{Ids, Scope, erase};
use super::verify::{Finding, Report, What, require_index, verify};
use super::*;
use crate::error::{Error, Result};
use crate::lake::form::Form;
use crate::lake::journal::{Attempt, End, settle, unfinished};
use crate::lake::scan::each_post;
use crate::lake::store::memory::MemoryStore;
use crate::lake::store::watched::Watched;
use crate::lake::store::{Store, list_all};
use crate::lake::{index, view};

const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
const MORNING: &str = "2015-12-18T06:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";
const NOW: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);

type Shared = Arc<dyn Store>;

fn post(id: usize) -> String {
    format!(
        "{{\"tweet\":{{\"created_at\":\"2015-12-18T00:00:{:02}Z\",\"id\":\"{id}\",\"text\":\"größe\"}}}}",
        id % 60
    )
}

/// Makes a lake of two partitions whose files hold this many posts each.
fn lake(files: &[usize]) -> Arc<MemoryStore> {
    lake_of(&[NIGHT, MORNING], files)
}

fn lake_of(partitions: &[&str], files: &[usize]) -> Arc<MemoryStore> {
    let store = MemoryStore::default();
    let mut next = 0;
    for partition in partitions {
        for (number, posts) in files.iter().enumerate() {
            let posts: Vec<_> = (next..next + posts).map(post).collect();
            next += posts.len();
            store
                .put(&format!("{partition}/{number:07}"), format!("[{}]", posts.join(",")).into())
                .unwrap();
        }
    }
    Arc::new(store)
}

fn index_all(store: &dyn Store) {
    for partition in view::partitions(store).unwrap() {
        index::write(store, &index::build(store, &partition).unwrap()).unwrap();
    }
}

/// Returns all posts that a reader sees, sorted.
fn posts(store: &Shared) -> Vec<String> {
    let mut posts = Vec::new();
    for partition in view::partitions(store.as_ref()).unwrap() {
        let keys: Vec<_> = view::files(store.as_ref(), &partition)
            .unwrap()
            .into_iter()
            .map(|(_, key)| key)
            .collect();
        each_post(store, &keys, |post| {
            posts.push(String::from_utf8(post.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
    }
    posts.sort();
    posts
}

fn verified(store: &dyn Store) -> Report {
    verify(store, &view::partitions(store).unwrap(), true).unwrap()
}

/// Makes a store whose process is killed when it is about to make its n-th change.
fn dying_after(store: &Arc<MemoryStore>, changes: u64) -> Shared {
    let left = AtomicU64::new(changes);
    Watched::before(store, move |request| {
        let is_alive = if request.is_change() {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok()
        } else {
            left.load(Ordering::SeqCst) > 0
        };
        if is_alive { Ok(()) } else { Err(Error::fatal("dead")) }
    })
}

/// Runs `work` on a lake again and again, killed at each change it makes, and then once to its end.
/// In between a reader sees the posts before the work or, of each finished partition, `after`.
fn kill_everywhere(work: impl Fn(&Shared) -> Result<()>, after: &[String]) {
    kill_everywhere_in(|| lake(&[3, 1, 2]), work, after);
}

fn kill_everywhere_in(
    lake: impl Fn() -> Arc<MemoryStore>,
    work: impl Fn(&Shared) -> Result<()>,
    after: &[String],
) {
    for changes in 0.. {
        let store = lake();
        index_all(store.as_ref());
        let shared: Shared = store.clone();
        let before = posts(&shared);
        let dead = work(&dying_after(&store, changes)).is_err();
        let between = posts(&shared);
        let mut once = between.clone();
        once.dedup();
        assert!(once == between, "a post is seen twice after {changes} changes");
        assert!(between.iter().all(|post| before.contains(post)), "after {changes} changes");
        assert!(
            after.iter().all(|post| between.contains(post)),
            "a post is lost after {changes} changes"
        );
        work(&shared).unwrap();
        assert!(posts(&shared) == after, "the end after {changes} changes");
        assert_eq!(unfinished(store.as_ref()).unwrap(), []);
        assert_eq!(verified(store.as_ref()).findings, [], "after {changes} changes");
        let partitions = |name: &String| name.starts_with('2');
        let there = store.names("").unwrap().into_iter().filter(partitions).count();
        assert_eq!(
            there,
            view::partitions(store.as_ref()).unwrap().len(),
            "nothing hidden is left"
        );
        if !dead {
            assert!(changes > 5, "it makes more changes than {changes}");
            return;
        }
    }
}

fn compact_all(store: &Shared) -> Result<()> {
    let partitions = view::partitions(store.as_ref())?;
    compact(store, &partitions, (1 << 20, None), NOW, |_| Ok(()))
}

fn scope(glob: &str, closed_before: OffsetDateTime) -> Scope {
    Scope { glob: glob.parse().unwrap(), closed_before: Some(closed_before) }
}

fn erase_some(store: &Shared) -> Result<()> {
    let ids = Ids::parse("tweet 1\n# none\n\n7\npost 2\n")?;
    erase(store, &scope("*", NOW), &ids, NOW).map(drop)
}

#[test]
fn compact_may_be_killed_anywhere() {
    let all = posts(&(lake(&[3, 1, 2]) as Shared));
    kill_everywhere(compact_all, &all);
}

#[test]
fn erase_may_be_killed_anywhere() {
    let mut rest = posts(&(lake(&[3, 1, 2]) as Shared));
    rest.retain(|found| *found != post(1) && *found != post(7));
    kill_everywhere(erase_some, &rest);
}

#[test]
fn compact_makes_one_file_of_many_and_then_leaves_it_alone() {
    let store: Shared = lake(&[3, 1, 2]);
    let before = posts(&store);
    compact_all(&store).unwrap();
    let partitions = view::partitions(store.as_ref()).unwrap();
    let files = |partition: &String| view::files(store.as_ref(), partition).unwrap().len();
    assert_eq!(partitions.iter().map(files).collect::<Vec<_>>(), [1, 1]);
    assert!(partitions[0].starts_with("2015-12-18T00:00:00-") && partitions[0] != NIGHT);
    assert_eq!(posts(&store), before);
    compact_all(&store).unwrap();
    assert_eq!(view::partitions(store.as_ref()).unwrap(), partitions);
    let index::Found::Index(index) = index::read(store.as_ref(), &partitions[0]).unwrap() else {
        panic!("an index")
    };
    let generation = &index.replaces[0];
    assert_eq!(
        (generation.partition.as_str(), generation.files.len(), generation.posts),
        (NIGHT, 3, 6)
    );
}

/// Compacts the whole lake into a form.
fn compact_into(store: &Shared, form: Form) {
    let partitions = view::partitions(store.as_ref()).unwrap();
    compact(store, &partitions, (1 << 20, Some(form)), NOW, |_| Ok(())).unwrap();
}

#[test]
fn compact_turns_every_form_into_every_other_with_the_same_posts_in_the_same_order() {
    let store: Shared = lake(&[3, 1, 2]);
    let in_order = || {
        let partitions = view::partitions(store.as_ref()).unwrap();
        let keys = partitions.iter().flat_map(|name| view::files(store.as_ref(), name).unwrap());
        let (mut found, keys) = (Vec::new(), keys.map(|(_, key)| key).collect::<Vec<_>>());
        each_post(&store, &keys, |post| {
            found.push(post.clone());
            Ok(())
        })
        .unwrap();
        found.sort_by_key(|post| post.id().unwrap().parse::<usize>().unwrap());
        (found, keys)
    };
    let (before, _) = in_order();
    for (from, _) in Form::ALL {
        for (to, extension) in Form::ALL {
            compact_into(&store, from);
            compact_into(&store, to);
            let (found, keys) = in_order();
            assert_eq!(found, before);
            assert!(
                keys.len() == 2
                    && keys.iter().all(|key| key.ends_with(&format!("/0000000{extension}"))),
                "{keys:?}"
            );
            assert_eq!(verified(store.as_ref()).findings, []);
            compact_all(&store).unwrap();
            assert_eq!(in_order().1, keys, "there is nothing to do");
        }
    }
}

#[test]
fn packed_files_are_joined_up_to_the_limit_on_their_text() {
    for (form, _) in Form::ALL {
        let store: Shared = lake(&[10, 10, 10]);
        let partitions = view::partitions(store.as_ref()).unwrap();
        let limit = post(0).len() as u64 * 14;
        compact(&store, &partitions[..1], (limit, Some(form)), NOW, |_| Ok(())).unwrap();
        let files = list_all(store.as_ref(), "2015-12-18T00").unwrap();
        assert_eq!(files.len(), 3, "{files:?}");
        let partitions = view::partitions(store.as_ref()).unwrap();
        compact(&store, &partitions[..1], (limit, None), NOW, |_| Ok(())).unwrap();
        assert_eq!(
            list_all(store.as_ref(), "2015-12-18T00").unwrap(),
            files,
            "they are as full as they get"
        );
    }
}

#[test]
fn erase_keeps_the_form_and_the_way_of_naming() {
    for (form, extension) in Form::ALL {
        let store: Shared = lake(&[3]);
        let basic = "20151218T120000Z-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
        store
            .put(&format!("{basic}/0000000"), format!("[{},{}]", post(70), post(71)).into())
            .unwrap();
        compact_into(&store, form);
        let record = erase(&store, &scope("*", NOW), &Ids::parse("1\n70").unwrap(), NOW).unwrap();
        assert_eq!(record.posts_erased, 2);
        assert_eq!(posts(&store).len(), 6);
        let files = list_all(store.as_ref(), "2").unwrap();
        assert!(
            files.iter().all(|file| file.key.ends_with(&format!("/0000000{extension}"))),
            "{files:?}"
        );
        assert!(files.iter().any(|file| file.key.starts_with("20151218T120000Z-")), "{files:?}");
        assert_eq!(verified(store.as_ref()).findings, []);
    }
}

#[test]
fn compact_into_parquet_may_be_killed_anywhere() {
    let all = posts(&(lake(&[3, 1, 2]) as Shared));
    let into_parquet = |store: &Shared| {
        let partitions = view::partitions(store.as_ref())?;
        compact(store, &partitions, (1 << 20, Some(Form::Parquet)), NOW, |_| Ok(()))
    };
    kill_everywhere(into_parquet, &all);
}

#[test]
fn damage_in_a_packed_file_is_found_and_named() {
    for (form, extension) in Form::ALL.into_iter().filter(|(form, _)| !form.is_plain()) {
        let store: Shared = lake(&[300]);
        compact_into(&store, form);
        let partition = view::partitions(store.as_ref()).unwrap().remove(0);
        let key = format!("{partition}/0000000{extension}");
        let good = store.get(&key).unwrap().unwrap();
        let found = |bytes: Bytes| {
            store.replace(&key, bytes).unwrap();
            verified(store.as_ref()).findings
        };
        let mut flipped = good.to_vec();
        flipped[good.len() / 2] ^= 1;
        let findings = found(flipped.into());
        assert!(
            named(&findings, &key, &[What::Torn, What::Altered]) && findings.len() == 1,
            "{findings:?}"
        );
        let findings = found(good.slice(..good.len() - 1));
        assert!(
            named(&findings, &key, &[What::Torn]) && findings[0].why.starts_with("at "),
            "{findings:?}"
        );
        assert_eq!(found(good), []);
        store.put(&format!("{partition}/0000000"), "[]".into()).unwrap();
        let findings = verified(store.as_ref()).findings;
        assert!(named(&findings, &key, &[What::Extra]), "{findings:?}");
        store.delete(&format!("{partition}/0000000")).unwrap();
        store.delete(&key).unwrap();
        let findings = verified(store.as_ref()).findings;
        assert!(
            named(&findings, &partition, &[What::Missing]) && findings.len() == 1,
            "{findings:?}"
        );
    }
}

#[test]
fn a_limit_on_bytes_is_held() {
    let store: Shared = lake(&[10, 10, 10]);
    let partitions = view::partitions(store.as_ref()).unwrap();
    let limit = post(0).len() as u64 * 12;
    compact(&store, &partitions[..1], (limit, None), NOW, |_| Ok(())).unwrap();
    let files = list_all(store.as_ref(), "2015-12-18T00").unwrap();
    assert!(files.len() == 3 && files.iter().all(|file| file.bytes <= limit), "{files:?}");
}

#[test]
fn a_damaged_partition_stays_as_it_is() {
    let store: Shared = lake(&[3, 1]);
    store.replace(&format!("{NIGHT}/0000001"), "[{\"a\":".into()).unwrap();
    let error = compact(&store, &[NIGHT.into()], (1 << 20, None), NOW, |_| Ok(())).unwrap_err();
    assert!(error.chain().contains("0000001\" is damaged"), "{error:?}");
    assert_eq!(view::partitions(store.as_ref()).unwrap(), [NIGHT, MORNING]);
    assert_eq!(list_all(store.as_ref(), "2").unwrap().len(), 4);
}

#[test]
fn who_was_taken_for_dead_changes_nothing() {
    let store: Shared = lake(&[3]);
    let before = posts(&store);
    let begin = || {
        Attempt::begin(store.as_ref(), &[NIGHT], &NIGHT.replace("afa5", "bbbb"), "compact", NOW)
            .unwrap()
    };
    let slow = begin().unwrap();
    assert!(begin().is_none(), "one at a time");
    assert_eq!(settle(store.as_ref(), NOW).unwrap(), 1);
    store.put(&format!("{}/0000000", NIGHT.replace("afa5", "bbbb")), "[{\"a\":1}]".into()).unwrap();
    assert_eq!(posts(&store), before);
    assert!(slow.done(store.as_ref(), index::Index::new("x", vec![]), NOW).is_err());
    assert_eq!(posts(&store), before);
    assert!(begin().is_some(), "somebody else may try");
    settle(store.as_ref(), NOW + time::Duration::days(2)).unwrap();
    assert!(unfinished(store.as_ref()).unwrap().iter().all(|entry| entry.end != Some(End::Undone)));
}

#[test]
fn a_partition_that_other_tools_count_twice_is_named() {
    let (store, new) = (lake(&[1]), NIGHT.replace("afa5", "bbbb"));
    let attempt = Attempt::begin(store.as_ref(), &[NIGHT], &new, "compact", NOW).unwrap().unwrap();
    store.put(&format!("{new}/0000000"), format!("[{}]", post(0)).into()).unwrap();
    let doubled = |key: &str| {
        let findings = verified(store.as_ref()).findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            named(&findings, key, &[What::Extra]) && findings[0].why.contains("twice"),
            "{findings:?}"
        );
    };
    doubled(&new);
    // The work is done, and the process is killed before the first old file is deleted.
    let index = index::build(store.as_ref(), &new).unwrap();
    attempt.done(&*dying_after(&store, 1), index, NOW).unwrap_err();
    doubled(NIGHT);
    settle(store.as_ref(), NOW).unwrap();
    assert_eq!(verified(store.as_ref()).findings, []);
}

#[test]
fn deletes_name_posts_and_stay_themselves() {
    let store: Shared = lake(&[3]);
    let deletes = "[{\"delete\":{\"kind\":\"tweet\",\"id\":\"1\",\"raw\":null}},{\"delete\":{\"kind\":\"post\",\"id\":\"2\"}}]";
    store.put(&format!("{MORNING}/0000001"), deletes.into()).unwrap();
    let ids = Ids::from_deletes(&store).unwrap();
    assert_eq!(ids.len(), 2);
    let (morning, before) = (datetime!(2015-12-18 06:00 UTC), datetime!(2015-12-18 00:00 UTC));
    let record = erase(&store, &scope("*", morning), &ids, NOW).unwrap();
    assert_eq!((record.posts_erased, record.open.len()), (1, 0));
    let left = posts(&store);
    assert!(left.len() == 7 && !left.contains(&post(1)));
    let kept = list_all(store.as_ref(), "_index/erased/").unwrap();
    let text = String::from_utf8(store.get(&kept[0].key).unwrap().unwrap().to_vec()).unwrap();
    assert!(text.contains("\"finished\":true") && !text.contains("tweet 1"), "{text}");
    let open = erase(&store, &scope("*T06*", before), &Ids::parse("4").unwrap(), NOW).unwrap().open;
    assert_eq!(open, BTreeMap::from([(MORNING.to_owned(), 1)]));
}

#[test]
fn a_partition_without_posts_goes() {
    let store: Shared = lake(&[1]);
    erase(&store, &scope("*", NOW), &Ids::parse("0").unwrap(), NOW).unwrap();
    assert_eq!(view::partitions(store.as_ref()).unwrap(), [MORNING]);
    assert_eq!(verified(store.as_ref()).findings, []);
}

#[test]
fn a_partition_closes_when_the_next_is_old_enough() {
    let names = [NIGHT.to_owned(), MORNING.to_owned()];
    let at = |now| closed(&names, None, now);
    assert_eq!(at(datetime!(2015-12-18 06:59:59 UTC)), Vec::<String>::new());
    assert_eq!(at(datetime!(2015-12-18 07:00:00 UTC)), [NIGHT]);
    assert_eq!(closed(&names, Some(NOW), NOW), names);
    // A name with the last possible hour mustn't cause a panic.
    let last = "9999-12-31T23:59:59-afa5ac3a-e695-4f96-aca2-d24c7527aed7".to_owned();
    let with_last = [names.to_vec(), vec![last]].concat();
    assert_eq!(closed(&with_last, None, NOW), closed(&names, None, NOW));
    assert_eq!(prune::older(&names, datetime!(2015-12-18 06:00:00 UTC)), [NIGHT]);
}

fn named(findings: &[Finding], key: &str, what: &[What]) -> bool {
    findings.iter().any(|finding| finding.key == key && what.contains(&finding.what))
}

/// A change to one file of a lake.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Flip(u8),
    Truncate,
    Delete,
    Add(u32),
    Foreign,
    Rename(u32),
}

fn mutations() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (1u8..).prop_map(Mutation::Flip),
        Just(Mutation::Truncate),
        Just(Mutation::Delete),
        (50u32..9_999_999).prop_map(Mutation::Add),
        Just(Mutation::Foreign),
        (50u32..9_999_999).prop_map(Mutation::Rename),
    ]
}

/// Applies the mutation, and returns the keys of which one has to be reported.
fn mutate(store: &MemoryStore, key: &str, at: usize, mutation: Mutation) -> (String, Vec<What>) {
    let content = store.get(key).unwrap().unwrap();
    let at = at % content.len();
    let other = |number: u32| format!("{}/{number:07}", key.rsplit_once('/').unwrap().0);
    match mutation {
        Mutation::Flip(bits) => {
            let mut content = content.to_vec();
            content[at] ^= bits;
            store.replace(key, content.into()).unwrap();
            (key.into(), vec![What::Altered, What::Torn])
        }
        Mutation::Truncate => {
            store.replace(key, content.slice(..at)).unwrap();
            (key.into(), vec![What::Torn])
        }
        Mutation::Delete => {
            store.delete(key).unwrap();
            (key.into(), vec![What::Missing])
        }
        Mutation::Add(number) => {
            store.put(&other(number), content).unwrap();
            (other(number), vec![What::Extra])
        }
        Mutation::Foreign => {
            store.put(&format!("{key}.crc"), content).unwrap();
            (format!("{key}.crc"), vec![What::Extra])
        }
        Mutation::Rename(number) => {
            store.put(&other(number), content).unwrap();
            store.delete(key).unwrap();
            (other(number), vec![What::Extra])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_lake_is_whole_and_any_single_mutation_is_named(
        files in prop::collection::vec(1usize..5, 1..6),
        (file, at, mutation) in (any::<prop::sample::Index>(), any::<usize>(), mutations()),
    ) {
        let store = lake(&files);
        index_all(store.as_ref());
        let good = verified(store.as_ref());
        prop_assert_eq!(&good.findings, &[]);
        prop_assert_eq!(good.posts, files.iter().sum::<usize>() as u64 * 2);
        // The partition has more than one file, so that it still exists without this one.
        let keys = list_all(store.as_ref(), "2").unwrap();
        let key = &keys[file.index(keys.len())].key;
        let (named_key, what) = mutate(&store, key, at, mutation);
        let findings = verified(store.as_ref()).findings;
        let partition = key.split('/').next().unwrap();
        let gone = matches!(mutation, Mutation::Delete) && files.len() == 1;
        let named_key = if gone { partition } else { &named_key };
        prop_assert!(named(&findings, named_key, &what), "{:?} of {}: {:?}", mutation, key, findings);
    }
}

#[test]
fn a_file_that_says_it_is_huge_is_not_believed() {
    let store: Shared = lake(&[1]);
    let packed = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, format!("[{}]", post(50)).as_bytes()).unwrap();
        let mut packed = encoder.finish().unwrap();
        let at = packed.len() - 4;
        packed[at..].fill(0xff);
        packed
    };
    store.put(&format!("{NIGHT}/0000001.json.gz"), packed.into()).unwrap();
    assert_eq!(super::erase::longest(store.as_ref(), NIGHT).unwrap(), 1 << 30);
    assert_eq!(super::erase::longest(store.as_ref(), MORNING).unwrap(), 32 << 20);
}
