//! The source `Bluesky` against the fake platform, through the program itself: with every fault,
//! with kills, and with cursors that are too old. The lake is compared with the truth.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::time::Duration;

use support::platform::text::AUTHORS;
use support::platform::world::{did, now_us};
use support::platform::{Fault, Kind, Place};
use support::play::{Play, stream_faults};

const TOPICS: [&str; 3] = ["#storm", "rust lang", "from:alice"];

fn play(seed: u64) -> Play {
    let mut play = Play::new(seed, (Kind::Bsky, Place::Jetstream), "bluesky", "UNUSED", &TOPICS);
    let address = play.platform.ws_url();
    play.set(&format!("base_url=\"{address}\""));
    let api = play.platform.url();
    play.set(&format!("api_url=\"{api}\""));
    play.set(&format!("topics=[\"#storm\", \"rust lang\", \"from:{}\"]", did(AUTHORS)));
    play
}

#[test]
fn the_template_captures_each_post_of_the_topics_once_with_edits_and_deletions() {
    let play = play(1);
    let running = play.streaming(1);
    let posts = play.platform.publish(Kind::Bsky, 300);
    let gone = play.platform.publish_text(Kind::Bsky, "a #storm to be deleted", 3);
    posts.iter().step_by(7).for_each(|post| _ = play.platform.edit(*post));
    play.platform.delete(gone);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(
        checked.there > 50 && checked.excused == 0 && checked.edits > 5 && checked.deletes == 1,
        "{checked:?}"
    );
    let asked = play.platform.requests().at(Place::Jetstream);
    assert_eq!(asked.0[0].query("wantedCollections"), Some("app.bsky.feed.post"));
    assert_eq!((asked.0[0].query("cursor"), asked.0[0].query("wantedDids")), (None, None));
}

#[test]
fn nothing_that_goes_wrong_with_a_stream_loses_a_post() {
    let faults = stream_faults(Duration::from_millis(1));
    let play = play(2);
    let running = play.streaming(1);
    for fault in &faults {
        let (met, streams) = (play.platform.met().len(), play.streams());
        play.platform.fault(Place::Jetstream, fault.clone());
        play.platform.publish(Kind::Bsky, 40);
        play.platform.wait_until("fault", |inner| inner.faults.met.len() > met);
        let goes_on =
            matches!(fault, Fault::Duplicate | Fault::Reorder | Fault::Unknown | Fault::Dribble(_));
        if !goes_on {
            // What is posted while nobody listens comes by the cursor.
            play.platform.publish(Kind::Bsky, 20);
            play.wait_for_stream(streams + 1);
        }
    }
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 60 && checked.excused == 0, "{checked:?}");
    assert!(play.gaps().is_empty(), "{:?}", play.gaps());
    assert!(play.platform.requests().at(Place::Jetstream).busiest(Duration::from_secs(1)) <= 3);
}

#[test]
fn a_host_that_does_not_answer_is_asked_again_and_garbage_is_a_dead_letter() {
    let mut play = play(3);
    play.dead = true;
    for fault in [Fault::Status(503), Fault::Refuse, Fault::RateLimited(Duration::from_secs(1))] {
        play.platform.fault(Place::Jetstream, fault);
    }
    let running = play.streaming(1);
    play.platform.fault(Place::Jetstream, Fault::Garbage);
    play.platform.publish(Kind::Bsky, 60);
    play.last();
    let (_, checked) = play.end(running, 4);
    assert_eq!(checked.excused, 0, "{checked:?}");
}

#[test]
fn ten_kills_lose_nothing_and_repeat_nothing() {
    let play = play(4);
    for kill in 0..10 {
        let running = play.streaming(1);
        play.platform.publish(Kind::Bsky, 30 + kill);
        let last = play.platform.publish_text(Kind::Bsky, "a #storm before the kill", 3);
        if kill % 2 == 0 {
            play.platform.wait_offered(&[last]);
        }
        running.kill();
        drop(running.end());
        play.platform.publish(Kind::Bsky, 10);
    }
    let running = play.streaming(1);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 100, "{checked:?}");
}

#[test]
fn bad_weather_with_kills_in_between_loses_nothing() {
    let play = play(8);
    let running = play.weather(8, vec![Place::Jetstream]);
    // It may be waiting to connect again.
    let streams = play.streams();
    play.platform.end_streams(Kind::Bsky);
    play.wait_for_stream(streams + 1);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 100 && checked.excused == 0, "{checked:?}");
}

#[test]
fn what_a_server_no_longer_has_is_in_the_gap_ledger() {
    let play = play(5);
    let hour = 3_600_000_000;
    let began = now_us();
    let running = play.streaming(1);
    let at = |us: i64| play.platform.with(|inner| inner.world.publish_at(Kind::Bsky, us, None));
    let first = at(began - 2 * hour);
    play.platform.wait_offered(&[first]);
    play.end(running, 0);
    // Nobody listens to these, and then the server doesn't have them any more.
    (0..40).for_each(|n| _ = at(began - hour + n));
    play.platform.set(|settings| settings.jetstream_reach = Duration::from_secs(1800));
    let running = play.streaming(1);
    play.last();
    play.end(running, 0);
    let checked = play.check(Some(began - 2 * hour));
    assert!(checked.excused > 5, "{checked:?}");
    let gaps = play.gaps();
    assert!(gaps.len() == 1 && gaps[0]["filled"] == false, "{gaps:?}");
}

