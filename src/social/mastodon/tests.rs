mod hosts;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::social::tests::trial::{Trial, run, until};

const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

/// A Mastodon instance. Requests other than streams are answered from a queue, or with an empty
/// list.
struct Instance {
    listener: TcpListener,
    /// The paths of requests, and true if they had the token.
    asked: RefCell<Vec<(String, bool)>>,
    /// The answers: the beginning of the path, status, headers, body.
    answers: RefCell<VecDeque<(&'static str, u16, String, String)>>,
    streams: RefCell<VecDeque<TcpStream>>,
}

impl Instance {
    async fn new() -> Rc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Rc::new(Self {
            listener,
            asked: RefCell::default(),
            answers: RefCell::default(),
            streams: RefCell::default(),
        })
    }

    fn address(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    fn answer(&self, path: &'static str, status: u16, headers: &str, body: impl ToString) {
        self.answers.borrow_mut().push_back((path, status, headers.into(), body.to_string()));
    }

    /// Serves without an end, one request for each connection.
    async fn serve(&self) {
        loop {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let request = String::from_utf8(request).unwrap();
            let line = request.lines().next().unwrap_or_default().to_owned();
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            self.asked.borrow_mut().push((
                path.clone(),
                request.to_lowercase().contains("authorization: bearer t0ken"),
            ));
            let queued = {
                let mut answers = self.answers.borrow_mut();
                let at = answers.iter().position(|(begin, ..)| path.starts_with(begin));
                at.and_then(|at| answers.remove(at))
            };
            let (status, headers, body) = match queued {
                Some((_, status, headers, body)) => (status, headers, body),
                None if path.starts_with("/api/v1/streaming/") => {
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n:)\n";
                    stream.write_all(head.as_bytes()).await.unwrap();
                    self.streams.borrow_mut().push_back(stream);
                    continue;
                }
                None if path == "/api/v2/instance" => (404, String::new(), String::new()),
                None => (200, String::new(), "[]".into()),
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n",
                body.len()
            );
            let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await;
        }
    }

    async fn stream(&self) -> TcpStream {
        until(|| !self.streams.borrow().is_empty()).await;
        self.streams.borrow_mut().pop_front().unwrap()
    }

    fn asked_for(&self, begin: &str) -> Vec<String> {
        self.asked
            .borrow()
            .iter()
            .map(|(path, _)| path.clone())
            .filter(|path| path.starts_with(begin))
            .collect()
    }
}

