//! The fake platforms themselves, by clients that know nothing of them: what the tests of the
//! sources rest on.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod answers;
mod checks;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use support::platform::{Fault, Kind, Place, Platform};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const TOPICS: [&str; 3] = ["#storm", "rust lang", "from:alice"];

/// The time limit of a wait, which is far longer than any machine needs.
const LIMIT: Duration = Duration::from_secs(60);

/// One with topics, and what runs a client of it.
fn start() -> (Platform, Asks) {
    // Already there if another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let platform = Platform::start(7);
    platform.topics(&TOPICS);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let asks = Asks {
        runtime,
        client: Client::builder().no_proxy().build().unwrap(),
        url: platform.url(),
    };
    (platform, asks)
}

/// A client that blocks.
struct Asks {
    runtime: tokio::runtime::Runtime,
    client: Client,
    url: String,
}

impl Asks {
    fn send(&self, method: &str, path: &str, token: &str, body: String) -> Response {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, format!("{}{path}", self.url)).body(body);
        let request = request.header("authorization", format!("Bearer {token}"));
        self.runtime
            .block_on(async { tokio::time::timeout(LIMIT, request.send()).await.unwrap().unwrap() })
    }

    fn ask(&self, method: &str, path: &str, token: &str, body: String) -> (u16, Value) {
        let answer = self.send(method, path, token, body);
        let status = answer.status().as_u16();
        let text = self.runtime.block_on(answer.text()).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.ask("GET", path, token, String::new())
    }

    /// Reads until the text so far is enough; none if it ends before.
    fn read(
        &self,
        answer: &mut Response,
        read: &mut Vec<u8>,
        enough: impl Fn(&str) -> bool,
    ) -> Option<String> {
        self.runtime.block_on(async {
            loop {
                let text = String::from_utf8_lossy(read).into_owned();
                if enough(&text) {
                    return Some(text);
                }
                match tokio::time::timeout(LIMIT, answer.chunk()).await.unwrap() {
                    Ok(Some(bytes)) => read.extend(bytes),
                    Ok(None) | Err(_) => return None,
                }
            }
        })
    }

    fn socket(&self, path: &str) -> WebSocketStream<TcpStream> {
        self.runtime.block_on(async {
            let host = self.url.trim_start_matches("http://");
            let stream = TcpStream::connect(host).await.unwrap();
            let (socket, _) = tokio_tungstenite::client_async(format!("ws://{host}{path}"), stream)
                .await
                .unwrap();
            socket
        })
    }

    /// The next text of a WebSocket; none at its end.
    fn text(&self, socket: &mut WebSocketStream<TcpStream>) -> Option<Value> {
        self.runtime.block_on(async {
            loop {
                match tokio::time::timeout(LIMIT, socket.next()).await.unwrap() {
                    Some(Ok(Message::Text(text))) => {
                        return Some(serde_json::from_str(&text).unwrap());
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        })
    }
}

/// Whole lines that aren't keep-alives.
fn lines(text: &str) -> Vec<Value> {
    let whole = &text[..text.rfind("\r\n").map_or(0, |at| at + 2)];
    whole
        .split("\r\n")
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The rules for all topics.
fn add_rules(asks: &Asks, token: &str) {
    let rules = json!({"add": [
        {"value": "#storm", "tag": "a"}, {"value": "\"rust lang\" -is:retweet", "tag": "b"}, {"value": "(from:alice OR from:nobody)"},
    ]});
    let (status, body) =
        asks.ask("POST", "/2/tweets/search/stream/rules", token, rules.to_string());
    assert_eq!((status, &body["meta"]["summary"]["created"]), (201, &json!(3)), "{body}");
}

const STREAM: &str = "/2/tweets/search/stream?tweet.fields=created_at,author_id,lang,entities,public_metrics,referenced_tweets,note_tweet,context_annotations&expansions=author_id,referenced_tweets.id&user.fields=public_metrics,description";

/// The ids of items that match a topic.
fn matching(platform: &Platform, items: &[usize]) -> Vec<String> {
    platform.with(|inner| {
        let hit = |item: &&usize| inner.world.items[**item].topics().next().is_some();
        items.iter().filter(hit).map(|item| inner.world.items[*item].id.clone()).collect()
    })
}

#[test]
fn x_streams_what_matches_a_rule_and_keeps_the_line_alive() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    platform.set(|settings| settings.x_keep_alive = Duration::from_millis(20));
    assert_eq!(asks.get(STREAM, &token).0, 409, "it has no rules yet");
    add_rules(&asks, &token);
    let mut answer = asks.send("GET", STREAM, &token, String::new());
    let mut read = Vec::new();
    asks.read(&mut answer, &mut read, |text| text.starts_with("\r\n\r\n")).unwrap();
    let items = platform.publish(Kind::Tweet, 200);
    let wanted = matching(&platform, &items);
    assert!(
        (50..190).contains(&wanted.len()),
        "some match and some don't, but {} do",
        wanted.len()
    );
    let text = asks.read(&mut answer, &mut read, |text| lines(text).len() == wanted.len()).unwrap();
    let posts = lines(&text);
    let ids: Vec<_> =
        posts.iter().map(|post| post["data"]["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, wanted);
    let mean = text.len() / posts.len();
    assert!((1_800..3_500).contains(&mean), "{mean} bytes each");
    assert!(posts.iter().all(|post| !post["matching_rules"].as_array().unwrap().is_empty()));
    assert_eq!(asks.get(STREAM, &token).1["connection_issue"], "TooManyConnections");
    drop(answer);
    platform.wait_until("free stream", |inner| inner.streams.open() == 0);
    assert_eq!(asks.send("GET", STREAM, &token, String::new()).status(), 200);
}

#[test]
fn x_speaks_the_new_words_when_told_to() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    platform.set(|settings| (settings.x_new_words, settings.x_post_fields) = (true, true));
    platform.publish(Kind::Tweet, 60);
    let path = "/2/tweets/search/recent?query=%23storm&max_results=100&";
    let (status, _) = asks.get(&format!("{path}tweet.fields=created_at"), &token);
    assert_eq!(status, 400);
    let (_, body) = asks.get(
        &format!(
            "{path}post.fields=public_metrics,referenced_posts&expansions=referenced_posts.id"
        ),
        &token,
    );
    let first = &body["data"][0];
    assert!(
        first["public_metrics"]["repost_count"].is_u64()
            && first["edit_history_post_ids"].is_array(),
        "{first}"
    );
    assert!(body["includes"]["posts"].is_array(), "{}", body["includes"]);
}

#[test]
fn x_searches_in_pages_from_the_newest_down() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    let items = platform.history(Kind::Tweet, 300, 3600);
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let path = "/2/tweets/search/recent?query=%28%23storm%20OR%20%22rust%20lang%22%20OR%20from%3Aalice%29&max_results=50";
        let (status, body) = asks.get(&format!("{path}{next}"), &token);
        assert_eq!(status, 200, "{body}");
        found.extend(
            body["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|post| post["id"].as_str().unwrap().to_owned()),
        );
        match body["meta"]["next_token"].as_str() {
            Some(token) => next = format!("&next_token={token}"),
            None => break,
        }
    }
    found.reverse();
    assert_eq!(found, matching(&platform, &items));
    let (_, body) = asks.get(
        &format!("/2/tweets/search/recent?query=%23storm&since_id={}", found.last().unwrap()),
        &token,
    );
    assert_eq!((body.get("data"), &body["meta"]["result_count"]), (None, &json!(0)));
}

#[test]
fn x_says_which_rules_are_wrong_and_which_there_are_already() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    let add = |rules: Value| {
        asks.ask(
            "POST",
            "/2/tweets/search/stream/rules",
            &token,
            json!({ "add": rules }).to_string(),
        )
    };
    let bad = json!([{"value": "-(a b)"}, {"value": "bio:me"}, {"value": "lang:en"}, {"value": "(open"}, {"value": "fine"}]);
    let (status, body) = add(bad);
    assert_eq!(
        (status, &body["meta"]["summary"]["invalid"], body.get("data")),
        (400, &json!(4), None),
        "{body}"
    );
    assert_eq!(add(json!([{"value": "fine", "tag": "t"}])).0, 201);
    let (status, body) = add(json!([{"value": "fine", "tag": "t"}]));
    assert_eq!((status, body["errors"][0]["title"].as_str()), (200, Some("DuplicateRule")));
    let id = body["errors"][0]["id"].clone();
    let (_, body) = asks.ask(
        "POST",
        "/2/tweets/search/stream/rules",
        &token,
        json!({"delete": {"ids": [id]}}).to_string(),
    );
    assert_eq!(body["meta"]["summary"]["deleted"], 1);
    assert_eq!(asks.get("/2/tweets/search/stream/rules", &token).1.get("data"), None);
}

#[test]
fn a_stream_is_cut_stalled_closed_and_reset() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    platform.set(|settings| settings.x_keep_alive = Duration::from_millis(20));
    add_rules(&asks, &token);
    for fault in
        [Fault::CutLine, Fault::CutCharacter, Fault::Close, Fault::Reset, Fault::Disconnect]
    {
        platform.wait_until("free stream", |inner| inner.streams.open() == 0);
        let mut answer = asks.send("GET", STREAM, &token, String::new());
        let mut read = Vec::new();
        platform.fault(Place::XStream, fault.clone());
        platform.publish(Kind::Tweet, 30);
        assert_eq!(asks.read(&mut answer, &mut read, |_| false), None);
        let text = String::from_utf8(read.clone());
        match fault {
            Fault::CutCharacter => assert!(text.is_err()),
            Fault::CutLine => assert!(!text.unwrap().ends_with('\n')),
            Fault::Disconnect => {
                assert_eq!(
                    lines(&text.unwrap()).pop().unwrap()["errors"][0]["title"],
                    "operational-disconnect"
                );
            }
            _ => drop(lines(&text.unwrap())),
        }
        assert_eq!(platform.met().pop(), Some((Place::XStream, fault)));
    }
    platform.wait_until("free stream", |inner| inner.streams.open() == 0);
    let mut answer = asks.send("GET", STREAM, &token, String::new());
    platform.fault(Place::XStream, Fault::Stall(Duration::from_secs(600)));
    platform.wait_until("stall", |inner| inner.faults.waiting() == 0);
    let silent = async {
        tokio::time::timeout(Duration::from_millis(200), async {
            while answer.chunk().await.unwrap().unwrap() == "\r\n" {}
        })
        .await
    };
    assert!(asks.runtime.block_on(silent).is_err());
}

