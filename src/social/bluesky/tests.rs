use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use proptest::prelude::*;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::social::tests::trial::{Trial, run, until};

const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

/// A host of Jetstream that a test controls.
struct Host {
    listener: TcpListener,
    /// The requests of its clients, in order.
    asked: RefCell<Vec<String>>,
}

type Client = WebSocketStream<TcpStream>;

impl Host {
    async fn new() -> Rc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Rc::new(Self { listener, asked: RefCell::default() })
    }

    fn address(&self) -> String {
        format!("ws://{}", self.listener.local_addr().unwrap())
    }

    async fn client(&self) -> Client {
        let (stream, _) = self.listener.accept().await.unwrap();
        #[allow(clippy::result_large_err, reason = "the signature is the library's")]
        let note = |request: &Request, response: Response| {
            self.asked.borrow_mut().push(request.uri().to_string());
            Ok(response)
        };
        tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap()
    }

    fn cursor(&self, connection: usize) -> Option<i64> {
        let asked = self.asked.borrow();
        let (_, cursor) = asked[connection].split_once("cursor=")?;
        cursor.split('&').next()?.parse().ok()
    }
}

fn us(time: OffsetDateTime) -> i64 {
    (time.unix_timestamp_nanos() / 1000) as i64
}

fn commit(number: i64, time_us: i64, text: &str) -> Value {
    let record = json!({ "$type": "app.bsky.feed.post", "createdAt": "2026-01-01T00:00:00Z", "langs": ["en"], "text": text });
    let commit = json!({ "rev": format!("rev{number}"), "operation": "create", "collection": "app.bsky.feed.post",
        "rkey": format!("r{number}"), "record": record, "cid": "c" });
    json!({ "did": "did:plc:a", "time_us": time_us, "kind": "commit", "commit": commit })
}

async fn send(client: &mut Client, event: &Value) {
    client.send(Message::text(event.to_string())).await.unwrap();
}

/// Pings a client, and waits for the answer: the client has then read everything before.
async fn ping(client: &mut Client) {
    client.send(Message::Ping(Default::default())).await.unwrap();
    while !matches!(client.next().await.unwrap().unwrap(), Message::Pong(_)) {}
}

fn config(hosts: &[&Rc<Host>], topics: &[&str]) -> Bluesky {
    let base: Bluesky = serde_json::from_str("{}").unwrap();
    let hosts = hosts.iter().map(|host| host.address()).collect();
    Bluesky {
        base_url: Hosts::Several(hosts),
        topics: topics.iter().map(|topic| topic.parse().unwrap()).collect(),
        ..base
    }
}

/// Runs the source beside a test, until the test is done.
async fn beside(config: &Bluesky, feed: &Trial, test: impl Future<Output = ()>) {
    let mut source = Platform::source(config).unwrap();
    futures_util::future::select(source.run(&feed.feed), std::pin::pin!(test)).map(|_| ()).await;
}

