//! The checker, by lakes that are whole and lakes that are spoilt.

use serde_json::{Value, json};

use crate::support::platform::{Kind, Place, Platform, world};
use crate::{TOPICS, start};

/// Returns the posts that a spout without losses would have in its lake.
fn perfect(platform: &Platform, kind: Kind) -> Vec<String> {
    platform.with(|inner| {
        let mut lake = Vec::new();
        for (_, item) in inner.world.of(kind) {
            let mut before = Vec::new();
            for offer in &item.offers {
                let mut body: Value = serde_json::from_str(&offer.body).unwrap();
                let version = [&body["edited_at"], &body["commit"]["rev"], &body["deleted"]]
                    .map(Value::to_string);
                if before.contains(&version) || item.topics().next().is_none() {
                    continue;
                }
                before.push(version);
                if body.get("deleted").is_some() || body["commit"]["operation"] == "delete" {
                    lake.push(json!({"delete": {"kind": kind.key(), "id": item.id}}).to_string());
                    continue;
                }
                body["received_at"] = world::iso(offer.at_us).into();
                lake.push(json!({ kind.key(): body }).to_string());
            }
        }
        lake
    })
}

/// 100 posts of X, of which a search has found those that match.
fn searched() -> (Platform, Vec<String>) {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    let path = "/2/tweets/search/recent?query=%23storm%20OR%20%22rust%20lang%22%20OR%20from%3Aalice&max_results=100&tweet.fields=created_at,lang&expansions=author_id";
    asks.get(path, &token);
    platform.publish(Kind::Tweet, 100);
    asks.get(path, &token);
    let lake = perfect(&platform, Kind::Tweet);
    (platform, lake)
}

#[test]
fn a_lake_that_is_whole_passes_the_check() {
    let (platform, lake) = searched();
    let checked = platform.check(Kind::Tweet, &TOPICS).lake(&lake);
    assert!(
        checked.there == lake.len() && checked.there > 40 && checked.excused == 0,
        "{checked:?}"
    );
}

#[test]
fn the_check_finds_what_is_lost_twice_changed_or_of_no_topic() {
    let (platform, lake) = searched();
    let wrong = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lake = lake.clone();
        change(&mut lake);
        platform.check(Kind::Tweet, &TOPICS).compare(&lake).unwrap_err().join("\n")
    };
    assert!(wrong(&|lake| drop(lake.remove(3))).starts_with("lost: "));
    assert!(wrong(&|lake| lake.push(lake[3].clone())).starts_with("there 2 times"));
    assert!(
        wrong(&|lake| lake[3] = lake[3].replace("\"lang\":\"", "\"lang\":\"x"))
            .starts_with("not as it was offered")
    );
    assert!(
        wrong(&|lake| lake[3] = lake[3].replace("\"users\":", "\"others\":"))
            .starts_with("not as it was offered")
    );
    assert!(
        wrong(&|lake| lake[3] = lake[3].replace("received_at", "seen_at"))
            .starts_with("no \"received_at\"")
    );
    assert!(
        wrong(&|lake| lake.push("{\"tweet\":{\"id\":\"17\"}}".into()))
            .starts_with("a post that nobody")
    );
    let narrow = platform.check(Kind::Tweet, &["#storm"]).compare(&lake).unwrap_err();
    assert!(narrow[0].starts_with("a post that matches no topic"), "{narrow:?}");
}

#[test]
fn the_check_lets_a_gap_excuse_what_is_lost_unless_it_was_filled() {
    let (platform, mut lake) = searched();
    let lost: Value = serde_json::from_str(&lake.remove(5)).unwrap();
    let at = lost["tweet"]["created_at"].as_str().unwrap();
    let gap = |filled: bool| {
        json!({"gap": {"spout": "tweets", "from": at, "to": at, "why": "test", "estimated_posts": 1, "filled": filled}})
            .to_string()
    };
    let checked = platform.check(Kind::Tweet, &TOPICS).ledger(&gap(false)).lake(&lake);
    // Others of that millisecond don't need it.
    assert_eq!((checked.excused, checked.gaps.len()), (1, 1));
    let mistakes =
        platform.check(Kind::Tweet, &TOPICS).ledger(&gap(true)).compare(&lake).unwrap_err();
    assert!(mistakes[0].starts_with("lost: "));
    lake.push(gap(false));
    platform.check(Kind::Tweet, &TOPICS).lake(&lake);
}

#[test]
fn the_check_wants_edits_and_deletes_where_they_are_wired() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Toot);
    let mut socket = asks.socket(&format!("/api/v1/streaming?stream=public&access_token={token}"));
    platform.wait_for(Place::MastodonStream, 1);
    let items = platform.publish(Kind::Toot, 30);
    let hits: Vec<_> = platform.with(|inner| {
        items.into_iter().filter(|at| inner.world.items[*at].topics().next().is_some()).collect()
    });
    platform.edit(hits[0]);
    platform.delete(hits[1]);
    (0..32).for_each(|_| drop(asks.text(&mut socket).unwrap()));
    platform.wait_until("delete", |inner| inner.world.items[hits[1]].offers.len() == 2);
    let lake = perfect(&platform, Kind::Toot);
    let checked = platform.check(Kind::Toot, &TOPICS).with_edits().with_deletes().lake(&lake);
    assert_eq!((checked.there, checked.edits, checked.deletes), (hits.len(), 1, 1));
    let without: Vec<_> = lake
        .iter()
        .filter(|post| !post.contains("(corrected)") && !post.contains("\"delete\""))
        .collect();
    platform.check(Kind::Toot, &TOPICS).lake(&without);
    let mistakes = platform
        .check(Kind::Toot, &TOPICS)
        .with_edits()
        .with_deletes()
        .compare(&without)
        .unwrap_err();
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
}