#[test]
fn a_hole_of_less_than_a_minute_is_in_the_gap_ledger_too() {
    let play = play(9);
    let running = play.streaming(1);
    play.platform.publish(Kind::Bsky, 20);
    play.last();
    play.end(running, 0);
    // Nobody listens to these, and then the server doesn't have them any more.
    play.platform.publish(Kind::Bsky, 60);
    play.platform.set(|settings| settings.jetstream_reach = Duration::ZERO);
    let running = play.streaming(1);
    play.platform.publish(Kind::Bsky, 20);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.excused > 5, "{checked:?}");
    let gaps = play.gaps();
    assert!(gaps.len() == 1 && gaps[0]["filled"] == false, "{gaps:?}");
}

#[test]
fn a_server_that_repeats_its_open_segment_brings_nothing_twice_and_costs_no_budget() {
    let mut play = play(10);
    play.platform.set(|settings| settings.jetstream_segment = 1_000_000);
    // What was posted before the start isn't asked for.
    let long_ago = now_us() - 600_000_000;
    let at = |us: i64| play.platform.with(|inner| inner.world.publish_at(Kind::Bsky, us, None));
    (0..300).for_each(|n| _ = at(long_ago + n));
    let each = 60;
    play.set(&format!("budget=(posts: {}, per: \"1d\")", 2 * 6 * each));
    for _ in 0..5 {
        let running = play.streaming(1);
        play.platform.publish(Kind::Bsky, each);
        play.last();
        running.kill();
        drop(running.end());
    }
    let running = play.streaming(1);
    play.platform.end_streams(Kind::Bsky);
    play.wait_for_stream(play.streams().max(7));
    play.platform.publish(Kind::Bsky, each);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 80 && checked.excused == 0 && checked.older == 0, "{checked:?}");
    assert!(play.gaps().is_empty(), "{:?}", play.gaps());
}

/// Two hosts of which one sees everything later, and both repeat whole segments; the stream goes
/// from one to the other, by lost connections and by kills.
fn between_hosts(seed: u64, numbers: bool) {
    let lag = Duration::from_secs(7);
    let mut play = play(seed);
    play.platform.set(|settings| {
        settings.jetstream_segment = 1_000_000;
        settings.jetstream_lag = lag;
        settings.jetstream_numbers = numbers;
    });
    let address = play.platform.ws_url();
    play.set(&format!("base_url=[\"{address}/late\", \"{address}\"]"));
    let mut running = play.streaming(1);
    for round in 0..3 {
        let publishing =
            play.platform.publish_at_rate(Kind::Bsky, 60, lag + Duration::from_secs(1));
        publishing.join().expect("nothing goes wrong with that");
        let streams = play.streams();
        if round == 1 {
            running.kill();
            running.end();
            running = play.start();
        } else {
            play.platform.end_streams(Kind::Bsky);
        }
        play.wait_for_stream(streams + 1);
    }
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 100 && checked.excused == 0, "{checked:?}");
    assert!(play.gaps().is_empty(), "{:?}", play.gaps());
}

#[test]
fn a_failover_between_hosts_that_see_events_at_different_times_loses_nothing_and_repeats_nothing() {
    between_hosts(11, false);
}

#[test]
fn numbers_of_a_host_are_no_cursors_for_another() {
    between_hosts(12, true);
}

#[test]
fn bad_weather_over_coarse_cursors_loses_nothing() {
    let play = play(13);
    play.platform.set(|settings| {
        settings.jetstream_segment = 1_000;
        settings.jetstream_numbers = true;
    });
    let running = play.weather(13, vec![Place::Jetstream]);
    let streams = play.streams();
    play.platform.end_streams(Kind::Bsky);
    play.wait_for_stream(streams + 1);
    play.last();
    let (_, checked) = play.end(running, 0);
    assert!(checked.there > 100 && checked.excused == 0, "{checked:?}");
}

#[test]
fn counts_are_read_again() {
    let mut play = play(6);
    play.set("refresh=[\"1s\"]");
    let running = play.streaming(1);
    play.platform.publish(Kind::Bsky, 60);
    play.last();
    play.platform.wait_for(Place::BlueskyPosts, 2);
    running_end(&play, running);
}

fn running_end(play: &Play, mut running: support::Running) {
    running.wait_for("counts", |report| support::total(report, "posts", "emitted") > 0);
    running.terminate();
    running.end().with(0);
    let counts: Vec<_> =
        play.lake().into_iter().filter(|post| post.pointer("/bsky/refreshed").is_some()).collect();
    assert!(!counts.is_empty());
    assert!(counts.iter().all(|post| post.pointer("/bsky/likeCount").is_some()), "{:?}", counts[0]);
}

#[test]
fn validate_asks_the_server_whether_it_takes_the_filter() {
    let play = play(7);
    let ended = play.run(&["validate", "--online"]).with(0);
    assert!(
        format!("{}{}", ended.out, ended.err).contains("accepts the filter"),
        "{}{}",
        ended.out,
        ended.err
    );
    assert_eq!(play.platform.requests().len(), 1);
}