/// Moves the clock in small steps until a condition holds.
async fn advance_until(clock: &ManualClock, mut so: impl FnMut() -> bool) {
    while !so() {
        clock.advance(Duration::from_millis(200));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn it_goes_on_at_the_newest_event_on_the_next_host_and_takes_nothing_twice() {
    run(async {
        let (first, second) = (Host::new().await, Host::new().await);
        let config = config(&[&first, &second], &[]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        let at = us(NOW);
        beside(&config, &feed, async {
            let mut client = first.client().await;
            for number in 0..3 {
                send(&mut client, &commit(number, at + number, "x")).await;
            }
            ping(&mut client).await;
            drop(client);
            let connected = Cell::new(false);
            let mut client = second
                .client()
                .map(|client| {
                    connected.set(true);
                    client
                })
                .boxed_local();
            let moving = advance_until(&clock, || connected.get());
            let (mut client, ()) = futures_util::future::join(&mut client, moving).await;
            assert_eq!(
                second.cursor(0),
                Some(at + 2 - 120_000_000),
                "another host has other times"
            );
            for number in 1..5 {
                send(&mut client, &commit(number, at + number, "x")).await;
            }
            until(|| feed.all().len() == 5).await;
        })
        .await;
        assert_eq!(first.cursor(0), None);
        assert_eq!(feed.bodies("gap"), [] as [Value; 0]);
        let posts = feed.bodies("bsky");
        assert_eq!(posts[0]["received_at"], "2026-11-25T12:00:00Z");
        assert_eq!(
            posts.iter().map(|post| post["time_us"].as_i64().unwrap() - at).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
        // A restart goes on from the position of the last run.
        let now = clock.now();
        let feed = feed.restart(Bluesky::KIND, config.common(), now);
        beside(&config, &feed, async {
            second.client().await;
        })
        .await;
        assert_eq!(
            second.cursor(1),
            Some(at + 4 - 5_000_000),
            "it goes on with the host that it was on"
        );
    });
}

#[test]
fn a_server_that_silently_begins_later_leaves_a_gap() {
    run(async {
        let host = Host::new().await;
        let config = config(&[&host], &["storm"]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        let old = NOW - Duration::from_secs(40 * 3600);
        beside(&config, &feed, async {
            let mut client = host.client().await;
            send(&mut client, &commit(1, us(old), "a storm")).await;
            until(|| feed.all().len() == 1).await;
        })
        .await;
        let now = clock.now();
        let feed = feed.restart(Bluesky::KIND, config.common(), now);
        let clock = feed.clock.clone();
        let first = NOW - Duration::from_secs(36 * 3600);
        beside(&config, &feed, async {
            let mut client = host.client().await;
            // This event isn't even about a topic.
            send(&mut client, &commit(2, us(first), "sun")).await;
            advance_until(&clock, || feed.all().len() == 2).await;
        })
        .await;
        let gap = &feed.bodies("gap")[0];
        assert_eq!(
            (gap["from"].as_str(), gap["to"].as_str()),
            (Some("2026-11-23T20:00:00Z"), Some("2026-11-24T00:00:00Z"))
        );
        assert_eq!(feed.feed.open_gaps().len(), 1);
    });
}

#[test]
fn what_comes_before_the_repeated_events_leaves_no_gap() {
    run(async {
        let host = Host::new().await;
        let config = config(&[&host], &[]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        let minute = us(NOW) + 60_000_000;
        beside(&config, &feed, async {
            let mut client = host.client().await;
            for number in 0..3 {
                send(&mut client, &commit(number, us(NOW) + number, "x")).await;
            }
            ping(&mut client).await;
            drop(client);
            let mut client = reconnected(&host, &clock).await;
            // A message about the server, and a live event that overtakes the repeated ones.
            send(&mut client, &json!({ "did": "did:plc:a", "time_us": minute, "kind": "novelty" }))
                .await;
            send(&mut client, &commit(9, minute, "x")).await;
            for number in 0..9 {
                send(&mut client, &commit(number, us(NOW) + number, "x")).await;
            }
            until(|| feed.bodies("bsky").len() >= 10).await;
            // An event that has overtaken others doesn't move the position.
            drop(client);
            drop(reconnected(&host, &clock).await);
        })
        .await;
        let mut keys: Vec<_> =
            feed.bodies("bsky").iter().map(|post| post["commit"]["rkey"].to_string()).collect();
        keys.sort();
        let expected: Vec<_> = (0..10)
            .map(|number| format!("\"r{number}\""))
            .filter(|key| keys.contains(key))
            .collect();
        assert_eq!((keys.len(), expected.len()), (10, 10), "{keys:?}");
        assert_eq!(feed.bodies("gap"), [] as [Value; 0]);
        assert_eq!(host.cursor(2), Some(us(NOW) + 8 - 5_000_000));
    });
}

#[test]
fn a_server_that_begins_later_leaves_a_gap_though_the_clock_is_slow() {
    run(async {
        let host = Host::new().await;
        let config = config(&[&host], &[]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        beside(&config, &feed, async {
            let mut client = host.client().await;
            send(&mut client, &commit(1, us(NOW), "x")).await;
            until(|| feed.all().len() == 1).await;
        })
        .await;
        let later = NOW + Duration::from_secs(3600);
        let feed = feed.restart(Bluesky::KIND, config.common(), later);
        let clock = feed.clock.clone();
        beside(&config, &feed, async {
            let mut client = host.client().await;
            for number in 2..5 {
                send(&mut client, &commit(number, us(later) + 10_000_000 + number, "x")).await;
            }
            until(|| feed.bodies("bsky").len() == 4).await;
            advance_until(&clock, || !feed.feed.open_gaps().is_empty()).await;
        })
        .await;
        let gaps = feed.feed.open_gaps();
        assert_eq!(gaps.iter().map(|gap| gap.from).collect::<Vec<_>>(), [NOW]);
        let until = later + Duration::from_secs(2);
        assert!((later..until).contains(&gaps[0].to), "a second later it is sure: {}", gaps[0].to);
    });
}

#[test]
fn what_is_deleted_edited_unknown_or_garbage_has_its_place() {
    run(async {
        let host = Host::new().await;
        let config = config(&[&host], &["storm"]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        beside(&config, &feed, async {
            let mut client = host.client().await;
            let at = us(NOW);
            send(&mut client, &commit(1, at, "a storm")).await;
            send(&mut client, &commit(2, at, "sun")).await;
            let mut edit = commit(3, at, "a storm again");
            edit["commit"]["operation"] = "update".into();
            send(&mut client, &edit).await;
            let gone = json!({ "rev": "r", "operation": "delete", "collection": "app.bsky.feed.post", "rkey": "r9" });
            send(&mut client, &json!({ "did": "did:plc:b", "time_us": at, "kind": "commit", "commit": gone })).await;
            let account = json!({ "active": false, "did": "did:plc:c", "status": "deleted" });
            send(&mut client, &json!({ "did": "did:plc:c", "time_us": at, "kind": "account", "account": account }))
                .await;
            send(&mut client, &json!({ "did": "did:plc:c", "time_us": at, "kind": "identity", "identity": {} })).await;
            send(&mut client, &json!({ "did": "did:plc:c", "time_us": at, "kind": "new", "text": "sun" })).await;
            client.send(Message::text("{\"kind\":\"comm")).await.unwrap();
            until(|| feed.all().len() == 5).await;
        })
        .await;
        let kinds: Vec<_> = feed.all().iter().map(|post| post.kind().to_owned()).collect();
        assert_eq!(kinds, ["bsky", "bsky", "delete", "delete", "_refused"]);
        let deletes = feed.bodies("delete");
        assert_eq!(deletes[0]["id"], "at://did:plc:b/app.bsky.feed.post/r9");
        assert_eq!(deletes[0]["raw"]["commit"]["operation"], "delete");
        assert_eq!(deletes[1]["id"], "did:plc:c");
    });
}

#[test]
fn a_night_without_events_is_lived_through_and_a_dead_connection_is_not() {
    run(async {
        let host = Host::new().await;
        let config = config(&[&host], &["from:did:plc:a"]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        beside(&config, &feed, async {
            let mut client = host.client().await;
            send(&mut client, &commit(1, us(NOW), "x")).await;
            // For fifty minutes only pings come.
            for _ in 0..100 {
                clock.advance(Duration::from_secs(30));
                ping(&mut client).await;
            }
            assert_eq!(host.asked.borrow().len(), 1);
            // Then nothing comes: the source asks for a sign of life, gets none, and connects
            // again.
            let connected = Cell::new(false);
            let again = async {
                host.client().await;
                connected.set(true);
            };
            futures_util::future::join(again, advance_until(&clock, || connected.get())).await;
        })
        .await;
        assert!(clock.now() < NOW + Duration::from_secs(3000 + 75), "{}", clock.now());
        assert_eq!(host.cursor(1), Some(us(NOW) - 5_000_000));
        assert_eq!(feed.bodies("gap"), [] as [Value; 0]);
    });
}

#[test]
fn a_busy_stream_that_stands_still_is_begun_anew_though_it_pings() {
    run(async {
        let host = Host::new().await;
        let config = config(&[&host], &[]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        beside(&config, &feed, async {
            let mut client = host.client().await;
            for second in 0..10 {
                send(&mut client, &commit(second, us(NOW) + second * 1_000_000, "x")).await;
            }
            ping(&mut client).await;
            let again = Cell::new(false);
            let reconnects = async {
                host.client().await;
                again.set(true);
            };
            let pinging = async {
                while !again.get() {
                    clock.advance(Duration::from_secs(6));
                    let _ = client.send(Message::Ping(Default::default())).await;
                    let _ = client.next().await;
                    // After the close, nothing else here waits.
                    tokio::task::yield_now().await;
                }
            };
            futures_util::future::join(reconnects, pinging).await;
        })
        .await;
        let seconds = (clock.now() - NOW).whole_seconds();
        assert!((60..90).contains(&seconds), "{seconds}");
    });
}

#[test]
fn a_day_of_bursts_and_silences_is_taken_whole() {
    run(async {
        let host = Host::new().await;
        let config = config(&[&host], &["from:did:plc:a"]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        let (mut sent, mut last) = (0, None);
        beside(&config, &feed, async {
            let mut client = host.client().await;
            for minute in 0..24 * 60 {
                // By day, 250 posts come in one second of each quarter of an hour; at night none
                // come.
                if minute % 15 == 0 && (minute / 60 < 12 || minute / 60 > 17) {
                    for _ in 0..250 {
                        let event = commit(sent, us(clock.now()) + sent, "x");
                        send(&mut client, &event).await;
                        last = Some(event);
                        sent += 1;
                    }
                }
                for _ in 0..2 {
                    clock.advance(Duration::from_secs(30));
                    if client.send(Message::Ping(Default::default())).await.is_err() {
                        client = resumed(&host, &clock, &last).await;
                    }
                    loop {
                        match client.next().await {
                            Some(Ok(Message::Pong(_))) => break,
                            Some(Ok(_)) => {}
                            _ => client = resumed(&host, &clock, &last).await,
                        }
                        client.send(Message::Ping(Default::default())).await.unwrap();
                    }
                }
            }
            until(|| feed.all().len() >= sent as usize).await;
        })
        .await;
        assert_eq!(feed.bodies("bsky").len() as i64, sent);
        assert!(feed.bodies("gap").is_empty());
        let connections = host.asked.borrow().len();
        assert!(
            connections <= 1 + 6,
            "at night the source connects again once an hour at most: {connections}"
        );
    });
}

/// Does the same as [`reconnected`], and repeats the last event, since the cursor is before that
/// event.
async fn resumed(host: &Host, clock: &ManualClock, last: &Option<Value>) -> Client {
    let mut client = reconnected(host, clock).await;
    if let Some(last) = last {
        send(&mut client, last).await;
    }
    client
}

async fn reconnected(host: &Host, clock: &ManualClock) -> Client {
    let connected = Cell::new(false);
    let again = host.client().inspect(|_| connected.set(true));
    futures_util::future::join(again, advance_until(clock, || connected.get())).await.0
}

#[test]
fn a_used_budget_closes_the_connection_until_the_next_interval() {
    run(async {
        let host = Host::new().await;
        let mut config = config(&[&host], &[]);
        config.budget = Some(Budget { posts: 3, per: "1h".parse().unwrap() });
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        beside(&config, &feed, async {
            let mut client = host.client().await;
            for number in 0..5 {
                send(&mut client, &commit(number, us(NOW) + number, "x")).await;
            }
            until(|| feed.state().starts_with("budget used until 13:00:00")).await;
            assert_eq!(feed.bodies("bsky").len(), 3);
            let mut client = reconnected(&host, &clock).await;
            assert!(clock.now() >= NOW + Duration::from_secs(3600));
            assert_eq!(host.cursor(1), Some(us(NOW) + 2 - 5_000_000));
            // Posts that were captured before cost nothing.
            for number in 0..5 {
                send(&mut client, &commit(number, us(NOW) + number, "x")).await;
            }
            until(|| feed.bodies("bsky").len() == 5).await;
            assert_eq!(feed.feed.budget_left(), Some(1));
        })
        .await;
    });
}

#[test]
fn a_request_that_is_refused_stops_it() {
    run(async {
        let host = Host::new().await;
        let config = config(&[&host], &[]);
        let feed = Trial::start(Bluesky::KIND, config.common(), NOW);
        let mut source = Platform::source(&config).unwrap();
        let refuse = async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = host.listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 7\r\n\r\nbad did")
                .await
                .unwrap();
            stream
        };
        let (ended, _stream) = futures_util::future::join(source.run(&feed.feed), refuse).await;
        let error = ended.unwrap_err().chain();
        assert!(error.contains("400") && error.contains("collections and authors"), "{error}");
    });
}

#[test]
fn topics_that_an_event_cannot_show_are_problems() {
    let check = |json: &str, fields: &[&str]| {
        let config: Bluesky = serde_json::from_str(json).unwrap();
        assert_eq!(
            config.problems().iter().map(|problem| problem.field).collect::<Vec<_>>(),
            fields,
            "{json}"
        );
    };
    check("{}", &[]);
    check(
        r##"{"topics":["rust","#storm","@a.example","lang:en","from:did:plc:a","$x","a -b"]}"##,
        &[],
    );
    check(
        r#"{"topics":["from:a.example","rust -from:@b.example",{"Page":"1"},{"Channel":"2"}]}"#,
        &["topics"; 4],
    );
    check(
        r#"{"topics":["from:did:plc:","from:did:PLC:a","from:did:web:b.example%3A80","from:did:plc:a:"]}"#,
        &["topics"; 3],
    );
    check(r#"{"collections":["app.bsky.feed.*","post",""]}"#, &["collections"; 2]);
    check(r#"{"base_url":[]}"#, &["base_url"]);
    check(r#"{"base_url":"ftp://h"}"#, &["base_url"]);
}

/// Returns every variant of an event in which one field differs from its specification.
fn variants(event: &Value) -> Vec<Value> {
    fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
        let Some(object) = value.as_object() else { return };
        for (key, value) in object {
            let path = format!("{at}/{key}");
            paths(value, &path, found);
            found.push(path);
        }
    }
    let mut found = Vec::new();
    paths(event, "", &mut found);
    let mut variants = Vec::new();
    for path in found {
        let (parent, key) = path.rsplit_once('/').unwrap();
        for other in [json!(null), json!(7), json!("x"), json!([]), json!({}), json!(true)] {
            let mut variant = event.clone();
            variant.pointer_mut(parent).unwrap()[key] = other;
            variants.push(variant);
        }
        let mut variant = event.clone();
        variant.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        variants.push(variant);
    }
    variants
}

#[test]
fn no_field_that_is_absent_or_of_another_type_loses_a_post() {
    let v1 = commit(1, us(NOW), "x");
    let mut payload = json!({ "$type": "network.bsky.jetstream.subscribeEvents#commit", "seq": 1, "did": "did:plc:a", "time": "2026-11-25T12:00:00.000001Z" });
    for (key, value) in v1["commit"].as_object().unwrap() {
        payload[key] = value.clone();
    }
    for event in variants(&v1).into_iter().chain([v1]) {
        let text = event.to_string();
        let parsed = frame::parse(text.as_bytes());
        assert!(
            matches!(parsed, Ok(frame::Frame::Post { event, .. }) if event == text.as_bytes()),
            "{text}: {parsed:?}"
        );
    }
    for payload in variants(&payload) {
        let text = json!({ "$type": "message", "payload": payload }).to_string();
        let parsed = frame::parse(text.as_bytes());
        assert!(matches!(parsed, Ok(frame::Frame::Post { .. })), "{text}: {parsed:?}");
    }
}

proptest! {
    #[test]
    fn no_message_makes_the_parser_panic(text in "[ {}\\[\\]\",:a0\\\\u#$]{0,60}", bytes: Vec<u8>) {
        let _ = frame::parse(text.as_bytes());
        let _ = frame::parse(&bytes);
    }
}