#[test]
fn answers_fail_as_they_are_told_to() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    let path = "/2/tweets/search/recent?query=%23storm";
    platform.publish(Kind::Tweet, 50);
    platform.fault(Place::XRecent, Fault::Status(503));
    platform.fault(Place::XRecent, Fault::RateLimited(Duration::from_secs(60)));
    platform.fault(Place::XRecent, Fault::Duplicate);
    assert_eq!(asks.get(path, &token).0, 503);
    let answer = asks.send("GET", path, &token, String::new());
    let reset: i64 = answer.headers()["x-rate-limit-reset"].to_str().unwrap().parse().unwrap();
    let wait = reset - support::platform::facebook::now_s();
    assert!(answer.status() == 429 && (55..=62).contains(&wait), "{wait} s");
    assert_eq!(asks.get(path, &token).1["data"].as_array().unwrap().len(), 20);
    assert_eq!(asks.get(path, &token).1["data"].as_array().unwrap().len(), 10);
    platform.expire(Kind::Tweet);
    assert_eq!(asks.get(path, &token).0, 401);
    assert_eq!(asks.get(path, &platform.renew(Kind::Tweet)).0, 200);
    let asked = platform.requests().at(Place::XRecent);
    let statuses: Vec<_> = asked.0.iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [503, 429, 200, 200, 401, 200]);
    assert_eq!(asked.0[0].header("authorization"), Some("Bearer <secret>"));
    platform.assert_hidden(&format!("{asked:?}"));
}

