//! The contract of a store as one test suite, which the tests of every store run.

use std::sync::Barrier;
use std::thread;

use bytes::Bytes;

use super::{Put, Store, length};

/// The number of threads that put the same key at the same time, and the number of repetitions.
const RACERS: usize = 8;
const RACES: usize = 20;

/// The number of listed keys: more than a server returns in one answer.
const MANY: usize = 1_050;

/// The length of a large object: more than fits into one buffer on the way.
const LARGE_BYTES: usize = 9 << 20;

/// Unusual names, which every store must accept unchanged.
const ODD: [&str; 8] = [
    "odd/2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000000",
    "odd/with space",
    "odd/with  two + plus",
    "odd/größe/台風",
    "odd/per%20cent%2F",
    "odd/quote\"'&<>",
    "odd/question?and#hash=1",
    "odd/[brackets]{braces}*",
];

/// Runs the whole suite over an empty store.
///
/// # Panics
/// If the store breaks the contract; the message names the part.
pub fn conformance(store: &dyn Store) {
    absent_objects(store);
    objects_are_put_once(store);
    objects_are_replaced(store);
    ranges_are_cut(store);
    listings(store);
    names_of_folders(store);
    odd_keys(store);
    large_objects(store);
    one_of_several_wins(store);
    many_keys(store);
    clean(store);
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn keys(store: &dyn Store, prefix: &str, after: Option<&str>, max: usize) -> Vec<String> {
    let listed = store.list(prefix, after, max).expect("it can be listed");
    listed.into_iter().map(|object| object.key).collect()
}

fn fill(store: &dyn Store, keys: &[&str]) {
    for key in keys {
        assert_eq!(store.put(key, bytes(key)).expect("it can be put"), Put::Stored, "{key}");
    }
}

/// Deletes everything, and checks that it is gone.
fn clean(store: &dyn Store) {
    for key in keys(store, "", None, usize::MAX) {
        store.delete(&key).expect("it can be deleted");
    }
    assert_eq!(keys(store, "", None, usize::MAX), Vec::<String>::new());
    assert_eq!(store.names("").expect("it can be listed"), Vec::<String>::new());
}

fn absent_objects(store: &dyn Store) {
    assert_eq!(store.get("nothing/here").expect("absence is no error"), None);
    assert_eq!(store.get_range("nothing/here", 0..9).expect("absence is no error"), None);
    assert_eq!(keys(store, "nothing/", None, 9), Vec::<String>::new());
    assert_eq!(store.names("nothing/").expect("absence is no error"), Vec::<String>::new());
    store.delete("nothing/here").expect("deleting what is absent is no error");
    assert!(
        store.address("nothing/here").ends_with("nothing/here"),
        "an address ends with its key"
    );
}

fn objects_are_put_once(store: &dyn Store) {
    assert_eq!(store.put("once/a", bytes("first")).expect("it can be put"), Put::Stored);
    assert_eq!(store.put("once/a", bytes("second")).expect("it can be asked"), Put::Exists);
    assert_eq!(store.get("once/a").expect("it can be read"), Some(bytes("first")));
    store.delete("once/a").expect("it can be deleted");
    assert_eq!(store.get("once/a").expect("absence is no error"), None);
    assert_eq!(store.put("once/a", bytes("third")).expect("it can be put again"), Put::Stored);
    assert_eq!(store.get("once/a").expect("it can be read"), Some(bytes("third")));
    assert_eq!(store.put("once/empty", Bytes::new()).expect("it can be empty"), Put::Stored);
    assert_eq!(store.get("once/empty").expect("it can be read"), Some(Bytes::new()));
    clean(store);
}

fn objects_are_replaced(store: &dyn Store) {
    for content in ["short", "rather longer than that", ""] {
        store.replace("replaced/a", bytes(content)).expect("it can be replaced");
        assert_eq!(store.get("replaced/a").expect("it can be read"), Some(bytes(content)));
        assert_eq!(
            store.list("replaced/", None, 9).expect("it can be listed")[0].bytes,
            content.len() as u64
        );
    }
    clean(store);
}

fn ranges_are_cut(store: &dyn Store) {
    fill(store, &["range"]);
    for (range, expected) in [
        (0..5, "range"),
        (1..3, "an"),
        (0..0, ""),
        (3..99, "ge"),
        (5..9, ""),
        (7..9, ""),
        (0..u64::MAX, "range"),
    ] {
        let found = store.get_range("range", range.clone()).expect("it can be read");
        assert_eq!(found, Some(bytes(expected)), "the range {range:?}");
    }
    clean(store);
}

fn listings(store: &dyn Store) {
    // The order of bytes: "-" < "/" < "0" < "~" < "ä".
    let all = ["l/a-b", "l/a-b2/x", "l/a/b", "l/a/c/d", "l/a0", "l/a~", "l/aä", "l/b"];
    fill(store, &all);
    fill(store, &["k", "la", "m/a"]);
    assert_eq!(keys(store, "l/", None, usize::MAX), all);
    assert_eq!(keys(store, "l/a/", None, 9), ["l/a/b", "l/a/c/d"]);
    assert_eq!(keys(store, "l/a-", None, 9), ["l/a-b", "l/a-b2/x"]);
    assert_eq!(keys(store, "l/b", None, 9), ["l/b"]);
    for (at, after) in all.iter().enumerate() {
        assert_eq!(
            keys(store, "l/", Some(after), 2),
            all[at + 1..].iter().take(2).copied().collect::<Vec<_>>()
        );
    }
    assert_eq!(keys(store, "l/", Some("l/a/"), 2), ["l/a/b", "l/a/c/d"]);
    assert_eq!(keys(store, "l/", Some("a"), 1), ["l/a-b"]);
    assert_eq!(keys(store, "l/", Some("z"), 9), Vec::<String>::new());
    assert_eq!(keys(store, "l/", None, 0), Vec::<String>::new());
    assert_eq!(keys(store, "", None, 2), ["k", "l/a-b"]);
    let length = |key: &str| length(store, key).expect("it can be listed");
    assert_eq!(
        (length("l/b"), length("l/"), length("l/a-"), length("z")),
        (Some(3), None, None, None)
    );
    clean(store);
}

fn names_of_folders(store: &dyn Store) {
    fill(store, &["n/a-b", "n/a/b", "n/a/c/d", "n/b", "n/ba/x", "o"]);
    let names = |prefix: &str| store.names(prefix).expect("it can be listed");
    assert_eq!(names(""), ["n/", "o"]);
    assert_eq!(names("n/"), ["a-b", "a/", "b", "ba/"]);
    assert_eq!(names("n/a/"), ["b", "c/"]);
    clean(store);
}

fn odd_keys(store: &dyn Store) {
    fill(store, &ODD);
    for key in ODD {
        assert_eq!(store.get(key).expect("it can be read"), Some(bytes(key)), "{key}");
        assert_eq!(store.put(key, Bytes::new()).expect("it can be asked"), Put::Exists, "{key}");
    }
    let mut sorted = ODD.to_vec();
    sorted.sort_unstable();
    assert_eq!(keys(store, "odd/", None, 99), sorted);
    assert_eq!(keys(store, "odd/with ", None, 99), ["odd/with  two + plus", "odd/with space"]);
    clean(store);
}

fn large_objects(store: &dyn Store) {
    let large: Bytes =
        (0..LARGE_BYTES).map(|i| (i * 31 + i / 977) as u8).collect::<Vec<_>>().into();
    assert_eq!(store.put("large", large.clone()).expect("it can be put"), Put::Stored);
    assert!(
        store.get("large").expect("it can be read") == Some(large.clone()),
        "all of a large object"
    );
    let (from, end) = (LARGE_BYTES / 3, LARGE_BYTES - 1);
    let part = store.get_range("large", from as u64..end as u64).expect("it can be read");
    assert!(part == Some(large.slice(from..end)), "a part of a large object");
    clean(store);
}

fn one_of_several_wins(store: &dyn Store) {
    for race in 0..RACES {
        let (key, start) = (format!("race/{race}"), Barrier::new(RACERS));
        let winners: Vec<String> = thread::scope(|scope| {
            let racers = (0..RACERS).map(|racer| {
                let (key, start) = (&key, &start);
                scope.spawn(move || {
                    let content = format!("{race}-{racer}").repeat(1000);
                    start.wait();
                    let put = store.put(key, bytes(&content)).expect("it can be put");
                    (put == Put::Stored).then_some(content)
                })
            });
            let racers: Vec<_> = racers.collect();
            racers.into_iter().filter_map(|racer| racer.join().expect("no racer panics")).collect()
        });
        assert_eq!(winners.len(), 1, "one of {RACERS} that put \"{key}\" at once wins");
        assert!(
            store.get(&key).expect("it can be read") == Some(bytes(&winners[0])),
            "what the winner put is there"
        );
    }
    clean(store);
}

fn many_keys(store: &dyn Store) {
    let all: Vec<String> = (0..MANY).map(|i| format!("many/{i:07}")).collect();
    thread::scope(|scope| {
        for part in all.chunks(MANY / RACERS) {
            scope.spawn(move || fill(store, &part.iter().map(String::as_str).collect::<Vec<_>>()));
        }
    });
    assert_eq!(keys(store, "many/", None, usize::MAX), all);
    assert_eq!(keys(store, "many/", Some(&all[MANY - 3]), 9), all[MANY - 2..]);
    assert_eq!(keys(store, "many/", Some(&all[9]), MANY - 20), all[10..MANY - 10]);
    assert_eq!(store.names("many/").expect("it can be listed").len(), MANY);
    clean(store);
}
