//! Tests that all parts of the program find the same time, id and text in a post, and that an
//! independent reader finds the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Tree;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use unicode_normalization::UnicodeNormalization;

use super::platform::Platform;
use super::*;
use crate::bolt::{features_of_post, words_of_post};
use crate::lake::index;
use crate::lake::names::FileName;
use crate::lake::replay::{
    Event, OnDamage, Order, Place, PostTimes, Replay, Sorting, Split, Tempo,
};
use crate::lake::store::Store;
use crate::lake::store::memory::MemoryStore;
use crate::lake::tools::erase::Ids;
use crate::moment::Moment;
use crate::social::{Topic, Topics};

const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

/// The facts of a post, from a complete parse of its JSON.
struct Expected {
    kind: String,
    id: String,
    time: OffsetDateTime,
    words: Vec<String>,
}

impl Expected {
    fn of(post: &[u8]) -> Self {
        let tree: Tree = serde_json::from_slice(post).unwrap();
        let (kind, body) = tree.as_object().unwrap().iter().next().unwrap();
        let text = |path: &str| {
            body.pointer(path).and_then(Tree::as_str).unwrap_or_else(|| panic!("{path}: {tree}"))
        };
        let time = |path: &str| OffsetDateTime::parse(text(path), &Rfc3339).unwrap();
        let (id, time, said) = match kind.as_str() {
            "tweet" => {
                (text("/id").to_owned(), time("/created_at"), text("/text").replace("&amp;", "&"))
            }
            "post" => {
                let time = text("/created_time").replace("+0000", "Z");
                (
                    text("/id").into(),
                    OffsetDateTime::parse(&time, &Rfc3339).unwrap(),
                    text("/message").into(),
                )
            }
            "video" => {
                let said = [text("/snippet/title"), text("/snippet/description")].join("\n");
                (text("/id").into(), time("/snippet/publishedAt"), said)
            }
            "bsky" => {
                let micros = body["time_us"].as_i64().unwrap();
                let time =
                    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap();
                let place =
                    [text("/did"), text("/commit/collection"), text("/commit/rkey")].join("/");
                (format!("at://{place}"), time, text("/commit/record/text").into())
            }
            "toot" => (text("/uri").into(), time("/created_at"), seen(text("/content"))),
            other => panic!("a kind \"{other}\" that nobody generates"),
        };
        Self {
            kind: kind.clone(),
            id,
            time,
            words: said.split_whitespace().map(str::to_owned).collect(),
        }
    }
}

/// Returns HTML without its tags, with another method: the text between two tags.
fn seen(html: &str) -> String {
    let mut seen = String::new();
    for part in html.split('<') {
        let (tag, text) = part.split_once('>').unwrap_or(("", part));
        if ["p", "/p", "br", "br/", "br /"].contains(&tag) {
            seen.push(' ');
        }
        seen.push_str(text);
    }
    seen.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

fn generated(platform: Platform, seed: u64, from: u64) -> Vec<Post> {
    let platforms = vec![platform].try_into().unwrap();
    let mut by_number = Generate { seed, platforms, ..Generate::default() }.by_number();
    let mut post = |number: u64| {
        let mut bytes = Vec::new();
        by_number.write(number, &mut bytes);
        Post::check(Bytes::from(bytes)).unwrap()
    };
    (from..from + 8).map(&mut post).collect()
}

/// Returns the ids of a lake's posts of one time, as a replay by time finds them.
fn replayed(store: &Arc<dyn Store>, time: OffsetDateTime) -> BTreeSet<String> {
    let moment = |time: OffsetDateTime| time.format(&Rfc3339).unwrap().parse::<Moment>().unwrap();
    let times = PostTimes {
        from: Some(moment(time)),
        to: Some(moment(time + time::Duration::MICROSECOND)),
    };
    let replay = Replay {
        place: Place::Store(Arc::clone(store)),
        order: Order::Time,
        sorting: Sorting::default(),
        tempo: Tempo::default(),
        times,
        on_damage: OnDamage::Stop,
    };
    let mut ids = BTreeSet::new();
    let split = Split { partition: NIGHT.into(), mark: None, ended: false };
    let taken = replay.run(&[split], &mut |event| {
        if let Event::Handed(handed, _) = event {
            ids.extend(handed.posts.iter().map(|post| Expected::of(post).id));
        }
        true
    });
    taken.unwrap();
    ids
}

fn check(posts: &[Post]) {
    let expected: Vec<_> = posts.iter().map(|post| Expected::of(post)).collect();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    for (number, (post, expected)) in posts.iter().zip(&expected).enumerate() {
        assert_eq!(post.kind(), expected.kind);
        assert_eq!(words_of_post(post.clone()), expected.words, "Words");
        check_features(post, expected);

        let (file, key) = (format!("{number:07}"), format!("{NIGHT}/{number:07}"));
        store.put(&key, [b"[", &post[..], b"]"].concat().into()).unwrap();
        let indexed =
            index::describe(store.as_ref(), file.parse::<FileName>().unwrap(), &key).unwrap();
        assert_eq!(
            (indexed.first, indexed.last),
            (Some(expected.time), Some(expected.time)),
            "the index"
        );

        let ids = Ids::parse(&format!("{} {}", expected.kind, expected.id)).unwrap();
        let erased: Vec<_> = (0..posts.len()).filter(|at| ids.has(&posts[*at])).collect();
        assert_eq!(erased, [number], "erase");

        let plain = |word: &&String| word.chars().all(|c| c.is_ascii_alphabetic());
        if let Some(word) = expected.words.iter().find(plain) {
            let topic: Topic = word.parse().unwrap();
            assert!(Topics::new(&[topic]).want(post), "topics: {word}");
        }
    }
    for Expected { time, .. } in &expected {
        let same =
            expected.iter().filter(|other| other.time == *time).map(|other| other.id.clone());
        assert_eq!(replayed(&store, *time), same.collect(), "replay");
    }
}

/// Checks that `Features` has the same facts, each in its field.
fn check_features(post: &Post, expected: &Expected) {
    let features = features_of_post(post.clone());
    let text = |field: &str| features[field].as_text().unwrap_or_default().to_owned();
    assert_eq!(text("kind"), expected.kind, "Features");
    assert_eq!(text("post_id"), expected.id, "Features");
    let time = OffsetDateTime::parse(&text("created_at"), &Rfc3339).unwrap();
    assert_eq!(time, expected.time, "Features");
    let words: Vec<String> = text("text").split_whitespace().map(str::to_owned).collect();
    let expected_words: Vec<String> =
        expected.words.iter().map(|word| word.nfc().collect()).collect();
    assert_eq!(words, expected_words, "Features");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_parts_tell_the_same_time_id_and_text_of_a_post(
        platform in prop::sample::select(&Platform::ALL), seed: u64, from in 0_u64..1_000_000,
    ) {
        check(&generated(platform, seed, from));
    }
}
