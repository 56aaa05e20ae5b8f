//! Platforms that are polled, with their quotas, pages and errors.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::platform::{Fault, Kind, Place};
use crate::{Asks, add_rules, start};

#[test]
fn facebook_pages_both_ways_and_its_next_has_the_token() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Post);
    let items = platform.history(Kind::Post, 400, 86_400);
    let mine = platform
        .with(|inner| items.iter().filter(|item| inner.world.items[**item].author() == 3).count());
    for by_time in [false, true] {
        platform.set(|settings| settings.facebook_time_paging = by_time);
        let mut path = format!(
            "/v25.0/watcher_3/posts?fields=id,message,created_time,shares&limit=3&access_token={token}"
        );
        let mut found = 0;
        loop {
            let (status, body) = asks.get(&path, "");
            assert_eq!(status, 200, "{body}");
            found += body["data"].as_array().unwrap().len();
            let Some(next) = body["paging"]["next"].as_str() else { break };
            assert!(next.contains(&token));
            path = next.trim_start_matches(&asks.url).to_owned();
        }
        assert_eq!(found, mine);
    }
    let (status, body) = asks.get("/v25.0/watcher_3/posts", "wrong");
    assert_eq!((status, &body["error"]["code"]), (400, &json!(190)));
    let id = platform.with(|inner| inner.world.items[items[0]].id.clone());
    let (_, body) = asks.get(&format!("/v25.0/?ids={id}&fields=message"), &token);
    assert!(body[&id]["message"].is_string(), "{body}");
}

#[test]
fn youtube_counts_its_quota() {
    let (platform, asks) = start();
    let key = platform.token(Kind::Video);
    let items = platform.history(Kind::Video, 60, 3600);
    let path = format!(
        "/youtube/v3/search?part=snippet&type=video&order=date&maxResults=50&q=%23storm%7C%22rust%20lang%22&key={key}"
    );
    let (_, body) = asks.get(&path, &key);
    let found = body["items"].as_array().unwrap();
    let id = found[0]["id"]["videoId"].as_str().unwrap();
    let wanted = platform.with(|inner| {
        let hit =
            |item: &&usize| inner.world.items[**item].topics().any(|topic| topic != "from:alice");
        items.iter().filter(hit).count()
    });
    assert_eq!(found.len(), wanted.min(50));
    let (_, body) = asks
        .get(&format!("/youtube/v3/videos?part=snippet,statistics&id={id},gone&key={key}"), &key);
    assert!(
        body["items"].as_array().unwrap().len() == 1
            && body["items"][0]["statistics"]["viewCount"].is_string()
    );
    let (_, body) = asks.get(
        &format!("/youtube/v3/channels?part=contentDetails&forHandle=@watcher_5&key={key}"),
        &key,
    );
    let uploads = body["items"][0]["contentDetails"]["relatedPlaylists"]["uploads"]
        .as_str()
        .unwrap()
        .to_owned();
    let (status, _) = asks.get(
        &format!("/youtube/v3/playlistItems?part=snippet&playlistId={uploads}&key={key}"),
        &key,
    );
    assert_eq!(status, 200);
    platform.set(|settings| settings.youtube_searches = 2);
    assert_eq!(asks.get(&path, &key).0, 200);
    let (status, body) = asks.get(&path, &key);
    assert_eq!((status, &body["error"]["errors"][0]["reason"]), (403, &json!("quotaExceeded")));
}

/// Returns the results of a search, page by page, until the last page or `most` results.
fn pages(asks: &Asks, key: &str, rest: &str, most: usize) -> Vec<Vec<String>> {
    let (mut pages, mut next) = (Vec::new(), String::new());
    while pages.len() < most {
        let path = format!(
            "/youtube/v3/search?part=snippet&type=video&maxResults=10&q=%23storm{rest}{next}"
        );
        let (status, body) = asks.get(&path, key);
        assert_eq!(status, 200, "{body}");
        let id = |item: &Value| item["id"]["videoId"].as_str().unwrap().to_owned();
        pages.push(body["items"].as_array().unwrap().iter().map(id).collect());
        match body["nextPageToken"].as_str() {
            Some(token) => next = format!("&pageToken={token}"),
            None => break,
        }
    }
    pages
}

#[test]
fn youtube_loops_and_lies_when_told_to() {
    let (platform, asks) = start();
    let key = platform.token(Kind::Video);
    platform.history(Kind::Video, 100, 7200);
    let right = pages(&asks, &key, "&order=date", 9);
    assert!(right.len() > 1 && right.len() < 9);
    platform.set(|settings| settings.youtube_loops = true);
    let looped = pages(&asks, &key, "&order=date", right.len() + 1);
    assert_eq!(looped[right.len()], right[0]);
    platform.set(|settings| (settings.youtube_loops, settings.youtube_disorder) = (false, true));
    let wild = pages(&asks, &key, "&order=date&publishedAfter=2100-01-01T00:00:00Z", 9);
    assert_ne!(wild, right);
    let sorted = |pages: Vec<Vec<String>>| {
        let mut all = pages.concat();
        all.sort();
        all
    };
    assert_eq!(sorted(wild), sorted(right), "they are the same in another order");
}

