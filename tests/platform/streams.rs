//! Tests of faults within streams, besides their ends.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use reqwest::Response;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::platform::{Fault, Kind, Place, Platform};
use crate::{Asks, STREAM, add_rules, lines, start};

/// One on which all of these come: `#storm 0`, `#storm 1`, …
fn streamed(fault: Fault, posts: usize) -> (Platform, Asks, Response) {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    add_rules(&asks, &token);
    let answer = asks.send("GET", STREAM, &token, String::new());
    platform.fault(Place::XStream, fault);
    (0..posts).for_each(|n| {
        platform.publish_text(Kind::Tweet, &format!("港 #storm {n}"), 1);
    });
    (platform, asks, answer)
}

/// The last digit of each post's text.
fn numbers(lines: &[Value]) -> String {
    let text = |line: &Value| {
        line["data"]["note_tweet"]["text"]
            .as_str()
            .or(line["data"]["text"].as_str())
            .map(str::to_owned)
    };
    lines.iter().filter_map(text).filter_map(|text| text.chars().last()).collect()
}

#[test]
fn posts_come_twice_or_in_another_order() {
    for (fault, wanted) in [(Fault::Duplicate, "0012"), (Fault::Reorder, "102")] {
        let (_platform, asks, mut answer) = streamed(fault, 3);
        let text = asks
            .read(&mut answer, &mut Vec::new(), |text| lines(text).len() == wanted.len())
            .unwrap();
        assert_eq!(numbers(&lines(&text)), wanted);
    }
}

#[test]
fn unknown_lines_and_errors_stand_among_posts() {
    let (_platform, asks, mut answer) = streamed(Fault::Unknown, 2);
    let text = asks.read(&mut answer, &mut Vec::new(), |text| lines(text).len() == 3).unwrap();
    assert!(lines(&text)[0].get("system").is_some());
    let (_platform, asks, mut answer) = streamed(Fault::Partial, 2);
    let text = asks.read(&mut answer, &mut Vec::new(), |text| lines(text).len() == 2).unwrap();
    assert!(lines(&text)[0]["data"].is_object() && lines(&text)[0]["errors"].is_array());
    let (_platform, asks, mut answer) = streamed(Fault::Garbage, 2);
    asks.read(&mut answer, &mut Vec::new(), |text| text.starts_with("{\"data\":{\"id\":\r\n{"))
        .unwrap();
}

#[test]
fn a_line_that_dribbles_arrives_whole() {
    let (_platform, asks, mut answer) = streamed(Fault::Dribble(Duration::from_micros(10)), 2);
    let text = asks.read(&mut answer, &mut Vec::new(), |text| lines(text).len() == 2).unwrap();
    assert_eq!(numbers(&lines(&text)), "01");
}

#[test]
fn a_stall_that_ends_loses_nothing() {
    let (_platform, asks, mut answer) = streamed(Fault::Stall(Duration::from_millis(100)), 3);
    let text = asks.read(&mut answer, &mut Vec::new(), |text| lines(text).len() == 3).unwrap();
    let mut numbers: Vec<_> = numbers(&lines(&text)).chars().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ['0', '1', '2']);
}

#[test]
fn x_ends_the_stream_of_a_client_that_reads_too_slowly() {
    let (platform, asks, mut answer) = streamed(Fault::Stall(Duration::from_millis(100)), 1);
    platform.set(|settings| settings.x_buffer = 20);
    platform.wait_until("stall", |inner| inner.faults.waiting() == 0);
    platform.publish(Kind::Tweet, 50);
    let (mut read, never) = (Vec::new(), |_: &str| false);
    assert_eq!(asks.read(&mut answer, &mut read, never), None);
}

#[test]
fn jetstream_takes_options_and_refuses_bad_ones() {
    let (platform, asks) = start();
    let mut socket = asks.socket("/subscribe?requireHello=true");
    let alice = crate::support::platform::world::did(40);
    platform.wait_for(Place::Jetstream, 1);
    let tell = |socket: &mut _, text: String| {
        let sent: Result<(), _> =
            asks.runtime.block_on(SinkExt::send(socket, Message::Text(text.into())));
        sent.unwrap();
    };
    let payload = json!({"wantedCollections": ["app.bsky.feed.post"], "wantedDids": [alice]});
    tell(&mut socket, json!({"type": "options_update", "payload": payload}).to_string());
    platform.publish_text(Kind::Bsky, "by somebody", 3);
    platform.publish_text(Kind::Bsky, "by her", 40);
    let first = asks.text(&mut socket).unwrap();
    assert_eq!(first["commit"]["record"]["text"], "by her");
    tell(
        &mut socket,
        "{\"type\":\"options_update\",\"payload\":{\"wantedDids\":[\"nobody\"]}}".into(),
    );
    while asks.text(&mut socket).is_some() {}
}

#[test]
fn mastodon_takes_subscriptions_and_names_its_host() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Toot);
    let mut socket = asks.socket(&format!("/api/v1/streaming?access_token={token}"));
    let tell = |socket: &mut _, told: Value| {
        let sent: Result<(), _> =
            asks.runtime.block_on(SinkExt::send(socket, Message::Text(told.to_string().into())));
        sent.unwrap();
    };
    tell(&mut socket, json!({"type": "subscribe", "stream": "hashtag", "tag": "Storm"}));
    // The answer to this shows that the one before was heard.
    tell(&mut socket, json!({"type": "subscribe", "stream": "nonsense"}));
    assert_eq!(asks.text(&mut socket).unwrap()["status"], 400);
    platform.publish_text(Kind::Toot, "not this one", 1);
    platform.publish_text(Kind::Toot, "this #STORM", 1);
    assert_eq!(asks.text(&mut socket).unwrap()["stream"], json!(["hashtag", "storm"]));
    platform.with(|inner| inner.mastodon.streaming = Some("wss://streams.example".into()));
    let bare = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let asked = bare.get(format!("{}/api/v1/streaming", asks.url)).bearer_auth(&token).send();
    let answer = asks.runtime.block_on(asked).unwrap();
    assert_eq!(answer.headers()["location"], "https://streams.example/api/v1/streaming");
}

#[test]
fn a_burst_of_thousands_arrives_whole_and_in_order() {
    let (platform, asks) = start();
    let token = platform.token(Kind::Tweet);
    add_rules(&asks, &token);
    let mut answer = asks.send("GET", STREAM, &token, String::new());
    let began = Instant::now();
    platform.fault(Place::XStream, Fault::Stall(Duration::from_millis(50)));
    let items = platform.publish(Kind::Tweet, 5_000);
    let wanted = crate::matching(&platform, &items);
    let (mut text, mut read) = (Vec::new(), 0);
    asks.runtime.block_on(async {
        while read < wanted.len() {
            let part = answer.chunk().await.unwrap().unwrap();
            read += part.iter().filter(|byte| **byte == b'\n').count();
            text.extend(part);
        }
    });
    eprintln!("{} posts, {} MB, {:?}", wanted.len(), text.len() >> 20, began.elapsed());
    let text = String::from_utf8(text).unwrap();
    let ids: Vec<_> =
        lines(&text).iter().map(|line| line["data"]["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, wanted);
}