fn config(instance: &Instance, topics: &[&str]) -> Mastodon {
    let base: Mastodon =
        serde_json::from_str(r#"{"instance":"i.example","access_token":"t0ken"}"#).unwrap();
    let topics = topics.iter().map(|topic| topic.parse().unwrap()).collect();
    Mastodon { base_url: Some(instance.address()), topics, ..base }
}

fn id(time: OffsetDateTime, low: u64) -> String {
    (((time.unix_timestamp_nanos() / 1_000_000) as u64) << 16 | low).to_string()
}

fn status(time: OffsetDateTime, low: u64) -> Value {
    let id = id(time, low);
    json!({ "id": id, "uri": format!("https://i.example/s/{id}"), "created_at": crate::social::stamp(time), "edited_at": null,
        "content": "<p>a <a>#<span>storm</span></a></p>", "language": "en", "tags": [{ "name": "storm" }],
        "account": { "id": "1", "acct": "a", "username": "a" }, "spoiler_text": "" })
}

async fn send(stream: &mut TcpStream, name: &str, data: impl ToString) {
    let text = format!("event: {name}\ndata: {}\n\n", data.to_string());
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Runs the source and the instance beside a test, until the test is done.
async fn beside(
    config: &Mastodon,
    instance: &Instance,
    feed: &Trial,
    test: impl Future<Output = ()>,
) {
    let mut source = Platform::source(config).unwrap();
    let ended = async {
        let ended = source.run(&feed.feed).await;
        panic!("it ended: {ended:?}");
    };
    let both = futures_util::future::join(ended, instance.serve());
    futures_util::future::select(std::pin::pin!(both), std::pin::pin!(test)).await;
}

async fn advance_until(clock: &ManualClock, mut so: impl FnMut() -> bool) {
    while !so() {
        clock.advance(Duration::from_millis(200));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn events_become_posts_edits_and_deletions() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#Storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        beside(&config, &instance, &feed, async {
            let mut stream = instance.stream().await;
            send(&mut stream, "update", status(NOW, 1)).await;
            let mut edit = status(NOW, 1);
            edit["edited_at"] = "2026-11-25T12:00:01.000Z".into();
            send(&mut stream, "status.update", &edit).await;
            send(&mut stream, "filters_changed", "undefined").await;
            send(&mut stream, "update", "{\"id\":").await;
            send(&mut stream, "delete", id(NOW, 1)).await;
            until(|| feed.all().len() == 4).await;
        })
        .await;
        let kinds: Vec<_> = feed.all().iter().map(|post| post.kind().to_owned()).collect();
        assert_eq!(kinds, ["toot", "toot", "_refused", "delete"]);
        let delete = &feed.bodies("delete")[0];
        assert_eq!(
            (delete["id"].as_str(), delete["raw"].as_str()),
            (Some(&*id(NOW, 1)), Some(&*id(NOW, 1)))
        );
        assert_eq!(
            instance.asked_for("/api/v1/streaming/"),
            ["/api/v1/streaming/hashtag?tag=storm"]
        );
        assert!(instance.asked.borrow().iter().all(|(_, token)| *token));
        assert!(feed.bodies("gap").is_empty());
    });
}

#[test]
fn what_was_missed_is_filled_by_ascending_pages_while_the_stream_goes_on() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        beside(&config, &instance, &feed, async {
            let mut stream = instance.stream().await;
            send(&mut stream, "update", status(NOW, 1)).await;
            until(|| feed.all().len() == 1).await;
        })
        .await;
        clock.advance(Duration::from_secs(3600));
        let at = |second| NOW + Duration::from_secs(second);
        instance.answer(
            "/api/v1/timelines/tag/storm",
            200,
            "",
            json!([status(at(20), 3), status(at(10), 2), status(NOW, 1)]),
        );
        instance.answer("/api/v1/timelines/tag/storm", 503, "", "");
        instance.answer("/api/v1/timelines/tag/storm", 200, "", json!([status(at(30), 4)]));
        let now = clock.now();
        let feed = feed.restart(Mastodon::KIND, config.common(), now);
        let clock = feed.clock.clone();
        beside(&config, &instance, &feed, async {
            let mut stream = instance.stream().await;
            send(&mut stream, "update", status(at(3600), 9)).await;
            // The filling begins only when the server surely sends everything on the new stream.
            until(|| feed.bodies("toot").len() == 2).await;
            assert!(instance.asked_for("/api/v1/timelines/").is_empty());
            advance_until(&clock, || feed.state().contains("503")).await;
            assert!(clock.now() >= now + Duration::from_secs(5));
            until(|| feed.bodies("toot").len() == 4).await;
            advance_until(&clock, || feed.bodies("gap").len() == 2).await;
        })
        .await;
        let asked = instance.asked_for("/api/v1/timelines/");
        let from = format!(
            "/api/v1/timelines/tag/storm?min_id={}&limit=40",
            id(NOW - Duration::from_secs(30), 0)
        );
        assert_eq!(asked[0], from);
        assert!(asked[1].contains(&id(at(20), 3)) && asked[2] == asked[1], "{asked:?}");
        assert!(asked[3].contains(&id(at(30), 4)), "{asked:?}");
        let gaps = feed.bodies("gap");
        assert!(gaps[0]["to"].as_str().unwrap() >= "2026-11-25T13:00:05", "{}", gaps[0]["to"]);
        assert_eq!(
            (gaps[0]["filled"].as_bool(), gaps[1]["filled"].as_bool()),
            (Some(false), Some(true))
        );
        assert_eq!(
            (gaps[1]["posts"].as_u64(), gaps[1]["part"].as_str()),
            (Some(3), Some("#storm"))
        );
        assert!(feed.feed.open_gaps().is_empty());
        assert_eq!(feed.bodies("toot").len(), 5);
    });
}