#[test]
fn jetstream_goes_on_from_a_cursor() {
    let (platform, asks) = start();
    platform.history(Kind::Bsky, 20, 3600);
    let mut socket = asks.socket("/subscribe?wantedCollections=app.bsky.feed.post");
    platform.wait_for(Place::Jetstream, 1);
    let items = platform.publish(Kind::Bsky, 20);
    platform.delete(items[3]);
    let mut frames = Vec::new();
    while frames.len() < 21 {
        let frame = asks.text(&mut socket).unwrap();
        frames.extend((frame["kind"] == "commit").then_some(frame));
    }
    assert_eq!(frames[20]["commit"]["operation"], "delete");
    assert!(frames.windows(2).all(|two| two[0]["time_us"].as_u64() < two[1]["time_us"].as_u64()));
    let cursor = frames[10]["time_us"].as_u64().unwrap();
    let mut again =
        asks.socket(&format!("/subscribe?wantedCollections=app.bsky.feed.*&cursor={cursor}"));
    assert_eq!(asks.text(&mut again).unwrap(), frames[10]);
    // One that reaches too far is moved to the oldest, and nothing says so.
    platform.set(|settings| settings.jetstream_reach = Duration::from_secs(1800));
    let mut oldest = asks.socket("/subscribe?cursor=1000000000000000");
    let first = asks.text(&mut oldest).unwrap()["time_us"].as_i64().unwrap();
    assert!(first > support::platform::world::now_us() - 1_800_000_000);
    // One for each that listens.
    platform.faults(Place::Jetstream, Fault::CutLine, 3);
    platform.publish(Kind::Bsky, 5);
    while asks.text(&mut again).is_some() {}
}

