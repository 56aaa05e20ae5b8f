//! The source `Mastodon` against the fake platform, through the program itself: by both transports,
//! with every fault, with kills, and with limits. The lake is compared with the truth, and requests
//! with the specification.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::time::Duration;

use support::platform::{Fault, Kind, Place};
use support::play::{Play, stream_faults};
use support::prism::{self, Prism};

const TAGS: [&str; 1] = ["#storm"];
const TOPICS: [&str; 3] = ["#storm", "rust lang", "from:alice"];

/// By a hashtag.
fn tagged(seed: u64) -> Play {
    let mut play =
        Play::new(seed, (Kind::Toot, Place::MastodonStream), "mastodon", "MASTODON_TOKEN", &TAGS);
    play.platform.set(|settings| settings.mastodon_thump = Duration::from_millis(300));
    let address = play.platform.url();
    play.set(&format!("base_url=\"{address}\""));
    play.set("topics=[\"#storm\"]");
    play
}

/// By what is public.
fn public(seed: u64, transport: &str) -> Play {
    let mut play =
        Play::new(seed, (Kind::Toot, Place::MastodonStream), "mastodon", "MASTODON_TOKEN", &TOPICS);
    let address = play.platform.url();
    play.set(&format!("base_url=\"{address}\""));
    play.set("topics=[\"#storm\", \"rust lang\", \"from:alice\"]");
    play.set(&format!("transport={transport}"));
    play
}

#[test]
fn the_template_captures_each_post_of_a_hashtag_once_with_edits_and_deletions() {
    let mut play = tagged(1);
    // As the addresses of the fake platform's toots have it.
    play.set("instance=fake.example");
    let running = play.streaming(1);
    let posts = play.platform.publish(Kind::Toot, 300);
    let gone = play.platform.publish_text(Kind::Toot, "a #storm to be deleted", 3);
    play.platform.wait_offered(&[gone]);
    posts.iter().step_by(7).for_each(|post| _ = play.platform.edit(*post));
    play.platform.delete(gone);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(
        checked.there > 20 && checked.excused == 0 && checked.edits > 2 && checked.deletes == 1,
        "{checked:?}"
    );
    let deletes: Vec<_> =
        play.lake().into_iter().filter(|post| post.get("delete").is_some()).collect();
    let id = play.platform.with(|inner| inner.world.items[gone].id.clone());
    assert_eq!(deletes[0].pointer("/delete/id").and_then(|id| id.as_str()), Some(id.as_str()));
    // The deletion gives the number that the toot has on this instance, and that is found.
    let erased = play.sandbox.run(&[
        "lake",
        "erase",
        "lake",
        "--from-deletes",
        "--closed-before",
        "2100-01-01T00:00:00Z",
    ]);
    assert!(erased.out.starts_with("1 post of 1 id"), "{}{}", erased.out, erased.err);
    assert!(!erased.out.contains("toots stay"), "{}", erased.out);
}

#[test]
fn nothing_that_goes_wrong_with_a_stream_loses_a_post() {
    trouble(&tagged(2));
}

#[test]
fn nothing_that_goes_wrong_with_a_websocket_loses_a_post() {
    trouble(&public(3, "WebSocket"));
}

fn trouble(play: &Play) {
    let faults = stream_faults(Duration::from_millis(1));
    let running = play.streaming(1);
    for fault in &faults {
        let (met, streams) = (play.platform.met().len(), play.streams());
        play.platform.fault(Place::MastodonStream, fault.clone());
        play.platform.publish(Kind::Toot, 60);
        play.platform.publish_text(Kind::Toot, "a #storm with an é", 3);
        play.platform.wait_until("fault", |inner| inner.faults.met.len() > met);
        let goes_on =
            matches!(fault, Fault::Duplicate | Fault::Reorder | Fault::Unknown | Fault::Dribble(_));
        if !goes_on {
            // What is posted while nobody listens is for the timeline, which has troubles of its
            // own.
            play.platform.fault(Place::MastodonTimeline, Fault::Status(503));
            play.platform.publish(Kind::Toot, 60);
            play.wait_for_stream(streams + 1);
        }
    }
    play.filled(5);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 60 && checked.excused == 0, "{checked:?}");
    assert!(
        play.platform.requests().at(Place::MastodonStream).busiest(Duration::from_secs(1)) <= 3
    );
}