#[test]
fn where_ids_tell_no_time_each_gap_is_filled_from_the_last_toot_before_it() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#storm"]);
        let mut feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let toot = |id: &str, second: u64| {
            let mut toot = status(NOW + Duration::from_secs(second), 0);
            toot["id"] = id.into();
            toot["uri"] = format!("https://i.example/s/{id}").into();
            toot
        };
        // There are two outages, and at first the timeline can't be read.
        for (second, id) in [(0, "9uXhk2fLxO1yD5IHAa"), (100, "9uXhk2fLxO1yD5IHAc")] {
            instance.answer("/api/v1/timelines/tag/storm", 404, "", "");
            let seen = feed.bodies("toot").len();
            beside(&config, &instance, &feed, async {
                let mut stream = instance.stream().await;
                send(&mut stream, "update", toot(id, second)).await;
                until(|| feed.bodies("toot").len() > seen).await;
                if second > 0 {
                    let clock = feed.clock.clone();
                    advance_until(&clock, || !instance.asked_for("/api/v1/timelines/").is_empty())
                        .await;
                }
            })
            .await;
            let now = NOW + Duration::from_secs(second + 50);
            feed = feed.restart(Mastodon::KIND, config.common(), now);
        }
        instance.answers.borrow_mut().clear();
        instance.answer(
            "/api/v1/timelines/tag/storm",
            200,
            "",
            json!([toot("9uXhk2fLxO1yD5IHAb", 60)]),
        );
        instance.answer("/api/v1/timelines/tag/storm", 200, "", "[]");
        instance.answer(
            "/api/v1/timelines/tag/storm",
            200,
            "",
            json!([toot("9uXhk2fLxO1yD5IHAd", 110)]),
        );
        let before = instance.asked_for("/api/v1/timelines/").len();
        beside(&config, &instance, &feed, async {
            let _stream = instance.stream().await;
            let clock = feed.clock.clone();
            advance_until(&clock, || feed.bodies("gap").len() == 4).await;
        })
        .await;
        let asked = instance.asked_for("/api/v1/timelines/").split_off(before);
        let begins = ["a", "b", "c", "d"].map(|end| format!("min_id=9uXhk2fLxO1yD5IHA{end}&"));
        assert!(
            asked.len() == 4
                && asked.iter().zip(&begins).all(|(asked, begin)| asked.contains(begin)),
            "{asked:?}"
        );
        assert_eq!(feed.bodies("toot").len(), 4);
        assert!(feed.feed.open_gaps().is_empty());
        assert_eq!(feed.feed.cursor("fill #storm").as_deref(), Some(""));
    });
}

#[test]
fn heartbeats_keep_a_quiet_stream_and_silence_ends_it() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        beside(&config, &instance, &feed, async {
            let mut stream = instance.stream().await;
            // The stream has a day of heartbeats, with a burst now and then.
            let (mut sent, mut thumps) = (0, 0);
            while clock.now() < NOW + Duration::from_secs(86_400) {
                clock.advance(Duration::from_secs(15));
                thumps += 1;
                stream.write_all(b":thump\n").await.unwrap();
                let burst = if thumps % 400 == 0 { 250 } else { 1 };
                for _ in 0..burst {
                    sent += 1;
                    send(&mut stream, "update", status(clock.now(), sent)).await;
                }
                // The source has read everything before this.
                until(|| feed.feed.has_seen(&newest(clock.now(), sent))).await;
            }
            assert_eq!(instance.asked_for("/api/v1/streaming/").len(), 1);
            until(|| feed.bodies("toot").len() as u64 == sent).await;
            let ended = clock.now();
            advance_until(&clock, || instance.asked_for("/api/v1/streaming/").len() == 2).await;
            let silence = clock.now() - ended;
            assert!(
                silence >= Duration::from_secs(60) && silence < Duration::from_secs(63),
                "{silence}"
            );
            advance_until(&clock, || feed.bodies("gap").len() == 2).await;
        })
        .await;
    });
}