#[test]
fn mastodon_streams_both_ways_and_lists_what_was_missed() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Toot);
    platform.set(|settings| settings.mastodon_thump = Duration::from_millis(20));
    assert_eq!(asks.get("/api/v1/streaming/public", "wrong").0, 401);
    let (_, instance) = asks.get("/api/v2/instance", "");
    assert_eq!(instance["configuration"]["urls"]["streaming"], platform.ws_url());
    let mut answer = asks.send("GET", "/api/v1/streaming/hashtag?tag=Storm", &token, String::new());
    let mut socket = asks.socket(&format!("/api/v1/streaming?stream=public&access_token={token}"));
    platform.wait_for(Place::MastodonStream, 3);
    let mut read = Vec::new();
    asks.read(&mut answer, &mut read, |text| text.starts_with(":thump\n:thump\n")).unwrap();
    let items = platform.publish(Kind::Toot, 40);
    platform.edit(items[0]);
    platform.delete(items[1]);
    let events: Vec<_> = (0..42).map(|_| asks.text(&mut socket).unwrap()).collect();
    assert_eq!(
        (&events[40]["event"], &events[41]["event"]),
        (&json!("status.update"), &json!("delete"))
    );
    let status: Value = serde_json::from_str(events[0]["payload"].as_str().unwrap()).unwrap();
    let storms = platform.with(|inner| {
        let hit = |item: &&usize| inner.world.items[**item].topics().any(|topic| topic == "#storm");
        items.iter().filter(hit).count()
    });
    asks.read(&mut answer, &mut read, |text| {
        text.matches("event: update\ndata: {").count() == storms
    })
    .unwrap();
    let first = status["id"].as_str().unwrap();
    let page = asks.send(
        "GET",
        &format!("/api/v1/timelines/public?min_id={first}&limit=10"),
        &token,
        String::new(),
    );
    assert!(page.headers()["link"].to_str().unwrap().contains("rel=\"prev\""));
    assert!(page.headers()["x-ratelimit-reset"].to_str().unwrap().ends_with('Z'));
    let page: Value = serde_json::from_str(&asks.runtime.block_on(page.text()).unwrap()).unwrap();
    let ids: Vec<_> = page
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|s| s["id"].as_str().unwrap().to_owned())
        .collect();
    let after = platform.with(|inner| {
        items[2..12].iter().map(|item| inner.world.items[*item].id.clone()).collect::<Vec<_>>()
    });
    assert_eq!(ids, after, "the deleted one isn't among them");
}

#[test]
fn the_same_seed_makes_the_same_world() {
    let texts = |seed| {
        let platform = Platform::start(seed);
        platform.topics(&TOPICS);
        platform.publish(Kind::Toot, 50);
        platform.with(|inner| {
            inner.world.items.iter().map(|item| item.last().draft.text.clone()).collect::<Vec<_>>()
        })
    };
    assert_eq!(texts(3), texts(3));
    assert_ne!(texts(3), texts(4));
}

#[test]
fn weather_is_the_same_for_the_same_seed() {
    let met = || {
        let (platform, asks) = start();
        let token = platform.token(Kind::Tweet);
        let faults = vec![
            Fault::Status(503),
            Fault::RateLimited(Duration::from_secs(1)),
            Fault::TooManyConnections,
        ];
        platform.weather(support::platform::Weather { seed: 5, one_in: 4, faults, places: vec![] });
        (0..40).for_each(|_| drop(asks.get("/2/tweets/search/recent?query=%23storm", &token)));
        platform.met()
    };
    let first = met();
    assert!((4..20).contains(&first.len()), "{first:?}");
    assert_eq!(first, met());
}