#[test]
fn ten_kills_lose_nothing_and_repeat_nothing() {
    let play = public(4, "Sse");
    for kill in 0..10 {
        let running = play.streaming(1);
        // The first connection has no time to go on from before something came.
        play.platform.publish(Kind::Toot, 30 + kill);
        play.last();
        if kill == 0 {
            wait_for_state(&play);
        }
        running.kill();
        drop(running.end());
        play.platform.publish(Kind::Toot, 10);
    }
    let running = play.streaming(1);
    play.filled(9);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 100 && checked.excused == 0, "{checked:?}");
}

#[test]
fn bad_weather_with_kills_in_between_loses_nothing() {
    for (seed, transport) in [(18, "Sse"), (19, "WebSocket")] {
        let play = public(seed, transport);
        let running = play.weather(
            seed,
            vec![Place::MastodonStream, Place::MastodonTimeline, Place::MastodonInstance],
        );
        let streams = play.streams();
        play.platform.end_streams(Kind::Toot);
        play.wait_for_stream(streams + 1);
        play.filled(4);
        play.last();
        let (_, checked) = play.end(running, 0);
        assert!(checked.there > 100 && checked.excused == 0, "{checked:?}");
    }
}

/// Waits until the spool has something: from then on a restart knows since when it is away.
fn wait_for_state(play: &Play) {
    let spool = play.sandbox.path("state");
    play.platform.wait_until("spool", |_| holds_a_post(&spool));
}

fn holds_a_post(path: &std::path::Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::read(path)
            .is_ok_and(|bytes| bytes.windows(8).any(|bytes| bytes == b"{\"toot\":"));
    };
    entries.flatten().any(|entry| holds_a_post(&entry.path()))
}

#[test]
fn a_limit_is_waited_for_and_shown() {
    let play = tagged(5);
    play.platform.fault(Place::MastodonStream, Fault::RateLimited(Duration::from_secs(3)));
    let mut running = play.start();
    running.wait_for("the state", |report| report.to_string().contains("429 until"));
    play.platform.wait_for(Place::MastodonStream, 2);
    play.last();
    play.end(running, 0);
    let pauses = play.platform.requests().at(Place::MastodonStream).pauses();
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_secs(1)), "{pauses:?}");
}

#[test]
fn a_token_that_is_good_no_more_stops_with_what_to_do() {
    let play = tagged(6);
    let running = play.streaming(1);
    play.platform.revoke(Kind::Toot);
    let ended = running.end();
    assert_ne!(ended.code, Some(0));
    play.platform.assert_hidden(&ended.err);
    ended.says(&["read:statuses"]);
}

#[test]
fn garbage_is_a_dead_letter() {
    let mut play = tagged(7);
    play.dead = true;
    let running = play.streaming(1);
    play.platform.fault(Place::MastodonStream, Fault::Garbage);
    play.platform.publish(Kind::Toot, 60);
    play.last();
    let (_, checked) = play.end(running, 4);
    assert_eq!(checked.excused, 0, "{checked:?}");
}

#[test]
fn requests_are_as_the_specification_has_them() {
    let Some(specs) = prism::specs("requests_are_as_the_specification_has_them") else { return };
    let prism = Prism::mock(&specs.join("mastodon.openapi.json"));
    let mut play = tagged(8);
    play.set("refresh=[\"1s\"]");
    let running = play.streaming(1);
    play.platform.publish(Kind::Toot, 60);
    play.last();
    let streams = play.streams();
    play.platform.end_streams(Kind::Toot);
    play.platform.publish(Kind::Toot, 60);
    play.wait_for_stream(streams + 1);
    play.platform.wait_for(Place::MastodonTimeline, 1);
    play.platform.wait_until("counts", |inner| {
        inner.log.iter().any(|seen| seen.path.starts_with("/api/v1/statuses"))
    });
    let (_, checked) = play.end(running, 0);
    assert!(checked.excused == 0, "{checked:?}");
    prism.assert_conforms(&play.platform.requests().of(Kind::Toot));
}

#[test]
fn validate_tries_the_token() {
    let play = tagged(9);
    let ended = play.run(&["validate", "--online"]).with(0);
    assert!(
        format!("{}{}", ended.out, ended.err).contains("streams #storm"),
        "{}{}",
        ended.out,
        ended.err
    );
    assert_eq!(play.platform.requests().len(), 2, "the instance and one stream");
    play.platform.fault(Place::MastodonStream, Fault::Status(401));
    let ended = play.run(&["validate", "--online"]);
    assert_ne!(ended.code, Some(0));
    assert!(
        format!("{}{}", ended.out, ended.err).contains("read:statuses"),
        "{}{}",
        ended.out,
        ended.err
    );
}