fn newest(time: OffsetDateTime, low: u64) -> crate::post::Post {
    crate::social::post("toot", status(time, low).to_string().as_bytes(), &[], NOW).unwrap()
}

#[test]
fn reconnects_back_off_and_a_limit_is_waited_for() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        for _ in 0..4 {
            instance.answer("/api/v1/streaming/", 503, "", "");
        }
        instance.answer(
            "/api/v1/streaming/",
            429,
            "x-ratelimit-reset: 2026-11-25T12:05:00.000Z\r\n",
            r#"{"error":"Too many requests"}"#,
        );
        beside(&config, &instance, &feed, async {
            let asked = || instance.asked_for("/api/v1/streaming/").len();
            let mut times = Vec::new();
            for number in 1..=5 {
                advance_until(&clock, || asked() == number).await;
                times.push((clock.now() - NOW).as_seconds_f64());
            }
            let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            for (wait, full) in waits.iter().zip([1.0, 2.0, 4.0, 8.0]) {
                assert!(*wait >= full / 2.0 && *wait <= full + 0.5, "{waits:?}");
            }
            until(|| feed.state() == "429 until 12:05:00").await;
            advance_until(&clock, || asked() == 6).await;
            assert!(clock.now() >= NOW + Duration::from_secs(300));
        })
        .await;
    });
}

#[test]
fn a_token_that_is_refused_stops_it_with_what_to_do() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        instance.answer("/api/v1/streaming/", 401, "", r#"{"error":"Invalid access token"}"#);
        let mut source = Platform::source(&config).unwrap();
        let serving = std::pin::pin!(instance.serve());
        let ended = futures_util::future::select(source.run(&feed.feed), serving).await;
        let futures_util::future::Either::Left((ended, _)) = ended else { panic!("it went on") };
        let error = ended.unwrap_err().chain();
        assert!(
            error.contains("Invalid access token") && error.contains("read:statuses"),
            "{error}"
        );
        assert!(!error.contains("t0ken"), "{error}");
    });
}