#[test]
fn youtube_answers_304_to_an_etag_and_knows_nothing_of_what_is_missing() {
    let (platform, asks) = start();
    let key = platform.token(Kind::Video);
    let item = platform.publish(Kind::Video, 1)[0];
    let id = platform.with(|inner| inner.world.items[item].id.clone());
    let path = format!("/youtube/v3/videos?part=snippet&id={id}&key={key}");
    let etag = asks.get(&path, &key).1["etag"].as_str().unwrap().to_owned();
    let request = asks.client.get(format!("{}{path}", asks.url)).header("if-none-match", etag);
    assert_eq!(asks.runtime.block_on(request.send()).unwrap().status(), 304);
    platform.with(|inner| inner.youtube.missing.push(id));
    let (status, body) = asks.get(&path, &key);
    assert_eq!((status, body["items"].as_array().unwrap().len()), (200, 0));
}

#[test]
fn facebook_fails_by_code_and_says_how_much_is_used() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Post);
    platform.history(Kind::Post, 40, 3600);
    let path = "/v25.0/watcher_1/feed";
    for code in [1, 2, 4, 17, 32, 190, 200, 368] {
        platform.fault(Place::FacebookPosts, Fault::Code(code, Some(7)));
        let (status, body) = asks.get(path, &token);
        assert!(
            status >= 400 && body["error"]["code"] == code && body["error"]["error_subcode"] == 7,
            "{body}"
        );
    }
    platform.set(|settings| settings.facebook_limit = 10);
    let (status, body) = asks.get(&format!("{path}?limit=50"), &token);
    assert_eq!((status, &body["error"]["code"]), (500, &json!(1)));
    assert!(body["error"]["message"].as_str().unwrap().contains("reduce the amount of data"));
    let answer = asks.send("GET", &format!("{path}?limit=10"), &token, String::new());
    let usage: Value =
        serde_json::from_str(answer.headers()["x-business-use-case-usage"].to_str().unwrap())
            .unwrap();
    assert_eq!(usage["100200300400500"][0]["call_count"], 1, "two of 200 calls");
    platform.set(|settings| (settings.facebook_calls, settings.facebook_business) = (2, false));
    let answer = asks.send("GET", path, &token, String::new());
    assert!(answer.status() == 403 && answer.headers().contains_key("x-app-usage"));
    platform.expire(Kind::Post);
    assert_eq!(asks.get(path, &token).1["error"]["error_subcode"], 463);
}

#[test]
fn x_holds_a_stream_that_was_left_until_it_is_ended() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    platform.set(|settings| settings.x_held = Duration::from_secs(3600));
    add_rules(&asks, &token);
    drop(asks.send("GET", "/2/tweets/search/stream", &token, String::new()));
    platform.wait_until("free stream", |inner| inner.streams.open() == 0);
    assert_eq!(
        asks.get("/2/tweets/search/stream", &token).1["connection_issue"],
        "TooManyConnections"
    );
    assert_eq!(asks.get("/2/connections", &token).1["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        asks.ask("DELETE", "/2/connections/all", &token, String::new()).1["data"]["successful_kills"],
        1
    );
    assert_eq!(asks.send("GET", "/2/tweets/search/stream", &token, String::new()).status(), 200);
}

#[test]
fn x_counts_requests_by_window() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    platform
        .with(|inner| inner.settings.limits.insert(Place::XRecent, (3, Duration::from_secs(900))));
    let statuses: Vec<_> =
        (0..5).map(|_| asks.get("/2/tweets/search/recent?query=%23storm", &token).0).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let asked = platform.requests().at(Place::XRecent);
    assert_eq!((asked.busiest(LONG), asked.pauses().len()), (5, 4));
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn x_gives_no_deleted_post_and_an_edit_is_a_new_one() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    let items = [
        platform.publish_text(Kind::Tweet, "one #storm", 1),
        platform.publish_text(Kind::Tweet, "two #storm", 2),
    ];
    platform.delete(items[0]);
    let edited = platform.edit(items[1]);
    let (_, body) = asks.get("/2/tweets/search/recent?query=%23storm", &token);
    let ids = platform
        .with(|inner| [items[0], items[1], edited].map(|item| inner.world.items[item].id.clone()));
    assert_eq!(body["data"][0]["edit_history_tweet_ids"], json!([ids[1], ids[2]]));
    assert_eq!(body["meta"]["result_count"], 2);
    let (status, body) = asks.get(&format!("/2/tweets?ids={},{}", ids[0], ids[1]), &token);
    assert_eq!(
        (status, &body["data"][0]["id"], &body["errors"][0]["resource_id"]),
        (200, &json!(ids[1]), &json!(ids[0]))
    );
}
