//! Tests a lake with files of all forms, in a folder and in a store, with and without damage.

use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::lake::columns;
use crate::lake::form::{Compression, Form, Format};
use crate::lake::pack::pack;
use crate::lake::store::Store;
use crate::lake::store::local::LocalStore;

const PARTITION: &str = "20151218T000000Z-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

fn post(number: usize) -> String {
    format!(
        "{{\"tweet\":{{\"id\":\"{number}\",\"created_at\":\"2015-12-18T00:00:{:02}Z\"}}}}",
        number % 60
    )
}

fn packed(form: Form, posts: &[String]) -> Vec<u8> {
    let text = match form {
        Form::Text(Format::JsonArray, _) => format!("[{}]", posts.join(",")),
        _ => posts.iter().map(|post| format!("{post}\n")).collect(),
    };
    let mut bytes = Vec::new();
    match form {
        Form::Text(_, Compression::None) => bytes = text.into_bytes(),
        // In two parts, as if two files had been concatenated.
        Form::Text(_, compression) => {
            for part in [&text.as_bytes()[..10], &text.as_bytes()[10..]] {
                pack(compression, &mut &part[..], part.len() as u64, &mut bytes).unwrap();
            }
        }
        Form::Parquet => {
            let posts = posts.iter().map(|post| Post::check(post.clone().into()).unwrap());
            bytes = columns::write(&posts.collect::<Vec<_>>()).unwrap();
        }
    }
    bytes
}

/// Makes a partition with a file of each form, ten posts each.
fn lake() -> (tempfile::TempDir, LocalStore) {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::new(root.path());
    for (number, (form, extension)) in Form::ALL.into_iter().enumerate() {
        let posts: Vec<_> = (number * 10..number * 10 + 10).map(post).collect();
        store
            .put(&format!("{PARTITION}/{number:07}{extension}"), packed(form, &posts).into())
            .unwrap();
    }
    (root, store)
}

fn read_all(place: Place, order: Order, on_damage: OnDamage) -> Result<(Vec<String>, Vec<String>)> {
    let (sorting, tempo, times) = Default::default();
    let replay = Replay { place, order, sorting, tempo, times, on_damage };
    let (mut posts, mut damaged) = (Vec::new(), Vec::new());
    let splits = [Split { partition: PARTITION.into(), mark: None, ended: false }];
    replay.run(&splits, &mut |event| {
        match event {
            Event::Handed(handed, _) => {
                posts.extend(
                    handed.posts.iter().map(|post| String::from_utf8(post.to_vec()).unwrap()),
                );
            }
            Event::Damaged(what) => damaged.push(what),
        }
        true
    })?;
    Ok((posts, damaged))
}

fn places(root: &tempfile::TempDir) -> [Place; 2] {
    let store: Arc<dyn Store> = Arc::new(LocalStore::new(root.path()));
    [Place::Folder(root.path().into()), Place::Store(store)]
}

#[test]
fn every_form_is_read_in_one_partition() {
    let (root, _) = lake();
    let all: Vec<_> = (0..70).map(post).collect();
    for place in places(&root) {
        let (posts, _) = read_all(place.clone(), Order::Partition, OnDamage::Stop).unwrap();
        assert_eq!(posts, all);
        let (mut posts, _) = read_all(place.clone(), Order::Time, OnDamage::Stop).unwrap();
        posts.sort_by_key(|post| all.iter().position(|one| one == post));
        assert_eq!(posts, all);
        let begins = place.peek(PARTITION, None);
        assert_eq!(begins.len(), 10);
        for (number, (_, extension)) in Form::ALL.into_iter().enumerate() {
            let first = place.peek(PARTITION, Some(format!("{number:07}").parse().unwrap()));
            assert_eq!(
                first.first().map(|found| found.as_bytes().to_vec()),
                Some(post(number * 10).into()),
                "{extension}"
            );
        }
    }
    let mut out = Vec::new();
    let address = format!("{}/2015*", root.path().display());
    print(&address, &Printing::default(), &SystemClock::shared(), &mut out, &mut |_| ()).unwrap();
    assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), all);
}

#[test]
fn damage_stops_it_or_is_passed_over_and_named() {
    for (number, (form, extension)) in Form::ALL.into_iter().enumerate() {
        let (root, store) = lake();
        let key = format!("{PARTITION}/{number:07}{extension}");
        let good = store.get(&key).unwrap().unwrap();
        let good = if form == Form::ARRAY {
            good.slice(..good.len() - 1)
        } else {
            good.slice(..good.len() - 3)
        };
        store.replace(&key, good).unwrap();
        for place in places(&root) {
            let error =
                read_all(place.clone(), Order::Partition, OnDamage::Stop).unwrap_err().chain();
            assert!(error.contains(&format!("{key}\" is damaged at ")), "{error}");
            let (posts, damaged) = read_all(place, Order::Partition, OnDamage::Skip).unwrap();
            assert!(damaged.len() == 1 && damaged[0].contains(&key), "{damaged:?}");
            let others = (0..70).filter(|at| at / 10 != number).map(post);
            assert!(others.into_iter().all(|other| posts.contains(&other)), "{extension}");
        }
    }
}

#[test]
fn two_files_of_one_number_stop_it() {
    let (root, store) = lake();
    store.put(&format!("{PARTITION}/0000001.ndjson"), "{\"a\":1}\n".into()).unwrap();
    for place in places(&root) {
        let error = read_all(place, Order::Partition, OnDamage::Skip).unwrap_err().chain();
        assert!(error.contains("\"0000001.json.gz\" and \"0000001.ndjson\": move one"), "{error}");
    }
}