#[test]
fn streams_are_read_from_the_host_that_the_instance_names() {
    run(async {
        let (instance, streaming) = (Instance::new().await, Instance::new().await);
        let config = config(&instance, &["#storm", "#rain"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let named = streaming.address().replace("http", "ws");
        // Both streams ask at once.
        for _ in 0..2 {
            instance.answer(
                "/api/v2/instance",
                200,
                "",
                json!({ "configuration": { "urls": { "streaming": named } } }),
            );
        }
        beside(&config, &instance, &feed, async {
            let found = async {
                streaming.stream().await;
                streaming.stream().await;
            };
            futures_util::future::select(std::pin::pin!(streaming.serve()), std::pin::pin!(found))
                .await;
        })
        .await;
        let mut tags = streaming.asked_for("/api/v1/streaming/hashtag");
        tags.sort_unstable();
        assert_eq!(
            tags,
            ["/api/v1/streaming/hashtag?tag=rain", "/api/v1/streaming/hashtag?tag=storm"]
        );
        assert!(streaming.asked.borrow().iter().all(|(_, token)| *token));
        assert!(instance.asked_for("/api/v1/streaming").is_empty());
    });
}

#[test]
fn a_hashtag_that_is_refused_is_left_out_and_the_others_go_on() {
    run(async {
        let instance = Instance::new().await;
        let config = config(&instance, &["#bad", "#storm"]);
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let clock = feed.clock.clone();
        instance.answer("/api/v1/streaming/hashtag?tag=bad", 404, "", r#"{"error":"no such tag"}"#);
        instance.answer(
            "/api/v1/streaming?stream=hashtag&tag=bad",
            404,
            "",
            r#"{"error":"no such tag"}"#,
        );
        beside(&config, &instance, &feed, async {
            let mut stream = instance.stream().await;
            until(|| feed.state().contains("left out: #bad")).await;
            let state = feed.state();
            assert!(state.contains("server-sent events") && state.contains("WebSocket"), "{state}");
            send(&mut stream, "update", status(NOW, 1)).await;
            until(|| feed.bodies("toot").len() == 1).await;
            let asked = || instance.asked_for("/api/v1/streaming/hashtag?tag=bad").len();
            advance_until(&clock, || asked() == 2).await;
            assert!(clock.now() >= NOW + Duration::from_secs(60));
        })
        .await;
    });
}

#[test]
fn one_websocket_has_all_hashtags() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    run(async {
        let instance = Instance::new().await;
        let streaming = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = config(&instance, &["#storm", "#rain"]);
        config.transport = Transport::WebSocket;
        let feed = Trial::start(Mastodon::KIND, config.common(), NOW);
        let named = format!("ws://{}", streaming.local_addr().unwrap());
        instance.answer(
            "/api/v2/instance",
            200,
            "",
            json!({ "configuration": { "urls": { "streaming": named } } }),
        );
        let subscribed = Cell::new(false);
        beside(&config, &instance, &feed, async {
            let (stream, _) = streaming.accept().await.unwrap();
            let mut client = tokio_tungstenite::accept_async(stream).await.unwrap();
            for tag in ["rain", "storm"] {
                let Message::Text(text) = client.next().await.unwrap().unwrap() else { panic!("no text") };
                let request: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(request, json!({ "type": "subscribe", "stream": "hashtag", "tag": tag }));
            }
            subscribed.set(true);
            let event = |name: &str, payload: String| json!({ "stream": ["hashtag", "storm"], "event": name, "payload": payload });
            for event in [event("update", status(NOW, 1).to_string()), event("delete", "17".into())] {
                client.send(Message::text(event.to_string())).await.unwrap();
            }
            until(|| feed.all().len() == 2).await;
        })
        .await;
        assert!(subscribed.get());
        let toot = &feed.bodies("toot")[0];
        assert_eq!(toot["content"], "<p>a <a>#<span>storm</span></a></p>");
        assert_eq!(feed.bodies("delete")[0]["id"], "17");
    });
}

#[test]
fn no_field_that_is_absent_or_of_another_type_loses_a_toot() {
    let whole = status(NOW, 1);
    for (key, _) in whole.as_object().unwrap() {
        for other in [
            None,
            Some(json!(null)),
            Some(json!(7)),
            Some(json!("x")),
            Some(json!([])),
            Some(json!({})),
        ] {
            let mut variant = whole.clone();
            match other {
                Some(other) => variant[key] = other,
                None => _ = variant.as_object_mut().unwrap().remove(key),
            }
            let text = variant.to_string();
            assert_eq!(
                event::read("update", text.as_bytes()),
                Ok(event::Meaning::Status(text.as_bytes())),
                "{text}"
            );
            assert!(crate::social::post("toot", text.as_bytes(), &[], NOW).is_ok());
            place::Place::default().status(text.as_bytes());
        }
    }
}

#[test]
fn what_cannot_work_is_a_problem_of_its_field() {
    let check = |json: &str, fields: &[&str]| {
        let config: Mastodon = serde_json::from_str(json).unwrap();
        assert_eq!(
            config.problems().iter().map(|problem| problem.field).collect::<Vec<_>>(),
            fields,
            "{json}"
        );
    };
    check(
        r##"{"instance":"i.example","access_token":"t","topics":["#a","from:a@b.example"]}"##,
        &[],
    );
    check(
        r#"{"instance":"i.example","access_token":"t","topics":[{"Page":"1"},"a",{"Channel":"2"}]}"#,
        &["topics"; 2],
    );
    check(
        r#"{"instance":"https://i.example","access_token":"t","base_url":"i.example"}"#,
        &["instance", "base_url"],
    );
    check(r#"{"instance":"","access_token":" "}"#, &["instance", "access_token"]);
}
